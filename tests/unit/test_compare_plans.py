"""tools/compare_plans: two revisions' plans of the same clusters are compared decision by decision."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from tools.compare_plans import Case, Comparison, compare, generated

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cases() -> list[bytes]:
    return list(generated(24))


def against(changed: Path, cases: list[bytes], module: str, old: str, new: str) -> Comparison:
    """The comparison of this checkout with a copy in which one thing is different."""
    shutil.copytree(ROOT / "pruner", changed / "pruner", ignore=shutil.ignore_patterns("__pycache__"))
    path = changed / "pruner" / module
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return compare(cases, ROOT, changed)


def test_another_decision_is_a_difference(tmp_path: Path, cases: list[bytes]) -> None:
    found = against(tmp_path, cases, "analysis/revision_rules.py", "revision < newest", "revision <= newest")
    assert found.plans == 48
    assert found.left_out == 0
    assert found.pruning > 5
    assert [
        each for each in found.differences if "plan.revisions." in each and "'pruned by R16' was 'kept by R16'" in each
    ]


def test_other_words_are_no_difference(tmp_path: Path, cases: list[bytes]) -> None:
    found = against(tmp_path, cases, "reasons/wording.py", "is beyond the newest", "is older than the newest")
    assert found.differences == ()
    assert found.pruning > 5


def test_a_case_with_an_unknown_setting_or_object_is_left_out(cases: list[bytes]) -> None:
    case = msgspec.json.decode(cases[0], type=Case)
    unknown = msgspec.structs.replace(case, settings={"keep_for_tomorrow": 1})
    strange = msgspec.structs.replace(case, snapshot=msgspec.Raw(b'{"images": 1}'))
    found = compare([*cases[:2], msgspec.json.encode(unknown), msgspec.json.encode(strange)], ROOT, ROOT)
    assert (found.plans, found.left_out, found.differences) == (4, 2, ())
