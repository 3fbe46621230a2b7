"""The command line as a process: its streams, its limits, and what its help imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruner.cli.entry import Exit
from pruner.plan import encode
from tests.builders.objects import A, analysed, image

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.jsonl"
    path.write_bytes(b"".join(encode(analysed(image(A)).plan)))
    return path


def run(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command line of the shell in which `pruner` is the program."""
    kept = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    text = command.replace("pruner", f"{sys.executable} -m pruner")
    return subprocess.run(
        ["/bin/bash", "-c", text], cwd=ROOT, env=kept | environment, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def test_standard_output_that_cannot_be_written_is_said(plan_file: Path) -> None:
    for form in ("text", "html"):
        done = run(f"pruner report {plan_file} --format {form} > /dev/full")
        assert done.returncode == Exit.FAILED
        assert done.stderr == b"error: standard output cannot be written: No space left on device\n"


def test_standard_output_that_is_closed_is_said(plan_file: Path) -> None:
    done = run(f"pruner report {plan_file} >&-")
    assert done.returncode == Exit.FAILED
    assert done.stderr == b"error: standard output cannot be written: Bad file descriptor\n"


def test_a_reader_that_has_gone_ends_it_without_a_word(plan_file: Path) -> None:
    done = run(f"{{ pruner report {plan_file} --json; echo $? >&2; }} | true")
    assert done.stderr.split() in ([b"141"], [b"0"])
    done = run(f"exec 3> >(true); wait $!; pruner report {plan_file} --json >&3; echo $? >&2")
    assert done.stderr == b"141\n"


def test_names_that_are_not_text_are_printed_escaped() -> None:
    done = run("pruner report $'/nonexistent/\\xff'", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == Exit.FAILED
    assert done.stderr.startswith(b"error: /nonexistent/")
    assert done.stderr.endswith(b": cannot be read: No such file or directory\n")
    assert done.stderr.count(b"\n") == 1


def test_settings_that_are_not_text_are_refused() -> None:
    done = run("pruner plan --host $'\\xff'", K8S_AUTH_USERNAME="u")
    assert (done.returncode, done.stderr) == (Exit.USAGE, b"error: --host: is not UTF-8\n")


def test_a_report_is_printed_where_no_character_but_ascii_can_be(plan_file: Path) -> None:
    for form in ("text", "markdown"):
        done = run(f"pruner report {plan_file} --format {form}", LC_ALL="C", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (Exit.OK, b"")
        assert done.stdout


def test_too_few_open_files_are_said(plan_file: Path) -> None:
    done = run(
        f"ulimit -n 8; exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null; pruner report {plan_file}"
    )
    assert done.returncode != Exit.OK
    assert b"defect" not in done.stderr
