"""Reads a YAML document within bounds, as plain values that know where they stand.

YAML also lets a key be given twice, and name classes to be made. Both are refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from pruner.documents.bounds import LOADER, BoundsError, check_yaml
from pruner.errors import Problem, SettingsError

SIZE: Final = 4 * 2**20
"""Bytes of a file: a fleet of 10,000 clusters takes 2.5 MB."""

Place = tuple[str | int, ...]
"""Keys and positions on the way to a value: `("clusters", 0, "name")`."""

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = frozenset(
    _TAG + name for name in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")
)


class Document:
    """The value of a document, and where each part of it stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: Any = None
        self.values: dict[Place, yaml.Mark] = {}
        self.keys: dict[Place, yaml.Mark] = {}

    def at(self, *place: str | int) -> str:
        """`FILE:LINE:COLUMN` of the value there, or of the nearest one around it."""
        return self._at(self.values, place)

    def key_at(self, *place: str | int) -> str:
        """`FILE:LINE:COLUMN` of the key of the value there."""
        return self._at(self.keys, place) if place in self.keys else self.at(*place)

    def _at(self, marks: dict[Place, yaml.Mark], place: Place) -> str:
        while place not in marks and place:
            place = place[:-1]
        return position(self.name, marks.get(place))


def position(name: str, mark: Any) -> str:
    """`FILE:LINE:COLUMN` of a mark of PyYAML, or the name alone where there is none."""
    return f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name


def read_document(path: Path, as_written: Callable[[Place], bool] = lambda _: False) -> Document:
    """The document in a file. `as_written` says where the text counts, not YAML's value (`on` is no truth value there).

    Raises SettingsError with every problem in it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SIZE + 1)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError([Problem(str(path), "cannot be read: it is not UTF-8")]) from None
    except (OSError, ValueError) as error:
        raise SettingsError(
            [Problem(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}")]
        ) from None
    if len(content) > SIZE:
        raise SettingsError([Problem(str(path), f"is larger than {SIZE} bytes; split it")])
    return parse_document(text, str(path), as_written)


def parse_document(text: str, name: str, as_written: Callable[[Place], bool] = lambda _: False) -> Document:
    """The document in a text; `name` stands for it in messages. Raises SettingsError with every problem in it."""
    with _problems_of_yaml(name):
        check_yaml(text)
        loader = LOADER(text)
        try:
            node = loader.get_single_node()
            return _Build(loader, name, as_written).document(node)
        finally:
            loader.dispose()


@contextlib.contextmanager
def _problems_of_yaml(name: str) -> Iterator[None]:
    try:
        yield
    except BoundsError as error:
        raise SettingsError([Problem(position(name, error.mark), str(error))]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SettingsError([Problem(position(name, mark), f"is not YAML: {error.problem or error.context}")]) from None
    except yaml.YAMLError as error:
        raise SettingsError([Problem(name, f"is not YAML: {' '.join(str(error).split())}")]) from None


class _Build:
    """Makes plain values of a tree of nodes, and notes where they stand."""

    def __init__(self, loader: Any, name: str, as_written: Callable[[Place], bool]) -> None:
        self.loader = loader
        self.found = Document(name)
        self.as_written = as_written
        self.problems: list[Problem] = []

    def document(self, node: yaml.Node | None) -> Document:
        if node is not None:
            self.found.value = self._value(node, ())
        if self.problems:
            raise SettingsError(self.problems)
        return self.found

    def _value(self, node: yaml.Node, place: Place) -> Any:
        self.found.values[place] = node.start_mark
        match node:
            case yaml.MappingNode():
                return self._map(node, place)
            case yaml.SequenceNode() if node.tag == _TAG + "seq":
                return [self._value(part, (*place, number)) for number, part in enumerate(node.value)]
            case yaml.ScalarNode() if node.tag in _SCALARS:
                return self._scalar(node, place)
            case _:
                return self._refused(node)

    def _refused(self, node: yaml.Node) -> None:
        self._wrong(node, f"is not YAML: the tag {node.tag} is not allowed; write plain values, lists and maps")

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        # A time stays as it is written; each parameter knows what it makes of it.
        if self.as_written(place) or node.tag in (_TAG + "timestamp", _TAG + "merge", _TAG + "value"):
            return node.value
        try:
            return self.loader.construct_object(node)
        except (ValueError, OverflowError):
            return self._wrong(node, "is not a number that can be used")

    def _map(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        if node.tag != _TAG + "map":
            self._refused(node)
            return {}
        found: dict[str, Any] = {}
        for name, (key, value) in self._members(node).items():
            self.found.keys[*place, name] = key.start_mark
            found[name] = self._value(value, (*place, name))
        return found

    def _members(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """A map's own members, which win, and those of the maps that it merges (`<<`), of which the first one wins."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, "a name is a text")
            elif key.tag == _TAG + "merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else (value,):
                    if isinstance(source, yaml.MappingNode):
                        merged = {**self._members(source), **merged}
                    else:
                        self._wrong(source, "<< takes a map, or a list of maps")
            elif key.value in own:
                self._wrong(key, f"{key.value} is there twice")
            else:
                own[key.value] = (key, value)
        return {**merged, **own}

    def _wrong(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(position(self.found.name, node.start_mark), message))
