"""`pruner report`: a plan or a report in a file, in any of the forms that pruner.report writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pruner.cli.options import FILE
from pruner.cli.output import form_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("file", type=FILE)
@form_options
def report(file: Path, **form: Any) -> None:
    """Show a plan, or the report of preview or up, that FILE holds. No cluster is contacted."""
    from pruner.interpreter import no_search_for_cycles

    with no_search_for_cycles():
        # What is read is freed in there too: else all of it would be searched as soon as searching begins again.
        _read_and_show(file, form)


def _read_and_show(file: Path, form: dict[str, Any]) -> None:
    from pruner.cli.output import show
    from pruner.files import reading
    from pruner.report.jsonl import read_report, read_touched

    # Only these two show what is kept; its half a million lines are counted for the others.
    whole = form["as_json"] or form["form"] in ("jsonl", "html")
    with reading(file):
        found = read_report(file) if whole else read_touched(file)
    show(found, **form)
