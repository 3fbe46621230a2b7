"""docs/bench.md, from docs/bench.json, with the command that measured it beside each figure."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any, Final

from bench.groups import groups
from bench.tables import table

Json = dict[str, Any]

_WIDTH: Final = 120
HEAD = (
    "Server and clients run on one machine, side by side, so ratios within a table mean more than seconds. "
    "`make bench` measures everything; `python -m bench GROUP` measures one group, and writes this page again.",
    "What stands for the API server sends pages that were rendered beforehand (`bench/server.py`). The *bare client* "
    "fetches the same lists with aiohttp and throws them away; the one that *decodes* has what rules read decoded, and "
    "keeps nothing either. The clusters have 8 layers an image, 70 % of them shared, 5 revisions a tag, 5 times as "
    "many revisions as images, and objects of 4 to 20 KB (`bench/clusters.py`).",
)


def keep(folder: Path, name: str, measured: Json) -> None:
    """Keep what was measured of one group in bench.json, instead of what is there of it."""
    kept = {**read(folder), name: measured}
    (folder / "bench.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Json:
    """What bench.json holds, by group."""
    path = folder / "bench.json"
    found: Json = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def write(folder: Path) -> None:
    """Write bench.md from bench.json."""
    (folder / "bench.md").write_text(text(read(folder)), encoding="utf-8")


def text(measured: Json) -> str:
    parts = ["# Benchmarks", *HEAD]
    targets = []
    for name, group in groups().items():
        parts.append(f"## {group.TITLE}")
        if name not in measured:
            parts.append(f"Not measured: `python -m bench {name}`.")
            continue
        parts += [_measured_with(name, measured[name]), *group.section(measured[name]["found"])]
        targets += [
            (
                target.text,
                target.measured,
                "met" if target.met else "**not met**",
                f"`{name}`",
                "" if target.met else target.obstacle,
            )
            for target in group.targets(measured[name]["found"])
        ]
    parts += ["## Targets", table(("target", "measured", "", "group", "what is in the way"), targets)]
    return "\n\n".join(map(_lines, parts)) + "\n"


def _lines(part: str) -> str:
    """A table as it is; of anything else each sentence on a line of its own, or on several where it is long."""
    if part.startswith("|"):
        return part
    sentences = re.split(r"(?<=[.]) +(?=[A-Z*`])|\n", part)
    return "\n".join(
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False)
    )


def _measured_with(name: str, measured: Json) -> str:
    machine = measured["machine"]
    return (
        f"`python -m bench {name}`: commit {machine['commit']}, {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory'] / 2**30:.0f} GiB, Python {machine['python']}, load {machine['load']:.1f} when it began, "
        f"{measured['seconds']} s."
    )
