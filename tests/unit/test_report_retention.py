"""Expired tags and deleted image streams in every form of the report, in comparisons and in explanations."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable

import msgspec
import pytest
from markupsafe import escape

from pruner.analysis import Analysis
from pruner.console import plain_console
from pruner.explain import explain, lines
from pruner.report import Report
from pruner.report.comparison import Difference, compare, headline
from pruner.report.comparison import markdown as compared
from pruner.report.expired import ExpiredTag, RetentionSum, expired_tags, retention_sums
from pruner.report.html import page
from pruner.report.markdown import markdown
from pruner.report.openmetrics import openmetrics
from pruner.report.text import print_report
from pruner.settings.retention import empty_streams
from tests.builders.objects import HOST, OLD, A, B, analysed, at, digest, image, image_stream, item, pod, rule

RULES = (
    rule("pull requests", tags=["pr-*"], keep_younger_than="7d"),
    rule("builds", tags=["build-*"], keep_newest=1),
    rule("nothing", tags=["never-*"], keep="all"),
)
DAY = 24 * 60


@functools.cache
def analysis() -> Analysis:
    """Four tags expire, of which one is used and one declared;
    two are kept by their rules; one image stream is deleted.
    """
    names = ("pr-1", "pr-2", "pr-3", "pr-4", "build-1", "build-2")
    ages = dict(zip(names, (40, 30, 20, 2, 50, 45), strict=True))
    histories = {name: [item(digest(name), age * DAY)] for name, age in ages.items()}
    histories["pr-1"].append(item(digest("first"), 60 * DAY))
    return analysed(
        *(image(digest(name), age=100 * DAY) for name in (*names, "first")),
        image_stream("shop/web", histories, sources={"pr-1": None}, age=200 * DAY),
        image_stream("shop/old", age=90 * DAY),
        pod("shop/run", f"{HOST}/shop/web:pr-3"),
        retention=RULES,
        empty_streams=empty_streams({"older_than": "30d"}),
    )


def report() -> Report:
    return Report.of(analysis())


def text(shown: Report, listed: int = 40) -> str:
    into = io.StringIO()
    print_report(shown, plain_console(file=into, width=200), listed=listed)
    return into.getvalue()


def test_expired_tags_are_read_off_the_plan_R32() -> None:
    assert expired_tags(analysis().plan) == [
        ExpiredTag("shop/web", "build-1", "builds", at(50 * DAY), 1, False),
        ExpiredTag("shop/web", "pr-1", "pull requests", at(40 * DAY), 2, True),
        ExpiredTag("shop/web", "pr-2", "pull requests", at(30 * DAY), 1, False),
    ]
    assert [(each.stream, each.tag) for each in expired_tags(analysis().plan)] == [*analysis().plan.expired_tags]


def test_tags_are_counted_by_rule_in_the_order_of_the_rules_R30() -> None:
    assert retention_sums(report(), expired_tags(analysis().plan)) == [
        RetentionSum("pull requests", 2, 1),
        RetentionSum("builds", 1, 1),
        RetentionSum("nothing", 0, 0),
    ]
    of_plan_alone = Report(plan=analysis().plan)
    assert [each.kept for each in retention_sums(of_plan_alone, expired_tags(analysis().plan))] == [None, None, None]


@pytest.mark.parametrize("shown", [text, markdown, page])
def test_every_form_lists_expired_tags_with_their_rule_and_deleted_image_streams(
    shown: Callable[[Report], str],
) -> None:
    said = shown(report())
    for tag in ("shop/web:build-1", "shop/web:pr-1", "shop/web:pr-2"):
        assert str(escape(tag)) in said
    assert "spec and status" in said
    assert "Tags that expire" in said
    assert "Image streams that are deleted" in said
    assert "it has no tags, nothing refers to it, and it is older than 43200 minutes (R34)" in said
    assert re.search(r"pull requests\W.*\b2\b.*\b1\b", said)


@pytest.mark.parametrize("shown", [text, markdown, page])
def test_without_retention_rules_nothing_is_said_of_them(shown: Callable[[Report], str]) -> None:
    said = shown(Report.of(analysed(image(A), image_stream("shop/web", latest=[A]))))
    for title in ("Tags that expire", "Image streams that are deleted", "retention rule", "retention-title"):
        assert title not in said


def many() -> Report:
    plan = analysis().plan
    (change,) = plan.streams
    tags = tuple(f"build-{number:04}" for number in range(3000))
    revisions = tuple(msgspec.structs.replace(change.revisions[0], tag=tag) for tag in tags)
    streams = tuple(msgspec.structs.replace(plan.empty_streams[0], name=f"old-{number}") for number in range(3000))
    wide = msgspec.structs.replace(change, revisions=revisions, removed_tags=tags, removed_spec_tags=())
    return Report(plan=msgspec.structs.replace(plan, streams=(wide,), empty_streams=streams))


def test_long_lists_are_cut_and_what_is_left_out_is_counted() -> None:
    said = text(many())
    assert "and 2960 more; --all lists them" in said
    assert text(many(), listed=0).count("shop/old-") == 3000
    short = markdown(many(), limit=20_000)
    assert len(short) <= 20_000
    assert len(re.findall(r"\d+ of 3000 rows do not fit in here", short)) == 2
    assert page(many()).count("and 2\N{NARROW NO-BREAK SPACE}000 more") == 2


def test_metrics_count_expired_tags_by_rule() -> None:
    assert 'pruner_planned_expired_tags{cluster="test",retention="pull requests"} 2' in openmetrics(report())
    assert 'pruner_planned_expired_tags{cluster="test",retention="nothing"} 0' in openmetrics(report())


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_an_image_stream_that_one_plan_deletes_is_a_difference_R34() -> None:
    objects = (image(A), image_stream("shop/old", age=90 * DAY))
    deleting = analysed(*objects, empty_streams=empty_streams({"older_than": "30d"})).plan
    found = compare(deleting, analysed(*objects).plan)
    assert [(row.stream, row.tag, row.first) for row in found.rows] == [("shop/old", "", Difference(image_streams=1))]
    assert "Only the first plan prunes 0 revisions and 0 images, 0 bytes, 1 image stream deleted" in headline(found)
    assert "0 / 0 / 0 bytes, 1 image stream deleted" in compared(found)
    assert compare(deleting, deleting).rows == ()


# --- explanations -----------------------------------------------------------------------------------------------------


def test_an_image_stream_that_is_deleted_says_so_and_why_R34() -> None:
    found = explain(analysis(), "shop/old")
    assert found.decision is not None
    assert (found.decision.kept, found.decision.rule) == (False, "R34")
    said = [*lines(found)]
    assert "  pruned: it has no tags, nothing refers to it, and it is older than 43200 minutes (R34)" in said
    assert any("To keep it: tag an image into it" in line for line in said)
    assert explain(analysis(), "shop/web").decision is None


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("pr-1", "retention rule pull requests lets it expire: none of its conditions keeps the tag (R30)"),
        ("pr-3", "retention rule pull requests lets it expire: none of its conditions keeps the tag (R30)"),
        ("pr-4", "retention rule pull requests keeps it: its tag was moved less than 10080 minutes ago"),
        (
            "build-2",
            "retention rule builds keeps it: its tag is number 1 of the newest 1 of retention rule builds (R30)",
        ),
    ],
)
def test_a_tag_names_its_retention_rule_also_where_use_or_age_decides_R29(tag: str, said: str) -> None:
    assert any(said in line for line in lines(explain(analysis(), f"shop/web:{tag}")))


def test_a_tag_that_no_rule_matches_names_none_R29() -> None:
    tags = {"latest": [item(A, 5 * DAY)], "pr-1": [item(B, OLD)]}
    cluster = (image(A), image(B), image_stream("shop/web", tags))
    assert explain(analysed(*cluster, retention=RULES), "shop/web:latest").retention is None
    assert explain(analysed(*cluster), "shop/web:pr-1").retention is None
