"""Whether the update of an `up` finds the plan of its preview, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pruner.provider.previewed import engine_process, note_plan, noted_plan
from pruner.provider.store import KeptPlans
from tests.builders.objects import A, analysed, image

ENGINE, URN = "10 4711", "urn:pulumi:test::images::pruner::pruned"
GIVEN = {"host": "https://api.kiel.example:6443", "api_key": "sha256~secret", "keep_tag_revisions": 3}
SOME, NOTHING = analysed(image(A)), analysed()


@pytest.fixture
def plans(tmp_path: Path) -> KeptPlans:
    found = KeptPlans(tmp_path / "pruner" / "plans")
    found.keep(SOME)
    return found


def test_the_same_resource_under_the_same_engine_has_the_plan_of_the_preview(plans: KeptPlans) -> None:
    assert noted_plan(plans, ENGINE, URN, GIVEN) is None
    note_plan(plans, ENGINE, URN, GIVEN, SOME.plan)
    assert noted_plan(plans, ENGINE, URN, dict(reversed(GIVEN.items()))) == SOME.plan


@pytest.mark.parametrize(
    ("engine", "urn", "given"),
    [
        ("10 4712", URN, GIVEN),
        ("11 4711", URN, GIVEN),
        ("", URN, GIVEN),
        (ENGINE, f"{URN}2", GIVEN),
        (ENGINE, URN, {**GIVEN, "keep_tag_revisions": 4}),
        (ENGINE, URN, {**GIVEN, "namespace": "shop"}),
    ],
)
def test_any_other_call_plans_anew(plans: KeptPlans, engine: str, urn: str, given: dict[str, object]) -> None:
    note_plan(plans, ENGINE, URN, GIVEN, SOME.plan)
    assert noted_plan(plans, engine, urn, given) is None


def test_a_plan_that_was_carried_out_or_changed_is_made_anew(plans: KeptPlans) -> None:
    note_plan(plans, ENGINE, URN, GIVEN, SOME.plan)
    path = plans.path(SOME.plan.fingerprint)
    content = path.read_bytes()
    path.write_bytes(content.replace(A.encode(), A[::-1].encode()))
    assert noted_plan(plans, ENGINE, URN, GIVEN) is None
    path.write_bytes(content)
    plans.forget(SOME.plan.fingerprint)
    assert noted_plan(plans, ENGINE, URN, GIVEN) is None


def test_a_plan_stays_for_the_other_resource_that_carries_it_out(plans: KeptPlans) -> None:
    plans.expect(SOME.plan.fingerprint)
    plans.forget(SOME.plan.fingerprint)
    assert plans.plan(SOME.plan.fingerprint) == SOME.plan
    plans.forget(SOME.plan.fingerprint)
    assert not plans.path(SOME.plan.fingerprint).exists()


def test_an_empty_plan_is_made_anew(plans: KeptPlans) -> None:
    plans.keep(NOTHING)
    note_plan(plans, ENGINE, URN, GIVEN, NOTHING.plan)
    assert noted_plan(plans, ENGINE, URN, GIVEN) is None


def test_no_secret_is_part_of_what_is_kept(plans: KeptPlans) -> None:
    note_plan(plans, ENGINE, URN, GIVEN, SOME.plan)
    assert noted_plan(plans, ENGINE, URN, {**GIVEN, "api_key": "sha256~another"}) == SOME.plan


def processes(folder: Path, *chain: tuple[int, str]) -> Path:
    """Processes as Linux shows them, from this one upwards, each the child of the next one."""
    pids = [os.getpid(), *(pid for pid, _ in chain)]
    for (pid, name), parent in zip([(os.getpid(), "python"), *chain], [*pids[1:], 1], strict=True):
        (folder / str(pid)).mkdir()
        fields = " ".join(["S", str(parent), *map(str, range(17)), str(pid * 100), "0"])
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) {fields}\n", encoding="utf-8")
    return folder


def test_the_engine_is_found_above_the_provider_and_its_shell(tmp_path: Path) -> None:
    found = processes(tmp_path, (30, "a) S 1 (pulumi"), (20, "sh"), (10, "pulumi"), (5, "bash"))
    assert engine_process(found) == "10 1000"


def test_without_an_engine_there_is_none(tmp_path: Path) -> None:
    assert engine_process(processes(tmp_path, (20, "sh"), (10, "make"))) == ""
    assert engine_process(tmp_path / "absent") == ""
