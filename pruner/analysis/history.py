"""The history of tags: which revisions of every image stream are pruned (R14 to R21, docs/rules.md).

`HistoryRules.reasons` gives all reasons for the decision on one revision. `HistoryRules.decide` takes the first one of every revision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import compress
from typing import cast

import msgspec

from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.protection import Protection
from pruner.analysis.pullspec import can_name_image
from pruner.analysis.usage import Usage, Users, age_limit, current_uses
from pruner.cluster.objects import ImageLimit, ImageStream, Snapshot, TagEvent, moment
from pruner.plan import Approval
from pruner.reasons import (
    AmongNewest,
    BeyondNewest,
    CurrentOfReferencedTag,
    ImageAbsent,
    ImageAppeared,
    KeepReason,
    NotApproved,
    OutsideNamespace,
    OverSizeLimit,
    Protected,
    PruneReason,
    Reason,
    ReferencedInStream,
    ReferenceOnly,
    RevisionTooYoung,
    StreamTooYoung,
    WithinSizeLimit,
)
from pruner.settings import Rules

_ABSENT = ImageAbsent()
_REFERENCE_ONLY = ReferenceOnly()
_NOT_APPROVED = NotApproved()
_WITHIN_LIMIT = WithinSizeLimit()


class TagDecisions(msgspec.Struct, frozen=True, gc=False):
    """The reason for the decision on each revision of a tag, whether each is kept, and the numbers of those that are pruned.

    Most tags of a cluster have one of a few dozen in common.
    """

    reasons: tuple[Reason, ...]
    kept: tuple[bool, ...]
    pruned: tuple[int, ...]

    @classmethod
    def of(cls, reasons: Iterable[Reason]) -> TagDecisions:
        reasons = tuple(reasons)
        pruned = tuple([revision for revision, reason in enumerate(reasons) if not reason.kept])
        return cls(reasons, tuple([reason.kept for reason in reasons]), pruned)


class TagHistory(msgspec.Struct, frozen=True, gc=False):
    """The items of a tag, newest first, and the decision on each."""

    tag: str
    items: tuple[TagEvent, ...]
    decisions: TagDecisions

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return self.decisions.reasons

    def remaining(self) -> Iterable[TagEvent]:
        return compress(self.items, self.decisions.kept) if self.decisions.pruned else self.items

    def pruned(self) -> list[tuple[int, TagEvent, PruneReason]]:
        """Revision, item and reason of what is pruned."""
        items, reasons = self.items, cast(tuple[PruneReason, ...], self.decisions.reasons)
        return [(revision, items[revision], reasons[revision]) for revision in self.decisions.pruned]

    @property
    def emptied(self) -> bool:
        """Whether its last item is pruned."""
        return bool(self.items) and len(self.decisions.pruned) == len(self.items)


class StreamHistory(msgspec.Struct, frozen=True, gc=False):
    """An image stream and the histories of its tags."""

    stream: ImageStream
    tags: tuple[TagHistory, ...]

    @property
    def changes(self) -> bool:
        """Whether any item is pruned."""
        return any(tag.decisions.pruned for tag in self.tags)

    def remaining(self) -> set[str]:
        """The images that kept items name."""
        return {item.image for tag in self.tags for item in tag.remaining() if item.image}

    def pruned(self) -> set[str]:
        return {tag.items[revision].image for tag in self.tags for revision in tag.decisions.pruned}


class HistoryRules:
    """The rules for items, made ready once for a snapshot: limits by namespace, age, protection."""

    def __init__(
        self,
        snapshot: Snapshot,
        rules: Rules,
        usage: Usage,
        graph: IndexGraph,
        protection: Protection,
        approval: Approval | None,
    ) -> None:
        self.rules = rules
        # A dictionary of these rules' own: what comes up later is added, and the usage stays as it is.
        self.used_tags: dict[tuple[str, str], Users] = dict(usage.tags)
        self.graph = graph
        self.protection = protection
        self.approval = approval
        age = rules.keep_younger_than
        self.young_after: datetime | None = None if age is None else age_limit(snapshot.as_of, age)
        self.limits: dict[str, list[ImageLimit]] = defaultdict(list)
        for limit in sorted(snapshot.limits, key=lambda limit: (limit.storage, limit.namespace, limit.name)):
            self.limits[limit.namespace].append(limit)
        self.used_digests: defaultdict[str, dict[str, Users]] = defaultdict(dict)
        self._use(usage.digests)
        # Equal reasons are one object: half a million revisions share a few dozen.
        minutes = 0 if age is None else int(age.total_seconds() // 60)
        self._revision_too_young = RevisionTooYoung(minutes)
        self._stream_too_young = StreamTooYoung(minutes)
        self._among: dict[int, AmongNewest] = {}
        self._beyond: dict[int, BeyondNewest] = {}
        self._before: dict[int, TagDecisions] = {}

    def _use(self, digests: Mapping[tuple[str, str], Users]) -> None:
        """Take in users by stream and digest; with the extended rules, a used member uses its indexes (R12)."""
        for (stream, digest), users in digests.items():
            reached = self.graph.with_indexes([digest]) if self.rules.references == "extended" else {digest}
            used = self.used_digests[stream]
            for each in reached:
                used[each] = tuple(sorted({*used.get(each, ()), *users}))

    def also_used(self, usage: Usage) -> None:
        """Take in uses that have come up since the snapshot: what is decided from now on counts them."""
        for tag, users in usage.tags.items():
            self.used_tags[tag] = tuple(sorted({*self.used_tags.get(tag, ()), *users}))
        # One pod that starts is one event of a watch, and there are hundreds: only what it uses is looked at.
        self._use(usage.digests)

    def decide(self, stream: ImageStream) -> StreamHistory:
        """The first of the `reasons` for each revision of the stream."""
        name, for_all = stream.name, next(self._for_stream(stream), None)
        used = self._used_in(stream)
        limits = self.limits.get(stream.metadata.namespace, ())
        tags = []
        for history in stream.histories:
            items = history.items or ()
            reasons: list[Reason]
            if for_all is not None:
                reasons = [for_all] * len(items)
            else:
                users = self.used_tags.get((name, history.tag), ())
                pattern = self.protection.match_item(name, history.tag)
                reasons = self._decide(items, users, used, pattern, limits)
                if self.approval is not None:
                    reasons = self._approved(name, history.tag, items, reasons, self.approval)
            tags.append(TagHistory(history.tag, items, self._shared(reasons)))
        return StreamHistory(stream, tuple(tags))

    def keeping_images(self, history: StreamHistory, present: set[str]) -> StreamHistory:
        """The same history, with the revisions kept whose Image turned out to exist (R19)."""
        appeared = ImageAppeared()

        def decided(tag: TagHistory) -> TagHistory:
            pairs = zip(tag.items, tag.reasons, strict=True)
            reasons = (appeared if not reason.kept and item.image in present else reason for item, reason in pairs)
            return TagHistory(tag.tag, tag.items, TagDecisions.of(reasons))

        return StreamHistory(history.stream, tuple(decided(tag) for tag in history.tags))

    def reasons(self, stream: ImageStream, tag: str, revision: int, item: TagEvent) -> Iterator[Reason]:
        """All reasons for the decision on a revision: those that keep it, in the order of the rules, or else what prunes it.

        This is what the rules say, written for the reader. `decide` does the same to all revisions of a cluster, written for speed.
        """
        kept = False
        for reason in self._keeping(stream, tag, revision, item):
            kept = True
            yield reason
        if kept:
            return
        pruning = self._pruning(stream, revision, item)
        approved = self.approval is None or _key(stream.name, tag, item) in self.approval.revisions
        yield pruning if approved else _NOT_APPROVED

    def _keeping(self, stream: ImageStream, tag: str, revision: int, item: TagEvent) -> Iterator[KeepReason]:
        yield from self._for_stream(stream)
        if self._is_young(item.created):
            yield self._revision_too_young
        references = self.used_tags.get((stream.name, tag), ())
        if revision == 0 and references:
            yield CurrentOfReferencedTag(references)
        pattern = self.protection.match_item(stream.name, tag) or self.protection.match_image(item.image)
        if not item.image or (pattern is None and not can_name_image(item.image)):
            yield _REFERENCE_ONLY
        elif item.image in self.graph.images or pattern is not None:
            count, used = self.rules.keep_tag_revisions, self._used_in(stream)
            if count is not None and revision < count:
                yield self._among_newest(revision)
            limits = self.limits.get(stream.metadata.namespace, ())
            if self.rules.prune_over_size_limit and self._exceeded(item, limits) is None:
                yield _WITHIN_LIMIT
            if item.image in used:
                yield ReferencedInStream(used[item.image])
            if pattern is not None:
                yield Protected(pattern)

    def _pruning(self, stream: ImageStream, revision: int, item: TagEvent) -> PruneReason:
        if item.image not in self.graph.images:
            return _ABSENT
        return self._over_size_or_beyond(item, revision, self.limits.get(stream.metadata.namespace, ()))

    def _for_stream(self, stream: ImageStream) -> Iterator[KeepReason]:
        """What keeps all revisions of a stream."""
        if self.rules.namespace is not None and stream.metadata.namespace != self.rules.namespace:
            yield OutsideNamespace(self.rules.namespace)
        if self._is_young(stream.metadata.creation_timestamp):
            yield self._stream_too_young

    def _is_young(self, created: datetime | None) -> bool:
        return self.young_after is not None and moment(created) > self.young_after

    def _used_in(self, stream: ImageStream) -> Mapping[str, Users]:
        """Users by digest in this stream: with the extended rules also of indexes of what is current in a used tag (R12)."""
        used = self.used_digests.get(stream.name, {})
        if self.rules.references != "extended" or not self.graph.nested:
            return used
        above: defaultdict[str, set[str]] = defaultdict(set)
        for digest, users in current_uses(stream, self.used_tags):
            for index in self.graph.above(digest):
                above[index].update(users)
        if not above:
            return used
        return {**used, **{index: tuple(sorted({*users, *used.get(index, ())})) for index, users in above.items()}}

    def _decide(
        self,
        items: Sequence[TagEvent],
        tag_users: Users,
        used: Mapping[str, Users],
        pattern: str | None,
        limits: Sequence[ImageLimit],
    ) -> list[Reason]:
        """The first of the `reasons` for each item of a tag, without those of its stream.

        Half a million items of a large cluster go through this loop, so it asks each nothing twice and calls nothing for most.
        """
        young_after, images, count = self.young_after, self.graph.images, self.rules.keep_tag_revisions
        newest, over_size_only = -1 if count is None else count, self.rules.prune_over_size_limit
        protected, among, beyond = self.protection.match_image, self._among, self._beyond
        reasons: list[Reason] = []
        reason: Reason
        for revision, item in enumerate(items):
            digest, created = item.image, item.created
            if (
                young_after is not None
                and created is not None
                and (created if created.tzinfo else moment(created)) > young_after
            ):
                reason = self._revision_too_young
            elif revision == 0 and tag_users:
                reason = CurrentOfReferencedTag(tag_users)
            elif not digest:
                # Of a tag that is a reference only (`oc tag --reference`): without the item it would lead nowhere.
                reason = _REFERENCE_ONLY
            # What is protected, as a tag or as a digest, is kept even when its Image is absent (R18).
            elif digest not in images and pattern is None and not protected(digest):
                reason = _ABSENT if can_name_image(digest) else _REFERENCE_ONLY
            elif revision < newest:
                reason = among.get(revision) or self._among_newest(revision)
            elif over_size_only and self._exceeded(item, limits) is None:
                reason = _WITHIN_LIMIT
            elif digest in used:
                reason = ReferencedInStream(used[digest])
            elif (matched := pattern or protected(digest)) is not None:
                reason = Protected(matched)
            else:
                known = None if over_size_only else beyond.get(revision)
                reason = known or self._over_size_or_beyond(item, revision, limits)
            reasons.append(reason)
        return reasons

    @staticmethod
    def _approved(
        stream: str, tag: str, items: Sequence[TagEvent], reasons: list[Reason], approval: Approval
    ) -> list[Reason]:
        """The reasons, with what is not in the approved plan kept."""
        return [
            reason if reason.kept or _key(stream, tag, item) in approval.revisions else _NOT_APPROVED
            for item, reason in zip(items, reasons, strict=True)
        ]

    def _shared(self, reasons: list[Reason]) -> TagDecisions:
        """The decisions on a tag: those of the last tag with as many items where they are equal, as they mostly are."""
        decided = tuple(reasons)
        before = self._before.get(len(decided))
        if before is None or before.reasons != decided:
            before = self._before[len(decided)] = TagDecisions.of(decided)
        return before

    def _exceeded(self, item: TagEvent, limits: Sequence[ImageLimit]) -> ImageLimit | None:
        """The smallest limit that the image is larger than. An image without a size exceeds none."""
        size = self._size(item)
        return next((limit for limit in limits if size is not None and size > limit.storage), None)

    def _size(self, item: TagEvent) -> int | None:
        image = self.graph.images.get(item.image)
        return image.size if image is not None else None

    def _over_size_or_beyond(self, item: TagEvent, revision: int, limits: Sequence[ImageLimit]) -> PruneReason:
        if self.rules.prune_over_size_limit:
            limit, size = self._exceeded(item, limits), self._size(item)
            if limit is not None and size is not None:
                return OverSizeLimit(size, limit.storage, f"{limit.namespace}/{limit.name}")
        reason = self._beyond.get(revision)
        if reason is None:
            reason = self._beyond[revision] = BeyondNewest(revision, self.rules.keep_tag_revisions or 0)
        return reason

    def _among_newest(self, revision: int) -> AmongNewest:
        reason = self._among.get(revision)
        if reason is None:
            reason = self._among[revision] = AmongNewest(revision, self.rules.keep_tag_revisions or 0)
        return reason


def _key(stream: str, tag: str, item: TagEvent) -> tuple[str, str, str, datetime]:
    """How an approval names a revision."""
    return stream, tag, item.image, moment(item.created)
