r"""Text of a cluster or server made printable, so that it is data wherever it is shown.

Names, labels, annotations and messages are chosen by whoever may write them. Printed as they are they move a terminal's
cursor, hide or reorder text, begin a new line, or give a command to the CI runner that reads the log. `printable`
replaces the characters that do this by escapes, `\u{1b}` for ESC; everything else stays as it is, also in other
scripts.

Each text passes once, where it leaves pruner: `PrunerError` and `Problem` do it for messages, `EngineLog` for Pulumi's
log, the report and the fleet for their pages. A line of output must not begin with such a text either; `prefixed` is
for texts of several lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters, marks and symbols that show nothing, though `str.isprintable` accepts them: Unicode's
Default_Ignorable_Code_Point, and BRAILLE BLANK."""

_BLANKS: Final = frozenset(map(chr, (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)))
"""Spaces (category Zs), which `str.isprintable` rejects: they are visible as gaps and do nothing else."""

_COMMAND: Final = re.compile(r"#(?=#[\w.-]*(?:\[|\Z))")
"""Azure Pipelines (`##vso[`), GitHub (`##[`) and TeamCity
(`##teamcity[`) obey commands also in the middle of a line."""

_BEGINNING: Final = re.compile(r"\A(\s*)(::|---|\+\+\+|~~~|\^\^\^)")
"""GitHub (`::error::`, after blanks) and Buildkite (`--- group`) obey commands at the beginning of a line."""

_ESCAPE: Final = re.compile(r"\\(?=u\{)")
"""What looks like an escape in the text itself, so that escapes are unambiguous."""

LONGEST_LINE: Final = 4000
"""Characters of one line of a message: enough for any message of pruner with the names in it, few enough for a log."""


def printable(text: str, limit: int | None = None, *, again: bool = False) -> str:
    r"""The text on one line, with an escape `\u{HEX}` for what a terminal or log would obey or a reader not see.

    Escaped are control characters, line breaks, bidirectional and other formatting characters, invisible ones, lone
    surrogates, private and unassigned code points, and the first character of what a CI runner takes for a command:
    `##vso[` anywhere, `::error::` where the text begins. Different texts have different results.

    Args:
        text: anything.
        limit: a longer text is cut to this many of its characters, and the result says how many more there are.
        again: parts of the text may be printable already, as in a message that quotes another one; escapes in it stay
            as they are.

    """
    if limit is not None and len(text) > limit:
        return f"{printable(text[:limit], again=again)}... ({len(text) - limit} more characters)"
    if "\\u{" in text and not again:
        text = _ESCAPE.sub(r"\\u{5c}", text)
    if "##" in text:
        text = _COMMAND.sub(r"\\u{23}", text)
    text = _BEGINNING.sub(_escaped_beginning, text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_plain(character) else escape(character) for character in text)


def escape(character: str) -> str:
    r"""The character as `\u{HEX}`."""
    return f"\\u{{{ord(character):x}}}"


def prefixed(lines: Iterable[str], prefix: str = "- ") -> str:
    """The lines, each printable and behind the prefix, which is more than blanks: CI runners skip those."""
    return "\n".join(prefix + printable(line.strip(), LONGEST_LINE, again=True) for line in lines)


def printable_json(json: bytes) -> str:
    """JSON that holds the same values and is printable, except for the line breaks between them."""
    return "".join(
        character if character == "\n" or _is_plain(character) else _json_escape(character)
        for character in json.decode()
    )


def _escaped_beginning(found: re.Match[str]) -> str:
    blanks, marker = found.groups()
    return blanks + escape(marker[0]) + marker[1:]


def _json_escape(character: str) -> str:
    code_units = character.encode("utf-16-be")
    return "".join(f"\\u{code_units[at : at + 2].hex()}" for at in range(0, len(code_units), 2))


def _is_plain(character: str) -> bool:
    if character.isprintable():
        return _INVISIBLE.match(character) is None
    return character in _BLANKS
