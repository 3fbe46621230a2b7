"""Deletions per second: our run, a bare client and the Ansible module, each on a copy of the same sandbox.

The sandbox is filled by pushing; each tag has 20 revisions of which 17 go, with layers of their own and shared ones. On loopback it
answers at once and one process of it is what limits all; with LATENCY each answer takes as long as those of a real cluster.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from sandbox.builder import Builder, noise
from tests.servers import copied, running_sandbox

REVISIONS: Final = 20
LATENCY: Final = 0.012
"""Seconds: `oc adm prune images` on a real OpenShift made 7,500 deletions and updates in 17.8 s with five workers."""
TIMES: Final = 5
"""Of so many runs, in turns, the best counts: here, and of plans."""
WORKERS: Final = (1, 5, 10, 20, 50, 100)

Json = dict[str, Any]


async def fill(builder: Builder, images: int) -> None:
    async with builder:
        shared = [noise(f"shared {at}", 400) for at in range(3)]
        tags = images // REVISIONS
        for tag in range(tags):
            await builder.namespace(f"team-{tag % 5}")
        async with builder.days_ago(100):

            async def push_all(tag: int) -> None:
                for revision in range(REVISIONS):
                    own = [noise(f"{tag} {revision} {at}", 200) for at in range(2)]
                    await builder.push(f"team-{tag % 5}/app-{tag}:latest", layers=[*shared, *own])

            await asyncio.gather(*map(push_all, range(tags)))
        # Without any workload the view of the cluster would be taken for broken.
        await builder.deployment("team-0/app", builder.pull_spec("team-0/app-0:latest"), age_days=50)


def filled(folder: Path, images: int) -> Path:
    with running_sandbox(folder) as sandbox:
        asyncio.run(fill(sandbox.builder(), images))
    return folder


def run(command: list[str], timeout: float = 600) -> Json:
    found: Json = json.loads(subprocess.check_output(command, timeout=timeout))
    return found


def measure(folder: Path, images: int, ansible: str | None, *, latency: bool) -> Json:
    """By who deletes: seconds, deletions, and requests that the two servers had."""
    origin = filled(folder / "origin", images)
    whos = ("bare", "apply", *(("module",) if ansible else ()))
    found: Json = {}
    # In turns, as plans are measured.
    for time in range(1 if latency else TIMES):
        for who in whos:
            took = deleted_by(who, origin, folder / f"{who}-{time}", ansible, latency=LATENCY if latency else 0)
            keep_best(found, who, took)
    return found


def keep_best(found: Json, who: str, took: Json) -> None:
    """Keep the run with the least wall time: what disturbs a measurement only ever makes it longer."""
    if who not in found or took["wall"] < found[who]["wall"]:
        found[who] = took


def by_workers(folder: Path, images: int) -> list[Json]:
    """Our run with LATENCY, for each number of workers."""
    origin = filled(folder / "origin", images)
    return [
        {"workers": workers, **deleted_by("apply", origin, folder / f"{workers}", latency=LATENCY, workers=workers)}
        for workers in WORKERS
    ]


def deleted_by(
    who: str, origin: Path, folder: Path, ansible: str | None = None, *, latency: float, workers: int | None = None
) -> Json:
    with running_sandbox(copied(origin, folder)) as sandbox:
        token = sandbox.tokens["admin"]
        if who == "module":
            command = [str(ansible), "bench/module.py", sandbox.api_url, token]
        else:
            command = [sys.executable, "-m", "bench.measured", who, sandbox.api_url, token]
            command += [str(workers)] if workers else []
        if latency:
            sandbox.add_fault({"delay": latency})
        sandbox.forget_requests()
        took = run(command)
        asked = sandbox.requests()
    if who == "module":
        took["deletions"] = sum(each["method"] in ("PUT", "DELETE") and each["status"] < 300 for each in asked)
    return {**took, "requests": len(asked)}
