"""Images: which of them are pruned, once it is known which revisions are (R12, R18, R22, R23, docs/rules.md).

`ImageRules` gives a decision for every Image of the snapshot. What keeps one is looked for first; then everything that
is reached from a kept one through manifest lists and indexes is kept as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pruner.analysis.history import StreamHistory
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.protection import Protection
from pruner.analysis.retirement import Retirements
from pruner.analysis.usage import Users, age_limit
from pruner.cluster.objects import Image, Snapshot
from pruner.plan import Approval
from pruner.reasons import (
    ImageTooYoung,
    Imported,
    KeepReason,
    MemberOf,
    NamedBy,
    NoRevisionOverSize,
    NotApproved,
    NotPrunedInNamespace,
    Protected,
    Reason,
    Referenced,
    Restored,
    Unreferenced,
)
from pruner.settings import AnalysisSettings, minutes_of

_IMPORTED = Imported()
_NO_REVISION_OVER_SIZE = NoRevisionOverSize()
_NOT_APPROVED = NotApproved()
_UNREFERENCED = Unreferenced()


class ImageRules:
    """The rules for Images, made ready once for a snapshot: what
    refers to what, and the digests that pruned revisions named.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        rules: AnalysisSettings,
        used: Mapping[str, Users],
        graph: IndexGraph,
        dropped: set[str],
        protection: Protection,
        approval: Approval | None,
        retirements: Retirements,
    ) -> None:
        self.images = snapshot.images
        self.rules = rules
        self.graph = graph
        self.protection = protection
        self.approval = approval
        self.retirements = retirements
        self._dropped_now = dropped
        before = approval.dropped if approval is not None else frozenset()
        # What a run has retired was named by revisions, as what this plan drops.
        self.dropped = dropped | before | retirements.removed_before
        self.used = used
        age = rules.keep_younger_than
        self.young_after = None if age is None else age_limit(snapshot.as_of, age)
        self._too_young = ImageTooYoung(0 if age is None else minutes_of(age))
        # Without an age limit, prune_over_size_limit must not prune what is in no stream yet (R22).
        self._only_over_size = rules.prune_over_size_limit and age is None and rules.references == "extended"

    def decide(self, named: Mapping[str, list[str]]) -> dict[str, Reason]:
        """The decision on every Image, by digest. `named` are the tags that name each after the change."""
        decisions: dict[str, Reason] = {}
        # Images of the same tags, as revisions of one are, share the reason that says so.
        by_names: dict[tuple[str, ...], Reason] = {}
        decision: Reason | None
        for image in self.images:
            tags = named.get(image.name)
            if tags is not None:
                once = tuple(tags)
                decision = by_names.get(once)
                if decision is None:
                    decision = by_names[once] = NamedBy(tuple(sorted(set(once))))
            else:
                decision = self.unnamed(image) or self._by_approval(image) or _UNREFERENCED
            decisions[image.name] = decision
        _keep_members(decisions, self.graph)
        if self.retirements.applies:
            before = self.approval.dropped if self.approval is not None else frozenset()
            self.retirements.decide(decisions, self._dropped_now, before)
            _keep_members(decisions, self.graph)
        return decisions

    def reasons(self, image: Image) -> Iterator[KeepReason]:
        """All that keeps an Image, except the revisions and the indexes that name it, in the order of the rules."""
        references = self.used.get(image.name)
        if references is not None:
            yield Referenced(references)
        pattern = self.protection.match_image(image.name)
        if pattern is not None:
            yield Protected(pattern)
        if self.young_after is not None and image.created > self.young_after:
            yield self._too_young
        if not self.rules.all_images and not image.managed:
            yield _IMPORTED
        if self.rules.namespace is not None and image.name not in self.dropped:
            yield NotPrunedInNamespace(self.rules.namespace)
        if self._only_over_size and image.name not in self.dropped:
            yield _NO_REVISION_OVER_SIZE
        until = self.retirements.restored.get(image.name)
        if until is not None:
            yield Restored(until)

    def unnamed(self, image: Image) -> KeepReason | None:
        """The first of the `reasons`; None for an Image that only revisions and indexes keep."""
        return next(self.reasons(image), None)

    def _by_approval(self, image: Image) -> KeepReason | None:
        # With grace there are two things that can be approved, retirement and deletion.
        if self.approval is None or self.retirements.applies:
            return None
        return None if (image.name, image.uid) in self.approval.images else _NOT_APPROVED


def names(histories: Iterable[StreamHistory]) -> tuple[dict[str, list[str]], set[str]]:
    """Which tags name each digest after the change, and which digests are named by items that go."""
    named: defaultdict[str, list[str]] = defaultdict(list)
    dropped: set[str] = set()
    for history in histories:
        stream = history.stream.name
        for tag in history.tags:
            name = f"{stream}:{tag.tag}"
            for item in tag.remaining():
                # An item of a tag that is a reference only (`oc tag --reference`) names no Image.
                if item.image:
                    named[item.image].append(name)
        if history.changes:
            dropped |= history.pruned()
    return named, dropped


def _keep_members(decisions: dict[str, Reason], graph: IndexGraph) -> None:
    """Keep what is reached from a kept image through indexes, at any depth (R22)."""
    if not graph.nested:
        return
    kept = graph.with_members(name for name, decision in decisions.items() if decision.kept)
    for name in kept:
        if name in decisions and not decisions[name].kept:
            above = tuple(index for index in graph.indexes(name) if index in kept)
            decisions[name] = MemberOf(above)
