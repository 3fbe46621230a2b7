"""
The components of a schedule with Pulumi's Kubernetes plugin on a real kube-apiserver: previewed, created, changed and
destroyed, with the ImagePruner taken over and handed back, and the CronJob's pod run as its ServiceAccount.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pruner.cluster.unlink_journal import REGISTRY_NAMESPACE
from pruner.schedule.image_pruner import SUSPENDED_BEFORE, taken_over
from pruner.schedule.manifests import FILES, Schedule, fleet_job_objects, schedule_objects
from pruner.schedule.permissions import cluster_rules
from tests.integration.container import Container
from tests.integration.kubernetes_api import Kubernetes
from tests.integration.plugin.controllers import running_controllers
from tests.integration.processes import cannot
from tests.integration.test_container import account_files
from tests.integration.test_schedule import not_authorized, path_of
from tests.pulumi_project import Project
from tests.servers import ROOT

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(900)
IMAGE = "registry.example.com/pruner:0.1.0"
NAMESPACE, FLEET_NAMESPACE = "weekly", "shards"
GROUP = "imageregistry.operator.openshift.io"
IMAGE_PRUNERS = f"/apis/{GROUP}/v1/imagepruners"
SPEC = {"schedule": "30 2 * * 1", "keepTagRevisions": 1, "keepYoungerThanDuration": "2h", "suspend": False}
PROGRAM = """
import json, os, pulumi
from pruner.schedule import IndexedFleetJob, PruneSchedule

asked = json.loads(os.environ["ASKED"])
if "schedule" in asked:
    pulumi.export("message", PruneSchedule("weekly", **asked["schedule"]).message)
if "shards" in asked:
    IndexedFleetJob("shards", **asked["shards"])
"""


@pytest.fixture(scope="module")
def cluster(kubernetes: Kubernetes) -> Iterator[Kubernetes]:
    """The API with the kind ImagePruner, and controllers for what the components create."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    kubernetes.put(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "metadata": {"name": f"imagepruners.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Cluster",
                "names": {"plural": "imagepruners", "singular": "imagepruner", "kind": "ImagePruner"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        },
    )
    kubernetes.namespace(REGISTRY_NAMESPACE)
    with running_controllers(kubernetes):
        yield kubernetes


@dataclass(slots=True)
class Stack:
    """A stack whose program makes the components with these arguments."""

    project: Project
    kubeconfig: Path
    asked: Json

    def __call__(self, *arguments: str) -> str:
        environment = {"ASKED": json.dumps(self.asked), "KUBECONFIG": str(self.kubeconfig)}
        return self.project.succeed(*arguments, environment=environment)

    def planned(self) -> Counter[tuple[str, str]]:
        """What a preview would do, by operation and kind."""
        shown = self("preview", "--json")
        steps = json.loads(shown[shown.index("{") :])["steps"]
        return Counter(
            (step["op"], step["newState"]["type"].rpartition(":")[2])
            for step in steps
            if step["newState"]["type"].startswith("kubernetes:")
        )


@pytest.fixture
def stack(cluster: Kubernetes, project: Project, tmp_path: Path) -> Stack:
    """A stack with the plugin, which knows the cluster as its administrator."""
    binary = os.environ.get("PULUMI_KUBERNETES_PLUGIN")
    if not binary or not os.access(binary, os.X_OK):
        cannot("there is no Kubernetes plugin for Pulumi: set PULUMI_KUBERNETES_PLUGIN, or run `make test-schedule`")
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (pin,) = (line for line in pins if line.startswith("pulumi-kubernetes=="))
    version = pin.partition("==")[2].split()[0]
    folder = project.folder / "home" / "plugins" / f"resource-kubernetes-v{version}"
    folder.mkdir(parents=True)
    (folder / "pulumi-resource-kubernetes").symlink_to(binary)
    # The repository's own project refreshes at every command.
    (project.folder / "Pulumi.yaml").write_text("name: pruner\nruntime: python\n", encoding="utf-8")
    (project.folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(cluster.kubeconfig({"token": cluster.tokens["admin"]})), encoding="utf-8")
    return Stack(project, kubeconfig, {})


def place_image_pruner(cluster: Kubernetes, spec: Json) -> None:
    cluster.call("DELETE", f"{IMAGE_PRUNERS}/cluster")
    cluster.put(
        IMAGE_PRUNERS,
        {"apiVersion": f"{GROUP}/v1", "kind": "ImagePruner", "metadata": {"name": "cluster"}, "spec": spec},
    )


def image_pruner(cluster: Kubernetes) -> Json:
    return cluster.get(f"{IMAGE_PRUNERS}/cluster")


def live(cluster: Kubernetes, objects: Sequence[Json]) -> list[Json]:
    """The objects as the API server holds them."""
    found = [cluster.get(f"{path_of(each)}/{each['metadata']['name']}") for each in objects]
    return [{**one, "kind": each["kind"]} for one, each in zip(found, objects, strict=True)]


def lacking(declared: Any, held: Any, at: str) -> list[str]:
    """Where the API server holds something else than was declared; what it adds is its own."""
    if isinstance(declared, dict) and isinstance(held, dict):
        return [where for key, value in declared.items() for where in lacking(value, held.get(key), f"{at}.{key}")]
    if isinstance(declared, list) and isinstance(held, list) and len(declared) == len(held):
        pairs = enumerate(zip(declared, held, strict=True))
        return [where for position, (ours, theirs) in pairs for where in lacking(ours, theirs, f"{at}[{position}]")]
    return [] if declared == held else [f"{at}: {declared!r} is {held!r}"]


def as_stored(each: Json) -> Json:
    """A declared object with a Secret's values the way that the API server keeps them."""
    if each["kind"] != "Secret":
        return each
    data = {name: base64.b64encode(value.encode()).decode() for name, value in each["stringData"].items()}
    return {**{name: value for name, value in each.items() if name != "stringData"}, "data": data}


def assert_held(cluster: Kubernetes, declared: Sequence[Json]) -> list[Json]:
    """The objects as they are held, which is as they were declared."""
    held = live(cluster, declared)
    pairs = zip(declared, held, strict=True)
    assert [where for ours, theirs in pairs for where in lacking(as_stored(ours), theirs, ours["kind"])] == []
    return held


def changed(before: Sequence[Json], after: Sequence[Json]) -> list[str]:
    """Kinds of the objects that were written in between."""
    pairs = zip(before, after, strict=True)
    return [
        ours["kind"]
        for ours, theirs in pairs
        if ours["metadata"]["resourceVersion"] != theirs["metadata"]["resourceVersion"]
    ]


def assert_gone(cluster: Kubernetes, declared: Sequence[Json]) -> None:
    assert len(declared) > 5
    paths = [f"{path_of(each)}/{each['metadata']['name']}" for each in declared]
    assert [path for path in paths if cluster.call("GET", path)[0] != 404] == []


def creations(declared: Sequence[Json], *more: tuple[str, str]) -> Counter[tuple[str, str]]:
    return Counter([*(("create", each["kind"]) for each in declared), *more])


async def test_a_schedule_takes_the_image_pruner_over_runs_and_hands_it_back(
    cluster: Kubernetes, stack: Stack, container: Container, tmp_path: Path
) -> None:
    cluster.empty("shop")
    place_image_pruner(cluster, SPEC)
    asked: Json = {
        "image": IMAGE, "object_name": "weekly", "namespace": NAMESPACE, "network_policy": True,
        "settings": {"registry_url": cluster.sandbox.registry_url},
    }  # fmt: skip
    stack.asked = {"schedule": {**asked, "take_over": True}}
    declared = schedule_objects(taken_over(SPEC).applied_to(Schedule(**asked)))

    assert stack.planned() == creations(declared, ("read", "ImagePruner"), ("create", "ImagePrunerPatch"))
    assert_gone(cluster, declared)
    assert image_pruner(cluster)["spec"] == SPEC

    stack("up", "--yes", "--skip-preview")
    first = assert_held(cluster, declared)
    cron_job = first[-1]["spec"]
    assert (cron_job["schedule"], cron_job["suspend"]) == ("30 2 * * 1", False)
    assert image_pruner(cluster)["spec"] == {**SPEC, "suspend": True}
    assert image_pruner(cluster)["metadata"]["annotations"][SUSPENDED_BEFORE] == "false"
    # The ImagePruner is suspended now, by the schedule: that suspends no CronJob.
    stack("preview", "--expect-no-changes")

    await assert_pod_prunes(cluster, container, first, tmp_path / "pod")

    asked["schedule"] = "0 4 * * *"
    stack.asked = {"schedule": {**asked, "take_over": True}}
    stack("up", "--yes", "--skip-preview")
    second = assert_held(cluster, schedule_objects(taken_over(SPEC).applied_to(Schedule(**asked))))
    assert changed(first, second) == ["CronJob"]
    assert image_pruner(cluster)["spec"] == {**SPEC, "suspend": True}

    stack("destroy", "--yes", "--skip-preview")
    assert_gone(cluster, declared)
    handed_back = image_pruner(cluster)
    # The API server removes a field that nobody sets any longer, and an ImagePruner without it is not suspended.
    assert handed_back["spec"] == {name: value for name, value in SPEC.items() if name != "suspend"}
    assert SUSPENDED_BEFORE not in handed_back["metadata"].get("annotations", {})


async def assert_pod_prunes(cluster: Kubernetes, container: Container, held: Sequence[Json], folder: Path) -> None:
    """The CronJob's own command, as its ServiceAccount, with nothing refused."""
    async with cluster.sandbox.builder() as builder:
        await builder.push("shop/app:live", layers=[b"first"], age_days=20)
        kept = await builder.push("shop/app:live", layers=[b"second"], age_days=10)
    account = account_files(cluster, "weekly", cluster_rules())
    before, url = not_authorized(cluster), urlsplit(cluster.url)
    run = container.run_pod(
        held, folder, account, KUBERNETES_SERVICE_HOST=str(url.hostname), KUBERNETES_SERVICE_PORT=str(url.port)
    )
    assert run.code == 0, run
    (pruned,) = json.loads(run.output)["clusters"]
    assert (pruned["state"], pruned["images"]) == ("done", 1), run
    assert set(cluster.sandbox.images()) == {kept}
    assert not_authorized(cluster) == before


def test_an_image_pruner_that_somebody_else_has_suspended_stays_suspended(cluster: Kubernetes, stack: Stack) -> None:
    place_image_pruner(cluster, {**SPEC, "suspend": True})
    asked: Json = {"image": IMAGE, "object_name": "weekly", "namespace": NAMESPACE}
    stack.asked = {"schedule": {**asked, "take_over": True}}
    stack("up", "--yes", "--skip-preview")
    held = assert_held(cluster, schedule_objects(taken_over({**SPEC, "suspend": True}).applied_to(Schedule(**asked))))
    assert held[-1]["spec"]["suspend"] is True
    assert image_pruner(cluster)["metadata"]["annotations"][SUSPENDED_BEFORE] == "true"

    # The schedule keeps running without the takeover; the ImagePruner is as it was.
    stack.asked = {"schedule": asked}
    stack("up", "--yes", "--skip-preview")
    assert_held(cluster, schedule_objects(Schedule(**asked)))
    assert image_pruner(cluster)["spec"] == {**SPEC, "suspend": True}
    stack("destroy", "--yes", "--skip-preview")


def test_a_fleet_job_runs_again_when_its_fleet_changes(cluster: Kubernetes, stack: Stack) -> None:
    asked: Json = {
        "image": IMAGE, "object_name": "shards", "namespace": FLEET_NAMESPACE, "network_policy": True,
    }  # fmt: skip
    job: Json = {"shards": 3, "parallelism": 2}

    def declared(fleet: str) -> list[Json]:
        return fleet_job_objects(Schedule(**asked), fleet, 3, 2, scheduled=False)

    fleets = ("clusters: []\n", "clusters: [] # changed\n")
    stack.asked = {"shards": {**asked, **job, "fleet": fleets[0]}}
    assert stack.planned() == creations(declared(fleets[0]))
    stack("up", "--yes", "--skip-preview")
    first = assert_held(cluster, declared(fleets[0]))
    assert first[-1]["status"]["succeeded"] == 3

    stack.asked["shards"]["fleet"] = fleets[1]
    stack("up", "--yes", "--skip-preview")
    second = assert_held(cluster, declared(fleets[1]))
    assert changed(first, second) == ["ConfigMap", "Job"]
    assert first[-1]["metadata"]["uid"] != second[-1]["metadata"]["uid"]
    digests = {each[-1]["spec"]["template"]["metadata"]["annotations"][FILES] for each in (first, second)}
    assert len(digests) == 2

    stack("destroy", "--yes", "--skip-preview")
    assert_gone(cluster, declared(fleets[1]))
