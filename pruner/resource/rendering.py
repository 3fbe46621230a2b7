"""The plan as the resource's inputs show it: what `pulumi preview` prints as `+` lines and policy packs look at.

Maps from name to reason, so that a reader sees what goes and why, line by line. Past `LISTED` entries the engine would take minutes and
gigabytes over them; then sums by image stream stand there, of as many of them, and the whole plan is in its file.
"""

from __future__ import annotations

from typing import Any, Final

from rich.filesize import decimal

from pruner.plan import PrunedBlob, PrunedImage, PrunedRevision, PrunePlan, StreamChange
from pruner.report.wording import count

LISTED: Final = 2000
"""Entries, of all kinds together, up to which a plan is listed in full."""


def rendered(plan: PrunePlan) -> dict[str, Any]:
    """The plan as nested maps of texts and numbers; an empty map where there is nothing to do."""
    if plan.empty:
        return {}
    summary = plan.summary
    shown: dict[str, Any] = {
        "summary": in_words(plan),
        "fingerprint": plan.fingerprint,
        "cluster": plan.cluster,
        "counts": {name: getattr(summary, name) for name in summary.__struct_fields__},
    }
    if plan.registry is not None:
        shown["registry"] = plan.registry.url
    if plan.notes:
        shown["notes"] = list(plan.notes)
    if summary.revisions + summary.images + summary.blobs <= LISTED:
        return {**shown, **_listed(plan)}
    return {**shown, "listed": False, "image_streams": _summed(plan)}


def in_words(plan: PrunePlan) -> str:
    """One line: how much of what goes."""
    summary = plan.summary
    parts = [
        count(summary.revisions, "revision") + " of " + count(summary.image_streams, "image stream"),
        count(summary.images, "image"),
        count(summary.blobs, "blob"),
    ]
    size = f"{decimal(summary.bytes)} ({summary.bytes} bytes)"
    if summary.unmeasured:
        size += f", and {count(summary.unmeasured, 'blob')} of unknown size"
    return ", ".join(parts) + f": {size}"


def _listed(plan: PrunePlan) -> dict[str, Any]:
    blobs = {blob.digest: blob for blob in plan.blobs}
    listed = {
        "revisions": {
            f"{change.stream}:{item.tag}@{item.image}": _revision(item)
            for change in plan.streams
            for item in change.revisions
        },
        "images": {image.name: _image(image, blobs) for image in plan.images},
        "blobs": {blob.digest: f"{blob.kind}, {_size(blob.size)}" for blob in plan.blobs},
        "links": {
            change.stream: f"{count(len(change.layer_links), 'layer link')}, {count(len(change.manifest_links), 'manifest link')}"
            for change in plan.streams
            if change.layer_links or change.manifest_links
        },
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
        parts.append(f"shares {count(image.shared, 'blob')} that {'stays' if image.shared == 1 else 'stay'}")
    return f"{', '.join(parts)}: {image.reason}"


def _size(size: int | None) -> str:
    return "size unknown" if size is None else decimal(size)


def _summed(plan: PrunePlan) -> dict[str, str]:
    """Sums of the image streams that most goes of; how many more there are is said."""
    streams = sorted(plan.streams, key=lambda change: (-len(change.revisions), change.stream))
    summed = {change.stream: _sums(change) for change in streams[:LISTED]}
    if len(streams) > LISTED:
        rest = streams[LISTED:]
        revisions = sum(len(change.revisions) for change in rest)
        summed["(others)"] = f"{count(len(rest), 'image stream')}, {count(revisions, 'revision')}"
    return summed


def _sums(change: StreamChange) -> str:
    links = len(change.layer_links) + len(change.manifest_links)
    return f"{count(len(change.revisions), 'revision')}, {count(links, 'link')}"
