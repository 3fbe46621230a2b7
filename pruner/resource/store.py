"""Where a whole plan is kept between `check`, which makes it, and `create` or `update`, which carry it out in another process.

The inputs hold the plan's fingerprint; the file is found by it, and is that plan or is refused. It lies in the user's cache folder and
goes when it has been carried out, by every resource that was to carry it out; what previews leave behind goes after a week.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from pathlib import Path
from typing import Final

from pruner.analysis import Analysis
from pruner.errors import PrunerError, UnsafePlanError
from pruner.plan import PrunePlan, decode
from pruner.report.file import write_whole
from pruner.report.jsonl import encode_report

_KEPT: Final = 7 * 24 * 3600
"""Seconds after which a plan that nobody has carried out is removed."""

_waiting: Final[Counter[str]] = Counter()
"""Resources of this program that have planned the same and are still to carry it out, by fingerprint."""


def folder() -> Path:
    """`$XDG_CACHE_HOME/pruner/plans`, made when it is missing, for its owner only. Raises PrunerError where it cannot be made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pruner" / "plans"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PrunerError(f"{cache}: cannot be made: {error.strerror}") from None
    return cache


def _path(fingerprint: str) -> Path:
    return folder() / f"{fingerprint.replace(':', '-')}.jsonl"


def keep_plan(analysis: Analysis) -> Path:
    """Write the plan, and after it what keeps the rest, which policies ask for; gives the file's path.

    Raises PrunerError where nothing can be written.
    """
    try:
        path = _path(analysis.plan.fingerprint)
        write_whole(path, encode_report(analysis))
    except PrunerError as error:
        raise PrunerError(
            f"the plan cannot be kept for up: {error}; let XDG_CACHE_HOME name a folder that can be written"
        ) from None
    _waiting[analysis.plan.fingerprint] += 1
    long_ago = time.time() - _KEPT
    for other in path.parent.glob("sha256-*.jsonl"):
        if other.stat().st_mtime < long_ago:
            other.unlink(missing_ok=True)
    return path


def kept_plan(fingerprint: str) -> PrunePlan:
    """The plan with this fingerprint. Raises UnsafePlanError when it is not there, or not that one."""
    path = _path(fingerprint)
    try:
        with path.open("rb") as lines:
            plan = decode(lines, str(path))
    except OSError as error:
        raise UnsafePlanError(
            f"the plan {fingerprint} cannot be read ({path}: {error.strerror}); run up again"
        ) from None
    if plan.fingerprint != fingerprint:
        raise UnsafePlanError(f"{path}: is the plan {plan.fingerprint}, not {fingerprint}; run up again")
    return plan


def forget_plan(fingerprint: str) -> None:
    """Remove the plan, unless another resource of this program is still to carry it out.

    What cannot be removed goes after a week, as what previews leave behind does.
    """
    _waiting[fingerprint] -= 1
    if _waiting[fingerprint] <= 0:
        with contextlib.suppress(PrunerError, OSError):
            _path(fingerprint).unlink(missing_ok=True)
