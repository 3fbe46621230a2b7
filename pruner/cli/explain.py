"""`pruner explain`: why an image, a tag or an image stream is kept or pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pruner.cli.options import FILE, SECRETS_FROM, as_json, settings_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pruner.explain import Explanation
    from pruner.settings import Settings


@click.command(epilog=SECRETS_FROM)
@click.argument("reference", metavar="REF")
@click.option("--plan", type=FILE, help="Explain by the plan in this file, without contacting a cluster.")
@as_json
@settings_options
def explain(settings: Settings, reference: str, plan: Path | None, as_json: bool) -> None:
    """Say what REF is, who uses it, which rule keeps or prunes it, and what would have to change. Nothing is changed.

    REF is a digest, namespace/stream, namespace/stream:tag, namespace/stream@digest, or a pull spec.
    """
    from pruner.cli.output import echo_json
    from pruner.printable import printable

    explanation, said = _of_plan(plan, reference) if plan is not None else _of_cluster(settings, reference)
    if as_json:
        echo_json(explanation)
        return
    for line in said:
        click.echo(printable(line))


def _of_cluster(settings: Settings, reference: str) -> tuple[Explanation, Iterator[str]]:
    import asyncio

    from pruner.cli.cluster import analysis_of
    from pruner.explain import explain, lines

    explanation = explain(asyncio.run(analysis_of(settings)), reference)
    return explanation, lines(explanation)


def _of_plan(path: Path, reference: str) -> tuple[Explanation, Iterator[str]]:
    from pruner.explain_plan import explain_plan, lines
    from pruner.files import reading

    with reading(path):
        explanation = explain_plan(path, reference)
    return explanation, lines(explanation)
