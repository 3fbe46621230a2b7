"""Kinds that are not as they are expected: served in another version,
with other contents, or without what a path says (R3, R10, R13).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from pruner.analysis import find_usage
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.objects import Snapshot
from pruner.cluster.resources import CONTROLLER_REVISIONS, IMAGE_STREAMS, IMAGES, LIMIT_RANGES, WORKLOADS
from pruner.cluster.snapshot import take_snapshot
from pruner.errors import ClusterError
from pruner.settings import AnalysisSettings, read
from tests.component.small_servers import served

Objects = dict[str, list[dict[str, Any]] | None]
EVERYWHERE: dict[str, list[dict[str, Any]] | None] = {
    f"{it.api_version}/{it.plural}": []
    for it in (IMAGES, IMAGE_STREAMS, LIMIT_RANGES, CONTROLLER_REVISIONS, *WORKLOADS)
}
KINDS = {it.plural: it.kind for it in (IMAGES, IMAGE_STREAMS, LIMIT_RANGES, CONTROLLER_REVISIONS, *WORKLOADS)}
WEB = "registry:5000/shop/web:v1"
SPEC = {"containers": [{"name": "main", "image": WEB}]}
FLEETS = {"group": "acme.io", "version": "v1", "resource": "fleets"}


@contextmanager
def cluster(objects: Objects) -> Iterator[str]:
    """An API server of before aggregated discovery: with these kinds, `group/version/plural`, their objects, and what
    all have.

    A kind whose objects are None is not served.
    """
    documents: dict[str, Any] = {"/api": {"kind": "APIVersions", "versions": ["v1"]}}
    groups: dict[str, set[str]] = {}
    for kind, items in (EVERYWHERE | objects).items():
        if items is not None:
            api_version, _, plural = kind.rpartition("/")
            group, _, version = api_version.rpartition("/")
            root = f"/apis/{api_version}" if group else f"/api/{version}"
            groups.setdefault(group, set()).add(version)
            empty = {"kind": "APIResourceList", "groupVersion": api_version, "resources": []}
            documents.setdefault(root, empty)["resources"].append({"name": plural, "kind": kind_of(plural)})
            head = {"kind": f"{kind_of(plural)}List", "apiVersion": api_version, "metadata": {"resourceVersion": "1"}}
            documents[f"{root}/{plural}"] = {**head, "items": items}
    listed = [{"name": name, "versions": [{"version": it} for it in sorted(of)]} for name, of in groups.items() if name]
    documents["/apis"] = {"kind": "APIGroupList", "groups": listed}
    absent = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        found = documents.get(Request(scope).url.path)
        await (JSONResponse(absent, 404) if found is None else JSONResponse(found))(scope, receive, send)

    with served(application) as url:
        yield url


def kind_of(plural: str) -> str:
    return {**KINDS, "machineosconfigs": "MachineOSConfig"}.get(plural, plural.title().removesuffix("s"))


def snapshot_of(objects: Objects, *extra: dict[str, Any]) -> Snapshot:
    async def take(url: str) -> Snapshot:
        settings = read({"host": url, "api_key": "token", "extra_referrers": list(extra)})
        async with Api(connect(settings)) as api:
            return await take_snapshot(api, extra_referrers=settings.extra_referrers)

    with cluster(objects) as url:
        return asyncio.run(take(url))


def tags_used(found: Snapshot) -> set[tuple[str, str]]:
    return set(find_usage(found, AnalysisSettings()).tags)


def named(name: str, **content: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name}, **content}


def test_a_kind_that_is_served_in_another_version_is_not_taken_for_one_without_objects_R3() -> None:
    with pytest.raises(ClusterError, match=r"cronjobs\.batch is served as v1beta1 and not as v1"):
        snapshot_of({"batch/v1/cronjobs": None, "batch/v1beta1/cronjobs": []})
    with pytest.raises(ClusterError, match=r"fleets\.acme\.io is served as v2 and not as v1.*give that version"):
        snapshot_of({"acme.io/v2/fleets": []}, {**FLEETS, "images": "spec.image"})


def test_a_kind_that_its_group_does_not_have_has_no_objects_R3() -> None:
    absent = snapshot_of({"build.openshift.io/v1/builds": None, "build.openshift.io/v1beta1/others": []}).absent
    assert absent == ("builds.build.openshift.io",)


@pytest.mark.parametrize("kind", ["v1/pods", "apps/v1/deployments", "batch/v1/cronjobs", "apps/v1/controllerrevisions"])
def test_a_kind_that_every_cluster_has_is_never_absent_R3(kind: str) -> None:
    with pytest.raises(ClusterError, match=r"discovery shows no .*, which every cluster has"):
        snapshot_of({kind: None})


@pytest.mark.parametrize(
    "item",
    [None, "text", {}, {"metadata": None}, {"metadata": {"name": ""}}, {"kind": "Secret", "metadata": {"name": "a"}}],
)
def test_an_item_that_is_no_object_of_the_kind_ends_the_run_R3(item: Any) -> None:
    fleets = [named("a", kind="Fleet", image=WEB), item]
    with pytest.raises(
        ClusterError, match=r"list fleets\.acme\.io: an item (has no name|is a Secret, and not a Fleet)"
    ):
        snapshot_of({"acme.io/v1/fleets": fleets}, {**FLEETS, "images": "image"})


def test_controller_revisions_of_other_controllers_are_passed_over_R10() -> None:
    preference = {"spec": {"volumes": {"preferredStorageClassName": "fast"}, "triggers": "none"}}
    revisions = [
        named("vm-1", data=preference),
        named("odd-1", data="text"),
        named("null-1", data=None),
        named("none-1"),
        named("web-1", data={"spec": {"template": {"spec": SPEC}}}),
    ]
    found = snapshot_of({"apps/v1/controllerrevisions": revisions})
    assert [each.workload.metadata.name for each in found.referrers] == ["vm-1", "odd-1", "null-1", "none-1", "web-1"]
    assert tags_used(found) == {("shop/web", "v1")}


@pytest.mark.parametrize("path", ["spec.templat", "spec", "metadata.template"])
def test_the_path_of_a_template_that_no_object_has_is_an_error_R13(path: str) -> None:
    fleets = [named("a", spec={"template": {"spec": SPEC}}), named("b", spec={})]
    with pytest.raises(ClusterError, match=rf"none of 2 fleets\.acme\.io has containers at {path}"):
        snapshot_of({"acme.io/v1/fleets": fleets}, {**FLEETS, "template": path})


def test_one_object_with_a_template_at_the_path_is_enough_R13() -> None:
    fleets = [named("b", spec={}), named("a", spec={"template": {"spec": SPEC}})]
    found = snapshot_of({"acme.io/v1/fleets": fleets}, {**FLEETS, "template": "spec.template", "images": "spec.tool"})
    assert tags_used(found) == {("shop/web", "v1")}
    assert found.idle_paths == ("spec.tool of fleets.acme.io",)


def test_a_kind_without_objects_and_a_preset_may_have_nothing_at_their_paths_R13() -> None:
    objects = {"acme.io/v1/fleets": [], "argoproj.io/v1alpha1/rollouts": [named("a", spec={"workloadRef": {}})]}
    found = snapshot_of(objects, {**FLEETS, "template": "spec.templat"}, "argo-rollouts")  # type: ignore[arg-type]
    assert found.idle_paths == ()
    assert tags_used(found) == set()


@pytest.mark.parametrize(("version", "field"), [("v1", "currentImagePullSpec"), ("v1alpha1", "currentImagePullspec")])
def test_what_nodes_boot_from_is_read_in_the_version_that_is_served_R10(version: str, field: str) -> None:
    config = {"kind": "MachineOSConfig", "metadata": {"name": "a"}, "status": {field: WEB}}
    found = snapshot_of({f"machineconfiguration.openshift.io/{version}/machineosconfigs": [config]})
    assert find_usage(found, AnalysisSettings()).tags == {("shop/web", "v1"): ("MachineOSConfig a",)}
    versions = {source.resource: source.version for source in found.sources}
    assert versions["machineosconfigs"] == version
    assert not [kind for kind in found.absent if "machineconfiguration" in kind]


def test_a_preset_is_read_in_another_version_where_its_own_is_not_served_R13() -> None:
    task = named("a", kind="Task", spec={"steps": [{"image": WEB}]})
    found = snapshot_of({"tekton.dev/v1beta1/tasks": [task]}, "tekton")  # type: ignore[arg-type]
    assert tags_used(found) == {("shop/web", "v1")}
