"""What each setting would free if it were changed by one step, and what deleting idle workloads would.

Each step is decided by the same rules as a plan, from the same snapshot, so that what is said here is what a plan with
that setting would free in addition to the present one.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from datetime import timedelta
from typing import Final, TypeVar

import msgspec

from pruner.analysis.blobs import blobs_of
from pruner.analysis.prune import Decided, decide
from pruner.analysis.storage import HeldByIdle, Storage
from pruner.analysis.usage import Usage, Users, age_limit, find_usage
from pruner.cluster.metadata import moment
from pruner.cluster.objects import Snapshot
from pruner.settings import AnalysisSettings, RetentionRule, minutes_of

K = TypeVar("K")

UNREFERENCED_AFTER: Final = timedelta(days=30)
"""The age of tags in the step that shows what a first retention rule would free."""
MOST_RULES: Final = 3
"""Retention rules that are tried; each is an analysis of its own."""


class SetTo(msgspec.Struct, frozen=True, tag="setting", tag_field="type"):
    """Change a setting from `now` to `then`, as they are written in a configuration.

    `rule` is the retention rule that has it.
    """

    setting: str
    now: str
    then: str
    rule: str = ""


class DeleteIdle(msgspec.Struct, frozen=True, tag="idle", tag_field="type"):
    """Delete the idle workloads of a kind, of which there are so many `objects`."""

    kind: str
    objects: int


class Step(msgspec.Struct, frozen=True):
    """A change, and the images and bytes that would be freed in addition to what the next run frees.

    With `retired`, the next run retires these images, and they are freed when their grace is over (R36).
    """

    change: SetTo | DeleteIdle
    images: int
    bytes: int
    retired: bool = False


def steps(
    snapshot: Snapshot,
    rules: AnalysisSettings,
    usage: Usage,
    decided: Decided,
    idle: Mapping[str, str],
    found: Storage,
) -> tuple[Step, ...]:
    """The steps, those first that free most. `usage` has its sources apart, `idle` are idle workloads and their kinds.

    Idle workloads of a kind that nothing is kept by, as `found` says, are not tried: nothing would be freed without
    them.
    """
    holding = {cause.kind for cause, _ in found.causes if isinstance(cause, HeldByIdle)}
    tried = []
    trial = _Trial(snapshot, usage, decided)
    if rules.grace:
        # What a step prunes is retired first, so that nothing would seem to be freed: compare what is pruned at all.
        at_once = dataclasses.replace(rules, grace=timedelta())
        tried.append(trial.step(SetTo("grace", _age(rules.grace), "0"), at_once))
        rules = at_once
        trial = _Trial(snapshot, usage, decide(snapshot, rules, usage=usage_for(rules, usage)), retires=True)
    tried += [trial.step(change, changed) for change, changed in _changed(snapshot, rules)]
    if rules.protect_selector is not None:
        unprotected = msgspec.structs.replace(snapshot, protected=frozenset())
        change = SetTo("protect_selector", rules.protect_selector, "")
        tried.append(trial.step(change, rules, unprotected))
    by_kind: defaultdict[str, set[str]] = defaultdict(set)
    for name, kind in idle.items():
        if kind in holding:
            by_kind[kind].add(name)
    for kind, names in by_kind.items():
        tried.append(trial.without(DeleteIdle(kind, len(names)), rules, names))
    return tuple(sorted(tried, key=lambda step: (-step.bytes, -step.images, str(step.change))))


def usage_for(rules: AnalysisSettings, apart: Usage) -> Usage:
    """The usage as `find_usage` gives it for these rules, from one with the sources of tags apart."""
    if rules.retention:
        return apart
    return msgspec.structs.replace(apart.with_sources(apart.sources, own=True), sources=())


class _Trial:
    """Decides again, and compares with what is decided now."""

    def __init__(self, snapshot: Snapshot, usage: Usage, decided: Decided, *, retires: bool = False) -> None:
        self.snapshot = snapshot
        self.usage = usage
        self.retires = retires
        self.images = decided.graph.images
        self.stored = {image.name: blobs_of(image) for image in self.images.values() if image.managed}
        self.now = _pruned(decided)
        self.freed_now = self._freed(self.now)

    def step(
        self,
        change: SetTo | DeleteIdle,
        rules: AnalysisSettings,
        snapshot: Snapshot | None = None,
        usage: Usage | None = None,
    ) -> Step:
        snapshot = snapshot or self.snapshot
        if isinstance(change, SetTo) and change.setting == "keep_younger_than" and not change.rule:
            # Pods that have ended count for as long as they are young (R5).
            usage = find_usage(snapshot, rules, sources_apart=bool(rules.retention))
        pruned = _pruned(decide(snapshot, rules, usage=usage_for(rules, self.usage) if usage is None else usage))
        more = sum(self.images[name].managed for name in pruned - self.now)
        return Step(change, more, self._freed(pruned) - self.freed_now, retired=self.retires)

    def without(self, change: DeleteIdle, rules: AnalysisSettings, names: Set[str]) -> Step:
        """What would be freed without these workloads."""
        usage = self.usage
        left = msgspec.structs.replace(
            usage,
            tags=_left(usage.tags, names),
            digests=_left(usage.digests, names),
            anywhere=_left(usage.anywhere, names),
        )
        return self.step(change, rules, usage=usage_for(rules, left))

    def _freed(self, pruned: Set[str]) -> int:
        """The bytes of blobs that only these images need, of those that are stored."""
        going: set[str] = set()
        for name in pruned & self.stored.keys():
            going |= self.stored[name]
        if going:
            for name in self.stored.keys() - pruned:
                going -= self.stored[name]
        sizes = self.snapshot.blob_sizes
        return sum(sizes.get(blob, 0) for blob in going)


def _pruned(decided: Decided) -> set[str]:
    return {name for name, reason in decided.images.items() if not reason.kept}


def _left(users: Mapping[K, Users], names: Set[str]) -> dict[K, Users]:
    """The references without those of these workloads."""
    found = {}
    for key, of_key in users.items():
        rest = of_key if names.isdisjoint(of_key) else tuple(user for user in of_key if user not in names)
        if rest:
            found[key] = rest
    return found


# --- the changes of settings -----------------------------------------------------------------------------------------


def _changed(snapshot: Snapshot, rules: AnalysisSettings) -> Iterator[tuple[SetTo, AnalysisSettings]]:
    """The settings that keep something, each one step looser."""
    count, age = rules.keep_tag_revisions, rules.keep_younger_than
    if count:
        change = SetTo("keep_tag_revisions", str(count), str(count - 1))
        yield change, dataclasses.replace(rules, keep_tag_revisions=count - 1)
    if age and _has_young(snapshot, age):
        half = _half(age)
        yield SetTo("keep_younger_than", _age(age), _age(half)), dataclasses.replace(rules, keep_younger_than=half)
    if rules.namespace is not None:
        yield SetTo("namespace", rules.namespace, ""), dataclasses.replace(rules, namespace=None)
    if rules.protect:
        yield SetTo("protect", ", ".join(rules.protect), ""), dataclasses.replace(rules, protect=())
    for place, rule in enumerate(rules.retention[:MOST_RULES]):
        for change, changed in _looser(rule):
            retention = (*rules.retention[:place], changed, *rules.retention[place + 1 :])
            yield change, dataclasses.replace(rules, retention=retention)
    if not rules.retention:
        first = RetentionRule(name="unreferenced tags", keep_younger_than=UNREFERENCED_AFTER)
        yield SetTo("retention", "", _age(UNREFERENCED_AFTER)), dataclasses.replace(rules, retention=(first,))


def _looser(rule: RetentionRule) -> Iterator[tuple[SetTo, RetentionRule]]:
    """The rule with each of its conditions one step looser."""
    replace = msgspec.structs.replace
    if rule.keep_newest:
        less = rule.keep_newest - 1
        yield SetTo("keep_newest", str(rule.keep_newest), str(less), rule.name), replace(rule, keep_newest=less)
    if rule.keep_younger_than:
        half = _half(rule.keep_younger_than)
        change = SetTo("keep_younger_than", _age(rule.keep_younger_than), _age(half), rule.name)
        yield change, replace(rule, keep_younger_than=half)


def _has_young(snapshot: Snapshot, age: timedelta) -> bool:
    """Whether anything is young: otherwise a lower age changes nothing."""
    limit = age_limit(snapshot.as_of, age)
    created = (
        *(image.created for image in snapshot.images),
        *(moment(stream.metadata.creation_timestamp) for stream in snapshot.streams),
    )
    pods = (each.workload.metadata.creation_timestamp for each in snapshot.referrers if each.kind == "Pod")
    # A pod that is exactly as old still counts (R5), where anything else is old.
    if any(each > limit for each in created) or any(moment(each) >= limit for each in pods):
        return True
    histories = (history for stream in snapshot.streams for history in stream.histories)
    return any(moment(item.created) > limit for history in histories for item in history.items or ())


def _half(age: timedelta) -> timedelta:
    return timedelta(minutes=minutes_of(age) // 2)


def _age(age: timedelta) -> str:
    """As a configuration writes it, in minutes or in days."""
    return f"{age.days}d" if age == timedelta(days=age.days) else str(minutes_of(age))
