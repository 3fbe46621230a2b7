"""Text of a cluster is data: nothing in it moves a terminal, begins
a line, hides, or commands a CI runner, and nothing of it is lost.
"""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pruner.errors import ClusterError, InvalidReferencesError, Problem, SettingsError
from pruner.printable import prefixed, printable
from tests.hostile import HOSTILE, hostile_texts

_COMMANDS = re.compile(r"##[\w.-]*\[")


def original(text: str) -> str:
    """What `printable` was given."""
    return re.sub(r"\\u\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), text)


@given(hostile_texts())
@example("\\u{1b}")
@example("\\\x1b")
@example("##vso[a]##")
def test_nothing_is_left_that_a_terminal_or_a_log_obeys_and_nothing_is_lost(text: str) -> None:
    result = printable(text)
    assert {unicodedata.category(character) for character in result} <= {
        *("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
        *("Sm", "Sc", "Sk", "So", "Zs"),
    }
    assert not _COMMANDS.search(result)
    assert len(result.splitlines()) <= 1
    assert original(result) == text
    assert printable(result, again=True) == result


@pytest.mark.parametrize("character", HOSTILE)
def test_every_dangerous_character_is_shown_by_its_number(character: str) -> None:
    assert printable(f"a{character}b") == f"a\\u{{{ord(character):x}}}b"


@pytest.mark.parametrize(
    "text",
    [
        "shop/web:v1@sha256:0af3",
        "C:\\certs\\ca.pem",
        "[::1]:6443",
        "## a heading",
        "Büro 漢字 مرحبا 😀",
        "1\u202f000 images",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(hostile_texts(), st.integers(0, 40))
def test_a_text_past_its_limit_is_cut_and_says_by_how_much(text: str, limit: int) -> None:
    result = printable(text, limit)
    if len(text) <= limit:
        assert result == printable(text)
    else:
        assert result == f"{printable(text[:limit])}... ({len(text) - limit} more characters)"


@given(hostile_texts())
def test_a_message_is_one_line_whatever_it_quotes(text: str) -> None:
    for message in (str(ClusterError(f"GET pods: {text}")), str(SettingsError([Problem("host", text)]))):
        assert printable(message, again=True) == message
        assert message.startswith(("GET pods:", "host: "))


def test_a_message_that_quotes_another_one_keeps_its_escapes() -> None:
    inner = ClusterError("the server says \x1b]0;title\x07")
    assert str(ClusterError(f"giving up: {inner}")) == "giving up: the server says \\u{1b}]0;title\\u{7}"


@given(st.lists(hostile_texts(), min_size=1, max_size=5))
def test_lines_of_a_message_begin_with_a_prefix(texts: list[str]) -> None:
    first, *lines = str(InvalidReferencesError(texts)).split("\n")
    assert re.match(r"\d+ image references? do", first)
    assert len(lines) == len(texts)
    assert {line[:2] for line in lines} == {"- "}
    assert "\n".join(lines) == prefixed(texts)
