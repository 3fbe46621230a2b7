"""What keeps the registry large, for people and machines: tables of text, a page of HTML, JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, assert_never

import msgspec
from markupsafe import Markup
from rich.console import Console
from rich.table import Table

from pruner.analysis.storage import (
    Cause,
    HeldByIdle,
    KeptBy,
    NobodyRefers,
    Prunable,
    Storage,
    Sum,
    UsedBy,
)
from pruner.analysis.storage_steps import DeleteIdle, SetTo, Step
from pruner.console import Margin, data
from pruner.reasons import in_general
from pruner.report import wording
from pruner.report.html import environment, part, source
from pruner.report.model import NO_STREAM

LISTED: Final = 40
"""Rows of a table; how many more there are is said."""
_PAGE: Final = 500
"""Rows of a table of the page."""


class StorageReport(msgspec.Struct, frozen=True):
    """What keeps a cluster's registry large as of a time, and what each step would free."""

    cluster: str
    as_of: datetime
    storage: Storage
    steps: tuple[Step, ...]


# --- words -----------------------------------------------------------------------------------------------------------


def said(cause: Cause, objects: int) -> str:
    """What keeps something, with how many workloads there are of it."""
    match cause:
        case UsedBy(kind=kind):
            return f"used by {wording.count(objects, kind)}"
        case HeldByIdle(kind=kind):
            return f"kept by {wording.count(objects, kind)} {_idleness(kind, objects)}"
        case NobodyRefers():
            return "current images of tags nobody refers to"
        case KeptBy(reason=reason):
            return in_general(reason)
        case Prunable():
            return "nothing: the next run prunes it"
        case _:
            assert_never(cause)


def _idleness(kind: str, objects: int) -> str:
    if kind in ("Pod", "Build", "Job"):
        return f"that {'has' if objects == 1 else 'have'} ended"
    return "for a roll-back" if kind == "ControllerRevision" else "scaled to zero"


def rule_of(cause: Cause) -> str:
    """The number of the rule that keeps it; empty where it is use, or nothing."""
    return cause.rule if isinstance(cause, KeptBy) else "R16" if isinstance(cause, NobodyRefers) else ""


def step_said(step: Step) -> str:
    """What to do, as an instruction."""
    match step.change:
        case DeleteIdle(kind=kind, objects=objects):
            return f"delete {wording.count(objects, kind)} {_idleness(kind, objects)}"
        case SetTo(setting="retention", then=then):
            return f"expire tags that nobody refers to, {then} after they were moved (retention)"
        case SetTo(setting=setting, now=now, then="", rule=_):
            return f"leave out {setting} (now {now})"
        case SetTo(setting=setting, now=now, then=then, rule=rule):
            return f"set {setting}{f' of retention rule {rule}' if rule else ''} to {then} (now {now})"


def retires(steps: Sequence[Step]) -> bool:
    """Whether images of any step are retired first, so that it matters when their bytes are freed."""
    return any(step.retired for step in steps)


def when_freed(step: Step) -> str:
    """When the bytes are freed: images that the next run retires stay until their grace is over (R36)."""
    return "after the grace period" if step.retired else "next run"


def headline(storage: Storage) -> str:
    """One line: how much there is of what."""
    unknown = f", and {wording.count(storage.unmeasured, 'blob')} of unknown size" if storage.unmeasured else ""
    return (
        f"{wording.size(storage.bytes)} in {wording.count(storage.blobs, 'blob')} of "
        f"{wording.count(storage.images, 'image')}{unknown}"
    )


def _share(part_of: int, whole: int) -> str:
    return f"{100 * part_of / whole:.0f}%" if whole else ""


# --- text ------------------------------------------------------------------------------------------------------------


def print_storage(report: StorageReport, console: Console, *, listed: int = LISTED) -> None:
    """Print the tables; `listed` rows of each, 0 for all."""
    found = report.storage
    console.print(Margin(data(headline(found))))
    console.print(Margin(data(f"cluster {report.cluster}, as of {wording.time(report.as_of)}")))
    for title, first, rows in _tables(found):
        console.print(Margin(_table(title, first, rows, found.bytes, listed)))
    if report.steps:
        steps = Table(
            title="What one step would free", title_justify="left", title_style="bold", box=None, pad_edge=False
        )
        steps.add_column("Step", overflow="fold")
        steps.add_column("Images", justify="right")
        steps.add_column("Frees", justify="right")
        if retires(report.steps):
            steps.add_column("When")
        for step in report.steps:
            when = [when_freed(step)] if retires(report.steps) else []
            steps.add_row(data(step_said(step)), str(step.images), wording.size(step.bytes), *when)
        console.print(Margin(steps))


def _tables(found: Storage) -> Iterable[tuple[str, tuple[str, ...], Sequence[tuple[tuple[str, ...], Sum]]]]:
    """Title, names of the first columns, and rows."""
    causes = [((said(cause, each.objects), rule_of(cause)), each) for cause, each in found.causes]
    yield "What keeps it", ("Kept by", "Rule"), causes
    yield "By namespace", ("Namespace",), [((name or NO_STREAM,), each) for name, each in found.namespaces]
    rows = [((stream or NO_STREAM, said(cause, each.objects)), each) for (stream, cause), each in found.rows]
    yield "By image stream", ("Image stream", "Kept by"), rows


def _table(
    title: str, first: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], Sum]], whole: int, listed: int
) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in first:
        table.add_column(column, overflow="fold")
    for column in ("Images", "Share", "", "Alone"):
        table.add_column(column, justify="right")
    for names, each in rows[: listed or None]:
        amounts = (str(each.images), wording.size(each.bytes), _share(each.bytes, whole), wording.size(each.alone))
        table.add_row(*map(data, names), *amounts)
    if listed and len(rows) > listed:
        table.caption = f"and {len(rows) - listed} more; --all lists them"
        table.caption_justify = "left"
    return table


# --- HTML and JSON ---------------------------------------------------------------------------------------------------


def page(report: StorageReport) -> str:
    """A page of HTML that needs nothing else, with a section for each table."""
    style = part("page.css")
    tables = [
        (
            title,
            first,
            [(names, each, _share(each.bytes, report.storage.bytes)) for names, each in rows[:_PAGE]],
            max(len(rows) - _PAGE, 0),
        )
        for title, first, rows in _tables(report.storage)
    ]
    return (
        environment()
        .get_template("storage.html.j2")
        .render(
            report=report,
            headline=headline(report.storage),
            tables=tables,
            steps=[(step_said(step), step, when_freed(step)) for step in report.steps],
            retires=retires(report.steps),
            style=Markup(style),  # noqa: S704 - a file of this package
            style_digest=source(style),
        )
    )


def as_json(report: StorageReport) -> dict[str, Any]:
    """The same for machines, with every row."""
    found = report.storage
    return {
        "cluster": report.cluster,
        "as_of": report.as_of,
        "bytes": found.bytes,
        "blobs": found.blobs,
        "unmeasured": found.unmeasured,
        "images": found.images,
        "kept_by": [{**_cause(cause, each), **_sum(each)} for cause, each in found.causes],
        "namespaces": [{"namespace": name, **_sum(each)} for name, each in found.namespaces],
        "image_streams": [{"image_stream": name, **_sum(each)} for name, each in found.streams],
        "rows": [
            {"namespace": stream.partition("/")[0], "image_stream": stream, **_cause(cause, each), **_sum(each)}
            for (stream, cause), each in found.rows
        ],
        "steps": [
            {
                **msgspec.to_builtins(step.change),
                "step": step_said(step),
                "images": step.images,
                "bytes": step.bytes,
                "retired": step.retired,
            }
            for step in report.steps
        ],
    }


def _cause(cause: Cause, each: Sum) -> dict[str, Any]:
    kind = {"kind": cause.kind, "objects": each.objects} if isinstance(cause, UsedBy | HeldByIdle) else {}
    type_ = msgspec.to_builtins(cause)["type"]
    return {"type": type_, "rule": rule_of(cause), "why": said(cause, each.objects), **kind}


def _sum(each: Sum) -> dict[str, Any]:
    return {"images": each.images, "bytes": each.bytes, "alone": each.alone}
