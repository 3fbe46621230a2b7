"""
The sandbox's clock. Whether an image is old is the question that pruning asks first, so the sandbox must be able to
live in the past for a while: the population turns the clock back, pushes, and lets go of it. Every timestamp and every
`Date` header comes from here.
"""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime


def timestamp(moment: datetime) -> str:
    """The moment as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """The UTC moment of an RFC 3339 text. ValueError for anything else, a time without an offset included."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return moment.astimezone(UTC)


class Clock:
    """The real clock, until it is set; then it stands still, or runs on from there."""

    def __init__(self) -> None:
        self._frozen: datetime | None = None
        self._offset = timedelta()
        self._past: datetime | None = None

    def now(self) -> datetime:
        return self._past or self._frozen or datetime.now(UTC) + self._offset

    def set(self, moment: datetime, *, frozen: bool) -> None:
        self._frozen = moment if frozen else None
        self._offset = moment - datetime.now(UTC)

    def advance(self, seconds: float) -> None:
        self.set(self.now() + timedelta(seconds=seconds), frozen=self._frozen is not None)

    def go_back(self, days: float) -> None:
        """Stands still so many days before the time it has otherwise; 0 days ends that."""
        self._past = None
        if days:
            self._past = self.now() - timedelta(days=days)

    def release(self) -> None:
        """Goes back to the real time. What was created keeps the time it was created at."""
        self._frozen = self._past = None
        self._offset = timedelta()

    def timestamp(self) -> str:
        return timestamp(self.now())

    def http_date(self) -> str:
        """The `Date` header (RFC 9110, 6.6.1)."""
        return format_datetime(self.now(), usegmt=True)
