"""The commands `plan` and `report`: a plan made now, or one in a file, in any of the forms that pruner.report writes.

python -m pruner plan --host https://api.example.com:6443 --out plan.jsonl
python -m pruner report plan.jsonl --format html --output plan.html
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from pruner.analysis import Analysis
from pruner.cli import errors_shown, settings_options
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.console import data, plain_console
from pruner.errors import PrunerError
from pruner.files import write_file
from pruner.planning import make_plan
from pruner.report.jsonl import encode_again, encode_report, read_report
from pruner.report.markdown import LIMIT, markdown
from pruner.report.model import Report
from pruner.report.openmetrics import openmetrics
from pruner.report.text import LISTED, print_report
from pruner.settings import Settings

FORMATS: Final = ("text", "markdown", "jsonl", "html", "openmetrics")
WIDTH: Final = 160
"""Columns of a text that no terminal has a width for."""


def _shown_as(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `plan` and `report` have in common."""
    options: tuple[Callable[..., Any], ...] = (
            click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True),
            click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl."),
            click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, instead of standard output."),
            click.option("--limit", type=click.IntRange(1000), default=LIMIT, show_default=True,
                help="Characters that Markdown may have; what does not fit is counted."),
            click.option("--all", "whole", is_flag=True, help="Every row of the tables of the text."),
        )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@settings_options
@_shown_as
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the plan to this file, to be reviewed and given as approved_plan.",
)
def plan(settings: Settings, out: Path | None, **shown: Any) -> None:
    """Make the plan for what the cluster has now, and show it. Nothing is changed.

    Tokens and passwords are given by the environment (K8S_AUTH_API_KEY, K8S_AUTH_PASSWORD), since others can see arguments.
    """
    analysis = asyncio.run(_analysis(settings))
    lines = tuple(encode_report(analysis))
    for path in (out, Path(settings.report) if settings.report else None):
        if path is not None:
            write_file(path, lines)
    show(Report.of(analysis), **shown)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_shown_as
@errors_shown
def report(file: Path, **shown: Any) -> None:
    """Show a plan, or the report of preview or up, that FILE holds."""
    try:
        found = read_report(file)
    except OSError as error:
        raise PrunerError(f"{file}: cannot be read: {error.strerror}") from None
    show(found, **shown)


async def _analysis(settings: Settings) -> Analysis:
    console = plain_console(stderr=True)
    async with Api(connect(settings), workers=settings.workers) as api:
        if not console.is_terminal:
            return await make_plan(api, settings)
        with console.status("reading the cluster") as status:
            return await make_plan(api, settings, progress=lambda message: status.update(data(message)))


def show(found: Report, *, form: str, as_json: bool, output: Path | None, limit: int, whole: bool) -> None:
    """Write the report in a form to a file or standard output."""
    form = "jsonl" if as_json else form
    if form == "text" and output is None:
        print_report(found, plain_console(width=None if sys.stdout.isatty() else WIDTH), listed=0 if whole else LISTED)
        return
    parts = (part.encode() if isinstance(part, str) else part for part in _parts(found, form, limit, whole=whole))
    if output is not None:
        write_file(output, parts)
    else:
        sys.stdout.buffer.writelines(parts)
        sys.stdout.buffer.flush()


def _parts(found: Report, form: str, limit: int, *, whole: bool) -> Iterator[str | bytes]:
    match form:
        case "markdown":
            yield markdown(found, limit=limit)
        case "jsonl":
            yield from encode_again(found)
        case "html":
            # Jinja takes longer to import than all the rest.
            from pruner.report.html import page  # noqa: PLC0415

            yield page(found)
        case "openmetrics":
            yield openmetrics(found)
        case _:
            text = io.StringIO()
            console = plain_console(width=WIDTH, file=text)
            print_report(found, console, listed=0 if whole else LISTED)
            yield text.getvalue()
