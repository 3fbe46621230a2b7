"""`pruner storage`: what keeps the registry as large as it is, and what each step would free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pruner.cli.options import FILE, SECRETS_FROM, settings_options

if TYPE_CHECKING:
    from pathlib import Path

    from pruner.settings import Settings


@click.command(epilog=SECRETS_FROM)
@settings_options
@click.option("--format", "form", type=click.Choice(("text", "html", "json")), default="text", show_default=True,
    help="Form of the answer.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--output", type=FILE, help="Write to this file instead of standard output.")
@click.option("--all", "whole", is_flag=True, help="List every row of the tables of the text.")
def storage(settings: Settings, form: str, as_json: bool, output: Path | None, whole: bool) -> None:
    """Show what keeps the registry large: bytes by reason, namespace and image stream, and what each step would free.

    Nothing is changed, and the registry is not asked: sizes are those that Images give.
    """
    import asyncio
    import io

    from pruner.cli.cluster import with_api
    from pruner.cli.output import console, json_text, write
    from pruner.planning import measure_storage
    from pruner.report import storage as shown

    found = asyncio.run(with_api(settings, lambda api, progress: measure_storage(api, settings, progress=progress)))
    report = shown.StorageReport(*found)
    form, listed = "json" if as_json else form, 0 if whole else shown.LISTED
    if form == "text" and output is None:
        shown.print_storage(report, console(), listed=listed)
        return
    match form:
        case "json":
            text = f"{json_text(shown.as_json(report))}\n"
        case "html":
            text = shown.page(report)
        case _:
            written = io.StringIO()
            shown.print_storage(report, console(file=written), listed=listed)
            text = written.getvalue()
    write((text,), output)
