"""Where removed revisions go in the history of their tags (R37): pure functions from one image stream to another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from pruner.cluster.retirement import RemovedRevision, created


class Placed(msgspec.Struct, frozen=True):
    """A revision in the history of its tag; `present` says that it stands there already.

    `below_current` says that the tag has moved on, so that the revision does not become the current one again.
    """

    revision: RemovedRevision
    position: int
    present: bool
    below_current: bool


def with_revisions(
    stream: dict[str, Any], revisions: Iterable[RemovedRevision]
) -> tuple[dict[str, Any], tuple[Placed, ...]]:
    """The image stream with these revisions back in the histories of its tags, and the place of each.

    A history is ordered by time, newest first. A revision goes where its time says, at its old number among those of
    the same time, and below the current one where the tag was moved after the revision was removed.
    """
    status = stream.get("status") or {}
    histories = {tag["tag"]: list(tag.get("items") or ()) for tag in status.get("tags") or ()}
    by_tag: defaultdict[str, list[RemovedRevision]] = defaultdict(list)
    for each in revisions:
        by_tag[each.tag].append(each)
    placed: list[Placed] = []
    changed: dict[str, list[Any]] = {}
    for tag, wanted in by_tag.items():
        items = histories.get(tag, [])
        missing = [each for each in wanted if not any(_is_same(each, item) for item in items)]
        moved = {each.key for each in missing if items and created(items[0]) > each.at}
        for each in sorted(missing, key=lambda each: (each.position, -each.created.timestamp())):
            items.insert(_place(each, items, moved=each.key in moved), each.item)
        for each in wanted:
            position = next(number for number, item in enumerate(items) if _is_same(each, item))
            placed.append(Placed(each, position, each not in missing, position > 0 and each.key in moved))
        if missing:
            changed[tag] = items
    if not changed:
        return stream, tuple(placed)
    tags = [
        {**tag, "items": changed.pop(tag["tag"])} if tag["tag"] in changed else tag for tag in status.get("tags") or ()
    ]
    tags += [{"tag": tag, "items": items} for tag, items in changed.items()]
    return {**stream, "status": {**status, "tags": tags}}, tuple(placed)


def _is_same(revision: RemovedRevision, item: dict[str, Any]) -> bool:
    return item.get("image") == revision.item.get("image") and created(item) == revision.created


def _place(revision: RemovedRevision, items: list[dict[str, Any]], *, moved: bool) -> int:
    times = [created(item) for item in items]
    first = next((number for number, time in enumerate(times) if time <= revision.created), len(items))
    last = next((number for number, time in enumerate(times) if time < revision.created), len(items))
    place = min(max(revision.position, first), last)
    return max(place, 1) if moved and items else place


def with_spec_tags(stream: dict[str, Any], revisions: Iterable[RemovedRevision]) -> tuple[dict[str, Any], set[str]]:
    """The image stream with the entries of `spec.tags` back that were removed with these revisions, and the tags that
    got theirs back.

    A tag that was declared again since keeps its new entry.
    """
    spec = stream.get("spec") or {}
    declared = {tag["name"] for tag in spec.get("tags") or ()}
    missing = {each.tag: each.spec_tag for each in revisions if each.spec_tag is not None and each.tag not in declared}
    if not missing:
        return stream, set()
    tags = [*(spec.get("tags") or ()), *(entry for _, entry in sorted(missing.items()))]
    return {**stream, "spec": {**spec, "tags": tags}}, set(missing)
