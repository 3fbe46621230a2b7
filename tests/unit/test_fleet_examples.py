"""The examples are programs that run: one against Pulumi's mocks, one as the service that it is."""

from __future__ import annotations

import http.client
import importlib.util
import json
import runpy
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

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
