"""What a message may show of a value: enough to recognise it, on one line, and nothing that may be a credential.

People put the content of a file where its path belongs, and a URL with its password where an address does. A message
that quotes such a value ends up in terminals, CI logs and the state, so every message about a setting passes the value
through `shown`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

LONGEST: Final = 120
"""Characters of a text that are quoted. It is there to be recognised."""

_LOOKS_SECRET: Final = re.compile(
    r"-----BEGIN|PRIVATE KEY"  # PEM
    r"|sha256~"  # OpenShift's OAuth tokens
    r"|\beyJ|LS0tLS1CRUdJTi"  # JSON and PEM in base64, so JSON web tokens also
    r"|\b(bearer|basic)\s"
    r"|\bdata:"
    r"|:.*@|//.*@"  # user:password@host, of any characters
    r"|(token|password|passwd|secret|-data|api_?key)[\"']?\s*[:=]",
    re.IGNORECASE | re.DOTALL,
)
_PATH: Final = re.compile(r"(~|\.{0,2})[/\\]|[A-Za-z]:\\")
_ENCODED: Final = re.compile(r"(?<!sha256:)(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{28,}")
_ENCODED_IN_PATH: Final = re.compile(r"[A-Za-z0-9+_=-]{28,}")


def may_hold_credentials(value: object) -> bool:
    """Whether a value that belongs to no secret setting may hold
    credentials all the same: content in the place of a path, say.
    """
    if isinstance(value, Mapping):
        return True
    if isinstance(value, list | tuple):
        return any(may_hold_credentials(part) for part in value)
    if not isinstance(value, str):
        return False
    encoded = _ENCODED_IN_PATH if _PATH.match(value) else _ENCODED
    return bool("\n" in value.strip() or _LOOKS_SECRET.search(value) or any(map(_looks_random, encoded.findall(value))))


def _looks_random(run: str) -> bool:
    """Whether a run of letters and digits may be a token or base64. Names are shorter, or of one case."""
    kinds = (str.isupper, str.islower, str.isdigit)
    return len(run) >= 40 or all(any(map(kind, run)) for kind in kinds)


def shown(value: object) -> str:
    """A value as a message quotes it, or what it is where it may hold credentials."""
    if isinstance(value, str):
        if may_hold_credentials(value):
            return f"a text of {len(value)} characters (not shown: it may hold credentials)"
        return repr(value if len(value) <= LONGEST else f"{value[:LONGEST]}...")
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        # Python refuses to write integers of more than 4300 digits.
        return str(value) if value.bit_length() < 300 else "a number of more than 90 digits"
    if isinstance(value, Mapping):
        return "a map"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
