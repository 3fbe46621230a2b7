"""Plans of a cluster whose registry other clusters use (R38): what each of them adds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from bench.groups import Json, Run, Target
from bench.processes import PYTHON, reported, say, served
from bench.tables import MIB, table

ORDER: Final = 25
TITLE: Final = "Clusters that use the registry"

IMAGES: Final = 20_000
"""Images of each cluster, which says how many workloads it has."""
QUICK: Final = 1000
OTHERS: Final = 2
TIMES: Final = 5
LIMIT: Final = 1.2
OBSTACLE: Final = (
    "reading is less than half of what is added: finding what each reference names here takes as long, and with more "
    "images in use there is more to decide"
)


def measure(run: Run) -> Json:
    images = QUICK if run.quick else IMAGES
    say(f"  {1 + OTHERS} clusters of {images:,} images: generating")
    with ExitStack() as stack:
        own, *others = [stack.enter_context(served(images + 10 * number))["url"] for number in range(1 + OTHERS)]
        commands = {
            "reading": ["reading", others[0]],
            **{f"plan {count}": ["elsewhere", own, *others[:count]] for count in range(1 + OTHERS)},
        }
        found: Json = {}
        for _ in range(1 if run.quick else TIMES):
            for who, command in commands.items():
                took = reported([PYTHON, "-m", "bench.measured", *command])
                # Differences are looked at, so the least CPU time of each counts: other work makes it only longer.
                if who not in found or took["cpu"] < found[who]["cpu"]:
                    found[who] = took
    say(f"    {found}")
    return {"images": images, "found": found}


def added(found: Json, count: int, figure: str) -> float:
    """What the last of so many further clusters adds to a figure of the plan."""
    took = found["found"]
    return float(took[f"plan {count}"][figure] - took[f"plan {count - 1}"][figure])


def section(found: Json) -> list[str]:
    took = found["found"]
    rows = [
        ("reading one further cluster alone", f"{took['reading']['cpu']:.2f}", "", ""),
        *(
            (
                f"plan with {count} further",
                f"{took[f'plan {count}']['cpu']:.2f}",
                f"{took[f'plan {count}']['memory'] / MIB:.0f}",
                f"{added(found, count, 'cpu') / took['reading']['cpu']:.2f}" if count else "",
            )
            for count in range(1 + OTHERS)
        ),
    ]
    return [
        f"Each cluster has {found['images']:,} images and the workloads of as many. *reading alone* is everything that "
        "is read of a further cluster, decoded and kept, without a plan. All pull specs of the further clusters name "
        "the registry of the first one, so all of them count.",
        table(("what", "CPU s", "peak MiB", "added, to reading alone"), rows),
    ]


def targets(found: Json) -> Iterator[Target]:
    for count in range(1, 1 + OTHERS):
        ratio = added(found, count, "cpu") / found["found"]["reading"]["cpu"]
        text = f"further cluster {count} costs at most {LIMIT} times what reading its lists alone takes"
        yield Target(text, f"{ratio:.2f}", ratio <= LIMIT, OBSTACLE)
