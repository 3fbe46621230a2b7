"""The example pipelines: each file fits the schema of its format, and its shell steps prune a sandbox as they stand.

The steps that install from a package index are left out: what they would install is there. Comments go to a server of
the test's own; only GitHub's program, which knows no other address than GitHub's, is replaced by one that notes how it
was called.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pruner.report.jsonl import read_report
from tests.component.test_report_commands import planned
from tests.pulumi_project import Project
from tests.servers import ROOT, RunningSandbox

EXAMPLES = ROOT / "examples" / "pipelines"
RUN = "prune-preview-x7k2p"
"""What Tekton has called the run that previews."""


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
        for name, key in ((job, "script"), ("comment", "after_script")):
            if key in whole[job]:
                yield Step(job, name, "\n".join(whole[job][key]), ("bash", "-eo", "pipefail"))


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
    """A checkout on a machine of the platform's: the project with
    its stack `prod`, and stand-ins for the platform's programs.
    """

    project: Project
    platform: str
    token: str
    comments: Comments

    @property
    def folder(self) -> Path:
        return self.project.folder

    @property
    def files(self) -> Path:
        """Where the platform's job leaves what it writes."""
        return self.folder / "runs" / RUN if self.platform == "tekton" else self.folder

    def steps(self) -> dict[str, Step]:
        """Those that are run here, by name."""
        return {step.name: step for step in PLATFORMS[self.platform]() if step.name != "install"}

    @property
    def plan(self) -> Path:
        """The plan as the job that deletes is given it."""
        return (self.folder / "workspace" / "plan" if self.platform == "azure-pipelines" else self.files) / "plan.jsonl"

    def succeed(self, step: str, digest: str = "") -> str:
        code, output = self.run(step, digest)
        assert code == 0, f"{self.platform}, {step}: exit code {code}\n{output}"
        return output

    def fail(self, step: str, digest: str = "") -> str:
        code, output = self.run(step, digest)
        assert code != 0, output
        return output

    def run(self, name: str, digest: str) -> tuple[int, str]:
        """Run a step the way its platform does: the script in a file of its own, in the checkout. Exit code and output.

        `digest` is what the platform passes on of the preview's plan.
        """
        step = self.steps()[name]
        script = self.folder / "step"
        script.write_text(step.script, encoding="utf-8")
        given = self.project.environment
        environment = {
            **given,
            "PATH": f"{self.folder / 'programs'}:{given['PATH']}",
            "K8S_AUTH_API_KEY": self.token,
            "PULUMI_STACK": "prod",
            "RUN": RUN,
            "REVIEWED": RUN,
            "PLAN_DIGEST": digest,
            "COMMENT_ON": "7",
            "COMMENT_URL": f"{self.comments.url}/comments",
            "COMMENT_TOKEN": "comment-token",
            "GH_TOKEN": "comment-token",
            "GITLAB_TOKEN": "comment-token",
            "SYSTEM_ACCESSTOKEN": "comment-token",
            "CI_API_V4_URL": f"{self.comments.url}/api/v4",
            "CI_PROJECT_ID": "1",
            "SYSTEM_COLLECTIONURI": f"{self.comments.url}/",
            "SYSTEM_TEAMPROJECTID": "team",
            "BUILD_REPOSITORY_ID": "repository",
            "GITHUB_REPOSITORY": "org/cluster",
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
        return done.returncode, done.stdout

    def published(self, output: str) -> str:
        """The digest of the plan that the preview, which has printed this, hands to the platform."""
        match self.platform:
            case "github-actions":
                pattern, text = r"^digest=(.*)$", (self.folder / "output").read_text(encoding="utf-8")
            case "gitlab-ci":
                pattern, text = r"^PLAN_DIGEST=(.*)$", (self.folder / "digest.env").read_text(encoding="utf-8")
            case "azure-pipelines":
                pattern, text = r"^##vso\[task.setvariable variable=digest;isOutput=true\](.*)$", output
            case _:
                pattern, text = (
                    r"the digest of its plan is `(.*)`",
                    (self.files / "report.md").read_text(encoding="utf-8"),
                )
        (digest,) = re.findall(pattern, text, re.MULTILINE)
        return str(digest)

    def comment(self) -> str:
        """The comment that the platform was asked to write."""
        if self.platform == "github-actions":
            called = (self.folder / "called").read_text(encoding="utf-8").splitlines()
            assert called == ["gh", "issue", "comment", "7", "--repo", "org/cluster", "--body-file", "report.md"]
            return (self.folder / "report.md").read_text(encoding="utf-8")
        path, body = self.comments.received[-1]
        match self.platform:
            case "gitlab-ci":
                assert path == "/api/v4/projects/1/issues/7/notes"
                return parse_qs(body)["body"][0]
            case "azure-pipelines":
                assert path == "/team/_apis/git/repositories/repository/pullRequests/7/threads?api-version=7.1"
                content: str = json.loads(body)["comments"][0]["content"]
                return content
            case _:
                assert path == "/comments"
                return body


@dataclass(slots=True)
class Comments:
    """A server that takes every comment."""

    url: str
    received: list[tuple[str, str]]


@pytest.fixture
def comments() -> Iterator[Comments]:
    received: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert "comment-token" in str(self.headers)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, body.decode()))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """The output of a test is for what it is about."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Comments(f"http://127.0.0.1:{server.server_port}", received)
        server.shutdown()
        thread.join()


@pytest.fixture(params=PLATFORMS)
def runner(project: Project, sandbox: RunningSandbox, comments: Comments, request: pytest.FixtureRequest) -> Runner:
    folder = project.folder
    project.succeed("stack", "init", "prod")
    project.configure(host=sandbox.api_url)
    shutil.copytree(ROOT / "policies", folder / "policies", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLES / "policies.json", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("programs", "staging"):
        (folder / name).mkdir()
    (folder / "workspace" / "plan").mkdir(parents=True)
    program = folder / "programs" / "gh"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" gh "$@" > "{folder}/called"\n', encoding="utf-8")
    program.chmod(0o755)
    return Runner(project, request.param, sandbox.tokens["admin"], comments)


def test_the_steps_preview_report_and_delete_what_was_looked_at(runner: Runner, sandbox: RunningSandbox) -> None:
    before = set(sandbox.images())
    assert list(runner.steps()) == ["preview", "comment", "up"]
    output = runner.succeed("preview")
    assert "[advisory]" in output
    assert set(sandbox.images()) == before
    planned_then = read_report(runner.files / "plan.jsonl")
    runner.succeed("comment")
    assert "What is pruned, and why (17 images, " in runner.comment()
    assert "failed" not in runner.comment()
    # What came into use since the review is skipped.
    reused = next(image for image in planned_then.plan.images if image.reference)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "again", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": reused.reference}]},
        "status": {"phase": "Running"},
    }
    assert sandbox.call("POST", "/api/v1/namespaces/shop/pods", pod).status == 201
    if runner.platform == "azure-pipelines":
        shutil.copy(runner.folder / "staging" / "plan.jsonl", runner.folder / "workspace" / "plan")
        (runner.folder / "plan.jsonl").unlink()
    # Whoever can change artefacts approves nothing.
    reviewed = runner.plan.read_bytes()
    runner.plan.write_bytes(reviewed + b"\n")
    assert "so it is not the file that was reviewed" in runner.fail("up", runner.published(output))
    assert set(sandbox.images()) == before
    runner.plan.write_bytes(reviewed)
    runner.succeed("up", runner.published(output))
    deleted = before - set(sandbox.images())
    assert deleted == {image.name for image in planned_then.plan.images} - {reused.name}
    result = read_report(runner.files / "result.jsonl")
    assert result.outcome is not None
    assert result.outcome.deleted == deleted
    assert metric(runner.files / "planned.prom", "pruner_plan_empty") == 0
    assert metric(runner.files / "pruned.prom", "pruner_run_success") == 1
    assert (runner.files / "result.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def metric(file: Path, name: str) -> float:
    families = text_string_to_metric_families(file.read_text(encoding="utf-8"))
    (sample,) = next(family.samples for family in families if family.name == name)
    return float(sample.value)


def test_a_plan_that_a_policy_refuses_ends_the_pipeline_and_is_reported(
    runner: Runner, sandbox: RunningSandbox
) -> None:
    before = set(sandbox.images())
    (runner.folder / "policies.json").write_text(json.dumps({"max-images": {"limit": 1}}), encoding="utf-8")
    assert "would delete 17 images, and 1 are allowed" in runner.fail("preview")
    # Tekton goes on to the comment, whose step then ends the run; the others have a condition for it.
    _ = runner.fail("comment") if runner.platform == "tekton" else runner.succeed("comment")
    assert "**The preview has failed, and nothing will be deleted. Its log says why.**" in runner.comment()
    if runner.platform == "tekton":
        assert "there is nothing to approve" in runner.fail("up")
    assert set(sandbox.images()) == before


def test_a_run_that_fails_ends_the_pipeline_and_is_reported(runner: Runner, sandbox: RunningSandbox) -> None:
    planned(sandbox, "--out", runner.plan)
    (runner.plan.parent / "verdict").write_text("0\n", encoding="utf-8")
    path = "/apis/image.openshift.io/v1/images/"
    sandbox.add_fault({"status": 403}, method="DELETE", server="api", path=path, first=1, last=1)
    assert "1 deletion failed" in runner.fail("up", hashlib.sha256(runner.plan.read_bytes()).hexdigest())
    assert metric(runner.files / "pruned.prom", "pruner_run_success") == 0
    assert "**The run has failed." in (runner.files / "result.md").read_text(encoding="utf-8")
    assert (runner.files / "result.html").exists()


def test_actions_are_pinned_to_commits() -> None:
    used = [
        step["uses"] for job in loaded("github-actions")[0]["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert len(used) == 7
    assert [name for name in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name)] == []


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


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_secret_stands_in_a_file(platform: str) -> None:
    text = (EXAMPLES / f"{platform}.yaml").read_text(encoding="utf-8")
    for step in PLATFORMS[platform]():
        assert "--api-key" not in step.script
        assert "set -x" not in step.script
    assert "K8S_AUTH_API_KEY" in text
