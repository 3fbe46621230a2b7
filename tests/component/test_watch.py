"""What comes up during a run, and what is done where that cannot be seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pruner.analysis import analyse
from pruner.apply import Result
from pruner.apply.watch import Watcher
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.resources import WORKLOADS
from pruner.cluster.snapshot import take_snapshot
from pruner.errors import ClusterError
from pruner.http.client import Timeouts
from pruner.plan import PrunePlan
from pruner.settings import read
from sandbox.builder import noise
from tests.pruning import applied, broken_images, plan, settings_for
from tests.servers import RunningSandbox

PODS = WORKLOADS[0]


@asynccontextmanager
async def watching(sandbox: RunningSandbox, good_for: float) -> AsyncIterator[Watcher]:
    settings = settings_for(sandbox)
    async with Api(connect(settings)) as api:
        snapshot = await take_snapshot(api)
        async with Watcher(api, settings, snapshot, good_for) as watcher:
            analysis = analyse(snapshot, settings.analysis)
            watcher.begin(analysis.graph, lambda _: None)
            yield watcher


@pytest.mark.parametrize(("good_for", "fresh"), [(60.0, True), (0.0, False)])
def test_where_nothing_can_be_watched_a_look_is_good_for_a_while(
    sandbox: RunningSandbox, good_for: float, fresh: bool
) -> None:
    sandbox.add_fault({"status": 403}, path="watch=true")

    async def ask() -> None:
        async with watching(sandbox, good_for) as watcher:
            assert await watcher.is_fresh() is fresh
            assert watcher.failure is not None

    asyncio.run(ask())


def test_deletions_wait_until_everything_is_watched(sandbox: RunningSandbox) -> None:
    async def ask() -> None:
        rule = sandbox.add_fault({"hold": True}, path="/pods[?]watch=true")
        async with watching(sandbox, 0.0) as watcher:
            asked = asyncio.create_task(watcher.is_fresh())
            assert await asyncio.to_thread(sandbox.has_fired, rule)
            assert not asked.done()
            await asyncio.to_thread(sandbox.remove_fault, rule)
            assert await asked

    asyncio.run(ask())


def test_a_watch_that_has_gone_silent_is_noticed() -> None:
    """The server says that it watches, and nothing more, as when the connection has died."""
    closed = asyncio.Event()

    async def only_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        await reader.read()
        writer.close()
        closed.set()

    async def follow() -> None:
        try:
            await follow_it()
        finally:
            await closed.wait()

    async def follow_it() -> None:
        async with await asyncio.start_server(only_a_head, "127.0.0.1", 0) as server:
            host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            connection = connect(read({"host": host, "api_key": "t"}))
            async with (
                Api(connection, timeouts=Timeouts(read=0.2)) as api,
                api.watch(PODS, "1", seconds=0) as events,
            ):
                async for _ in events:
                    pass

    with pytest.raises(ClusterError, match="timed out waiting for a response"):
        asyncio.run(follow())


def held(sandbox: RunningSandbox, wanted: PrunePlan, happening: Any, **match: Any) -> Result:
    """Run, and let something happen while the first request that matches is held."""

    async def run() -> Result:
        rule = sandbox.add_fault({"hold": True}, last=1, **match)
        running = asyncio.create_task(applied(settings_for(sandbox, workers=1), wanted))
        assert await asyncio.to_thread(sandbox.has_fired, rule)
        await asyncio.to_thread(happening)
        await asyncio.to_thread(sandbox.clear_faults)
        return await running

    return asyncio.run(run())


def test_what_cannot_be_understood_stops_deletions_at_once_and_the_result_is_kept(sandbox: RunningSandbox) -> None:
    wanted = plan(settings_for(sandbox))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd", "namespace": "shop"}}

    def come_up() -> None:
        odd = {**pod, "spec": {"containers": "none of the kind"}}
        assert sandbox.call("POST", "/api/v1/namespaces/shop/pods", odd).status == 201
        sandbox.get("/api/v1/namespaces/shop/pods/odd")

    result = held(sandbox, wanted, come_up, method="DELETE", path="^/admin/blobs/", server="registry")
    assert [failure.what for failure in result.failures] == ["the rest of the plan"]
    assert len(result.deleted_blobs) == 1
    assert result.deleted_images == []
    assert result.updated_image_streams
    assert broken_images(sandbox) == []


def test_a_look_that_fails_in_the_middle_of_a_run_does_not_lose_the_result(sandbox: RunningSandbox) -> None:
    wanted = plan(settings_for(sandbox))
    sandbox.add_fault({"status": 403}, path="/pods[?]limit", first=2)
    result = asyncio.run(applied(settings_for(sandbox), wanted))
    assert len(result.updated_image_streams) == sum(bool(change.revisions) for change in wanted.streams)
    assert "no permission to list pods" in result.failures[-1].why
    assert result.deleted_images == []


def test_a_new_image_that_cannot_be_read_is_a_failure_of_its_stream_alone(sandbox: RunningSandbox) -> None:
    wanted, pushed = plan(settings_for(sandbox)), list[str]()

    async def push() -> None:
        async with sandbox.builder() as cluster:
            pushed.append(await cluster.push("shop/web:new", layers=[noise("new", 100)]))

    def come_up() -> None:
        asyncio.run(push())
        sandbox.add_fault({"status": 403}, method="GET", path=f"/images/{pushed[0]}")

    # Only the rule that holds is removed: the other one stays until the end.
    async def run() -> Result:
        rule = sandbox.add_fault({"hold": True}, method="GET", path="/imagestreams/web$", last=1)
        running = asyncio.create_task(applied(settings_for(sandbox, workers=1), wanted))
        assert await asyncio.to_thread(sandbox.has_fired, rule)
        await asyncio.to_thread(come_up)
        await asyncio.to_thread(sandbox.remove_fault, rule)
        return await running

    result = asyncio.run(run())
    assert [failure.what for failure in result.failures] == ["image stream shop/web"]
    assert len(result.updated_image_streams) == sum(bool(change.revisions) for change in wanted.streams)
    assert result.deleted_images
    assert broken_images(sandbox) == []


@pytest.mark.parametrize("path", ["^/admin/blobs/", "^/v2/shop/web/blobs/"])
def test_a_deletion_is_not_repeated_when_what_it_takes_has_come_into_use_meanwhile(
    sandbox: RunningSandbox, path: str
) -> None:
    """The registry asks for a delay, and a pod comes up during it."""
    settings = settings_for(sandbox, workers=1)
    wanted = plan(settings)
    digest = next(item.image for change in wanted.streams for item in change.revisions if change.stream == "shop/web")
    image = sandbox.images()[digest]
    own = image["dockerImageLayers"][-1]["name"]

    async def use() -> Result:
        busy = {"status": 503, "headers": {"Retry-After": "1"}}
        rule = sandbox.add_fault(busy, method="DELETE", path=path + own, server="registry", last=1)
        running = asyncio.create_task(applied(settings, wanted))
        assert await asyncio.to_thread(sandbox.has_fired, rule)
        async with sandbox.builder() as cluster:
            await cluster.pod("shop/late", cluster.pull_spec(f"shop/web@{digest}"))
        return await running

    result = asyncio.run(use())
    asked = [entry for entry in sandbox.requests(method="DELETE") if entry["path"].endswith(own)]
    assert len([entry for entry in asked if entry["path"].startswith(path[1:])]) == 1
    assert digest in sandbox.images()
    assert any("Pod shop/late" in skipped.why for skipped in result.skipped)
