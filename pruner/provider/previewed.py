"""What the preview of this `pulumi up` has planned, so that its update does not plan the same cluster again.

`pulumi up` calls check twice: in its preview, and in its update, each time in a new provider process. Between the two
somebody has seen the plan, and policies have judged it. The update carries out that plan: a run looks at the cluster
anyway, right before it deletes. Both processes are known to belong together by the process of the engine above them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.analysis import Analysis
from pruner.errors import UnsafePlanError
from pruner.plan import PrunePlan
from pruner.provider.store import KeptPlans
from pruner.settings import Settings, is_secret

_ENGINE: Final = "pulumi"
"""The name of the engine's executable."""
_ANCESTORS: Final = 4
"""Processes from the provider up to the engine, at most: a dynamic provider has a shell in between."""
_PROCESSES: Final = Path("/proc")
_FRESH: Final = 30.0
"""Seconds for which what `read` has seen of the cluster is good enough for the plan of `check`."""


def engine_process(processes: Path = _PROCESSES) -> str:
    """The engine above this process, by its id and the time of its start; empty where it cannot be told.

    Only Linux shows it.
    """
    for pid, fields in _ancestors(processes):
        # The name is in parentheses, and may contain some: `4711 (pulumi) S 1 ...`.
        name = fields.partition("(")[2].rpartition(")")[0]
        if name == _ENGINE:
            started = fields.rpartition(")")[2].split()[_STARTED]
            return f"{pid} {started}"
    return ""


_PARENT, _STARTED = 1, 19
"""Among the fields of /proc/PID/stat after the name: the parent, and the start in clock ticks since boot."""


def _ancestors(processes: Path) -> Iterator[tuple[str, str]]:
    """The id and the content of `stat` of each process above this one, from its parent upwards."""
    try:
        fields = _stat(processes, str(os.getpid()))
        for _ in range(_ANCESTORS):
            pid = fields.rpartition(")")[2].split()[_PARENT]
            fields = _stat(processes, pid)
            yield pid, fields
    except (OSError, IndexError):
        return


def _stat(processes: Path, pid: str) -> str:
    return (processes / pid / "stat").read_text(encoding="utf-8", errors="replace")


def note_plan(plans: KeptPlans, engine: str, urn: str, given: Mapping[str, Any], plan: PrunePlan) -> None:
    """Let the update of the same `up` find the plan of this resource. Raises PrunerError when it cannot be noted.

    A plan that is empty is not carried out, so nothing would remove it: it is not noted.
    """
    if engine and not plan.empty:
        plans.write_note(_name(engine, urn, given), plan.fingerprint)


def noted_plan(plans: KeptPlans, engine: str, urn: str, given: Mapping[str, Any]) -> PrunePlan | None:
    """The plan that the preview of the same `up` has made of this resource with these settings.

    None where there was no such preview, or its plan has been carried out.
    """
    fingerprint = plans.note(_name(engine, urn, given)) if engine else None
    if fingerprint is None:
        return None
    try:
        return plans.plan(fingerprint)
    except UnsafePlanError:
        return None


def _name(engine: str, urn: str, given: Mapping[str, Any]) -> str:
    """The name of the note. Secrets are no part of it: their digest would stand in a folder for a week."""
    settings = {name: value for name, value in given.items() if not is_secret(name, value)}
    return hashlib.sha256(msgspec.json.encode((engine, urn, settings), order="deterministic")).hexdigest()


class Latest:
    """The latest analysis of `read`, so that a preview with a refresh looks at the cluster once.

    One alone: of a large cluster it takes hundreds of megabytes.
    """

    def __init__(self) -> None:
        self._entry: tuple[Settings, Analysis, float] | None = None

    def put(self, settings: Settings, analysis: Analysis) -> None:
        self._entry = settings, analysis, time.monotonic()

    def take(self, settings: Settings) -> Analysis | None:
        """The analysis by the same settings, if it is fresh. It is handed out once."""
        entry, self._entry = self._entry, None
        if entry is None or entry[0] != settings or time.monotonic() - entry[2] > _FRESH:
            return None
        return entry[1]
