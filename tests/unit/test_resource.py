"""The resource's parts that need no engine: what a preview shows of a plan, where plans are kept, and whose turn it is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pruner.analysis import Analysis
from pruner.apply import Result
from pruner.apply.result import Failure
from pruner.cluster.objects import Registry
from pruner.errors import PrunerError, UnsafePlanError
from pruner.resource.provider import WHOLE, _outputs
from pruner.resource.rendering import LISTED, rendered
from pruner.resource.store import forget_plan, keep_plan, kept_plan
from pruner.resource.turns import turn
from tests.builders.objects import L1, L2, L3, A, B, C, analysed, image, image_stream, index

WAIT = 10
"""Seconds after which a thread that does not come is a failure."""


def made(*, deletes_blobs: bool = True) -> Analysis:
    """A goes with its index B, and shares a layer with C, which stays."""
    return analysed(
        image(A, layers=[L1, L2], repository="shop/web"),
        index(B, [A]),
        image(C, layers=[L2, L3], repository="shop/web"),
        image_stream("shop/web", latest=[C, B]),
        revisions=1,
        registry=Registry("https://registry.example.com", deletes_blobs=deletes_blobs, found="setting"),
        blob_sizes={L1: 1000, A: 500},
    )


# --- what a preview shows ----------------------------------------------------------------------------------------------


def test_an_image_is_shown_with_where_it_came_from_and_what_it_shares() -> None:
    shown = rendered(made().plan)["images"][A]
    assert "from shop/web, 2 blobs, 1.5 kB, shares 1 blob that stays: " in shown


def test_a_manifest_list_is_shown_as_one() -> None:
    assert "a list of 1 manifest, 1 blob, " in rendered(made().plan)["images"][B]


def test_nothing_is_called_shared_where_the_registry_deletes_no_blobs() -> None:
    assert "shares" not in str(rendered(made(deletes_blobs=False).plan))


# --- what is given back ------------------------------------------------------------------------------------------------


def test_results_are_whole_objects_up_to_a_number_and_names_beyond_it() -> None:
    streams = [{"metadata": {"name": f"s{number}", "namespace": "shop"}, "spec": {}} for number in range(WHOLE)]
    images = [{"metadata": {"name": f"sha256:{number}"}} for number in range(WHOLE + 1)]
    outputs = _outputs(Result(deleted_images=images, updated_image_streams=streams))
    assert outputs["updated_image_streams"] == streams
    assert outputs["deleted_images"] == [image["metadata"]["name"] for image in images]
    assert outputs["summary"]["images"] == WHOLE + 1


def test_very_many_failures_are_counted_where_they_are_not_listed() -> None:
    failures = [Failure(f"image {number}", "it is on fire") for number in range(LISTED + 5)]
    outputs = _outputs(Result(failures=failures))
    assert len(outputs["failures"]) == LISTED + 1
    assert outputs["failures"][-1] == {"what": "5 more", "why": "the report has them all"}


# --- where plans are kept ----------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pruner" / "plans"


def test_a_plan_that_two_resources_have_made_is_kept_until_both_have_carried_it_out(cache: Path) -> None:
    analysis = made()
    fingerprint = analysis.plan.fingerprint
    keep_plan(analysis)
    keep_plan(analysis)
    forget_plan(fingerprint)
    assert kept_plan(fingerprint) == analysis.plan
    forget_plan(fingerprint)
    assert list(cache.iterdir()) == []
    with pytest.raises(UnsafePlanError, match="cannot be read"):
        kept_plan(fingerprint)


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        PrunerError, match=r"cache/pruner/plans: cannot be made: Not a directory; let XDG_CACHE_HOME name a folder"
    ):
        keep_plan(made())


# --- whose turn it is --------------------------------------------------------------------------------------------------


def test_a_second_run_against_a_cluster_waits_for_the_first_and_says_so() -> None:
    said = threading.Event()
    done: list[str] = []

    def second() -> None:
        with turn("one", progress=lambda _: said.set(), wish_to_stop=lambda: False):
            done.append("second")

    waiting = threading.Thread(target=second)
    with turn("one", progress=lambda _: None, wish_to_stop=lambda: False):
        waiting.start()
        assert said.wait(WAIT)
        done.append("first")
    waiting.join(WAIT)
    assert done == ["first", "second"]


def test_runs_against_different_clusters_do_not_wait() -> None:
    def never(_message: str) -> None:
        raise AssertionError("it waits")

    with (
        turn("one", progress=never, wish_to_stop=lambda: False),
        turn("two", progress=never, wish_to_stop=lambda: False),
    ):
        pass


def test_who_waits_hears_the_wish_to_stop() -> None:
    raised: list[UnsafePlanError] = []

    def second() -> None:
        try:
            with turn("one", progress=lambda _: None, wish_to_stop=lambda: True):
                raise AssertionError("it was not its turn")
        except UnsafePlanError as error:
            raised.append(error)

    waiting = threading.Thread(target=second)
    with turn("one", progress=lambda _: None, wish_to_stop=lambda: False):
        waiting.start()
        waiting.join(WAIT)
    assert "interrupted" in str(raised[0])
