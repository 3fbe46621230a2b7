"""Which groups and kinds there are: only a complete answer shows that one is absent (R3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pruner.cluster import discovery
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.resources import IMAGES, LEASES, WORKLOADS, Resource
from pruner.cluster.snapshot import take_snapshot
from pruner.errors import ClusterError, ForbiddenError
from tests.conftest import StartSandbox
from tests.pruning import settings_for
from tests.servers import RunningSandbox, running_sandbox

BUILDS = Resource("build.openshift.io", "v1", "builds", "Build")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
ROLLOUTS = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
HTML = {"status": 404, "body": "<html>default backend - 404</html>", "headers": {"content-type": "text/html"}}
OTHER_ANSWERS: dict[str, dict[str, Any]] = {
    "HTML 404": HTML,
    "plain 404": {"status": 404, "body": "404 page not found\n"},
    "HTML": {"status": 200, "body": "<html>Welcome</html>"},
    "nothing": {"status": 200, "body": ""},
    "an empty object": {"status": 200, "body": {}},
    "null": {"status": 200, "body": "null"},
    "a Status": {"status": 200, "body": {"kind": "Status", "status": "Failure", "code": 503}},
    "a list of pods": {"status": 200, "body": {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path_factory.mktemp("cluster") / "data") as sandbox:
        yield sandbox


@pytest.fixture
def cluster(running: RunningSandbox) -> RunningSandbox:
    """An empty cluster, with discovery as it is and without faults."""
    running.set_discovery()
    running.clear_faults()
    running.forget_requests()
    return running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PAUSES", (0.0,) * 4)


def served(sandbox: RunningSandbox, *resources: Resource, user: str = "admin") -> list[bool]:
    async def run() -> list[bool]:
        async with Api(connect(settings_for(sandbox, user))) as api:
            return list(await asyncio.gather(*map(api.serves, resources)))

    return asyncio.run(run())


def asked(sandbox: RunningSandbox) -> list[str]:
    return [entry["path"] for entry in sandbox.requests(server="api")]


def test_all_groups_are_read_with_two_requests(cluster: RunningSandbox) -> None:
    everything = (*WORKLOADS, IMAGES, LEASES)
    assert served(cluster, *everything) == [True] * len(everything)
    assert sorted(asked(cluster)) == ["/api", "/apis"]


def test_older_servers_are_asked_for_each_group_once(cluster: RunningSandbox) -> None:
    cluster.set_discovery(aggregated=False)
    everything = (*WORKLOADS, IMAGES, LEASES, ROLLOUTS)
    assert served(cluster, *everything) == [*([True] * (len(everything) - 1)), False]
    assert len(asked(cluster)) == len(set(asked(cluster))) == 2 + len({it.root for it in everything[:-1]})


@pytest.mark.parametrize("aggregated", [True, False])
def test_a_group_that_is_not_listed_is_absent_R3(sandbox_with: StartSandbox, aggregated: bool) -> None:
    sandbox = sandbox_with("--without-group", "build.openshift.io")
    sandbox.set_discovery(aggregated=aggregated)
    assert served(sandbox, BUILDS, ROLLOUTS, IMAGES) == [False, False, True]


@pytest.mark.parametrize("aggregated", [True, False])
@pytest.mark.parametrize("group", ["build.openshift.io", "image.openshift.io"])
def test_a_group_whose_server_is_down_is_not_absent_R3(cluster: RunningSandbox, group: str, aggregated: bool) -> None:
    cluster.set_discovery(aggregated=aggregated, stale=[group])
    cluster.add_fault({"status": 503, "headers": {"Retry-After": "0"}}, path=f"^/apis/{group}/v1$")
    resource = next(it for it in (BUILDS, IMAGES) if it.group == group)
    with pytest.raises(ClusterError, match="as stale" if aggregated else "503"):
        served(cluster, resource)
    assert served(cluster, DEPLOYMENTS) == [True]


def test_a_snapshot_ends_where_a_group_is_stale_R3(cluster: RunningSandbox) -> None:
    cluster.set_discovery(stale=["build.openshift.io"])

    async def run() -> None:
        async with Api(connect(settings_for(cluster))) as api:
            await take_snapshot(api)

    with pytest.raises(ClusterError, match=r"discovery lists build\.openshift\.io/v1 as stale"):
        asyncio.run(run())


@pytest.mark.parametrize("name", OTHER_ANSWERS)
@pytest.mark.parametrize(
    ("aggregated", "path", "resource"),
    [
        (True, "^/apis$", IMAGES),
        (True, "^/api$", WORKLOADS[0]),
        (False, "^/apis$", IMAGES),
        (False, "^/api$", WORKLOADS[0]),
        (False, "^/apis/build.openshift.io/v1$", BUILDS),
        (False, "^/apis/apps/v1$", DEPLOYMENTS),
        (False, "^/api/v1$", WORKLOADS[0]),
    ],
)
def test_another_answer_than_discovery_is_an_error_unless_it_passes_R3(
    cluster: RunningSandbox, name: str, aggregated: bool, path: str, resource: Resource
) -> None:
    cluster.set_discovery(aggregated=aggregated)
    passing = cluster.add_fault(OTHER_ANSWERS[name], path=path, last=len(discovery.PAUSES))
    assert served(cluster, resource) == [True]
    assert cluster.fired(passing) == len(discovery.PAUSES)
    lasting = cluster.add_fault(OTHER_ANSWERS[name], path=path)
    with pytest.raises(ClusterError, match="is not what an API server gives"):
        served(cluster, resource)
    assert cluster.fired(lasting) == 1 + len(discovery.PAUSES)


@pytest.mark.parametrize("aggregated", [True, False])
def test_what_every_cluster_has_cannot_be_absent_R3(sandbox_with: StartSandbox, aggregated: bool) -> None:
    sandbox = sandbox_with("--without-group", "apps", "--without-group", "batch")
    sandbox.set_discovery(aggregated=aggregated)
    for kind in (DEPLOYMENTS, Resource("batch", "v1", "jobs", "Job"), Resource("", "v1", "podgroups", "PodGroup")):
        with pytest.raises(ClusterError, match=rf"discovery shows no {kind.name} of .* which every cluster has"):
            served(sandbox, kind)


def test_a_refusal_of_discovery_is_one_R3(cluster: RunningSandbox) -> None:
    refused = cluster.add_fault({"status": 403}, path="^/apis$")
    with pytest.raises(ForbiddenError, match="no permission to get /apis"):
        served(cluster, IMAGES)
    assert cluster.fired(refused) == 1
