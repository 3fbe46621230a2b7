"""A decision for people: its reason in words, and what would have to change for the opposite one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from pruner.cluster.metadata import BEGINNING
from pruner.reasons.reason import ImageTooYoung, Reason, RevisionTooYoung, StreamTooYoung
from pruner.reasons.stream_reason import EmptyStreamTooYoung, StreamReason
from pruner.reasons.wording import sentence, to_change


class Decision(msgspec.Struct, frozen=True):
    """The reason for a decision, `said` in words, and what would have to change for the other one."""

    kept: bool
    rule: str
    said: str
    reason: Reason | StreamReason
    to_change: str

    def __str__(self) -> str:
        return f"{'kept' if self.kept else 'pruned'}: {self.reason}"


def decided(
    first: Reason | StreamReason,
    others: Iterable[Reason | StreamReason],
    created: datetime,
    stream_created: datetime = BEGINNING,
) -> Decision:
    """The decision for the `first` reason; where that keeps, each one of the `others` is enough to keep it as well."""
    if not first.kept:
        change = f"To keep it: {to_change(first)}"
    else:
        reasons = dict.fromkeys([first, *(reason for reason in others if reason.kept)])
        change = f"To prune it: {'; and '.join(_to_prune(reason, created, stream_created) for reason in reasons)}"
    return Decision(first.kept, first.rule, sentence(first), first, change)


def _to_prune(reason: Reason | StreamReason, created: datetime, stream_created: datetime) -> str:
    match reason:
        case StreamTooYoung(minutes=minutes):
            return f"{to_change(reason)}, {_later(stream_created, minutes)}"
        case RevisionTooYoung(minutes=minutes) | ImageTooYoung(minutes=minutes) | EmptyStreamTooYoung(minutes=minutes):
            return f"{to_change(reason)}, {_later(created, minutes)}"
        case _:
            return to_change(reason)


def _later(time: datetime, minutes: int) -> str:
    try:
        return f"at {time_said(time + timedelta(minutes=minutes))}"
    except OverflowError:
        return "which no calendar reaches"


def time_said(time: datetime) -> str:
    return "an unknown time" if time == BEGINNING else f"{time:%Y-%m-%d %H:%M:%S} UTC"
