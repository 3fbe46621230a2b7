"""Durations as Go's programs write them."""

from __future__ import annotations

import math

import durationpy

from pruner.settings.shown import shown
from pruner.settings.values import UnfitError


def minutes_of_go(duration: str) -> int:
    """A Go duration such as `1h30m`, in minutes, rounded up so that nothing is pruned too early. Raises UnfitError."""
    try:
        parsed = durationpy.from_str(duration)
    except (durationpy.DurationError, OverflowError):
        raise UnfitError(f"{shown(duration)} is not a duration such as 60m or 1h30m") from None
    return math.ceil(round(parsed.total_seconds() / 60, 6))
