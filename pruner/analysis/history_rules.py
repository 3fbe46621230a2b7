"""The history of tags: which revisions of every image stream are pruned (R14 to R21, R30 to R35, docs/rules.md).

`HistoryRules.reasons` gives all reasons for the decision on one revision. `HistoryRules.decide` takes the first one of
every revision.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import datetime

import msgspec

from pruner.analysis.attached import PREFIX, by_subject, kept_subjects, subject_of
from pruner.analysis.history import StreamHistory, TagDecisions, TagHistory, attached_and_pruned
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.protection import Protection
from pruner.analysis.revision_rules import RevisionRules
from pruner.analysis.tag_fate import TagFate, TagFates
from pruner.analysis.usage import Usage, Users
from pruner.cluster.metadata import moment
from pruner.cluster.objects import ImageStream, NamedTagEventList, Snapshot, TagEvent
from pruner.plan import Approval
from pruner.reasons import (
    AttachedToAbsent,
    AttachedToPruned,
    ImageAppeared,
    NotApproved,
    OlderRevisionKept,
    Reason,
)
from pruner.settings import AnalysisSettings

_NOT_APPROVED = NotApproved()


class HistoryRules:
    """The rules for the tags of image streams, made ready once for a snapshot."""

    def __init__(
        self,
        snapshot: Snapshot,
        rules: AnalysisSettings,
        usage: Usage,
        graph: IndexGraph,
        protection: Protection,
        approval: Approval | None,
        used: Mapping[str, Users] | None = None,
    ) -> None:
        """`used` are the references by digest that keep an image wherever it is named (R12)."""
        self.revisions = RevisionRules(snapshot, rules, usage, graph, protection, used)
        self.fates = TagFates(snapshot, rules, graph)
        self.graph = graph
        self.protection = protection
        self.approval = approval
        self._before: dict[int, TagDecisions] = {}
        self._alone: dict[int, tuple[TagFate, TagDecisions]] = {}

    def also_used(self, usage: Usage) -> None:
        """Take in uses that have come up since the snapshot: what is decided from now on counts them."""
        self.revisions.also_used(usage)

    def with_kept_subjects(self, subjects: Set[str]) -> HistoryRules:
        """The same rules, with tags kept that are attached to these images (R35)."""
        rules = copy.copy(self)
        rules.fates = self.fates.with_kept_subjects(subjects)
        return rules

    def decide(self, stream: ImageStream) -> StreamHistory:
        """The first of the `reasons` for each revision of the stream."""
        revisions = self.revisions
        name, for_all = stream.name, next(revisions.for_stream(stream), None)
        used = revisions.used_in(stream)
        limits = revisions.limits_of(stream)
        decisions = self.fates.decisions(stream)
        whole, follows = False, self.fates.follows
        limited = self.approval is not None or bool(self.protection.patterns)
        tags = []
        for history in stream.histories:
            items, tag = history.items or (), history.tag
            reasons: list[Reason]
            decision = decisions.get(tag)
            if for_all is not None:
                reasons = [for_all] * len(items)
            elif (
                decision is not None
                and len(items) == 1
                and not limited
                and tag[:7] != PREFIX
                and (name, tag) not in revisions.used_tags
                and revisions.decided_by_fate_alone(items[0], used)
            ):
                by_rule = self.fates.by_rule(decision)
                whole = whole or by_rule.prune is not None
                tags.append(TagHistory(tag, items, self._decided_alone(by_rule)))
                continue
            elif items and (decision is not None or (follows and tag[:7] == PREFIX)):
                fate = self.fates.fate(stream, tag, decision)
                whole |= (fate is not None and fate.prune is not None) or (follows and tag[:7] == PREFIX)
                reasons = self._by_fate(stream, history, fate, used)
            else:
                users = revisions.used_tags.get((name, tag), ())
                pattern = self.protection.match_item(name, tag)
                reasons = revisions.decide(items, users, used, pattern, limits)
                if self.approval is not None:
                    reasons = self._approved(name, tag, items, reasons, self.approval)
            tags.append(TagHistory(tag, items, self._shared(reasons)))
        if whole and follows:
            self._keep_attached(stream, tags, used)
        return StreamHistory(stream, tuple(tags), whole)

    def _decided_alone(self, fate: TagFate) -> TagDecisions:
        """The decision on the only revision of a tag, by its fate; one object for each fate."""
        known = self._alone.get(id(fate))
        if known is None:
            reasons = [reason for reason in (fate.current, fate.prune) if reason is not None]
            known = self._alone[id(fate)] = (fate, TagDecisions.of(reasons))
        return known[1]

    def _by_fate(
        self, stream: ImageStream, history: NamedTagEventList, fate: TagFate | None, used: Mapping[str, Users]
    ) -> list[Reason]:
        """The first of the `reasons` for each item of a tag that a retention rule matches or that is attached."""
        name, tag, items = stream.name, history.tag, history.items or ()
        users = self.revisions.used_tags.get((name, tag), ())
        pattern = self.protection.match_item(name, tag)
        limits = self.revisions.limits_of(stream)
        if fate is None:
            reasons = self.revisions.decide(items, users, used, pattern, limits)
        else:
            reasons = self.revisions.decide_by(fate, items, users, used, pattern, limits)
        if self.approval is not None:
            reasons = self._approved(name, tag, items, reasons, self.approval)
        if fate is not None and not reasons[0].kept:
            if self.approval is not None and self._spec_tag_not_approved(stream, tag, fate, reasons, self.approval):
                reasons[0] = _NOT_APPROVED
            else:
                _never_back(reasons)
        return reasons

    def _spec_tag_not_approved(
        self, stream: ImageStream, tag: str, fate: TagFate, reasons: list[Reason], approval: Approval
    ) -> bool:
        """Whether the tag would lose its last item, and its entry
        in `spec.tags`, which the approved plan does not name.
        """
        return (
            fate.expired
            and not any(reason.kept for reason in reasons)
            and (stream.name, tag) not in approval.spec_tags
            and tag in self.fates.declared(stream)
        )

    def _keep_attached(self, stream: ImageStream, tags: list[TagHistory], used: Mapping[str, Users]) -> None:
        """Keep the tags that are attached to what this stream itself
        keeps, which may have come into use since the snapshot.
        """
        waiting = by_subject(attached_and_pruned(tags))
        if not waiting:
            return
        remaining = self.graph.with_members({item.image for tag in tags for item in tag.remaining() if item.image})
        kept = kept_subjects(waiting, remaining & self.graph.images.keys(), self.graph)
        if not kept:
            return
        decisions, histories = self.fates.decisions(stream), stream.histories
        for place, tag in enumerate(tags):
            if subject_of(tag.tag) in kept and tag.decisions.pruned:
                fate = self.fates.fate(stream, tag.tag, decisions.get(tag.tag), kept)
                reasons = self._by_fate(stream, histories[place], fate, used)
                tags[place] = TagHistory(tag.tag, tag.items, self._shared(reasons))

    def keeping_images(self, history: StreamHistory, present: set[str]) -> StreamHistory:
        """The same history, with the revisions kept whose Image turned out to exist (R19)."""
        appeared, decisions = ImageAppeared(), self.fates.decisions(history.stream)

        def decided(tag: TagHistory) -> TagHistory:
            reasons: list[Reason] = [
                appeared if not reason.kept and item.image in present else reason for item, reason in tag.decided()
            ]
            if reasons and (
                isinstance(reasons[0], AttachedToPruned | AttachedToAbsent)
                or (tag.tag in decisions and not reasons[0].kept)
            ):
                _never_back(reasons)
            return TagHistory(tag.tag, tag.items, TagDecisions.of(reasons))

        return msgspec.structs.replace(history, tags=tuple(decided(tag) for tag in history.tags))

    def reasons(self, stream: ImageStream, tag: str, revision: int, item: TagEvent) -> Iterator[Reason]:
        """All reasons for the decision on a revision: those that keep it, in the order of the rules, or what prunes it.

        This is what the rules say, written for the reader. `decide` does the same to all revisions of a cluster,
        written for speed.
        """
        fate = self.fates.fate(stream, tag, self.fates.decisions(stream).get(tag))
        keeping = [*self.revisions.keeping(stream, tag, revision, item, fate)]
        yield from keeping
        if keeping:
            return
        if self.approval is not None and _key(stream.name, tag, item) not in self.approval.revisions:
            yield _NOT_APPROVED
        elif revision == 0 and fate is not None:
            # Whether the current revision may go depends on those that would become the current one.
            history = next(each for each in stream.histories if each.tag == tag)
            yield self._by_fate(stream, history, fate, self.revisions.used_in(stream))[0]
        else:
            yield self.revisions.pruning(stream, revision, item, fate)

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


def _never_back(reasons: list[Reason]) -> None:
    """Keep the current revision where an older one is kept: a tag must never move back to an older image (R31)."""
    older = next((revision for revision, reason in enumerate(reasons) if reason.kept), None)
    if older:
        reasons[0] = OlderRevisionKept(older)


def _key(stream: str, tag: str, item: TagEvent) -> tuple[str, str, str, datetime]:
    """How an approval names a revision."""
    return stream, tag, item.image, moment(item.created)
