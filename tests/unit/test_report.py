"""The report as a value, and as a file: rows, sums, round trip, and what a reader refuses."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from pruner.analysis import Analysis
from pruner.apply.result import Failure, Result, Skipped
from pruner.cluster.objects import Registry
from pruner.errors import UnsafePlanError
from pruner.files import lines_of
from pruner.plan import decode, encode
from pruner.report import Report
from pruner.report.decisions import InUse
from pruner.report.expired import retention_sums
from pruner.report.jsonl import decode_report, encode_again, encode_report, encode_result, read_report, read_touched
from pruner.report.rows import NO_STREAM, stream_sums
from tests.builders.objects import (
    L1,
    L2,
    L3,
    A,
    B,
    C,
    D,
    E,
    F,
    analysed,
    deployment,
    image,
    image_stream,
    index,
    item,
    pod,
)

DAY = 24 * 60
HOST = "registry:5000"


def analysis() -> Analysis:
    """A goes with a revision, B and C share a layer and were in no stream, D is in use, E is young, F is absent."""
    return analysed(
        image(A, layers=[L1], repository="shop/web", size=400),
        image(B, layers=[L2], repository="shop/api", age=400 * DAY),
        image(C, layers=[L2], repository="shop/web", age=400 * DAY),
        image(D, layers=[L3], repository="shop/web", age=2 * DAY, size=30),
        image(E, age=5),
        image_stream("shop/web", latest=[D, A, F]),
        deployment("shop/web", f"{HOST}/shop/web:latest"),
        registry=Registry("https://registry.example.com"),
        blob_sizes={L1: 100, L2: 20, L3: 30},
    )


def result() -> Result:
    return Result(
        deleted_images=[{"metadata": {"name": A}, "dockerImageReference": "x"}],
        updated_image_streams=[{"metadata": {"name": "web", "namespace": "shop"}}],
        deleted_blobs={L1: 100, A: None},
        deleted_links=[("shop/web", "layer", L1)],
        removed_revisions=2,
        skipped=[Skipped(f"image {B}", "used again")],
        failures=[Failure(f"image {C}", "500 Internal Server Error")],
    )


def rows(report: Report) -> dict[str, tuple[bool, str, int]]:
    return {row.digest: (row.reason.kept, row.home, row.freed) for row in report.images}


# --- the value -------------------------------------------------------------------------------------------------------


def test_every_digest_is_a_row_under_the_stream_that_it_belongs_to() -> None:
    assert rows(Report.of(analysis())) == {
        A: (False, "shop/web", 100),
        B: (False, "shop/api", 20),
        C: (False, "shop/web", 20),
        F: (False, "shop/web", 0),
        D: (True, "shop/web", 0),
        E: (True, "", 0),
    }


def test_what_goes_stands_before_what_stays_and_the_largest_first() -> None:
    order = [row.digest for row in Report.of(analysis()).images]
    assert order[0] == A
    assert set(order[1:4]) == {B, C, F}
    assert order[4:] == [D, E]


def test_sums_by_stream_count_a_shared_blob_once() -> None:
    sums = {each.stream: (each.images, each.revisions, each.bytes) for each in Report.of(analysis()).streams}
    assert sums == {"shop/web": (2, 2, 100), "shop/api": (1, 0, 20)}


def test_what_is_in_no_stream_has_a_sum_of_its_own() -> None:
    found = Report.of(analysed(image(A, layers=[L1]), blob_sizes={L1: 7}))
    assert [(each.stream, each.images, each.bytes) for each in found.streams] == [(NO_STREAM, 1, 7)]


@pytest.mark.parametrize("whole", [True, False], ids=["of an analysis", "of a plan alone"])
def test_the_sums_are_what_the_plan_frees(*, whole: bool) -> None:
    found = analysis()
    report = Report.of(found) if whole else Report(plan=found.plan)
    assert sum(each.bytes for each in report.streams) == found.plan.summary.bytes == 120
    assert sum(each.images for each in report.streams) == 3
    assert sum(each.revisions for each in report.streams) == 2
    assert whole or report.streams == stream_sums(found.plan)


def test_ages_count_what_goes_and_what_stays() -> None:
    ages = {each.label: (each.pruned, each.kept) for each in Report.of(analysis()).ages if each.pruned or each.kept}
    assert ages == {"under a day": (0, 1), "1 to 7 days": (0, 1), "30 to 90 days": (1, 0), "1 to 2 years": (2, 0)}


def test_what_keeps_the_rest_is_counted_by_rule() -> None:
    counts = {(each.rule, each.why): (each.images, each.revisions) for each in Report.of(analysis()).kept_by}
    assert counts == {
        ("R22", "named by an image stream"): (1, 0),
        ("R22", "the image is younger than 60 minutes"): (1, 0),
        ("R15", "the current revision of a referenced tag"): (0, 1),
    }


def test_reasons_with_the_number_of_a_revision_are_counted_together() -> None:
    report = Report.of(analysed(image(A), image(B), image_stream("a/b", latest=[A, B]), revisions=2))
    assert [(each.rule, each.revisions) for each in report.kept_by if each.revisions] == [("R16", 2)]


def test_users_are_known_by_digest_and_by_tag() -> None:
    found = Report.of(
        analysed(
            image(A),
            image(B),
            image_stream("shop/web", latest=[A, B]),
            pod("shop/one", f"{HOST}/shop/web:latest", running=[f"{HOST}/shop/web@{B}"]),
        )
    )
    users = {row.digest: row.used_by for row in found.images}
    assert users == {A: ("Pod shop/one",), B: ("Pod shop/one",)}


def test_a_row_has_all_revisions_that_name_it_with_their_reasons() -> None:
    report = Report.of(analysed(image(A), image_stream("a/b", latest=[A, item(A, 5)]), revisions=0))
    (row,) = report.images
    assert [(named.revision, named.reason.kept) for named in row.named_by] == [(0, False), (1, True)]
    assert row.name == "a/b:latest"


def untagged() -> Analysis:
    """A goes from prod/web:v1, and stays itself, since shop/web:latest names it."""
    return analysed(
        image(A, size=400),
        image_stream("prod/web", v1=[item(A, 50 * DAY)]),
        image_stream("shop/web", latest=[A]),
        deployment("shop/web", f"{HOST}/shop/web:latest"),
    )


def test_an_image_that_stays_and_loses_a_revision_is_among_what_is_touched() -> None:
    report = Report.of(untagged())
    assert report.pruned == []
    (row,) = report.touched
    assert (row.name, row.reason.kept, [named.stream for named in row.losing]) == ("prod/web:v1", True, ["prod/web"])


def test_members_of_indexes_are_rows() -> None:
    report = Report.of(analysed(index(B, [A]), image(A, repository="a/b"), image_stream("a/b", latest=[B])))
    assert {row.digest: row.home for row in report.images} == {A: "a/b", B: "a/b"}


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_report_comes_back_from_its_lines() -> None:
    found = analysis()
    assert decode_report(encode_report(found), "file") == Report.of(found)


def test_a_report_that_was_read_is_written_as_it_was() -> None:
    lines = list(encode_report(analysis()))
    assert list(encode_again(decode_report(lines, "file"))) == lines


def test_a_report_is_a_plan_for_whoever_wants_one() -> None:
    found = analysis()
    assert decode(encode_report(found), "file") == found.plan


def test_a_plan_is_a_report_without_what_stays() -> None:
    found = analysis()
    report = decode_report(encode(found.plan), "file")
    assert report.decisions is None
    assert report.kept_by == ()
    assert {row.digest for row in report.images} == {A, B, C, F}


def test_the_result_keeps_the_decisions_of_the_same_plan(tmp_path: Path) -> None:
    found, path = analysis(), tmp_path / "report.jsonl"
    path.write_bytes(b"".join(encode_report(found)))
    path.write_bytes(b"".join(encode_result(found.plan, result(), path)))
    report = read_report(path)
    assert report.decisions == Report.of(found).decisions
    assert report.outcome == Report.of(found, result()).outcome
    assert report.outcome is not None
    assert report.outcome.deleted == {A}


@pytest.mark.parametrize("earlier", ["missing", "another", "broken"])
def test_the_result_is_written_without_decisions_where_there_are_none_of_its_plan(tmp_path: Path, earlier: str) -> None:
    path = tmp_path / "report.jsonl"
    if earlier == "another":
        path.write_bytes(b"".join(encode_report(analysed(image(B)))))
    if earlier == "broken":
        path.write_text("no plan")
    report = decode_report(encode_result(analysis().plan, result(), path), "file")
    assert report.decisions is None
    assert report.outcome is not None


def test_the_results_line_has_whole_objects() -> None:
    line = json.loads(list(encode_result(analysis().plan, result()))[-1])
    assert line["deleted_images"] == result().deleted_images
    assert line["summary"]["revisions"] == 2


def test_an_outcome_that_was_read_is_written_with_its_names() -> None:
    report = decode_report(encode_result(analysis().plan, result()), "file")
    assert decode_report(encode_again(report), "file") == report


@pytest.mark.parametrize("kept", [True, False])
def test_what_the_plan_touches_is_shown_as_of_the_whole_report(tmp_path: Path, kept: bool) -> None:
    found, path = analysis(), tmp_path / "report.jsonl"
    path.write_bytes(b"".join(encode_report(found) if kept else encode(found.plan)))
    whole, touched = read_report(path), read_touched(path)
    assert len(touched.images) == len(touched.touched) > 3
    assert touched.touched == whole.touched
    assert list(touched.each_touched()) == list(whole.each_touched()) == whole.touched
    assert touched.number_touched == whole.number_touched == len(whole.touched)
    assert touched.streams == whole.streams
    assert touched.kept_by == whole.kept_by
    assert bool(touched.kept_by) is kept
    assert retention_sums(touched, []) == retention_sums(whole, [])
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(UnsafePlanError, match="is truncated"):
        read_touched(path)


def test_lines_that_were_cut_off_are_missed() -> None:
    lines = lines_of(b"".join(encode_report(analysis())))
    with pytest.raises(UnsafePlanError, match="file: is truncated after its plan"):
        decode_report(lines[:-1], "file")


def test_a_line_that_is_none_of_a_report_is_refused() -> None:
    with pytest.raises(UnsafePlanError, match="file: has a line after its plan that does not belong to a report"):
        decode_report([*encode_report(analysis()), b'{"line":"other"}\n'], "file")


def test_an_edited_plan_is_refused() -> None:
    lines = [line.replace(b"shop", b"shot") for line in encode_report(analysis())]
    with pytest.raises(UnsafePlanError, match="was edited"):
        decode_report(lines, "file")


def test_the_same_analysis_gives_the_same_bytes() -> None:
    assert list(encode_report(analysis())) == list(encode_report(analysis()))


def test_uses_are_lines_of_the_file() -> None:
    lines = [line for line in lines_of(b"".join(encode_report(analysis()))) if b'"in use"' in line]
    assert msgspec.json.decode(lines[0], type=InUse) == InUse(D, ("Deployment shop/web",))
