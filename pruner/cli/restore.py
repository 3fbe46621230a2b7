"""`pruner restore`: retired images back where they were."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from pruner.cli.options import SECRETS_FROM, as_json, connection_options

if TYPE_CHECKING:
    from pruner.settings import Settings


class _Time(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from pruner.settings.values import UnfitError, moment

        try:
            return moment(value)
        except UnfitError as unfit:
            self.fail(str(unfit), param, ctx)


@click.command(epilog=SECRETS_FROM)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all-since", type=_Time(), metavar="TIME", help="Restore all that runs have retired since this time.")
@click.option(
    "--run", metavar="FINGERPRINT", help="Restore all that the run of the plan with this fingerprint has retired."
)
@click.option("--dry-run", is_flag=True, help="Show what would come back, and change nothing.")
@as_json
@connection_options("workers")
def restore(
    settings: Settings,
    names: tuple[str, ...],
    all_since: datetime | None,
    run: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put revisions of retired images back where they were in the history of their tags.

    NAME is a digest, or namespace/stream:tag. Tags that are attached to an image come back with it. What was restored
    is safe from runs for one grace period.

    Ends with 0 when all of it is there, and with 1 when something is not retired or could not be brought back.
    """
    if bool(names) + (all_since is not None) + (run is not None) != 1:
        raise click.UsageError("give names, or --all-since, or --run")
    import asyncio

    from pruner.cli.cluster import with_api
    from pruner.cli.output import console, echo_json
    from pruner.printable import printable
    from pruner.restore import Choice, show
    from pruner.restore import restore as restored

    def warn(message: str) -> None:
        click.echo(printable(f"warning: {message}"), err=True)

    choice = Choice(names=names, since=all_since, run=run)
    found = asyncio.run(
        with_api(
            settings,
            lambda api, progress: restored(
                api, choice, dry_run=dry_run, workers=settings.workers, progress=progress, warn=warn
            ),
        )
    )
    if as_json:
        echo_json(found)
    else:
        show(found, console())
    sys.exit(0 if found.complete else 1)
