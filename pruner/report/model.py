"""The `Report`: a plan, what is known of everything that stays, and the result if there is one, for showing.

Given an `Analysis`, or the parts that a file holds, it gives rows (`ReportedImage` of pruner.report.rows) and sums:
bytes by image stream, images by age, and what keeps the rest by rule. All writers show the same of it. Every total is
in bytes, every age in days.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from pruner.apply.result import Failure, RegistryRestart, Result, Skipped
from pruner.apply.result import Summary as ResultSummary
from pruner.plan import PrunePlan
from pruner.reasons import in_general
from pruner.report.decisions import Decisions, Kept
from pruner.report.rows import ReportedImage, Rows, StreamSum, sums_by_home

if TYPE_CHECKING:
    from pruner.analysis import Analysis


class Outcome(msgspec.Struct, frozen=True):
    """What of a run's result is shown: counts and names, not whole objects."""

    summary: ResultSummary
    deleted: frozenset[str] = frozenset()
    skipped: tuple[Skipped, ...] = ()
    failures: tuple[Failure, ...] = ()
    registry_restart: RegistryRestart | None = None

    @classmethod
    def of(cls, result: Result) -> Outcome:
        return cls(
            summary=result.summary,
            deleted=frozenset(image["metadata"]["name"] for image in result.deleted_images),
            skipped=tuple(result.skipped),
            failures=tuple(result.failures),
            registry_restart=result.registry_restart,
        )


class AgeCount(msgspec.Struct, frozen=True):
    """Images of an age."""

    label: str
    pruned: int = 0
    kept: int = 0


class RuleCount(msgspec.Struct, frozen=True):
    """What one reason keeps. `why` says it in general."""

    rule: str
    why: str
    images: int = 0
    revisions: int = 0


AGES: Final[tuple[tuple[str, timedelta], ...]] = (
    ("under a day", timedelta(days=1)),
    ("1 to 7 days", timedelta(days=7)),
    ("7 to 30 days", timedelta(days=30)),
    ("30 to 90 days", timedelta(days=90)),
    ("90 to 180 days", timedelta(days=180)),
    ("180 days to a year", timedelta(days=365)),
    ("1 to 2 years", timedelta(days=730)),
    ("over 2 years", timedelta.max),
)


class Report(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A plan for showing. Rows and sums are made when they are asked for: each form shows some of them.

    `decisions` is None where only the plan is known, `outcome` where it has not been carried out. `counted` stands for
    decisions that were counted while they were read and not kept; `images` are then those that the plan touches, and
    `named` the decisions on digests that it names.
    """

    plan: PrunePlan
    decisions: Decisions | None = None
    outcome: Outcome | None = None
    counted: Kept | None = None
    named: Decisions = Decisions()

    @classmethod
    def of(cls, analysis: Analysis, result: Result | None = None) -> Report:
        outcome = Outcome.of(result) if result is not None else None
        return cls(plan=analysis.plan, decisions=Decisions.of(analysis), outcome=outcome)

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self.plan, self.named if self.decisions is None else self.decisions)

    @cached_property
    def images(self) -> tuple[ReportedImage, ...]:
        return tuple(map(self._rows.whole, self._rows.ordered()))

    @cached_property
    def streams(self) -> tuple[StreamSum, ...]:
        """Largest first. The sum of all is what the plan frees."""
        rows = self._rows
        return sums_by_home(
            self.plan, {image.name: rows.home(image.name, image.reference) for image in self.plan.images}
        )

    @property
    def pruned(self) -> list[ReportedImage]:
        """Largest first."""
        return [image for image in self.images if not image.reason.kept]

    @cached_property
    def touched(self) -> list[ReportedImage]:
        """What is pruned, and then what is retired or loses a revision."""
        return [image for image in self.images if not image.reason.kept or image.losing or image.retiring]

    @cached_property
    def _beginnings(self) -> list[ReportedImage]:
        """The rows of `touched`, as `Rows.ordered` begins them."""
        return [image for image in self._rows.ordered() if self._rows.touched(image)]

    @property
    def number_touched(self) -> int:
        """How many rows `touched` has."""
        return len(self._beginnings)

    def each_touched(self) -> Iterator[ReportedImage]:
        """The rows of `touched`, each made when it is reached: texts show the first of very many."""
        return map(self._rows.whole, self._beginnings)

    @property
    def retiring(self) -> list[ReportedImage]:
        """What the plan retires (R36)."""
        return [image for image in self.images if image.retiring]

    @property
    def ages(self) -> tuple[AgeCount, ...]:
        """Every class of ages, youngest first."""
        counts: dict[str, list[int]] = {label: [0, 0] for label, _ in AGES}
        for image in self.images:
            if image.created is not None:
                age = self.plan.as_of - image.created
                label = next(label for label, end in AGES if age < end)
                counts[label][image.reason.kept] += 1
        return tuple(AgeCount(label, *numbers) for label, numbers in counts.items())

    @cached_property
    def kept(self) -> Kept | None:
        """What keeps the rest; None where only the plan is known."""
        if self.decisions is None:
            return self.counted
        images, revisions = self.decisions.images, self.decisions.revisions
        return Kept(Counter(each.reason for each in images), Counter(each.reason for each in revisions))

    @cached_property
    def kept_by(self) -> tuple[RuleCount, ...]:
        """What keeps the rest: for each rule and reason how much, most first. Empty where only the plan is known."""
        counts: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        if self.kept is not None:
            for position, numbers in enumerate((self.kept.images, self.kept.revisions)):
                for reason, number in numbers.items():
                    counts[reason.rule, in_general(reason)][position] += number
        sums = (RuleCount(rule, why, *numbers) for (rule, why), numbers in counts.items())
        return tuple(sorted(sums, key=lambda each: (-each.images - each.revisions, each.rule, each.why)))
