"""What the rules of the pack judge: the whole plan, what is known of the rest, and the settings that it was made with.

The resource's inputs name the plan by its fingerprint; large plans stand there in sums only. The whole plan is read from where `check`
has kept it (pruner.resource.store), so that a rule sees the names in either case, and sees exactly what up would carry out.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.errors import PrunerError
from pruner.plan import PrunePlan
from pruner.planning import read_plan
from pruner.report import Report
from pruner.report.jsonl import read_report
from pruner.resource.store import folder
from pruner.settings import ALIASES, Settings, read

TYPE: Final = "pulumi-python:dynamic/pruner:PrunedImages"
JUDGED: Final = ("validate_certs", "registry_validate_certs", "host", "registry_url", "approved_plan", "as_of")
"""Parameters that a rule looks at. Secrets are none of them, so that no message can name one."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a rule may look at. `preview` is False where up is about to carry the plan out."""

    report: Report
    settings: Settings
    approved: PrunePlan | None
    now: datetime
    preview: bool

    @property
    def plan(self) -> PrunePlan:
        return self.report.plan


def gather(inputs: Mapping[str, Any], *, preview: bool, now: datetime | None = None) -> Facts | None:
    """The facts in a resource's inputs; None where there is nothing to do, or nothing planned yet.

    Raises PrunerError where the plan cannot be read: then nothing is known of it, and it is not let through.
    """
    fingerprint = (inputs.get("plan") or {}).get("fingerprint")
    if not fingerprint:
        return None
    given = {
        name: inputs.get(name) for name in (*JUDGED, *(alias for alias, name in ALIASES.items() if name in JUDGED))
    }
    verify = os.environ.get("K8S_AUTH_VERIFY_SSL")
    host = os.environ.get("K8S_AUTH_HOST")
    environment = {"K8S_AUTH_VERIFY_SSL": verify or "", "K8S_AUTH_HOST": host or ""}
    settings = read(given, environ=environment)
    return Facts(
        report=_kept(str(fingerprint)),
        settings=settings,
        approved=read_plan(settings.approved_plan) if settings.approved_plan else None,
        now=now or datetime.now(UTC),
        preview=preview,
    )


@functools.lru_cache(maxsize=1)
def _kept(fingerprint: str) -> Report:
    """The plan that was kept, read once for all rules."""
    path: Path = folder() / f"{fingerprint.replace(':', '-')}.jsonl"
    try:
        report = read_report(path)
    except OSError as error:
        raise PrunerError(
            f"the plan {fingerprint} cannot be read ({path.name}: {error.strerror}); preview again"
        ) from None
    if report.plan.fingerprint != fingerprint:
        raise PrunerError(f"{path.name} holds another plan than {fingerprint}; preview again")
    return report
