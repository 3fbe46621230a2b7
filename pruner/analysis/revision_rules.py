"""The rules for revisions (R14 to R19, docs/rules.md): which revisions of a tag are kept, and which are pruned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.protection import Protection
from pruner.analysis.pullspec import can_name_image
from pruner.analysis.tag_fate import TagFate
from pruner.analysis.usage import Usage, Users, age_limit, current_uses
from pruner.cluster.metadata import moment
from pruner.cluster.objects import ImageLimit, ImageStream, Snapshot, TagEvent
from pruner.reasons import (
    AmongNewest,
    BeyondNewest,
    CurrentOfReferencedTag,
    ImageAbsent,
    KeepReason,
    OutsideNamespace,
    OverSizeLimit,
    Protected,
    ProtectedByLabels,
    PruneReason,
    Reason,
    Referenced,
    ReferencedInStream,
    ReferenceOnly,
    Restored,
    RevisionTooYoung,
    StreamTooYoung,
    WithinSizeLimit,
)
from pruner.settings import AnalysisSettings, minutes_of

_ABSENT = ImageAbsent()
_REFERENCE_ONLY = ReferenceOnly()
_WITHIN_LIMIT = WithinSizeLimit()


class RevisionRules:
    """The rules for revisions, made ready once for a snapshot: ages, uses, limits of image sizes, protection.

    `keeping` and `pruning` are what the rules say, written for the reader; `decide` and `decide_by` do the same to all
    revisions of a tag, written for speed.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        rules: AnalysisSettings,
        usage: Usage,
        graph: IndexGraph,
        protection: Protection,
        used: Mapping[str, Users] | None = None,
    ) -> None:
        """`used` are the references by digest that keep an image wherever it is named (R12)."""
        self.rules = rules
        self.used = dict(used or {})
        self.protected = snapshot.protected
        self.restored = {
            name: Restored(each.until) for name, each in snapshot.restored.items() if each.until > snapshot.as_of
        }
        # A dictionary of these rules' own: what comes up later is added, and the usage stays as it is.
        self.used_tags: dict[tuple[str, str], Users] = dict(usage.tags)
        self.graph = graph
        self.protection = protection
        age = rules.keep_younger_than
        self.young_after: datetime | None = None if age is None else age_limit(snapshot.as_of, age)
        self._limits: dict[str, list[ImageLimit]] = defaultdict(list)
        for limit in sorted(snapshot.limits, key=lambda limit: (limit.storage, limit.namespace, limit.name)):
            self._limits[limit.namespace].append(limit)
        self.used_digests: defaultdict[str, dict[str, Users]] = defaultdict(dict)
        self._use(usage.digests)
        # Equal reasons are one object: half a million revisions share a few dozen.
        minutes = 0 if age is None else minutes_of(age)
        self._revision_too_young = RevisionTooYoung(minutes)
        self._stream_too_young = StreamTooYoung(minutes)
        self._among: dict[int, AmongNewest] = {}
        self._beyond: dict[int, BeyondNewest] = {}

    def limits_of(self, stream: ImageStream) -> Sequence[ImageLimit]:
        """The image size limits of the stream's namespace, smallest first."""
        return self._limits.get(stream.metadata.namespace, ())

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
        for digest, users in usage.anywhere.items():
            for each in self.graph.with_indexes([digest]):
                self.used[each] = tuple(sorted({*self.used.get(each, ()), *users}))

    def keeping(
        self, stream: ImageStream, tag: str, revision: int, item: TagEvent, fate: TagFate | None
    ) -> Iterator[KeepReason]:
        yield from self.for_stream(stream)
        if self._is_young(item.created):
            yield self._revision_too_young
        references = self.used_tags.get((stream.name, tag), ())
        if revision == 0 and references:
            yield CurrentOfReferencedTag(references)
        pattern = self.protection.match_item(stream.name, tag) or self.protection.match_image(item.image)
        if not item.image or (pattern is None and not can_name_image(item.image)):
            if fate is None or not fate.expired:
                yield _REFERENCE_ONLY
        elif item.image in self.graph.images or pattern is not None:
            yield from self._keeping_by(fate, revision)
            if fate is None or fate.prune is None:
                yield from self._keeping_by_number_and_size(stream, revision, item, fate)
            used = self.used_in(stream)
            if item.image in used:
                yield ReferencedInStream(used[item.image])
            if fate is not None and fate.prune is not None and item.image in self.used:
                yield Referenced(self.used[item.image])
            if pattern is not None:
                yield Protected(pattern)
            yield from self._keeping_restored(item)

    def _keeping_restored(self, item: TagEvent) -> Iterator[KeepReason]:
        if item.image in self.restored and item.image in self.graph.images:
            yield self.restored[item.image]

    def _keeping_by_number_and_size(
        self, stream: ImageStream, revision: int, item: TagEvent, fate: TagFate | None
    ) -> Iterator[KeepReason]:
        count = self.rules.keep_tag_revisions if fate is None else fate.count
        if count is not None and revision < count:
            yield self._among_newest(revision, count)
        limits = self.limits_of(stream)
        if self.rules.prune_over_size_limit and self._exceeded(item, limits) is None:
            yield _WITHIN_LIMIT

    @staticmethod
    def _keeping_by(fate: TagFate | None, revision: int) -> Iterator[KeepReason]:
        if fate is not None and fate.current is not None and revision == 0:
            yield fate.current
        if fate is not None and fate.keep is not None:
            yield fate.keep

    def pruning(self, stream: ImageStream, revision: int, item: TagEvent, fate: TagFate | None) -> PruneReason:
        if fate is not None and fate.absent is not None:
            return fate.absent
        if item.image not in self.graph.images:
            return _ABSENT
        if fate is not None and fate.prune is not None:
            return fate.prune
        limits = self.limits_of(stream)
        return self._over_size_or_beyond(
            item, revision, limits, self.rules.keep_tag_revisions if fate is None else fate.count
        )

    def for_stream(self, stream: ImageStream) -> Iterator[KeepReason]:
        """What keeps all revisions of a stream."""
        if self.rules.namespace is not None and stream.metadata.namespace != self.rules.namespace:
            yield OutsideNamespace(self.rules.namespace)
        if self._is_young(stream.metadata.creation_timestamp):
            yield self._stream_too_young
        if self.protected and self.rules.protect_selector is not None:
            for name in (f"ImageStream {stream.name}", f"Namespace {stream.metadata.namespace}"):
                if name in self.protected:
                    yield ProtectedByLabels(name, self.rules.protect_selector)

    def _is_young(self, created: datetime | None) -> bool:
        return self.young_after is not None and moment(created) > self.young_after

    def used_in(self, stream: ImageStream) -> Mapping[str, Users]:
        """Users by digest in this stream: with the extended rules
        also of indexes of what is current in a used tag (R12).
        """
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

    def decide(
        self,
        items: Sequence[TagEvent],
        tag_users: Users,
        used: Mapping[str, Users],
        pattern: str | None,
        limits: Sequence[ImageLimit],
    ) -> list[Reason]:
        """The first of the `reasons` for each item of a tag, without those of its stream.

        Half a million items of a large cluster go through this loop, so it asks each nothing twice and calls nothing
        for most.
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
                reason = among.get(revision) or self._among_newest(revision, newest)
            elif over_size_only and self._exceeded(item, limits) is None:
                reason = _WITHIN_LIMIT
            elif digest in used:
                reason = ReferencedInStream(used[digest])
            elif (matched := pattern or protected(digest)) is not None:
                reason = Protected(matched)
            else:
                reason = beyond.get(revision) or self._over_size_or_beyond(item, revision, limits, count)
            reasons.append(reason)
        return self._with_restored(items, reasons) if self.restored else reasons

    def decide_by(  # noqa: C901 - one case for each rule
        self,
        fate: TagFate,
        items: Sequence[TagEvent],
        tag_users: Users,
        used: Mapping[str, Users],
        pattern: str | None,
        limits: Sequence[ImageLimit],
    ) -> list[Reason]:
        """As `decide`, for a tag that a retention rule matches or that is attached."""
        images, protected, prune, keep = self.graph.images, self.protection.match_image, fate.prune, fate.keep
        newest = -1 if prune is not None or fate.count is None else fate.count
        sized = prune is None and self.rules.prune_over_size_limit
        reasons: list[Reason] = []
        reason: Reason
        for revision, item in enumerate(items):
            digest = item.image
            if self._is_young(item.created):
                reason = self._revision_too_young
            elif revision == 0 and tag_users:
                reason = CurrentOfReferencedTag(tag_users)
            elif not digest or (digest not in images and pattern is None and not protected(digest)):
                reason = fate.absent or (_ABSENT if can_name_image(digest) else _REFERENCE_ONLY)
            elif fate.current is not None and revision == 0:
                reason = fate.current
            elif keep is not None:
                reason = keep
            elif revision < newest:
                reason = self._among_newest(revision, newest)
            elif sized and self._exceeded(item, limits) is None:
                reason = _WITHIN_LIMIT
            elif digest in used:
                reason = ReferencedInStream(used[digest])
            elif prune is not None and digest in self.used:
                reason = Referenced(self.used[digest])
            elif (matched := pattern or protected(digest)) is not None:
                reason = Protected(matched)
            else:
                reason = prune or self._over_size_or_beyond(item, revision, limits, fate.count)
            reasons.append(reason)
        return self._with_restored(items, reasons) if self.restored else reasons

    def _with_restored(self, items: Sequence[TagEvent], reasons: list[Reason]) -> list[Reason]:
        """The reasons, with the revisions of restored images kept (R37)."""
        restored = self.restored.keys() & self.graph.images.keys()
        return [
            reason if reason.kept or item.image not in restored else self.restored[item.image]
            for item, reason in zip(items, reasons, strict=True)
        ]

    def decided_by_fate_alone(self, item: TagEvent, used: Mapping[str, Users]) -> bool:
        """Whether `decide_by` gives the fate's reason for a tag's only revision, if nothing refers to or protects it.

        So it is with nearly all tags of a large cluster, which are written once.
        """
        return (
            not self._is_young(item.created)
            and item.image in self.graph.images
            and item.image not in used
            and item.image not in self.used
        )

    def _exceeded(self, item: TagEvent, limits: Sequence[ImageLimit]) -> ImageLimit | None:
        """The smallest limit that the image is larger than. An image without a size exceeds none."""
        size = self._size(item)
        return next((limit for limit in limits if size is not None and size > limit.storage), None)

    def _size(self, item: TagEvent) -> int | None:
        image = self.graph.images.get(item.image)
        return image.size if image is not None else None

    def _over_size_or_beyond(
        self, item: TagEvent, revision: int, limits: Sequence[ImageLimit], count: int | None
    ) -> PruneReason:
        if self.rules.prune_over_size_limit:
            limit, size = self._exceeded(item, limits), self._size(item)
            if limit is not None and size is not None:
                return OverSizeLimit(size, limit.storage, f"{limit.namespace}/{limit.name}")
        if count != self.rules.keep_tag_revisions:
            return BeyondNewest(revision, count or 0)
        reason = self._beyond.get(revision)
        if reason is None:
            reason = self._beyond[revision] = BeyondNewest(revision, count or 0)
        return reason

    def _among_newest(self, revision: int, count: int) -> AmongNewest:
        if count != self.rules.keep_tag_revisions:
            return AmongNewest(revision, count)
        reason = self._among.get(revision)
        if reason is None:
            reason = self._among[revision] = AmongNewest(revision, count)
        return reason
