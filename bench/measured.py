"""What is measured, each run in a process of its own: it does one thing against a server and prints the figures.

    python -m bench.measured floor URL [decode]
    python -m bench.measured plan URL [registry|rules|grace]
    python -m bench.measured elsewhere URL [OTHER_URL ...]
    python -m bench.measured reading OTHER_URL ...
    python -m bench.measured apply|bare URL TOKEN [WORKERS]

Wall and CPU time are those of the work, without the start of the interpreter and imports, which are the same whatever
the size; peak memory is the whole process's.
"""

# ruff: noqa: PLC0415 - what a process does not use, it does not import: its memory is measured
from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

PAGE = 500

Request = tuple[str, str, bytes | None]
"""Method, address and body."""


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


def floor(url: str, decode: str = "") -> None:
    """The same lists, in the same order, fetched by a bare client that looks for the next page's token only.

    With `decode` the fields that rules read are decoded as well, and thrown away: the least that anything in Python has
    to do.
    """
    import gc
    import re

    import aiohttp

    from pruner.cluster.lists import decoder_of_pages
    from pruner.cluster.objects import ApiImage, ImageStream
    from pruner.cluster.resources import CONTROLLER_REVISIONS, IMAGE_STREAMS, IMAGES, LIMIT_RANGES, WORKLOADS
    from pruner.cluster.workloads import Workload

    token = re.compile(rb'"continue":"([^"]*)"')
    decoders: dict[str, Any] = {
        IMAGES.path(): decoder_of_pages(ApiImage),
        IMAGE_STREAMS.path(): decoder_of_pages(ImageStream),
    }
    workloads = decoder_of_pages(Workload)

    async def pages(session: aiohttp.ClientSession, path: str) -> None:
        after = ""
        while True:
            async with session.get(f"{url}{path}?limit={PAGE}{after}") as answer:
                body = await answer.read()
            if decode:
                decoders.get(path, workloads).decode(body)
            found = token.search(body, 0, 500)
            if found is None:
                return
            after = f"&continue={found[1].decode()}"

    async def fetch() -> None:
        gc.disable()
        async with aiohttp.ClientSession() as session:
            await pages(session, IMAGES.path())
            await pages(session, IMAGE_STREAMS.path())
            rest = (*WORKLOADS, CONTROLLER_REVISIONS, LIMIT_RANGES)
            await asyncio.gather(*(pages(session, kind.path()) for kind in rest))

    measured(lambda: asyncio.run(fetch()) or {})


# --- ours -------------------------------------------------------------------------------------------------------------


def plan(url: str, more: str = "") -> None:
    """A plan; `registry`: one of its blobs and links as well; `rules`: with retention rules by which no tag expires;
    `grace`: one that keeps retired images.
    """
    from bench.clusters import GRACE
    from pruner.cluster.api import Api
    from pruner.cluster.connection import connect
    from pruner.planning import make_plan
    from pruner.settings import read

    async def make() -> dict[str, Any]:
        to_registry = {"registry_url": url} if more == "registry" else {"prune_registry": False}
        other: dict[str, Any] = {}
        if more == "rules":
            from bench.groups.retention import that_keep

            other = {"retention": that_keep()}
        if more == "grace":
            other = {"grace": f"{GRACE}m"}
        settings = read({"host": url, "api_key": "bench", **to_registry, **other}, environ={})
        async with Api(connect(settings), workers=settings.workers) as api:
            made = (await make_plan(api, settings)).plan
        counts = {"images": len(made.images), "revisions": made.summary.revisions, "blobs": len(made.blobs)}
        return {**counts, "retirements": len(made.retired) + len(made.needed_again)}

    measured(lambda: asyncio.run(make()))


def _others(urls: tuple[str, ...]) -> list[dict[str, Any]]:
    settings = ({"host": url, "api_key": "bench"} for url in urls)
    return [{"name": f"other-{number}", "settings": each} for number, each in enumerate(settings)]


def elsewhere(url: str, *others: str) -> None:
    """A plan of a cluster whose registry others use."""
    from pruner.cluster.api import Api
    from pruner.cluster.connection import connect
    from pruner.planning import make_plan
    from pruner.settings import read

    settings = read(
        {"host": url, "api_key": "bench", "prune_registry": False, "uses_from": _others(others)}, environ={}
    )

    async def make() -> dict[str, Any]:
        async with Api(connect(settings), workers=settings.workers) as api:
            return {"revisions": (await make_plan(api, settings)).plan.summary.revisions}

    measured(lambda: asyncio.run(make()))


def reading(*others: str) -> None:
    """What is read of other clusters that use a registry, without a plan."""
    from pruner.cluster.other_clusters import other_sessions, read_others
    from pruner.http.client import Timeouts
    from pruner.settings import read

    settings = read({"host": others[0], "api_key": "bench", "uses_from": _others(others)}, environ={})

    async def fetch() -> dict[str, Any]:
        async with other_sessions(settings, Timeouts()) as sessions:
            found = await read_others(
                sessions,
                references=settings.references,
                extra_referrers=settings.extra_referrers,
                hosts=frozenset(),
                progress=lambda _: None,
            )
        return {"workloads": sum(len(each.referrers) for each in found)}

    measured(lambda: asyncio.run(fetch()))


# --- deletions --------------------------------------------------------------------------------------------------------


def apply(url: str, token: str, workers: str = "") -> None:
    """Our run of a plan that was made before the clock starts."""
    from pruner.apply import apply_plan
    from pruner.cluster.api import Api
    from pruner.cluster.connection import connect
    from pruner.planning import make_plan
    from pruner.settings import read

    settings = read({"host": url, "api_key": token, "workers": workers or None}, environ={})

    async def run(work: Callable[[Api], Any]) -> Any:
        async with Api(connect(settings), workers=settings.workers) as api:
            return await work(api)

    made = asyncio.run(run(lambda api: make_plan(api, settings))).plan

    async def prune(api: Api) -> dict[str, Any]:
        result = await apply_plan(api, made, settings)
        assert not result.failures, result.failures
        done = len(result.updated_image_streams) + len(result.deleted_links)
        return {"deletions": done + len(result.deleted_blobs) + len(result.deleted_images)}

    measured(lambda: asyncio.run(run(prune)))


def bare(url: str, token: str) -> None:
    """The same deletions by a bare client, as many at once: it knows beforehand what to send, and asks nothing."""
    import aiohttp
    import msgspec

    from pruner.apply.image_streams import without_items
    from pruner.cluster.api import Api
    from pruner.cluster.connection import connect
    from pruner.planning import make_plan
    from pruner.settings import read

    settings = read({"host": url, "api_key": token}, environ={})
    streams = f"{url}/apis/image.openshift.io/v1/imagestreams"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def prepare() -> list[list[Request]]:
        async with Api(connect(settings), workers=settings.workers) as api:
            made = (await make_plan(api, settings)).plan
        async with aiohttp.ClientSession(headers=headers) as session, session.get(streams) as answer:
            found = {
                (each["metadata"]["namespace"], each["metadata"]["name"]): each
                for each in msgspec.json.decode(await answer.read())["items"]
            }
        assert made.registry is not None
        registry = made.registry.url
        updates: list[Request] = []
        links: list[Request] = []
        for change in made.streams:
            pruned = {(item.tag, item.revision) for item in change.revisions}
            body = msgspec.json.encode(without_items(found[change.namespace, change.name], pruned))
            path = f"{url}/apis/image.openshift.io/v1/namespaces/{change.namespace}/imagestreams/{change.name}/status"
            updates.append(("PUT", path, body))
            for kind, digests in (("blobs", change.layer_links), ("manifests", change.manifest_links)):
                links += [("DELETE", f"{registry}/v2/{change.stream}/{kind}/{digest}", None) for digest in digests]
        blobs: list[Request] = [("DELETE", f"{registry}/admin/blobs/{blob.digest}", None) for blob in made.blobs]
        images: list[Request] = [
            ("DELETE", f"{url}/apis/image.openshift.io/v1/images/{image.name}", None) for image in made.images
        ]
        return [updates, links, blobs, images]

    steps = asyncio.run(prepare())

    async def send() -> None:
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
            for step in steps:
                waiting = iter(step)

                async def worker(waiting: Any = waiting) -> None:
                    for method, where, body in waiting:
                        async with session.request(method, where, data=body) as answer:
                            await answer.read()
                            assert answer.status < 300, (method, where, answer.status)

                await asyncio.gather(*(worker() for _ in range(settings.workers)))

    def work() -> dict[str, Any]:
        asyncio.run(send())
        return {"deletions": sum(map(len, steps))}

    measured(work)


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {
        "floor": floor,
        "plan": plan,
        "elsewhere": elsewhere,
        "reading": reading,
        "apply": apply,
        "bare": bare,
    }
    commands[sys.argv[1]](*sys.argv[2:])
