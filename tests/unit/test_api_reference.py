"""The API reference has a page for each public module, and each public name has a docstring."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tools.api_reference import PUBLIC, ROOT


def public_names(module: ModuleType) -> list[str]:
    """What `__all__` lists, or else the classes and functions that the module defines."""
    listed: list[str] | None = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if not name.startswith("_")]
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__
        and (inspect.isclass(value) or inspect.isfunction(value))
        and not name.startswith("_")
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    done = subprocess.run(
        [sys.executable, "-m", "tools.api_reference", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_public_modules_have_pages_and_no_others(pages: Path) -> None:
    found = {path.relative_to(pages).with_suffix("").as_posix().replace("/", ".") for path in pages.rglob("*.html")}
    assert found == {"index", *PUBLIC}


@pytest.mark.parametrize("module", PUBLIC)
def test_each_public_name_is_on_its_page(pages: Path, module: str) -> None:
    page = (pages / (module.replace(".", "/") + ".html")).read_text(encoding="utf-8")
    names = public_names(importlib.import_module(module))
    assert names
    assert [name for name in names if f'id="{name}"' not in page] == []


@pytest.mark.parametrize("module", [name for name in PUBLIC if name != "pruner.reasons"])
def test_each_public_function_and_class_has_a_docstring(module: str) -> None:
    """Reasons are left out: their sentences and docs/rules.md describe them."""
    imported = importlib.import_module(module)
    values = {name: getattr(imported, name) for name in public_names(imported)}
    callables = {name: value for name, value in values.items() if inspect.isclass(value) or inspect.isfunction(value)}
    assert callables
    assert [name for name, value in callables.items() if not inspect.getdoc(value)] == []
