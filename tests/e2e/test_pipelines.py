"""The example pipelines: each file fits the schema of its format, and its shell steps prune a sandbox as they stand.

The steps that install from a package index are left out: what they would install is there. The programs of the platforms that comments are
written with are replaced by one that notes how it was called.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pruner.report.jsonl import read_report
from tests.pulumi_project import Project
from tests.servers import ROOT, RunningSandbox

EXAMPLES = ROOT / "examples" / "pipelines"
POLICIES = {"max-images": {"limit": 100}, "approval": {"images": 5}, "only-copies": "advisory"}


@dataclass(frozen=True, slots=True)
class Step:
    """A shell step: its job, its name, and how its platform runs it."""

    job: str
    name: str
    script: str
    shell: tuple[str, ...]


def loaded(name: str) -> list[Any]:
    return [part for part in yaml.safe_load_all((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")) if part]


def steps_of_github() -> Iterator[Step]:
    for job, content in loaded("github-actions")[0]["jobs"].items():
        for step in content["steps"]:
            if "run" in step:
                yield Step(job, step["name"], step["run"], ("bash", "-e"))


def steps_of_gitlab() -> Iterator[Step]:
    whole = loaded("gitlab-ci")[0]
    yield Step("", "install", "\n".join(whole["default"]["before_script"]), ("bash", "-eo", "pipefail"))
    for job in whole["stages"]:
        for number, script in enumerate(whole[job]["script"]):
            yield Step(job, "comment" if number else job, script, ("bash", "-eo", "pipefail"))


def steps_of_azure() -> Iterator[Step]:
    for stage in loaded("azure-pipelines")[0]["stages"]:
        job = stage["jobs"][0]
        steps = job["steps"] if "steps" in job else job["strategy"]["runOnce"]["deploy"]["steps"]
        for step in steps:
            if "bash" in step:
                yield Step(stage["stage"], step["displayName"], step["bash"], ("bash",))


def steps_of_tekton() -> Iterator[Step]:
    for part in loaded("tekton"):
        if part["kind"] == "Task":
            for step in part["spec"]["steps"]:
                job = part["metadata"]["name"].removeprefix("prune-")
                yield Step(job, step["name"], step["script"], ("sh",))


PLATFORMS: dict[str, Callable[[], Iterator[Step]]] = {
    "github-actions": steps_of_github,
    "gitlab-ci": steps_of_gitlab,
    "azure-pipelines": steps_of_azure,
    "tekton": steps_of_tekton,
}


@dataclass(frozen=True, slots=True)
class Runner:
    """A checkout on a machine of the platform's: the project with its stack `prod`, and stand-ins for the platform's programs."""

    project: Project
    token: str

    @property
    def folder(self) -> Path:
        return self.project.folder

    def run(self, step: Step) -> str:
        """Run a step the way its platform does: the script in a file of its own, in the checkout."""
        script = self.folder / "step"
        script.write_text(step.script, encoding="utf-8")
        given = self.project.environment
        environment = {
            **given,
            "PATH": f"{self.folder / 'programs'}:{given['PATH']}",
            "K8S_AUTH_API_KEY": self.token,
            "PULUMI_STACK": "prod",
            "COMMENT_ON": "7",
            "COMMENT_URL": "http://127.0.0.1:9/comments",
            "COMMENT_TOKEN": "comment-token",
            "GH_TOKEN": "comment-token",
            "GITLAB_TOKEN": "comment-token",
            "CI_API_V4_URL": "http://127.0.0.1:9/api/v4",
            "CI_PROJECT_ID": "1",
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "BUILD_ARTIFACTSTAGINGDIRECTORY": str(self.folder / "staging"),
            "PIPELINE_WORKSPACE": str(self.folder / "workspace"),
        }
        done = subprocess.run(
            [*step.shell, str(script)],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{step.job}, {step.name}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def runner(project: Project, sandbox: RunningSandbox) -> Runner:
    folder = project.folder
    project.succeed("stack", "init", "prod")
    project.configure(host=sandbox.api_url)
    shutil.copytree(ROOT / "policies", folder / "policies", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "policies.json").write_text(json.dumps(POLICIES), encoding="utf-8")
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("programs", "staging"):
        (folder / name).mkdir()
    (folder / "workspace" / "plan").mkdir(parents=True)
    for name in ("gh", "curl", "az"):
        program = folder / "programs" / name
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >> "{folder}/comments"\n', encoding="utf-8")
        program.chmod(0o755)
    return Runner(project, sandbox.tokens["admin"])


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_steps_preview_report_and_delete_what_was_looked_at(
    runner: Runner, sandbox: RunningSandbox, platform: str
) -> None:
    before = set(sandbox.images())
    steps = [step for step in PLATFORMS[platform]() if step.name != "install"]
    assert [(step.job, step.name) for step in steps] == [("preview", "preview"), ("preview", "comment"), ("up", "up")]
    preview, comment, up = steps
    assert "[advisory]" in runner.run(preview)
    assert set(sandbox.images()) == before
    planned = read_report(runner.folder / "plan.jsonl")
    assert "Everything that goes (18)" in (runner.folder / "report.md").read_text(encoding="utf-8")
    runner.run(comment)
    assert comment_is_of(runner.folder, platform)
    # What is in use again since the review is left alone.
    reused = next(image for image in planned.plan.images if image.reference)
    spec = reused.reference
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "again", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": spec}]},
        "status": {"phase": "Running"},
    }
    assert sandbox.call("POST", "/api/v1/namespaces/shop/pods", pod).status == 201
    if platform == "azure-pipelines":
        shutil.copy(runner.folder / "staging" / "plan.jsonl", runner.folder / "workspace" / "plan")
        (runner.folder / "plan.jsonl").unlink()
    runner.run(up)
    deleted = before - set(sandbox.images())
    assert deleted == {image.name for image in planned.plan.images} - {reused.name}
    result = read_report(runner.folder / "result.jsonl")
    assert result.outcome is not None
    assert result.outcome.deleted == deleted
    for name in ("planned.prom", "pruned.prom"):
        assert list(text_string_to_metric_families((runner.folder / name).read_text(encoding="utf-8")))
    assert (runner.folder / "result.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def comment_is_of(folder: Path, platform: str) -> bool:
    """Whether the platform's program was called with the report."""
    called = (folder / "comments").read_text(encoding="utf-8")
    begins, names = {
        "github-actions": ("gh\nissue\ncomment\n7\n", "--body-file\nreport.md"),
        "gitlab-ci": ("curl\n--fail\n", "body@report.md"),
        "azure-pipelines": ("az\nboards\nwork-item\nupdate\n--id\n7\n", "### pruner: 13 revisions"),
        "tekton": ("curl\n--fail\n", "@report.md"),
    }[platform]
    return called.startswith(begins) and names in called


def test_a_plan_that_a_policy_refuses_ends_the_pipeline_before_the_review(runner: Runner) -> None:
    (runner.folder / "policies.json").write_text(json.dumps({"max-images": {"limit": 1}}), encoding="utf-8")
    preview = next(step for step in steps_of_github() if step.name == "preview")
    with pytest.raises(AssertionError, match=r"exit code (?s:.)*would delete 17 images, and 1 are allowed"):
        runner.run(preview)


@pytest.mark.parametrize(
    ("platform", "schema"),
    [("github-actions", "github-workflows"), ("gitlab-ci", "gitlab-ci"), ("azure-pipelines", "azure-pipelines")],
)
def test_each_file_fits_its_formats_schema(platform: str, schema: str) -> None:
    # The schema of Azure has patterns that are valid without the flag `u` only.
    command = [sys.executable, "-m", "check_jsonschema", "--regex-variant", "nonunicode"]
    done = subprocess.run(
        [*command, "--builtin-schema", f"vendor.{schema}", str(EXAMPLES / f"{platform}.yaml")],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_objects_for_tekton_fit_their_schema() -> None:
    schema = json.loads((ROOT / "tests" / "schemas" / "tekton.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    for part in loaded("tekton"):
        jsonschema.Draft7Validator(schema).validate(part)


def test_the_schema_for_tekton_refuses_what_does_not_fit() -> None:
    schema = json.loads((ROOT / "tests" / "schemas" / "tekton.json").read_text(encoding="utf-8"))
    task = loaded("tekton")[0]
    task["spec"]["steps"][0]["scripts"] = "a name that there is not"
    assert not jsonschema.Draft7Validator(schema).is_valid(task)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_secret_stands_in_a_file(platform: str) -> None:
    text = (EXAMPLES / f"{platform}.yaml").read_text(encoding="utf-8")
    for step in PLATFORMS[platform]():
        assert "--api-key" not in step.script
        assert "set -x" not in step.script
    assert "K8S_AUTH_API_KEY" in text
