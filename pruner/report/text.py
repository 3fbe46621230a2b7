"""The report on a terminal: tables of what goes, why, and what keeps the rest."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pruner.report import wording
from pruner.report.model import Report, ReportedImage

LISTED = 40
"""Rows of a table; how many more there are is said."""


def print_report(report: Report, console: Console, *, listed: int = LISTED) -> None:
    """Print the report; `listed` rows of each table, 0 for all."""
    plan = report.plan
    console.print(_plain(wording.headline(report)), style="bold")
    console.print(_plain(f"cluster {plan.cluster}, as of {wording.time(plan.as_of)}, {plan.fingerprint}"), style="dim")
    for note in plan.notes:
        console.print(Text.assemble(("note: ", "yellow"), _plain(note)))
    if report.outcome is not None:
        _print_outcome(report, console, listed)
    if report.streams:
        console.print(_streams(report, listed))
    if report.touched:
        console.print(_images(report, listed))
    if report.kept_by:
        console.print(_kept(report))


def _plain(text: str) -> Text:
    return Text(wording.printable(text))


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


def _print_outcome(report: Report, console: Console, listed: int) -> None:
    outcome = report.outcome
    assert outcome is not None  # noqa: S101 - its caller has looked
    console.print(_plain(wording.outcome_line(outcome)), style="bold red" if outcome.failures else "bold green")
    for title, found in (("Failed", outcome.failures), ("Left alone", outcome.skipped)):
        if found:
            table = _table(title, "What", "Why")
            for each in found[: listed or None]:
                table.add_row(_plain(each.what), _plain(each.why))
            console.print(_cut(table, len(found), listed))


def _streams(report: Report, listed: int) -> Table:
    table = _table(
        "By image stream", "Image stream", "Revisions", "Images", "Frees", numbers=("Revisions", "Images", "Frees")
    )
    for each in report.streams[: listed or None]:
        table.add_row(_plain(each.stream), str(each.revisions), str(each.images), wording.size(each.bytes))
    return _cut(table, len(report.streams), listed)


def _images(report: Report, listed: int) -> Table:
    table = _table("What goes, and why", "Image", "Named by", "Age", "Frees", "Why", numbers=("Age", "Frees"))
    going = report.touched
    for image in going[: listed or None]:
        table.add_row(
            wording.short(image.digest),
            _plain(image.name),
            wording.age(report, image.created),
            wording.size(image.freed),
            _plain(why(image)),
        )
    return _cut(table, len(going), listed)


def _kept(report: Report) -> Table:
    table = _table("What keeps the rest", "Rule", "Why", "Images", "Revisions", numbers=("Images", "Revisions"))
    for each in report.kept_by:
        table.add_row(each.rule, _plain(each.why), str(each.images), str(each.revisions))
    return table


def why(image: ReportedImage) -> str:
    """The reasons for a digest. Where revisions that go named it, theirs are what let it go."""
    reasons = [*dict.fromkeys(str(named.reason) for named in image.losing)] or [str(image.reason)]
    return "; ".join([*reasons, f"the image itself stays: {image.reason}"] if image.reason.kept else reasons)
