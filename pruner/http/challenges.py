"""`WWW-Authenticate` headers, by RFC 9110, section 11.6.1.

The parsers that HTTP libraries bring along read one challenge per header, or are private to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a grammar's token
_QUOTED: Final = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_PARAMETER: Final = re.compile(rf"({_TOKEN})[ \t]*=[ \t]*({_TOKEN}(?=[ \t]*(?:,|$))|{_QUOTED})")
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:[ ]+|(?=[ \t]*(?:,|$)))")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_SEPARATORS: Final = re.compile(r"[ \t,]*")


class Challenge(msgspec.Struct, frozen=True):
    """How a server wants to be authenticated to. `scheme` and the parameters' names are in lower case."""

    scheme: str
    parameters: dict[str, str] = {}


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of these headers, in order. Whatever stands behind a syntax error is ignored.

    Parameters that occur twice are dropped with their challenge, since it is not clear which of them counts.
    """
    return [challenge for header in headers for challenge in _in_one(header)]


def _in_one(header: str) -> list[Challenge]:
    found: list[tuple[str, list[tuple[str, str]]]] = []
    at = _end(_SEPARATORS.match(header, 0))
    while at < len(header):
        if found and (parameter := _PARAMETER.match(header, at)):
            found[-1][1].append((parameter[1].lower(), _unquoted(parameter[2])))
            at = parameter.end()
        elif scheme := _SCHEME.match(header, at):
            found.append((scheme[1].lower(), []))
            at = scheme.end()
            if not _PARAMETER.match(header, at) and (token68 := _TOKEN68.match(header, at)) and header[at - 1] == " ":
                at = token68.end()
        else:
            # What was being read when it became unreadable is not trusted either.
            found = found[:-1]
            break
        at = _end(_SEPARATORS.match(header, at))
    return [Challenge(scheme, dict(pairs)) for scheme, pairs in found if len({name for name, _ in pairs}) == len(pairs)]


def _end(match: re.Match[str] | None) -> int:
    assert match is not None  # noqa: S101 - it matches nothing, too
    return match.end()


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
