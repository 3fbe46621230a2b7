"""Decodes YAML and JSON within bounds as plain values.

An error never shows any of the content: kubeconfigs hold credentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import yaml

from pruner.documents.bounds import LOADER, BoundsError, check_value, check_yaml

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a document. Kubeconfigs with a hundred clusters have 1 MB."""


class DocumentError(Exception):
    """A document that cannot be decoded; the message says why and shows nothing of it."""


def from_yaml(text: str, *, texts: Sequence[str] = ()) -> Any:
    """The value of a YAML document. A scalar with one of the tags of `texts` is a text. Raises DocumentError."""
    _check_size(text)
    loader = None
    try:
        check_yaml(text)
        loader = _loader(texts)(text)
        return loader.get_single_data()
    except BoundsError as error:
        raise DocumentError(str(error)) from None
    except yaml.MarkedYAMLError as error:
        # libyaml puts the end of a text without a last line break on a line after it.
        mark, last = error.problem_mark, text.count("\n")
        raise DocumentError(f"is not YAML{f' (line {min(mark.line, last) + 1})' if mark else ''}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError):
        # PyYAML raises its own errors, and lets those of int(), of dates and of unhashable keys through.
        raise DocumentError("is not YAML") from None
    finally:
        if loader is not None:
            loader.dispose()


def _loader(texts: Sequence[str]) -> Any:
    if not texts:
        return LOADER

    # Its constructors are its own: PyYAML copies those of the class above when the first one is added.
    with_texts: Any = type("WithTexts", (LOADER,), {})
    for tag in texts:
        with_texts.add_constructor(tag, _as_text)
    return with_texts


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
    try:
        check_value(value)
    except BoundsError as error:
        raise DocumentError(str(error)) from None


def _check_size(text: str) -> None:
    if len(text) > LARGEST:
        raise DocumentError(f"has more than {LARGEST} characters")
