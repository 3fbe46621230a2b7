"""What retired images cost (R36): a plan that keeps them, beside one of the same images without a record; restoring."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from bench.clusters import GRACE, KEPT, REVISIONS
from bench.groups import Json, Run, Target
from bench.processes import PRUNER, PYTHON, best_of, reported, say, served, timed
from bench.tables import mib, table

ORDER: Final = 35
TITLE: Final = "Retired images"

IMAGES: Final = 50_000
"""Of the cluster; the older ones of each tag, two of five, are retired."""
QUICK: Final = 1000
TIMES: Final = 3
ALLOWED: Final = 500
"""Bytes of memory for each retired image: 50 MB for 100,000."""
NAMES: Final = {
    "without": "plan that deletes them, without records",
    "retired": "plan that keeps them, with records",
    "command": "`pruner plan` with records",
    "tag": "`pruner restore --dry-run` of a tag",
    "all": "`pruner restore --dry-run --json --all-since` of all",
}


def measure(run: Run) -> Json:
    images = QUICK if run.quick else IMAGES
    retired = images * (REVISIONS - KEPT) // REVISIONS
    say(f"  {images:,} images, {retired:,} of them retired: generating")
    with served(images, "--removed") as without, served(images, "--removed", "--recorded") as recorded:
        plan = [PYTHON, "-m", "bench.measured", "plan"]
        to = ["--host", recorded["url"]]
        restore = [*PRUNER, "restore", "--dry-run", *to]
        environment = {"K8S_AUTH_API_KEY": "bench", "PATH": "/usr/bin:/bin"}
        measurements = {
            "without": partial(reported, [*plan, without["url"]]),
            "retired": partial(reported, [*plan, recorded["url"], "grace"]),
            "command": partial(
                timed,
                [*PRUNER, "plan", *to, "--no-prune-registry", "--grace", f"{GRACE}m", "--output", "/dev/null"],
                env=environment,
            ),
            "tag": partial(timed, [*restore, "team-0000/app-00000:v0"], env=environment),
            "all": partial(timed, [*restore, "--json", "--all-since", "2025-01-01T00:00:00Z"], env=environment),
        }
        took = best_of(measurements, 1 if run.quick else TIMES)
    assert took["without"]["images"] > 0
    assert took["retired"]["images"] == 0, "records are not understood"
    say(f"    {took}")
    return {"images": images, "retired": retired, "took": took}


def section(found: Json) -> list[str]:
    took = found["took"]
    rows = [(NAMES[name], f"{each['wall']:.2f}", f"{each['cpu']:.2f}", mib(each)) for name, each in took.items()]
    return [
        f"A cluster of {found['images']:,} images in which a run has removed the older revisions of each tag. "
        f"Their {found['retired']:,} images have a record that names five revisions, or none. "
        "Plans are measured without the start of the interpreter, commands with it.",
        table(("what", "wall s", "CPU s", "peak MiB"), rows),
    ]


def targets(found: Json) -> Iterator[Target]:
    took, retired = found["took"], found["retired"]
    ratio = took["retired"]["wall"] / took["without"]["wall"]
    why = "each record, which names the revisions that were removed, is decoded and kept with its image"
    yield Target(f"plan with {retired:,} retired images at most 1.1 times the plan", f"{ratio:.2f}", ratio <= 1.1, why)
    more, allowed = took["retired"]["memory"] - took["without"]["memory"], ALLOWED * retired
    text = f"{retired:,} retired images take at most {allowed / 1e6:.0f} MB more"
    yield Target(text, f"{more / 1e6:.0f} MB", more <= allowed, why)
    ratio = took["tag"]["wall"] / took["command"]["wall"]
    yield Target("restore of a tag takes no longer than the plan", f"{ratio:.2f}", ratio <= 1)
