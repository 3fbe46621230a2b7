"""Maintenance windows:

`mon-fri 22:00-05:00` is every night that begins on one of these days, `sat 00:00-24:00` is a whole day.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec

from pruner.errors import PrunerError

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW: Final = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*)\s+)?(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d)"
)


class Window(msgspec.Struct, frozen=True):
    """Minutes of the day, on days of the week (0 is Monday).

    Where `end` is not after `begin` it is that of the next day.
    """

    days: frozenset[int]
    begin: int
    end: int

    def contains(self, local: datetime) -> bool:
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


def parse_window(text: str) -> Window:
    """Raises PrunerError for a text that is not a window."""
    found = _WINDOW.fullmatch(text.strip().lower())
    if found is None:
        raise PrunerError(f"windows: {text!r} is not like `mon-fri 22:00-05:00`")
    begin, end = _minute(found["begin"], text), _minute(found["end"], text)
    if begin == 24 * 60:
        raise PrunerError(f"windows: {text!r}: no window begins at 24:00")
    return Window(_days(found["days"] or "mon-sun", text), begin, end)


def _minute(time: str, text: str) -> int:
    hours, minutes = map(int, time.split(":"))
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise PrunerError(f"windows: {text!r}: there is no time {time}")
    return hours * 60 + minutes


def _days(days: str, text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in days.split(","):
        names = part.split("-")
        for name in names:
            if name not in _DAYS:
                raise PrunerError(f"windows: {text!r}: {name!r} is none of {', '.join(_DAYS)}")
        first, last = _DAYS.index(names[0]), _DAYS.index(names[-1])
        found.update((first + step) % 7 for step in range((last - first) % 7 + 1))
    return frozenset(found)
