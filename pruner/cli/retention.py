"""`pruner retention`: retention rules, tried on tags before a plan is made with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pruner.cli.entry import Commands
from pruner.cli.options import FILE, SECRETS_FROM, as_json, connection_options
from pruner.errors import Problem, SettingsError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from pruner.cluster.objects import ImageStream
    from pruner.settings import Settings
    from pruner.settings.retention import RetentionRule
    from pruner.trial import Listed


@click.group(cls=Commands)
def retention() -> None:
    """Try retention rules on tags before they are used."""


@retention.command("try", epilog=SECRETS_FROM)
@click.option("--file", "rules", type=FILE, required=True, help="YAML file with the rules, as --retention takes it.")
@click.option("--tags", type=FILE,
    help="File with a tag on every line: [NAMESPACE/STREAM:]TAG [MOVED], or image streams as JSON; "
    "- is standard input.")  # fmt: skip
@click.option("--stream", metavar="NAMESPACE/NAME", help="Image stream of the cluster, which is read for it.")
@click.option("--plan", type=FILE, help="File that `pruner plan --out` has written.")
@as_json
@connection_options("as_of")
def try_(
    settings: Settings, rules: Path, tags: Path | None, stream: str | None, plan: Path | None, as_json: bool
) -> None:
    """Show which rule decides about each tag, and whether it is kept or expires. Nothing is changed.

    The tags are those of --tags, --stream or --plan; without any of them, the rules are checked. MOVED is when the tag
    was moved: an age such as 14d, or a time such as 2026-01-31T12:00:00Z. A cluster is contacted for --stream only.

    Ends with 0 whatever the rules decide, and with 2 when the rules, the tags or the options are wrong.
    """
    from pruner.cli.output import console, echo_json
    from pruner.trial import print_trial, try_rules

    if sum(each is not None for each in (tags, stream, plan)) > 1:
        raise click.UsageError("--tags, --stream and --plan exclude each other; choose one")
    trial = try_rules(_rules(rules), _listed(settings, tags, stream, plan))
    if as_json:
        echo_json(trial)
    else:
        print_trial(trial, console())


def _rules(path: Path) -> tuple[RetentionRule, ...]:
    from pruner.settings import UnfitError
    from pruner.settings.retention import retention_rules

    try:
        return retention_rules(str(path))
    except UnfitError as unfit:
        raise SettingsError([Problem(str(path), problem) for problem in unfit.problems]) from None


def _listed(settings: Settings, tags: Path | None, stream: str | None, plan: Path | None) -> Listed:
    from datetime import UTC, datetime

    from pruner.trial import Listed, from_list, of_report, of_stream

    as_of = settings.as_of or datetime.now(UTC)
    if tags is not None:
        return from_list(_text(tags), as_of, "standard input" if str(tags) == "-" else str(tags))
    if plan is not None:
        from pruner.files import reading
        from pruner.report.jsonl import read_report

        with reading(plan):
            return of_report(read_report(plan))
    if stream is not None:
        namespace, _, name = stream.partition("/")
        if not (namespace and name) or "/" in name or ":" in name:
            raise click.UsageError(f"--stream takes NAMESPACE/NAME, not {stream!r}")
        import asyncio

        return of_stream(*asyncio.run(_read(settings, namespace, name)))
    return Listed(streams=(), as_of=as_of)


def _text(path: Path) -> str:
    """The text of the file, which is bounded as every document is. Raises SettingsError."""
    from pruner.documents.values import LARGEST

    try:
        with click.open_file(str(path), "rb") as opened:
            content: bytes = opened.read(LARGEST + 1)
    except OSError as error:
        raise SettingsError([Problem(str(path), f"cannot be read: {error.strerror}")]) from None
    if len(content) > LARGEST:
        raise SettingsError([Problem(str(path), f"is larger than {LARGEST} bytes; try the rules on some of the tags")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError([Problem(str(path), "is not UTF-8")]) from None


async def _read(settings: Settings, namespace: str, name: str) -> tuple[ImageStream, datetime]:
    """The image stream, and the time that ages are measured against: that of the API server's clock."""
    from pruner.cluster.objects import ImageStream
    from pruner.cluster.resources import IMAGE_STREAMS
    from pruner.cluster.session import session

    async with session(settings) as api:
        found = await api.get(IMAGE_STREAMS, ImageStream, namespace=namespace, name=name)
        return found, settings.as_of or api.clock.now_or_here()
