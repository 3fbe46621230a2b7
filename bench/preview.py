"""What Pulumi adds: `pulumi preview` of a plan beside the plan alone, and the sizes of what it leaves on disk."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.pulumi_project import Project


def memory_of(pid: int) -> int:
    """Bytes that a process and all below it have in memory now; shared pages count once, in proportion."""
    total, ahead = 0, [pid]
    while ahead:
        each = ahead.pop()
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
            for task in Path(f"/proc/{each}/task").iterdir():
                ahead += map(int, (task / "children").read_text().split())
        except (OSError, StopIteration):
            continue
    return total


def watched(command: list[str], project: Project) -> tuple[float, int]:
    """Seconds that it takes, and the most memory that it and what it starts have at once."""
    began, most = time.perf_counter(), 0
    with subprocess.Popen(
        command, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        said: list[bytes] = []
        assert process.stdout
        reader = threading.Thread(target=lambda out=process.stdout: said.append(out.read()))
        reader.start()
        while process.poll() is None:
            most = max(most, memory_of(process.pid))
            time.sleep(0.05)
        reader.join()
        assert process.returncode == 0, b"".join(said).decode()
    return time.perf_counter() - began, most


def measure(folder: Path, url: str) -> dict[str, Any]:
    """Of a preview that saves its plan, and of the state after a run that deletes it all."""
    project = Project.make(folder / "project")
    project.configure(host=url, api_key="bench", prune_registry="false")
    pulumi = ["pulumi", "--non-interactive"]
    wall, memory = watched([*pulumi, "preview", "--save-plan", "saved.json"], project)
    saved_plan = (project.folder / "saved.json").stat().st_size
    up, _ = watched([*pulumi, "up", "--yes", "--skip-preview", "--suppress-outputs"], project)
    state = sum(path.stat().st_size for path in (project.folder / "state").rglob("test.json"))
    return {"wall": wall, "memory": memory, "saved_plan": saved_plan, "up": up, "state": state}


if __name__ == "__main__":
    import json
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(measure(Path(temporary), sys.argv[1])))
