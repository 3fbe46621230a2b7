"""`pruner plan`: a plan made now, in any of the forms that pruner.report writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pruner.cli.options import FILE, SECRETS_FROM, settings_options
from pruner.cli.output import form_options

if TYPE_CHECKING:
    from pathlib import Path

    from pruner.settings import Settings


@click.command(epilog=SECRETS_FROM)
@settings_options
@form_options
@click.option("--out", type=FILE, help="Write the plan to this file, to be reviewed and given as approved_plan.")
def plan(settings: Settings, out: Path | None, **form: Any) -> None:
    """Make the plan for what the cluster has now, and show it. Nothing is changed."""
    import asyncio
    from pathlib import Path

    from pruner.cli.cluster import analysis_of
    from pruner.cli.output import show
    from pruner.files import write_file
    from pruner.interpreter import no_search_for_cycles
    from pruner.report import Report
    from pruner.report.jsonl import encode_again

    analysis = asyncio.run(analysis_of(settings))
    with no_search_for_cycles():
        report = Report.of(analysis)
        for path in (out, Path(settings.report) if settings.report else None):
            if path is not None:
                write_file(path, encode_again(report))
        show(report, **form)
