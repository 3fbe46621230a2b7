"""The patterns of `protect`: image streams, tags and digests that are never pruned (DECISIONS R18).

A pattern is `namespace/stream` (all of its tags), `namespace/stream:tag`, or a digest; `*` stands for any characters, `?` for
one; neither crosses the slash or the colon between namespace, stream and tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pruner.errors import Problem, SettingsError


def _expression(glob: str) -> str:
    return "".join({"*": "[^/:]*", "?": "[^/:]"}.get(character, re.escape(character)) for character in glob)


class Protection:
    """The patterns, compiled. `match_item` and `match_image` give the pattern that protects, or None."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._items = [(pattern, re.compile(self._of_item(pattern))) for pattern in self.patterns if "/" in pattern]
        self._images = [(pattern, re.compile(_expression(pattern))) for pattern in self.patterns if "/" not in pattern]

    @staticmethod
    def _of_item(pattern: str) -> str:
        return _expression(pattern) + ("" if ":" in pattern else ":.*")

    def match_item(self, stream: str, tag: str) -> str | None:
        name = f"{stream}:{tag}"
        return next((pattern for pattern, expression in self._items if expression.fullmatch(name)), None)

    def match_image(self, digest: str) -> str | None:
        return next((pattern for pattern, expression in self._images if expression.fullmatch(digest)), None)

    def check_each_matches(self, streams_and_tags: Iterable[tuple[str, str]], digests: Iterable[str]) -> None:
        """Raise SettingsError for patterns that match nothing at all: with `strict`, a misspelt one is an error."""
        names = [f"{stream}:{tag}" for stream, tag in streams_and_tags]
        images = list(digests)
        idle = [
            pattern
            for known, candidates in ((self._items, names), (self._images, images))
            for pattern, expression in known
            if not any(expression.fullmatch(candidate) for candidate in candidates)
        ]
        if idle:
            raise SettingsError(
                [Problem("protect", f"{pattern!r} matches nothing in this cluster") for pattern in sorted(idle)]
            )
