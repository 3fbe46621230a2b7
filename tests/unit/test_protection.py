"""Patterns of `protect` (R18): what they match, and that no pattern makes matching slow."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.analysis.protection import Protection, expression


def matches_by_definition(glob: str, text: str) -> bool:
    """The definition, as a table of which beginnings of the pattern match which beginnings of the text."""
    row = [True] + [False] * len(text)
    for wanted in glob:
        before, row = row, [wanted == "*" and row[0]]
        for position, character in enumerate(text):
            wild = character not in "/:"
            if wanted == "*":
                row.append(before[position + 1] or (row[position] and wild))
            else:
                row.append(before[position] and (wanted == character or (wanted == "?" and wild)))
    return row[-1]


@given(st.text("ab*?/:", max_size=12), st.text("ab/:", max_size=12))
def test_expression_matches_by_the_definition_R18(glob: str, text: str) -> None:
    assert bool(re.fullmatch(expression(glob), text)) == matches_by_definition(glob, text)


@given(st.text("ab.+*?", min_size=1, max_size=10), st.text("ab.+", min_size=1, max_size=10))
def test_pattern_of_a_stream_covers_all_of_its_tags_R18(glob: str, name: str) -> None:
    found = Protection([f"shop/{glob}"]).match_item(f"shop/{name}", "any:tag/at all")

    assert (found is not None) == matches_by_definition(glob, name)


@pytest.mark.parametrize(
    ("pattern", "stream", "tag"),
    [
        ("shop/" + "*a" * 300 + "*b", "shop/" + "a" * 5000, "latest"),
        ("shop/*:" + "*a" * 300 + "b", "shop/web", "a" * 5000),
        ("shop/" + "*?a" * 300 + "b", "shop/" + "a" * 5000, "latest"),
        ("shop/" + "*" * 5000 + "b", "shop/" + "a" * 5000, "latest"),
        ("*" * 300 + "/" + "*" * 300 + ":" + "*" * 300 + "b", "a" * 250 + "/" + "a" * 250, "a" * 250),
    ],
)
def test_pattern_with_many_wildcards_is_answered_R18(pattern: str, stream: str, tag: str) -> None:
    """An expression that backtracks would be at it for longer than the universe has been, whatever the machine."""
    assert Protection([pattern]).match_item(stream, tag) is None
