"""Write the API reference of the public modules, generated from their docstrings.

make docs        to artefacts/api/index.html
"""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from typing import Final

import pdoc

ROOT: Final = Path(__file__).resolve().parent.parent
PUBLIC: Final = (
    "pruner",
    "pruner.errors",
    "pruner.fleet",
    "pruner.plan",
    "pruner.reasons",
    "pruner.report",
    "pruner.schedule",
    "pruner.settings",
)
"""The modules that programs may import; everything else may change in any release."""


def write(folder: Path) -> None:
    """Write a page for each public module, an index and a search index.

    A name that cannot be documented is an error.
    """
    warnings.filterwarnings("error", message="Found .* but it does not resolve")
    for name in PUBLIC:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            vars(module).setdefault(public, getattr(module, public))  # pdoc does not call a module's __getattr__
    packages = "|".join(name.removeprefix("pruner.") for name in PUBLIC if "." in name)
    pdoc.render.configure(docformat="google", search=True, show_source=False)
    pdoc.pdoc("pruner", r"!pruner\..*", *PUBLIC[1:], rf"!pruner\.({packages})\..*", output_directory=folder)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "artefacts" / "api"
    write(folder)
    print(folder / "index.html")
