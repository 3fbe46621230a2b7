"""The container image: built from the Containerfile, and run as any uid on a read-only root."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pruner import __version__
from pruner.cluster.unlink_journal import REGISTRY_NAMESPACE
from pruner.schedule.manifests import WORK, Schedule, schedule_objects
from pruner.schedule.permissions import cluster_rules
from tests.integration.container import UID, Container
from tests.integration.kubernetes_api import Kubernetes
from tests.integration.test_schedule import not_authorized, path_of
from tests.servers import RunningSandbox

Json = dict[str, Any]

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


async def test_the_pod_prunes_the_cluster_that_it_runs_in_as_its_service_account(
    container: Container, kubernetes: Kubernetes, tmp_path: Path
) -> None:
    kubernetes.empty("shop")
    kubernetes.call("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{REGISTRY_NAMESPACE}/leases/pruner")
    async with kubernetes.sandbox.builder() as builder:
        await builder.push("shop/app:live", layers=[b"first"], age_days=20)
        kept = await builder.push("shop/app:live", layers=[b"second"], age_days=10)
    settings = {"keep_tag_revisions": 1, "registry_url": kubernetes.sandbox.registry_url}
    asked = Schedule(image="x", object_name="weekly", namespace="weekly", settings=settings, network_policy=True)
    kubernetes.namespace(REGISTRY_NAMESPACE)
    for each in schedule_objects(asked):
        kubernetes.put(path_of(each), each)
    # What the pod is made of, as the API server holds it.
    live = [kubernetes.get(f"{path_of(each)}/{each['metadata']['name']}") for each in schedule_objects(asked)]
    before = not_authorized(kubernetes)

    url = urlsplit(kubernetes.url)
    run = container.run_pod(
        live, tmp_path / "pod", account_files(kubernetes, "weekly", cluster_rules(settings)),
        KUBERNETES_SERVICE_HOST=str(url.hostname), KUBERNETES_SERVICE_PORT=str(url.port),
    )  # fmt: skip

    assert run.code == 0, run
    (cluster,) = json.loads(run.output)["clusters"]
    assert (cluster["state"], cluster["images"]) == ("done", 1), run
    assert set(kubernetes.sandbox.images()) == {kept}
    assert not_authorized(kubernetes) == before
    kubernetes.empty("shop", "weekly")


def account_files(cluster: Kubernetes, name: str, rules: list[Json]) -> dict[str, str]:
    """The files that a kubelet mounts for a ServiceAccount, whose token the registry knows from here on."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = cluster.put(f"/api/v1/namespaces/{name}/serviceaccounts/{name}/token", body)
    account, token = f"system:serviceaccount:{name}:{name}", answer["status"]["token"]
    cluster.sandbox.tokens[account] = token
    known = [{"verbs": it["verbs"], "resources": it["resources"], "groups": it["apiGroups"]} for it in rules]
    cluster.sandbox.put_user(account, known)
    return {"token": token, "namespace": name, "ca.crt": Path(cluster.ca).read_text(encoding="utf-8")}


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
