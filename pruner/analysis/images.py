"""Images: which of them go, once it is known which revisions do (DECISIONS R12, R18, R22, R23).

`ImageRules` gives a decision for every Image of the snapshot. What keeps one is looked for first; then everything that is
reached from a kept one through manifest lists and indexes is kept as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from pruner.analysis.family import Family
from pruner.analysis.history import StreamHistory
from pruner.analysis.protection import Protection
from pruner.analysis.usage import Usage, Users, age_limit, current_uses
from pruner.cluster.objects import Image, Snapshot
from pruner.plan import Approval, Decision, keep, prune
from pruner.settings import Rules

_YOUNG = keep("R22", "younger than keep_younger_than")
_UNMANAGED = keep("R22", "imported from another registry, and all_images is false")
_NOT_OVERSIZE = keep("R22", "no revision over the size limit named it")
_NOT_APPROVED = keep("approval", "not in the approved plan")
_UNUSED = prune("R22", "no image stream names it, and nothing uses it")


class ImageRules:
    """The rules for Images, made ready once for a snapshot: who uses what, and the digests that revisions named which go."""

    def __init__(
        self,
        snapshot: Snapshot,
        rules: Rules,
        usage: Usage,
        family: Family,
        dropped: set[str],
        protection: Protection,
        approval: Approval | None,
    ) -> None:
        self.images = snapshot.images
        self.rules = rules
        self.family = family
        self.protection = protection
        self.approval = approval
        self.dropped = dropped if approval is None else dropped | approval.dropped
        self.used = _used(snapshot, rules, usage, family)
        age = rules.keep_younger_than
        self.young_after = None if age is None else age_limit(snapshot.as_of, age)

    def decide(self, named: Mapping[str, list[str]]) -> dict[str, Decision]:
        """The decision on every Image, by digest. `named` are the tags that name each after the change."""
        decisions: dict[str, Decision] = {}
        # Images of the same tags, as revisions of one are, share the decision that says so.
        by_names: dict[tuple[str, ...], Decision] = {}
        for image in self.images:
            tags = named.get(image.name)
            if tags is not None:
                once = tuple(tags)
                decision = by_names.get(once)
                if decision is None:
                    decision = by_names[once] = keep("R22", "named by", tuple(sorted(set(once))))
            else:
                decision = self.unnamed(image) or _by_approval(image, self.approval) or _UNUSED
            decisions[image.name] = decision
        _keep_members(decisions, self.family)
        return decisions

    def reasons(self, image: Image) -> Iterator[Decision]:
        """All that keeps an Image besides the revisions that name it, in the order of the rules."""
        yield from filter(None, (_by_use(image, self.used), _by_protection(image, self.protection)))
        first = _by_rules(image, self.rules, self.young_after, self.dropped)
        at_any_age = _by_rules(image, self.rules, None, self.dropped)
        if first is _YOUNG:
            yield first
        if at_any_age is not None:
            yield at_any_age

    def unnamed(self, image: Image) -> Decision | None:
        """What keeps an Image that no revision names; None for one that only revisions keep."""
        return (
            _by_use(image, self.used)
            or _by_protection(image, self.protection)
            or _by_rules(image, self.rules, self.young_after, self.dropped)
        )


def names(histories: Iterable[StreamHistory]) -> tuple[dict[str, list[str]], set[str]]:
    """Which tags name each digest after the change, and which digests are named by items that go."""
    named: defaultdict[str, list[str]] = defaultdict(list)
    dropped: set[str] = set()
    for history in histories:
        stream = history.stream.name
        for tag in history.tags:
            name = f"{stream}:{tag.tag}"
            for item in tag.remaining():
                named[item.image].append(name)
        if history.changes:
            dropped |= history.pruned()
    return named, dropped


def _used(snapshot: Snapshot, rules: Rules, usage: Usage, family: Family) -> dict[str, tuple[str, ...]]:
    """Users by digest (R12), with the indexes of what is used."""
    direct: defaultdict[str, set[str]] = defaultdict(set)
    if rules.references == "extended":
        for digest, users in _uses(snapshot, usage, family):
            for reached in family.with_indexes([digest]):
                direct[reached].update(users)
    return {digest: tuple(sorted(users)) for digest, users in direct.items()}


def _uses(snapshot: Snapshot, usage: Usage, family: Family) -> Iterator[tuple[str, Users]]:
    """Digests of Images that are used by digest, or that are indexes above the current image of a used tag."""
    yield from usage.anywhere.items()
    if usage.anywhere:
        # What runs may be known by the digest of its config.
        for image in family.images.values():
            if image.config in usage.anywhere:
                yield image.name, usage.anywhere[image.config]
    for stream in snapshot.streams if family.nested else ():
        # The current image itself is kept as one that is named; an index above it may be named by nothing.
        for digest, users in current_uses(stream, usage):
            yield from ((index, users) for index in family.above(digest))


def _by_use(image: Image, used: dict[str, tuple[str, ...]]) -> Decision | None:
    return keep("R12", "used by", used[image.name]) if image.name in used else None


def _by_protection(image: Image, protection: Protection) -> Decision | None:
    pattern = protection.match_image(image.name)
    return None if pattern is None else keep("R18", "protected by pattern", (pattern,))


def _by_rules(image: Image, rules: Rules, young_after: datetime | None, dropped: set[str]) -> Decision | None:
    if young_after is not None and image.created > young_after:
        return _YOUNG
    if not rules.all_images and not image.managed:
        return _UNMANAGED
    if rules.namespace is not None and image.name not in dropped:
        return keep("R23", f"no pruned revision of namespace {rules.namespace} named it")
    # A mode that asks for no age must not take what is in no stream yet (R22).
    alone = rules.prune_over_size_limit and rules.keep_younger_than is None
    if alone and rules.references == "extended" and image.name not in dropped:
        return _NOT_OVERSIZE
    return None


def _by_approval(image: Image, approval: Approval | None) -> Decision | None:
    return _NOT_APPROVED if approval is not None and (image.name, image.uid) not in approval.images else None


def _keep_members(decisions: dict[str, Decision], family: Family) -> None:
    """Keep what is reached from a kept image through indexes, at any depth (R22)."""
    kept = family.with_members(name for name, decision in decisions.items() if decision.kept)
    for name in kept:
        if name in decisions and not decisions[name].kept:
            above = tuple(index for index in family.indexes(name) if index in kept)
            decisions[name] = keep("R22", "a member of", above)
