"""What keeps the registry as large as it is: its bytes by image stream and by what keeps them.

A blob of several images is stored once, so its bytes are divided among those that need it: equally among the image
streams, and within one equally among what keeps it there. So the rows of an image stream add up to its share, and those
of all streams to the whole registry. `alone` are the bytes that nothing else keeps.

An image can be kept for several reasons; it counts for the one that is hardest to give up: what runs, what somebody
asked to keep, workloads that are idle, the number of revisions, and its age, in this order (`RANKS`). Images that were
imported from other registries take no space in this one and don't count.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, assert_never

import msgspec

from pruner.analysis.blobs import blobs_of, pushed_to
from pruner.analysis.prune import Decided
from pruner.analysis.referenced import all_references
from pruner.analysis.usage import Users
from pruner.cluster.objects import Image
from pruner.cluster.workloads import Referrer
from pruner.reasons import (
    AmongNewest,
    CurrentOfReferencedTag,
    ImageTooYoung,
    MemberOf,
    NamedBy,
    Reason,
    Referenced,
    ReferencedInStream,
    RevisionTooYoung,
    StreamTooYoung,
    in_general,
)

T = TypeVar("T")

# --- what keeps something --------------------------------------------------------------------------------------------


class UsedBy(msgspec.Struct, frozen=True, tag="used", tag_field="type"):
    """Workloads of this `kind` refer to it, and can start it at any time."""

    kind: str


class KeptBy(msgspec.Struct, frozen=True, tag="kept", tag_field="type"):
    """A rule keeps it, whatever uses it. `reason` is one of those that are counted together."""

    rule: str
    reason: Reason


class HeldByIdle(msgspec.Struct, frozen=True, tag="idle", tag_field="type"):
    """Only idle workloads refer to it, of this `kind`: scaled to zero, ended, or kept for a roll-back."""

    kind: str


class NobodyRefers(msgspec.Struct, frozen=True, tag="nobody refers", tag_field="type"):
    """It is the current image of a tag that nothing refers to, and `keep_tag_revisions` keeps it."""


class Prunable(msgspec.Struct, frozen=True, tag="prunable", tag_field="type"):
    """Nothing keeps it: the next run prunes it."""


Cause = UsedBy | KeptBy | HeldByIdle | NobodyRefers | Prunable

RANKS: Final[Mapping[str, int]] = {"used": 0, "kept": 1, "idle": 2, "newest": 3, "nobody refers": 4, "young": 5}
"""How hard what keeps an image is to give up, hardest first."""

SCALED: Final = frozenset({"Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DeploymentConfig"})
"""Kinds that are idle when they are scaled to zero."""
ENDED: Final = frozenset({"Pod", "Build", "Job"})
"""Kinds that are idle when they have ended."""
OF_HISTORY: Final = frozenset({"ControllerRevision"})
"""Kinds that only serve to roll back."""
_ENDED_PHASES: Final = frozenset({"Succeeded", "Failed", "Complete", "Cancelled", "Error"})


def idle_workloads(referrers: Iterable[Referrer]) -> dict[str, str]:
    """The kind of each workload that runs nothing now, by name (`Kind namespace/name`)."""
    return {referrer.name: referrer.kind for referrer in referrers if _is_idle(referrer)}


def _is_idle(referrer: Referrer) -> bool:
    kind, workload = referrer.kind, referrer.workload
    if kind in SCALED:
        return workload.spec is not None and workload.spec.replicas == 0
    if kind in ENDED:
        status = workload.status
        return status is not None and (status.phase in _ENDED_PHASES or status.completion_time is not None)
    return kind in OF_HISTORY


# --- the result ------------------------------------------------------------------------------------------------------


Key = tuple[str, Cause]
"""An image stream, `namespace/name`, and what keeps something in it."""


class Sum(msgspec.Struct, frozen=True):
    """What is kept in a part of the registry: so many `images`, and the `objects` of a cause that names a kind.

    `bytes` are its share, and `alone` those that nothing outside of the part needs.
    """

    images: int
    objects: int
    bytes: int
    alone: int


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of the registry. `blobs` are stored, `unmeasured` of them with a size that is not known.

    `rows` are what each cause keeps in each image stream; they and the sums of namespaces, image streams and causes
    have the largest share first. Images that belong to no image stream have the empty name, and so has their namespace.
    """

    bytes: int
    blobs: int
    unmeasured: int
    images: int
    rows: tuple[tuple[Key, Sum], ...]
    namespaces: tuple[tuple[str, Sum], ...]
    streams: tuple[tuple[str, Sum], ...]
    causes: tuple[tuple[Cause, Sum], ...]


def storage(decided: Decided, sizes: Mapping[str, int], idle: Mapping[str, str]) -> Storage:
    """Divide the registry's bytes.

    `sizes` are bytes by digest of a blob, `idle` the kinds of idle workloads by name.
    """
    stored = [image for image in decided.graph.images.values() if image.managed]
    causes = _Causes(decided, idle)
    keys = _keys(decided, stored, causes)
    needed = _needed(stored, keys)
    groups: Counter[frozenset[Key]] = Counter()
    unmeasured = 0
    for blob, group in needed.items():
        size = sizes.get(blob)
        if size is None:
            unmeasured += 1
        else:
            groups[group] += size
    division = _Division(keys, causes.users, groups)
    rows = division.sums(lambda key: key)
    return Storage(
        bytes=groups.total(),
        blobs=len(needed),
        unmeasured=unmeasured,
        images=len(stored),
        rows=_sorted(rows, _order_of_key),
        namespaces=_sorted(division.sums(lambda key: key[0].partition("/")[0]), str),
        streams=_sorted(division.sums(lambda key: key[0]), str),
        causes=_sorted(division.sums(lambda key: key[1]), order),
    )


def _sorted(sums: Mapping[T, Sum], name: Callable[[T], Any]) -> tuple[tuple[T, Sum], ...]:
    """Largest first, then by name."""
    return tuple(sorted(sums.items(), key=lambda each: (-each[1].bytes, name(each[0]))))


class _Causes:
    """What keeps each image, as the cause that is hardest to give up."""

    def __init__(self, decided: Decided, idle: Mapping[str, str]) -> None:
        self.decided = decided
        self.idle = idle
        streams = (history.stream for history in decided.histories)
        self.users = all_references(decided.usage, decided.graph.images.values(), streams)
        self._found: dict[str, tuple[int, Cause]] = {}
        self._of_users: dict[Users, tuple[int, Cause]] = {}
        self._general: dict[tuple[str, str], Cause] = {}
        self._of_reason: dict[int, tuple[Reason, tuple[int, Cause]]] = {}

    def found(self) -> dict[str, Cause]:
        """By digest, of everything that stays."""
        images = self.decided.images
        for digest, users in self.users.items():
            if digest in images and images[digest].kept:
                self._take(digest, self._by_users(users))
        for history in self.decided.histories:
            for tag in history.tags:
                for item, reason in tag.decided():
                    if reason.kept and item.image in images:
                        self._take(item.image, self._by(reason))
        for digest, reason in images.items():
            if reason.kept and not isinstance(reason, NamedBy | MemberOf):
                self._take(digest, self._by(reason))
        self._hand_down()
        return {digest: cause for digest, (_, cause) in self._found.items()}

    def _take(self, digest: str, cause: tuple[int, Cause]) -> None:
        known = self._found.get(digest)
        if known is None or cause[0] < known[0]:
            self._found[digest] = cause

    def _hand_down(self) -> None:
        """What keeps an index keeps its members."""
        graph = self.decided.graph
        # Of causes that are as hard to give up, that of the first index counts, in whatever order images are listed.
        for digest in sorted(digest for digest in self._found if graph.images[digest].members):
            for member in graph.with_members(graph.images[digest].members):
                if member in graph.images:
                    self._take(member, self._found[digest])

    def _by_users(self, users: Users) -> tuple[int, Cause]:
        known = self._of_users.get(users)
        if known is None:
            known = self._of_users[users] = self._strongest(users)
        return known

    def _strongest(self, users: Users) -> tuple[int, Cause]:
        for user in users:
            if user not in self.idle:
                return RANKS["used"], UsedBy(user.partition(" ")[0])
        return RANKS["idle"], HeldByIdle(self.idle[users[0]])

    def _by(self, reason: Reason) -> tuple[int, Cause]:
        """Equal reasons are mostly one object."""
        known = self._of_reason.get(id(reason))
        if known is None:
            known = self._of_reason[id(reason)] = (reason, self._classified(reason))
        return known[1]

    def _classified(self, reason: Reason) -> tuple[int, Cause]:
        match reason:
            case (
                CurrentOfReferencedTag(references=users)
                | ReferencedInStream(references=users)
                | Referenced(references=users)
            ):
                return self._by_users(users)
            case AmongNewest(revision=0):
                return RANKS["nobody refers"], NobodyRefers()
            case AmongNewest():
                rank = "newest"
            case StreamTooYoung() | RevisionTooYoung() | ImageTooYoung():
                rank = "young"
            case _:
                rank = "kept"
        key = reason.rule, in_general(reason)
        return RANKS[rank], self._general.setdefault(key, KeptBy(reason.rule, reason))


def _keys(decided: Decided, stored: Iterable[Image], causes: _Causes) -> dict[str, tuple[Key, ...]]:
    """The image streams that each image belongs to, with what keeps it, by digest.

    It belongs to those that name it, those that go on to name it if there are any; or else to the repository that it
    was pushed to.
    """
    found = causes.found()
    kept: defaultdict[str, dict[str, None]] = defaultdict(dict)
    gone: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for history in decided.histories:
        name = history.stream.name
        for tag in history.tags:
            for item, reason in tag.decided():
                (kept if reason.kept else gone)[item.image][name] = None
    prunable = Prunable()
    # Equal keys are one object, so that a hundred thousand images have a few thousand.
    shared: dict[tuple[Key, ...], tuple[Key, ...]] = {}
    keys = {}
    for image in stored:
        cause = found.get(image.name, prunable)
        streams = kept.get(image.name) or gone.get(image.name) or (pushed_to(image.location) or "",)
        key = tuple((stream, cause) for stream in sorted(streams))
        keys[image.name] = shared.setdefault(key, key)
    return keys


def _needed(stored: Iterable[Image], keys: Mapping[str, tuple[Key, ...]]) -> dict[str, frozenset[Key]]:
    """What needs each blob. What nothing keeps needs only those that nothing else needs."""
    holders: dict[str, tuple[Key, ...] | set[tuple[Key, ...]]] = {}
    for image in stored:
        key = keys[image.name]
        for blob in blobs_of(image):
            known = holders.get(blob)
            if known is None:
                holders[blob] = key
            elif isinstance(known, set):
                known.add(key)
            elif known is not key:
                holders[blob] = {known, key}
    sets: dict[frozenset[tuple[Key, ...]], frozenset[Key]] = {}
    needed = {}
    for blob, held in holders.items():
        group = frozenset(held) if isinstance(held, set) else frozenset((held,))
        flat = sets.get(group)
        if flat is None:
            flat = sets[group] = _staying(key for each in group for key in each)
        needed[blob] = flat
    return needed


def _staying(keys: Iterable[Key]) -> frozenset[Key]:
    everything = frozenset(keys)
    return frozenset(key for key in everything if not isinstance(key[1], Prunable)) or everything


class _Division:
    """The bytes of groups of blobs that the same keys need, divided among these keys."""

    def __init__(
        self, keys: Mapping[str, tuple[Key, ...]], users: Mapping[str, Users], groups: Mapping[frozenset[Key], int]
    ) -> None:
        self._keys = keys
        self._users = users
        self._groups = groups
        self._shares: defaultdict[Key, int] = defaultdict(int)
        for group, size in groups.items():
            for key, share in _divided(group, size):
                self._shares[key] += share
        self.everything = self._shares.keys() | {key for found in keys.values() for key in found}

    def sums(self, part: Callable[[Key], T]) -> dict[T, Sum]:
        """Images, workloads, share and what nothing else needs, of each part that keys are in."""
        images: Counter[T] = Counter()
        objects: defaultdict[T, set[str]] = defaultdict(set)
        for digest, keys in self._keys.items():
            for each in {part(key): key[1] for key in keys}:
                images[each] += 1
            for key in keys:
                if isinstance(key[1], UsedBy | HeldByIdle):
                    begin = f"{key[1].kind} "
                    objects[part(key)].update(user for user in self._users.get(digest, ()) if user.startswith(begin))
        shares: Counter[T] = Counter()
        for key, share in self._shares.items():
            shares[part(key)] += share
        alone: Counter[T] = Counter()
        for group, size in self._groups.items():
            parts = {part(key) for key in group}
            if len(parts) == 1:
                alone[parts.pop()] += size
        found = {part(key) for key in self.everything}
        return {each: Sum(images[each], len(objects[each]), shares[each], alone[each]) for each in found}


def _divided(group: frozenset[Key], size: int) -> Iterator[tuple[Key, int]]:
    """Equal shares of the image streams, and of what keeps a blob in each; they add up to the whole."""
    streams: defaultdict[str, list[Key]] = defaultdict(list)
    for key in group:
        streams[key[0]].append(key)
    for name, share in _equal(sorted(streams), size):
        yield from _equal(sorted(streams[name], key=_order_of_key), share)


def _equal(parts: Sequence[T], size: int) -> Iterator[tuple[T, int]]:
    for place, part in enumerate(parts):
        yield part, size * (place + 1) // len(parts) - size * place // len(parts)


def order(cause: Cause) -> tuple[str, str]:
    """By what causes are sorted; two that are counted together are equal."""
    match cause:
        case KeptBy(rule=rule, reason=reason):
            return rule, in_general(reason)
        case UsedBy(kind=kind) | HeldByIdle(kind=kind):
            return type(cause).__name__, kind
        case NobodyRefers() | Prunable():
            return type(cause).__name__, ""
        case _:
            assert_never(cause)


def _order_of_key(key: Key) -> tuple[str, str, str]:
    return key[0], *order(key[1])
