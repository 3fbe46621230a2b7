"""The bounds of a document: how many values it may stand for, and how deep they may be nested.

YAML lets a few lines stand for more values than there is memory for (aliases of aliases), and nest without end. Both
are counted before anything is built.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

VALUES: Final = 250_000
"""Values of a document, with aliases counted as often as they are used."""
DEPTH: Final = 50
"""Levels of lists and maps in each other. A kubeconfig has six."""
LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's loader of plain values, the one written in C where PyYAML has it."""

_TOO_MANY: Final = f"stands for more than {VALUES} values; use fewer aliases, or split the file"
_TOO_DEEP: Final = f"is nested more than {DEPTH} levels deep"


class BoundsError(Exception):
    """A document exceeds a bound. The message shows nothing of it; `mark` is where, for YAML."""

    def __init__(self, message: str, mark: Any = None) -> None:
        super().__init__(message)
        self.mark = mark


def check_yaml(text: str) -> None:
    """Raise BoundsError for a YAML document that exceeds a bound, and YAMLError for one that is not YAML."""
    counter = _Counter()
    for event in yaml.parse(text, Loader=LOADER):
        counter.take(event)


def check_value(value: Any) -> None:
    """Raise BoundsError for a value that exceeds a bound."""
    level, values = [value], 0
    for _ in range(DEPTH):
        values += len(level)
        if values > VALUES:
            raise BoundsError(_TOO_MANY)
        level = [part for each in level for part in _parts(each)]
        if not level:
            return
    raise BoundsError(_TOO_DEEP)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


class _Open:
    """A list or map that has not ended: its anchor, and the values and levels in it so far."""

    __slots__ = ("anchor", "levels", "values")

    def __init__(self, anchor: str | None) -> None:
        self.anchor = anchor
        self.values = 1
        self.levels = 0


class _Counter:
    """Counts the values and levels of a document from its events,
    aliases as what they stand for, before any value is built.
    """

    def __init__(self) -> None:
        self.open = [_Open(None)]
        self.anchors: dict[str, tuple[int, int]] = {}

    def take(self, event: yaml.Event) -> None:
        """Count an event. Raises BoundsError for more than is allowed."""
        match event:
            case yaml.AliasEvent():
                if any(event.anchor == each.anchor for each in self.open):
                    raise BoundsError("has an alias that refers to itself", event.start_mark)
                self._add(event, *self.anchors.get(event.anchor or "", (1, 0)))
            case yaml.ScalarEvent():
                if event.anchor:
                    self.anchors[event.anchor] = (1, 0)
                self._add(event, 1, 0)
            case yaml.CollectionStartEvent():
                self.open.append(_Open(event.anchor))
                self._add(event, 0, 0)
            case yaml.CollectionEndEvent():
                ended = self.open.pop()
                if ended.anchor:
                    self.anchors[ended.anchor] = (ended.values, ended.levels + 1)
                self._add(event, ended.values, ended.levels + 1)
            case _:
                pass

    def _add(self, event: yaml.Event, values: int, levels: int) -> None:
        innermost = self.open[-1]
        innermost.values += values
        innermost.levels = max(innermost.levels, levels)
        if innermost.values > VALUES:
            raise BoundsError(_TOO_MANY, event.start_mark)
        if len(self.open) - 1 + levels > DEPTH:
            raise BoundsError(_TOO_DEEP, event.start_mark)
