"""How pruner is laid out: every module is in the import contract, and none is too long to be read in one go."""

from __future__ import annotations

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
