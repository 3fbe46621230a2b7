"""The Lease of runs: whose it is, when it is lost, and what it keeps for the run after."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pruner.apply.run_lock import SECONDS, RunLock
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.unlink_journal import ANNOTATION, REGISTRY_NAMESPACE, find_unlinked
from pruner.errors import UnsafePlanError
from tests.component.conftest import SavedCluster
from tests.component.test_interruptions import killed_at
from tests.pruning import QuickClock, end_state, plan, prune, settings_for
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
        async with api_of(empty_sandbox) as api, RunLock(api, refuse, refuse) as lease:
            assert lease.held
            return lease.holder

    assert asyncio.run(take())
    assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == ""


def test_who_may_not_renew_a_lease_does_not_hold_it_and_is_told_at_once(empty_sandbox: RunningSandbox) -> None:
    near = {"verbs": ["get", "create"], "resources": ["leases", "namespaces"]}
    empty_sandbox.put_user("creator", [near])
    said: list[str] = []

    async def both() -> None:
        async with api_of(empty_sandbox, "creator") as api, RunLock(api, said.append, refuse) as lease:
            assert not lease.held
            async with api_of(empty_sandbox) as another, RunLock(another, refuse, refuse) as its:
                assert its.held

    asyncio.run(both())
    assert len(said) == 1
    assert said[0].startswith("runs against this cluster are not kept apart: ")
    assert "grant verb 'update' on resource 'leases' of API group 'coordination.k8s.io'" in said[0]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_of_two_runs_that_begin_at_once_one_has_the_lease(empty_sandbox: RunningSandbox, method: str) -> None:
    async def take() -> None:
        async with api_of(empty_sandbox) as api, RunLock(api, refuse, refuse):
            pass

    async def both() -> None:
        slower = asyncio.create_task(take())
        await asyncio.to_thread(empty_sandbox.has_fired, rule)
        async with api_of(empty_sandbox) as api, RunLock(api, refuse, refuse) as lease:
            empty_sandbox.remove_fault(rule)
            with pytest.raises(UnsafePlanError, match="another run against this cluster"):
                await slower
            assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == lease.holder

    rule = empty_sandbox.add_fault({"hold": True}, method=method, path="/leases", last=1)
    asyncio.run(both())


def test_a_lost_answer_to_the_release_is_no_failure(empty_sandbox: RunningSandbox) -> None:
    async def take_and_release() -> None:
        async with api_of(empty_sandbox) as api, RunLock(api, refuse, refuse):
            empty_sandbox.add_fault({"drop": "after"}, method="PUT", path="/leases", last=1)

    asyncio.run(take_and_release())
    assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == ""


def test_a_run_stops_when_it_cannot_renew_its_lease_before_it_expires(empty_sandbox: RunningSandbox) -> None:
    async def lose() -> tuple[str, float]:
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        clock = asyncio.get_running_loop().time
        async with api_of(empty_sandbox) as api, RunLock(api, refuse, lost.set_result, seconds=3):
            empty_sandbox.add_fault({"hang": True}, method="PUT", path="/leases")
            begun = clock()
            return await lost, clock() - begun

    why, took = asyncio.run(lose())
    assert why == "the lease could not be renewed: no answer in time"
    assert took < 3


def test_a_run_stops_when_another_one_has_taken_its_lease(empty_sandbox: RunningSandbox) -> None:
    async def lose() -> str:
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        async with api_of(empty_sandbox) as api, RunLock(api, refuse, lost.set_result, seconds=3):
            taken = empty_sandbox.get(LEASE)
            taken["spec"]["holderIdentity"] = "other"
            assert empty_sandbox.call("PUT", LEASE, taken).status == 200
            return await lost

    assert asyncio.run(lose()) == "another run has taken the lease over"
    assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == "other"


DOUBTFUL: dict[str, object] = {
    "far in the future": "2100-01-01T00:00:00Z",
    "the end of all dates": "9999-12-31T23:59:59.999999-14:00",
    "far in the past": "2001-01-01T00:00:00Z",
    "the beginning of all dates": "0001-01-01T00:00:00+14:00",
    "not a time": "yesterday",
    "empty": "",
    "null": None,
    "a number": 10**30,
    "a list": [],
}


def taken_from(sandbox: RunningSandbox, **spec: Any) -> tuple[dict[str, Any], list[str]]:
    """The spec of the Lease while a run has it that has met one with this spec, and what the run has said."""
    assert sandbox.call("POST", LEASES, lease_with(**spec)).status == 201
    said: list[str] = []

    async def take() -> dict[str, Any]:
        async with api_of(sandbox) as api, RunLock(api, said.append, refuse, clock=QuickClock()) as lease:
            found: dict[str, Any] = sandbox.get(LEASE)["spec"]
            assert found["holderIdentity"] == lease.holder
            return found

    return asyncio.run(take()), said


@pytest.mark.parametrize("renewed", DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_date_that_anybody_wrote_locks_nobody_out(empty_sandbox: RunningSandbox, renewed: object) -> None:
    spec, (said,) = taken_from(empty_sandbox, holderIdentity="ot\nher", renewTime=renewed, leaseDurationSeconds=10**9)
    assert spec["leaseDurationSeconds"] == SECONDS
    assert said.startswith("Lease default/pruner of ot\\u{a}her, renewed at ")
    assert said.endswith(
        "was not released; it is observed for 60 seconds and then taken over, unless its holder renews it"
    )


@pytest.mark.parametrize("seconds", [10**9, 2**63, -5, 0, 1.5, "60", True, None, [60]])
def test_a_duration_that_no_run_wrote_counts_as_the_usual_one(empty_sandbox: RunningSandbox, seconds: object) -> None:
    renewed = (datetime.now(UTC) - timedelta(seconds=90)).isoformat()
    spec, (said,) = taken_from(empty_sandbox, holderIdentity="other", renewTime=renewed, leaseDurationSeconds=seconds)
    assert spec["leaseDurationSeconds"] == SECONDS
    assert "is observed for 60 seconds" in said


@pytest.mark.parametrize(
    ("before", "after"),
    [(3, 4), (2**31 - 1, 1), (2**31 - 2, 2**31 - 1), (-1, 1), ("5", 1), ([], 1), (None, 1), (True, 1), (1.5, 1)],
)
def test_transitions_of_any_type_are_counted_on(empty_sandbox: RunningSandbox, before: object, after: int) -> None:
    spec, said = taken_from(empty_sandbox, holderIdentity="", leaseTransitions=before)
    assert (spec["leaseTransitions"], said) == (after, [])


class Watched(QuickClock):
    """Does something whenever the one who observes a Lease sleeps."""

    def __init__(self, then: Callable[[float], object]) -> None:
        super().__init__()
        self.then = then

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await asyncio.to_thread(self.then, self.slept)


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rewritten(sandbox: RunningSandbox, **spec: Any) -> None:
    """Somebody writes into the spec of the Lease."""
    lease = sandbox.get(LEASE)
    lease["spec"].update(spec)
    assert sandbox.call("PUT", LEASE, lease).status == 200


async def observe(sandbox: RunningSandbox, clock: QuickClock, said: list[str], **more: Any) -> dict[str, Any]:
    """Begin a run; the spec of its Lease."""
    async with api_of(sandbox) as api, RunLock(api, said.append, refuse, clock=clock, **more):
        found: dict[str, Any] = sandbox.get(LEASE)["spec"]
        return found


def test_a_run_at_work_keeps_its_lease_whatever_date_anybody_writes_into_it(empty_sandbox: RunningSandbox) -> None:
    """It renews it at 40 seconds at the latest, or has stopped."""
    for age, renews_after in itertools.product((61, 3600, 23 * 3600, 86_400 * 400), (1, 40, 59)):
        empty_sandbox.call("DELETE", LEASE)
        body = lease_with(holderIdentity="at-work", renewTime=ago(age), leaseDurationSeconds=60)
        assert empty_sandbox.call("POST", LEASES, body).status == 201
        renewed = threading.Event()

        def renew(slept: float, after: float = renews_after, renewed: threading.Event = renewed) -> None:
            if slept >= after and not renewed.is_set():
                renewed.set()
                rewritten(empty_sandbox, renewTime=ago(0))

        said: list[str] = []
        with pytest.raises(
            UnsafePlanError, match=r"another run against this cluster \(at-work, .* is at work"
        ) as caught:
            asyncio.run(observe(empty_sandbox, Watched(renew), said))
        assert renewed.is_set()
        assert said[0].startswith("Lease default/pruner of at-work, renewed at ")
        assert "or delete Lease default/pruner if no run is at work" in str(caught.value)
        assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == "at-work"


@pytest.mark.parametrize(("duration", "observed"), [(60, 60), (15, 15), (300, 300), (10**6, 60)])
def test_the_lease_of_a_killed_run_is_observed_for_as_long_as_it_lasts(
    empty_sandbox: RunningSandbox, duration: int, observed: float
) -> None:
    body = lease_with(holderIdentity="killed", renewTime=ago(400), leaseDurationSeconds=duration)
    assert empty_sandbox.call("POST", LEASES, body).status == 201
    clock = QuickClock()
    spec = asyncio.run(observe(empty_sandbox, clock, []))
    assert spec["holderIdentity"] != "killed"
    assert clock.slept == pytest.approx(observed)


def test_an_annotation_that_anybody_changes_all_the_time_keeps_nobody_out(empty_sandbox: RunningSandbox) -> None:
    assert empty_sandbox.call("POST", LEASES, lease_with(holderIdentity="killed", renewTime=ago(90))).status == 201
    times: list[float] = []

    def annotate(slept: float) -> None:
        times.append(slept)
        lease = empty_sandbox.get(LEASE)
        lease["metadata"]["annotations"] = {"example.org/time": str(slept)}
        assert empty_sandbox.call("PUT", LEASE, lease).status == 200

    assert asyncio.run(observe(empty_sandbox, Watched(annotate), []))["holderIdentity"] != "killed"
    assert len(times) > 3


def test_a_lease_that_is_released_or_deleted_while_it_is_observed_is_taken_at_once(
    empty_sandbox: RunningSandbox,
) -> None:
    ways: list[Callable[[float], object]] = [
        lambda _: rewritten(empty_sandbox, holderIdentity=""),
        lambda _: empty_sandbox.call("DELETE", LEASE),
    ]
    for freed in ways:
        empty_sandbox.call("DELETE", LEASE)
        body = lease_with(holderIdentity="other", renewTime=ago(90))
        assert empty_sandbox.call("POST", LEASES, body).status == 201
        clock = Watched(freed)
        assert asyncio.run(observe(empty_sandbox, clock, []))["holderIdentity"] not in ("", "other")
        assert clock.slept == pytest.approx(5)


def test_the_wish_to_stop_ends_the_observation(empty_sandbox: RunningSandbox) -> None:
    assert empty_sandbox.call("POST", LEASES, lease_with(holderIdentity="other", renewTime=ago(90))).status == 201
    clock = QuickClock()
    with pytest.raises(UnsafePlanError, match="interrupted while the Lease of another run was observed"):
        asyncio.run(observe(empty_sandbox, clock, [], interrupted=lambda: clock.slept >= 10))
    assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == "other"


def test_a_run_renews_its_lease_under_whatever_date_anybody_writes_into_it(empty_sandbox: RunningSandbox) -> None:
    async def renew() -> None:
        async with api_of(empty_sandbox) as api, RunLock(api, refuse, refuse, seconds=3) as lease:
            rewritten(empty_sandbox, renewTime="2001-01-01T00:00:00Z")
            await asyncio.to_thread(empty_sandbox.has_fired, rule)
            assert lease.held

    # It is taken, tampered with, renewed in vain since it has changed, and renewed.
    rule = empty_sandbox.add_fault({"delay": 0}, method="PUT", path="/leases/pruner$", first=4)
    asyncio.run(renew())
    assert empty_sandbox.get(LEASE)["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize(
    "journal",
    [
        "{",
        "5",
        "null",
        "[" * 5000,
        '{"a/b": 5}',
        '{"a/b": [5]}',
        '{"a/b": ["../../x"]}',
        '{"a/../b": ["sha256:1"]}',
        '{"": ["sha256:1"]}',
    ],
)
def test_a_journal_that_no_run_wrote_is_ignored_and_removed(empty_sandbox: RunningSandbox, journal: str) -> None:
    body = lease_with(holderIdentity="")
    body["metadata"]["annotations"] = {ANNOTATION: journal}
    assert empty_sandbox.call("POST", LEASES, body).status == 201
    said: list[str] = []

    async def take() -> None:
        async with api_of(empty_sandbox) as api:
            assert await find_unlinked(api) == {}
            async with RunLock(api, said.append, refuse) as lease:
                assert lease.journal.unlinked == {}

    asyncio.run(take())
    assert "entries of its annotation pruner/unlinked that no run has written are ignored and removed" in said[0]
    assert ANNOTATION not in (empty_sandbox.get(LEASE)["metadata"].get("annotations") or {})


def test_what_is_about_to_be_unlinked_is_written_before_and_found_by_the_next_run(
    empty_sandbox: RunningSandbox,
) -> None:
    async def both() -> None:
        async with api_of(empty_sandbox) as api:
            async with RunLock(api, refuse, refuse) as lease:
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
                    lease.journal.forget(f"a/{number}")
            async with RunLock(api, refuse, refuse) as lease:
                assert lease.journal.unlinked == {"a/8": {"sha256:1"}}
                lease.journal.forget("a/8")

    asyncio.run(both())
    assert ANNOTATION not in (empty_sandbox.get(LEASE)["metadata"].get("annotations") or {})


def test_the_lease_is_with_the_registry_where_there_is_one(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.call("POST", "/api/v1/namespaces", {"metadata": {"name": REGISTRY_NAMESPACE}})

    async def take() -> None:
        async with api_of(empty_sandbox) as api, RunLock(api, refuse, refuse):
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
