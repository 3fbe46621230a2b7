"""How pruner is laid out: every module is in the import contract, and none is too long to be read in one go."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("pruner", "policies")
LINES: Final = 400
"""Of the longest module. A module that outgrows this holds two things: split it by noun."""


def contracts() -> list[dict[str, Any]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[dict[str, Any]] = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_module_outside_of_the_layers_is_an_error(package: str) -> None:
    (layers,) = (each for each in contracts() if each["type"] == "layers" and package in each.get("containers", []))
    assert layers["exhaustive"] is True
    assert "exhaustive_ignores" not in layers


def test_no_import_is_exempt_from_the_contract() -> None:
    named = [each["name"] for each in contracts()]
    assert len(named) > 1
    assert [each["name"] for each in contracts() if "ignore_imports" in each] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_longer_than_400_lines(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert len(modules) > 5
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {name: lines for name, lines in lengths.items() if lines > LINES} == {}


def test_readme_lists_every_room_in_the_order_of_the_layers() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [row.partition(" | ")[0] for row in readme.splitlines() if row.startswith("| `pruner/")]
    listed = [
        name.removeprefix("pruner/").removesuffix("/").removesuffix(".py")
        for name in re.findall(r"`([^`]+)`", " ".join(rows))
    ]
    (contract,) = (each for each in contracts() if each["type"] == "layers" and each.get("containers") == ["pruner"])
    layers = [name for layer in contract["layers"] for name in re.split(r" [|:] ", layer)]
    assert len(listed) > 15
    assert set(listed) <= set(layers)
    assert {path.parent.name for path in (ROOT / "pruner").glob("*/__init__.py")} <= set(listed)
    rooms = [name for name in listed if (ROOT / "pruner" / name).is_dir()]
    assert rooms == [name for name in layers if name in rooms]
