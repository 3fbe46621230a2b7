"""The groups of measurements: each module is one, and has its section in docs/bench.md.

A group has an `ORDER` among the sections, a `TITLE`, and three functions: `measure(run)` gives what was measured as
JSON, `section(found)` the paragraphs that show it, and `targets(found)` what it should have been. A new module here is
a new group.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

Json = dict[str, Any]


class Run(msgspec.Struct, frozen=True):
    """How a group is measured: in which folder, how large, and with what."""

    folder: Path
    quick: bool = False
    ansible: str | None = None
    """The Python that has the Ansible collection."""
    pulumi: bool = False


class Target(msgspec.Struct, frozen=True):
    """What a figure should be: `measured` as it is shown, and `obstacle`, what is in the way where it is not met."""

    text: str
    measured: str
    met: bool
    obstacle: str = ""


class Group(Protocol):
    ORDER: int
    TITLE: str

    def measure(self, run: Run) -> Json: ...
    def section(self, found: Json) -> list[str]: ...
    def targets(self, found: Json) -> Iterator[Target]: ...


def groups() -> Mapping[str, Group]:
    """Every group by its name, in the order of the sections."""
    found: dict[str, Any] = {
        module.name: importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
    }
    return dict(sorted(found.items(), key=lambda item: int(item[1].ORDER)))
