"""Reports as text, Markdown and metrics: what stands in them,
where they are cut, and that nothing of a cluster is markup.
"""

from __future__ import annotations

import base64
import functools
import gzip
import io
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markupsafe import escape
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as older_text_to_metric_families
from rich.console import Console

from pruner.apply.result import Failure, Skipped
from pruner.fleet import review
from pruner.fleet.model import Outcome
from pruner.plan import DeletedStream, PrunePlan
from pruner.printable import printable
from pruner.reasons import EmptyStream, Expired, OverSizeLimit
from pruner.report import Report
from pruner.report.html import page
from pruner.report.markdown import markdown
from pruner.report.markdown_table import code
from pruner.report.openmetrics import METRICS, openmetrics
from pruner.report.text import print_report
from tests.builders.objects import L1, NOW, A, B, C, analysed, digest, image, image_stream
from tests.hostile import HOSTILE as CHARACTERS
from tests.hostile import assert_inert, texts_of_a_cluster
from tests.unit.test_report import analysis, result, untagged

HOSTILE = "</script><script>alert(1)</script><!--\x1b[31m`|\n@everyone \u202e"


def many(number: int) -> Report:
    """So many images that go, each with a stream of its own."""
    images = [image(digest(f"image {each}"), repository=f"ns{each % 7}/app{each}") for each in range(number)]
    streams = [image_stream(f"ns{each % 7}/app{each}", latest=[digest(f"image {each}")]) for each in range(number)]
    return Report.of(analysed(*images, *streams))


@functools.cache
def complete() -> Report:
    """A plan with what stays, and its result."""
    return Report.of(analysis(), result())


def hostile(text: str = HOSTILE) -> Report:
    """A report in which everything that comes from the cluster tries to be more than text."""
    whole = complete()
    plan = whole.plan
    first = plan.streams[0]
    revision = msgspec.structs.replace(
        first.revisions[0],
        tag=text,
        image=text,
        reason=OverSizeLimit(2, Decimal(1), text),
    )
    expired = msgspec.structs.replace(revision, tag=f"{text}2", reason=Expired(text))
    change = msgspec.structs.replace(
        first, name=text, namespace=text, revisions=(revision, expired), removed_tags=(expired.tag,)
    )
    deleted = DeletedStream(text, text, text, "1", NOW, EmptyStream(1))
    gone = msgspec.structs.replace(plan.images[0], name=text, reference=text)
    bad = msgspec.structs.replace(plan, cluster=text, streams=(change,), images=(gone, *plan.images[1:]), notes=(text,),
        empty_streams=(deleted,), rules={**plan.rules, "retention": [{"name": text}]})  # fmt: skip
    assert whole.outcome is not None
    outcome = msgspec.structs.replace(whole.outcome, skipped=(Skipped(text, text),), failures=(Failure(text, text),))
    return Report(plan=bad, outcome=outcome)


def text(report: Report, listed: int = 40) -> str:
    into = io.StringIO()
    print_report(report, Console(file=into, width=160), listed=listed)
    return into.getvalue()


def empty() -> Report:
    return Report.of(analysed())


# --- text ------------------------------------------------------------------------------------------------------------


def test_text_says_what_goes_how_much_and_why() -> None:
    shown = text(Report.of(analysis()))
    assert shown.startswith("| 2 revisions of 1 image stream, 3 images, 5 blobs: 120 bytes and 3 blobs of unknown size")
    assert "shop/web:latest" in shown
    assert "its Image object is absent (R19)" in shown
    assert "the current revision of a referenced tag" in shown


def test_text_of_a_result_names_what_failed_and_what_was_skipped() -> None:
    shown = text(Report.of(analysis(), result()))
    assert "1 image and 2 blobs deleted: 100 bytes freed, 1 skipped, 1 FAILED" in shown
    assert "500 Internal Server Error" in shown
    assert "used again" in shown


def test_text_says_how_many_rows_are_left_out() -> None:
    assert "and 10 more; --all lists them" in text(many(50))
    assert "more; --all" not in text(many(50), listed=0)


def test_text_of_nothing_says_so() -> None:
    assert text(empty()).startswith("| Nothing to prune")


def test_text_obeys_no_control_sequence_of_a_name() -> None:
    shown = text(hostile())
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "alert(1)" in shown


@pytest.mark.parametrize("shown", [text, markdown])
def test_a_revision_that_goes_is_listed_although_its_image_stays(shown: Callable[[Report], str]) -> None:
    said = " ".join(shown(Report.of(untagged())).split())
    assert "prod/web:v1" in said
    assert (
        "revision 0 is beyond the newest 0 of its tag, and nothing refers to it (R16); the image itself is kept: "
        in said
    )


# --- Markdown --------------------------------------------------------------------------------------------------------


def test_markdown_has_sums_open_and_the_list_folded() -> None:
    shown = markdown(Report.of(analysis()))
    head, folded = shown.split("<details>", 1)
    assert "| `shop/web` | 2 | 2 | 100 bytes |" in head
    assert "sha256:" not in head.split("plan `")[1][80:]
    assert "What is pruned, and why (3 images, 1 digest of which only revisions)" in folded
    assert shown.count("<details>") == shown.count("</details>") == 2


@pytest.mark.parametrize("limit", [1000, 5000, 20_000, 60_000])
def test_markdown_is_cut_at_a_row_and_says_how_many_are_missing(limit: int) -> None:
    shown = markdown(many(2000), limit=limit)
    assert len(shown) <= limit
    assert shown.count("<details>") == shown.count("</details>")
    listed = len(re.findall(r"^\| `sha256:.*\|$", shown, re.MULTILINE))
    if listed:
        assert f"*{2000 - listed} of 2000 rows do not fit in here; the full report has them.*" in shown
    else:
        assert "the full report has" in shown


def test_markdown_that_fits_is_whole() -> None:
    shown = markdown(many(100))
    assert "do not fit" not in shown
    assert "and 85 more" in shown


def test_R36_markdown_counts_what_is_retired_apart_from_what_only_loses_revisions() -> None:
    found = analysed(
        *(image(each) for each in (A, B, C)),
        image_stream("shop/web", latest=[A, B, C]),
        image_stream("shop/two", v1=[B]),
        revisions=1,
        grace=timedelta(days=7),
    )
    assert [each.name for each in found.plan.retired] == [C]
    text = markdown(Report.of(found))
    assert "What is pruned, and why (0 images, 1 image retired, 1 digest of which only revisions)" in text


def test_markdown_of_a_result_names_failures() -> None:
    shown = markdown(Report.of(analysis(), result()))
    assert "1 FAILED" in shown
    assert "- failed: `image sha256:" in shown


def test_nothing_of_a_cluster_is_markup_in_markdown() -> None:
    shown = markdown(hostile())
    outside = re.sub(r"`[^`\n]*`", "", shown)
    assert "script" not in outside
    assert "@everyone" not in outside
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [("a`b", "`a'b`"), ("a|b", "`a\xa6b`"), ("a\\|@b", "`a\\\xa6@b`"), ("a\nb", "`a\\u{a}b`"), ("", ""), ("  ", "")],
)
def test_a_code_span_stays_one(given: str, shown: str) -> None:
    assert code(given) == shown


_PLAIN_TAGS = {
    *("h1", "h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "strong", "ul", "li", "em", "a"),
    *("details", "summary"),
}


@given(texts_of_a_cluster())
def test_in_markdown_texts_of_a_cluster_are_code_and_nothing_else(text: str) -> None:
    report = hostile(text)
    outcome = Outcome(cluster="kiel", wave="rest", verb="preview", state="done", plan=report.plan.fingerprint)
    pages = (
        markdown(report),
        "\n".join(review.page("Plans", [outcome], {"kiel": report.plan}, warnings=[text])),
        "\n".join(review.page("Plans", [outcome], {"kiel": f"first line\n{text}"})),
    )
    for shown in pages:
        assert_inert(shown)
        rendered = MarkdownIt("gfm-like", {"linkify": False}).render(shown)
        assert {tag.lower() for tag in re.findall(r"<([A-Za-z0-9]+)", rendered)} <= _PLAIN_TAGS
        assert set(re.findall(r'(?:href|src)="([^"]*)"', rendered)) <= {"#kiel"}
        assert "injected" not in re.sub(r"<code>.*?</code>", "", rendered, flags=re.DOTALL)


@given(texts_of_a_cluster(), st.integers(20, 200))
def test_no_line_on_a_terminal_begins_with_a_text_of_a_cluster(text: str, width: int) -> None:
    into = io.StringIO()
    print_report(hostile(text), Console(file=into, width=width), listed=0)
    lines = into.getvalue().split("\n")
    assert lines.pop() == ""
    assert lines
    assert {line[:2] for line in lines} == {"| "}
    assert_inert(into.getvalue())


@settings(max_examples=40)
@given(texts_of_a_cluster())
def test_no_text_of_a_cluster_ends_an_element_of_the_page(text: str) -> None:
    shown = page(hostile(text))
    assert shown.count("</script>") == shown.count("<script") == 3
    assert "<img" not in shown
    assert not set(CHARACTERS) - {"\n"} & set(shown)
    assert not set(CHARACTERS) & set("".join(content_of(shown)["texts"]))


# --- OpenMetrics -----------------------------------------------------------------------------------------------------


def samples(report: Report) -> dict[tuple[str, tuple[str, ...]], float]:
    """Value by name and labels, the cluster's left out."""
    return {
        (sample.name, tuple(value for key, value in sample.labels.items() if key != "cluster")): sample.value
        for graph in text_string_to_metric_families(openmetrics(report))
        for sample in graph.samples
    }


def test_metrics_tell_of_plan_rest_and_result() -> None:
    found = samples(Report.of(analysis(), result()))
    assert found["pruner_plan_timestamp_seconds", ()] == NOW.timestamp()
    assert found["pruner_plan_empty", ()] == 0
    assert found["pruner_planned_objects", ("images",)] == 3
    assert found["pruner_planned_bytes", ()] == 120
    assert found["pruner_planned_namespace_bytes", ("shop",)] == 120
    assert found["pruner_kept_objects", ("images", "R22")] == 2
    assert found["pruner_run_success", ()] == 0
    assert found["pruner_deleted_objects", ("images",)] == 1
    assert found["pruner_freed_bytes", ()] == 100
    assert found["pruner_failed_objects", ()] == 1


def test_metrics_of_a_preview_say_nothing_of_a_run() -> None:
    names = {name for name, _ in samples(Report.of(analysis()))}
    assert not names & {"pruner_run_success", "pruner_deleted_objects", "pruner_freed_bytes"}


def test_metrics_of_nothing_are_metrics() -> None:
    assert samples(empty())["pruner_plan_empty", ()] == 1


def test_all_metrics_are_gauges_with_their_units() -> None:
    whole = Report.of(analysis(), result())
    plan = msgspec.structs.replace(whole.plan, rules={**whole.plan.rules, "retention": [{"name": "previews"}]})
    families = list(text_string_to_metric_families(openmetrics(msgspec.structs.replace(whole, plan=plan))))
    assert [(each.name, each.type, each.unit, each.documentation) for each in families] == [
        (name, "gauge", unit, about) for name, (unit, about) in METRICS.items()
    ]


def test_collectors_of_the_older_format_read_the_same() -> None:
    shown = openmetrics(Report.of(analysis(), result()))
    newer = {graph.name: len(graph.samples) for graph in text_string_to_metric_families(shown)}
    assert newer == {graph.name: len(graph.samples) for graph in older_text_to_metric_families(shown)}


@given(texts_of_a_cluster())
def test_labels_come_back_whatever_they_are(cluster: str) -> None:
    shown = openmetrics(Report(plan=PrunePlan(cluster=cluster, as_of=NOW, rules={})))
    (graph, *_) = text_string_to_metric_families(shown)
    assert graph.samples[0].labels["cluster"] == printable(cluster)
    assert_inert(shown)


# --- HTML, as text; what a browser makes of it is tested in tests/e2e/test_pages.py -----------------------------------

REFERENCE = 6
"""Where page.js finds the pull spec of an image."""


def content_of(shown: str, name: str = "content") -> dict[str, Any]:
    """What the page's script is given: the list of images, or the `beginning` of it."""
    (packed,) = re.findall(rf'<script type="text/plain" id="{name}">([\w+/=]+)</script>', shown)
    return msgspec.json.decode(gzip.decompress(base64.b64decode(packed)), type=dict[str, Any])


def said_of(content: dict[str, Any], row: list[Any]) -> list[Any]:
    """A row with texts instead of their numbers."""
    texts, (digest, kind, created, size, name, why, reference, named, users, *rest) = content["texts"], row
    revisions = [(texts[tag], number, time, kept, texts[reason]) for tag, number, time, kept, reason in named]
    shown = [texts[name], texts[why], texts[reference], revisions, [texts[user] for user in users]]
    return [digest, kind, created, size, *shown, *rest]


@pytest.mark.parametrize("kept_only", [False, True])
def test_the_page_begins_with_the_largest_rows_of_its_list(monkeypatch: pytest.MonkeyPatch, kept_only: bool) -> None:
    monkeypatch.setattr("pruner.report.html._FIRST", 3)
    report = Report.of(analysis())
    if kept_only:
        report = msgspec.structs.replace(report, plan=PrunePlan(cluster="c", as_of=NOW, rules={}))
    shown = page(report)
    beginning, content = content_of(shown, "beginning"), content_of(shown)
    listed = [row for row in content["images"] if kept_only or row[1] != 1 or not all(named[3] for named in row[7])]
    listed.sort(key=lambda row: -row[3])
    assert len(listed) > (0 if kept_only else 3)
    assert [said_of(beginning, row) for row in beginning["images"]] == [said_of(content, row) for row in listed[:3]]
    assert beginning["all"] is kept_only
    assert beginning["listed"]["rows"] == len(listed)


def test_the_page_loads_nothing() -> None:
    shown = page(Report.of(analysis()))
    assert "default-src 'none'" in shown
    assert not re.findall(r"""(?:src|href|action)=["'](?!#)""", shown)
    assert "url(" not in shown
    assert "@import" not in shown


def test_nothing_of_a_cluster_is_markup_in_the_page() -> None:
    shown = page(hostile())
    assert shown.count("</script>") == 3
    assert "<!--" not in shown
    assert str(escape("<script>alert(1)")) in shown
    assert any("<script>alert(1)" in each for each in content_of(shown)["texts"])


def test_a_pull_spec_comes_without_the_digest_that_its_image_has() -> None:
    found = content_of(page(Report.of(analysis())))
    references = {found["texts"][row[REFERENCE]] for row in found["images"]}
    assert any(each.endswith("@") for each in references)
    assert not [each for each in references if "sha256:" in each]


def test_the_same_report_has_the_same_page() -> None:
    assert page(Report.of(analysis(), result())) == page(Report.of(analysis(), result()))


def test_the_page_of_a_result_names_what_failed() -> None:
    shown = page(Report.of(analysis(), result()))
    assert "Failed (1)" in shown
    assert "Skipped (1)" in shown


def test_the_page_of_a_plan_alone_says_that_the_rest_is_not_known() -> None:
    assert "which does not say what is kept" in page(Report(plan=analysis().plan))


def test_the_page_of_nothing_is_a_page() -> None:
    shown = page(empty())
    assert "Nothing is pruned." in shown
    assert "Nothing is kept." in shown


def test_blobs_without_a_size_are_said_to_have_none() -> None:
    report = Report.of(analysed(image(A, layers=[L1])))
    assert "and 2 blobs of unknown size" in text(report)


def test_every_metric_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(pruner_\w+)` \|.*\| ([^|]+) \|$", text, re.MULTILINE))
    assert documented == {name: about for name, (_, about) in METRICS.items()}
