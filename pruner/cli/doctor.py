"""`pruner doctor`: whether preview and up would work, and what is missing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pruner.cli.options import SECRETS_FROM, as_json, settings_options

if TYPE_CHECKING:
    from pruner.settings import Settings


@click.command(epilog=SECRETS_FROM)
@settings_options
@as_json
def doctor(settings: Settings, as_json: bool) -> None:
    """Say whether preview and up would work, and what is missing. Nothing is changed.

    Ends with 0 when both would work, with 3 when only a preview would, and with 1 when neither would.
    """
    import asyncio

    from pruner.cli.cluster import with_api
    from pruner.cli.output import console
    from pruner.doctor import as_json_of, examine, show

    found = asyncio.run(with_api(settings, lambda api, _progress: examine(api, settings)))
    if as_json:
        import msgspec

        from pruner.printable import printable_json

        click.echo(printable_json(msgspec.json.format(as_json_of(found), indent=2)))
    else:
        show(found, console())
    sys.exit(found.exit_code)
