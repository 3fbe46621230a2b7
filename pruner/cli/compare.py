"""`pruner compare`: what one plan prunes that another does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pruner.cli.options import FILE

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("--format", "form", type=click.Choice(("text", "markdown", "json")), default="text", show_default=True,
    help="Form of the comparison.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--all", "whole", is_flag=True, help="List every tag.")
def compare(first: Path, second: Path, form: str, as_json: bool, whole: bool) -> None:
    """Show what the plan in FIRST prunes that the plan in SECOND does not, and the other way around.

    Both files are written by `pruner plan --out`, or named by `report`. No cluster is contacted.
    """
    from pruner.cli.output import console, echo_json
    from pruner.planning import read_plan
    from pruner.report import comparison

    found = comparison.compare(read_plan(str(first)), read_plan(str(second)))
    match "json" if as_json else form:
        case "json":
            echo_json(comparison.as_json(found))
        case "markdown":
            click.echo(comparison.markdown(found), nl=False)
        case _:
            comparison.print_comparison(found, console(), listed=0 if whole else comparison.LISTED)
