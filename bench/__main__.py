"""Measurements, and docs/bench.md made from them.

    python -m bench [GROUP ...]     these groups, or all of them
    python -m bench --list          which there are
    python -m bench --quick         sizes that take a minute together; nothing is written

Each group that is measured takes the place of its earlier figures in docs/bench.json, and docs/bench.md is written
again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import document
from bench.groups import Run, groups
from bench.processes import ROOT, say

Json = dict[str, Any]


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


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", choices=[[], *groups()])
    parser.add_argument("--all", action="store_true", help="every group, as without names")
    parser.add_argument("--list", action="store_true", help="print the names of the groups")
    parser.add_argument("--quick", action="store_true", help="small sizes; write nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of bench.md and bench.json")
    given = parser.parse_args()
    if given.list:
        for name, group in groups().items():
            say(f"{name:10} {group.TITLE}")
        return
    began = time.monotonic()
    for name, group in groups().items():
        if given.groups and name not in given.groups:
            continue
        say(f"{name}: {group.TITLE}")
        started, here = time.monotonic(), machine()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            ansible = os.environ.get("PRUNER_ANSIBLE") or None
            run = Run(Path(folder), given.quick, ansible, shutil.which("pulumi") is not None)
            found = group.measure(run)
        seconds = round(time.monotonic() - started)
        say("\n".join(group.section(found)))
        say(f"{name} took {seconds} s")
        if not given.quick:
            document.keep(given.out, name, {"machine": here, "seconds": seconds, "found": found})
    if not given.quick:
        document.write(given.out)
    say(f"done in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
