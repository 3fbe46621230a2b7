"""Retirement, deletion after the grace period, and restoration, disturbed at every write (R36, R37).

Whatever interrupts a run, what it has left without a name can be brought back whole: it has its record, its blobs, and
its links in every repository that named it. The number of cases is printed: every write of a run, or so many of them
that are spread evenly.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pruner.errors import PrunerError
from pruner.restore import Choice, NotRetiredError
from pruner.settings import Settings
from tests.component.conftest import SavedCluster
from tests.component.test_sandbox_registry import pull
from tests.conftest import Tried
from tests.pruning import (
    applied,
    bring_back,
    broken_images,
    end_state,
    missing_of,
    plan,
    prune,
    records,
    restoring,
    settings_for,
    with_members,
)
from tests.servers import RunningSandbox, copied, running_sandbox
from tests.small_clusters import SEEDS, settings_of

WRITES = "PUT|POST|PATCH|DELETE"
NOT_REVIEWS = "^(?!/apis/authorization)"
GRACE = 1
CLUSTERS = ("undo", "retention", f"seed {SEEDS[0]}")
FAULTS: dict[str, dict[str, Any]] = {
    "409": {"status": 409},
    "500 once": {"status": 500},
    "lost answer": {"drop": "after"},
}
LATER = 120
"""Seconds: longer than the grace period, and than the lease of a run that was killed."""
MOST = 12
"""Writes at which one run is disturbed; of more, so many are taken evenly, with the first and the last."""


def settings(sandbox: RunningSandbox, cluster: str, **more: Any) -> Settings:
    return settings_for(sandbox, **{**settings_of(cluster), "grace": GRACE, **more})


def positions(sandbox: RunningSandbox) -> list[int]:
    """The numbers of the writes at which a run is disturbed that wrote as the sandbox saw it since it has forgotten."""
    count = sum(
        entry["method"] in WRITES.split("|") and re.search(NOT_REVIEWS, entry["path"]) is not None
        for entry in sandbox.requests()
    )
    assert count > 5
    return sorted({1 + (count - 1) * number // (MOST - 1) for number in range(MOST)})


def killed(sandbox: RunningSandbox, write: int, work: Callable[[], object], *, action: Any = None) -> bool:
    """Do the work in a process that is killed while its n-th write is
    held back; False when there are fewer writes than that.
    """
    rule = sandbox.add_fault(action or {"hang": True}, method=WRITES, path=NOT_REVIEWS, first=write, last=write)

    def run() -> None:
        try:
            work()
        finally:
            sandbox.clear_faults()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    held = sandbox.has_fired(rule)
    process.kill()
    process.join()
    sandbox.clear_faults()
    return held


def named(sandbox: RunningSandbox) -> dict[str, set[str]]:
    """The image streams that name each image."""
    found: dict[str, set[str]] = {}
    for stream in sandbox.items("/apis/image.openshift.io/v1/imagestreams"):
        name = f"{stream['metadata']['namespace']}/{stream['metadata']['name']}"
        for tag in stream["status"].get("tags") or ():
            for item in tag.get("items") or ():
                found.setdefault(item["image"], set()).add(name)
    return found


def not_restorable(sandbox: RunningSandbox, before: dict[str, set[str]]) -> list[str]:
    """What could not be brought back of images that were named `before`, and are not named any more."""
    images, now, found = sandbox.images(), named(sandbox), records(sandbox)
    problems = []
    for image in sorted(before.keys() & images.keys()):
        if image in with_members(set(now), images):
            continue
        recorded = {each["stream"] for each in found.get(image, {}).get("revisions", [])}
        if recorded != before[image]:
            problems.append(f"{image}: recorded in {recorded} and was named by {before[image]}")
        for stream in sorted(recorded):
            for each in sorted(with_members({image}, images) & images.keys()):
                problems += [f"{stream}@{each}: {what}" for what in missing_of(sandbox, stream, images[each])]
    return problems


# --- retire -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_R36_a_run_killed_at_any_write_leaves_nothing_without_its_record(
    cluster: str, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster(cluster), 0
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        before = named(sandbox)
        unlinked = set(not_whole(sandbox))
        sandbox.forget_requests()
        prune(settings(sandbox, cluster, workers=1))
        end, writes = end_state(sandbox), positions(sandbox)
        assert records(sandbox)
        # An image that is used by digest alone keeps its blobs, and is not retired.
        unlinked |= set(not_restorable(sandbox, before))
        for write in writes:
            sandbox.restore(saved.folder)
            first = settings(sandbox, cluster, workers=1)
            wanted = plan(first)
            if not killed(sandbox, write, lambda first=first, wanted=wanted: asyncio.run(applied(first, wanted))):  # type: ignore[misc]
                break
            cases += 1
            assert set(not_restorable(sandbox, before)) <= unlinked, f"after the kill at write {write}"
            assert saved.broken.issuperset(broken_images(sandbox)), f"after the kill at write {write}"
            # Longer than the lease of the killed run, and not longer than the grace period.
            sandbox.advance_clock(70)
            later = settings(sandbox, cluster, as_of=wanted.as_of.isoformat(), grace=10)
            assert prune(later).failures == []
            assert end_state(sandbox) == end, f"after the kill at write {write}"
            assert plan(later).empty, f"after the kill at write {write}"
            assert set(not_restorable(sandbox, before)) <= unlinked, f"after the run that followed the kill at {write}"
    assert cases >= len(writes) - 1 > 5
    tried(cases, f"writes on cluster {cluster} at which a run that retires was killed")


def not_whole(sandbox: RunningSandbox) -> list[str]:
    """What is not whole from the beginning: an image stream that only names an image of another one links nothing."""
    images = sandbox.images()
    return [
        f"{stream}@{each}: {what}"
        for image, streams in named(sandbox).items()
        for stream in streams
        for each in with_members({image}, images) & images.keys()
        for what in missing_of(sandbox, stream, images[each])
    ]


@pytest.mark.parametrize("cluster", ["undo"])
@pytest.mark.parametrize("fault", FAULTS)
def test_R36_a_fault_at_any_write_leaves_nothing_without_its_record(
    fault: str, cluster: str, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster(cluster), 0
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        before = named(sandbox)
        unlinked = set(not_whole(sandbox))
        sandbox.forget_requests()
        prune(settings(sandbox, cluster, workers=1))
        end, writes = end_state(sandbox), positions(sandbox)
        assert not_restorable(sandbox, before) == []
        for write in writes:
            sandbox.restore(saved.folder)
            first = settings(sandbox, cluster, workers=1)
            wanted = plan(first)
            rule = sandbox.add_fault(FAULTS[fault], method=WRITES, path=NOT_REVIEWS, first=write, last=write)
            with suppress(PrunerError):
                asyncio.run(applied(first, wanted))
            if not sandbox.fired(rule):
                break
            cases += 1
            sandbox.clear_faults()
            sandbox.advance_clock(70)
            assert set(not_restorable(sandbox, before)) <= unlinked, f"after {fault} at write {write}"
            later = settings(sandbox, cluster, as_of=wanted.as_of.isoformat(), grace=10)
            assert prune(later).failures == []
            assert end_state(sandbox) == end, f"after {fault} at write {write}"
            assert plan(later).empty, f"after {fault} at write {write}"
    assert cases >= len(writes) - 1 > 5
    tried(cases, f"writes on cluster {cluster} that ended with {fault} in a run that retires")


# --- delete after grace -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_R36_a_run_that_deletes_after_the_grace_period_can_be_killed_at_any_write(
    cluster: str, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster(cluster), 0
    with running_sandbox(copied(saved.folder, tmp_path / "first")) as sandbox:
        prune(settings(sandbox, cluster))
    retired = copied(tmp_path / "first", tmp_path / "retired")
    with running_sandbox(copied(retired, tmp_path / "cluster")) as sandbox:
        sandbox.advance_clock(LATER)
        sandbox.forget_requests()
        prune(settings(sandbox, cluster, workers=1))
        end, writes = end_state(sandbox), positions(sandbox)
        assert not records(sandbox)
        for write in writes:
            sandbox.restore(retired)
            sandbox.advance_clock(LATER)
            first = settings(sandbox, cluster, workers=1)
            wanted = plan(first)
            assert wanted.images
            assert not wanted.retired
            if not killed(sandbox, write, lambda first=first, wanted=wanted: asyncio.run(applied(first, wanted))):  # type: ignore[misc]
                break
            cases += 1
            assert saved.broken.issuperset(broken_images(sandbox)), f"after the kill at write {write}"
            sandbox.advance_clock(LATER)
            assert prune(settings(sandbox, cluster)).failures == []
            assert saved.broken.issuperset(broken_images(sandbox)), f"after the kill at write {write}"
            assert end_state(sandbox) == end, f"after the kill at write {write}"
            assert plan(settings(sandbox, cluster)).empty, f"after the kill at write {write}"
    assert cases >= len(writes) - 1 > 5
    tried(cases, f"writes on cluster {cluster} at which a run that deletes retired images was killed")


# --- restore ----------------------------------------------------------------------------------------------------------


def everything(sandbox: RunningSandbox) -> Choice:
    return Choice(names=tuple(name for name, record in sorted(records(sandbox).items()) if record.get("revisions")))


@pytest.mark.parametrize(
    ("fault", "cluster"), [*(("kill", cluster) for cluster in CLUSTERS), *((fault, "undo") for fault in FAULTS)]
)
def test_R37_a_restoration_disturbed_at_any_write_is_finished_by_the_same_command(
    fault: str, cluster: str, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster(cluster), 0
    with running_sandbox(copied(saved.folder, tmp_path / "first")) as sandbox:
        before = end_state(sandbox)
        histories = {key: json.loads(before)[key] for key in ("histories", "images")}
        spec_tags = json.loads(before)["spec_tags"]
        prune(settings(sandbox, cluster))
    retired = copied(tmp_path / "first", tmp_path / "retired")
    with running_sandbox(copied(retired, tmp_path / "cluster")) as sandbox:
        choice = everything(sandbox)
        assert choice.names
        sandbox.forget_requests()
        found = asyncio.run(restoring(settings(sandbox, cluster, workers=1), choice))
        assert found.complete
        end, writes = end_state(sandbox), positions(sandbox)
        if cluster == "undo":
            # All that the run had removed was of retired images, so everything is as it was.
            assert {key: json.loads(end)[key] for key in histories} == histories
            assert sorted(map(str, json.loads(end)["spec_tags"].values())) == sorted(map(str, spec_tags.values()))
        for write in writes:
            sandbox.restore(retired)
            one = settings(sandbox, cluster, workers=1)
            if fault == "kill":
                if not killed(sandbox, write, lambda one=one: asyncio.run(restoring(one, choice))):  # type: ignore[misc]
                    break
                sandbox.advance_clock(70)
            else:
                rule = sandbox.add_fault(FAULTS[fault], method=WRITES, path=NOT_REVIEWS, first=write, last=write)
                with suppress(PrunerError):
                    asyncio.run(restoring(one, choice))
                if not sandbox.fired(rule):
                    break
                sandbox.clear_faults()
                sandbox.advance_clock(70)
            cases += 1
            assert saved.broken.issuperset(broken_images(sandbox)), f"after {fault} at write {write}"
            assert asyncio.run(restoring(settings(sandbox, cluster), choice)).complete, (
                f"after {fault} at write {write}"
            )
            assert end_state(sandbox) == end, f"after {fault} at write {write}"
    assert cases >= len(writes) - 1 > 5
    tried(cases, f"writes on cluster {cluster} at which a restoration met with {fault}")


def test_R37_a_run_after_a_restoration_that_was_killed_deletes_nothing_of_it(
    saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster("undo"), 0
    with running_sandbox(copied(saved.folder, tmp_path / "first")) as sandbox:
        prune(settings(sandbox, "undo", grace=60))
    retired = copied(tmp_path / "first", tmp_path / "retired")
    with running_sandbox(copied(retired, tmp_path / "cluster")) as sandbox:
        choice = everything(sandbox)
        sandbox.forget_requests()
        asyncio.run(restoring(settings(sandbox, "undo", workers=1), choice))
        end, writes = end_state(sandbox), positions(sandbox)
        for write in writes:
            sandbox.restore(retired)
            one = settings(sandbox, "undo", workers=1)
            if not killed(sandbox, write, lambda one=one: asyncio.run(restoring(one, choice))):  # type: ignore[misc]
                break
            cases += 1
            sandbox.advance_clock(LATER)
            # By the shorter grace of this run what was not marked is deleted, and nothing that is back or marked.
            assert prune(settings(sandbox, "undo", grace=60)).failures == []
            assert saved.broken.issuperset(broken_images(sandbox)), f"after the kill at write {write}"
            assert asyncio.run(restoring(settings(sandbox, "undo"), choice)).complete
            assert end_state(sandbox) == end, f"after the kill at write {write}"
    assert cases >= len(writes) - 1 > 5
    tried(cases, "writes at which a restoration was killed before a run")


def test_R37_restored_images_are_pulled_whole_with_members_and_signatures(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        history = sandbox.history("shop/app:latest")
        index = history[1]
        assert sandbox.images()[index].get("dockerImageManifests")
        signature = f"{index.replace(':', '-')}.sig"
        pruned = settings(sandbox, "undo")
        prune(pruned)
        assert sandbox.history("shop/app:latest") == history[:1]
        # OpenShift's registry serves only what the stream names; the sandbox serves by digest whatever is linked.
        assert pull(sandbox, f"shop/app:{signature}", tmp_path / "early", "--all").returncode != 0
        found = bring_back(pruned, index)
        assert found.complete
        assert {row.tag for row in found.rows} == {"shop/app:latest", f"shop/app:{signature}"}
        assert sandbox.history("shop/app:latest") == history[:2]
        for ref, into in ((f"shop/app@{index}", "index"), (f"shop/app:{signature}", "signature")):
            done = pull(sandbox, ref, tmp_path / into, "--all")
            assert done.returncode == 0, done.stderr
        # Restored images are safe for one grace period, and then retired again.
        assert plan(pruned).empty
        sandbox.advance_clock(LATER)
        assert index in {image.name for image in plan(settings(sandbox, "undo", grace=10)).retired}


def test_R37_a_tag_that_has_moved_on_gets_the_revision_below_the_current_one(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        old = sandbox.history("shop/app:pr-1")
        prune(settings(sandbox, "undo"))

        async def push() -> str:
            async with sandbox.builder() as cluster:
                return await cluster.push("shop/app:pr-1", layers=[b"moved on"])

        sandbox.advance_clock(2)
        new = asyncio.run(push())
        found = bring_back(settings(sandbox, "undo"), "shop/app:pr-1")
        assert [row.note for row in found.rows if row.tag == "shop/app:pr-1"] == [
            "below the current revision, since the tag has moved; with its entry in spec.tags"
        ]
        assert sandbox.history("shop/app:pr-1") == [new, *old]


def test_R37_what_is_not_retired_is_refused_with_what_is_near_and_nothing_is_written(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        given = settings(sandbox, "undo")
        current = sandbox.history("shop/app:latest")[0]
        prune(given)
        sandbox.forget_requests()
        for name, why in (
            ("shop/app:pr-11", "none of its revisions is retired"),
            ("shop/none:v1", "there is no such image stream"),
            ("shop/app:pr-2", "the tag is there, and none of its revisions is retired"),
            (current, "is not retired"),
            (f"sha256:{'0' * 64}", "it was deleted, or never was in this cluster"),
            ("what", "is neither a digest nor namespace/stream:tag"),
        ):
            with pytest.raises(NotRetiredError, match=why):
                bring_back(given, name)
        with pytest.raises(NotRetiredError, match=r"retired near it: shop/app:pr-1"):
            bring_back(given, "shop/app:pr-11")
        assert [it for it in sandbox.requests() if it["method"] not in ("GET",)] == []


def test_R37_a_deleted_image_stream_is_named_and_what_else_was_chosen_comes_back(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        given = settings(sandbox, "undo")
        run = plan(given).fingerprint
        prune(given)
        sandbox.call("DELETE", "/apis/image.openshift.io/v1/namespaces/shop/imagestreams/copy")
        dry = bring_back(given, run=run, dry_run=True)
        found = bring_back(given, run=run)
        assert not found.complete
        assert {row.tag: row.note for row in found.rows if row.outcome == "impossible"} == {
            "shop/copy:latest": "its image stream was deleted; create it again, then restore"
        }
        assert [row.outcome for row in dry.rows] == [row.outcome for row in found.rows]
        assert {row.outcome for row in found.rows} == {"impossible", "restored"}
        assert broken_images(sandbox) == []


def test_R37_a_permission_that_is_missing_is_named_before_anything_is_written(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        prune(settings(sandbox, "undo"))
        state = end_state(sandbox)
        reader = settings_for(sandbox, user="viewer")
        with pytest.raises(PrunerError, match=r"no permission to patch images\.image\.openshift\.io"):
            bring_back(reader, "shop/app:pr-1")
        assert any("it would be refused" in note for note in bring_back(reader, "shop/app:pr-1", dry_run=True).notes)
        assert end_state(sandbox) == state
