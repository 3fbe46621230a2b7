"""The API server's clock, as the `Date` headers of its answers tell it, and whether ages can be measured by it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from pruner.errors import UnsafePlanError

AGREEMENT: Final = timedelta(minutes=5)
"""By how much the answers of one run may differ: several API servers answer at one address. Kerberos allows as much."""

AHEAD: Final = timedelta(minutes=5)
"""By how much the API server's clock may be ahead of this
machine's: a clock that is ahead makes everything older than it is."""

BEHIND: Final = timedelta(hours=1)
"""By how much it may be behind this machine's: everything then
seems younger, so less is pruned, and the clocks need setting."""


class ServerClock:
    """What one API server says about the time.

    Each answer's date is compared with this machine's clock at that moment.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.latest: datetime | None = None
        self._started = datetime.now(UTC), time.monotonic()
        self._slowest: timedelta | None = None
        self._fastest: timedelta | None = None

    def note(self, date: datetime | None) -> None:
        """Take in the date of an answer; None where it has no date that can be read."""
        if date is None:
            return
        self.latest = date
        ahead = date - self._here()
        self._slowest = ahead if self._slowest is None else min(self._slowest, ahead)
        self._fastest = ahead if self._fastest is None else max(self._fastest, ahead)

    def now(self) -> datetime:
        """The time (UTC, whole seconds) by the answer that is behind the others: no object is older than that.

        Raises UnsafePlanError where no answer has a date, or where the dates cannot be believed.
        """
        if self._slowest is None:
            raise UnsafePlanError(
                f"{self.server}: none of its answers has a Date header that can be read, so the age of images is not "
                "known; have the proxy or load balancer in front of it pass Date on, or set as_of"
            )
        self.check()
        return (self._here() + self._slowest).replace(microsecond=0)

    def now_or_here(self) -> datetime:
        """The same, by this machine's clock where no answer has a date.

        Raises UnsafePlanError for dates that cannot be believed.
        """
        return self._here() if self._slowest is None else self.now()

    def check(self, newest: datetime | None = None, named: str = "") -> None:
        """Raise UnsafePlanError for dates that cannot be believed; `newest`
        is when the newest object was created, `named` that object.
        """
        if self._slowest is None or self._fastest is None:
            return
        here = self._here()
        if self._fastest - self._slowest > AGREEMENT:
            raise UnsafePlanError(
                f"{self.server}: its answers disagree about the time, {_at(here, self._slowest)} and "
                f"{_at(here, self._fastest)} at the same moment, so the age of images is not known; synchronize the "
                "clocks of the API servers, then run again"
            )
        if self._fastest > AHEAD or -self._slowest > BEHIND:
            ahead = self._fastest if self._fastest > AHEAD else self._slowest
            raise UnsafePlanError(
                f"{self.server}: its clock says {_at(here, ahead)} and this machine's clock says {_time(here)}, so the "
                "age of images is not known; set the clock that is wrong, then run again"
            )
        fastest = here + self._fastest
        if newest is not None and newest - fastest > AGREEMENT:
            raise UnsafePlanError(
                f"{self.server}: its clock says {_time(fastest)}, and {named} was created at {_time(newest)}, so the "
                "age of images is not known; synchronize the clocks of the API servers, then run again"
            )

    def _here(self) -> datetime:
        """The time of this machine's clock, which is read once, so setting it during a run changes nothing."""
        began, ticks = self._started
        return began + timedelta(seconds=time.monotonic() - ticks)


def _at(here: datetime, ahead: timedelta) -> str:
    """The time of a clock that is so far ahead, which may have come to the end of all dates."""
    try:
        return _time(here + ahead)
    except OverflowError:
        return _time(datetime.max if ahead > timedelta() else datetime.min)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
