"""Processes that are measured: seconds, and memory at the peak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = sys.executable
PRUNER: Final = (PYTHON, "-m", "pruner")

Json = dict[str, Any]


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def served(images: int, *options: str) -> Iterator[Json]:
    """A server of a generated cluster (bench.server): its `url` and the sizes of its `lists`."""
    with subprocess.Popen(
        [PYTHON, "-m", "bench.server", str(images), *options], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout
        yield json.loads(server.stdout.readline())
        server.terminate()


def ask(url: str) -> Json:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - loopback
        found: Json = json.load(answer)
    return found


def reported(command: list[str], timeout: float = 600) -> Json:
    """What a process that measures itself prints (bench.measured)."""
    found: Json = json.loads(subprocess.check_output(command, cwd=ROOT, timeout=timeout))
    return found


def timed(command: list[str], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Json:
    """Wall and CPU seconds of a process, and its memory at the peak in bytes. Raises AssertionError when it fails."""
    began, most = time.perf_counter(), 0
    with _running(command, cwd, env) as (process, said):
        while True:
            # What wait4 gives as the peak begins with that of this process, from which the other one was forked.
            most = max(most, _peak_of(process.pid))
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.005)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, b"".join(said).decode()
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "memory": most}


def _peak_of(pid: int) -> int:
    """Bytes that a process has had in memory at most; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


@contextmanager
def _running(
    command: list[str], cwd: Path, env: Mapping[str, str] | None
) -> Iterator[tuple[subprocess.Popen[bytes], list[bytes]]]:
    """A process, and what it has said when it has ended."""
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said: list[bytes] = []
        assert process.stdout
        reader = threading.Thread(target=lambda out=process.stdout: said.append(out.read()))
        reader.start()
        yield process, said
        reader.join()


def watched(command: list[str], *, cwd: Path, env: Mapping[str, str]) -> Json:
    """Wall seconds, and the most memory in bytes that the process and all that it starts have at once."""
    began, most = time.perf_counter(), 0
    with _running(command, cwd, env) as (process, said):
        while process.poll() is None:
            most = max(most, _memory_of(process.pid))
            time.sleep(0.05)
        wall = time.perf_counter() - began
    assert process.returncode == 0, b"".join(said).decode()
    return {"wall": wall, "memory": most}


def _memory_of(pid: int) -> int:
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


def best_of(measurements: Mapping[str, Callable[[], Json]], times: int) -> Json:
    """By name, the best of so many runs.

    They take turns, so that a time in which the machine has something else to do is everybody's.
    """
    found: Json = {}
    for _ in range(times):
        for name, measure in measurements.items():
            keep_best(found, name, measure())
    return found


def keep_best(found: Json, name: str, took: Json) -> None:
    """Keep the run with the least wall time: what disturbs a measurement only ever makes it longer."""
    if name not in found or took.get("wall", float("inf")) < found[name].get("wall", float("inf")):
        found[name] = took
