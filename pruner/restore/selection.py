"""Which retired revisions somebody wants back: by digest, by tag, by time, or by the run that removed them.

Everything here is pure. What belongs to a chosen image comes with it: the tags that are attached to it, and to these
(R35).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from pruner.analysis.attached import subject_of
from pruner.cluster.retirement import Record, RemovedRevision, Restoration
from pruner.errors import PrunerError
from pruner.suggestions import closest

NEAR: Final = 5
"""So many near names are listed for one that is not retired."""
_DIGEST: Final = re.compile(r"(?:sha256:)?[0-9a-f]{7,64}")


class NotRetiredError(PrunerError):
    """What was asked for is not retired; the message says why, and what near it is."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What to restore: `names` (digests and `namespace/stream:tag`),
    or all that was removed `since` a time, or by a `run`.
    """

    names: tuple[str, ...] = ()
    since: datetime | None = None
    run: str | None = None


class MarkedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An Image that is retired, or was restored lately. `members` are those of an index."""

    name: str
    record: Record | None = None
    restoration: Restoration | None = None
    members: tuple[str, ...] = ()


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The revisions that were chosen, by image; `named` are images that were chosen and of which no revision is
    recorded.

    `already` are chosen images that were restored before.
    """

    revisions: dict[str, tuple[RemovedRevision, ...]]
    named: tuple[str, ...] = ()
    already: tuple[str, ...] = ()


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a cluster: images with marks, all images by
    name, and what the tags that were asked for name now.
    """

    marked: Mapping[str, MarkedImage]
    images: frozenset[str]
    tags: Mapping[str, tuple[str, ...] | None] = {}


def choose(choice: Choice, cluster: Cluster) -> Chosen:
    """The chosen revisions. Raises NotRetiredError, with all that is wrong in one message, for what is not retired."""
    retired = {name: image.record for name, image in cluster.marked.items() if image.record is not None}
    if choice.names:
        revisions, named, already = _by_name(choice.names, retired, cluster)
    else:
        revisions, named, already = _by_removal(choice, retired, cluster)
    _add_attached(revisions, retired)
    found = {name: tuple(each.values()) for name, each in sorted(revisions.items()) if each}
    return Chosen(revisions=found, named=tuple(sorted(named - found.keys())), already=tuple(sorted(already)))


_Revisions = defaultdict[str, dict[tuple[str, str, str], RemovedRevision]]


def _by_name(
    names: Iterable[str], retired: Mapping[str, Record], cluster: Cluster
) -> tuple[_Revisions, set[str], set[str]]:
    revisions: _Revisions = defaultdict(dict)
    named: set[str] = set()
    already: set[str] = set()
    problems = []
    by_tag: defaultdict[str, list[tuple[str, RemovedRevision]]] = defaultdict(list)
    for image, record in retired.items():
        for each in record.revisions:
            by_tag[each.name].append((image, each))
    for name in dict.fromkeys(names):
        if "/" in name:
            for image, each in by_tag[name]:
                revisions[image][each.key] = each
            restored = [image for image in cluster.tags.get(name) or () if _was_restored(image, cluster)]
            already.update(() if by_tag[name] else restored)
            if not by_tag[name] and not restored:
                problems.append(_unknown_tag(name, cluster, by_tag))
            continue
        found = _with_prefix(name, retired) or _with_prefix(name, cluster.images)
        if len(found) == 1 and found[0] in retired:
            named.add(found[0])
            revisions[found[0]].update({each.key: each for each in retired[found[0]].revisions})
        elif len(found) == 1 and _was_restored(found[0], cluster):
            already.add(found[0])
        else:
            problems.append(_unknown_digest(name, found, retired))
    if problems:
        raise NotRetiredError(f"{'; '.join(problems)}; nothing was changed")
    return revisions, named, already


def _by_removal(
    choice: Choice, retired: Mapping[str, Record], cluster: Cluster
) -> tuple[_Revisions, set[str], set[str]]:
    revisions: _Revisions = defaultdict(dict)
    for image, record in retired.items():
        for each in record.revisions:
            if (choice.since is None or each.at >= choice.since) and (choice.run is None or each.run == choice.run):
                revisions[image][each.key] = each
    already = {
        name
        for name, image in cluster.marked.items()
        if image.restoration is not None and choice.run in image.restoration.runs and name not in revisions
    }
    if not revisions and not already:
        raise NotRetiredError(_nothing_removed(choice, retired))
    return revisions, set(), already


def _add_attached(revisions: _Revisions, retired: Mapping[str, Record]) -> None:
    """Add the revisions of tags that are attached to what was chosen, however deep."""
    attached: defaultdict[str, list[tuple[str, RemovedRevision]]] = defaultdict(list)
    for image, record in retired.items():
        for each in record.revisions:
            subject = subject_of(each.tag)
            if subject is not None:
                attached[subject].append((image, each))
    ahead = list(revisions) if attached else []
    while ahead:
        for image, each in attached.pop(ahead.pop(), ()):
            if not revisions[image]:
                ahead.append(image)
            revisions[image][each.key] = each


def _was_restored(image: str, cluster: Cluster) -> bool:
    marked = cluster.marked.get(image)
    return marked is not None and marked.restoration is not None


def _with_prefix(name: str, known: Iterable[str]) -> list[str]:
    """The digests that the name is, or begins."""
    if name in set(known):
        return [name]
    if not _DIGEST.fullmatch(name):
        return []
    whole = name if ":" in name else f"sha256:{name}"
    return sorted(each for each in known if each.startswith(whole))


# --- why not ----------------------------------------------------------------------------------------------------------


def _unknown_digest(name: str, found: list[str], retired: Mapping[str, Record]) -> str:
    if len(found) > 1:
        return f"{name!r} begins {len(found)} digests: {', '.join(found[:NEAR])}"
    if found:
        return f"image {found[0]} is not retired: it was never retired, or something named it or used it since"
    if not _DIGEST.fullmatch(name):
        return f"{name!r} is neither a digest nor namespace/stream:tag{_near(name, retired)}"
    return f"there is no image {name}: it was deleted, or never was in this cluster{_near(name, retired)}"


def _unknown_tag(name: str, cluster: Cluster, by_tag: Mapping[str, object]) -> str:
    known = [each for each, found in by_tag.items() if found]
    if ":" not in name.rpartition("/")[2]:
        return f"{name!r} has no tag; name it namespace/stream:tag{_near(name, known)}"
    images = cluster.tags.get(name)
    if images is None:
        why = "there is no such image stream"
    elif images:
        why = "the tag is there, and none of its revisions is retired"
    else:
        why = "none of its revisions is retired: they were deleted, or their images are still named elsewhere"
    return f"nothing of {name} can be restored: {why}{_near(name, known)}"


def _near(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    stream = name.rpartition(":")[0]
    near = list(closest(name, names, count=NEAR, cutoff=0.5))
    near += [each for each in names if stream and each.startswith(f"{stream}:") and "/" in each and each not in near]
    return f"; retired near it: {', '.join(near[:NEAR])}" if near else "; nothing near it is retired"


def _nothing_removed(choice: Choice, retired: Mapping[str, Record]) -> str:
    removals = {each.run: each.at for record in retired.values() for each in record.revisions}
    latest = sorted(removals, key=lambda run: removals[run], reverse=True)[:NEAR]
    known = ", ".join(f"{run} at {removals[run]:%Y-%m-%d %H:%M} UTC" for run in latest)
    what = f"run {choice.run}" if choice.run is not None else f"a run since {choice.since:%Y-%m-%d %H:%M} UTC"
    tail = f"the latest runs with retired revisions are {known}" if known else "no image is retired"
    return f"no retired revision was removed by {what}; {tail}; nothing was changed"
