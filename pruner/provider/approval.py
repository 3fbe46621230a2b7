"""Whether an up is bound to a plan that was made before: the setting require_approval.

`up --plan` gives check the random seed of the preview that saved the plan. So a check whose seed and fingerprint an
earlier process has already noted is bound to that plan: the engine draws a new seed otherwise, and refuses inputs that
differ from the saved plan.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from pruner.errors import UnsafePlanError
from pruner.provider.store import KeptPlans
from pruner.settings import Settings

_THIS_PROCESS: Final = secrets.token_hex(16)
_bound: Final[set[str]] = set()
"""Fingerprints of plans that this process has found bound to an earlier one."""


def note_seed(plans: KeptPlans, seed: bytes, fingerprint: str, *, process: str = _THIS_PROCESS) -> bool:
    """Whether another process has made the same plan with the same seed; notes it for later processes where none has.

    Raises PrunerError when it cannot be noted.
    """
    if not seed:
        return False
    name = hashlib.sha256(seed).hexdigest()
    noted = plans.note(name)
    if noted is not None:
        maker, _, what = noted.partition(" ")
        if what == fingerprint and maker != process:
            _bound.add(fingerprint)
            return True
    plans.write_note(name, f"{process} {fingerprint}")
    return False


def check_approval(settings: Settings, fingerprint: str) -> None:
    """Raise UnsafePlanError for an up that nobody can have reviewed, where that is required."""
    if settings.require_approval and settings.approved_plan is None and fingerprint not in _bound:
        raise UnsafePlanError(
            "require_approval is set, and this up is not bound to a plan that was made before; nothing was changed. "
            "Run pulumi preview --save-plan plan.json, review it, and run pulumi up --plan plan.json, or set "
            "approved_plan"
        )
