"""Retirement: images that the rules prune are retired first and deleted when their grace is over (R36).

A retired image keeps its blobs and its links, so it counts as one that stays. What belongs together stays together: the
members of a retired index, and what is attached to a retired image, are kept for as long as these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from pruner.analysis.attached import subject_of
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.usage import age_limit
from pruner.cluster.objects import Snapshot
from pruner.plan import Approval, RetirementEnd
from pruner.reasons import (
    GraceOver,
    KeepReason,
    MemberOf,
    NamedBy,
    NotApproved,
    Reason,
    Referenced,
    Retired,
    Retiring,
)
from pruner.settings import AnalysisSettings, minutes_of

_NOT_APPROVED: Final = NotApproved()


class Retirements:
    """What decides about images that nothing needs, made ready once
    for a snapshot. Without `grace` it changes no decision.
    """

    def __init__(
        self, snapshot: Snapshot, rules: AnalysisSettings, graph: IndexGraph, approval: Approval | None
    ) -> None:
        self.rules = rules
        self.graph = graph
        self.approval = approval
        self.as_of = snapshot.as_of
        self.records = {name: record for name, record in snapshot.retired.items() if name in graph.images}
        self.restored = {name: each.until for name, each in snapshot.restored.items() if each.until > snapshot.as_of}

    @property
    def applies(self) -> bool:
        return self.rules.grace > timedelta()

    @cached_property
    def removed_before(self) -> frozenset[str]:
        """Retired images that revisions named which runs removed:
        of the namespace, where the plan is limited to one (R23).
        """
        within = self.rules.namespace
        if within is None:
            return frozenset([name for name, record in self.records.items() if record.tags])
        return frozenset(
            name
            for name, record in self.records.items()
            if any(stream.partition("/")[0] == within for stream, _ in record.tags)
        )

    def by_stream(self, decisions: Mapping[str, Reason]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """Images by the streams that their records name: those that
        stay retired, whose links stay, and those that are deleted.
        """
        staying: dict[str, set[str]] = {}
        deleted: dict[str, set[str]] = {}
        for name, record in self.records.items():
            decision = decisions[name]
            if is_retained(decision) or not decision.kept:
                found = staying if decision.kept else deleted
                for stream, _ in record.tags:
                    found.setdefault(stream, set()).add(name)
        return staying, deleted

    def decide(self, decisions: dict[str, Reason], dropped: Set[str], dropped_before: Set[str]) -> None:
        """Replace the decisions on images that are pruned: by retirement, or by the end of their grace.

        `dropped` are images that revisions name which this plan removes, `dropped_before` those that the same run has
        removed already.
        """
        if not self.applies:
            return
        minutes = minutes_of(self.rules.grace)
        retiring, over = Retiring(minutes), GraceOver(minutes)
        limit = age_limit(self.as_of, self.rules.grace)
        # Images that one run has retired stay until the same time.
        until: dict[datetime, Retired] = {}
        for name, decision in decisions.items():
            if decision.kept:
                continue
            record = self.records.get(name)
            if record is None or name in dropped:
                named = name in dropped or name in dropped_before
                decisions[name] = retiring if named or self._may_be_retired(name) else _NOT_APPROVED
            elif record.at > limit:
                stays = until.get(record.at)
                if stays is None:
                    stays = until[record.at] = Retired(record.at, _later(record.at, self.rules.grace))
                decisions[name] = stays
            else:
                decisions[name] = over
        self._keep_together(decisions)
        if self.approval is not None:
            self._limit_deletions(decisions, self.approval)

    def _may_be_retired(self, name: str) -> bool:
        """To retire an image is less than to delete it, so an approval of its deletion is enough."""
        approval = self.approval
        key = (name, self.graph.images[name].uid)
        return approval is None or key in approval.retired or key in approval.images

    def _limit_deletions(self, decisions: dict[str, Reason], approval: Approval) -> None:
        for name, decision in decisions.items():
            if isinstance(decision, GraceOver) and (name, self.graph.images[name].uid) not in approval.images:
                decisions[name] = _NOT_APPROVED

    def _keep_together(self, decisions: dict[str, Reason]) -> None:
        """Keep members of retired indexes, and what is attached to retired images, as long as these."""
        over = {name for name, decision in decisions.items() if isinstance(decision, GraceOver)}
        if not over:
            return
        attached: dict[str, list[str]] = {}
        for name in over:
            for _, tag in self.records[name].tags:
                subject = subject_of(tag) if self.rules.attached == "follow" else None
                if subject is not None:
                    attached.setdefault(subject, []).append(name)
        ahead = sorted(
            (name for name, decision in decisions.items() if is_retained(decision)),
            key=lambda name: _until(decisions[name], self.as_of, self.rules.grace),
        )
        # From the longest grace to the shortest: the first that reaches an image is the one that keeps it longest.
        while over and ahead:
            name = ahead.pop()
            until = _until(decisions[name], self.as_of, self.rules.grace)
            found = {
                each for member in self.graph.with_members([name]) for each in (member, *attached.get(member, ()))
            } & over
            for each in sorted(found):
                decisions[each] = Retired(self.records[each].at, until)
                over.discard(each)
                ahead.append(each)

    def ended(self, decisions: Mapping[str, Reason]) -> tuple[RetirementEnd, ...]:
        """The retired images that are named or used again, sorted.
        What was restored keeps its record while that protects it.
        """
        if not self.applies:
            return ()
        approved = None if self.approval is None else self.approval.needed_again
        found = []
        for name in sorted(self.records.keys() - self.restored.keys()):
            decision, uid = decisions[name], self.graph.images[name].uid
            if (
                isinstance(decision, NamedBy | MemberOf | Referenced)
                and (approved is None or (name, uid) in approved)
                and (self.rules.namespace is None or name in self.removed_before)
            ):
                reason: KeepReason = decision
                found.append(RetirementEnd(name, uid, reason))
        return tuple(found)


def is_retained(decision: Reason) -> bool:
    """Whether an image is kept only since it is retired, or about to be."""
    return isinstance(decision, Retired | Retiring)


def _until(decision: Reason, as_of: datetime, grace: timedelta) -> datetime:
    return decision.until if isinstance(decision, Retired) else _later(as_of, grace)


def _later(moment: datetime, grace: timedelta) -> datetime:
    try:
        return moment + grace
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
