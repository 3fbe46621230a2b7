"""Which of many globs match a text, by looking up how they begin and end (R29).

Half a million tags are compared with a hundred rules. Comparing each tag with each pattern would take longer than the
rest of a plan, so patterns are found by the literal text that they begin or end with, and only those that fit are
looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final

from pruner.analysis.protection import expression

Matches = Callable[[str], object]
Entry = tuple[int, Matches | None]
"""The place of a rule, and what matches a text that begins
or ends as one of its patterns; None where that is enough."""
Table = tuple[tuple[int, dict[str, tuple[Entry, ...]]], ...]
"""Entries by literal text, for each length of such a text."""

_NONE: Final = 1 << 30
"""A place after every rule."""


def matcher(patterns: Sequence[str]) -> Matches | None:
    """What matches any of the patterns and none of those excluded with `!`; None when everything matches (R29)."""
    return re.compile(_expression(patterns)).fullmatch if patterns else None


def _expression(patterns: Sequence[str]) -> str:
    excluded = "|".join(expression(each[1:]) for each in patterns if each.startswith("!"))
    included = "|".join(expression(each) for each in patterns if not each.startswith("!"))
    return (rf"(?!(?:{excluded})\Z)" if excluded else "") + f"(?:{included})"


class Globs:
    """Rules by their place, each with patterns of which `!` excludes; a rule without patterns matches everything.

    Patterns have so many `slashes` and no colon. Neither is crossed by a wildcard, so nothing else matches than texts
    with as many, and in these a single `*` before, after or between literal texts needs no closer look.
    """

    def __init__(self, rules: Iterable[tuple[int, Sequence[str]]], slashes: int = 0) -> None:
        self._slashes = slashes
        self._excluded: dict[int, Matches] = {}
        exact: dict[str, list[int]] = {}
        beginnings: dict[str, list[Entry]] = {}
        ends: dict[str, list[Entry]] = {}
        others: list[Entry] = []
        for place, patterns in sorted(rules):
            excluded = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
            if excluded:
                self._excluded[place] = re.compile("|".join(map(expression, excluded))).fullmatch
            for pattern in [each for each in patterns if not each.startswith("!")] or ["*"]:
                beginning, end = _literal_ends(pattern)
                if beginning == pattern:
                    exact.setdefault(pattern, []).append(place)
                elif beginning:
                    beginnings.setdefault(beginning, []).append((place, _rest(pattern)))
                elif end:
                    ends.setdefault(end, []).append((place, _rest(pattern)))
                else:
                    others.append((place, _rest(pattern)))
        self._exact = {text: tuple(places) for text, places in exact.items()}
        self._beginnings = _by_character(beginnings, 0)
        self._ends = _by_character(ends, -1)
        self._others = tuple(others)

    def first(self, text: str) -> int | None:
        """The place of the first rule that matches; None where none does."""
        if ":" in text or text.count("/") != self._slashes:
            return None
        best, excluded = _NONE, self._excluded
        for place in self._exact.get(text, ()):
            if place not in excluded or not excluded[place](text):
                best = place
                break
        for entries in self._fitting(text):
            for place, fits in entries:
                if place >= best:
                    break
                if (fits is None or fits(text)) and (place not in excluded or not excluded[place](text)):
                    best = place
                    break
        return None if best == _NONE else best

    def all(self, text: str) -> tuple[int, ...]:
        """The places of all rules that match, in their order."""
        if ":" in text or text.count("/") != self._slashes:
            return ()
        found = set(self._exact.get(text, ()))
        found.update(place for entries in self._fitting(text) for place, fits in entries if fits is None or fits(text))
        excluded = self._excluded
        return tuple(sorted(place for place in found if place not in excluded or not excluded[place](text)))

    def _fitting(self, text: str) -> list[tuple[Entry, ...]]:
        """The entries whose literal beginning or end is the text's, and those that have neither."""
        found = []
        for length, table in self._beginnings.get(text[:1], ()):
            entries = table.get(text[:length])
            if entries is not None:
                found.append(entries)
        if self._ends:
            for length, table in self._ends.get(text[-1:], ()):
                entries = table.get(text[-length:])
                if entries is not None:
                    found.append(entries)
        # Those that match everything mostly belong to the last rules, so they come last.
        if self._others:
            found.append(self._others)
        return found


_WILDCARD: Final = re.compile(r"[*?]")


@lru_cache(maxsize=4096)
def _literal_ends(pattern: str) -> tuple[str, str]:
    """What stands before the first wildcard and after the last one; the whole pattern before it where there is none."""
    pieces = _WILDCARD.split(pattern)
    return pieces[0], pieces[-1] if len(pieces) > 1 else ""


@lru_cache(maxsize=4096)
def _rest(pattern: str) -> Matches | None:
    """What decides when the literal beginning of a pattern fits,
    or else its literal end; None where nothing is left to decide.
    """
    beginning, end = _literal_ends(pattern)
    if pattern in (f"{beginning}*", f"*{end}", "*/*"):
        return None
    if pattern == f"{beginning}*{end}":
        # Between two literal texts a single star matches whatever there is.
        least = len(beginning) + len(end)
        return lambda text: text.endswith(end) and len(text) >= least
    return re.compile(expression(pattern)).fullmatch


def _by_character(entries: dict[str, list[Entry]], position: int) -> dict[str, Table]:
    """The entries by the first or last character, so that a text is compared with few lengths."""
    found: dict[str, dict[int, dict[str, tuple[Entry, ...]]]] = {}
    for text, those in entries.items():
        by_length = found.setdefault(text[position], {})
        by_length.setdefault(len(text), {})[text] = tuple(those)
    return {character: tuple(sorted(by_length.items())) for character, by_length in found.items()}
