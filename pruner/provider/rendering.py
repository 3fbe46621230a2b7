"""The plan as the resource's inputs show it: what `pulumi preview` prints as `+` lines and policy packs look at.

Maps from name to reason, so that a reader sees what is pruned and why, line by line: sums by image stream first, since
the engine sorts the maps by name, then images, then revisions. Blobs are counted with the images they belong to. Past
`LISTED` entries the engine would take minutes and gigabytes; then only sums remain, and the whole plan is in its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rich.filesize import decimal

from pruner.plan import PrunedBlob, PrunedImage, PrunedRevision, PrunePlan, RetiredImage
from pruner.printable import printable
from pruner.provider.values import value_of
from pruner.report.rows import StreamSum, stream_sums
from pruner.report.wording import count, headline

LISTED: Final = 2000
"""Entries of a map, and revisions and images together, up to which a plan is listed in full."""

ROWS: Final = 20
"""Image streams that a preview without `--diff` lists, and a refresh."""

_NAME: Final = 100
"""Characters of a name in that list."""


def rendered(plan: PrunePlan) -> dict[str, Any]:
    """The plan as nested maps of texts and numbers, safe for the engine; an empty map where there is nothing to do."""
    if plan.empty:
        return {}
    summary = plan.summary
    shown: dict[str, Any] = {
        "summary": headline(plan),
        "fingerprint": plan.fingerprint,
        "cluster": plan.cluster,
        "counts": {name: getattr(summary, name) for name in summary.__struct_fields__},
        "image_streams": _summed(plan, LISTED),
    }
    if plan.registry is not None:
        shown["registry"] = plan.registry.url
    if plan.notes:
        shown["notes"] = list(plan.notes)
    listed = _listed(plan) if plan.deletions + plan.retirements <= LISTED else {"listed": False}
    safe: dict[str, Any] = value_of({**shown, **listed})
    return safe


def backlog(plan: PrunePlan) -> dict[str, Any]:
    """What a refresh shows as drift: sums, of the largest image streams; an empty map where there is nothing to do."""
    if plan.empty:
        return {}
    shown: dict[str, Any] = value_of({"summary": headline(plan), "image_streams": _summed(plan, ROWS)})
    return shown


def table(plan: PrunePlan) -> Iterator[str]:
    """The plan as a table with a row for each of the largest image streams, for those who don't see the inputs."""
    sums = stream_sums(plan)
    rows = [_cells(each.stream, each) for each in sums[:ROWS]]
    if len(sums) > ROWS:
        rows.append(_cells(f"and {count(len(sums) - ROWS, 'more image stream')}", *sums[ROWS:]))
    cells = [("image stream", "revisions", "images", "frees"), *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for name, *numbers in cells:
        right = (number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *right])


def _cells(name: str, *sums: StreamSum) -> tuple[str, str, str, str]:
    return (
        printable(name, _NAME),
        str(sum(each.revisions for each in sums)),
        str(sum(each.images for each in sums)),
        decimal(sum(each.bytes for each in sums)),
    )


def _listed(plan: PrunePlan) -> dict[str, Any]:
    blobs = {blob.digest: blob for blob in plan.blobs}
    in_spec = {(change.stream, tag) for change in plan.streams for tag in change.removed_spec_tags}
    listed = {
        "revisions": {
            f"{change.stream}:{item.tag}@{item.image}": _revision(item)
            for change in plan.streams
            for item in change.revisions
        },
        "images": {image.name: _image(image, blobs) for image in plan.images},
        "expired_tags": {
            f"{stream}:{tag}": "status and spec" if (stream, tag) in in_spec else "status"
            for stream, tag in plan.expired_tags
        },
        "retired_images": {image.name: _retired(image) for image in plan.retired},
        "needed_again": {each.name: str(each.reason) for each in plan.needed_again},
        "empty_streams": {each.stream: str(each.reason) for each in plan.empty_streams},
    }
    return {name: entries for name, entries in listed.items() if entries}


def _revision(item: PrunedRevision) -> str:
    return f"{item.created:%Y-%m-%dT%H:%M:%SZ}: {item.reason}"


def _image(image: PrunedImage, blobs: dict[str, PrunedBlob]) -> str:
    size = sum(blobs[digest].size or 0 for digest in image.blobs if digest in blobs)
    parts = [f"{image.created:%Y-%m-%dT%H:%M:%SZ}"]
    repository = image.reference.partition("@")[0].partition("/")[2]
    if repository:
        parts.append(f"from {repository}")
    if image.members:
        parts.append(f"a list of {count(image.members, 'manifest')}")
    parts += [count(len(image.blobs), "blob"), _size(size)]
    if image.shared:
        parts.append(f"shares {count(image.shared, 'blob')} that {'is' if image.shared == 1 else 'are'} kept")
    return f"{', '.join(parts)}: {image.reason}"


def _retired(image: RetiredImage) -> str:
    repository = image.reference.partition("@")[0].partition("/")[2]
    origin = f", from {repository}" if repository else ""
    return f"{image.created:%Y-%m-%dT%H:%M:%SZ}{origin}, {_size(image.bytes)} later: {image.reason}"


def _size(size: int | None) -> str:
    return "size unknown" if size is None else decimal(size)


def _summed(plan: PrunePlan, most: int) -> dict[str, str]:
    """Sums of the image streams that lose most; how many more there are is said."""
    links = {change.stream: len(change.layer_links) + len(change.manifest_links) for change in plan.streams}
    sums = stream_sums(plan)
    summed = {each.stream: _sums(links.get(each.stream, 0), each) for each in sums[:most]}
    if len(sums) > most:
        rest = sums[most:]
        of_rest = sum(links.get(each.stream, 0) for each in rest)
        summed["(others)"] = f"{count(len(rest), 'image stream')}, {_sums(of_rest, *rest)}"
    return summed


def _sums(links: int, *sums: StreamSum) -> str:
    parts = [
        count(sum(each.revisions for each in sums), "revision"),
        count(sum(each.images for each in sums), "image"),
        *([count(links, "link")] if links else []),
    ]
    return f"{', '.join(parts)}: {decimal(sum(each.bytes for each in sums))}"
