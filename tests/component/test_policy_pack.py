"""The policy pack as a process, spoken to as the engine does:
started on its folder, the way that a language host starts it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from policies.facts import TYPE
from policies.rules import RULES
from tests.servers import ROOT

PACK = ROOT / "policies"
LEVELS = {"advisory": analyzer_pb2.ADVISORY, "mandatory": analyzer_pb2.MANDATORY, "disabled": analyzer_pb2.DISABLED}


@pytest.fixture
def pack(tmp_path: Path) -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """In a folder that has nothing to do with it, and with nothing on the path of modules."""
    kept = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:9", str(PACK)],
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield analyzer_pb2_grpc.AnalyzerStub(channel)
    process.terminate()
    process.wait(timeout=10)
    process.stdout.close()


def test_every_rule_is_offered_with_its_level_and_schema(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    info = pack.GetAnalyzerInfo(empty_pb2.Empty())
    assert info.name == yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text(encoding="utf-8"))["name"]
    assert info.supportsConfig
    offered = {each.name: (each.enforcementLevel, set(each.configSchema.properties)) for each in info.policies}
    assert offered == {rule.name: (LEVELS[rule.level], set(rule.options)) for rule in RULES}


def configured(**policies: dict[str, object]) -> analyzer_pb2.ConfigureAnalyzerRequest:
    request = analyzer_pb2.ConfigureAnalyzerRequest()
    for name, options in policies.items():
        request.policyConfig[name.replace("_", "-")].properties.update(options)
    return request


def test_a_misspelt_option_ends_the_run_instead_of_being_no_limit(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    with pytest.raises(grpc.RpcError, match="max-images has no option limits"):
        pack.Configure(configured(max_images={"limits": 5}))
    pack.Configure(configured(max_images={"limit": 5}))


@pytest.mark.parametrize("preview", [True, False])
def test_only_previews_may_have_no_plan(pack: analyzer_pb2_grpc.AnalyzerStub, *, preview: bool) -> None:
    pack.Configure(analyzer_pb2.ConfigureAnalyzerRequest())
    pack.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack="test", project="pruner", dry_run=preview))
    request = analyzer_pb2.AnalyzeRequest(type=TYPE, urn="urn:pulumi:test::pruner::x::y", name="y")
    request.properties.update({"plan": {"summary": "not known before host is known"}})
    found = {each.policyName for each in pack.Analyze(request).diagnostics}
    assert found == ({"unknown-plan"} if preview else {rule.name for rule in RULES})
    request.type = "kubernetes:core/v1:ConfigMap"
    assert not pack.Analyze(request).diagnostics
