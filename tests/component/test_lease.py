"""The Lease of runs: whose it is, when it is lost, and what it keeps for the run after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pruner.apply.lease import RunLease
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.leftovers import ANNOTATION, REGISTRY_NAMESPACE, find_unlinked
from pruner.errors import UnsafePlanError
from tests.component.conftest import SavedCluster
from tests.component.test_interruptions import killed_at
from tests.pruning import end_state, plan, prune, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
LEASE = f"{LEASES}/pruner"


@asynccontextmanager
async def api_of(sandbox: RunningSandbox, user: str = "admin") -> AsyncIterator[Api]:
    async with Api(connect(settings_for(sandbox, user))) as api:
        yield api


def refuse(message: str) -> None:
    raise AssertionError(message)


def lease_with(**spec: Any) -> dict[str, Any]:
    head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return {**head, "metadata": {"name": "pruner", "namespace": "default"}, "spec": spec}


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_lost_answer_to_the_taking_is_not_another_run(empty_sandbox: RunningSandbox, method: str) -> None:
    if method == "PUT":
        assert empty_sandbox.call("POST", LEASES, lease_with(holderIdentity="")).status == 201
    empty_sandbox.add_fault({"drop": "after"}, method=method, path="/leases", last=1)

    async def take() -> str:
        async with api_of(empty_sandbox) as api, RunLease(api, refuse, refuse) as lease:
            assert lease.held
            return lease.holder

    assert asyncio.run(take())
    assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == ""


def test_who_may_not_renew_a_lease_does_not_hold_it_and_is_told_at_once(empty_sandbox: RunningSandbox) -> None:
    near = {"verbs": ["get", "create"], "resources": ["leases", "namespaces"]}
    empty_sandbox.put_user("creator", [near])
    said: list[str] = []

    async def both() -> None:
        async with api_of(empty_sandbox, "creator") as api, RunLease(api, said.append, refuse) as lease:
            assert not lease.held
            async with api_of(empty_sandbox) as another, RunLease(another, refuse, refuse) as its:
                assert its.held

    asyncio.run(both())
    assert len(said) == 1
    assert said[0].startswith("runs against this cluster are not kept apart: ")
    assert "grant verb 'update' on resource 'leases' of API group 'coordination.k8s.io'" in said[0]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_of_two_runs_that_begin_at_once_one_has_the_lease(empty_sandbox: RunningSandbox, method: str) -> None:
    async def take() -> None:
        async with api_of(empty_sandbox) as api, RunLease(api, refuse, refuse):
            pass

    async def both() -> None:
        slower = asyncio.create_task(take())
        await asyncio.to_thread(empty_sandbox.has_fired, rule)
        async with api_of(empty_sandbox) as api, RunLease(api, refuse, refuse) as lease:
            empty_sandbox.remove_fault(rule)
            with pytest.raises(UnsafePlanError, match="another run against this cluster"):
                await slower
            assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == lease.holder

    rule = empty_sandbox.add_fault({"hold": True}, method=method, path="/leases", last=1)
    asyncio.run(both())


def test_a_lost_answer_to_the_release_is_no_failure(empty_sandbox: RunningSandbox) -> None:
    async def take_and_release() -> None:
        async with api_of(empty_sandbox) as api, RunLease(api, refuse, refuse):
            empty_sandbox.add_fault({"drop": "after"}, method="PUT", path="/leases", last=1)

    asyncio.run(take_and_release())
    assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == ""


def test_a_run_stops_when_it_cannot_renew_its_lease_before_it_expires(empty_sandbox: RunningSandbox) -> None:
    async def lose() -> tuple[str, float]:
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        clock = asyncio.get_running_loop().time
        async with api_of(empty_sandbox) as api, RunLease(api, refuse, lost.set_result, seconds=3):
            empty_sandbox.add_fault({"hang": True}, method="PUT", path="/leases")
            begun = clock()
            return await lost, clock() - begun

    why, took = asyncio.run(lose())
    assert why == "the lease could not be renewed: no answer in time"
    assert took < 3


def test_a_run_stops_when_another_one_has_taken_its_lease(empty_sandbox: RunningSandbox) -> None:
    async def lose() -> str:
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        async with api_of(empty_sandbox) as api, RunLease(api, refuse, lost.set_result, seconds=3):
            taken = empty_sandbox.get(LEASE)
            taken["spec"]["holderIdentity"] = "other"
            assert empty_sandbox.call("PUT", LEASE, taken).status == 200
            return await lost

    assert asyncio.run(lose()) == "another run has taken the lease over"
    assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == "other"


def test_a_lease_with_a_time_that_is_none_is_refused(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.call("POST", LEASES, lease_with(holderIdentity="other", renewTime="yesterday"))

    async def take() -> None:
        async with api_of(empty_sandbox) as api, RunLease(api, refuse, refuse):
            pass

    with pytest.raises(UnsafePlanError, match="'yesterday' is no time"):
        asyncio.run(take())


def test_what_is_about_to_be_unlinked_is_written_before_and_found_by_the_next_run(
    empty_sandbox: RunningSandbox,
) -> None:
    async def both() -> None:
        async with api_of(empty_sandbox) as api:
            async with RunLease(api, refuse, refuse) as lease:
                empty_sandbox.forget_requests()
                await asyncio.gather(
                    *(
                        lease.about_to_unlink(f"a/{number}", ["sha256:1", "sha256:2"], ["sha256:1"])
                        for number in range(9)
                    )
                )
                # Notes that come at once are written at once.
                assert len(empty_sandbox.requests(method="PUT")) <= 2
                noted = await find_unlinked(api)
                assert noted == {f"a/{number}": frozenset({"sha256:1"}) for number in range(9)}
                for number in range(8):
                    lease.unlinked_all(f"a/{number}")
            async with RunLease(api, refuse, refuse) as lease:
                assert lease.unlinked == {"a/8": {"sha256:1"}}
                lease.unlinked_all("a/8")

    asyncio.run(both())
    assert ANNOTATION not in (empty_sandbox.get(LEASE)["metadata"].get("annotations") or {})


def test_the_lease_is_with_the_registry_where_there_is_one(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.call("POST", "/api/v1/namespaces", {"metadata": {"name": REGISTRY_NAMESPACE}})

    async def take() -> None:
        async with api_of(empty_sandbox) as api, RunLease(api, refuse, refuse):
            pass

    asyncio.run(take())
    assert empty_sandbox.get(LEASE.replace("/default/", f"/{REGISTRY_NAMESPACE}/"))
    assert empty_sandbox.call("GET", LEASE).status == 404


def test_without_a_lease_a_killed_run_leaves_one_link_that_nothing_tells_of(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    """That of an item whose Image is absent: 71 bytes, and no more than that."""
    saved = saved_cluster("demo")
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        forbidden: dict[str, Any] = {"path": "/coordination.k8s.io/v1/namespaces"}
        sandbox.add_fault({"status": 403}, **forbidden)
        wanted = plan(settings_for(sandbox))
        absent = next(
            (change.stream, item.image)
            for change in wanted.streams
            for item in change.revisions
            if item.reason.rule == "R19"
        )
        link = "/v2/{}/manifests/{}$".format(*absent)
        assert killed_at(sandbox, settings_for(sandbox, workers=1), wanted, 1, link)
        sandbox.add_fault({"status": 403}, **forbidden)
        assert prune(settings_for(sandbox, as_of=wanted.as_of.isoformat())).failures == []
        left, expected = json.loads(end_state(sandbox)), json.loads(saved.end)
    files = set(left.pop("files")) - set(expected.pop("files"))
    assert left == expected
    assert files == {"repositories/{}/_manifests/revisions/{}/link".format(absent[0], absent[1].replace(":", "/"))}
