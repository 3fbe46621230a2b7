"""Runs during which something happens in the cluster while a write is held."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.apply import Result
from pruner.plan import PrunePlan
from pruner.settings import Settings
from sandbox.builder import Builder, noise
from tests.pruning import applied, missing_of, plan, settings_for
from tests.servers import RunningSandbox
from tests.small_clusters import SMALL, settings_of

DELETIONS: Final = "/imagestreams/|/images/|^/v2/|^/admin/"

Happening = Callable[[Builder], Coroutine[Any, Any, None]]


async def run_with(
    sandbox: RunningSandbox, settings: Settings, wanted: PrunePlan, write: int, happening: Happening
) -> Result | None:
    """Run, and let something happen while the n-th write is held; None when there are fewer writes than that."""
    rule = sandbox.add_fault({"hold": True}, method="PUT|DELETE", path=DELETIONS, first=write, last=write)
    run = asyncio.create_task(applied(settings, wanted))
    run.add_done_callback(lambda _: sandbox.clear_faults())
    if not await asyncio.to_thread(sandbox.has_fired, rule):
        await run
        return None
    async with sandbox.builder() as cluster:
        await happening(cluster)
    await asyncio.to_thread(sandbox.clear_faults)
    return await run


def in_flight(sandbox: RunningSandbox) -> tuple[str, str]:
    """Method and path of the request that is held."""
    held = [
        it for it in sandbox.requests() if it["status"] is None and re.search(DELETIONS, it["path"].partition("?")[0])
    ]
    return next((it["method"], it["path"]) for it in held if it["method"] in ("PUT", "DELETE"))


class Pushed(msgspec.Struct, frozen=True):
    """An image that was pushed while a write was held, and what of it the run deleted because that was in flight."""

    write: int
    digest: str
    lost: frozenset[str]


def pushes_at_every_write(
    sandbox: RunningSandbox, folder: Path, cluster: str, ref: str, layers: Sequence[bytes]
) -> Iterator[Pushed]:
    """Run once for each write of a run, and push an image with these layers and one of its own while the write is held.

    What was in flight when the push came cannot be called back, but it must be reported.
    """
    for write in range(1, 1000):
        sandbox.restore(folder)
        settings = settings_for(sandbox, workers=1, **settings_of(cluster))
        wanted, pushed, flying = plan(settings), list[str](), set[str]()

        async def push(
            builder: Builder, write: int = write, pushed: list[str] = pushed, flying: set[str] = flying
        ) -> None:
            pushed.append(await builder.push(ref, layers=[*layers, noise(f"new {write}", SMALL)]))
            flying.add(in_flight(sandbox)[1].rpartition("/")[2])

        sandbox.forget_requests()
        result = asyncio.run(run_with(sandbox, settings, wanted, write, push))
        if result is None:
            return
        image = sandbox.images()[pushed[0]]
        lost = frozenset(what.partition(" ")[2] for what in missing_of(sandbox, ref.partition(":")[0], image))
        assert lost <= flying, f"pushed before write {write}"
        assert {failure.what.partition(" ")[0] for failure in result.failures} == lost, f"pushed before write {write}"
        yield Pushed(write, pushed[0], lost)
