"""The Ansible module beside us: the same decisions where it is right, and each of its defects with its answer and ours.

The defects are those at the end of docs/rules.md. Where it is right is: references with a host, and a tag or a digest;
no indexes; images and times as it expects them; `keep_tag_revisions` 0, which it does not have.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruner.analysis import Analysis, analyse
from pruner.apply.workers import CircuitBreaker, WorkerPool
from pruner.cluster.objects import Snapshot
from pruner.plan import PrunedImage
from tests.builders.clusters import CONFIGS, IMAGES, LAYERS, NAMESPACES, STREAMS, TAGS, ages
from tests.builders.objects import (
    HOST,
    L1,
    L2,
    NOW,
    A,
    B,
    C,
    analysed,
    build,
    controller,
    deployment,
    digest,
    from_,
    image,
    image_stream,
    index,
    item,
    kept_by,
    limit,
    limit_range,
    pod,
    revision,
    rules,
    snapshot,
)
from tests.differential.conftest import Module, image_json, resources

WEB = f"{HOST}/shop/web"
OVERSIZE = {"prune_over_size_limit": True}


def ours(found: Snapshot, **asked: Any) -> dict[str, Any]:
    """Our plan in the form of the module's answer."""
    analysis = analyse(found, rules(references="oc", **asked))
    changed = {change.stream for change in analysis.plan.streams if change.revisions}
    return {
        "deleted_images": [each.name for each in analysis.plan.images],
        "streams": {
            history.stream.name: {
                tag.tag: [each.image for each in tag.remaining()] for tag in history.tags if any(tag.remaining())
            }
            for history in analysis.histories
            if history.stream.name in changed
        },
    }


def decided(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("deleted_images", "streams")}


def plan_of(found: Snapshot, **asked: Any) -> Analysis:
    return analyse(found, rules(**asked))


# --- where it is right -----------------------------------------------------------------------------------------------


@st.composite
def clusters_it_understands(draw: st.DrawFn) -> Snapshot:
    images = [
        image(
            name,
            layers=draw(st.lists(st.sampled_from(LAYERS), max_size=2)),
            config=draw(st.sampled_from(CONFIGS)),
            age=draw(ages),
            managed=draw(st.booleans()),
            size=draw(st.sampled_from([10, 1000])),
        )
        for name in IMAGES
    ]
    items = st.builds(item, st.sampled_from(IMAGES), ages)
    streams = [
        image_stream(
            name,
            draw(st.dictionaries(st.sampled_from(TAGS), st.lists(items, min_size=1, max_size=4), max_size=3)),
            age=draw(ages),
        )
        for name in draw(st.lists(st.sampled_from(STREAMS), unique=True))
    ]
    texts = st.one_of(
        st.builds("{}/{}:{}".format, st.just(HOST), st.sampled_from(STREAMS), st.sampled_from(TAGS)),
        st.builds("{}/{}@{}".format, st.just(HOST), st.sampled_from(STREAMS), st.sampled_from(IMAGES)),
    )
    kinds = st.sampled_from(["Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet", "DeploymentConfig"])
    users = [
        pod(f"apps/x{number}", text) if kind == "Pod" else controller(kind, f"apps/x{number}", text)
        for number, (kind, text) in enumerate(draw(st.lists(st.tuples(kinds, texts), max_size=4)))
    ]
    builds = [
        build(f"ci/b{number}", from_("DockerImage", text))
        for number, text in enumerate(draw(st.lists(texts, max_size=2)))
    ]
    limits = [limit(f"{name}/limits", 100) for name in draw(st.lists(st.sampled_from(NAMESPACES), unique=True))]
    return snapshot(*images, *streams, *users, *builds, *limits)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    found=clusters_it_understands(),
    minutes=st.sampled_from([60, 1000]),
    namespace=st.sampled_from([None, *NAMESPACES]),
    all_images=st.booleans(),
    over_size=st.booleans(),
)
def test_on_what_it_understands_the_module_decides_as_we_do(
    module: Module, found: Snapshot, minutes: int, namespace: str | None, all_images: bool, over_size: bool
) -> None:
    asked: dict[str, Any] = {"namespace": namespace, "all_images": all_images, "prune_over_size_limit": over_size}
    theirs = module.ask(found, keep_younger_than=minutes, **asked)
    assert decided(theirs) == ours(found, minutes=minutes, revisions=None if over_size else 0, **asked)


# --- where it is not to be followed ----------------------------------------------------------------------------------


def test_module_removes_no_layer(module: Module) -> None:
    found = snapshot(image(A, layers=[L1, L2]), image_stream("shop/web", latest=[A]))
    theirs = module.ask(found)
    assert (theirs["layer_links"], theirs["blobs"]) == ([], [f"admin/blobs/{A}"])
    plan = plan_of(found).plan
    assert {blob.digest for blob in plan.blobs} == {A, L1, L2}
    assert set(plan.streams[0].layer_links) == {L1, L2}


def test_module_deletes_a_config_that_others_use(module: Module) -> None:
    config = digest("config")
    found = snapshot(image(A, config=config), image(B, config=config, age=5))
    assert f"admin/blobs/{config}" in module.ask(found)["blobs"]
    assert {blob.digest for blob in plan_of(found).plan.blobs} == {A}


@pytest.mark.parametrize(
    "source", [from_("ImageStreamTag", "web:latest", "shop"), from_("ImageStreamImage", f"web@{A}", "shop")]
)
def test_module_crashes_on_builds_from_image_streams(module: Module, source: Any) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), build("ci/x", source))
    assert module.ask(found)["crashed"] == "AttributeError: 'dict' object has no attribute 'append'"
    assert plan_of(found).plan.empty


def test_module_forgets_young_finished_pods(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), pod("x/y", f"{WEB}:latest", phase="Failed", age=5))
    assert module.ask(found)["deleted_images"] == [A]
    assert plan_of(found, references="oc").plan.empty


def test_module_keeps_what_old_finished_pods_used(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), pod("x/y", f"{WEB}:latest", phase="Failed"))
    assert module.ask(found)["deleted_images"] == []
    assert [each.name for each in plan_of(found).plan.images] == [A]


def test_module_does_not_see_cron_jobs(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), controller("CronJob", "x/y", f"{WEB}:latest"))
    assert module.ask(found)["deleted_images"] == [A]
    assert plan_of(found).plan.empty


def _with_limit(found: Snapshot, storage: str) -> dict[str, Any]:
    """The module is given the quantity as it is written."""
    limits = resources(found)["LimitRange"]
    limits[0]["spec"]["limits"][0]["max"]["storage"] = storage
    return {"LimitRange": limits}


def test_module_takes_1K_for_1Ki(module: Module) -> None:
    found = snapshot(image(A, size=1010), image_stream("shop/web", latest=[A]), limit_range("shop/limits", "1K"))
    assert module.ask(found, edited=_with_limit(found, "1K"), **OVERSIZE)["deleted_images"] == []
    assert [each.name for each in plan_of(found, revisions=None, **OVERSIZE).plan.images] == [A]


@pytest.mark.parametrize("storage", ["1.5Gi", "1e9", "1500m"])
def test_module_fails_on_quantities(module: Module, storage: str) -> None:
    found = snapshot(image(A, size=1), image_stream("shop/web", latest=[A]), limit_range("shop/limits", storage))
    assert module.ask(found, edited=_with_limit(found, storage), **OVERSIZE)["crashed"].startswith("ValueError")
    assert plan_of(found, revisions=None, **OVERSIZE).plan.empty


@pytest.mark.parametrize("algorithm", ["sha1", "blake2b"])
def test_module_refuses_digests_of_other_algorithms(module: Module, algorithm: str) -> None:
    name = digest("other", algorithm)
    found = snapshot(image(name), image_stream("shop/web", latest=[name]), deployment("x/y", f"{WEB}@{name}"))
    assert f"Unsupported digest algorithm value {algorithm}" in module.ask(found)["failed"]
    assert plan_of(found).plan.empty


def test_module_takes_digests_that_are_none(module: Module) -> None:
    """In capitals a digest is another one, which Docker refuses; the module goes on without what is meant."""
    bad = A.removeprefix("sha256:").upper()
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), deployment("x/y", f"{WEB}@sha256:{bad}"))
    assert module.ask(found)["deleted_images"] == [A]
    with pytest.raises(Exception, match="is not a digest"):
        plan_of(found)


@pytest.mark.parametrize("written", ["2025-01-01T00:00:00.5Z", "2025-01-01T00:00:00+00:00"])
def test_module_fails_on_times_with_fractions_or_offsets(module: Module, written: str) -> None:
    found = snapshot(image(A))
    edited = image_json(found.images[0], {})
    edited["metadata"]["creationTimestamp"] = written
    assert "does not match format" in module.ask(found, edited={"Image": [edited]})["crashed"]
    # How we read such times: tests/unit/test_api_objects.py.
    assert [each.name for each in plan_of(found).plan.images] == [A]


def test_module_deletes_the_image_of_a_pull_spec_without_a_tag(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), deployment("x/y", WEB))
    assert module.ask(found)["deleted_images"] == [A]
    assert kept_by(revision(plan_of(found), "shop/web:latest")) == "R15"


def test_module_deletes_the_image_of_a_pull_spec_with_tag_and_digest(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), deployment("x/y", f"{WEB}:v1@{A}"))
    assert module.ask(found)["deleted_images"] == [A]
    assert kept_by(revision(plan_of(found), "shop/web:latest")) == "R17"


def test_module_ignores_what_does_not_parse(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), deployment("x/y", "host.io/shop/Web :latest"))
    assert module.ask(found)["deleted_images"] == [A]
    with pytest.raises(Exception, match=r"Deployment x/y, container 'c0'"):
        plan_of(found)


def test_module_deletes_members_of_manifest_lists(module: Module) -> None:
    found = snapshot(image(A), index(B, [A]), image_stream("shop/web", latest=[B]), deployment("x/y", f"{WEB}:latest"))
    assert module.ask(found)["deleted_images"] == [A]
    assert plan_of(found, references="oc").plan.empty


@pytest.mark.parametrize(
    ("without", "asked", "crash"),
    [
        ("annotations", {"all_images": False}, "KeyError: 'annotations'"),
        ("dockerImageLayers", {}, "KeyError: 'dockerImageLayers'"),
        ("dockerImageManifestMediaType", {}, "KeyError: 'dockerImageManifestMediaType'"),
    ],
)
def test_module_crashes_on_images_that_lack_something(
    module: Module, without: str, asked: dict[str, Any], crash: str
) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]))
    edited = image_json(found.images[0], {})
    edited["metadata"].pop(without, None)
    edited.pop(without, None)
    assert module.ask(found, edited={"Image": [edited]}, **asked)["crashed"] == crash
    assert len(plan_of(found, **asked).plan.streams) == 1


def test_module_crashes_on_images_without_a_size(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), limit("shop/limits", 10))
    edited = image_json(found.images[0], {})
    edited["dockerImageMetadata"] = {"Id": ""}
    assert module.ask(found, edited={"Image": [edited], "LimitRange": []}, **OVERSIZE)["deleted_images"] == []
    edited["dockerImageMetadata"] = {"Id": "x"}
    assert module.ask(found, edited={"Image": [edited]}, **OVERSIZE)["crashed"] == "KeyError: 'Size'"
    assert plan_of(found, revisions=None, **OVERSIZE).plan.empty


def test_module_fails_on_images_without_metadata(module: Module) -> None:
    found = snapshot(image(A))
    edited = {**image_json(found.images[0], {}), "dockerImageMetadata": None}
    assert "failed to read metadata" in module.ask(found, edited={"Image": [edited]})["failed"]
    assert [each.name for each in plan_of(found).plan.images] == [A]


def test_module_prunes_the_current_tag_of_an_unused_stream(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]))
    assert decided(module.ask(found)) == {"deleted_images": [A], "streams": {"shop/web": {}}}
    assert kept_by(revision(plan_of(found, revisions=3), "shop/web:latest")) == "R16"


def test_module_removes_failed_imports_with_other_tags(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", {"latest": [A], "failed": []}))
    assert module.ask(found)["streams"] == {"shop/web": {}}
    assert plan_of(found).plan.streams[0].removed_tags == ("latest",)


def test_module_searches_a_list_for_every_image(module: Module) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]))
    assert module.ask(found)["looks_in"] == "list"
    assert isinstance(plan_of(found).images, dict)


def test_module_sends_one_request_at_a_time(module: Module) -> None:
    found = snapshot(*(image(name) for name in IMAGES), image_stream("shop/web", latest=IMAGES))
    theirs = module.ask(found)
    assert len(theirs["blobs"]) == len(IMAGES)
    assert theirs["senders"] == 1
    under_way, most = 0, 0

    async def delete(_image: PrunedImage) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    asyncio.run(WorkerPool(4, CircuitBreaker()).run(delete, plan_of(found).plan.images))
    assert most == 4


@pytest.mark.parametrize("status", [401, 403, 405, 500, 503])
def test_module_deletes_images_whose_blobs_the_registry_keeps(module: Module, status: int) -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]))
    theirs = module.ask(found, registry_answers=status)
    assert (theirs["deleted_images"], theirs["blobs"]) == ([A], [f"admin/blobs/{A}"])
    # The plan names the blobs that have to be gone before the Image goes; R28 is tested with the executor.
    assert plan_of(found).plan.images[0].blobs == (A,)


def test_the_times_of_the_comparison_are_those_of_the_cluster() -> None:
    assert analysed(image(A, age=5)).plan.as_of == NOW
    assert image_json(image(C, age=0), {})["metadata"]["creationTimestamp"] == "2026-01-01T12:00:00Z"
