"""A cluster that lives on while it is pruned: new users and new pushes, at every few writes of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pruner.plan import PrunePlan
from pruner.settings import Settings
from sandbox.builder import noise
from tests.pruning import applied, blob_file, blobs_of, broken_images, plan, prune, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox

HELD = 0.6
"""Seconds for which a write is held back, so that something can happen before it."""
POINTS = range(1, 130, 6)
HALVES = (0, 1)

Happening = Callable[[RunningSandbox], Coroutine[Any, Any, None]]


async def run_with(
    sandbox: RunningSandbox, settings: Settings, wanted: PrunePlan, write: int, happening: Happening
) -> bool:
    """Run, and let something happen while the n-th write is held back; whether there were so many writes."""
    sandbox.add_fault(
        {"delay": HELD}, method="PUT|DELETE", path="/imagestreams/|/images/|^/v2/|^/admin/", first=write, last=write
    )
    run = asyncio.create_task(applied(settings, wanted))
    while not run.done() and not await asyncio.to_thread(lambda: sandbox.faults()[0]["fired"]):
        continue
    held = not run.done()
    if held:
        await happening(sandbox)
    await run
    return held


def begun(sandbox: RunningSandbox, image: dict[str, Any]) -> bool:
    """Whether a deletion of the image, or of a blob of it, has been asked for."""
    names = [image["metadata"]["name"], *blobs_of(image)]
    return any(
        entry["method"] == "DELETE" and any(entry["path"].endswith(name) for name in names)
        for entry in sandbox.requests()
        if not entry["path"].startswith("/v2/")
    )


def victim(sandbox: RunningSandbox, wanted: PrunePlan) -> dict[str, Any]:
    """An image that the plan takes together with a revision of shop/web."""
    digest = next(item.image for change in wanted.streams for item in change.revisions if change.stream == "shop/web")
    return sandbox.get(f"/apis/image.openshift.io/v1/images/{digest}")


@pytest.mark.parametrize("half", HALVES)
def test_what_comes_into_use_during_a_run_is_not_deleted_from_then_on(
    half: int, demo_folder: Path, tmp_path: Path
) -> None:
    cases = spared = 0
    for write in list(POINTS)[half::2]:
        with running_sandbox(copied(demo_folder, tmp_path / str(write))) as sandbox:
            settings = settings_for(sandbox, workers=1)
            wanted = plan(settings)
            image = victim(sandbox, wanted)
            seen: dict[str, bool] = {}

            async def use(running: RunningSandbox, image: dict[str, Any] = image, seen: dict[str, bool] = seen) -> None:
                async with running.builder() as cluster:
                    await cluster.pod("shop/late", cluster.pull_spec(f"shop/web@{image['metadata']['name']}"))
                seen["begun"] = begun(running, image)

            sandbox.forget_requests()
            if not asyncio.run(run_with(sandbox, settings, wanted, write, use)):
                continue
            cases += 1
            if not seen["begun"]:
                spared += 1
                assert image["metadata"]["name"] in sandbox.images(), f"in use before write {write}"
                assert all(blob_file(sandbox, blob).is_file() for blob in blobs_of(image)), (
                    f"in use before write {write}"
                )
            assert broken_images(sandbox) == []
    assert spared > 0
    print(f"{cases} points at which an image came into use, {spared} of them before it was touched")


@pytest.mark.parametrize("half", HALVES)
def test_what_is_pushed_during_a_run_can_be_pulled(half: int, demo_folder: Path, tmp_path: Path) -> None:
    cases = 0
    for write in list(POINTS)[half::2]:
        with running_sandbox(copied(demo_folder, tmp_path / str(write))) as sandbox:
            settings = settings_for(sandbox, workers=1)
            wanted = plan(settings)
            layers = [noise("base", 200 * 1024), noise("node", 150 * 1024), noise("shop/web:latest#0", 40 * 1024)]
            pushed: list[str] = []

            async def push(
                running: RunningSandbox, layers: list[bytes] = layers, pushed: list[str] = pushed, write: int = write
            ) -> None:
                async with running.builder() as cluster:
                    pushed.append(await cluster.push("shop/web:new", layers=[*layers, noise(f"new {write}", 1000)]))

            if not asyncio.run(run_with(sandbox, settings, wanted, write, push)):
                continue
            cases += 1
            assert pushed[0] in sandbox.images()
            assert broken_images(sandbox) == [], f"pushed before write {write}"
    assert cases > 5
    print(f"{cases} points at which an image was pushed that shares layers with one that goes")


def test_twenty_times_the_concurrency_of_oc_loses_nothing(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox, workers=100)
    wanted = plan(settings)
    kept = set(sandbox.images()) - {image.name for image in wanted.images}
    result = prune(settings)
    assert result.failures == []
    assert set(sandbox.images()) == kept
    assert broken_images(sandbox) == []
    assert plan(settings).empty
