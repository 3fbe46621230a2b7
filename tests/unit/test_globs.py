"""Globs found by their literal beginning and end match what the patterns match by themselves (R29)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semver import Version

from pruner.analysis.globs import Globs, matcher
from pruner.analysis.retention import TagRetention
from tests.builders.objects import NOW, A, image_stream, item, rule

PARTS = st.text("ab-*?", min_size=1, max_size=5)
TEXTS = st.text("ab-", min_size=1, max_size=6)
EXCLUDED = st.booleans()


def matched(patterns: list[str], text: str) -> bool:
    """By a regular expression that is as plain as what is documented."""

    def one(pattern: str) -> bool:
        expression = "".join({"*": "[^/:]*", "?": "[^/:]"}.get(each, re.escape(each)) for each in pattern)
        return re.fullmatch(expression, text) is not None

    included = [each for each in patterns if not each.startswith("!")]
    excluded = [each[1:] for each in patterns if each.startswith("!")]
    return (any(map(one, included)) or not included) and not any(map(one, excluded))


def patterns_of(part: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[str]]]:
    pattern = st.tuples(st.booleans(), part).map(lambda pair: ("!" if pair[0] else "") + pair[1])
    return st.lists(st.lists(pattern, max_size=3), min_size=1, max_size=5)


@given(rules=patterns_of(PARTS), text=TEXTS)
def test_the_first_rule_and_all_rules_that_match_a_tag_are_found_R29(rules: list[list[str]], text: str) -> None:
    globs = Globs(enumerate(rules))
    places = tuple(place for place, patterns in enumerate(rules) if matched(patterns, text))
    assert globs.all(text) == places
    assert globs.first(text) == (places[0] if places else None)


@given(rules=patterns_of(st.tuples(PARTS, PARTS).map("/".join)), text=st.tuples(TEXTS, TEXTS).map("/".join))
def test_image_streams_are_matched_in_both_parts_R29(rules: list[list[str]], text: str) -> None:
    globs = Globs(enumerate(rules), slashes=1)
    places = tuple(place for place, patterns in enumerate(rules) if matched(patterns, text))
    assert globs.all(text) == places
    assert globs.first(text) == (places[0] if places else None)


@given(patterns=patterns_of(PARTS).map(lambda rules: rules[0]), text=TEXTS)
def test_patterns_of_one_setting_match_in_the_same_way_R34(patterns: list[str], text: str) -> None:
    matches = matcher(patterns)
    if all(each.startswith("!") for each in patterns):
        return
    assert matches is not None
    assert bool(matches(text)) is matched(patterns, text)


@pytest.mark.parametrize(
    ("patterns", "matching", "others"),
    [
        (["v1"], ["v1"], ["v", "v10", "xv1"]),
        (["v1", "!v2"], ["v1"], ["v2", "!v2"]),
        (["v1", "v2", "!*2"], ["v1"], ["v2"]),
        (["a*", "*b"], ["a", "ab", "b", "cb", "aXc"], ["c", "ca", "bc"]),
        (["a?", "!a1"], ["a2", "ab"], ["a1", "a", "a12"]),
        (["x*y"], ["xy", "xay", "xyxy"], ["x", "y", "xa", "ay"]),
        (["aba*aba"], ["abaaba", "aba-aba"], ["aba", "ababa"]),
        (["*m*"], ["m", "am", "ma", "ama"], ["a", "aa"]),
        (["?", "??x"], ["a", "abx"], ["ab", "abxx"]),
        (["a*", "!ab*", "!*c"], ["a", "aa"], ["ab", "abb", "ac", "c"]),
        (["a.c", "a+"], ["a.c", "a+"], ["abc", "aa"]),
    ],
)
def test_globs_match_whole_texts_R29(patterns: list[str], matching: list[str], others: list[str]) -> None:
    matches, globs = matcher(patterns), Globs([(1, patterns), (2, ["nothing else"])])
    assert matches is not None
    for text in matching:
        assert (bool(matches(text)), globs.first(text), globs.all(text)) == (True, 1, (1,)), text
    for text in others:
        assert (bool(matches(text)), globs.first(text), globs.all(text)) == (False, None, ()), text


def test_without_patterns_everything_matches_R29() -> None:
    assert matcher([]) is None
    assert Globs([(1, []), (2, ["!a"]), (3, ["*"])]).all("a") == (1, 3)
    assert Globs([(1, ["!a"]), (2, ["a"])]).first("a") == 2


def test_the_first_of_many_rules_counts_however_each_is_found_R29() -> None:
    rules = [["b?d"], ["*d"], ["b*"], ["bcd"], ["*"], ["b*d"], ["*c*"], ["bc*"]]
    for order in range(len(rules)):
        turned = rules[order:] + rules[:order]
        globs = Globs(enumerate(turned))
        assert globs.all("bcd") == tuple(range(len(rules)))
        assert globs.first("bcd") == 0
        fitting = [place for place, (pattern,) in enumerate(turned) if pattern in ("*d", "*")]
        assert (globs.all("xd"), globs.first("xd")) == (tuple(fitting), fitting[0])


@pytest.mark.parametrize("text", ["a/b", "a:b", "a/b/c", "a/b:c", ""])
def test_wildcards_cross_neither_slash_nor_colon_R29(text: str) -> None:
    assert Globs([(0, ["*"]), (1, ["a*", "*b", "a*b"]), (2, [])]).all(text) == ((0, 2) if text == "" else ())
    found = Globs([(0, ["*/*"]), (1, ["a/*", "*/b"]), (2, [])], slashes=1)
    assert found.all(text) == ((0, 1, 2) if text == "a/b" else ())
    assert found.first(text) == (0 if text == "a/b" else None)


def test_places_need_not_begin_with_0_nor_be_given_in_their_order_R29() -> None:
    globs = Globs([(7, ["v*"]), (3, ["v1*"])])
    assert (globs.all("v1"), globs.first("v1"), globs.first("v2")) == ((3, 7), 3, 7)


NUMBER = st.integers(0, 12).map(str) | st.sampled_from(["00", "01", "x", ""])
SUFFIX = st.sampled_from(["", "-rc.1", "-rc.2", "-1", "-a", "+b", "-rc.1+b", "-01", "-", "-alpine"])


@given(
    tags=st.lists(
        st.builds(lambda v, a, b, c, s: f"{v}{a}.{b}.{c}{s}", st.sampled_from(["", "v"]), NUMBER, NUMBER, NUMBER,
                  SUFFIX),
        min_size=1, max_size=6, unique=True,
    ),
    prereleases=st.booleans(),
    newest=st.integers(1, 3),
)  # fmt: skip
def test_versions_are_ordered_as_the_library_orders_them_R30(tags: list[str], prereleases: bool, newest: int) -> None:
    tags = [tag for tag in tags if re.fullmatch(r"[\w.+-]+", tag)]
    rules = [rule(order="semver", keep_newest=newest, **({"prereleases": True} if prereleases else {}))]
    decisions = TagRetention(rules, NOW).decide(image_stream("shop/web", {tag: [item(A)] for tag in tags}))

    def version(tag: str) -> Version | None:
        text = tag.removeprefix("v")
        found = Version.parse(text) if Version.is_valid(text) else None
        return found if found is not None and (prereleases or not found.prerelease) else None

    versions = [(version(tag), tag) for tag in sorted(tags)]
    known = [(found, tag) for found, tag in versions if found is not None]
    known.sort(key=lambda pair: pair[0], reverse=True)
    kept = {tag for tag, decision in decisions.items() if not decision.expired}
    assert kept == {tag for _, tag in known[:newest]}
