"""The report on a terminal: tables of what is pruned, why, and what keeps the rest."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pruner.console import Margin, data
from pruner.report import wording
from pruner.report.expired import ExpiredTag, expired_tags, retention_sums
from pruner.report.model import Outcome, Report
from pruner.report.rows import ReportedImage

LISTED = 40
"""Rows of a table; how many more there are is said."""


def print_report(report: Report, console: Console, *, listed: int = LISTED) -> None:
    """Print the report; `listed` rows of each table, 0 for all."""
    for part in _parts(report, listed):
        console.print(Margin(part))


def _parts(report: Report, listed: int) -> Iterator[RenderableType]:
    plan = report.plan
    yield _styled(wording.headline(plan), "bold")
    yield _styled(f"cluster {plan.cluster}, as of {wording.time(plan.as_of)}, {plan.fingerprint}", "dim")
    for note in plan.notes:
        yield Text.assemble(("note: ", "yellow"), data(note))
    if report.outcome is not None:
        yield from _outcome(report.outcome, listed)
    if report.streams:
        yield _streams(report, listed)
    expired = expired_tags(plan)
    if sums := retention_sums(report, expired):
        table = _table("By retention rule", "Rule", "Expired tags", "Kept tags", numbers=("Expired tags", "Kept tags"))
        for each in sums:
            table.add_row(data(each.retention), str(each.expired), "unknown" if each.kept is None else str(each.kept))
        yield table
    if expired:
        yield _expired(report, expired, listed)
    if plan.empty_streams:
        yield _deleted_streams(report, listed)
    if report.number_touched:
        yield _images(report, listed)
    if report.kept_by:
        yield _kept(report)


def _styled(text: str, style: str) -> Text:
    line = data(text)
    line.stylize(style)
    return line


def _table(title: str, *columns: str, numbers: tuple[str, ...] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def _cut(table: Table, whole: int, listed: int) -> Table:
    if listed and whole > listed:
        table.caption = f"and {whole - listed} more; --all lists them"
        table.caption_justify = "left"
    return table


def _outcome(outcome: Outcome, listed: int) -> Iterator[RenderableType]:
    yield _styled(wording.outcome_line(outcome), "bold red" if outcome.failures else "bold green")
    if line := wording.restart_line(outcome):
        yield _styled(line, "green" if outcome.registry_restart and outcome.registry_restart.done else "yellow")
    for title, entries in (("Failed", outcome.failures), ("Skipped", outcome.skipped)):
        if entries:
            table = _table(title, "What", "Why")
            for each in entries[: listed or None]:
                table.add_row(data(each.what), data(each.why))
            yield _cut(table, len(entries), listed)


def _streams(report: Report, listed: int) -> Table:
    table = _table(
        "By image stream", "Image stream", "Revisions", "Images", "Frees", numbers=("Revisions", "Images", "Frees")
    )
    for each in report.streams[: listed or None]:
        table.add_row(data(each.stream), str(each.revisions), str(each.images), wording.size(each.bytes))
    return _cut(table, len(report.streams), listed)


def _expired(report: Report, expired: list[ExpiredTag], listed: int) -> Table:
    table = _table("Tags that expire", "Tag", "Age", "Revisions", "Removed from", "Rule", numbers=("Age", "Revisions"))
    for each in expired[: listed or None]:
        table.add_row(
            data(f"{each.stream}:{each.tag}"),
            wording.age(report, each.moved),
            str(each.revisions),
            wording.removed_from(each.declared),
            data(each.retention),
        )
    return _cut(table, len(expired), listed)


def _deleted_streams(report: Report, listed: int) -> Table:
    table = _table("Image streams that are deleted", "Image stream", "Age", "Why", numbers=("Age",))
    streams = report.plan.empty_streams
    for each in streams[: listed or None]:
        table.add_row(data(each.stream), wording.age(report, each.created), data(str(each.reason)))
    return _cut(table, len(streams), listed)


def _images(report: Report, listed: int) -> Table:
    table = _table("What is pruned, and why", "Image", "Named by", "Age", "Frees", "Why", numbers=("Age", "Frees"))
    for image in islice(report.each_touched(), listed or None):
        table.add_row(
            data(wording.short(image.digest)),
            data(image.name),
            wording.age(report, image.created),
            wording.size(image.freed),
            data(why(image)),
        )
    return _cut(table, report.number_touched, listed)


def _kept(report: Report) -> Table:
    table = _table("What keeps the rest", "Rule", "Why", "Images", "Revisions", numbers=("Images", "Revisions"))
    for each in report.kept_by:
        table.add_row(data(each.rule), data(each.why), str(each.images), str(each.revisions))
    return table


def why(image: ReportedImage) -> str:
    """The reasons for a digest. Where revisions that go named it, theirs are what let it go."""
    reasons = [*dict.fromkeys(str(named.reason) for named in image.losing)] or [str(image.reason)]
    if image.retiring:
        return "; ".join(dict.fromkeys([*reasons, str(image.reason)]))
    return "; ".join([*reasons, f"the image itself is kept: {image.reason}"] if image.reason.kept else reasons)
