"""`pruner explain`: why an image, a tag or an image stream is kept or pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pruner.cli.options import SECRETS_FROM, as_json, settings_options

if TYPE_CHECKING:
    from pruner.settings import Settings


@click.command(epilog=SECRETS_FROM)
@click.argument("reference", metavar="REF")
@as_json
@settings_options
def explain(settings: Settings, reference: str, as_json: bool) -> None:
    """Say what REF is, who uses it, which rule keeps or prunes it, and what would have to change. Nothing is changed.

    REF is a digest, namespace/stream, namespace/stream:tag, namespace/stream@digest, or a pull spec.
    """
    import asyncio

    from pruner.cli.cluster import analysis_of
    from pruner.cli.output import echo_json
    from pruner.explain import explain as explained
    from pruner.explain import lines
    from pruner.printable import printable

    explanation = explained(asyncio.run(analysis_of(settings)), reference)
    if as_json:
        echo_json(explanation)
        return
    for line in lines(explanation):
        click.echo(printable(line))
