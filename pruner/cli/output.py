"""What commands write, and in which form: to standard output, or to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from pruner.cli.options import FILE

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from pruner.report import Report
    from pruner.report.storage import ShownStorage

FORMATS: Final = ("text", "markdown", "jsonl", "html", "openmetrics")
WIDTH: Final = 160
"""Columns where there is no terminal whose width could be asked for, so that a pipeline's log has whole lines."""


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `show`, which `plan` and `report` have in common."""
    options: tuple[Callable[..., Any], ...] = (
        click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True,
                     help="Form of the report."),
        click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl."),
        click.option("--output", type=FILE, help="Write to this file instead of standard output."),
        click.option("--limit", type=click.IntRange(1000), show_default="60000",
            help="Characters that Markdown may have; what does not fit is counted."),
        click.option("--storage", type=FILE,
            help="Add what pruner storage --json has written to this file; with --format html."),
        click.option("--all", "whole", is_flag=True, help="List every row of the tables of the text."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def console(*, stderr: bool = False, file: Any = None) -> Console:
    """A console that is as wide as it takes where it is no terminal, so that a pipeline's log has whole lines."""
    from pruner.console import plain_console

    found = plain_console(stderr=stderr, file=file)
    return found if found.is_terminal else plain_console(stderr=stderr, file=file, width=WIDTH)


def json_text(value: Any) -> str:
    """A value as JSON that is printable."""
    import msgspec

    from pruner.printable import printable_json

    return printable_json(msgspec.json.format(msgspec.json.encode(value), indent=2))


def write(parts: Iterable[str | bytes], output: Path | None) -> None:
    """Write these parts to a file, or to standard output."""
    encoded = (part.encode() if isinstance(part, str) else part for part in parts)
    if output is not None:
        from pruner.files import write_file

        write_file(output, encoded)
    else:
        sys.stdout.buffer.writelines(encoded)
        sys.stdout.buffer.flush()


def echo_json(value: Any) -> None:
    """Print a value as JSON that is printable."""
    click.echo(json_text(value))


def show(
    report: Report,
    *,
    form: str,
    as_json: bool,
    output: Path | None,
    limit: int | None,
    storage: Path | None,
    whole: bool,
) -> None:
    """Write the report in a form to a file or standard output."""
    form = "jsonl" if as_json else form
    if storage is not None and form != "html":
        raise click.UsageError("--storage is for --format html")
    if form == "text" and output is None:
        _print_text(report, console(), whole=whole)
        return
    write(_parts(report, form, limit, storage, whole=whole), output)


def _print_text(report: Report, where: Console, *, whole: bool) -> None:
    from pruner.report.text import LISTED, print_report

    print_report(report, where, listed=0 if whole else LISTED)


def _storage_of(report: Report, file: Path) -> ShownStorage:
    """What the file says of storage, which must be that of the report's cluster."""
    from pruner.errors import PrunerError
    from pruner.report.storage import read_storage

    found = read_storage(file)
    if found.cluster != report.plan.cluster:
        raise PrunerError(f"{file}: is of cluster {found.cluster}, and the plan is of {report.plan.cluster}")
    return found


def _parts(report: Report, form: str, limit: int | None, storage: Path | None, *, whole: bool) -> Iterator[str | bytes]:
    match form:
        case "markdown":
            from pruner.report.markdown import LIMIT, markdown

            yield markdown(report, limit=limit or LIMIT)
        case "jsonl":
            from pruner.report.jsonl import encode_again

            yield from encode_again(report)
        case "html":
            from pruner.report.html import page

            yield page(report, None if storage is None else _storage_of(report, storage))
        case "openmetrics":
            from pruner.report.openmetrics import openmetrics

            yield openmetrics(report)
        case _:
            import io

            text = io.StringIO()
            _print_text(report, console(file=text), whole=whole)
            yield text.getvalue()
