"""Several replicas of the registry: a push through one of
them after a run through another, with and without a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pruner.apply.registry_replicas import COMMAND, RESTARTED_AT, RegistryReplicas
from pruner.apply.result import RegistryRestart, Result
from pruner.cluster.session import session
from pruner.errors import ForbiddenError
from pruner.report.html import page
from pruner.report.jsonl import encode_report, encode_result, read_report
from pruner.report.markdown import markdown
from pruner.report.openmetrics import openmetrics
from pruner.report.wording import restart_line
from sandbox.blobs import digest_of
from sandbox.builder import Builder, BuilderError, layer
from sandbox.objects import RESOURCES
from tests.conftest import StartSandbox
from tests.pruning import analysed, applied, broken_images, plan, planned, prune, settings_for
from tests.servers import RunningSandbox

NAMESPACE = "/apis/apps/v1/namespaces/openshift-image-registry/deployments"
DEPLOYMENT = f"{NAMESPACE}/image-registry"
OLD = [b"base", b"old"]


def through(sandbox: RunningSandbox, replica: int) -> Builder:
    """Pushes through one of the replicas."""
    return Builder(sandbox.api_url, sandbox.state["registry_replicas"][replica], sandbox.tokens["admin"])


async def push(sandbox: RunningSandbox, replica: int = 0) -> None:
    """A tag whose first revision is pruned."""
    async with through(sandbox, replica) as cluster:
        await cluster.push("shop/app:live", layers=OLD, age_days=20)
        await cluster.push("shop/app:live", layers=[b"base", b"new"], age_days=10)


async def fill(sandbox: RunningSandbox, replica: int = 0) -> None:
    """The same, and a workload that uses it."""
    await push(sandbox, replica)
    async with sandbox.builder() as cluster:
        await cluster.deployment("shop/app", cluster.pull_spec("shop/app:live"))


def settings(sandbox: RunningSandbox, user: str = "admin", **given: Any) -> Any:
    return settings_for(sandbox, user, keep_tag_revisions=1, **given)


def head(sandbox: RunningSandbox, digest: str) -> int:
    """What the second replica answers about a layer."""
    sandbox.state["registry"], first = sandbox.state["registry_replicas"][1], sandbox.state["registry"]
    try:
        return sandbox.call("HEAD", f"/v2/shop/app/blobs/{digest}", server="registry").status
    finally:
        sandbox.state["registry"] = first


@pytest.fixture
def two_replicas(sandbox_with: StartSandbox) -> RunningSandbox:
    """A registry with two replicas, of which the second one knows what is about to be pruned."""
    sandbox = sandbox_with("--registry-replicas", "2")
    asyncio.run(fill(sandbox, replica=1))
    return sandbox


async def push_again(sandbox: RunningSandbox) -> str:
    """Push what was pruned as image tools do: what the registry says that it has is not uploaded, but mounted."""
    blob = layer(OLD[1]).digest
    async with through(sandbox, 1) as cluster:
        url = f"{cluster.registry_url}/v2/shop/copy/blobs/uploads/?mount={blob}&from=shop/app"
        await cluster.namespace("shop")
        await cluster.request("POST", url)
        config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
        await cluster.request(
            "POST", f"{cluster.registry_url}/v2/shop/copy/blobs/uploads/?digest={digest_of(config)}", config
        )
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config),
                "digest": digest_of(config),
            },
            "layers": [
                {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 9, "digest": blob},
            ],
        }
        url = f"{cluster.registry_url}/v2/shop/copy/manifests/again"
        await cluster.request("PUT", url, manifest, media_type=kind)
    return blob


def test_without_a_restart_a_push_through_the_other_replica_is_broken(two_replicas: RunningSandbox) -> None:
    result = prune(settings(two_replicas))
    gone = layer(OLD[1]).digest
    assert gone in result.deleted_blobs
    assert result.failures == []
    assert result.registry_restart == RegistryRestart(2, done=False, command=COMMAND)
    assert head(two_replicas, gone) == 500
    asyncio.run(push_again(two_replicas))
    assert any(f"blob {gone}" in what for what in broken_images(two_replicas))


def test_after_a_restart_the_other_replica_no_longer_knows_what_is_gone(two_replicas: RunningSandbox) -> None:
    result = prune(settings(two_replicas, restart_registry=True))
    gone = layer(OLD[1]).digest
    assert result.failures == []
    assert result.registry_restart == RegistryRestart(2, done=True, command=COMMAND)
    assert two_replicas.get(DEPLOYMENT)["spec"]["template"]["metadata"]["annotations"].keys() == {RESTARTED_AT}
    assert head(two_replicas, gone) == 404
    with pytest.raises(BuilderError, match="MANIFEST_BLOB_UNKNOWN"):
        asyncio.run(push_again(two_replicas))
    asyncio.run(push(two_replicas, replica=1))
    assert head(two_replicas, gone) == 200
    assert broken_images(two_replicas) == []


def test_the_replica_that_deletes_forgets_what_it_deletes(two_replicas: RunningSandbox) -> None:
    asyncio.run(push(two_replicas, replica=0))
    prune(settings(two_replicas))
    gone = layer(OLD[1]).digest
    assert two_replicas.call("HEAD", f"/v2/shop/app/blobs/{gone}", server="registry").status == 404


@pytest.mark.parametrize("given", [{}, {"restart_registry": True}])
def test_nothing_is_restarted_when_no_blob_was_deleted(two_replicas: RunningSandbox, given: dict[str, Any]) -> None:
    prune(settings(two_replicas))
    two_replicas.forget_requests()
    result = prune(settings(two_replicas, **given))
    assert result.deleted_blobs == {}
    assert result.registry_restart is None
    assert two_replicas.requests(method="PATCH") == []


def test_one_replica_needs_no_restart(sandbox_with: StartSandbox) -> None:
    sandbox = sandbox_with()
    asyncio.run(fill(sandbox))
    result = prune(settings(sandbox, restart_registry=True))
    assert result.deleted_blobs
    assert result.failures == []
    assert result.registry_restart is None


def test_a_report_says_what_was_done_about_the_replicas(two_replicas: RunningSandbox, tmp_path: Path) -> None:
    async def run() -> Result:
        analysis = await analysed(settings(two_replicas))
        file.write_bytes(b"".join(encode_report(analysis)))
        result = await applied(settings(two_replicas), analysis.plan)
        file.write_bytes(b"".join(encode_result(analysis.plan, result, file)))
        return result

    file = tmp_path / "report.jsonl"
    result = asyncio.run(run())
    report = read_report(file)
    assert report.outcome is not None
    assert report.outcome.registry_restart == result.registry_restart
    line = (
        "each of the registry's 2 replicas caches which blobs there are, so pushes can fail until they are restarted: "
        "oc -n openshift-image-registry rollout restart deployment/image-registry"
    )
    assert restart_line(report.outcome) == line
    assert f"`{line}`" in markdown(report)
    assert line.replace("'", "&#39;") in page(report)
    assert 'pruner_registry_restart_needed{cluster="' in openmetrics(report)


# --- permission -------------------------------------------------------------------------------------------------------


def test_the_permission_is_asked_for_only_when_it_is_needed(two_replicas: RunningSandbox) -> None:
    """The user `pruner` of the sandbox may do all that a run does, and not change Deployments."""
    noted = plan(settings(two_replicas, "pruner", restart_registry=True)).notes
    missing = "no permission to patch deployments.apps"
    assert [note for note in noted if missing in note] != []
    with pytest.raises(ForbiddenError, match=missing):
        prune(settings(two_replicas, "pruner", restart_registry=True))
    assert two_replicas.requests(method="DELETE") == []
    assert [note for note in plan(settings(two_replicas, "pruner")).notes if missing in note] == []
    result = prune(settings(two_replicas, "pruner"))
    assert result.deleted_blobs
    assert result.registry_restart == RegistryRestart(2, done=False, command=COMMAND)


# --- when it does not work --------------------------------------------------------------------------------------------


async def stuck(
    sandbox: RunningSandbox, *, stopping: Callable[[], bool] = lambda: False, within: float = 0.0
) -> Result:
    """The result of a restart of a Deployment that no controller sees to."""
    async with sandbox.builder() as cluster:
        meta = {"namespace": "openshift-image-registry", "name": "image-registry"}
        spec = {"replicas": 2, "template": {"spec": {"containers": []}}}
        await cluster.create(
            RESOURCES["Deployment"], {"metadata": meta, "spec": spec, "status": {"readyReplicas": 2, "replicas": 2}}
        )
    result = Result()
    async with session(settings(sandbox)) as api:
        replicas = RegistryReplicas(api, lambda _: None, stopping, within=within, interval=0.01)
        await replicas.after_deletions(result, restart=True)
    return result


def failure_of(result: Result) -> str:
    (failure,) = result.failures
    assert failure.what == "deployment image-registry"
    assert result.registry_restart == RegistryRestart(2, done=False, command=COMMAND)
    return failure.why


async def test_a_restart_that_does_not_end_is_a_failure(empty_sandbox: RunningSandbox) -> None:
    assert failure_of(await stuck(empty_sandbox)) == (
        "its restart has begun, and has not ended: it takes more than 0 seconds; "
        "see oc -n openshift-image-registry rollout status deployment/image-registry"
    )


async def test_a_run_that_is_interrupted_does_not_wait_for_the_restart(empty_sandbox: RunningSandbox) -> None:
    asked = iter([False])
    assert failure_of(await stuck(empty_sandbox, stopping=lambda: next(asked, True), within=60)) == (
        "its restart has begun, and has not ended: the run was interrupted; "
        "see oc -n openshift-image-registry rollout status deployment/image-registry"
    )


async def test_a_run_that_was_interrupted_before_does_not_restart(empty_sandbox: RunningSandbox) -> None:
    result = await stuck(empty_sandbox, stopping=lambda: True)
    assert result.failures == []
    assert result.registry_restart == RegistryRestart(2, done=False, command=COMMAND)
    assert empty_sandbox.requests(method="PATCH") == []


async def test_a_restart_that_is_refused_is_a_failure(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"status": 403}, method="PATCH", path=DEPLOYMENT)
    why = failure_of(await stuck(empty_sandbox))
    assert why.startswith("it was not restarted: ")
    assert "no permission to patch deployments.apps" in why
    assert why.endswith(f"; run {COMMAND}")


async def test_a_restart_that_is_undone_is_a_failure(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.add_fault({"drop": "after"}, method="PATCH", path=DEPLOYMENT, last=1)
    empty_sandbox.add_fault({"status": 200, "body": UNDONE}, method="GET", path=NAMESPACE, first=2)
    assert failure_of(await stuck(empty_sandbox)) == (
        f"its restart was undone by somebody who changed its pod template; run {COMMAND}"
    )


UNDONE = {
    "kind": "DeploymentList",
    "apiVersion": "apps/v1",
    "metadata": {"resourceVersion": "1"},
    "items": [{"metadata": {"name": "image-registry", "generation": 3}, "spec": {"replicas": 2}}],
}


@pytest.mark.parametrize("restart", [False, True])
def test_replicas_that_cannot_be_seen_are_said_to_be_unknown(sandbox_with: StartSandbox, restart: bool) -> None:
    sandbox = sandbox_with()
    asyncio.run(fill(sandbox))
    wanted = asyncio.run(planned(settings(sandbox)))
    sandbox.add_fault({"status": 403}, method="GET", path=NAMESPACE)
    result = asyncio.run(applied(settings(sandbox, restart_registry=restart), wanted))
    assert result.deleted_blobs
    assert result.registry_restart == RegistryRestart(None, done=False, command=COMMAND)
    assert [failure.what for failure in result.failures] == ["deployment image-registry"] * restart
