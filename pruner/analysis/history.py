"""The history of tags: which revisions of every image stream go (DECISIONS R14 to R21).

`HistoryRules.decide` gives, for every item of every tag, the first rule that keeps it, or the one that lets it go.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import compress

import msgspec

from pruner.analysis.family import Family
from pruner.analysis.protection import Protection
from pruner.analysis.usage import Usage, Users, age_limit, current_uses
from pruner.cluster.objects import ImageLimit, ImageStream, Snapshot, TagEvent, moment
from pruner.plan import Approval, Decision, keep, prune
from pruner.settings import Rules

_YOUNG = keep("R14", "the revision is younger than keep_younger_than")
_ABSENT = prune("R19", "its Image object is absent")
_REFERENCE = keep("R19", "it names a pull spec and no Image, so none can be absent")
_NOT_APPROVED = keep("approval", "not in the approved plan")
_SMALL = keep("R16", "not larger than the limits for images of its namespace")


class Verdicts(msgspec.Struct, frozen=True, gc=False):
    """The decisions on the items of a tag, with what is asked of them again and again: which keep, and the revisions that go.

    Most tags of a cluster have one of a few dozen in common.
    """

    decisions: tuple[Decision, ...]
    kept: tuple[bool, ...]
    going: tuple[int, ...]

    @classmethod
    def of(cls, decisions: Iterable[Decision]) -> Verdicts:
        found = tuple(decisions)
        going = tuple([revision for revision, decision in enumerate(found) if not decision.kept])
        return cls(found, tuple([decision.kept for decision in found]), going)


class TagHistory(msgspec.Struct, frozen=True, gc=False):
    """The items of a tag, newest first, and the decision on each."""

    tag: str
    items: tuple[TagEvent, ...]
    verdicts: Verdicts

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return self.verdicts.decisions

    def remaining(self) -> Iterable[TagEvent]:
        return compress(self.items, self.verdicts.kept) if self.verdicts.going else self.items

    def pruned(self) -> list[tuple[int, TagEvent, Decision]]:
        """Revision, item and reason of what goes."""
        items, decisions = self.items, self.verdicts.decisions
        return [(revision, items[revision], decisions[revision]) for revision in self.verdicts.going]

    @property
    def emptied(self) -> bool:
        """Whether its last item goes."""
        return bool(self.items) and len(self.verdicts.going) == len(self.items)


class StreamHistory(msgspec.Struct, frozen=True, gc=False):
    """An image stream and the histories of its tags."""

    stream: ImageStream
    tags: tuple[TagHistory, ...]

    @property
    def changes(self) -> bool:
        """Whether any item goes."""
        return any(tag.verdicts.going for tag in self.tags)

    def remaining(self) -> set[str]:
        """The digests that items name which stay."""
        return {item.image for tag in self.tags for item in tag.remaining()}

    def pruned(self) -> set[str]:
        return {tag.items[revision].image for tag in self.tags for revision in tag.verdicts.going}


class HistoryRules:
    """The rules for items, made ready once for a snapshot: limits by namespace, age, protection."""

    def __init__(
        self,
        snapshot: Snapshot,
        rules: Rules,
        usage: Usage,
        family: Family,
        protection: Protection,
        approval: Approval | None,
    ) -> None:
        self.rules = rules
        self.usage = usage
        self.family = family
        self.protection = protection
        self.approval = approval
        age = rules.keep_younger_than
        self.young_after: datetime | None = None if age is None else age_limit(snapshot.as_of, age)
        self.limits: dict[str, list[ImageLimit]] = defaultdict(list)
        for limit in sorted(snapshot.limits, key=lambda limit: (limit.storage, limit.namespace, limit.name)):
            self.limits[limit.namespace].append(limit)
        self.used_digests: defaultdict[str, dict[str, Users]] = defaultdict(dict)
        self._use(usage.digests)
        # Decisions that say the same are one object: half a million revisions share a few dozen.
        self._among: dict[int, Decision] = {}
        self._past: dict[int, Decision] = {}
        self._before: dict[int, Verdicts] = {}

    def _use(self, digests: Mapping[tuple[str, str], Users]) -> None:
        """Take in users by stream and digest; with the extended rules, a used member uses its indexes (R12)."""
        for (stream, digest), users in digests.items():
            reached = self.family.with_indexes([digest]) if self.rules.references == "extended" else {digest}
            used = self.used_digests[stream]
            for each in reached:
                used[each] = tuple(sorted({*used.get(each, ()), *users}))

    def also_used(self, usage: Usage) -> None:
        """Take in uses that have come up since the snapshot: what is decided from now on counts them."""
        for tag, users in usage.tags.items():
            self.usage.tags[tag] = tuple(sorted({*self.usage.tags.get(tag, ()), *users}))
        # One pod that starts is one event of a watch, and there are hundreds: only what it uses is looked at.
        self._use(usage.digests)

    def decide(self, stream: ImageStream) -> StreamHistory:
        name, whole = stream.name, self._whole_stream(stream)
        used = self._used_in(stream)
        limits = self.limits.get(stream.metadata.namespace, ())
        tags = []
        for history in stream.histories:
            items = history.items or ()
            if whole is not None:
                decisions = [whole] * len(items)
            else:
                users = self.usage.tags.get((name, history.tag), ())
                pattern = self.protection.match_item(name, history.tag)
                decisions = self._decide(items, 0, users, used, pattern, limits)
                if self.approval is not None:
                    decisions = self._approved(name, history.tag, items, decisions, self.approval)
            tags.append(TagHistory(history.tag, items, self._alike(decisions)))
        return StreamHistory(stream, tuple(tags))

    def sparing(self, history: StreamHistory, present: set[str]) -> StreamHistory:
        """The same history, with the items kept whose Image turned out to be there after all (R19)."""
        there = keep("R19", "its Image object is there by now")

        def again(tag: TagHistory) -> TagHistory:
            pairs = zip(tag.items, tag.decisions, strict=True)
            spared = (there if not decision.kept and item.image in present else decision for item, decision in pairs)
            return TagHistory(tag.tag, tag.items, Verdicts.of(spared))

        return StreamHistory(history.stream, tuple(again(tag) for tag in history.tags))

    def _whole_stream(self, stream: ImageStream) -> Decision | None:
        """What keeps all of a stream."""
        if self.rules.namespace is not None and stream.metadata.namespace != self.rules.namespace:
            return keep("R21", f"outside of namespace {self.rules.namespace}")
        if self._is_young(stream.metadata.creation_timestamp):
            return keep("R14", "the image stream is younger than keep_younger_than")
        return None

    def _is_young(self, created: datetime | None) -> bool:
        return self.young_after is not None and moment(created) > self.young_after

    def reasons(self, stream: ImageStream, tag: str, revision: int) -> Iterator[Decision]:
        """All that keeps a revision, in the order of the rules: each as it would be if those before it did not hold."""
        item = next(history.items[revision] for history in stream.histories if history.tag == tag and history.items)
        users = self.usage.tags.get((stream.name, tag), ())
        used, pattern = self._used_in(stream), self.protection.match_item(stream.name, tag)
        limits = self.limits.get(stream.metadata.namespace, ())
        rest = copy.copy(self)
        rest._among, rest._past = {}, {}
        said: set[str] = set()
        while True:
            decision = rest._whole_stream(stream) or rest._decide([item], revision, users, used, pattern, limits)[0]
            if not decision.kept or decision.why in said:
                return
            said.add(decision.why)
            yield decision
            match decision.rule:
                case "R21":
                    rest.rules = msgspec.structs.replace(rest.rules, namespace=None)
                case "R14":
                    rest.young_after = None
                case "R15":
                    users = ()
                case "R16" if decision is _SMALL:
                    rest.rules = msgspec.structs.replace(rest.rules, prune_over_size_limit=False)
                case "R16":
                    rest.rules = msgspec.structs.replace(rest.rules, keep_tag_revisions=None)
                case "R17":
                    used = {}

    def _used_in(self, stream: ImageStream) -> Mapping[str, Users]:
        """Users by digest in this stream: with the extended rules also of indexes of what is current in a used tag (R12)."""
        used = self.used_digests.get(stream.name, {})
        if self.rules.references != "extended" or not self.family.nested:
            return used
        above: defaultdict[str, set[str]] = defaultdict(set)
        for digest, users in current_uses(stream, self.usage):
            for index in self.family.above(digest):
                above[index].update(users)
        if not above:
            return used
        return {**used, **{index: tuple(sorted({*users, *used.get(index, ())})) for index, users in above.items()}}

    def _decide(
        self,
        items: Sequence[TagEvent],
        first: int,
        tag_users: Users,
        used: Mapping[str, Users],
        pattern: str | None,
        limits: Sequence[ImageLimit],
    ) -> list[Decision]:
        """The first rule that speaks of each of the items, of which the first one is revision `first`.

        Half a million items of a large cluster go through this loop, so it asks each nothing twice and calls nothing for most.
        """
        young_after, images, count = self.young_after, self.family.images, self.rules.keep_tag_revisions
        newest, over_size_only = -1 if count is None else count, self.rules.prune_over_size_limit
        protected, among, past = self.protection.match_image, self._among, self._past
        decisions: list[Decision] = []
        for revision, item in enumerate(items, first):
            digest, created = item.image, item.created
            if (
                young_after is not None
                and created is not None
                and (created if created.tzinfo else moment(created)) > young_after
            ):
                decision = _YOUNG
            elif revision == 0 and tag_users:
                decision = keep("R15", "the current revision of a tag that is used by", tag_users)
            elif not digest:
                # Of a tag that is a reference only (`oc tag --reference`): without the item it would lead nowhere.
                decision = _REFERENCE
            # What is protected, as a tag or as a digest, stays even when its Image is absent: it is never pruned (R18).
            elif digest not in images and pattern is None and not protected(digest):
                decision = _ABSENT
            elif revision < newest:
                decision = among.get(revision) or self._by_revision(True, revision)
            elif over_size_only and self._exceeded(item, limits) is None:
                decision = _SMALL
            elif digest in used:
                decision = keep("R17", "used in this image stream by", used[digest])
            elif (matched := pattern or protected(digest)) is not None:
                decision = keep("R18", "protected by pattern", (matched,))
            else:
                decision = (None if over_size_only else past.get(revision)) or self._let_go(item, revision, limits)
            decisions.append(decision)
        return decisions

    def _approved(
        self, stream: str, tag: str, items: Sequence[TagEvent], decisions: list[Decision], approval: Approval
    ) -> list[Decision]:
        """The decisions, with what is not in the approved plan kept."""
        return [
            decision
            if decision.kept or (stream, tag, item.image, moment(item.created)) in approval.revisions
            else _NOT_APPROVED
            for item, decision in zip(items, decisions, strict=True)
        ]

    def _alike(self, decisions: list[Decision]) -> Verdicts:
        """The decisions on a tag: where they are those of the last tag of as many items, as they mostly are, the same object."""
        found = tuple(decisions)
        before = self._before.get(len(found))
        if before is None or before.decisions != found:
            before = self._before[len(found)] = Verdicts.of(found)
        return before

    def _exceeded(self, item: TagEvent, limits: Sequence[ImageLimit]) -> ImageLimit | None:
        """The smallest limit that the image is larger than. What has no size exceeds none."""
        image = self.family.images.get(item.image)
        size = image.size if image is not None else None
        return next((limit for limit in limits if size is not None and size > limit.storage), None)

    def _let_go(self, item: TagEvent, revision: int, limits: Sequence[ImageLimit]) -> Decision:
        if self.rules.prune_over_size_limit:
            limit = self._exceeded(item, limits)
            if limit is not None:
                return prune("R16", "larger than allowed by", (f"LimitRange {limit.namespace}/{limit.name}",))
        return self._by_revision(False, revision)

    def _by_revision(self, kept: bool, revision: int) -> Decision:
        shared = self._among if kept else self._past
        decision = shared.get(revision)
        if decision is None:
            count = self.rules.keep_tag_revisions
            among = f"revision {revision} is among the newest {count}"
            past = f"revision {revision} is past the newest {count}, and not used"
            decision = shared[revision] = Decision(kept, "R16", among if kept else past)
        return decision
