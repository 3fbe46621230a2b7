"""All measurements, and docs/bench.md with its plot made from them.

    python -m bench [--sizes 1000,10000,44400,100000] [--quick] [--out docs]

`--quick` measures the smallest size only and writes nothing. Of 44,400 images a little over 100,000 revisions and images go.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench import apply, preview
from bench.document import written

ROOT: Final = Path(__file__).resolve().parent.parent
PACE: Final = 100_000_000
"""Bytes per second of the paced server; the OpenShift API of the orientation figures gives 20 to 25 million."""
COMMANDS: Final = {
    "floor": ("floor",),
    "plan": ("plan",),
    "decode": ("floor", "decode"),
    "registry": ("plan", "registry"),
}
"""Who is measured: the command of bench.measured, and what else it is told; those that are told more only unpaced."""
MODULE_UP_TO: Final = 10_000
MODULE_SECONDS: Final = 240
DELETED: Final = 2000
"""Images in the sandbox of the deletions, of which enough go that what a run does once does not count."""
DELETED_BY_WORKERS: Final = 600
"""The same where one worker alone has to do it, with the latency of a real API."""

Json = dict[str, Any]


@contextmanager
def served(images: int) -> Iterator[Json]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.server", str(images)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout
        yield json.loads(server.stdout.readline())
        server.terminate()


def ask(url: str) -> Json:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - loopback
        found: Json = json.load(answer)
    return found


def measured(command: list[str], url: str, timeout: float = 600) -> Json:
    """What a process that does one thing says of itself, with the requests and bytes that the server has counted."""
    ask(f"{url}/bench/counts")
    try:
        took = apply.run(command, timeout)
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished after {timeout:.0f} s"}
    return {**took, **ask(f"{url}/bench/counts")}


def in_turns(commands: dict[str, list[str]], url: str, times: int) -> Json:
    """By who, the best of so many runs. They take turns, so that a time in which the machine has something else to do is everybody's."""
    found: Json = {}
    for _ in range(times):
        for who, command in commands.items():
            apply.keep_best(found, who, measured(command, url))
    return found


def plans(images: int, ansible: str | None, folder: Path, *, pulumi: bool) -> Json:
    """Everything that is measured against a generated cluster of this size."""
    say(f"{images} images: generating")
    found: Json = {"images": images}
    with served(images) as server:
        url = server["url"]
        found["objects"] = sum(count for count, _ in server["lists"].values())
        found["bytes"] = sum(size for _, size in server["lists"].values())
        for mode, pace, compressed in (("raw", 0, 0), ("paced", PACE, 0), ("gzip", 0, 1)):
            ask(f"{url}/bench/set?pace={pace}&gzip={compressed}")
            commands = {
                who: [sys.executable, "-m", "bench.measured", command, url, *more]
                for who, (command, *more) in COMMANDS.items()
                if mode == "raw" or not more
            }
            found[mode] = in_turns(commands, url, 1 if mode == "paced" and images > 10_000 else apply.TIMES)
            say(f"  {mode}: {found[mode]}")
        ask(f"{url}/bench/set?pace=0&gzip=0")
        if ansible and images <= MODULE_UP_TO:
            found["module"] = measured([ansible, "bench/module.py", url], url, MODULE_SECONDS)
            say(f"  module: {found['module']}")
        if pulumi:
            found["preview"] = preview.measure(folder / f"pulumi-{images}", url)
            say(f"  preview: {found['preview']}")
    return found


def machine() -> Json:
    model = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    )
    commit = subprocess.check_output(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, text=True).strip()
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", "pruner", "bench"], cwd=ROOT, check=False
    ).returncode
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": sys.version.split()[0],
        "commit": commit + (" with changes" if changed else ""),
        "load": os.getloadavg()[0],
    }


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,44400,100000")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    sizes = [1000] if given.quick else sorted(int(size) for size in given.sizes.split(","))
    ansible = os.environ.get("PRUNER_ANSIBLE") or None
    pulumi = shutil.which("pulumi") is not None
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        results: Json = {"machine": machine()}
        results["plans"] = [plans(size, ansible, folder, pulumi=pulumi and not given.quick) for size in sizes]
        say("deletions in the sandbox")
        images = 100 if given.quick else DELETED
        for name, latency in (("apply", False), ("apply_with_latency", True)):
            results[name] = apply.measure(folder / name, images, ansible, latency=latency)
            say(f"  {results[name]}")
        results["workers"] = apply.by_workers(folder / "workers", min(images, DELETED_BY_WORKERS))
        say(f"  {results['workers']}")
    results["seconds"] = round(time.monotonic() - began)
    if not given.quick:
        written(results, given.out)
    say(f"done in {results['seconds']} s")


if __name__ == "__main__":
    main()
