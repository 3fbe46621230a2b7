"""What is measured, each run in a process of its own: it does one thing against a server and prints what that took as JSON.

    python -m bench.measured floor|plan URL

Wall and CPU time are those of the work, without interpreter start and imports, which are the same whatever the size; peak memory is the
whole process's.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

PAGE = 500


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(work: Callable[[], dict[str, Any]]) -> None:
    """Do it, and print what it gave and took: seconds, and bytes at the peak."""
    before, began = cpu(), time.perf_counter()
    gave = work()
    took = {"wall": time.perf_counter() - began, "cpu": cpu() - before}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**took, "memory": peak, **gave}))


# --- the floor --------------------------------------------------------------------------------------------------------


def floor(url: str) -> None:
    """The same lists, in the same order, fetched by a bare client that looks for the next page's token and for nothing else."""
    import re

    import aiohttp

    from pruner.cluster.resources import CONTROLLER_REVISIONS, IMAGE_STREAMS, IMAGES, LIMIT_RANGES, WORKLOADS

    token = re.compile(rb'"continue":"([^"]*)"')

    async def pages(session: aiohttp.ClientSession, path: str) -> None:
        after = ""
        while True:
            async with session.get(f"{url}{path}?limit={PAGE}{after}") as answer:
                found = token.search(await answer.read(), 0, 500)
            if found is None:
                return
            after = f"&continue={found[1].decode()}"

    async def fetch() -> None:
        async with aiohttp.ClientSession() as session:
            await pages(session, IMAGES.path())
            await pages(session, IMAGE_STREAMS.path())
            rest = (*WORKLOADS, CONTROLLER_REVISIONS, LIMIT_RANGES)
            await asyncio.gather(*(pages(session, kind.path()) for kind in rest))

    measured(lambda: asyncio.run(fetch()) or {})


# --- ours -------------------------------------------------------------------------------------------------------------


def plan(url: str) -> None:
    from pruner.cluster.api import Api
    from pruner.cluster.connection import connect
    from pruner.planning import make_plan
    from pruner.settings import read

    async def make() -> dict[str, Any]:
        settings = read({"host": url, "api_key": "bench", "prune_registry": False}, environ={})
        async with Api(connect(settings), workers=settings.workers) as api:
            made = (await make_plan(api, settings)).plan
        return {"images": len(made.images), "revisions": made.summary.revisions, "fingerprint": made.fingerprint}

    measured(lambda: asyncio.run(make()))


if __name__ == "__main__":
    {"floor": floor, "plan": plan}[sys.argv[1]](sys.argv[2])
