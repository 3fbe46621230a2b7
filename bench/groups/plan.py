"""Plans of generated clusters, and how they grow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Final

from bench.groups import Json, Run, Target
from bench.processes import PYTHON, ask, best_of, reported, say, served
from bench.tables import MIB, exponent, table

ORDER: Final = 20
TITLE: Final = "Plan"

SIZES: Final = (10_000, 100_000, 200_000)
QUICK: Final = (1000, 2000)
COMPARED: Final = 100_000
"""Images at which the targets hold."""
LARGEST_COMPARED: Final = 100_000
"""Images from which on the plan and its floors alone are measured, on the unpaced server."""
PACE: Final = 100_000_000
"""Bytes per second of the paced server; a real OpenShift API gave 20 to 25 million."""
MODULE_UP_TO: Final = 10_000
MODULE_SECONDS: Final = 240
TIMES: Final = 3

COMMANDS: Final = {
    "floor": ("floor",),
    "decode": ("floor", "decode"),
    "plan": ("plan",),
    "registry": ("plan", "registry"),
}
"""Who is measured: the command of bench.measured, and what else it is told; those that are told more only unpaced."""
NAMES: Final = {
    "floor": "bare client",
    "decode": "bare client that decodes",
    "plan": "plan",
    "registry": "plan, with blobs and links",
    "module": "Ansible module, check mode",
}
MODES: Final = {"paced": (PACE, 0), "gzip": (0, 1), "raw": (0, 0)}
MODE_NAMES: Final = {"paced": "paced", "gzip": "compressed", "raw": "unpaced"}


def measure(run: Run) -> Json:
    return {"clusters": [_of_size(images, run) for images in (QUICK if run.quick else SIZES)]}


def _of_size(images: int, run: Run) -> Json:
    say(f"  {images:,} images: generating")
    found: Json = {"images": images}
    with served(images) as server:
        url = server["url"]
        for mode, (pace, compressed) in MODES.items():
            if images > LARGEST_COMPARED and mode != "raw":
                continue
            ask(f"{url}/bench/set?pace={pace}&gzip={compressed}")
            measurements = {
                who: lambda command=command: counted(
                    [PYTHON, "-m", "bench.measured", command[0], url, *command[1:]], url
                )
                for who, command in COMMANDS.items()
                if mode == "raw" or len(command) == 1
            }
            found[mode] = best_of(measurements, 1 if mode == "paced" and images > MODULE_UP_TO else TIMES)
            say(f"    {mode}: {found[mode]}")
        ask(f"{url}/bench/set?pace=0&gzip=0")
        if run.ansible and images <= MODULE_UP_TO and not run.quick:
            found["module"] = counted([run.ansible, "bench/module.py", url], url, MODULE_SECONDS)
    return found


def counted(command: list[str], url: str, timeout: float = 600) -> Json:
    """What a process says of itself, with the requests and bytes that the server has counted."""
    ask(f"{url}/bench/counts")
    try:
        took = reported(command, timeout)
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished after {timeout:.0f} s"}
    return {**took, **ask(f"{url}/bench/counts")}


def section(found: Json) -> list[str]:
    return [
        "*paced*: 100 MB/s, which is four to five times what a real OpenShift API reached (78 MB in 3.4 to 4.1 s); no "
        "API server is as fast as loopback. *compressed*: pages in gzip, as API servers send them to clients that "
        "accept it. *unpaced*: what decoding and deciding cost, with a server that costs nothing.",
        _table(found["clusters"]),
        "Each figure of the plan grows from the smallest to the largest of these clusters with this exponent, where 1 "
        "is linear: " + ", ".join(f"{name} {growth(found, figure):.2f}" for figure, name in GROWING.items()) + ".",
    ]


GROWING: Final = {"wall": "wall time", "cpu": "CPU time", "memory": "peak memory"}


def growth(found: Json, figure: str) -> float:
    """The exponent with which a figure of the unpaced plan grows with the number of images."""
    return exponent((float(each["images"]), float(each["raw"]["plan"][figure])) for each in found["clusters"])


def _table(clusters: list[Json]) -> str:
    head = ("images", "server", "who", "wall s", "CPU s", "peak MiB", "requests", "MB", "to the bare client")
    rows = []
    for each in clusters:
        modes = [(MODE_NAMES[mode], each[mode]) for mode in MODES if mode in each]
        if "module" in each:
            modes.append(("unpaced", {"floor": each["raw"]["floor"], "module": each["module"]}))
        for mode, whos in modes:
            rows += [
                (f"{each['images']:,}", mode, name, *_figures(whos[who], whos["floor"]))
                for who, name in NAMES.items()
                if who in whos and not (who == "floor" and "module" in whos)
            ]
    return table(head, rows)


def _figures(took: Json, floor: Json) -> tuple[str, ...]:
    if "failed" in took:
        return (str(took["failed"]), "", "", "", "", "")
    return (
        f"{took['wall']:.2f}",
        f"{took['cpu']:.2f}",
        f"{took['memory'] / MIB:.0f}",
        f"{took['requests']:,}",
        f"{took['bytes'] / 1e6:.1f}",
        f"{took['wall'] / floor['wall']:.2f}",
    )


def targets(found: Json) -> Iterator[Target]:
    by_size = {each["images"]: each for each in found["clusters"]}
    if large := by_size.get(COMPARED):
        for mode, floor, limit, name in (
            ("paced", "floor", 1.3, "the bare client, paced"),
            ("gzip", "floor", 1.3, "the bare client, compressed"),
            ("raw", "decode", 4.5, "the client that decodes, unpaced"),
        ):
            ratio = large[mode]["plan"]["wall"] / large[mode][floor]["wall"]
            yield Target(f"plan of {COMPARED:,} images at most {limit} times {name}", f"{ratio:.2f}", ratio <= limit)
        memory = max(
            took["memory"] for mode in MODES for who, took in large[mode].items() if who in ("plan", "registry")
        )
        target = f"at most 400 MB for {COMPARED:,} images and {5 * COMPARED:,} revisions"
        yield Target(target, f"{memory / 1e6:.0f} MB", memory <= 400e6)
    for figure in ("wall", "memory"):
        slope = growth(found, figure)
        yield Target(
            f"{GROWING[figure]} of a plan grows with an exponent of at most 1.05", f"{slope:.2f}", slope <= 1.05
        )
    for each in found["clusters"]:
        if "wall" in each.get("module", {}):
            ratio = each["module"]["wall"] / each["raw"]["plan"]["wall"]
            yield Target(
                f"plan of {each['images']:,} images at least 20 times faster than the module",
                f"{ratio:.0f} times",
                ratio >= 20,
            )
