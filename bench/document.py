"""docs/bench.md and its plot, from results: nothing in them is written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.apply import LATENCY

Json = dict[str, Any]

MIB: Final = 1024 * 1024
COLOURS: Final = {"floor": "#7a7a7a", "plan": "#0b62a4", "module": "#c1440e"}
"""Who is plotted, and in which colour."""
LARGE: Final = 10_000
"""Images from which on what a process takes before it has read anything does not count any more."""
NAMES: Final = {
    "floor": "bare client",
    "decode": "bare client that decodes",
    "plan": "plan",
    "registry": "plan, with blobs and links",
    "module": "Ansible module, check mode",
}


def written(results: Json, folder: Path) -> None:
    """Write bench.md, bench.json and the two plots into the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for figure, title, scale in (("wall", "seconds", 1.0), ("memory", "MiB", 1 / MIB)):
        (folder / f"bench-{figure}.svg").write_text(plot(results["plans"], figure, title, scale), encoding="utf-8")
    (folder / "bench.md").write_text(text(results), encoding="utf-8")


# --- numbers ----------------------------------------------------------------------------------------------------------


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """The slope of the straight line through the points, both axes logarithmic: 1 is linear."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    slope: float = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    return slope


def growth(plans: list[Json], figure: str, *, of: int = 0) -> float:
    """The exponent with which a figure of the unpaced plan grows, over clusters of so many images and more."""
    shown = [each for each in plans if each["images"] >= of]
    return exponent((float(each["images"]), float(each["raw"]["plan"][figure])) for each in shown)


def grows(plans: list[Json], figure: str) -> str:
    if sum(each["images"] >= LARGE for each in plans) < 2:
        return "-"
    return f"{growth(plans, figure):.2f}, {growth(plans, figure, of=LARGE):.2f} from {LARGE:,} images on"


def verdict(met: bool) -> str:
    return "met" if met else "**not met**"


# --- text -------------------------------------------------------------------------------------------------------------


def text(results: Json) -> str:
    machine, plans = results["machine"], results["plans"]
    parts = [
        "# Measurements",
        "Made by `make bench`; the figures behind it are in [bench.json](bench.json). "
        f"Commit {machine['commit']}, {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory'] / 2**30:.0f} GiB, Python {machine['python']}, load {machine['load']:.1f} when it began, "
        f"{results['seconds']} s for everything.",
        "Everything runs on one machine, server and clients side by side, so that ratios within a table mean more than seconds. "
        "What stands for the API server sends pages that were rendered beforehand. The *bare client* fetches the same lists with "
        "aiohttp and throws them away; one that *decodes* has what rules read of them decoded first, and keeps nothing either. "
        "The clusters: 8 layers an image, 70 % of them shared, 5 revisions a tag, 5 times as many "
        "revisions as images, objects of 4 to 20 KB (`bench/clusters.py`).",
        "## Plan",
        "*unpaced*: as fast as loopback is, which no API server is. *paced*: 100 MB/s, four to five times what "
        "a real OpenShift API reached (78 MB in 3.4 to 4.1 s). *compressed*: pages in gzip, as API servers send them to clients that "
        "accept it.",
        plan_table(plans),
        throughput(plans),
        "![wall time](bench-wall.svg) ![peak memory](bench-memory.svg)",
        f"Fitted exponents of the plan, unpaced: wall time {grows(plans, 'wall')}; CPU time {grows(plans, 'cpu')}; "
        f"peak memory {grows(plans, 'memory')}.",
        "## Apply",
        "On copies of one sandbox: the same deletions by our run, and by a bare client that was told beforehand what to send. The module "
        "deletes Images and updates streams only, one request at a time; its registry client fails with the `kubernetes` package "
        "of its own requirements.",
        "On loopback, where the sandbox answers at once and its one process, a core of it, is what limits everybody:",
        apply_table(results["apply"]),
        f"With {LATENCY * 1000:.0f} ms for each answer, as `oc adm prune images` had them from a real OpenShift: 7,500 writes in 17.8 s "
        "by five workers.",
        apply_table(results["apply_with_latency"]),
        "With the same latency, our run by `workers`, of which 20 are the default:",
        workers_table(results["workers"]),
        *pulumi_part(plans),
        "## Targets",
        targets(results),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def plan_table(plans: list[Json]) -> str:
    head = ("images", "server", "who", "wall s", "CPU s", "peak MiB", "requests", "MB", "to the bare client")
    rows = []
    for each in plans:
        modes = [("unpaced", each["raw"]), ("paced", each["paced"]), ("compressed", each["gzip"])]
        if "module" in each:
            modes.append(("unpaced", {"floor": each["raw"]["floor"], "module": each["module"]}))
        for mode, whos in modes:
            rows += [
                (f"{each['images']:,}", mode, name, *figures(whos[who], whos["floor"]))
                for who, name in NAMES.items()
                if who in whos and not (who == "floor" and "module" in whos)
            ]
    return table(head, rows)


def figures(took: Json, floor: Json) -> tuple[str, ...]:
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


def rate(took: Json) -> float:
    return float(took["deletions"] / took["wall"])


def apply_table(found: Json) -> str:
    names = {"bare": "bare client", "apply": "our run", "module": "Ansible module"}
    head = ("who", "deletions", "wall s", "CPU s", "requests", "deletions/s", "to the bare client")
    rows = []
    for who, took in found.items():
        if "failed" in took:
            rows.append((names[who], str(took["failed"]), "", "", "", "", ""))
            continue
        counted = (f"{took['deletions']:,}", f"{took['wall']:.2f}", f"{took['cpu']:.2f}", f"{took['requests']:,}")
        rows.append((names[who], *counted, f"{rate(took):.0f}", f"{rate(took) / rate(found['bare']):.2f}"))
    return table(head, rows)


def throughput(plans: list[Json]) -> str:
    """What the ratio on loopback means: how fast a server would have to be for the plan to be what takes long, and what is its least."""
    largest = max(plans, key=lambda each: int(each["images"]))
    plan, decode, floor = (largest["raw"][who] for who in ("plan", "decode", "floor"))
    return (
        f"Unpaced, the plan of {largest['images']:,} images takes in {plan['bytes'] / plan['wall'] / 1e6:.0f} MB/s, from the wire to the "
        f"decisions. A bare client that decodes takes {decode['wall'] / floor['wall']:.1f} times what the bare client takes: any plan "
        "has to do at least that."
    )


def workers_table(found: Iterable[Json]) -> str:
    rows = [(f"{took['workers']}", f"{took['wall']:.2f}", f"{rate(took):.0f}") for took in found]
    return table(("workers", "wall s", "deletions/s"), rows)


def pulumi_part(plans: list[Json]) -> list[str]:
    shown = [each for each in plans if "preview" in each]
    if not shown:
        return []
    head = (
        "images", "planned deletions", "plan s", "preview s", "plan MiB", "preview MiB, all processes", "saved plan KB",
        "state KB after up",
    )  # fmt: skip
    rows = []
    for each in shown:
        plan, pulumi = each["raw"]["plan"], each["preview"]
        deletions = plan["images"] + plan["revisions"]
        rows.append(
            (
                f"{each['images']:,}",
                f"{deletions:,}",
                f"{plan['wall']:.1f}",
                f"{pulumi['wall']:.1f}",
                f"{plan['memory'] / MIB:.0f}",
                f"{pulumi['memory'] / MIB:.0f}",
                f"{pulumi['saved_plan'] / 1000:.0f}",
                f"{pulumi['state'] / 1000:.0f}",
            )
        )
    return [
        "## Pulumi on top",
        "`pulumi preview --save-plan` from the start of the CLI to its end, with its engine, the program and the provider; memory is that "
        "of all its processes together.",
        table(head, rows),
    ]


Row = tuple[str, str, str]


def targets(results: Json) -> str:
    rows = [*plan_targets(results["plans"]), *apply_targets(results), *preview_targets(results["plans"])]
    return table(("target", "measured", ""), rows)


def plan_targets(plans: list[Json]) -> Iterator[Row]:
    by_size = {each["images"]: each for each in plans}
    largest = by_size.get(100_000)
    if largest:
        for mode, name in (("raw", "unpaced"), ("paced", "paced"), ("gzip", "compressed")):
            ratio = largest[mode]["plan"]["wall"] / largest[mode]["floor"]["wall"]
            yield (
                f"plan at most 1.3 times the bare client at 100,000 images, {name}",
                f"{ratio:.2f}",
                verdict(ratio <= 1.3),
            )
        memory = (
            max(
                largest[mode][who]["memory"]
                for mode, who in (("raw", "plan"), ("paced", "plan"), ("gzip", "plan"), ("raw", "registry"))
            )
            / 1e6
        )
        target = "peak memory at most 400 MB at 100,000 images and 500,000 revisions"
        yield target, f"{memory:.0f} MB", verdict(memory <= 400)
    if sum(size >= LARGE for size in by_size) > 1:
        for figure in ("wall", "memory"):
            slope = growth(plans, figure, of=LARGE)
            yield f"{figure} grows with an exponent of at most 1.05", f"{slope:.2f}", verdict(slope <= 1.05)
    middle = by_size.get(10_000, {})
    if "wall" in middle.get("module", {}):
        ratio = middle["module"]["wall"] / middle["raw"]["plan"]["wall"]
        target = "plan at least 20 times faster than the module at 10,000 images"
        yield target, f"{ratio:.0f} times", verdict(ratio >= 20)


def apply_targets(results: Json) -> Iterator[Row]:
    for name, where in (("apply", "on loopback"), ("apply_with_latency", f"with {LATENCY * 1000:.0f} ms an answer")):
        found = results[name]
        ratio = rate(found["apply"]) / rate(found["bare"])
        target = f"apply at least 80 % of a bare client's deletions per second, {where}"
        yield target, f"{ratio:.0%}", verdict(ratio >= 0.8)
        if "wall" in found.get("module", {}):
            ratio = rate(found["apply"]) / rate(found["module"])
            yield f"apply at least 10 times the module's, {where}", f"{ratio:.1f} times", verdict(ratio >= 10)


def preview_targets(plans: list[Json]) -> Iterator[Row]:
    for each in plans:
        plan, preview = each["raw"]["plan"], each.get("preview")
        deletions = plan["images"] + plan["revisions"]
        if preview is None or deletions < 100_000:
            continue
        seconds = preview["wall"] - plan["wall"]
        yield f"preview of {deletions:,} deletions adds at most 10 s", f"{seconds:.1f} s", verdict(seconds <= 10)
        more = (preview["memory"] - plan["memory"]) / 1e6
        yield f"preview of {deletions:,} deletions adds at most 500 MB", f"{more:.0f} MB", verdict(more <= 500)
        for file, name in (("saved_plan", "saved plan"), ("state", "state after up")):
            size = preview[file] / 1e6
            yield f"{name} of {deletions:,} deletions under 5 MB", f"{size:.1f} MB", verdict(size < 5)


# --- plot -------------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 460, 320, 60, 40, 28


def plot(plans: list[Json], figure: str, title: str, scale: float) -> str:
    """Both axes logarithmic; a line for each who, the plan's slope beside its name."""
    lines = {
        who: [
            (each["images"], took[figure] * scale)
            for each in plans
            if figure in (took := each["raw"].get(who) or each.get(who) or {})
        ]
        for who in COLOURS
    }
    points = [point for line in lines.values() for point in line]
    xs = decades(x for x, _ in points)
    ys = decades(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        right = (math.log10(x) - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - 20)
        up = (math.log10(y) - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - BOTTOM - TOP)
        return round(LEFT + right, 1), round(HEIGHT - BOTTOM - up, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="16">{title}, by images in the cluster</text>',
    ]
    for decade in xs:
        (x, bottom), (_, top) = place(10**decade, 10 ** ys[0]), place(10**decade, 10 ** ys[-1])
        parts.append(f'<path d="M{x} {bottom}V{top}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{10**decade:,}</text>')
    for decade in ys:
        (left, y), (right, _) = place(10 ** xs[0], 10**decade), place(10 ** xs[-1], 10**decade)
        parts.append(f'<path d="M{left} {y}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{10**decade:g}</text>')
    shown = [(who, line) for who, line in lines.items() if line]
    for at, (who, line) in enumerate(shown):
        places = [place(*point) for point in line]
        path = " ".join(f"{x},{y}" for x, y in places)
        colour = COLOURS[who]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places]
        slope = f", exponent {exponent(line):.2f}" if len(line) > 1 else ""
        parts.append(f'<text x="{LEFT + 8}" y="{TOP + 14 + 14 * at}" fill="{colour}">{NAMES[who]}{slope}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def decades(values: Iterable[float]) -> list[int]:
    found = [math.log10(value) for value in values]
    low, high = math.floor(min(found)), math.ceil(max(found))
    return list(range(low, max(high, low + 1) + 1))
