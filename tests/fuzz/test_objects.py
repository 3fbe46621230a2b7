"""Any content of any object, and any answer of the API server: a plan, or an error of ours. Nothing is ever written."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pruner.analysis import Analysis
from pruner.cluster.session import session
from pruner.errors import PrunerError
from pruner.planning import make_plan
from pruner.settings import read
from tests.component.small_servers import served
from tests.fuzz.outcomes import anything, fuzzed

pytestmark = pytest.mark.timeout(900)
"""Requests that fail for a moment are sent again after the pauses of a real run."""

DIGESTS = ["sha256:" + letter * 64 for letter in "abc"]
OLD = "2026-01-01T00:00:00Z"
HOST = "image-registry.openshift-image-registry.svc:5000"
TRIGGERS = (
    '[{"from":{"kind":"ImageStreamTag","name":"web:latest"},"fieldPath":"spec.template.spec.containers[0].image"}]'
)
POD = {"containers": [{"name": "main", "image": f"{HOST}/shop/web:latest"}], "initContainers": [], "volumes": []}
META = {
    "namespace": "shop",
    "name": "web",
    "uid": "u",
    "resourceVersion": "3",
    "creationTimestamp": OLD,
    "annotations": {},
}
GROUPS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "api/v1": {
        "pods": ("Pod", {
            "spec": POD,
            "status": {"phase": "Running", "containerStatuses": [{"imageID": f"{HOST}/shop/web@{DIGESTS[0]}"}]}}),
        "replicationcontrollers": ("ReplicationController", {"spec": {"template": {"spec": POD}}}),
        "limitranges": ("LimitRange",
                        {"spec": {"limits": [{"type": "openshift.io/Image", "max": {"storage": "1Gi"}}]}}),
        "namespaces": ("Namespace", {}),
    },
    "apis/apps/v1": {
        "daemonsets": ("DaemonSet", {"spec": {"template": {"spec": POD}}}),
        "deployments": ("Deployment", {"metadata": {"annotations": {"image.openshift.io/triggers": TRIGGERS}},
            "spec": {"template": {"spec": POD}}}),
        "replicasets": ("ReplicaSet", {"spec": {"template": {"spec": POD}}}),
        "statefulsets": ("StatefulSet", {"spec": {"template": {"spec": POD}}}),
        "controllerrevisions": ("ControllerRevision", {"data": {"spec": {"template": {"spec": POD}}}}),
    },
    "apis/batch/v1": {
        "jobs": ("Job", {"spec": {"template": {"spec": POD}}}),
        "cronjobs": ("CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": POD}}}}}),
    },
    "apis/apps.openshift.io/v1": {
        "deploymentconfigs": ("DeploymentConfig", {"spec": {"template": {"spec": POD}, "triggers": [
            {"type": "ImageChange",
             "imageChangeParams": {"from": {"kind": "ImageStreamTag", "name": "web:latest"}}}]}}),
    },
    "apis/build.openshift.io/v1": {
        "buildconfigs": ("BuildConfig", {"spec": {
            "strategy": {"sourceStrategy": {"from": {"kind": "ImageStreamTag", "name": "web:latest"}}},
            "output": {"to": {"kind": "DockerImage", "name": "quay.io/a/b:c"}}}}),
        "builds": ("Build", {"spec": {"strategy": {"dockerStrategy": {"from": {
            "kind": "DockerImage", "name": f"{HOST}/shop/web:latest"}}}}}),
    },
    "apis/image.openshift.io/v1": {
        "images": ("Image", {
            "metadata": {"name": DIGESTS[0], "annotations": {"openshift.io/image.managed": "true"}},
            "dockerImageReference": f"{HOST}/shop/web@{DIGESTS[0]}",
            "dockerImageMetadata": {"Size": 5, "Config": {"Labels": {}}},
            "dockerImageMetadataVersion": "1.0",
            "dockerImageLayers": [{"name": DIGESTS[1], "size": 7,
                                   "mediaType": "application/vnd.oci.image.layer.v1.tar"}],
            "dockerImageManifests": [{"digest": DIGESTS[2], "manifestSize": 3, "mediaType": "x",
                                      "architecture": "amd64", "os": "linux"}],
            "dockerImageManifestMediaType": "application/vnd.oci.image.index.v1+json",
            "dockerImageConfig": "{}",
        }),
        "imagestreams": ("ImageStream", {
            "spec": {"lookupPolicy": {"local": True},
                     "tags": [{"name": "old", "from": {"kind": "ImageStreamTag", "name": "latest"}}]},
            "status": {"dockerImageRepository": f"{HOST}/shop/web", "tags": [{"tag": "latest", "items": [
                {"image": each, "created": OLD, "generation": 1,
                 "dockerImageReference": f"{HOST}/shop/web@{each}"}
                for each in DIGESTS]}]},
        }),
    },
}  # fmt: skip
READS = {"GET", "HEAD"}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Cluster:
    """An API server whose answers can be exchanged, one path at a time."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, Any] = {}
        self.written: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method not in READS and request.url.path != REVIEWS:
            self.written.append(f"{request.method} {request.url.path}")
        found = self.answers.get(request.url.path)
        if found is None:
            response = Response(
                json.dumps({"kind": "Status", "reason": "NotFound", "code": 404}), 404, media_type="application/json"
            )
        else:
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            response = Response(content, media_type="application/json")
        await response(scope, receive, send)


def usual() -> dict[str, Any]:
    """What a server answers, by path."""
    answers: dict[str, Any] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
        "/apis/config.openshift.io/v1/clusterversions/version": {
            "apiVersion": "config.openshift.io/v1", "kind": "ClusterVersion", "metadata": {"name": "version"},
            "spec": {"clusterID": "c"},
        },
        REVIEWS: {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                  "status": {"allowed": True}},
    }  # fmt: skip
    for root, kinds in GROUPS.items():
        version = root.partition("/")[2]
        resources = [{"name": name, "kind": kind, "singularName": "",
                      "namespaced": name not in ("images", "namespaces"),
                      "verbs": ["get", "list", "watch", "update", "delete"]}
                     for name, (kind, _) in kinds.items()]  # fmt: skip
        answers[f"/{root}"] = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": version,
            "resources": resources,
        }
        if root.startswith("apis/"):
            group, _, number = version.partition("/")
            named = {"groupVersion": version, "version": number}
            found = {"name": group, "versions": [named], "preferredVersion": named}
            answers["/apis"]["groups"].append(found)
            answers[f"/apis/{group}"] = {"kind": "APIGroup", "apiVersion": "v1", **found}
        for name, (kind, body) in kinds.items():
            meta = {**copy.deepcopy(META), **body.get("metadata", {})}
            answers[f"/{root}/{name}"] = {
                "kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "9"},
                "items": [{**copy.deepcopy(body), "metadata": meta}],
            }  # fmt: skip
    # Of these objects a test changes some, and none of it is for the next test to see.
    return copy.deepcopy(answers)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    with served(found) as url:
        found.url = url
        yield found


def check_lines(message: str) -> None:
    assert message.strip()
    assert [line for line in message.splitlines() if not line.isprintable()] == []


def planned(cluster: Cluster) -> Analysis | PrunerError:
    async def plan() -> Analysis:
        async with session(
            read({"host": cluster.url, "api_key": "t", "prune_registry": False, "keep_tag_revisions": 0})
        ) as api:
            return await make_plan(api, read({"host": cluster.url, "prune_registry": False, "keep_tag_revisions": 0}))

    try:
        return asyncio.run(plan())
    except PrunerError as error:
        check_lines(str(error))
        return error


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a value."""
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*way, key))


@st.composite
def changed(draw: st.DrawFn, paths: list[str], within: tuple[Any, ...]) -> dict[str, Any]:
    """The answers with any JSON in one or two places of one of them."""
    answers = usual()
    path = draw(st.sampled_from(paths))
    for _ in range(draw(st.integers(1, 2))):
        whole = {"": answers[path]}
        way = draw(
            st.sampled_from(
                [each for each in places(answers[path]) if each[: len(within)] == within and len(each) >= len(within)]
            )
        )
        place: Any = whole
        steps = ["", *way]
        before, last = steps[:-1], steps[-1]
        for key in before:
            place = place[key]
        place[last] = draw(anything.filter(lambda each: len(repr(each)) < 20_000))
        if way == ():
            answers[path] = whole[""]
            break
    return answers


OBJECTS = [f"/{root}/{name}" for root, kinds in GROUPS.items() for name in kinds]


def test_the_usual_answers_make_a_plan(cluster: Cluster) -> None:
    fuzzed("objects")
    cluster.answers = usual()
    found = planned(cluster)
    assert isinstance(found, Analysis), found
    assert found.histories


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(answers=changed(OBJECTS, ("items", 0)))
def test_any_content_of_an_object_is_a_plan_or_an_error(cluster: Cluster, answers: dict[str, Any]) -> None:
    fuzzed("objects")
    cluster.answers, cluster.written = answers, []
    assert isinstance(planned(cluster), Analysis | PrunerError)
    assert cluster.written == []


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(answers=changed([REVIEWS, *OBJECTS], ()))
def test_any_answer_of_the_api_server_is_a_plan_or_an_error(cluster: Cluster, answers: dict[str, Any]) -> None:
    fuzzed("answers of the API server")
    cluster.answers, cluster.written = answers, []
    assert isinstance(planned(cluster), Analysis | PrunerError)
    assert cluster.written == []
