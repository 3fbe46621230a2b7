"""Compares two plans: what only one of them prunes, by namespace, image stream and tag, with the bytes it frees.

A blob counts once, for the first row whose image lists it, so that the rows of a plan add up to its total.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from pruner.analysis.blobs import pushed_to
from pruner.console import Margin, data
from pruner.plan import PrunePlan
from pruner.reasons import time_said
from pruner.report import wording
from pruner.report.markdown_table import code, heading, row

NO_TAG: Final = ""
"""The tag of images that no pruned revision names; their row has the stream that they were pushed to, if any."""
LISTED: Final = 40
"""Rows of the table of tags; how many more there are is said."""


class Difference(msgspec.Struct, frozen=True):
    """What one plan prunes that the other does not; `bytes` are
    known to be freed, `image_streams` are deleted as a whole.

    `retired` are images that are retired instead of deleted, and `retired_bytes` freed when their grace is over (R36).
    """

    revisions: int = 0
    images: int = 0
    bytes: int = 0
    image_streams: int = 0
    retired: int = 0
    retired_bytes: int = 0

    def plus(self, other: Difference) -> Difference:
        return Difference(
            self.revisions + other.revisions,
            self.images + other.images,
            self.bytes + other.bytes,
            self.image_streams + other.image_streams,
            self.retired + other.retired,
            self.retired_bytes + other.retired_bytes,
        )


class Row(msgspec.Struct, frozen=True):
    """One tag of one image stream in which the plans differ.

    `stream` is `namespace/name`, empty for images of no image stream.
    """

    namespace: str
    stream: str
    tag: str
    first: Difference
    second: Difference


class Comparison(msgspec.Struct, frozen=True):
    """Two plans, named by their fingerprints, and the rows in which they differ, sorted by stream and tag."""

    cluster: str
    first: str
    second: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def totals(self) -> tuple[Difference, Difference]:
        return _sum(row.first for row in self.rows), _sum(row.second for row in self.rows)

    def by_namespace(self) -> list[Row]:
        """The rows of each namespace added up."""
        groups: defaultdict[str, list[Row]] = defaultdict(list)
        for each in self.rows:
            groups[each.namespace].append(each)
        return [
            Row(namespace, "", NO_TAG, _sum(each.first for each in rows), _sum(each.second for each in rows))
            for namespace, rows in sorted(groups.items())
        ]


def compare(first: PrunePlan, second: PrunePlan) -> Comparison:
    """What each plan prunes that the other does not."""
    ours, theirs = _only_in(first, second), _only_in(second, first)
    rows = [
        Row(
            stream.partition("/")[0],
            stream,
            tag,
            ours.get((stream, tag), Difference()),
            theirs.get((stream, tag), Difference()),
        )
        for stream, tag in sorted(ours.keys() | theirs.keys())
    ]
    notes = []
    if first.cluster != second.cluster:
        notes.append(f"the plans are of different clusters: {first.cluster} and {second.cluster}")
    if first.as_of != second.as_of:
        # To the second: plans that are compared are often made one after the other.
        times = f"{time_said(first.as_of)} and {time_said(second.as_of)}"
        notes.append(f"the plans measure ages at different times: {times}")
    return Comparison(first.cluster, first.fingerprint, second.fingerprint, tuple(rows), tuple(notes))


def _only_in(plan: PrunePlan, other: PrunePlan) -> dict[tuple[str, str], Difference]:
    """By stream and tag: what only this plan prunes."""
    shared = set(_revisions(other))
    tags: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    revisions: defaultdict[tuple[str, str], int] = defaultdict(int)
    for revision in _revisions(plan):
        stream, tag, digest, _ = revision
        tags[digest].append((stream, tag))
        if revision not in shared:
            revisions[stream, tag] += 1
    left = {blob.digest: blob.size or 0 for blob in plan.blobs}
    for needless in other.blobs:
        left.pop(needless.digest, None)
    both = {image.name for image in other.images}
    differences = {place: Difference(revisions=count) for place, count in revisions.items()}
    for image in plan.images:
        blobs = sum(left.pop(blob, 0) for blob in image.blobs)
        if image.name in both and not blobs:
            continue
        place = min(tags.get(image.name, [(pushed_to(image.reference) or "", NO_TAG)]))
        found = Difference(images=int(image.name not in both), bytes=blobs)
        differences[place] = differences.get(place, Difference()).plus(found)
    elsewhere = {image.name: image.bytes for image in other.retired}
    for retired in plan.retired:
        # What one plan frees later with this image, the other may free with another one, or not at all.
        more = max(0, retired.bytes - elsewhere.get(retired.name, 0))
        if retired.name in elsewhere and not more:
            continue
        place = min(tags.get(retired.name, [(pushed_to(retired.reference) or "", NO_TAG)]))
        found = Difference(retired=int(retired.name not in elsewhere), retired_bytes=more)
        differences[place] = differences.get(place, Difference()).plus(found)
    deleted = {each.stream for each in other.empty_streams}
    for each in plan.empty_streams:
        if each.stream not in deleted:
            place = (each.stream, NO_TAG)
            differences[place] = differences.get(place, Difference()).plus(Difference(image_streams=1))
    return differences


def _revisions(plan: PrunePlan) -> Iterator[tuple[str, str, str, str]]:
    for change in plan.streams:
        for item in change.revisions:
            yield change.stream, item.tag, item.image, item.created.isoformat()


def _sum(differences: Iterable[Difference]) -> Difference:
    total = Difference()
    for each in differences:
        total = total.plus(each)
    return total


# --- forms ------------------------------------------------------------------------------------------------------------


def as_json(comparison: Comparison) -> Mapping[str, object]:
    """The comparison for machines: totals, namespaces and tags."""
    first, second = comparison.totals
    return {
        "cluster": comparison.cluster,
        "first": {"plan": comparison.first, **msgspec.to_builtins(first)},
        "second": {"plan": comparison.second, **msgspec.to_builtins(second)},
        "namespaces": [
            {
                "namespace": row.namespace,
                "first": msgspec.to_builtins(row.first),
                "second": msgspec.to_builtins(row.second),
            }
            for row in comparison.by_namespace()
        ],
        "tags": msgspec.to_builtins(comparison.rows),
        "notes": list(comparison.notes),
    }


def headline(comparison: Comparison) -> str:
    """One line: how much only the first plan prunes, and how much only the second."""
    if not comparison.rows:
        return "Both plans prune the same"
    first, second = (_said(each) for each in comparison.totals)
    return f"Only the first plan prunes {first}; only the second prunes {second}"


def markdown(comparison: Comparison) -> str:
    """The comparison for a comment on a pull request."""
    lines = [f"### pruner: {headline(comparison)}", ""]
    lines += [f"- :warning: {code(note)}" for note in comparison.notes]
    if comparison.rows:
        lines.append(heading("image stream", "tag", "only the first", "only the second"))
        for each in _largest(comparison)[:LISTED]:
            lines.append(row(code(_stream(each)), code(_tag(each)), _cell(each.first), _cell(each.second)))
        if len(comparison.rows) > LISTED:
            lines.append(row(f"and {len(comparison.rows) - LISTED} more tags", "", "", ""))
    return "\n".join(lines) + "\n"


def print_comparison(comparison: Comparison, console: Console, *, listed: int = LISTED) -> None:
    """Print the comparison; `listed` rows of tags, 0 for all."""
    console.print(Margin(data(headline(comparison))))
    for note in comparison.notes:
        console.print(Margin(data(f"note: {note}")))
    if not comparison.rows:
        return
    namespaces = _table("By namespace", "Namespace")
    for each in comparison.by_namespace():
        namespaces.add_row(data(each.namespace or "none"), _cell(each.first), _cell(each.second))
    tags = _table("By tag", "Image stream", "Tag")
    for each in _largest(comparison)[: listed or None]:
        tags.add_row(data(_stream(each)), data(_tag(each)), _cell(each.first), _cell(each.second))
    if listed and len(comparison.rows) > listed:
        tags.caption = f"and {len(comparison.rows) - listed} more; --all lists them"
    for table in (namespaces, tags):
        console.print(Margin(table))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for column in ("Only the first: revisions / images / bytes", "Only the second"):
        table.add_column(column, justify="right")
    return table


def _largest(comparison: Comparison) -> list[Row]:
    """The rows, those first in which most bytes differ."""
    return sorted(comparison.rows, key=lambda row: (-row.first.bytes - row.second.bytes, row.stream, row.tag))


def _stream(row: Row) -> str:
    return row.stream or "no image stream"


def _tag(row: Row) -> str:
    return row.tag or "none"


def _said(difference: Difference) -> str:
    if difference == Difference():
        return "nothing"
    counts = (wording.count(difference.revisions, "revision"), wording.count(difference.images, "image"))
    return f"{' and '.join(counts)}, {wording.size(difference.bytes)}{_deleted(difference)}{_retired(difference)}"


def _cell(difference: Difference) -> str:
    if difference == Difference():
        return ""
    amounts = f"{difference.revisions} / {difference.images} / {wording.size(difference.bytes)}"
    return f"{amounts}{_deleted(difference)}{_retired(difference)}"


def _deleted(difference: Difference) -> str:
    return f", {wording.count(difference.image_streams, 'image stream')} deleted" if difference.image_streams else ""


def _retired(difference: Difference) -> str:
    if not difference.retired and not difference.retired_bytes:
        return ""
    return f", {wording.count(difference.retired, 'image')} retired ({wording.size(difference.retired_bytes)} later)"
