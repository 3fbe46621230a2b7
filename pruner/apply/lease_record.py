"""What a Lease says, whoever wrote it: every value of it may be of any type and any size."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Self

import msgspec

from pruner.cluster.clock import AGREEMENT
from pruner.cluster.metadata import moment
from pruner.printable import printable

LONGEST: Final = 300
"""Seconds that a Lease may say that it lasts; runs write SECONDS. Another duration counts as SECONDS."""


class Record(msgspec.Struct, frozen=True):
    """What a Lease says about its holder.

    `renewed` is None for what is not a time; `seconds` is how long it lasts; `plausible` is False where its times
    contradict each other.
    """

    holder: str
    renewed: datetime | None
    written: str
    seconds: int
    plausible: bool

    @classmethod
    def of(cls, lease: dict[str, Any], usual: int) -> Self:
        spec, metadata = spec_of(lease), lease.get("metadata") or {}
        duration, renewed = spec.get("leaseDurationSeconds"), _time(spec.get("renewTime"))
        before = [_time(metadata.get("creationTimestamp")), _time(spec.get("acquireTime"))]
        return cls(
            holder=holder_of(lease),
            renewed=renewed,
            written=printable(str(spec.get("renewTime")), _SHOWN),
            seconds=duration if type(duration) is int and 0 < duration <= LONGEST else usual,
            plausible=renewed is not None and not [it for it in before if it is not None and it - renewed > AGREEMENT],
        )

    def __str__(self) -> str:
        """The holder, and the date of its Lease."""
        holder = printable(self.holder, _SHOWN)
        if self.renewed is None:
            return f"{holder}, renewed at {self.written}, which is not a time"
        return f"{holder}, renewed at {self.renewed:%Y-%m-%d %H:%M:%S} UTC, for {self.seconds} seconds"


_SHOWN: Final = 100
"""Characters of a holder's name in a message."""


def _time(value: object) -> datetime | None:
    """A time of the API (UTC); None for what is not one."""
    try:
        return moment(datetime.fromisoformat(value)).astimezone(UTC) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def spec_of(lease: dict[str, Any]) -> dict[str, Any]:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}


def holder_of(lease: dict[str, Any]) -> str:
    holder = spec_of(lease).get("holderIdentity")
    return holder if isinstance(holder, str) else "" if holder is None else str(holder)
