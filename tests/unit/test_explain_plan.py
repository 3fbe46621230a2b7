"""Explanations by a plan's file: what the plan says about a name, of whole files only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pruner.analysis import Analysis
from pruner.cli import main
from pruner.cluster.objects import Registry
from pruner.errors import PrunerError, UnsafePlanError
from pruner.explain import UnknownNameError, explain
from pruner.explain_plan import PlanExplanation, explain_plan, lines
from pruner.plan import encode
from pruner.reasons import BeyondNewest
from pruner.report.jsonl import encode_report
from tests.builders.objects import (
    HOST,
    L1,
    L2,
    A,
    B,
    C,
    D,
    E,
    F,
    analysed,
    deployment,
    digest,
    image,
    image_stream,
)

WEB = f"{HOST}/shop/web"
OLD = digest("old")


def analysis() -> Analysis:
    """`shop/web` keeps one revision of two, `shop/db` names an Image that is absent, and C is named by nothing."""
    return analysed(
        image(A, layers=[L1], size=1000, repository="shop/web"),
        image(B, layers=[L1, L2], size=2000, repository="shop/web"),
        image(C, size=3000, repository="shop/gone"),
        image_stream("shop/web", latest=[A, B]),
        image_stream("shop/db", latest=[D, F]),
        deployment("shop/web", f"{WEB}@{A}"),
        registry=Registry("https://registry"),
        blob_sizes={L1: 10, L2: 20},
        revisions=1,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.jsonl"
    path.write_bytes(b"".join(encode_report(analysis())))
    return path


def reasons(found: PlanExplanation) -> list[tuple[str, int, type]]:
    return [(each.tag, each.revision, type(each.decision.reason)) for each in found.revisions]


@pytest.mark.parametrize("reference", [B, f" {B}\n", B[:20], B.removeprefix("sha256:"), f"{WEB}@{B}", f"x.io/a/b@{B}"])
def test_a_digest_stands_for_its_image_and_revisions(file: Path, reference: str) -> None:
    found = explain_plan(file, reference)
    assert found.what == "an Image that the plan deletes, of 2,000 bytes"
    assert found.digest == B
    assert found.decision is not None
    assert not found.decision.kept
    assert reasons(found) == [("shop/web:latest", 1, BeyondNewest)]
    assert L2 in found.pruned_blobs
    assert L1 not in found.pruned_blobs


def test_an_image_that_is_kept_is_explained_with_its_users(file: Path) -> None:
    found = explain_plan(file, A)
    assert found.what == "an Image that is kept, of 1,000 bytes"
    assert found.decision is not None
    assert found.decision.kept
    assert found.used_by == ("Deployment shop/web",)


@pytest.mark.parametrize("reference", ["shop/web:latest", WEB, f"{WEB}:latest", "shop/web"])
def test_a_tag_and_a_stream_stand_for_all_their_revisions(file: Path, reference: str) -> None:
    found = explain_plan(file, reference)
    assert [(tag, number) for tag, number, _ in reasons(found)] == [("shop/web:latest", 0), ("shop/web:latest", 1)]
    assert [each.decision.kept for each in found.revisions] == [True, False]
    assert found.revisions[0].used_by == ("Deployment shop/web",)


def test_the_decisions_are_those_that_the_cluster_is_explained_with(file: Path) -> None:
    for reference in (A, B, C, D, "shop/web:latest", "shop/db:latest", "shop/web"):
        here, there = explain_plan(file, reference), explain(analysis(), reference)
        assert (here.decision and here.decision.reason) == (there.decision and there.decision.reason)
        assert [(each.tag, each.revision, each.decision.reason) for each in here.revisions] == [
            (each.tag, each.revision, each.decision.reason) for each in there.revisions
        ]
        assert here.revisions or here.decision


def test_a_blob_stands_for_the_images_that_it_goes_with(file: Path) -> None:
    found = explain_plan(file, L2)
    assert found.what == "a blob that the plan deletes"
    assert found.blob is not None
    assert (found.blob.pruned, found.blob.needed_by) == (True, (B,))


@pytest.mark.parametrize("reference", [E, L1, "shop/other", "shop/web:v9", "sha256:0123456789"])
def test_what_the_plan_does_not_decide_is_said_with_the_way_to_ask_a_cluster(file: Path, reference: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        explain_plan(file, reference)
    assert f"the plan has no decision about {reference!r}" in str(raised.value)
    assert f"`pruner explain {reference}` without --plan" in str(raised.value)


def test_a_beginning_of_several_digests_is_refused(file: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"begins [0-9]+ digests"):
        explain_plan(file, "sha256:")


@pytest.mark.parametrize("reference", ["a/b/c:d:e", "quay.io/tool:v1", "@"])
def test_what_is_no_name_is_refused(file: Path, reference: str) -> None:
    with pytest.raises(UnknownNameError):
        explain_plan(file, reference)


def test_a_plan_alone_says_that_it_does_not_hold_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_bytes(b"".join(encode(analysis().plan)))
    assert "the file does not hold what is kept" in "\n".join(lines(explain_plan(path, B)))
    with pytest.raises(UnknownNameError, match="and the file does not hold what is kept"):
        explain_plan(path, A)


def test_a_file_that_is_cut_or_edited_is_refused_wherever_that_is(file: Path) -> None:
    whole = file.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(whole):
        file.write_bytes(b"".join(whole[:number] + whole[number + 1 :]))
        with pytest.raises(UnsafePlanError):
            explain_plan(file, B)
        if b'"line":"end"' in line:
            break
        file.write_bytes(b"".join([*whole[:number], line.replace(b":", b": ", 1), *whole[number + 1 :]]))
        with pytest.raises(UnsafePlanError, match=r"was edited|is not"):
            explain_plan(file, B)
    assert number > 4
    file.write_bytes(b"".join(whole[:-1]))
    with pytest.raises(UnsafePlanError, match="is truncated after its plan"):
        explain_plan(file, B)


@pytest.mark.parametrize("content", ["", "{}", '{"line":"end","format":"pruner plan","version":4}\n'])
def test_a_file_of_anything_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UnsafePlanError):
        explain_plan(path, B)


def test_the_command_asks_no_cluster_and_writes_text_and_json(file: Path) -> None:
    done = CliRunner().invoke(main, ["explain", B, "--plan", str(file), "--host", "https://nobody.invalid"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{B}\n  an Image that the plan deletes")
    assert "run `pruner explain" in done.output
    done = CliRunner().invoke(main, ["explain", "shop/web", "--plan", str(file), "--json"])
    assert json.loads(done.output)["plan"] == analysis().plan.fingerprint
    missing = CliRunner().invoke(main, ["explain", B, "--plan", str(file.parent / "other")])
    assert missing.exit_code == 1
    assert isinstance(missing.exception, SystemExit | PrunerError)
    assert "cannot be read: No such file" in f"{missing.exception}{missing.output}{missing.stderr}"
