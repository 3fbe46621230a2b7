"""The example for Tekton on a real API server that has Tekton's
own definitions: every object is taken, and every field known.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.kubernetes_api import Kubernetes
from tests.integration.processes import cannot, pause
from tests.servers import ROOT

EXAMPLE = ROOT / "examples" / "pipelines" / "tekton.yaml"
KINDS = {"Task": "tasks", "Pipeline": "pipelines", "PipelineRun": "pipelineruns", "CronJob": "cronjobs"}


def objects() -> list[dict[str, Any]]:
    """Those of the file, and the two runs that it tells how to start."""
    text = EXAMPLE.read_text(encoding="utf-8")
    found: list[dict[str, Any]] = [part for part in yaml.safe_load_all(text) if part]
    (command,) = (part["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0] for part in found[-1:])
    scheduled = re.search(r"<<'END'\n(.*)END\n", command["command"][-1], re.DOTALL)
    by_hand = re.search(r"<<< '(\{.*?\})'\n", text, re.DOTALL)
    assert scheduled is not None
    assert by_hand is not None
    return [*found, yaml.safe_load(scheduled[1]), json.loads(re.sub(r"\n#", "\n", by_hand[1]))]


@pytest.fixture(scope="module")
def tekton(kubernetes: Kubernetes) -> Kubernetes:
    folder = Path(os.environ.get("TEKTON_CRDS") or "/nonexistent")
    if not folder.is_dir():
        cannot("there are no definitions of Tekton's kinds: set TEKTON_CRDS to what tools/get_tekton prints")
    kinds = ("task", "pipeline", "pipelinerun")
    for kind in kinds:
        definition = yaml.safe_load((folder / f"300-{kind}.yaml").read_text(encoding="utf-8"))
        # Between versions a webhook converts, which is not here; only one is used.
        del definition["spec"]["conversion"]
        kubernetes.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    kubernetes.namespace("pipelines")
    wanted = [f"/apis/tekton.dev/v1/{kind}s" for kind in kinds]
    for _ in range(300):
        wanted = [path for path in wanted if kubernetes.call("GET", path)[0] != 200]
        if not wanted:
            return kubernetes
        pause()
    raise AssertionError(f"kube-apiserver does not serve {wanted}")


def tried(cluster: Kubernetes, part: dict[str, Any]) -> tuple[int, str]:
    """What the server says to creating it, without its being created: status and message."""
    path = f"/apis/{part['apiVersion']}/namespaces/pipelines/{KINDS[part['kind']]}"
    status, answer = cluster.call("POST", f"{path}?dryRun=All&fieldValidation=Strict", part)
    return status, str(answer.get("message"))


def test_every_object_is_taken(tekton: Kubernetes) -> None:
    parts = objects()
    assert [part["kind"] for part in parts] == ["Task"] * 2 + ["Pipeline"] * 2 + ["CronJob"] + ["PipelineRun"] * 2
    assert [(part["metadata"], said) for part in parts if (said := tried(tekton, part))[0] != 201] == []


def test_a_field_that_there_is_not_would_be_seen(tekton: Kubernetes) -> None:
    task = objects()[0]
    task["spec"]["steps"][0]["scripts"] = "a name that there is not"
    status, message = tried(tekton, task)
    assert status == 400
    assert 'unknown field "spec.steps[0].scripts"' in message


def test_what_is_referred_to_is_there_and_gets_the_parameters_it_has() -> None:
    parts = objects()
    tasks, pipelines = (
        {part["metadata"]["name"]: part["spec"] for part in parts if part["kind"] == kind}
        for kind in ("Task", "Pipeline")
    )
    pairs = [
        (each, tasks[each["taskRef"]["name"]]) for pipeline in pipelines.values() for each in pipeline["tasks"]
    ] + [
        (part["spec"], pipelines[part["spec"]["pipelineRef"]["name"]])
        for part in parts
        if part["kind"] == "PipelineRun"
    ]
    assert len(pairs) == 4
    for given, taken in pairs:
        names = {each["name"]: "default" in each for each in taken.get("params", [])}
        passed = {each["name"] for each in given.get("params", [])}
        assert passed <= names.keys()
        assert {name for name, has_default in names.items() if not has_default} <= passed
        assert [each["name"] for each in given["workspaces"]] == [each["name"] for each in taken["workspaces"]]
