"""Deletions per second: our run, a bare client and the Ansible module, each on a copy of the same sandbox.

The sandbox is filled by pushing; each tag has 20 revisions of which 17 go, with layers of their own and shared ones. On
loopback it answers at once and one process of it is what limits all; with LATENCY each answer takes as long as those of
a real cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bench.groups import Json, Run, Target
from bench.processes import PYTHON, keep_best, reported, say
from bench.tables import table
from sandbox.builder import Builder, noise
from tests.servers import copied, running_sandbox

ORDER: Final = 30
TITLE: Final = "Apply"

IMAGES: Final = 2000
"""Images in the sandbox, of which enough go that what a run does once does not count."""
IMAGES_BY_WORKERS: Final = 600
"""The same where few workers have to do it, with the latency of a real API."""
QUICK: Final = 40
REVISIONS: Final = 20
LATENCY: Final = 0.012
"""Seconds: `oc adm prune images` on a real OpenShift made 7,500 deletions and updates in 17.8 s with five workers."""
TIMES: Final = 3
"""Of so many runs, in turns, the best counts."""
WORKERS: Final = (5, 10, 20, 50, 100)
NAMES: Final = {"bare": "bare client", "apply": "our run", "module": "Ansible module"}


def measure(run: Run) -> Json:
    images = QUICK if run.quick else IMAGES
    origin = filled(run.folder / "origin", images)
    found: Json = {}
    for name, latency in (("loopback", False), ("latency", True)):
        found[name] = _compared(run.folder / name, origin, run.ansible, latency=latency)
        say(f"  {name}: {found[name]}")
    found["workers"] = by_workers(run.folder / "workers", QUICK if run.quick else IMAGES_BY_WORKERS)
    say(f"  workers: {found['workers']}")
    return found


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


def _compared(folder: Path, origin: Path, ansible: str | None, *, latency: bool) -> Json:
    """By who deletes: seconds, deletions, and requests that the two servers had."""
    whos = ("bare", "apply", *(("module",) if ansible else ()))
    found: Json = {}
    # In turns, as plans are measured.
    for turn in range(1 if latency else TIMES):
        for who in whos:
            took = deleted_by(who, origin, folder / f"{who}-{turn}", ansible, latency=LATENCY if latency else 0)
            keep_best(found, who, took)
    return found


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
            command = [PYTHON, "-m", "bench.measured", who, sandbox.api_url, token]
            command += [str(workers)] if workers else []
        if latency:
            sandbox.add_fault({"delay": latency})
        sandbox.forget_requests()
        took = reported(command)
        asked = sandbox.requests()
    if who == "module":
        took["deletions"] = sum(each["method"] in ("PUT", "DELETE") and each["status"] < 300 for each in asked)
    return {**took, "requests": len(asked)}


def rate(took: Json) -> float:
    return float(took["deletions"] / took["wall"])


def section(found: Json) -> list[str]:
    return [
        "On copies of one sandbox: the same deletions by our run, and by a bare client that was told beforehand what "
        "to send. The module deletes Images and updates streams only, one request at a time; its registry client fails "
        "with the `kubernetes` package of its own requirements.",
        f"With {LATENCY * 1000:.0f} ms for each response, as `oc adm prune images` had them from a real OpenShift "
        "(7,500 writes in 17.8 s by five workers):",
        _table(found["latency"]),
        "On loopback, where the sandbox answers at once and its one process is what limits everybody:",
        _table(found["loopback"]),
        "With the same latency, our run by `workers`, of which 20 are the default:",
        _workers_table(found["workers"]),
    ]


def _table(found: Json) -> str:
    head = ("who", "deletions", "wall s", "CPU s", "requests", "deletions/s", "to the bare client")
    rows = []
    for who, took in found.items():
        counted = (f"{took['deletions']:,}", f"{took['wall']:.2f}", f"{took['cpu']:.2f}", f"{took['requests']:,}")
        rows.append((NAMES[who], *counted, f"{rate(took):.0f}", f"{rate(took) / rate(found['bare']):.2f}"))
    return table(head, rows)


def _workers_table(found: Iterable[Json]) -> str:
    rows = [(f"{took['workers']}", f"{took['wall']:.2f}", f"{rate(took):.0f}") for took in found]
    return table(("workers", "wall s", "deletions/s"), rows)


def targets(found: Json) -> Iterator[Target]:
    for name, least, where in (
        ("latency", 0.8, f"with {LATENCY * 1000:.0f} ms a response"),
        ("loopback", 0.85, "on loopback"),
    ):
        ratio = rate(found[name]["apply"]) / rate(found[name]["bare"])
        target = f"apply at least {least:.0%} of the bare client's deletions per second, {where}"
        more = found[name]["apply"]["requests"] - found[name]["bare"]["requests"]
        why = (
            f"{more:,} more requests: the run reads the cluster, watches it, and re-checks what it deletes, on the "
            "processors that answer it"
        )
        yield Target(target, f"{ratio:.0%}", ratio >= least, why)
        if "module" in found[name]:
            ratio = rate(found[name]["apply"]) / rate(found[name]["module"])
            why = "the sandbox's one process limits both: the bare client is only "
            why += f"{rate(found[name]['bare']) / rate(found[name]['module']):.1f} times as fast as the module"
            yield Target(f"apply at least 10 times the module's, {where}", f"{ratio:.1f} times", ratio >= 10, why)
