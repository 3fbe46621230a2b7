"""Where the files are that pruner ships beside its modules: its Pulumi program and its policy pack.

A wheel holds them inside the package; in a checkout they are at the top of the repository, where Pulumi looks for a
project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pruner.errors import PrunerError

_PACKAGE: Final = Path(__file__).resolve().parent

PROGRAM: Final = ("Pulumi.yaml", "__main__.py")
"""The files of the Pulumi project."""


def project_folder() -> Path:
    """The folder that holds the files of `PROGRAM`. Raises PrunerError when the installation lacks them."""
    return _shipped("project", _PACKAGE.parent, PROGRAM)


def policy_pack() -> Path:
    """What `pulumi preview --policy-pack` takes: the pack's executable.

    Raises PrunerError when the installation lacks it.
    """
    folder = _shipped("policy_pack/policies", _PACKAGE.parent / "policies", ("run", "__main__.py", "PulumiPolicy.yaml"))
    return folder / "run"


def checkout() -> Path | None:
    """The root of the checkout that pruner runs from; None when it is installed from a wheel."""
    root = _PACKAGE.parent
    return root if not (_PACKAGE / "project").is_dir() and (root / "pyproject.toml").is_file() else None


def command() -> str:
    """How `pruner` is called: from a checkout, where no script is installed, as a module."""
    return "pruner" if checkout() is None else "python -m pruner"


def _shipped(installed: str, in_checkout: Path, files: tuple[str, ...]) -> Path:
    """The folder with these files, whichever of the two has them all."""
    for folder in (_PACKAGE / installed, in_checkout):
        if all((folder / name).is_file() for name in files):
            return folder
    raise PrunerError(
        f"this installation of pruner lacks {', '.join(files)} in {_PACKAGE / installed}; "
        "reinstall it: pip install --force-reinstall pulumi-pruner"
    )
