"""A fleet of sandboxes with the real CLI: one command each
to preview, approve and prune, whatever single clusters do.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pruner.schedule.manifests import WORK, Schedule, schedule_objects
from tests.integration.processes import pause
from tests.pulumi_project import environment_in, pulumi_path
from tests.servers import ROOT, RunningSandbox, copied, running_sandbox

NAMES = ("bremen", "kiel", "ulm")
EVERY_KIND = (
    "defaults: {settings: {workers: 5, strict: false, keep_younger_than: 60, max_deletions: 90%, protect: [base/*, "
    "'x/y:z'], extra_referrers: [tekton, {group: example.com, version: v1, resource: things, images: [spec.image]}], "
    "proxy_headers: {user_agent: {env: AGENT}}}}"
)
"""Settings of every kind that the configuration of a stack knows."""


@dataclass(frozen=True, slots=True)
class Run:
    code: int
    output: str
    errors: str

    @property
    def text(self) -> str:
        return f"exit code {self.code}\n{self.output}\n{self.errors}"

    @property
    def clusters(self) -> dict[str, Any]:
        return {each["cluster"]: each for each in json.loads(self.output)["clusters"]}

    @property
    def states(self) -> dict[str, str]:
        return {name: each["state"] for name, each in self.clusters.items()}


@dataclass(frozen=True, slots=True)
class FleetOfSandboxes:
    """A folder with fleet.yaml, and the clusters in it by name."""

    folder: Path
    sandboxes: dict[str, RunningSandbox]

    @property
    def plans(self) -> Path:
        return self.folder / "plans"

    def write(self, more: str = "", hub: str = "") -> None:
        """Write fleet.yaml; the others use the registry of the cluster that is the `hub`."""
        clusters = "".join(
            f"  - name: {name}\n    labels: {{city: {name}}}\n    settings:\n"
            f"      host: {sandbox.api_url}\n      api_key: {{env: TOKEN_{name.upper()}}}\n"
            + ("      uses_from: fleet\n" if name == hub else "")
            for name, sandbox in self.sandboxes.items()
        )
        (self.folder / "fleet.yaml").write_text(f"{EVERY_KIND}\n{more}\nclusters:\n{clusters}", encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        return {
            **environment_in(self.folder),
            # Of no cluster in the fleet: each has its own.
            "K8S_AUTH_API_KEY": "somebody-elses-token",
            "AGENT": "fleet-of-tests",
            **{f"TOKEN_{name.upper()}": sandbox.tokens["admin"] for name, sandbox in self.sandboxes.items()},
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pruner", "fleet", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Run:
        with self.start(*arguments) as process:
            return ended(process)


def ended(process: subprocess.Popen[str]) -> Run:
    output, errors = process.communicate(timeout=240)
    return Run(process.returncode, output, errors)


@pytest.fixture
def fleet(demo_folder: Path, tmp_path: Path) -> Iterator[FleetOfSandboxes]:
    """Three clusters with something to prune."""
    if pulumi_path() is None:
        if os.environ.get("CI"):
            pytest.fail("pulumi is not on PATH; run `make setup-pulumi`")
        pytest.skip("pulumi is not on PATH; run `make test`, which gets it")
    folder = tmp_path / "fleet"
    (folder / "state").mkdir(parents=True)
    with ExitStack() as stack:
        sandboxes = {name: stack.enter_context(running_sandbox(copied(demo_folder, tmp_path / name))) for name in NAMES}
        made = FleetOfSandboxes(folder, sandboxes)
        made.write()
        yield made


def images_in(plan: Path) -> set[str]:
    lines = (json.loads(line) for line in plan.read_text(encoding="utf-8").splitlines())
    return {line["name"] for line in lines if line["line"] == "image"}


def used_elsewhere(fleet: FleetOfSandboxes) -> str:
    """The digest of an image that each of the clusters would prune, and which kiel uses from now on."""
    images = fleet.sandboxes["kiel"].images().items()
    (digest,) = [name for name, image in images if "/mirror/lost" in image["dockerImageReference"]]
    containers = [{"name": "app", "image": f"registry.example.org/a/b@{digest}"}]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "user"},
        "spec": {"containers": containers},
    }
    answer = fleet.sandboxes["kiel"].call("POST", "/api/v1/namespaces/default/pods", body)
    assert answer.status == 201, answer.body
    return digest


def test_a_fleet_is_previewed_approved_and_pruned(fleet: FleetOfSandboxes) -> None:
    fleet.write(hub="bremen")
    used = used_elsewhere(fleet)
    before = {name: set(sandbox.images()) for name, sandbox in fleet.sandboxes.items()}
    preview = fleet.run("preview", "--plans", "plans", "--json")
    assert (preview.code, set(preview.states.values())) == (0, {"done"}), preview.text
    assert {name: set(sandbox.images()) for name, sandbox in fleet.sandboxes.items()} == before
    page = (fleet.plans / "review.md").read_text(encoding="utf-8")
    assert NAMES
    for name in NAMES:
        assert preview.clusters[name]["plan"] in page
        assert f"({name}.html)" in page
        assert (fleet.plans / f"{name}.html").is_file()

    # What kiel uses is kept in bremen too, whose registry it may be pulled from (R38).
    assert {name: used in images_in(fleet.plans / f"{name}.jsonl") for name in NAMES} == {
        "bremen": False,
        "kiel": False,
        "ulm": True,
    }

    # Whoever reviews takes out what is not to be pruned.
    (fleet.plans / "ulm.jsonl").unlink()
    up = fleet.run("up", "--plans", "plans", "--json")
    assert (up.code, up.states) == (0, {"bremen": "done", "kiel": "done", "ulm": "skipped"}), up.text
    for name in ("bremen", "kiel"):
        approved = images_in(fleet.plans / f"{name}.jsonl")
        assert approved
        assert before[name] - set(fleet.sandboxes[name].images()) == approved
    assert set(fleet.sandboxes["ulm"].images()) == before["ulm"]

    again = fleet.run("up", "--plans", "plans", "--json")
    assert (again.code, set(again.states.values())) == (0, {"skipped"}), again.text
    assert "this plan was carried out" in again.clusters["kiel"]["message"]
    report = fleet.run("report")
    assert "13 revisions of 6 image streams, 16 images" in report.output

    secret = fleet.sandboxes["kiel"].tokens["admin"].encode()
    files = [path for path in fleet.folder.rglob("*") if path.is_file()]
    assert [path for path in files if secret in path.read_bytes()] == []
    assert secret.decode() not in preview.output + preview.errors + up.output + up.errors


def test_a_failing_and_a_hanging_cluster_hold_up_nobody(fleet: FleetOfSandboxes) -> None:
    fleet.sandboxes["bremen"].add_fault({"status": 500}, server="api")
    fleet.sandboxes["ulm"].add_fault({"delay": 600}, server="api", path="/images")
    began = time.monotonic()
    preview = fleet.run("preview", "--plans", "plans", "--json", "--timeout", "60")
    assert time.monotonic() - began < 110
    assert preview.code == 1
    assert preview.states == {"bremen": "failed", "kiel": "done", "ulm": "timed out"}, preview.text
    assert "500" in preview.clusters["bremen"]["message"]
    assert "not done after 60 seconds" in preview.clusters["ulm"]["message"]
    assert [path.name for path in fleet.plans.glob("*.jsonl")] == ["kiel.jsonl"]

    for sandbox in fleet.sandboxes.values():
        sandbox.clear_faults()
    again = fleet.run("up", "--unreviewed", "--json", "--label", "city=ulm")
    assert (again.code, again.states) == (0, {"ulm": "done"}), again.text


def test_a_canary_that_fails_ends_the_run(fleet: FleetOfSandboxes) -> None:
    fleet.write("waves: [{name: canary, labels: {city: kiel}}]")
    fleet.sandboxes["kiel"].add_fault({"status": 500}, server="api")
    up = fleet.run("up", "--unreviewed", "--json")
    assert up.code == 1
    assert up.states == {"bremen": "stopped", "kiel": "failed", "ulm": "stopped"}, up.text
    assert "failures in wave canary: 1, and its max_failures is 0" in up.clusters["ulm"]["message"]
    assert not [
        entry for name in ("bremen", "ulm") for entry in fleet.sandboxes[name].requests() if "/apis" in entry["path"]
    ]


def test_ctrl_c_ends_clusters_at_work_and_says_what_was_done(fleet: FleetOfSandboxes) -> None:
    sandbox = fleet.sandboxes["ulm"]
    sandbox.add_fault({"delay": 600}, server="api", path="/imagestreams")
    with fleet.start("up", "--unreviewed", "--json", "--label", "city=ulm") as process:
        while not any("/images" in entry["path"] for entry in sandbox.requests()) and process.poll() is None:
            pause()
        process.send_signal(signal.SIGINT)
        up = ended(process)
    assert (up.code, up.states) == (1, {"ulm": "stopped"}), up.text
    assert "Traceback" not in up.errors
    # Its lock is given back.
    sandbox.clear_faults()
    assert fleet.run("up", "--unreviewed", "--label", "city=ulm").code == 0


def test_a_policy_refuses_a_cluster_and_says_why(fleet: FleetOfSandboxes) -> None:
    (fleet.folder / "policies.json").write_text('{"max-images": {"limit": 5}}', encoding="utf-8")
    fleet.write(f"policy_packs: [{{pack: {ROOT / 'policies' / 'run'}, config: policies.json}}]")
    sandbox = fleet.sandboxes["kiel"]
    before = set(sandbox.images())
    up = fleet.run("up", "--unreviewed", "--json", "--label", "city=kiel")
    assert (up.code, up.states) == (1, {"kiel": "refused"}), up.text
    assert "pruner/max-images: " in up.clusters["kiel"]["message"]
    assert "would delete 17 images, and 5 are allowed" in up.clusters["kiel"]["message"]
    # What is advised only is a note.
    assert any("pruner/certificates: " in note for note in up.clusters["kiel"]["notes"])
    assert set(sandbox.images()) == before


def test_what_the_cron_job_starts_prunes_and_does_so_again_with_the_state_gone(
    fleet: FleetOfSandboxes, tmp_path: Path
) -> None:
    """The container's command with its environment, and folders
    of the test's own in place of those that are mounted.
    """
    sandbox = fleet.sandboxes["kiel"]
    settings = {"host": sandbox.api_url, "api_key": {"env": "TOKEN"}, "registry_url": sandbox.registry_url}
    asked = Schedule(image="x", settings=settings, environment={"TOKEN": sandbox.tokens["admin"]})
    objects = {each["kind"]: each for each in schedule_objects(asked)}
    container = objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    counts = []
    for number in range(2):
        work, etc = tmp_path / f"work-{number}", tmp_path / f"etc-{number}"
        work.mkdir()
        etc.mkdir()
        for name, text in objects["ConfigMap"]["data"].items():
            (etc / name).write_text(text, encoding="utf-8")
        here = {WORK: str(work), "/etc/pruner": str(etc)}
        environment = {
            "PATH": fleet.environment["PATH"],
            "PYTHONPATH": str(ROOT),
            **{each["name"]: placed(each["value"], here) for each in container["env"]},
            **objects["Secret"]["stringData"],
        }
        arguments = [placed(word, here) for word in container["args"]]
        with subprocess.Popen(
            [sys.executable, "-m", "pruner", *arguments],
            cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            run = ended(process)
        assert (run.code, run.states) == (0, {"cluster": "done"}), run.text
        counts.append(run.clusters["cluster"]["images"])
    assert counts == [17, 0]


def placed(text: str, folders: dict[str, str]) -> str:
    for theirs, ours in folders.items():
        text = text.replace(theirs, ours)
    return text


def test_the_service_previews_and_carries_out_the_plan_whose_fingerprint_it_is_given(fleet: FleetOfSandboxes) -> None:
    sandbox = fleet.sandboxes["kiel"]
    before = set(sandbox.images())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = ROOT / "examples" / "fleet" / "service" / "service.py"
    with subprocess.Popen(
        [sys.executable, str(program), "fleet.yaml", str(port)], cwd=fleet.folder, env=fleet.environment,
        stderr=subprocess.PIPE
    ) as process:  # fmt: skip
        try:
            status, preview = ask(port, "POST", "/clusters/kiel/preview")
            assert (status, preview["state"]) == (200, "done"), preview
            assert ask(port, "POST", "/clusters/kiel/up", {"If-Match": "sha256:0"})[0] == 412
            assert set(sandbox.images()) == before
            status, up = ask(port, "POST", "/clusters/kiel/up", {"If-Match": preview["plan"]})
            assert (status, up["state"], up["images"]) == (200, "done", preview["images"]), up
            assert before - set(sandbox.images()) == images_in(fleet.folder / ".fleet" / "plans" / "kiel.jsonl")
            assert [run["verb"] for run in ask(port, "GET", "/clusters")[1]["kiel"]] == ["preview", "up"]
        finally:
            process.terminate()


def ask(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """One request, as soon as the service listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for _ in range(200):
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            pause()
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_workers_of_an_indexed_job_share_the_fleet(fleet: FleetOfSandboxes) -> None:
    shares = [fleet.run("status", "--shard", f"{index}/2").output for index in range(2)]
    assert shares == ["never run: bremen, ulm\n", "never run: kiel\n"]
