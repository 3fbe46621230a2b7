"""`require_approval` with the real CLI: an up that nobody can have reviewed deletes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from pruner.cluster.retirement import RETIRED
from tests.pulumi_project import Project
from tests.servers import RunningSandbox

REFUSED = "require_approval is set, and this up is not bound to a plan that was made before; nothing was changed"


@pytest.fixture
def required(demo: Project, sandbox: RunningSandbox) -> Project:
    return requiring(demo, sandbox)


@pytest.fixture
def either_required(either: Project, sandbox: RunningSandbox) -> Project:
    return requiring(either, sandbox)


def requiring(project: Project, sandbox: RunningSandbox) -> Project:
    project.configure(require_approval="true", as_of=sandbox.clock())
    return project


def test_an_up_with_its_own_preview_is_refused_and_a_saved_plan_carried_out(
    either_required: Project, sandbox: RunningSandbox
) -> None:
    before = sandbox.images()
    assert REFUSED in either_required.fail("up", "--yes")
    either_required.succeed("preview", "--save-plan", "plan.json")
    assert sandbox.images() == before

    either_required.succeed("up", "--yes", "--skip-preview", "--plan", "plan.json")
    assert len(sandbox.images()) < len(before)


def test_R36_a_reviewed_plan_that_retires_is_carried_out_and_deletes_nothing(
    required: Project, sandbox: RunningSandbox
) -> None:
    required.configure(grace="7d")
    before = sandbox.images()
    assert REFUSED in required.fail("up", "--yes", "--skip-preview")
    assert sandbox.images() == before
    assert "retired_images" in required.succeed("preview", "--diff", "--save-plan", "plan.json")

    required.succeed("up", "--yes", "--skip-preview", "--plan", "plan.json")
    assert sandbox.images().keys() == before.keys()
    retired = [image for image in sandbox.images().values() if RETIRED in image["metadata"].get("annotations", {})]
    assert len(retired) == required.outputs()["summary"]["retired_images"] > 0


def test_a_plan_saved_on_another_machine_is_carried_out_after_a_preview(
    required: Project, sandbox: RunningSandbox
) -> None:
    required.succeed("preview", "--save-plan", "plan.json")
    before = sandbox.images()
    shutil.rmtree(required.folder / ".cache")
    assert REFUSED in required.fail("up", "--yes", "--skip-preview", "--plan", "plan.json")
    shutil.rmtree(required.folder / ".cache")
    assert sandbox.images() == before

    required.succeed("up", "--yes", "--plan", "plan.json")
    assert len(sandbox.images()) < len(before)


def test_an_approved_plan_is_carried_out(either_required: Project, sandbox: RunningSandbox) -> None:
    before = len(sandbox.images())
    subprocess.run(
        [sys.executable, "-m", "pruner", "plan", "--host", sandbox.api_url, "--out", "plan.jsonl"],
        cwd=either_required.folder,
        env={**either_required.environment, "K8S_AUTH_API_KEY": sandbox.tokens["admin"]},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    either_required.configure(approved_plan=str(either_required.folder / "plan.jsonl"))
    either_required.succeed("up", "--yes", "--skip-preview")
    assert len(sandbox.images()) < before
    assert either_required.outputs()["failures"] == []
