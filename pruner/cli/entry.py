"""The entry point: which verbs there are, and how each of them ends, whatever happens.

Every way out is in `Exit`, and in docs/faults.md. What nobody has foreseen is a defect of pruner, and is called so in
one line.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import click

from pruner import __version__, defects
from pruner.errors import PrunerError, SettingsError

VERBS: Final[Mapping[str, tuple[str, str]]] = {
    "compare": ("pruner.cli.compare:compare", "Show what one plan prunes that another does not."),
    "doctor": ("pruner.cli.doctor:doctor", "Say whether preview and up would work, and what is missing."),
    "explain": ("pruner.cli.explain:explain", "Say why an image, a tag or an image stream is kept or pruned."),
    "fleet": ("pruner.cli.fleet:fleet", "Preview, review and prune many clusters together."),
    "plan": ("pruner.cli.plan:plan", "Make the plan for what the cluster has now, and show it."),
    "policy-pack": (
        "pruner.cli.policy_pack:policy_pack",
        "Print the path of the policy pack.",
    ),
    "report": ("pruner.cli.report:report", "Show a plan, or the report of preview or up, from a file."),
    "restore": ("pruner.cli.restore:restore", "Put revisions of retired images back where they were."),
    "retention": ("pruner.cli.retention:retention", "Try retention rules on tags before they are used."),
    "translate": ("pruner.cli.translate:translate", "Translate an oc command or an Ansible task into configuration."),
    "storage": ("pruner.cli.storage:storage", "Show what keeps the registry large, by reason."),
}
"""Where each verb is, and its line in the list of verbs, which is shown without importing it."""


class Exit(IntEnum):
    """How the process ends. `doctor` and `fleet` say in their help what 1 and 3 mean there."""

    OK = 0
    FAILED = 1
    USAGE = 2
    """Wrong options or settings; nothing was contacted."""
    ONLY_PREVIEW_WORKS = 3
    DEFECT = 70
    INTERRUPTED = 130
    READER_GONE = 141
    """Whoever was to read standard output has closed it."""


class Commands(click.Group):
    """A group that ends with one line and an exit code, whatever its commands raise."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        """Run, and end the process."""
        _prepare_streams()
        extra["standalone_mode"] = False
        sys.exit(_code_of(lambda: super(Commands, self).main(args, prog_name, **extra)))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Before click sees it, which ends with 1.
            raise _ReaderGoneError from None


class _ReaderGoneError(Exception):
    """Standard output was closed by whoever was to read it."""


def _code_of(call: Callable[[], Any]) -> int:
    """The exit code of a call, after whatever has to be said was said."""
    try:
        code = call()
        sys.stdout.flush()
    except SystemExit as ended:
        return _flushed(ended.code if isinstance(ended.code, int) else Exit.FAILED if ended.code else Exit.OK)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except (_ReaderGoneError, BrokenPipeError):
        _give_up_stdout()
        return Exit.READER_GONE
    except BaseException as error:  # noqa: BLE001 - the one place that says what nobody has caught
        return _said(error)
    return code if isinstance(code, int) else Exit.OK


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_stdout()
        return Exit.READER_GONE
    except OSError as error:
        return _said(error)
    return code


def _said(error: BaseException) -> int:
    """Say what has ended the command; its exit code."""
    message = defects.said(error)
    if isinstance(error, SettingsError):
        for problem in error.problems:
            _complain(str(problem))
        return Exit.USAGE
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _complain("interrupted")
        return Exit.INTERRUPTED
    if (
        isinstance(error, OSError)
        and error.filename is None
        and error.errno in (errno.ENOSPC, errno.EBADF, errno.EIO, errno.EFBIG)
    ):
        _give_up_stdout()
        _complain(f"standard output cannot be written: {error.strerror}")
        return Exit.FAILED
    _complain(message)
    return Exit.FAILED if isinstance(error, PrunerError | OSError | MemoryError) else Exit.DEFECT


def _complain(message: str) -> None:
    # Without standard error nobody can be told, and the exit code says it.
    with contextlib.suppress(OSError, ValueError):
        click.echo(f"error: {message}", err=True)


def _prepare_streams() -> None:
    """Have characters that the terminal cannot show escaped, and
    writing to a stream that is closed fail as writing to any other.
    """
    if sys.stdout is None:
        # Takes the number that is free, so that no connection or file of ours becomes standard output.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _give_up_stdout() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not complain about it at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Verbs(Commands):
    """The verbs, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in sorted(VERBS.items())])


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, version=__version__, prog_name="pruner")
def main() -> None:
    """Explain, report and check what `pulumi preview` plans and `pulumi up` prunes."""
