"""Retention rules and the deletion of empty image streams as settings: every form that is read, and every mistake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pruner.settings import EmptyStreams, RetentionRule, UnfitError
from pruner.settings.files import LARGEST_FILE
from pruner.settings.retention import (
    MOST_PATTERNS,
    MOST_RULES,
    empty_streams,
    retention_rules,
    rules_of,
    written,
)
from tests.builders.objects import rule

RULE = RetentionRule(name="previews", tags=("pr-*",), keep_newest=3)
IN_YAML = "- name: previews\n  tags: [pr-*]\n  keep_newest: 3\n"
IN_JSON = '[{"name": "previews", "tags": ["pr-*"], "keep_newest": 3}]'

# --- every form -------------------------------------------------------------------------------------------------------


def test_rules_are_read_from_a_list_from_json_and_from_a_file_R29(tmp_path: Path) -> None:
    in_yaml, in_json = tmp_path / "rules.yaml", tmp_path / "rules.json"
    in_yaml.write_text(IN_YAML, encoding="utf-8")
    in_json.write_text(f'{{"retention": {IN_JSON}}}', encoding="utf-8")
    forms = [{"name": "previews", "tags": "pr-*", "keep_newest": 3}], f"  {IN_JSON}\n"
    for given in (*forms, f'{{"retention": {IN_JSON}}}', str(in_yaml), f" {in_json} "):
        assert retention_rules(given) == (RULE,)


def test_what_is_not_set_has_its_default_R29() -> None:
    (found,) = rules_of([{"name": None, "tags": None, "keep": "all", "order": None, "variants": None}])
    assert found == RetentionRule(name="rule 1", keep_all=True)
    assert not found.can_expire
    assert rule(keep_newest=1).can_expire
    assert rules_of([]) == ()


def test_every_key_of_a_rule_is_read_R29() -> None:
    (found,) = rules_of(
        [
            {
                "name": "  releases ",
                "streams": ["shop/*", "!shop/old"],
                "tags": ("v*", "!v0*"),
                "keep_younger_than": "2w",
                "keep_newest": "5",
                "order": "semver",
                "variants": ["slim", "alpine", "slim"],
                "prereleases": "yes",
                "imported": 1,
                "keep_tag_revisions": 2,
            }
        ]
    )
    assert found == RetentionRule(
        name="releases",
        streams=("shop/*", "!shop/old"),
        tags=("v*", "!v0*"),
        keep_younger_than=timedelta(weeks=2),
        keep_newest=5,
        order="semver",
        variants=("alpine", "slim"),
        prereleases=True,
        imported=True,
        keep_tag_revisions=2,
    )
    assert rule(order="time", keep_newest=1, variants=None).order == "time"
    (single,) = rules_of([{"keep_newest": 1, "order": "semver", "variants": "alpine"}])
    assert single.variants == ("alpine",)


@pytest.mark.parametrize("pattern", ["*", "v1.2.3-rc_4", "?" * 128, "!x"])
def test_patterns_of_tags_are_what_tags_may_be_R29(pattern: str) -> None:
    assert rule(tags=[pattern, "y"], keep="all").tags == (pattern, "y")


@pytest.mark.parametrize("pattern", ["*/*", "team-?/*-base", "!shop/web"])
def test_patterns_of_image_streams_have_two_parts_R29(pattern: str) -> None:
    assert rule(streams=[pattern, "a/b"], keep="all").streams == (pattern, "a/b")


def test_as_many_rules_and_patterns_as_are_allowed_R29() -> None:
    rules = [{"tags": [f"x{number}"], "keep": "all"} for number in range(MOST_RULES)]
    assert len(rules_of(rules)) == MOST_RULES
    assert problems([*rules, {}]) == [f"has {MOST_RULES + 1} rules; at most {MOST_RULES} are allowed"]
    patterns = [f"x{number}" for number in range(MOST_PATTERNS)]
    assert len(rule(tags=patterns, keep="all").tags) == MOST_PATTERNS
    assert problems([{"tags": [*patterns, "y"], "keep": "all"}]) == [
        f"rule 1: tags has {MOST_PATTERNS + 1} patterns; at most {MOST_PATTERNS} are allowed"
    ]


def test_empty_streams_are_read_from_a_map_and_from_json_R34() -> None:
    expected = EmptyStreams(older_than=timedelta(days=30), streams=("shop/*",))
    assert empty_streams({"older_than": "30d", "streams": "shop/*"}) == expected
    assert empty_streams(' {"older_than": 43200, "streams": ["shop/*"]} ') == expected
    assert empty_streams({"older_than": "30d", "streams": None}) == EmptyStreams(older_than=timedelta(days=30))
    assert written(EmptyStreams(older_than=timedelta(days=1))) == {"older_than": 1440}


# --- every mistake ----------------------------------------------------------------------------------------------------

LIST = "takes a list of patterns such as"
WILDCARDS = "(* and ? are wildcards, ! excludes)"
PRINTABLE = "name takes a text of at most 100 printable characters, not"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("name", 3, f"{PRINTABLE} 3"),
        ("name", " ", f"{PRINTABLE} ' '"),
        ("name", "a\tb", f"{PRINTABLE} 'a\\tb'"),
        ("tags", 3, f"tags {LIST} pr-*, not 3"),
        ("tags", [], "tags has no pattern; name one such as pr-*, or leave it out for every one"),
        ("tags", {"v*": 1}, f"tags {LIST} pr-*, not a map"),
        ("tags", [3], f"tags 3 is not a pattern such as pr-* {WILDCARDS}"),
        ("tags", ["v1", "v:1"], f"tags 'v:1' is not a pattern such as pr-* {WILDCARDS}"),
        ("tags", ["!v*", "!w"], "tags only excludes, so it matches nothing; add a pattern without !"),
        ("streams", "shop", f"streams 'shop' is not a pattern such as shop/* {WILDCARDS}"),
        ("streams", "", f"streams '' is not a pattern such as shop/* {WILDCARDS}"),
        ("streams", ["a/b/c"], f"streams 'a/b/c' is not a pattern such as shop/* {WILDCARDS}"),
        ("order", "version", "order takes 'time' or 'semver', not 'version'"),
        ("variants", 3, "variants takes a list of suffixes such as alpine, not 3"),
        ("variants", (), "variants has no suffix; name one such as alpine, or leave it out"),
        ("variants", ["a/b"], "variants 'a/b' is not a suffix such as alpine"),
        ("variants", [7], "variants 7 is not a suffix such as alpine"),
        ("prereleases", "maybe", "prereleases takes true or false, not 'maybe'"),
        ("keep_tag_revisions", -1, "keep_tag_revisions must be at least 0, not -1"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_right_R29(key: str, value: object, problem: str) -> None:
    name = "rule 1" if key == "name" else "rule 1 ('r')"
    given: dict[str, Any] = {"name": "r", "keep_newest": 1, "order": "semver", key: value}
    assert problems([given]) == [f"{name}: {problem}"]


def test_a_name_has_at_most_a_hundred_characters_R29() -> None:
    assert rule(name="x" * 100, keep="all").name == "x" * 100
    (problem,) = problems([{"name": "x" * 101, "keep": "all"}])
    assert PRINTABLE in problem


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"keep": "all", "keep_newest": 1, "keep_younger_than": 1},
         ["keep: all contradicts keep_newest and keep_younger_than; leave one of them out"]),
        ({"keep": "all", "keep_younger_than": 1},
         ["keep: all contradicts keep_younger_than; leave one of them out"]),
        ({"keep_younger_than": 1, "order": "semver", "variants": "a", "prereleases": True},
         [f"{key} has no effect without keep_newest" for key in ("order", "variants", "prereleases")]),
        ({"keep_newest": 1, "variants": "a", "prereleases": True},
         [f"{key} has no effect without order: semver" for key in ("variants", "prereleases")]),
        ({"keep_newest": 1, "order": "time", "variants": "a"}, ["variants has no effect without order: semver"]),
        ({"keep_newest": -1, "order": "semver"}, ["keep_newest must be at least 0, not -1"]),
        ({"keep": None, "keep_newest": None},
         ["has no condition that keeps a tag; add keep: all, keep_younger_than or keep_newest"]),
    ],
)  # fmt: skip
def test_keys_that_cannot_be_meant_together_are_an_error_R30(keys: dict[str, object], wrong: list[str]) -> None:
    assert problems([keys]) == [f"rule 1: {each}" for each in wrong]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (3, "takes a list of rules, not 3"),
        ("[1", "is not JSON"),
        ("{1}", "is not JSON"),
        ({"retention": [], "more": 1, "also": 2}, None),
        ({"rules": []}, "takes a list of rules, not a map"),
        ("", "is empty"),
    ],
)
def test_what_is_no_list_of_rules_is_an_error_R29(value: object, problem: str | None) -> None:
    beside = [f"there is no key '{key}' beside retention" for key in ("also", "more")]
    assert problems(value) == (beside if problem is None else [problem])


def test_values_without_end_are_an_error_R29() -> None:
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]
    (problem,) = problems([{"name": "r", "tags": deep, "keep": "all"}])
    assert problem.startswith("rule 1: ")


def test_a_file_that_cannot_be_read_is_named_R29(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    assert problems(str(path)) == [f"there is no file {str(path)!r}"]
    path.write_bytes(b"\xff\xfe")
    assert problems(str(path)) == [f"the file {str(path)!r} is not UTF-8"]
    path.write_text("- [", encoding="utf-8")
    assert problems(str(path)) == [f"the file {str(path)!r} is not YAML (line 1)"]
    path.write_bytes(b"#" * (LARGEST_FILE + 100))
    assert problems(str(path)) == [f"the file {str(path)!r} has more than {LARGEST_FILE} characters"]


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (3, ["takes a map with older_than, streams, not 3"]),
        ("{", ["is not JSON"]),
        ({}, ["older_than is missing, such as older_than: 30d"]),
        ({"older_than": None}, ["older_than is missing, such as older_than: 30d"]),
        (
            {"older_then": "30d", "streams": "shop"},
            [
                "there is no key 'older_then', did you mean 'older_than'?",
                f"streams 'shop' is not a pattern such as shop/* {WILDCARDS}",
                "older_than is missing, such as older_than: 30d",
            ],
        ),
        (
            {"older_than": "soon"},
            ["older_than takes a whole number, not 'soon'; it is an age in minutes, or such as 36h or 14d"],
        ),
    ],
)
def test_all_mistakes_of_empty_streams_are_listed_R34(value: object, wrong: list[str]) -> None:
    with pytest.raises(UnfitError) as raised:
        empty_streams(value)
    assert list(raised.value.problems) == wrong


def problems(value: object) -> list[str]:
    with pytest.raises(UnfitError) as raised:
        retention_rules(value)
    return list(raised.value.problems)


def test_all_mistakes_of_all_rules_are_listed_with_name_and_position_R29() -> None:
    assert problems(
        [
            {"name": "a", "keep_newset": 3, "tags": "pr-*"},
            {"name": "b", "keep_newest": -1, "keep": "none"},
            {"tags": ["v *"], "keep": "all", "order": "semver"},
            {"name": "a", "keep": "all", "tags": ["x"]},
            "text",
        ]
    ) == [
        "rule 1 ('a'): there is no key 'keep_newset', did you mean 'keep_newest'?",
        "rule 1 ('a'): has no condition that keeps a tag; add keep: all, keep_younger_than or keep_newest",
        "rule 2 ('b'): keep_newest must be at least 0, not -1",
        "rule 2 ('b'): keep takes 'all', not 'none'; write keep_newest or keep_younger_than for a limit",
        "rule 2 ('b'): keep: all contradicts keep_newest; leave one of them out",
        "rule 3: tags 'v *' is not a pattern such as pr-* (* and ? are wildcards, ! excludes)",
        "rule 3: order has no effect without keep_newest",
        "rule 4 ('a'): rule 1 has the same name, which plans show; choose another one",
        "rule 5: takes a map with name, streams, tags, keep, keep_younger_than, keep_newest, order, variants, "
        "prereleases, imported, keep_tag_revisions, not 'text'",
    ]


@pytest.mark.parametrize(
    ("before", "after", "hides"),
    [
        ({}, {"tags": ["v*"]}, True),
        ({"tags": ["*"]}, {}, True),
        ({"tags": ["v*", "x"]}, {"tags": ["v*"]}, True),
        ({"tags": ["v*"]}, {"tags": ["v*", "x"]}, False),
        ({"tags": ["*", "!v*"]}, {"tags": ["v*"]}, False),
        ({"streams": ["shop/*"]}, {"tags": ["v*"]}, False),
        ({"streams": ["*/*"]}, {"streams": ["shop/*"], "tags": ["v*"]}, True),
        ({}, {"tags": ["sha256-*"]}, False),
        ({"tags": ["sha256-*"]}, {"tags": ["sha256-*"]}, True),
        ({"tags": ["sha256-*", "x"]}, {"tags": ["sha256-*.sig"]}, False),
        ({"tags": ["sha256-*"]}, {"tags": ["sha256-*", "x"]}, False),
        ({"tags": ["*", "sha256-*"]}, {"tags": ["sha256-*", "x"]}, True),
        ({"tags": ["v*", "x"]}, {"tags": ["v*", "!v1"]}, True),
        ({"tags": ["v*", "!v1"]}, {"tags": ["!v1", "v*"]}, True),
        ({"tags": ["v*"], "streams": ["a/b"]}, {"tags": ["v*"]}, False),
        ({"tags": ["v*"], "streams": ["a/b", "a/c"]}, {"tags": ["v*"], "streams": ["a/c"]}, True),
    ],
)
def test_a_rule_that_can_never_match_is_an_error_R29(
    before: dict[str, object], after: dict[str, object], hides: bool
) -> None:
    rules = [{"name": "first", "keep": "all", **before}, {"name": "second", "keep": "all", **after}]
    if hides:
        expected = "rule 2 ('second'): can never match, since rule 'first' before it takes everything that it matches"
        assert problems(rules) == [expected]
    else:
        assert [each.name for each in rules_of(rules)] == ["first", "second"]


def test_rules_are_written_as_they_are_read_R29() -> None:
    rules = [
        {
            "name": "all of it",
            "streams": ["shop/*"],
            "tags": ["v*"],
            "keep_younger_than": 1440,
            "keep_newest": 0,
            "order": "semver",
            "variants": ["alpine"],
            "prereleases": True,
            "imported": True,
            "keep_tag_revisions": 0,
        },
        {"name": "rule 2", "tags": ["x"], "keep": "all"},
    ]
    assert [written(each) for each in rules_of({"retention": rules})] == rules
    assert written(empty_streams('{"older_than": "30d", "streams": ["shop/*"]}')) == {
        "older_than": 43200,
        "streams": ["shop/*"],
    }


@pytest.mark.parametrize(
    ("value", "minutes"), [(90, 90), ("90", 90), ("90m", 90), ("36h", 2160), ("14d", 20160), ("8w", 80640)]
)
def test_durations_are_minutes_or_have_a_unit_R30(value: object, minutes: int) -> None:
    assert written(rule(keep_younger_than=value))["keep_younger_than"] == minutes
