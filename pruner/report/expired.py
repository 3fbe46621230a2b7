"""What retention rules do in a plan: the expired tags, and how many tags each rule keeps and lets expire (R30, R32).

The image streams that a plan deletes (R34) are in the plan as they are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from pruner.plan import PrunePlan
from pruner.reasons import AmongNewestTags, Expired, ImportedTag, KeptByRule, MovedRecently
from pruner.report.model import Report


class ExpiredTag(msgspec.Struct, frozen=True, gc=False):
    """A tag that is removed as a whole, and the retention rule by which it expired.

    `moved` is when its newest revision was made. `declared` says that its entry in `spec.tags` goes too.
    """

    stream: str
    tag: str
    retention: str
    moved: datetime
    revisions: int
    declared: bool


class RetentionSum(msgspec.Struct, frozen=True):
    """How many tags a retention rule lets expire, and how many it keeps; None where only the plan is known."""

    retention: str
    expired: int
    kept: int | None


def expired_tags(plan: PrunePlan) -> list[ExpiredTag]:
    """The tags in the order of the plan."""
    found = []
    for change in plan.streams:
        if not change.removed_tags:
            continue
        removed, declared = set(change.removed_tags), set(change.removed_spec_tags)
        counts = Counter(item.tag for item in change.revisions)
        seen = set[str]()
        for item in change.revisions:
            if item.tag not in seen and item.tag in removed and isinstance(item.reason, Expired):
                seen.add(item.tag)
                moved = item.created
                found.append(
                    ExpiredTag(
                        change.stream, item.tag, item.reason.retention, moved, counts[item.tag], item.tag in declared
                    )
                )
    return found


def retention_sums(report: Report, expired: Iterable[ExpiredTag]) -> list[RetentionSum]:
    """One for each retention rule of the plan, in the order in which rules are compared with tags."""
    gone = Counter(each.retention for each in expired)
    kept = Counter[str]()
    for reason, number in (report.kept.revisions if report.kept is not None else {}).items():
        if isinstance(reason, KeptByRule | MovedRecently | AmongNewestTags | ImportedTag):
            kept[reason.retention] += number
    names = [str(rule.get("name", "")) for rule in _rules(report.plan)]
    names += sorted(gone.keys() - set(names))
    return [RetentionSum(name, gone[name], kept[name] if report.kept is not None else None) for name in names]


def _rules(plan: PrunePlan) -> list[dict[str, Any]]:
    rules = plan.rules.get("retention")
    return [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
