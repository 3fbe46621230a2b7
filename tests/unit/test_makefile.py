"""The Makefile: what its set-up writes is found by the targets that come after it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
TOOLS: Final = ("pulumi", "pulumi-yaml", "pulumi-nodejs")


def search_path(tools: Path) -> list[str]:
    """The folders in which the tests look for programs before all others."""
    command = ["make", "--no-print-directory", f"TOOLS={tools}", "--eval", "shown:; @echo '$(pulumi_path)'", "shown"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.rstrip("\n").split(":")


@pytest.mark.parametrize("found", [TOOLS, TOOLS[:1], TOOLS[:2], TOOLS[::2], ()], ids=",".join)
def test_each_tool_that_was_found_is_on_the_path_whichever_others_are(found: tuple[str, ...], tmp_path: Path) -> None:
    folders = [str(tmp_path / f"{tool} 1.0") for tool in found]
    for tool, folder in zip(found, folders, strict=True):
        (tmp_path / f"{tool}.path").write_text(f"{folder}\n", encoding="utf-8")
    assert search_path(tmp_path) == [str(ROOT / ".venv" / "bin"), *folders]
