"""Plans of a cluster whose registry other clusters use (R38): what each of them adds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import Final

from bench.groups import Json, Run, Target
from bench.processes import PYTHON, reported, say, served
from bench.tables import MIB, table

ORDER: Final = 25
TITLE: Final = "Clusters that use the registry"

OWN: Final = 1000
"""Images of the cluster whose registry it is: few, so that its own part, which differs from run to run, is small."""
IMAGES: Final = 20_000
"""Images of each further cluster, which says how many workloads it has."""
QUICK: Final = 1000
OTHERS: Final = 2
ROUNDS: Final = 9
LIMIT: Final = 1.2
OBSTACLE: Final = (
    "beside reading, what each reference names here has to be found: references are taken from the workloads, their "
    "texts are parsed, and who uses what is noted"
)


def measure(run: Run) -> Json:
    images = QUICK if run.quick else IMAGES
    say(f"  {OTHERS} clusters of {images:,} images: generating")
    with ExitStack() as stack:
        sizes = (OWN, *(images + 10 * number for number in range(OTHERS)))
        own, *others = [stack.enter_context(served(size))["url"] for size in sizes]
        commands = {
            "reading": ["reading", others[0]],
            **{f"plan {count}": ["elsewhere", own, *others[:count]] for count in range(1 + OTHERS)},
        }
        rounds = [
            {who: reported([PYTHON, "-m", "bench.measured", *command]) for who, command in commands.items()}
            for _ in range(1 if run.quick else ROUNDS)
        ]
    found = {
        who: {figure: median(each[who][figure] for each in rounds) for figure in ("cpu", "memory")}
        for who in ("reading", "plan 0")
    }
    # Differences within a round, whose runs follow each other, are those of one state of the machine.
    for count in range(1, 1 + OTHERS):
        found[f"plan {count}"] = {
            figure: found[f"plan {count - 1}"][figure]
            + median(each[f"plan {count}"][figure] - each[f"plan {count - 1}"][figure] for each in rounds)
            for figure in ("cpu", "memory")
        }
    say(f"    {found}")
    return {"images": images, "own": OWN, "rounds": len(rounds), "found": found}


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
        f"The cluster whose registry it is has {found['own']:,} images; each further one has {found['images']:,}, and "
        "the workloads of as many. All pull specs of the further clusters name the registry of the first one, so all "
        "of them count.",
        "*reading alone* is everything that is read of a further cluster, decoded and kept, without a plan. "
        f"Of {found['rounds']} rounds, in which each of these runs once, the first two rows are medians, and each "
        "further cluster adds the median of what its plan took more than the one before it in the same round.",
        table(("what", "CPU s", "peak MiB", "added, to reading alone"), rows),
    ]


def targets(found: Json) -> Iterator[Target]:
    for count in range(1, 1 + OTHERS):
        ratio = added(found, count, "cpu") / found["found"]["reading"]["cpu"]
        text = f"further cluster {count} costs at most {LIMIT} times what reading its lists alone takes"
        yield Target(text, f"{ratio:.2f}", ratio <= LIMIT, OBSTACLE)
