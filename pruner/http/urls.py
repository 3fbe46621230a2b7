"""Parts of URLs that are safe to put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

_UNENCODED: Final = "!$&'()*+,;=:@"
"""What RFC 3986 allows in a path segment in addition to letters, digits and `-._~`."""


def path_segment(text: str) -> str:
    """A name as one segment of a URL's path, percent-encoded.

    Raises ValueError for what cannot be one: an empty name, which would address the collection instead, `.` and `..`,
    which clients and servers resolve, and text that is not Unicode.
    """
    if text in {"", ".", ".."}:
        raise ValueError(f"{text!r} cannot be a segment of a URL's path")
    try:
        return quote(text, safe=_UNENCODED)
    except UnicodeEncodeError:
        raise ValueError(f"{text!a} cannot be a segment of a URL's path") from None


def query(parameters: Mapping[str, str | int]) -> str:
    """A query string, question mark included; empty for no parameters."""
    return f"?{urlencode(parameters)}" if parameters else ""
