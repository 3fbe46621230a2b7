"""What one plan prunes that another does not."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path

import msgspec
from click.testing import CliRunner

from pruner.cli import main
from pruner.console import plain_console
from pruner.plan import PrunePlan, encode
from pruner.report.comparison import Difference, as_json, compare, headline, markdown, print_comparison
from tests.builders.objects import A, B, C, D, E, analysed, digest, image, image_stream

BASE, OF_A, OF_B, OF_C, OF_D, OF_LOST = (digest(f"layer {name}") for name in ("base", "a", "b", "c", "d", "lost"))
SIZES = {BASE: 1000, OF_A: 10, OF_B: 20, OF_C: 30, OF_D: 40, OF_LOST: 50}
"""Bytes by blob."""
OBJECTS = (
    image(A, layers=[BASE, OF_A]),
    image(B, layers=[BASE, OF_B]),
    image(C, layers=[BASE, OF_C]),
    image(D, layers=[BASE, OF_D]),
    image(E, layers=[OF_LOST]),
    image_stream("shop/web", latest=[A, B, C]),
    image_stream("data/etl", nightly=[D, C]),
)


def plan_with(revisions: int) -> PrunePlan:
    return analysed(*OBJECTS, revisions=revisions, blob_sizes=SIZES).plan


def total_only_in(plan: PrunePlan, other: PrunePlan) -> int:
    shared = {blob.digest for blob in other.blobs}
    return sum(blob.size or 0 for blob in plan.blobs if blob.digest not in shared)


def test_the_same_plan_twice_has_no_differences() -> None:
    found = compare(plan_with(1), plan_with(1))
    assert found.rows == ()
    assert headline(found) == "Both plans prune the same"


def test_rows_name_the_tags_whose_revisions_only_one_plan_prunes() -> None:
    found = compare(plan_with(1), plan_with(2))
    assert {(row.stream, row.tag): (row.first.revisions, row.second.revisions) for row in found.rows} == {
        ("shop/web", "latest"): (1, 0),
        ("data/etl", "nightly"): (1, 0),
    }
    assert [row.namespace for row in found.by_namespace()] == ["data", "shop"]


def test_the_other_order_of_the_plans_gives_the_mirrored_rows() -> None:
    forward, back = compare(plan_with(0), plan_with(2)), compare(plan_with(2), plan_with(0))
    assert forward.rows
    assert [(row.stream, row.tag, row.first, row.second) for row in forward.rows] == [
        (row.stream, row.tag, row.second, row.first) for row in back.rows
    ]


def test_a_blob_of_several_images_counts_once_so_that_rows_add_up_to_the_difference() -> None:
    first, second = plan_with(0), plan_with(2)
    ours, theirs = compare(first, second).totals
    assert ours.bytes == total_only_in(first, second) > 0
    assert theirs == Difference()
    assert ours.images == len({image.name for image in first.images} - {image.name for image in second.images}) > 0


def test_plans_of_different_clusters_are_noted() -> None:
    found = compare(PrunePlan(cluster="kiel", as_of=plan_with(0).as_of, rules={}), plan_with(0))
    assert found.notes == ("the plans are of different clusters: kiel and test",)


def test_plans_that_were_made_in_the_same_minute_are_told_apart() -> None:
    first = plan_with(0)
    later = msgspec.structs.replace(first, as_of=first.as_of + timedelta(seconds=7))
    assert compare(first, first).notes == ()
    assert compare(first, later).notes == (
        "the plans measure ages at different times: 2026-01-01 12:00:00 UTC and 2026-01-01 12:00:07 UTC",
    )


def test_every_form_shows_the_same_counts() -> None:
    found = compare(plan_with(0), plan_with(2))
    ours = found.totals[0]
    text = io.StringIO()
    print_comparison(found, plain_console(file=text, width=160))
    assert f"{ours.revisions} revisions" in text.getvalue()
    assert f"{ours.revisions} revisions" in markdown(found)
    assert as_json(found)["first"] == {
        "plan": found.first,
        "revisions": ours.revisions,
        "images": ours.images,
        "bytes": ours.bytes,
        "image_streams": 0,
        "retired": 0,
        "retired_bytes": 0,
    }


def test_R36_images_that_only_one_plan_retires_are_a_difference() -> None:
    def retiring(revisions: int) -> PrunePlan:
        return analysed(*OBJECTS, revisions=revisions, blob_sizes=SIZES, grace=timedelta(days=7)).plan

    first, second = retiring(1), retiring(2)
    ours, theirs = compare(first, second).totals
    assert ours.retired == len({it.name for it in first.retired} - {it.name for it in second.retired}) > 0
    assert (ours.images, ours.bytes, theirs) == (0, 0, Difference())
    assert ours.retired_bytes == first.summary.retired_bytes - second.summary.retired_bytes > 0
    assert compare(first, first).rows == ()
    at_once = plan_with(1)
    ours, theirs = compare(first, at_once).totals
    assert (ours.images, ours.retired, ours.retired_bytes) == (0, len(first.retired), first.summary.retired_bytes)
    assert (theirs.images, theirs.retired, theirs.bytes) == (len(at_once.images), 0, at_once.summary.bytes)
    text = io.StringIO()
    print_comparison(compare(first, second), plain_console(file=text, width=160))
    for form in (text.getvalue(), markdown(compare(first, second))):
        assert "retired (" in form
        assert "later)" in form


def test_the_command_reads_two_plan_files(tmp_path: Path) -> None:
    files = []
    for revisions in (0, 2):
        files.append(tmp_path / f"{revisions}.jsonl")
        files[-1].write_bytes(b"".join(encode(plan_with(revisions))))
    done = CliRunner().invoke(main, ["compare", *map(str, files), "--json"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.output)["tags"]) == 2


def test_a_file_that_is_no_plan_ends_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    file.write_text("{}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["compare", str(file), str(file)])
    assert done.exit_code == 1
    assert len(done.output.splitlines()) == 1
    assert str(file) in done.output
