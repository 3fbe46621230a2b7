"""Runs with retention rules: what is written, in which order,
and what survives whatever happens at any write (R29 to R35).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pruner.errors import PrunerError
from sandbox.builder import Builder, noise
from sandbox.kinds import IMAGE_STREAMS
from tests.component.conftest import SavedCluster
from tests.conftest import Tried
from tests.pruning import applied, broken_images, end_state, plan, prune, settings_for
from tests.races import DELETIONS, pushes_at_every_write, run_with
from tests.servers import RunningSandbox, copied, running_sandbox
from tests.small_clusters import SMALL, settings_of

APP = "shop/app"
STREAM = "/apis/image.openshift.io/v1/namespaces/shop/imagestreams/app"


def tags(sandbox: RunningSandbox) -> set[str]:
    return {tag["tag"] for tag in sandbox.stream(APP)["status"]["tags"]}


def spec_tags(sandbox: RunningSandbox) -> set[str]:
    return {tag["name"] for tag in sandbox.stream(APP)["spec"].get("tags") or ()}


def writes(sandbox: RunningSandbox) -> list[tuple[str, str]]:
    requests = [(it["method"], it["path"].partition("?")[0]) for it in sandbox.requests() if it["status"] == 200]
    return [(method, path) for method, path in requests if method in ("PUT", "DELETE") and "/imagestreams" in path]


def started(saved_cluster: SavedCluster, tmp_path: Path) -> Any:
    return running_sandbox(copied(saved_cluster("retention").folder, tmp_path / "cluster"))


def test_R32_expired_tags_leave_spec_first_and_then_status(saved_cluster: SavedCluster, tmp_path: Path) -> None:
    with started(saved_cluster, tmp_path) as sandbox:
        settings = settings_for(sandbox, **settings_of("retention"))
        assert spec_tags(sandbox) == {"pr-1", "pr-2"}
        result = prune(settings)
        assert result.failures == []
        signature = next(tag for tag in tags(sandbox) if tag.startswith("sha256-"))
        assert tags(sandbox) == {"pr-3", "pr-5", signature}
        assert signature[7:71] == sandbox.history(f"{APP}:pr-5")[0].removeprefix("sha256:")
        assert spec_tags(sandbox) == set()
        assert [write for write in writes(sandbox) if write[1].startswith(STREAM)] == [
            ("PUT", STREAM),
            ("PUT", f"{STREAM}/status"),
        ]
        assert result.summary.spec_tags == 2
        assert plan(settings).empty
        assert broken_images(sandbox) == []


def test_R34_an_empty_image_stream_is_deleted_and_a_young_one_stays(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    with started(saved_cluster, tmp_path) as sandbox:
        result = prune(settings_for(sandbox, **settings_of("retention")))
        names = {each["metadata"]["name"] for each in sandbox.items("/apis/image.openshift.io/v1/imagestreams")}
        assert names >= {"app", "lib", "new"}
        assert "empty" not in names
        assert result.deleted_image_streams == ["shop/empty"]


def test_R34_an_image_stream_that_has_a_tag_when_it_is_deleted_stays(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    async def push(cluster: Builder) -> None:
        await cluster.push("shop/empty:late", layers=[noise("late", SMALL)])

    with started(saved_cluster, tmp_path) as sandbox:
        settings = settings_for(sandbox, workers=1, **settings_of("retention"))
        wanted = plan(settings)
        assert [each.stream for each in wanted.empty_streams] == ["shop/empty"]
        result = asyncio.run(run_with(sandbox, settings, wanted, 1, push))
        assert result is not None
        assert result.deleted_image_streams == []
        assert sandbox.history("shop/empty:late") != []
        assert any("shop/empty" in skipped.what for skipped in result.skipped)


async def touch(cluster: Builder, stream: str) -> None:
    """What anybody may do at any time: annotate an image stream, which gives it another resourceVersion."""
    found = await cluster.get(IMAGE_STREAMS, stream)
    found["metadata"].setdefault("annotations", {})["touched"] = "yes"
    namespace, _, name = stream.partition("/")
    await cluster.request("PUT", cluster.url(IMAGE_STREAMS, namespace, name), found)


@pytest.mark.parametrize("stream", [APP, "shop/empty"])
def test_R32_an_image_stream_that_changes_at_any_write_is_decided_again(
    stream: str, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases, conflicts = saved_cluster("retention"), 0, 0
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        for write in range(1, 1000):
            sandbox.restore(saved.folder)
            first = settings_for(sandbox, workers=1, **settings_of("retention"))
            wanted = plan(first)
            settings = settings_for(sandbox, as_of=wanted.as_of.isoformat(), **settings_of("retention"))
            sandbox.forget_requests()
            result = asyncio.run(run_with(sandbox, first, wanted, write, lambda cluster: touch(cluster, stream)))
            if result is None:
                break
            cases += 1
            conflicts += sum(it["status"] == 409 and "/imagestreams/" in it["path"] for it in sandbox.requests())
            assert result.failures == [], f"changed before write {write}"
            assert broken_images(sandbox) == [], f"changed before write {write}"
            # An image stream that is to be deleted and has changed is left to the next run.
            assert prune(settings).failures == [], f"changed before write {write}"
            assert end_state(sandbox) == saved.end, f"changed before write {write}"
            assert plan(settings).empty, f"changed before write {write}"
    assert cases > 8
    assert conflicts >= (2 if stream == APP else 1)
    tried(cases, f"writes at which {stream} was changed by somebody, of which {conflicts} were conflicts")


def test_R32_a_conflict_at_any_write_loses_nothing_and_the_next_run_finishes(
    saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster("retention"), 0
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        for write in range(1, 1000):
            sandbox.restore(saved.folder)
            first = settings_for(sandbox, workers=1, **settings_of("retention"))
            wanted = plan(first)
            kept = set(sandbox.images()) - {image.name for image in wanted.images}
            settings = settings_for(sandbox, as_of=wanted.as_of.isoformat(), **settings_of("retention"))
            rule = sandbox.add_fault({"status": 409}, method="PUT|DELETE", path=DELETIONS, first=write, last=write)
            with suppress(PrunerError):
                asyncio.run(applied(first, wanted))
            if not sandbox.fired(rule):
                break
            cases += 1
            sandbox.clear_faults()
            assert broken_images(sandbox) == [], f"conflict at write {write}"
            assert kept <= set(sandbox.images()), f"conflict at write {write}"
            assert prune(settings).failures == [], f"conflict at write {write}"
            assert end_state(sandbox) == saved.end, f"conflict at write {write}"
            assert plan(settings).empty, f"conflict at write {write}"
    assert cases > 8
    tried(cases, "writes that were answered with a conflict")


def test_R32_a_push_to_an_expiring_tag_at_any_write_survives_with_its_tag(
    saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster("retention"), 0
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        layers = [noise("base", SMALL), noise("pr 1", SMALL)]
        for pushed in pushes_at_every_write(sandbox, saved.folder, "retention", f"{APP}:pr-1", layers):
            cases += 1
            assert sandbox.history(f"{APP}:pr-1")[:1] == [pushed.digest], f"pushed before write {pushed.write}"
    assert cases > 8
    tried(cases, "writes at which an expiring tag was pushed to")
