"""What README begins with: install the wheel in an empty environment and use all of it, away from the repository."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pruner import __version__
from tests.packaging.conftest import Installed
from tests.servers import ROOT, RunningSandbox

PROGRAM = """
import os
from pruner import PrunedImages

PrunedImages("prod", host=os.environ["API"], api_key=os.environ["TOKEN"], keep_tag_revisions=2)
"""
PROJECT = "name: images\nruntime: python\n"
SCHEDULE = """
import json
from pruner.schedule import Schedule, schedule_objects
from pruner.schedule import PruneSchedule

kinds = [each["kind"] for each in schedule_objects(Schedule(image="registry.example.com/pruner"))]
print(json.dumps({"kinds": kinds, "component": PruneSchedule.__name__}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "elsewhere"
    found.mkdir()
    (found / "state").mkdir()
    return found


def access(sandbox: RunningSandbox) -> dict[str, str]:
    return {"K8S_AUTH_HOST": sandbox.api_url, "K8S_AUTH_API_KEY": sandbox.tokens["admin"]}


def test_the_command_is_there_and_says_its_version(installed: Installed, folder: Path) -> None:
    assert installed.run("pruner", "--version", cwd=folder).stdout.strip().endswith(__version__)
    assert "plan" in installed.run("pruner", "--help", cwd=folder).stdout
    where = installed.run("python", "-c", "import pruner; print(pruner.__file__)", cwd=folder).stdout.strip()
    assert Path(where).is_relative_to(installed.folder)
    assert not Path(where).is_relative_to(ROOT)


def test_the_description_is_the_readme_without_links_into_the_repository(installed: Installed, folder: Path) -> None:
    program = "from importlib.metadata import metadata; print(metadata('pulumi-pruner').get_payload())"
    description = installed.run("python", "-c", program, cwd=folder).stdout
    assert description.lstrip().startswith("# pruner")
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


def test_a_plan_and_its_reports(installed: Installed, sandbox: RunningSandbox, folder: Path) -> None:
    planned = installed.run("pruner", "plan", "--out", "plan.jsonl", cwd=folder, environment=access(sandbox))
    assert "17 images" in planned.stdout + planned.stderr
    for form, beginning in (("html", "<!doctype html>"), ("markdown", "#"), ("openmetrics", "#"), ("text", "")):
        output = folder / f"report.{form}"
        installed.run("pruner", "report", "plan.jsonl", "--format", form, "--output", str(output), cwd=folder)
        text = output.read_text(encoding="utf-8")
        assert text.lower().startswith(beginning)
        assert "shop" in text


def test_a_program_of_ones_own(installed: Installed, sandbox: RunningSandbox, folder: Path) -> None:
    (folder / "Pulumi.yaml").write_text(PROJECT, encoding="utf-8")
    (folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    environment = {"API": sandbox.api_url, "TOKEN": sandbox.tokens["admin"]}

    def pulumi(*arguments: str) -> str:
        return installed.run("pulumi", "--non-interactive", *arguments, cwd=folder, environment=environment).stdout

    pulumi("stack", "init", "test")
    preview: dict[str, Any] = json.loads(pulumi("preview", "--json"))
    images = preview["steps"][-1]["newState"]["inputs"]["plan"]["counts"]["images"]
    assert images > 0
    before = len(sandbox.images())
    pulumi("up", "--yes", "--skip-preview")
    assert before - len(sandbox.images()) == images
    # The distribution's name begins as those of Pulumi's providers do, for which the engine looks for a plugin.
    assert "pulumi-resource-pruner" not in pulumi("preview", "--expect-no-changes")


def test_the_policy_pack(installed: Installed, sandbox: RunningSandbox, folder: Path) -> None:
    pack = installed.run("pruner", "policy-pack", cwd=folder).stdout.strip()
    assert Path(pack).is_relative_to(installed.folder)
    (folder / "Pulumi.yaml").write_text(PROJECT, encoding="utf-8")
    (folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    environment = {"API": sandbox.api_url, "TOKEN": sandbox.tokens["admin"]}
    installed.run("pulumi", "stack", "init", "test", cwd=folder, environment=environment)
    shown = installed.run(
        "pulumi", "--non-interactive", "preview", "--policy-pack", pack, cwd=folder, environment=environment
    )
    assert f"pruner@v{__version__}" in shown.stdout
    assert "[advisory]" in shown.stdout


def test_a_fleet(installed: Installed, sandbox: RunningSandbox, folder: Path) -> None:
    fleet = f"clusters:\n  - name: kiel\n    settings: {{host: {sandbox.api_url}, api_key: {{env: TOKEN}}}}\n"
    (folder / "fleet.yaml").write_text(fleet, encoding="utf-8")
    environment = {"TOKEN": sandbox.tokens["admin"]}
    shown = installed.run(
        "pruner", "fleet", "preview", "--json", "--file", "fleet.yaml", cwd=folder, environment=environment
    )
    (kiel,) = json.loads(shown.stdout)["clusters"]
    assert (kiel["state"], kiel["images"]) == ("done", 17)


def test_a_schedule(installed: Installed, folder: Path) -> None:
    found = json.loads(installed.run("python", "-c", SCHEDULE, cwd=folder).stdout)
    assert found["kinds"][-1] == "CronJob"
    assert found["component"] == "PruneSchedule"
