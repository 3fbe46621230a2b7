r"""Content of a cluster as values of Pulumi, in which nothing has a meaning to the engine.

Pulumi marks secrets, assets, references and unknown values by a reserved map key and reserved strings. Labels and
annotations are their owners' choice, so they can hold these: an up would fail, or a file of the machine be read into
the state. Map keys are also printed as they are. `value_of` escapes both, in the form of `printable`: `\u{34}` for the
`4` that the reserved key begins with. Everything else of an object stays as it is, to be read as
`image["metadata"]["name"]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from pulumi.runtime import rpc

from pruner.printable import escape, printable

_RESERVED: Final = frozenset(
    {
        # The key of what marks secrets, assets, archives, references of resources and output values (SigKey).
        "4dabf18193072939515e22adb298388d",
        # Unknown strings, booleans, numbers, arrays, assets, archives and objects.
        rpc.UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""From the engine's sdk/go/common/resource: properties.go and plugin/rpc.go."""

_DEEPEST: Final = 20
"""Levels of maps and lists; what is deeper stands as JSON.
Protobuf refuses messages of 100 levels, and each takes three."""

_LARGEST: Final = 2**53
"""Numbers of Pulumi are 64-bit floats, which are exact up to here; larger integers stand as text."""


def value_of(content: Any, *, again: bool = False) -> Any:
    """The content, as JSON has it, as a value that the engine stores and prints as it is.

    With `again` it may be a result of this function: escapes in it stay as they are. Values that JSON does not have,
    such as an asset in the state of an earlier version, are replaced by the name of their type.
    """
    return _value(content, again, 0)


def _value(content: Any, again: bool, depth: int) -> Any:
    match content:
        case None | bool() | float():
            return content
        case int():
            return content if abs(content) <= _LARGEST else str(content)
        case str():
            return _text(content, again)
        case Mapping() | list() | tuple():
            return _parts(content, again, depth) if depth < _DEEPEST or not content else _text(_json(content), again)
        case _:
            return type(content).__name__


def _parts(content: Mapping[Any, Any] | Sequence[Any], again: bool, depth: int) -> dict[str, Any] | list[Any]:
    if isinstance(content, Mapping):
        return {_key(str(key), again): _value(part, again, depth + 1) for key, part in content.items()}
    return [_value(part, again, depth + 1) for part in content]


def _json(content: Any) -> str:
    try:
        return msgspec.json.encode(content, enc_hook=lambda value: type(value).__name__).decode()
    except RecursionError:
        return "too deep to be shown; the report has it"


def _text(text: str, again: bool) -> str:
    return escape(text[0]) + text[1:] if text in _RESERVED else printable(text, again=again)


def _key(key: str, again: bool) -> str:
    """A key that begins with two underscores is the engine's own, too."""
    return escape(key[0]) + key[1:] if key in _RESERVED or key.startswith("__") else printable(key, again=again)
