"""The examples are programs that run: those of docs/, one of a stack against Pulumi's mocks, the service as it is.

The service with a cluster is in tests/e2e.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import runpy
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime import mocks

from tests.fleet_engine import Engine, plan_of

DOCS = Path(__file__).parent.parent.parent / "docs"
EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "fleet"


class Recording(mocks.Mocks):
    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.resource_id:
            return args.resource_id, {"spec": {"keepTagRevisions": 4}}
        self.made[args.name] = args.inputs
        return f"{args.name}-id", dict(args.inputs)

    def call(self, _args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        return {}, None


def test_cluster_and_pruning_in_one_stack(event_loops: None) -> None:
    recording = Recording()
    pulumi.runtime.set_mocks(recording, project="cluster-and-pruning", preview=False)
    pulumi.runtime.set_all_config({"cluster-and-pruning:registry_host": "registry.apps.example.com"})

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> pulumi.Output[Any]:
        found = runpy.run_path(str(EXAMPLES / "cluster_and_pruning" / "__main__.py"))
        schedule: pulumi.Output[Any] = found["schedule"].message
        return schedule

    program()
    assert recording.made["pruned"]["registry_url"] == "https://registry.apps.example.com"
    assert '"keep_tag_revisions": 4' in recording.made["nightly-config-map"]["data"]["fleet.yaml"]
    assert recording.made["nightly-imagepruner"]["spec"] == {"suspend": True}


# --- in docs/ --------------------------------------------------------------------------------------------------------


def programs(page: str) -> list[str]:
    """The blocks of Python in a page."""
    found: list[str] = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return found


def run_with_mocks(program: str, **names: Any) -> dict[str, dict[str, Any]]:
    """Run a block against the mocks; what it has made."""
    recording = Recording()
    pulumi.runtime.set_mocks(recording, project="docs", preview=False)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def block() -> None:
        exec(compile(program, "docs", "exec"), {"pulumi": pulumi, **names})  # noqa: S102 - a block of our own page

    block()
    return recording.made


def test_the_pruned_state_as_a_resource(event_loops: None) -> None:
    # It becomes the cluster's, and its registry's, in a program of your own.
    before = "from types import SimpleNamespace\n"
    before += "cluster = SimpleNamespace(api_url=pulumi.Output.from_input('https://x:6443'), pruner_token='t')\n"
    before += "registry = pulumi.ComponentResource('docs:index:Registry', 'registry')\n"
    made = run_with_mocks(before + programs("library.md")[0])
    assert made["pruned"]["host"] == "https://x:6443"


def test_the_schedule_as_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(programs("library.md")[1], "docs", "exec"), {"yaml": yaml})  # noqa: S102 - a block of our own page
    assert "kind: CronJob" in capsys.readouterr().out


def test_fleets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(tmp_path / "engine")
    engine.plans("kiel", plan_of("kiel", images=3))
    (tmp_path / "fleet.yaml").write_text("clusters: [{name: kiel}]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{engine.folder}{os.pathsep}{os.environ['PATH']}")
    exec(compile(programs("library.md")[2], "docs", "exec"), {})  # noqa: S102 - a block of our own page
    assert capsys.readouterr().out.splitlines()[-1] == f"kiel done 3 {plan_of('kiel', images=3).fingerprint}"


def test_the_blocks_on_schedules(event_loops: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fleet.yaml").write_text("clusters: [{name: kiel}]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    first, *others = programs("schedule.md")
    made = run_with_mocks(first)
    assert made["nightly-cron-job"]["spec"]["schedule"] == "30 2 * * *"
    assert '"keep_tag_revisions": 4' in made["nightly-config-map"]["data"]["fleet.yaml"]
    for block in others:
        made = run_with_mocks(block, Path=Path, passphrase="p", kiel_token="t")
        assert {name.rpartition("-")[2] for name in made} >= {"job"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[int]:
    """The port of a service for a fleet that it has never run."""
    (tmp_path / "fleet.yaml").write_text("clusters: [{name: kiel, settings: {api_key: {env: NOT_SET}}}]\n", "utf-8")
    spec = importlib.util.spec_from_file_location("fleet_service", EXAMPLES / "service" / "service.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fleet_service"] = module
    spec.loader.exec_module(module)
    module.Requests.log_message = lambda *_: None
    server = module.Service(tmp_path / "fleet.yaml", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def ask(port: int, method: str, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/clusters", 200, "'kiel': []"),
        ("GET", "/clusters/kiel/plan", 404, "no such thing"),
        ("GET", "/clusters/../../etc/passwd/plan", 404, "no such thing"),
        ("POST", "/clusters/ulm/up", 404, "no such thing"),
        ("POST", "/clusters/kiel/up", 422, "cannot be read"),
        ("POST", "/clusters/kiel/preview", 422, "the environment has no NOT_SET"),
    ],
)
def test_service_answers(service: int, method: str, path: str, status: int, said: str) -> None:
    found, answer = ask(service, method, path)
    assert found == status
    assert said in str(answer)
