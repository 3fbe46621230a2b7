"""Names that are close to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_CONSIDERED: Final = 200
"""Characters of a name that are compared: the time grows with the square of the length."""


def closest(name: str, known: Iterable[str], *, count: int = 1, cutoff: float = 0.6) -> list[str]:
    """At most so many of the known names, the closest first. `cutoff` is the least likeness, 0 to 1."""
    return difflib.get_close_matches(name[:_CONSIDERED], list(known), count, cutoff)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `, did you mean 'labels'?`, or nothing when no name is close."""
    close = closest(name, known)
    return f", did you mean {close[0]!r}?" if close else ""
