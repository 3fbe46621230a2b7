"""When an up counts as bound to a plan that was made before (require_approval)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruner.errors import UnsafePlanError
from pruner.provider import approval
from pruner.provider.store import KeptPlans
from pruner.settings import Settings

PLAN, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
REQUIRED = Settings(require_approval=True)


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptPlans:
    monkeypatch.setattr(approval, "_bound", set())
    return KeptPlans(tmp_path / "pruner" / "plans")


def test_the_same_seed_and_plan_in_a_later_process_is_bound(plans: KeptPlans) -> None:
    assert not approval.note_seed(plans, b"seed", PLAN, process="preview")
    assert approval.note_seed(plans, b"seed", PLAN, process="up")
    approval.check_approval(REQUIRED, PLAN)


@pytest.mark.parametrize(
    ("seed", "plan", "process"),
    [
        (b"another seed", PLAN, "up"),
        (b"seed", OTHER, "up"),
        (b"seed", PLAN, "preview"),
        (b"", PLAN, "up"),
    ],
    ids=["another seed", "another plan", "the same process", "no engine"],
)
def test_anything_else_is_refused(plans: KeptPlans, seed: bytes, plan: str, process: str) -> None:
    approval.note_seed(plans, b"seed", PLAN, process="preview")
    assert not approval.note_seed(plans, seed, plan, process=process)
    with pytest.raises(UnsafePlanError, match="require_approval is set"):
        approval.check_approval(REQUIRED, plan)


def test_a_note_that_others_could_have_written_does_not_count(plans: KeptPlans) -> None:
    approval.note_seed(plans, b"seed", PLAN, process="preview")
    (note,) = plans.folder.glob("note-*")
    note.chmod(0o666)
    assert not approval.note_seed(plans, b"seed", PLAN, process="up")


def test_an_approved_plan_is_enough_and_without_the_setting_nothing_is(plans: KeptPlans) -> None:
    approval.check_approval(Settings(require_approval=True, approved_plan="plan.jsonl"), PLAN)
    approval.check_approval(Settings(), PLAN)
