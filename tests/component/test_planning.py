"""From a cluster to a plan: what is read and in which order (R1 to R3), and the plans that are refused."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import pruner.cluster.lists
from pruner.errors import ClusterError, UnsafePlanError
from pruner.plan import UNVERIFIED, encode
from pruner.settings import read
from sandbox.builder import layer, noise
from tests.conftest import StartSandbox
from tests.integration.authorities import Authority
from tests.pruning import applied, plan, planned, settings_for
from tests.servers import IMAGE_API, RunningSandbox


def lists_in(sandbox: RunningSandbox) -> list[str]:
    """Plural names of the kinds listed, in the order of their first page."""
    paths = (
        entry["path"] for entry in sandbox.requests() if "limit=" in entry["path"] and "continue" not in entry["path"]
    )
    return [re.sub(r"[?].*", "", path).rpartition("/")[2] for path in paths]


def test_images_are_listed_first_then_image_streams_and_what_uses_them_last_R2(sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()
    plan(settings_for(sandbox))
    order = lists_in(sandbox)
    assert order[:2] == ["images", "imagestreams"]
    assert set(order[2:]) == {
        "pods", "replicationcontrollers", "limitranges", "daemonsets", "deployments", "replicasets", "statefulsets",
        "jobs", "cronjobs", "deploymentconfigs", "buildconfigs", "builds", "controllerrevisions",
    }  # fmt: skip


def test_controller_revisions_are_read_with_the_extended_rules_only_R10(sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()
    plan(settings_for(sandbox, references="oc"))
    assert "controllerrevisions" not in lists_in(sandbox)


def test_references_are_read_from_all_namespaces_whatever_namespace_says_R2(sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()
    plan(settings_for(sandbox, namespace="shop"))
    assert not [entry for entry in sandbox.requests() if "/namespaces/shop/" in entry["path"]]


def test_lists_are_read_in_chunks_and_an_expired_one_is_begun_again_R1(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruner.cluster.lists, "PAGE_SIZE", 10)
    whole = plan(settings_for(sandbox))
    sandbox.add_fault({"status": 410}, method="GET", path="/images[?].*continue", first=2, last=2)
    sandbox.forget_requests()
    assert plan(settings_for(sandbox)).fingerprint == whole.fingerprint
    assert lists_in(sandbox).count("images") == 2


def test_a_list_that_expires_again_and_again_ends_the_run_R1(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 410}, method="GET", path="/pods[?]")
    with pytest.raises(ClusterError, match="the list of pods has expired"):
        plan(settings_for(sandbox))


def test_a_group_that_discovery_does_not_show_has_no_objects_R3(sandbox_with: StartSandbox) -> None:
    sandbox = sandbox_with("--without-group", "apps.openshift.io")
    assert any("deploymentconfigs.apps.openshift.io" in note for note in plan(settings_for(sandbox)).notes)


def test_extra_referrers_that_protect_nothing_are_noted_R13(sandbox: RunningSandbox) -> None:
    pods = {
        "group": "apps",
        "version": "v1",
        "resource": "deployments",
        "template": "spec.template",
        "images": "spec.tool",
    }
    found = plan(settings_for(sandbox, extra_referrers=[pods]))
    assert "extra_referrers: nothing stands at spec.tool of deployments.apps, in any object of the kind" in found.notes
    found = plan(settings_for(sandbox, extra_referrers=["tekton"], references="oc"))
    assert "extra_referrers protect nothing with references: oc; set references to extended" in found.notes


def test_a_cluster_without_images_api_is_not_taken_for_an_empty_one(sandbox_with: StartSandbox) -> None:
    sandbox = sandbox_with("--without-group", "image.openshift.io")
    with pytest.raises(ClusterError, match="is it an OpenShift cluster"):
        plan(settings_for(sandbox))


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"drop": "before"}, {"truncate": 50}, {"status": 200, "body": "<html>"}]
)
def test_nothing_is_planned_on_a_partial_view_R3(sandbox: RunningSandbox, fault: dict[str, object]) -> None:
    sandbox.add_fault(fault, method="GET", path="/statefulsets[?]")
    with pytest.raises(ClusterError):
        plan(settings_for(sandbox))


def test_a_server_that_is_busy_for_a_moment_does_not_end_the_run(sandbox: RunningSandbox) -> None:
    busy = {"status": 503, "headers": {"Retry-After": "0"}}
    sandbox.add_fault(busy, method="GET", path="/imagestreams[?]", last=3)
    assert not plan(settings_for(sandbox)).empty


def test_ages_are_measured_by_the_api_servers_clock_R2(sandbox: RunningSandbox) -> None:
    before = plan(settings_for(sandbox)).as_of
    sandbox.advance_clock(240)
    assert plan(settings_for(sandbox)).as_of >= before + timedelta(seconds=239)


@pytest.mark.parametrize("given", [{}, {"as_of": "2026-01-01T00:00:00Z"}])
@pytest.mark.parametrize("minutes", [-60 * 24 * 365, -90, 10, 60 * 24 * 365 * 70])
def test_a_clock_far_from_this_machines_ends_the_run_R2(
    sandbox: RunningSandbox, minutes: int, given: dict[str, Any]
) -> None:
    sandbox.set_clock((datetime.now(UTC) + timedelta(minutes=minutes)).isoformat())
    with pytest.raises(
        UnsafePlanError, match=r"its clock says .* UTC and this machine's clock says .* UTC, .* set the clock"
    ):
        plan(settings_for(sandbox, **given))


def test_a_clock_behind_the_newest_object_ends_the_run_R2(sandbox: RunningSandbox) -> None:
    sandbox.set_clock((datetime.now(UTC) - timedelta(minutes=40)).isoformat())
    with pytest.raises(UnsafePlanError, match=r"its clock says .* UTC, and .* was created at .* UTC"):
        plan(settings_for(sandbox))


def test_a_manifest_is_measured_where_its_image_was_pushed_to_whatever_else_its_reference_says(
    empty_sandbox: RunningSandbox,
) -> None:
    async def push() -> str:
        async with empty_sandbox.builder() as builder:
            return await builder.push("shop/web", layers=[b"layer"], age_days=9)

    path = f"{IMAGE_API}/images/{asyncio.run(push())}"
    tagged = {**empty_sandbox.get(path), "dockerImageReference": f"{empty_sandbox.registry_host}/shop/web:latest"}
    assert empty_sandbox.call("PUT", path, tagged).status == 200
    found = plan(settings_for(empty_sandbox, registry_url=empty_sandbox.registry_url, allow_empty_cluster=True))
    assert next(blob for blob in found.blobs if blob.kind == "manifest").size


def test_of_a_layer_whose_size_images_contradict_the_registry_has_the_word(empty_sandbox: RunningSandbox) -> None:
    """The largest claim counts where the registry does not say either."""
    content = b"a layer of some size"

    async def push() -> list[str]:
        async with empty_sandbox.builder() as builder:
            return [await builder.push(f"shop/{name}", layers=[content], age_days=9) for name in ("web", "copy")]

    for name, claim in zip(asyncio.run(push()), (10**12, -1), strict=True):
        path = f"{IMAGE_API}/images/{name}"
        found = empty_sandbox.get(path)
        layers = [{**each, "size": claim} for each in found["dockerImageLayers"]]
        assert empty_sandbox.call("PUT", path, {**found, "dockerImageLayers": layers}).status == 200

    def size() -> int | None:
        settings = settings_for(empty_sandbox, registry_url=empty_sandbox.registry_url, allow_empty_cluster=True)
        (found,) = [blob for blob in plan(settings).blobs if blob.kind == "layer"]
        return found.size

    assert size() == 10**12
    other = {
        **empty_sandbox.get(path),
        "dockerImageLayers": [{**each, "size": 1} for each in found["dockerImageLayers"]],
    }
    assert empty_sandbox.call("PUT", path, other).status == 200
    assert size() == len(layer(content).blob)
    own = {"Docker-Distribution-Api-Version": "registry/2.0", "Content-Type": "application/json"}
    empty_sandbox.add_fault({"status": 404, "headers": own}, method="HEAD", path="/blobs/")
    assert size() == 10**12


def test_an_as_of_in_the_future_is_refused(sandbox: RunningSandbox) -> None:
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    with pytest.raises(UnsafePlanError, match="ahead of the API server's clock"):
        plan(settings_for(sandbox, as_of=later))


def test_the_same_as_of_gives_the_same_bytes_P8(sandbox: RunningSandbox) -> None:
    first = plan(settings_for(sandbox))
    again = plan(settings_for(sandbox, as_of=first.as_of.isoformat()))
    assert b"".join(encode(again)) == b"".join(encode(first))


def test_max_deletions_refuses_a_larger_plan_before_anything_is_touched(sandbox: RunningSandbox) -> None:
    size = plan(settings_for(sandbox)).deletions
    message = f"would delete {size} images, revisions and image streams, and max_deletions is {size - 1}"
    with pytest.raises(UnsafePlanError, match=message):
        plan(settings_for(sandbox, max_deletions=size - 1))
    assert plan(settings_for(sandbox, max_deletions=size)).deletions == size


def test_max_deletions_may_be_a_share(sandbox: RunningSandbox) -> None:
    with pytest.raises(UnsafePlanError, match="max_deletions is 1%"):
        plan(settings_for(sandbox, max_deletions="1%"))
    assert not plan(settings_for(sandbox, max_deletions="100%")).empty


def fill(sandbox: RunningSandbox) -> None:
    async def push() -> None:
        async with sandbox.builder() as cluster:
            await cluster.push("team/app:latest", layers=[noise("a", 2000)], age_days=9)

    asyncio.run(push())


def test_a_cluster_without_any_workload_is_refused_unless_it_is_said_to_be_so(empty_sandbox: RunningSandbox) -> None:
    fill(empty_sandbox)
    with pytest.raises(
        UnsafePlanError, match="1 image but no workloads are visible, which usually means missing permissions"
    ):
        plan(settings_for(empty_sandbox))
    assert plan(settings_for(empty_sandbox, allow_empty_cluster=True)).empty


def test_images_without_any_image_stream_are_refused_unless_it_is_said_to_be_so(empty_sandbox: RunningSandbox) -> None:
    fill(empty_sandbox)
    empty_sandbox.call("DELETE", "/apis/image.openshift.io/v1/namespaces/team/imagestreams/app")
    with pytest.raises(UnsafePlanError, match="1 image but no image streams are visible"):
        plan(settings_for(empty_sandbox))
    allowed = settings_for(empty_sandbox, allow_empty_cluster=True, registry_url=empty_sandbox.registry_url)
    assert len(plan(allowed).images) == 1


# --- approval ---------------------------------------------------------------------------------------------------------


def write_plan(sandbox: RunningSandbox, path: Path, **given: Any) -> Path:
    path.write_bytes(b"".join(encode(plan(settings_for(sandbox, **given)))))
    return path


def test_an_approved_plan_limits_what_goes(sandbox: RunningSandbox, tmp_path: Path) -> None:
    approved = write_plan(sandbox, tmp_path / "plan.jsonl", namespace="shop")
    limited = plan(settings_for(sandbox, approved_plan=str(approved)))
    assert {change.namespace for change in limited.streams} == {"shop"}
    assert len(limited.images) < len(plan(settings_for(sandbox)).images)


def test_what_is_used_by_then_is_left_out_of_an_approved_plan(sandbox: RunningSandbox, tmp_path: Path) -> None:
    approved = write_plan(sandbox, tmp_path / "plan.jsonl")
    digest = next(item.image for change in plan(settings_for(sandbox)).streams for item in change.revisions)

    async def use() -> None:
        async with sandbox.builder() as cluster:
            await cluster.pod("blog/late", cluster.pull_spec(f"blog/site@{digest}"))

    asyncio.run(use())
    limited = plan(settings_for(sandbox, approved_plan=str(approved)))
    assert digest not in {image.name for image in limited.images}
    assert not limited.empty


def test_the_approved_plan_of_another_cluster_is_refused(
    sandbox: RunningSandbox, empty_sandbox: RunningSandbox, tmp_path: Path
) -> None:
    approved = write_plan(sandbox, tmp_path / "plan.jsonl")
    with pytest.raises(UnsafePlanError, match="it was made for cluster"):
        plan(settings_for(empty_sandbox, approved_plan=str(approved)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "truncated|is no line of a plan"),
        (lambda text: text.replace(b"shop", b"sh0p"), "was edited"),
        (lambda text: text.replace(b'"version":4', b'"version":2', 1), "is a plan of version 2"),
        (lambda _: b"{}\n", "is not a plan of pruner"),
        (lambda _: b"", "is empty"),
    ],
)
def test_a_plan_file_that_is_not_what_preview_has_written_is_refused(
    sandbox: RunningSandbox, tmp_path: Path, damage: object, message: str
) -> None:
    approved = write_plan(sandbox, tmp_path / "plan.jsonl")
    approved.write_bytes(damage(approved.read_bytes()))  # type: ignore[operator]
    sandbox.forget_requests()
    with pytest.raises(UnsafePlanError, match=message):
        plan(settings_for(sandbox, approved_plan=str(approved)))
    assert sandbox.requests() == []


def test_a_file_with_another_digest_than_the_approved_one_is_refused(sandbox: RunningSandbox, tmp_path: Path) -> None:
    approved = write_plan(sandbox, tmp_path / "plan.jsonl", namespace="shop")
    digest = hashlib.sha256(approved.read_bytes()).hexdigest()
    limited = plan(settings_for(sandbox, approved_plan=str(approved), approved_digest=digest))
    assert {change.namespace for change in limited.streams} == {"shop"}
    # A line of a report, behind the plan: readers of plans skip it.
    approved.write_bytes(approved.read_bytes() + b'{"line":"result"}\n')
    other = hashlib.sha256(approved.read_bytes()).hexdigest()
    with pytest.raises(UnsafePlanError, match=f"is sha256:{other}, and approved_digest is sha256:{digest}, so it is"):
        plan(settings_for(sandbox, approved_plan=str(approved), approved_digest=digest))
    assert plan(settings_for(sandbox, approved_plan=str(approved))) == limited


def test_up_deletes_no_more_than_the_approved_plan(sandbox: RunningSandbox, tmp_path: Path) -> None:
    approved = write_plan(sandbox, tmp_path / "plan.jsonl", namespace="blog")
    settings = settings_for(sandbox, approved_plan=str(approved))

    async def run() -> set[str]:
        wanted = await planned(settings)
        await applied(settings, wanted)
        return {image.name for image in wanted.images}

    before = set(sandbox.images())
    assert before - set(sandbox.images()) == set()
    expected = asyncio.run(run())
    assert before - set(sandbox.images()) == expected


@pytest.mark.parametrize("tls", [False, True], ids=["without TLS", "with a certificate that is not checked"])
def test_what_the_kubeconfig_leaves_unchecked_is_noted(
    sandbox_with: StartSandbox, tmp_path: Path, *, tls: bool
) -> None:
    """Policies flag it by this note (docs/policies.md)."""
    server = Authority(tmp_path / "authority").server()
    flags = ["--tls-cert", str(server.certificate), "--tls-key", str(server.key), "--registry-without-tls"]
    sandbox = sandbox_with(*(flags if tls else []))
    unchecked = {"insecure-skip-tls-verify": True} if tls else {}
    kubeconfig = {
        "current-context": "main",
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
        "clusters": [{"name": "main", "cluster": {"server": sandbox.api_url, **unchecked}}],
        "users": [{"name": "main", "user": {"token": sandbox.tokens["admin"]}}],
    }
    said = (
        "the kubeconfig says insecure-skip-tls-verify"
        if tls
        else "the kubeconfig's address has no TLS: http://127.0.0.1:"
    )
    (note,) = [note for note in plan(read({"kubeconfig": kubeconfig})).notes if note.startswith(UNVERIFIED)]
    assert said in note
    given = read({"kubeconfig": kubeconfig, "host": sandbox.api_url, "validate_certs": False})
    assert not [note for note in plan(given).notes if note.startswith(UNVERIFIED)]
