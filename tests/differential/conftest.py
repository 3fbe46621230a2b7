"""The Ansible module beside us, in the virtual environment that tools/get_ansible makes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pruner.cluster.objects import Image, Snapshot
from tests.builders.objects import NOW

ROOT = Path(__file__).resolve().parents[2]
WORKLOADS = (
    *("Pod", "ReplicationController", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet", "Job", "CronJob"),
    *("DeploymentConfig", "BuildConfig", "Build"),
)


def python_with_ansible() -> Path | None:
    """PRUNER_ANSIBLE, or what tools/get_ansible has made in .tools."""
    given = os.environ.get("PRUNER_ANSIBLE")
    path = Path(given) if given else ROOT / ".tools" / "ansible" / "bin" / "python"
    return path if path.exists() else None


class Module:
    """The Ansible module, asked one cluster after the other."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [python, ROOT / "tests" / "differential" / "module_answers.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, found: Snapshot, *, edited: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        """What it does with this cluster. `edited` replaces lists of objects by kind, as JSON."""
        assert self._process.stdin
        assert self._process.stdout
        question = {
            "resources": {**resources(found), **(edited or {})},
            "params": {"keep_younger_than": 60, **params},
            "now": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
        }
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def module() -> Iterator[Module]:
    python = python_with_ansible()
    if python is None:
        reason = "the Ansible module is not there: run tools/get_ansible .tools, or name its Python in PRUNER_ANSIBLE"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    found = Module(python)
    yield found
    found.close()


# --- a cluster as the API would write it -----------------------------------------------------------------------------


def resources(found: Snapshot) -> dict[str, list[Any]]:
    """The objects of a snapshot by kind, in JSON.

    What the module cannot do without is filled in; tests take it away again.
    """
    return {
        "Image": [image_json(image, found.blob_sizes) for image in found.images],
        "ImageStream": [
            _bare({**msgspec.to_builtins(stream), "kind": "ImageStream", "apiVersion": "image.openshift.io/v1"})
            for stream in found.streams
        ],
        "LimitRange": [
            {
                "metadata": {"name": limit.name, "namespace": limit.namespace},
                "spec": {"limits": [{"type": "openshift.io/Image", "max": {"storage": str(limit.storage)}}]},
            }
            for limit in found.limits
        ],
        **{
            kind: [
                _bare({**msgspec.to_builtins(each.workload), "kind": kind})
                for each in found.referrers
                if each.kind == kind
            ]
            for kind in WORKLOADS
        },
    }


def image_json(image: Image, sizes: dict[str, int]) -> dict[str, Any]:
    return {
        "metadata": {
            "name": image.name,
            "creationTimestamp": f"{image.created:%Y-%m-%dT%H:%M:%SZ}",
            "annotations": {"openshift.io/image.managed": "true"} if image.managed else {},
        },
        "dockerImageReference": image.reference,
        "dockerImageMetadata": {"Id": image.config or "", "Size": image.size or 0},
        "dockerImageLayers": [{"name": layer, "size": sizes.get(layer, 0)} for layer in image.layers],
        "dockerImageManifests": [{"digest": member} for member in image.members],
        "dockerImageManifestMediaType": image.media_type,
    }


def _bare(value: Any) -> Any:
    """Without nulls, as the API writes objects, and with times as it writes them."""
    if isinstance(value, dict):
        return {name: _bare(member) for name, member in value.items() if member is not None}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_bare(member) for member in value]
    return value
