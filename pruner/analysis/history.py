"""The history of tags: which revisions of every image stream are pruned (R14 to R21, docs/rules.md).

`HistoryRules.reasons` gives all reasons for the decision on one revision. `HistoryRules.decide` takes the first one of every revision.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from itertools import compress
from typing import cast

import msgspec

from pruner.analysis.attached import PREFIX, by_subject, kept_subjects, subject_of
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.protection import Protection
from pruner.analysis.pullspec import can_name_image
from pruner.analysis.retention import TagDecision, TagRetention
from pruner.analysis.usage import Usage, Users, age_limit, current_uses
from pruner.cluster.metadata import moment
from pruner.cluster.objects import ImageLimit, ImageStream, NamedTagEventList, Snapshot, TagEvent
from pruner.plan import Approval
from pruner.reasons import (
    AmongNewest,
    AttachedToAbsent,
    AttachedToKept,
    AttachedToPruned,
    BeyondNewest,
    CurrentOfReferencedTag,
    Expired,
    ImageAbsent,
    ImageAppeared,
    KeepReason,
    NotApproved,
    OlderRevisionKept,
    OutsideNamespace,
    OverSizeLimit,
    Protected,
    ProtectedByLabels,
    PruneReason,
    Reason,
    Referenced,
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
    """An image stream and the histories of its tags.

    `whole` says whether there is any tag that goes as a whole unless something keeps it: an expired one, or an attached one.
    """

    stream: ImageStream
    tags: tuple[TagHistory, ...]
    whole: bool = False

    @property
    def changes(self) -> bool:
        """Whether any item is pruned."""
        return any(tag.decisions.pruned for tag in self.tags)

    @property
    def removed_spec_tags(self) -> tuple[str, ...]:
        """The expired tags that lose their last item and have an entry in `spec.tags`, which goes too (R32), sorted."""
        if not self.whole:
            return ()
        expired = {tag.tag for tag in self.tags if tag.emptied and isinstance(tag.reasons[0], Expired)}
        return tuple(sorted(expired & self.stream.spec_tags)) if expired else ()

    def remaining(self) -> set[str]:
        """The images that kept items name."""
        return {item.image for tag in self.tags for item in tag.remaining() if item.image}

    def pruned(self) -> set[str]:
        return {tag.items[revision].image for tag in self.tags for revision in tag.decisions.pruned}


class _Fate(msgspec.Struct, frozen=True, gc=False):
    """What decides about a tag that a retention rule matches or that is attached, in addition to what decides about every tag.

    `keep` keeps all of its revisions, `current` the current one. With `prune` every other one is pruned unless it is in use; without, the
    newest `count` are kept. `expired` says that its entry in `spec.tags` goes with it.
    """

    keep: KeepReason | None = None
    current: KeepReason | None = None
    prune: PruneReason | None = None
    count: int | None = None
    expired: bool = False

    @property
    def absent(self) -> PruneReason | None:
        """What prunes a revision of an expired tag that names no Image; None where R19 decides about it."""
        return self.prune if self.expired else None


_NO_DECISIONS: Mapping[str, TagDecision] = {}


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
        used: Mapping[str, Users] | None = None,
    ) -> None:
        """`used` are the references by digest that keep an image wherever it is named (R12)."""
        self.rules = rules
        self.used = dict(used or {})
        self.retention = TagRetention(rules.retention, snapshot.as_of) if rules.retention else None
        self.follows = rules.attached == "follow" and rules.references == "extended"
        self.kept_subjects: Set[str] = frozenset()
        self.protected = snapshot.protected
        self._expired: dict[str, _Fate] = {}
        self._declared_in: tuple[ImageStream, frozenset[str]] | None = None
        self._decided: tuple[ImageStream, Mapping[str, TagDecision]] | None = None
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
        for digest, users in usage.anywhere.items():
            for each in self.graph.with_indexes([digest]):
                self.used[each] = tuple(sorted({*self.used.get(each, ()), *users}))

    def with_kept_subjects(self, subjects: Set[str]) -> HistoryRules:
        """The same rules, with tags kept that are attached to these images (R35)."""
        rules = copy.copy(self)
        rules.kept_subjects = subjects
        return rules

    def decide(self, stream: ImageStream) -> StreamHistory:
        """The first of the `reasons` for each revision of the stream."""
        name, for_all = stream.name, next(self._for_stream(stream), None)
        used = self._used_in(stream)
        limits = self.limits.get(stream.metadata.namespace, ())
        decisions = _NO_DECISIONS if self.retention is None else self._decisions(stream)
        whole, follows = False, self.follows
        tags = []
        for history in stream.histories:
            items, tag = history.items or (), history.tag
            reasons: list[Reason]
            if for_all is not None:
                reasons = [for_all] * len(items)
            elif items and ((follows and tag[:7] == PREFIX) or tag in decisions):
                fate = self._fate(stream, tag, decisions.get(tag))
                whole |= (fate is not None and fate.prune is not None) or (follows and tag[:7] == PREFIX)
                reasons = self._by_fate(stream, history, fate, used)
            else:
                users = self.used_tags.get((name, tag), ())
                pattern = self.protection.match_item(name, tag)
                reasons = self._decide(items, users, used, pattern, limits)
                if self.approval is not None:
                    reasons = self._approved(name, tag, items, reasons, self.approval)
            tags.append(TagHistory(tag, items, self._shared(reasons)))
        if whole and follows:
            self._keep_attached(stream, tags, used)
        return StreamHistory(stream, tuple(tags), whole)

    def _decisions(self, stream: ImageStream) -> Mapping[str, TagDecision]:
        """What the retention rules decide about the tags of a stream; asked again for the same one, the same."""
        if self.retention is None:
            return _NO_DECISIONS
        if self._decided is None or self._decided[0] is not stream:
            self._decided = (stream, self.retention.decide(stream))
        return self._decided[1]

    def _fate(  # noqa: C901 - one case for each rule
        self, stream: ImageStream, tag: str, decision: TagDecision | None, also_kept: Set[str] = frozenset()
    ) -> _Fate | None:
        """`also_kept` are subjects that are kept in addition to those that are known to be. None for a tag like any other."""
        subject = subject_of(tag) if self.follows and tag[:7] == PREFIX else None
        if subject is None and decision is not None and decision.expired:
            return self._of_expired(decision)
        keep: KeepReason | None = None
        current: KeepReason | None = None
        prune: PruneReason | None = None
        count = self.rules.keep_tag_revisions
        if decision is not None:
            if isinstance(decision.reason, Expired):
                prune = decision.reason
            else:
                current = decision.reason
                if decision.rule.keep_tag_revisions is not None:
                    count = decision.rule.keep_tag_revisions
        if subject is not None:
            if subject in self.kept_subjects or subject in also_kept:
                keep = AttachedToKept(subject)
            elif tag not in self._declared(stream):
                # One with an entry in spec.tags was put there by somebody, and goes only as other tags do.
                if subject in self.graph.images:
                    prune = AttachedToPruned(subject)
                elif self.young_after is not None:
                    prune = AttachedToAbsent(subject)
        if keep is None and current is None and prune is None:
            return None
        return _Fate(keep, current, prune, count, expired=isinstance(prune, Expired))

    def _of_expired(self, decision: TagDecision) -> _Fate:
        """One for each rule, since a few rules decide about most tags of a large cluster."""
        fate = self._expired.get(decision.rule.name)
        if fate is None:
            fate = self._expired[decision.rule.name] = _Fate(prune=cast(Expired, decision.reason), expired=True)
        return fate

    def _by_fate(
        self, stream: ImageStream, history: NamedTagEventList, fate: _Fate | None, used: Mapping[str, Users]
    ) -> list[Reason]:
        """The first of the `reasons` for each item of a tag that a retention rule matches or that is attached."""
        name, tag, items = stream.name, history.tag, history.items or ()
        users = self.used_tags.get((name, tag), ())
        pattern = self.protection.match_item(name, tag)
        limits = self.limits.get(stream.metadata.namespace, ())
        if fate is None:
            reasons = self._decide(items, users, used, pattern, limits)
        else:
            reasons = self._decide_by(fate, items, users, used, pattern, limits)
        if self.approval is not None:
            reasons = self._approved(name, tag, items, reasons, self.approval)
        if fate is None or fate.prune is None:
            return reasons
        if not reasons[0].kept:
            if self.approval is not None and self._spec_tag_not_approved(stream, tag, fate, reasons, self.approval):
                reasons[0] = _NOT_APPROVED
            else:
                _never_back(reasons)
        return reasons

    def _declared(self, stream: ImageStream) -> frozenset[str]:
        """The tags in `spec.tags` of a stream; asked again for the same one, the same."""
        if self._declared_in is None or self._declared_in[0] is not stream:
            self._declared_in = (stream, stream.spec_tags)
        return self._declared_in[1]

    def _spec_tag_not_approved(
        self, stream: ImageStream, tag: str, fate: _Fate, reasons: list[Reason], approval: Approval
    ) -> bool:
        """Whether the tag would lose its last item, and its entry in `spec.tags`, which the approved plan does not name."""
        return (
            fate.expired
            and not any(reason.kept for reason in reasons)
            and (stream.name, tag) not in approval.spec_tags
            and tag in self._declared(stream)
        )

    def _keep_attached(self, stream: ImageStream, tags: list[TagHistory], used: Mapping[str, Users]) -> None:
        """Keep the tags that are attached to what this stream itself keeps, which may have come into use since the snapshot."""
        waiting = by_subject(attached_and_pruned(tags))
        if not waiting:
            return
        remaining = self.graph.with_members({item.image for tag in tags for item in tag.remaining() if item.image})
        kept = kept_subjects(waiting, remaining & self.graph.images.keys(), self.graph)
        if not kept:
            return
        decisions, histories = self._decisions(stream), stream.histories
        for place, tag in enumerate(tags):
            if subject_of(tag.tag) in kept and tag.decisions.pruned:
                fate = self._fate(stream, tag.tag, decisions.get(tag.tag), kept)
                reasons = self._by_fate(stream, histories[place], fate, used)
                tags[place] = TagHistory(tag.tag, tag.items, self._shared(reasons))

    def keeping_images(self, history: StreamHistory, present: set[str]) -> StreamHistory:
        """The same history, with the revisions kept whose Image turned out to exist (R19)."""
        appeared = ImageAppeared()

        def decided(tag: TagHistory) -> TagHistory:
            pairs = zip(tag.items, tag.reasons, strict=True)
            reasons: list[Reason] = [
                appeared if not reason.kept and item.image in present else reason for item, reason in pairs
            ]
            if reasons and isinstance(reasons[0], Expired | AttachedToPruned | AttachedToAbsent):
                _never_back(reasons)
            return TagHistory(tag.tag, tag.items, TagDecisions.of(reasons))

        return msgspec.structs.replace(history, tags=tuple(decided(tag) for tag in history.tags))

    def reasons(self, stream: ImageStream, tag: str, revision: int, item: TagEvent) -> Iterator[Reason]:
        """All reasons for the decision on a revision: those that keep it, in the order of the rules, or else what prunes it.

        This is what the rules say, written for the reader. `decide` does the same to all revisions of a cluster, written for speed.
        """
        fate = self._fate(stream, tag, self._decisions(stream).get(tag))
        kept = False
        for reason in self._keeping(stream, tag, revision, item, fate):
            kept = True
            yield reason
        if kept:
            return
        if self.approval is not None and _key(stream.name, tag, item) not in self.approval.revisions:
            yield _NOT_APPROVED
        elif revision == 0 and fate is not None and fate.prune is not None:
            # Whether the current revision may go depends on those that would become the current one.
            history = next(each for each in stream.histories if each.tag == tag)
            yield self._by_fate(stream, history, fate, self._used_in(stream))[0]
        else:
            yield self._pruning(stream, revision, item, fate)

    def _keeping(
        self, stream: ImageStream, tag: str, revision: int, item: TagEvent, fate: _Fate | None
    ) -> Iterator[KeepReason]:
        yield from self._for_stream(stream)
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
            used = self._used_in(stream)
            if item.image in used:
                yield ReferencedInStream(used[item.image])
            if fate is not None and fate.prune is not None and item.image in self.used:
                yield Referenced(self.used[item.image])
            if pattern is not None:
                yield Protected(pattern)

    def _keeping_by_number_and_size(
        self, stream: ImageStream, revision: int, item: TagEvent, fate: _Fate | None
    ) -> Iterator[KeepReason]:
        count = self.rules.keep_tag_revisions if fate is None else fate.count
        if count is not None and revision < count:
            yield self._among_newest(revision, count)
        limits = self.limits.get(stream.metadata.namespace, ())
        if self.rules.prune_over_size_limit and self._exceeded(item, limits) is None:
            yield _WITHIN_LIMIT

    @staticmethod
    def _keeping_by(fate: _Fate | None, revision: int) -> Iterator[KeepReason]:
        if fate is not None and fate.current is not None and revision == 0:
            yield fate.current
        if fate is not None and fate.keep is not None:
            yield fate.keep

    def _pruning(self, stream: ImageStream, revision: int, item: TagEvent, fate: _Fate | None) -> PruneReason:
        if fate is not None and fate.absent is not None:
            return fate.absent
        if item.image not in self.graph.images:
            return _ABSENT
        if fate is not None and fate.prune is not None:
            return fate.prune
        limits = self.limits.get(stream.metadata.namespace, ())
        return self._over_size_or_beyond(
            item, revision, limits, self.rules.keep_tag_revisions if fate is None else fate.count
        )

    def _for_stream(self, stream: ImageStream) -> Iterator[KeepReason]:
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
                reason = among.get(revision) or self._among_newest(revision, newest)
            elif over_size_only and self._exceeded(item, limits) is None:
                reason = _WITHIN_LIMIT
            elif digest in used:
                reason = ReferencedInStream(used[digest])
            elif (matched := pattern or protected(digest)) is not None:
                reason = Protected(matched)
            else:
                known = None if over_size_only else beyond.get(revision)
                reason = known or self._over_size_or_beyond(item, revision, limits, count)
            reasons.append(reason)
        return reasons

    def _decide_by(  # noqa: C901 - one case for each rule
        self,
        fate: _Fate,
        items: Sequence[TagEvent],
        tag_users: Users,
        used: Mapping[str, Users],
        pattern: str | None,
        limits: Sequence[ImageLimit],
    ) -> list[Reason]:
        """As `_decide`, for a tag that a retention rule matches or that is attached."""
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
                reason = fate.absent or (_ABSENT if digest and can_name_image(digest) else _REFERENCE_ONLY)
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


def attached_and_pruned(tags: Iterable[TagHistory]) -> Iterator[tuple[str, list[str]]]:
    """The attached tags that lose revisions: the subject, and the images that these revisions name (R35)."""
    for tag in tags:
        subject = subject_of(tag.tag) if tag.tag[:7] == PREFIX and tag.decisions.pruned else None
        if subject is not None:
            yield subject, [item.image for _, item, reason in tag.pruned() if not isinstance(reason, ImageAbsent)]


def attached_to_kept(tags: Iterable[TagHistory]) -> Iterator[str]:
    """The subjects of the tags that are kept with them."""
    for tag in tags:
        if tag.tag[:7] == PREFIX:
            yield from (reason.subject for reason in tag.reasons if isinstance(reason, AttachedToKept))


def _never_back(reasons: list[Reason]) -> None:
    """Keep the current revision where an older one is kept: a tag must never move back to an older image (R31)."""
    older = next((revision for revision, reason in enumerate(reasons) if reason.kept), None)
    if older:
        reasons[0] = OlderRevisionKept(older)


def _key(stream: str, tag: str, item: TagEvent) -> tuple[str, str, str, datetime]:
    """How an approval names a revision."""
    return stream, tag, item.image, moment(item.created)
