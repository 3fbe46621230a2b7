"""YAML and JSON that somebody else has written, decoded within bounds.

Neither depth, nor aliases that multiply (`a: [*b, *b]`, ten times over), nor numbers without end may exhaust memory or the stack. An
error never shows any of the content: kubeconfigs hold credentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import yaml

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a document. Kubeconfigs with a hundred clusters have 1 MB."""
MOST_NODES: Final = 200_000
"""Scalars, lists and maps, where each alias counts with all that it stands for."""
DEEPEST: Final = 64


class DocumentError(Exception):
    """A document that cannot be decoded; the message says why and shows nothing of it."""


class _BoundedLoader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        is_alias = self.check_event(yaml.AliasEvent)
        before = self._nodes
        self._nodes += 1
        self._depth += 1
        if self._depth > DEEPEST:
            raise DocumentError(f"is nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not is_alias:
            self._sizes[id(node)] = self._nodes - before
        elif id(node) not in self._sizes:
            raise DocumentError("has an alias that refers to itself")
        else:
            self._nodes += self._sizes[id(node)]
        if self._nodes > MOST_NODES:
            raise DocumentError(f"has more than {MOST_NODES} values")
        return node


def from_yaml(text: str, *, texts: Sequence[str] = ()) -> Any:
    """The value of a YAML document. A scalar with one of the tags of `texts` is a text. Raises DocumentError."""
    _check_size(text)
    loader = None
    try:
        loader = _loader(texts)(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise DocumentError(f"is not YAML{f' (line {mark.line + 1})' if mark is not None else ''}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError):
        # PyYAML raises its own errors, and lets those of int(), of dates and of unhashable keys through.
        raise DocumentError("is not YAML") from None
    finally:
        if loader is not None:
            loader.dispose()


def _loader(texts: Sequence[str]) -> type[_BoundedLoader]:
    if not texts:
        return _BoundedLoader

    class WithTexts(_BoundedLoader):
        """Its constructors are its own: PyYAML copies those of the class above when the first one is added."""

    for tag in texts:
        WithTexts.add_constructor(tag, _as_text)
    return WithTexts


def _as_text(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise DocumentError(f"has a list or a map with the tag {node.tag}")
    return str(loader.construct_scalar(node))


def from_json(text: str) -> Any:
    """The value of a JSON document. Raises DocumentError."""
    _check_size(text)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise DocumentError("is not JSON") from None
    check_bounds(value)
    return value


def check_bounds(value: Any) -> None:
    """Raise DocumentError for a value that is too deep or too large to work with."""
    level, nodes = [value], 0
    for _ in range(DEEPEST):
        nodes += len(level)
        if nodes > MOST_NODES:
            raise DocumentError(f"has more than {MOST_NODES} values")
        level = [part for each in level for part in _parts(each)]
        if not level:
            return
    raise DocumentError(f"is nested more than {DEEPEST} levels deep")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _check_size(text: str) -> None:
    if len(text) > LARGEST:
        raise DocumentError(f"has more than {LARGEST} characters")
