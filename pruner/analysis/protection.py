"""The patterns of `protect`: image streams, tags and digests that are never pruned (R18).

A pattern is `namespace/stream` (all of its tags), `namespace/stream:tag`, or a digest; `*` stands for any characters,
`?` for one; neither crosses the slash or the colon between namespace, stream and tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pruner.cluster.objects import ImageStream


def expression(glob: str) -> str:
    """The pattern as a regular expression that does not backtrack, so that what people write cannot stop a run.

    A `*` takes as little as it can, up to the next piece of the pattern, and never tries anything else: atomic groups,
    `(?>...)`. Only the last piece before a slash, a colon or the end is looked for there, since a piece has one length.
    """
    return "".join(map(_segment, re.split("([/:])", glob)))


def _segment(glob: str) -> str:
    first, *pieces = (
        "".join("[^/:]" if each == "?" else re.escape(each) for each in piece) for piece in glob.split("*")
    )
    if not pieces:
        return first
    *middle, last = pieces
    found = "".join(f"(?>[^/:]*?{piece})" for piece in middle if piece)
    return rf"{first}{found}(?>[^/:]*{last}(?![^/:]))"


class Protection:
    """The patterns, compiled. `match_item` and `match_image` give the pattern that protects, or None."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        digests = [pattern for pattern in self.patterns if "/" not in pattern]
        self._items = [(pattern, re.compile(self._of_item(pattern))) for pattern in self.patterns if "/" in pattern]
        # Lists of whole digests may be long, and are asked about every image.
        self._whole = frozenset(pattern for pattern in digests if not {"*", "?"} & set(pattern))
        self._images = [(each, re.compile(expression(each))) for each in digests if each not in self._whole]

    @staticmethod
    def _of_item(pattern: str) -> str:
        return expression(pattern) + ("" if ":" in pattern else ":.*")

    def match_item(self, stream: str, tag: str) -> str | None:
        if not self._items:
            return None
        name = f"{stream}:{tag}"
        return next((pattern for pattern, expression in self._items if expression.fullmatch(name)), None)

    def match_image(self, digest: str) -> str | None:
        if digest in self._whole:
            return digest
        if not self._images:
            return None
        return next((pattern for pattern, expression in self._images if expression.fullmatch(digest)), None)

    def idle(self, streams: Iterable[ImageStream], images: Iterable[str]) -> list[str]:
        """The patterns that match nothing at all, neither a stream, a tag or a revision nor an Image, sorted."""
        if not self.patterns:
            return []
        names: list[str] = []
        digests = set(images)
        for stream in streams:
            # The colon alone stands for the stream: one that has no tags is protected by its name all the same.
            names += [f"{stream.name}:", *(f"{stream.name}:{history.tag}" for history in stream.histories)]
            digests.update(item.image for history in stream.histories for item in history.items or ())
        idle = [
            pattern
            for known, candidates in ((self._items, names), (self._images, digests))
            for pattern, expression in known
            if not any(expression.fullmatch(candidate) for candidate in candidates)
        ]
        return sorted([*idle, *(self._whole - digests)])
