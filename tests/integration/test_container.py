"""The container image: built from the Containerfile, and run as any uid on a read-only root."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pruner import __version__
from pruner.schedule.manifests import WORK, Schedule, schedule_objects
from tests.integration.container import UID, Container
from tests.servers import RunningSandbox

pytestmark = pytest.mark.timeout(900)  # whichever comes first builds the image, and another worker waits for it
WHO_AND_WHERE = f"""
import errno, json, os
def refused(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return errno.errorcode[error.errno]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({{
    "uid": os.getuid(), "groups": [os.getgid(), *os.getgroups()], "capabilities": int(status["CapEff"], 16),
    "refused": [refused(path) for path in ("/opt/pruner/new", "/etc/new", "/tmp/new", "{WORK}/new")],
}}))
"""


def test_it_runs_as_any_uid_on_a_read_only_root(container: Container, measured: Callable[[str], None]) -> None:
    before = time.perf_counter()
    shown = container.run()
    seconds = time.perf_counter() - before

    assert (shown.code, shown.errors) == (0, ""), shown
    assert "fleet" in shown.output
    assert container.run("--version").output.strip().endswith(__version__)
    where = json.loads(container.run("-c", WHO_AND_WHERE, entry=["python"]).output)
    assert where == {
        "uid": UID, "groups": [0], "capabilities": 0, "refused": ["EROFS", "EROFS", None, None],
    }  # fmt: skip
    measured(f"container image: {container.size / 1e6:.0f} MB of files; --help in {seconds:.1f} s")


def test_doctor_and_the_pod_of_a_schedule_prune_a_cluster(
    container: Container, sandbox: RunningSandbox, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    access = {"K8S_AUTH_HOST": sandbox.api_url, "K8S_AUTH_API_KEY": sandbox.tokens["admin"]}
    before = time.perf_counter()
    doctor = container.run("doctor", environment=access)
    seconds = time.perf_counter() - before
    assert doctor.code == 0, doctor
    assert "preview and up would work" in doctor.output

    before = time.perf_counter()
    settings = {"host": sandbox.api_url, "api_key": {"env": "TOKEN"}, "registry_url": sandbox.registry_url}
    asked = Schedule(image="x", settings=settings, environment={"TOKEN": sandbox.tokens["admin"]}, policies={})
    run = container.run_pod(schedule_objects(asked), tmp_path)
    assert run.code == 0, run
    (cluster,) = json.loads(run.output)["clusters"]
    assert (cluster["state"], cluster["images"]) == ("done", 17)
    measured(f"container image: doctor in {seconds:.1f} s, a pod with policies in {time.perf_counter() - before:.0f} s")


def test_what_a_build_leaves_in_it_is_no_more_than_it_needs(container: Container) -> None:
    packages = {each.name for each in (container.root / "opt/venv/lib/python3.11/site-packages").iterdir()}
    assert {"pulumi", "pulumi_policy", "kubernetes"} <= packages
    assert {"pulumi_kubernetes", "pytest"} & packages == set()
    environment = dict(each.split("=", 1) for each in container.config["Env"])
    assert [name for name in environment if name.startswith("PIP_")] == []
    assert {each.name for each in (container.root / "opt/pruner").iterdir()} == {
        "LICENSE", "Pulumi.yaml", "__main__.py", "__pycache__", "pruner", "policies",
    }  # fmt: skip


@pytest.mark.parametrize("folder", ["opt/pruner/pruner", "opt/venv/lib/python3.11/site-packages/pulumi"])
def test_every_module_comes_compiled_since_nothing_can_be_written(container: Container, folder: str) -> None:
    modules = sorted((container.root / folder).rglob("*.py"))
    assert modules
    missing = [each for each in modules if not (each.parent / "__pycache__" / f"{each.stem}.cpython-311.pyc").is_file()]
    assert missing == []
