"""
Against Debian's docker-registry: images are really pushed, pruned, and then really gone, and those in use can be pulled
whole. It has no `/admin/blobs`, so blobs are left to its own garbage collector.
"""

from pathlib import Path
from typing import Any

import pytest

from pruner.apply import Result, apply_plan
from pruner.plan import PrunePlan
from pruner.planning import make_plan
from pruner.settings import Settings, read
from sandbox.builder import Builder
from sandbox.kinds import MAPPINGS
from tests.integration.conftest import api
from tests.integration.docker_registry import DockerRegistry, PushedImage, digest_of
from tests.servers import RunningSandbox, running_sandbox

Json = dict[str, Any]


@pytest.fixture
def cluster(tmp_path: Path, registry: DockerRegistry):  # type: ignore[no-untyped-def]
    """An API without images, whose registry is the docker-registry."""
    with running_sandbox(tmp_path / "cluster", "--registry-host", registry.host) as running:
        yield running


async def tagged(builder: Builder, registry: DockerRegistry, image: PushedImage, *, tag: str, age_days: float) -> None:
    """Make the Image object of a pushed image, and a revision of the tag that names it."""
    namespace, _, name = image.repository.partition("/")
    await builder.namespace(namespace)
    await builder.image_stream(image.repository, age_days=age_days)
    mapping = {
        "metadata": {"name": name, "namespace": namespace},
        "image": image.object(registry.host),
        "tag": tag,
    }
    async with builder.days_ago(age_days):
        await builder.request("POST", builder.url(MAPPINGS, namespace), mapping)


def settings_for(cluster: RunningSandbox, registry: DockerRegistry, **more: object) -> Settings:
    given = {"host": cluster.api_url, "api_key": cluster.tokens["pruner"], "registry_url": registry.url}
    return read({**given, "keep_tag_revisions": 0, **more})


async def planned_and_applied(settings: Settings) -> tuple[PrunePlan, Result, PrunePlan]:
    """The plan, what came of it, and the plan thereafter."""
    async with api(settings) as client:
        plan = (await make_plan(client, settings)).plan
        result = await apply_plan(client, plan, settings)
        return plan, result, (await make_plan(client, settings)).plan


async def test_unused_images_are_gone_and_used_ones_can_be_pulled_whole(
    cluster: RunningSandbox, registry: DockerRegistry, tmp_path: Path
) -> None:
    used = registry.push("shop/app", "base", "used", tag="live")
    unused = registry.push("shop/old", "base", "unused", tag="one")
    async with cluster.builder() as builder:
        await tagged(builder, registry, used, tag="live", age_days=30)
        await tagged(builder, registry, unused, tag="one", age_days=30)
        await builder.deployment("shop/app", f"{registry.host}/shop/app:live", age_days=30)
    assert registry.has_manifest("shop/old", unused.digest)

    plan, result, again = await planned_and_applied(settings_for(cluster, registry))

    assert [image.name for image in plan.images] == [unused.digest]
    assert not result.failures
    assert not registry.has_manifest("shop/old", unused.digest)
    assert registry.pull("shop/app", used.digest, tmp_path / "pulled")
    assert set(cluster.images()) == {used.digest}
    assert again.empty


async def test_plan_says_that_blobs_are_left_to_the_garbage_collector_R26(
    cluster: RunningSandbox, registry: DockerRegistry
) -> None:
    image = registry.push("shop/leftover", "left over")
    kept = registry.push("shop/kept", "kept")
    async with cluster.builder() as builder:
        await tagged(builder, registry, image, tag="latest", age_days=30)
        await tagged(builder, registry, kept, tag="latest", age_days=30)
        await builder.pod("shop/kept", f"{registry.host}/shop/kept", age_days=1)

    plan, result, _ = await planned_and_applied(settings_for(cluster, registry))

    assert plan.registry is not None
    assert not plan.registry.deletes_blobs
    assert [note for note in plan.notes if "registry's own garbage collector" in note]
    assert not plan.blobs
    assert not result.deleted_blobs
    assert not result.failures


async def test_garbage_collector_frees_what_is_no_longer_linked(
    cluster: RunningSandbox, registry: DockerRegistry
) -> None:
    shared = registry.push("shop/first", "shared layer", "first layer")
    going = registry.push("shop/second", "shared layer", "second layer")
    async with cluster.builder() as builder:
        await tagged(builder, registry, shared, tag="latest", age_days=30)
        await tagged(builder, registry, going, tag="latest", age_days=30)
        await builder.pod("shop/first", f"{registry.host}/shop/first", age_days=1)

    await planned_and_applied(settings_for(cluster, registry))
    registry.collect_garbage()

    left = {f"sha256:{file.parent.name}" for file in registry.folder.glob("files/**/blobs/sha256/*/*/data")}
    assert {*shared.blobs, shared.digest} <= left
    assert not {digest_of(going.layers[1]), digest_of(going.config), going.digest} & left


async def test_image_that_skopeo_has_copied_is_pruned_from_its_old_repository_only(
    cluster: RunningSandbox, registry: DockerRegistry, tmp_path: Path
) -> None:
    old = registry.push("shop/source", "copied", tag="one")
    assert registry.pull("shop/source", old.digest, tmp_path / "layout")
    registry.copy_in(tmp_path / "layout", "shop/target", "one")
    new = PushedImage("shop/target", old.digest, old.config, old.layers, old.manifest)
    async with cluster.builder() as builder:
        await tagged(builder, registry, old, tag="one", age_days=30)
        await tagged(builder, registry, new, tag="one", age_days=20)
        await builder.deployment("shop/target", f"{registry.host}/shop/target:one", age_days=10)

    plan, result, _ = await planned_and_applied(settings_for(cluster, registry, references="oc"))

    assert not result.failures
    assert [change.stream for change in plan.streams] == ["shop/source"]
    assert not registry.has_manifest("shop/source", old.digest)
    assert registry.pull("shop/target", new.digest, tmp_path / "pulled")
    assert set(cluster.images()) == {new.digest}
