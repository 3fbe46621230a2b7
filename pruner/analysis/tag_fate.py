"""What retention rules and attachment say about whole tags
(R30 to R35), in addition to what decides about every revision.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Set

import msgspec

from pruner.analysis.attached import PREFIX, subject_of
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.retention import TagDecision, TagRetention
from pruner.cluster.objects import ImageStream, Snapshot
from pruner.reasons import AttachedToAbsent, AttachedToKept, AttachedToPruned, Expired, KeepReason, PruneReason
from pruner.settings import AnalysisSettings


class TagFate(msgspec.Struct, frozen=True, gc=False):
    """What also decides about a tag that a retention rule matches or that is attached.

    `keep` keeps all of its revisions, `current` the current one. With `prune` every other one is pruned unless it is in
    use; without, the newest `count` are kept. `expired` says that its entry in `spec.tags` goes with it.
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


class TagFates:
    """The fates of tags, made ready once for a snapshot.

    `follows` says whether attached tags share the fate of their subjects, `kept_subjects` are those that are known to
    be kept.
    """

    def __init__(self, snapshot: Snapshot, rules: AnalysisSettings, graph: IndexGraph) -> None:
        self.retention = TagRetention(rules.retention, snapshot.as_of) if rules.retention else None
        self.follows = rules.attached == "follow" and rules.references == "extended"
        self.kept_subjects: Set[str] = frozenset()
        self._keep_tag_revisions = rules.keep_tag_revisions
        self._ages_limited = rules.keep_younger_than is not None
        self._images = graph.images
        self._of_decisions: dict[int, tuple[TagDecision, TagFate]] = {}
        self._declared_in: tuple[ImageStream, frozenset[str]] | None = None
        self._decided: tuple[ImageStream, Mapping[str, TagDecision]] | None = None

    def with_kept_subjects(self, subjects: Set[str]) -> TagFates:
        """The same fates, with tags kept that are attached to these images (R35)."""
        fates = copy.copy(self)
        fates.kept_subjects = subjects
        return fates

    def decisions(self, stream: ImageStream) -> Mapping[str, TagDecision]:
        """What the retention rules decide about the tags of a stream; asked again for the same one, the same."""
        if self.retention is None:
            return _NO_DECISIONS
        if self._decided is None or self._decided[0] is not stream:
            self._decided = (stream, self.retention.decide(stream))
        return self._decided[1]

    def fate(
        self, stream: ImageStream, tag: str, decision: TagDecision | None, also_kept: Set[str] = frozenset()
    ) -> TagFate | None:
        """`also_kept` are subjects that are kept in addition to those that are known to be.

        None for a tag like any other.
        """
        subject = subject_of(tag) if self.follows and tag[:7] == PREFIX else None
        if subject is None:
            return None if decision is None else self.by_rule(decision)
        keep: KeepReason | None = None
        current: KeepReason | None = None
        prune: PruneReason | None = None
        count = self._keep_tag_revisions
        if decision is not None:
            if isinstance(decision.reason, Expired):
                prune = decision.reason
            else:
                current = decision.reason
                if decision.rule.keep_tag_revisions is not None:
                    count = decision.rule.keep_tag_revisions
        if subject in self.kept_subjects or subject in also_kept:
            keep = AttachedToKept(subject)
        elif tag not in self.declared(stream):
            # One with an entry in spec.tags was put there by somebody, and goes only as other tags do.
            if subject in self._images:
                prune = AttachedToPruned(subject)
            elif self._ages_limited:
                prune = AttachedToAbsent(subject)
        if keep is None and current is None and prune is None:
            return None
        return TagFate(keep, current, prune, count, expired=isinstance(prune, Expired))

    def by_rule(self, decision: TagDecision) -> TagFate:
        """The fate of a tag that is not attached to anything.

        Decisions are shared by many tags, and so are their fates.
        """
        known = self._of_decisions.get(id(decision))
        if known is None:
            # With the decision, so that no other one is made at its address.
            known = self._of_decisions[id(decision)] = (decision, self._made_by_rule(decision))
        return known[1]

    def _made_by_rule(self, decision: TagDecision) -> TagFate:
        if isinstance(decision.reason, Expired):
            return TagFate(prune=decision.reason, expired=True)
        count = decision.rule.keep_tag_revisions
        return TagFate(current=decision.reason, count=self._keep_tag_revisions if count is None else count)

    def declared(self, stream: ImageStream) -> frozenset[str]:
        """The tags in `spec.tags` of a stream; asked again for the same one, the same."""
        if self._declared_in is None or self._declared_in[0] is not stream:
            self._declared_in = (stream, stream.spec_tags)
        return self._declared_in[1]
