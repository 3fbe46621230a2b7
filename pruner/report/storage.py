"""What keeps the registry large, for people and machines: tables of text, a page of HTML, JSON.

The JSON is the whole of it: tables of text and of HTML are made of what it says, so that a report's page can show what
an earlier `pruner storage --json` has written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, assert_never

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
from pruner.errors import PrunerError
from pruner.files import reading
from pruner.reasons import in_general
from pruner.report import wording
from pruner.report.rows import NO_STREAM
from pruner.report.templates import environment, part, source

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


Count = Annotated[int, msgspec.Meta(ge=0)]


class _Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """Images, and bytes: their share, and what nothing else needs."""

    images: Count
    bytes: Count
    alone: Count


class _ByCause(_Amounts, frozen=True, kw_only=True):
    why: str
    rule: str


class _ByNamespace(_Amounts, frozen=True, kw_only=True):
    namespace: str


class _ByStream(_Amounts, frozen=True, kw_only=True):
    image_stream: str
    why: str


class _ShownStep(msgspec.Struct, frozen=True, kw_only=True):
    step: str
    images: Count
    bytes: Count
    retired: bool


class ShownStorage(msgspec.Struct, frozen=True, kw_only=True):
    """What tables show, of what `as_json` gives."""

    cluster: str
    as_of: Annotated[datetime, msgspec.Meta(tz=True)]
    bytes: Count
    blobs: Count
    unmeasured: Count
    images: Count
    kept_by: tuple[_ByCause, ...]
    namespaces: tuple[_ByNamespace, ...]
    rows: tuple[_ByStream, ...]
    steps: tuple[_ShownStep, ...]

    @classmethod
    def of(cls, report: StorageReport) -> ShownStorage:
        return msgspec.convert(as_json(report), type=cls)


def read_storage(path: Path) -> ShownStorage:
    """What `pruner storage --json` has written to a file. Raises PrunerError where it holds something else."""
    with reading(path):
        content = path.read_bytes()
    try:
        return msgspec.json.decode(content, type=ShownStorage)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PrunerError(f"{path}: is not what pruner storage --json writes: {error}") from None


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


def retires(steps: Sequence[_ShownStep]) -> bool:
    """Whether images of any step are retired first, so that it matters when their bytes are freed."""
    return any(step.retired for step in steps)


def when_freed(step: _ShownStep) -> str:
    """When the bytes are freed: images that the next run retires stay until their grace is over (R36)."""
    return "after the grace period" if step.retired else "next run"


def headline(storage: ShownStorage) -> str:
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
    found = ShownStorage.of(report)
    console.print(Margin(data(headline(found))))
    console.print(Margin(data(f"cluster {found.cluster}, as of {wording.time(found.as_of)}")))
    for title, first, rows in _tables(found):
        console.print(Margin(_table(title, first, rows, found.bytes, listed)))
    if found.steps:
        steps = Table(
            title="What one step would free", title_justify="left", title_style="bold", box=None, pad_edge=False
        )
        steps.add_column("Step", overflow="fold")
        steps.add_column("Images", justify="right")
        steps.add_column("Frees", justify="right")
        if retires(found.steps):
            steps.add_column("When")
        for step in found.steps:
            when = [when_freed(step)] if retires(found.steps) else []
            steps.add_row(data(step.step), str(step.images), wording.size(step.bytes), *when)
        console.print(Margin(steps))


Rows = Sequence[tuple[tuple[str, ...], _Amounts]]
"""What the first columns of each row say, and its amounts."""


def _tables(found: ShownStorage) -> Iterable[tuple[str, tuple[str, ...], Rows]]:
    """Title, names of the first columns, and rows."""
    yield "What keeps it", ("Kept by", "Rule"), [((each.why, each.rule), each) for each in found.kept_by]
    yield "By namespace", ("Namespace",), [((each.namespace or NO_STREAM,), each) for each in found.namespaces]
    rows = [((each.image_stream or NO_STREAM, each.why), each) for each in found.rows]
    yield "By image stream", ("Image stream", "Kept by"), rows


def _table(title: str, first: tuple[str, ...], rows: Rows, whole: int, listed: int) -> Table:
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
    found, style = ShownStorage.of(report), part("page.css")
    return (
        environment()
        .get_template("storage.html.j2")
        .render(
            report=report,
            headline=headline(found),
            sections=sections(found, heading="h2"),
            style=Markup(style),  # noqa: S704 - a file of this package
            style_digest=source(style),
        )
    )


def sections(found: ShownStorage, *, heading: str) -> Markup:
    """The tables as HTML, each under a heading of this element."""
    tables = [
        (title, first, [(names, each, _share(each.bytes, found.bytes)) for names, each in rows[:_PAGE]], len(rows))
        for title, first, rows in _tables(found)
    ]
    shown = (
        environment()
        .get_template("storage_sections.html.j2")
        .render(
            heading=heading,
            tables=tables,
            steps=[(step, when_freed(step)) for step in found.steps],
            retires=retires(found.steps),
        )
    )
    return Markup(shown)  # noqa: S704 - made by a template that escapes everything


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
