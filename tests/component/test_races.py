"""A cluster that lives on while it is pruned: new users and new pushes, at every single write of a run.

The sandbox holds the n-th write, for every n, until something has happened, and then continues. What is in flight at
that time can no longer be called back; whatever else is there when a use becomes visible has to stay. The numbers of
cases are printed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from sandbox.builder import Builder, noise
from tests.component.conftest import SavedCluster
from tests.conftest import Tried
from tests.pruning import blob_file, blobs_of, broken_images, link_file, plan, prune, settings_for
from tests.races import in_flight, pushes_at_every_write, run_with
from tests.servers import RunningSandbox, copied, running_sandbox
from tests.small_clusters import SMALL, settings_of

APP: Final = "shop/app"


def there(sandbox: RunningSandbox, image: dict[str, Any]) -> set[str]:
    """What there is of an image of shop/app, by the path of the request that would delete it."""
    name, found = image["metadata"]["name"], set()
    if name in sandbox.images():
        found.add(f"/apis/image.openshift.io/v1/images/{name}")
    if any(name in sandbox.history(f"{APP}:{tag}") for tag in ("latest", "next")):
        found.add("/apis/image.openshift.io/v1/namespaces/shop/imagestreams/app/status")
    for blob in blobs_of(image):
        if blob_file(sandbox, blob).is_file():
            found.add(f"/admin/blobs/{blob}")
        if link_file(sandbox, APP, blob, is_manifest=blob == name).is_file():
            found.add(f"/v2/{APP}/{'manifests' if blob == name else 'blobs'}/{blob}")
    return found


@pytest.mark.parametrize("way", ["digest", "tag"])
def test_what_comes_into_use_at_any_write_of_a_run_is_not_deleted_from_then_on(
    way: str, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster("races"), 0
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        for write in range(1, 1000):
            sandbox.restore(saved.folder)
            settings = settings_for(sandbox, workers=1, **settings_of("races"))
            victim = sandbox.history(f"{APP}:next")[0] if way == "tag" else sandbox.history(f"{APP}:latest")[1]
            image = sandbox.images()[victim]
            wanted, expected, flying = plan(settings), set[str](), set[str]()
            assert victim in {image.name for image in wanted.images}

            async def use(
                cluster: Builder,
                image: dict[str, Any] = image,
                victim: str = victim,
                expected: set[str] = expected,
                flying: set[str] = flying,
            ) -> None:
                await cluster.pod("shop/late", cluster.pull_spec(f"{APP}:next" if way == "tag" else f"{APP}@{victim}"))
                _, path = in_flight(sandbox)
                found = there(sandbox, image)
                # A tag that is going, or gone, names nothing.
                if way == "digest" or (not path.endswith("/status") and sandbox.history(f"{APP}:next")):
                    expected |= found - {path}
                    flying |= found & {path}

            sandbox.forget_requests()
            result = asyncio.run(run_with(sandbox, settings, wanted, write, use))
            if result is None:
                break
            cases += 1
            assert expected <= there(sandbox, image), f"in use before write {write}"
            if any("/images/" in path for path in expected):
                assert any("shop/late" in skipped.why for skipped in result.skipped), f"in use before write {write}"
            lost = {path.rpartition("/")[2] for path in flying - there(sandbox, image)} & set(blobs_of(image))
            assert {failure.what.partition(" ")[0] for failure in result.failures} >= lost, (
                f"in use before write {write}"
            )
            assert broken_images(sandbox) == [], f"in use before write {write}"
    assert cases > 15
    tried(cases, f"writes at which an image came into use by {way}")


@pytest.mark.parametrize("ref", [f"{APP}:pushed", APP, "shop/new:pushed"])
def test_what_is_pushed_at_any_write_of_a_run_can_be_pulled(
    ref: str, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    """It shares layers with images that are pruned: under a tag, by its digest alone, into another repository."""
    saved, cases, lost = saved_cluster("races"), 0, 0
    layers = [noise(name, SMALL) for name in ("base", "app", "old", "app next")]
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        for pushed in pushes_at_every_write(sandbox, saved.folder, "races", ref, layers):
            cases += 1
            lost += len(pushed.lost)
    assert cases > 15
    tried(cases, f"writes at which {ref} was pushed, which shares layers with what goes")
    tried(lost, f"writes that took something of {ref} in the moment in which it was pushed, and said so")


def test_twenty_times_the_concurrency_of_oc_loses_nothing(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox, workers=100)
    wanted = plan(settings)
    kept = set(sandbox.images()) - {image.name for image in wanted.images}
    result = prune(settings)
    assert result.failures == []
    assert set(sandbox.images()) == kept
    assert broken_images(sandbox) == []
    assert plan(settings).empty
