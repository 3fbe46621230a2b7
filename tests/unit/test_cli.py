"""How the command line ends, whatever happens, and its list of verbs."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.errors import MarkupError

from pruner.cli import main
from pruner.cli.entry import VERBS, Commands, Exit
from pruner.cli.options import settings_options
from pruner.cli.parameters import OPTIONS, Option
from pruner.errors import ClusterError, Problem, SettingsError, UnsafePlanError
from pruner.settings import BY_NAME, Settings, read

ROOT = Path(__file__).parent.parent.parent


def _nested(depth: int) -> int:
    return _nested(depth + 1)


def _undecodable() -> None:
    b"\xff".decode()


def _unencodable() -> None:
    "\udcff".encode()


def _raises(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


ENDS: tuple[tuple[str, Callable[[], Any], int, str], ...] = (
    ("ok", lambda: None, Exit.OK, ""),
    ("cluster", _raises(ClusterError("http://x: cannot be reached")), Exit.FAILED,
     "error: http://x: cannot be reached\n"),
    ("plan", _raises(UnsafePlanError("p: was edited")), Exit.FAILED, "error: p: was edited\n"),
    ("settings", _raises(SettingsError([Problem("a", "wrong"), Problem("b", "too")])), Exit.USAGE,
     "error: a: wrong\nerror: b: too\n"),
    ("file", lambda: Path("/nonexistent/file").read_text(), Exit.FAILED,
     "error: /nonexistent/file: No such file or directory\n"),
    ("files", _raises(OSError(errno.EMFILE, "Too many open files")), Exit.FAILED,
     "error: Too many open files; raise the limit"),
    ("read-only", _raises(OSError(errno.EROFS, "Read-only file system", "x")), Exit.FAILED,
     "error: x: Read-only file system\n"),
    ("long", lambda: Path("n" * 300).read_text(), Exit.FAILED, "File name too long\n"),
    ("memory", _raises(MemoryError()), Exit.FAILED, "error: there is not enough memory; "),
    ("interrupted", _raises(KeyboardInterrupt()), Exit.INTERRUPTED, "error: interrupted\n"),
    ("recursion", lambda: _nested(0), Exit.DEFECT, "error: this is a defect of pruner: RecursionError at "),
    ("overflow", lambda: float(10**400), Exit.DEFECT, "error: this is a defect of pruner: OverflowError at "),
    ("decoding", _undecodable, Exit.DEFECT, "error: this is a defect of pruner: UnicodeDecodeError at "),
    ("encoding", _unencodable, Exit.DEFECT, "error: this is a defect of pruner: UnicodeEncodeError at "),
    ("markup", _raises(MarkupError("closing tag '[/x]' doesn't match")), Exit.DEFECT,
     "error: this is a defect of pruner: MarkupError at "),
    ("secret", _raises(ValueError("sesame")), Exit.DEFECT,
     "run it again with PRUNER_TRACEBACK=1 for the traceback, and report it\n"),
    ("usage", _raises(click.UsageError("no such option")), Exit.USAGE, "Error: no such option\n"),
    ("doctor", lambda: sys.exit(3), Exit.ONLY_PREVIEW_WORKS, ""),
    ("reader", _raises(BrokenPipeError(errno.EPIPE, "Broken pipe")), Exit.READER_GONE, ""),
    ("full", _raises(OSError(errno.ENOSPC, "No space left on device")), Exit.FAILED,
     "error: standard output cannot be written: No space"),
)  # fmt: skip
"""Name, what happens, the exit code, and how the message begins or ends."""


@pytest.mark.parametrize(("name", "happens", "code", "message"), ENDS, ids=[end[0] for end in ENDS])
def test_every_way_out_has_one_code_and_one_line(
    name: str, happens: Callable[[], Any], code: int, message: str
) -> None:
    group = Commands("group", commands={"verb": click.Command("verb", callback=happens)})
    result = CliRunner().invoke(group, ["verb"])
    assert result.exit_code == code
    assert message in result.stderr
    assert bool(result.stderr) is bool(message)
    assert "Traceback" not in result.stderr
    assert "sesame" not in result.stderr
    assert len(result.stderr.splitlines()) <= (4 if name == "usage" else 2)


def test_a_traceback_is_printed_when_it_is_asked_for() -> None:
    group = Commands("group", commands={"verb": click.Command("verb", callback=_raises(ValueError("why")))})
    result = CliRunner(env={"PRUNER_TRACEBACK": "1"}).invoke(group, ["verb"])
    assert result.exit_code == Exit.DEFECT
    assert "Traceback" in result.stderr
    assert "ValueError: why" in result.stderr


def test_the_documentation_has_every_exit_code() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert codes == [each.value for each in Exit]
    assert {code for _, _, code, _ in ENDS} == set(codes)


def test_each_verb_says_in_the_list_what_it_is() -> None:
    result = CliRunner().invoke(main, ["-h"])
    assert result.exit_code == 0
    for name, (_, about) in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(about)}$", result.stdout, re.MULTILINE)
        assert main.get_command(click.Context(main), name) is not None


FLAGS = [option for option in OPTIONS if option.is_flag]


@pytest.mark.parametrize("option", FLAGS, ids=[option.name for option in FLAGS])
def test_a_parameter_that_is_true_or_false_is_a_flag_with_an_opposite(option: Option) -> None:
    taken: list[Settings] = []
    command = click.command(settings_options(taken.append))
    name = option.name.replace("_", "-")
    for arguments in ([], [f"--{name}"], [f"--no-{name}"], [f"--no-{name}", f"--{name}"]):
        result = CliRunner(env={"K8S_AUTH_VERIFY_SSL": "", "K8S_AUTH_PERSIST_CONFIG": ""}).invoke(command, arguments)
        assert result.exit_code == 0, result.output
    default = getattr(read({}), option.name)
    assert [getattr(settings, option.name) for settings in taken] == [default, True, False, True]


def test_every_parameter_that_is_true_or_false_is_a_flag() -> None:
    assert len(FLAGS) > 5
    assert [each.name for each in FLAGS] == [each.name for each in OPTIONS if BY_NAME[each.name].kind == "boolean"]


def test_the_environment_counts_where_no_flag_is_given() -> None:
    taken: list[Settings] = []
    command = click.command(settings_options(taken.append))
    for arguments in ([], ["--validate-certs"]):
        assert CliRunner(env={"K8S_AUTH_VERIFY_SSL": "no"}).invoke(command, arguments).exit_code == 0
    assert [settings.validate_certs for settings in taken] == [False, True]
