"""The whole path against a real kube-apiserver: its workloads protect images that the sandbox serves behind it."""

from collections.abc import Callable
from typing import Any

import pytest

from pruner.apply import apply_plan
from pruner.cluster.retirement import RETIRED
from pruner.errors import ForbiddenError
from pruner.planning import make_plan
from pruner.restore import Choice, restore
from pruner.schedule.permissions import cluster_rules, lease_rules
from pruner.settings import Settings
from tests.integration.conftest import api
from tests.integration.kubernetes_api import READ_RULES, WORKLOADS, Kubernetes

AsUser = Callable[..., Settings]
Json = dict[str, Any]
NAMESPACE = "shop"


def spec(image: str) -> Json:
    return {"containers": [{"name": "main", "image": image}]}


def template(image: str) -> Json:
    return {"metadata": {"labels": {"app": "shop"}}, "spec": {**spec(image), "restartPolicy": "Always"}}


def job(image: str) -> Json:
    return {"template": {"spec": {**spec(image), "restartPolicy": "Never"}}}


def selected(image: str, **more: Any) -> Json:
    return {"selector": {"matchLabels": {"app": "shop"}}, "template": template(image), **more}


SPECS: dict[str, Callable[[str], Json]] = {
    "pods": spec,
    "replicationcontrollers": lambda image: {"selector": {"app": "shop"}, "template": template(image)},
    "deployments": selected,
    "daemonsets": selected,
    "statefulsets": lambda image: selected(image, serviceName="shop"),
    "replicasets": selected,
    "jobs": job,
    "cronjobs": lambda image: {"schedule": "0 3 * * *", "jobTemplate": {"spec": job(image)}},
    "deploymentconfigs": lambda image: {"template": template(image)},
    "buildconfigs": lambda image: {"strategy": {"dockerStrategy": {"from": {"kind": "DockerImage", "name": image}}}},
    "builds": lambda image: {"strategy": {"sourceStrategy": {"from": {"kind": "DockerImage", "name": image}}}},
}
KINDS = {"deploymentconfigs": "DeploymentConfig", "buildconfigs": "BuildConfig", "builds": "Build"}


async def workload(cluster: Kubernetes, plural: str, image: str) -> None:
    root = next(root for root, name in WORKLOADS if name == plural)
    body: Json = {"metadata": {"name": f"uses-{plural}"}, "spec": SPECS[plural](image)}
    if plural in KINDS:
        body |= {"apiVersion": root.removeprefix("/apis/"), "kind": KINDS[plural]}
    cluster.put(f"{root}/namespaces/{NAMESPACE}/{plural}", body)


@pytest.fixture
def cluster(kubernetes: Kubernetes) -> Kubernetes:
    """The API without images, and with an empty namespace `shop`."""
    kubernetes.empty(NAMESPACE)
    kubernetes.namespace(NAMESPACE)
    return kubernetes


async def test_every_kind_of_workload_in_kube_apiserver_protects_its_image(
    cluster: Kubernetes, as_user: AsUser
) -> None:
    used = {}
    async with cluster.sandbox.builder() as builder:
        for plural in SPECS:
            digest = await builder.push(f"{NAMESPACE}/{plural}:one", layers=[b"base", plural.encode()], age_days=30)
            used[plural] = digest
            await workload(cluster, plural, f"{builder.registry_host}/{NAMESPACE}/{plural}@{digest}")
        unused = await builder.push(f"{NAMESPACE}/old:one", layers=[b"base", b"unused"], age_days=30)
    settings = as_user("pruner", keep_tag_revisions=0)

    async with api(settings) as client:
        plan = (await make_plan(client, settings)).plan
        assert [image.name for image in plan.images] == [unused]
        result = await apply_plan(client, plan, settings)
        again = (await make_plan(client, settings)).plan

    assert not result.failures
    assert [image["metadata"]["name"] for image in result.deleted_images] == [unused]
    assert set(cluster.sandbox.images()) == set(used.values())
    assert again.empty


async def test_current_revision_of_a_tag_that_a_deployment_uses_is_kept_R15(
    cluster: Kubernetes, as_user: AsUser
) -> None:
    async with cluster.sandbox.builder() as builder:
        first = await builder.push(f"{NAMESPACE}/app:live", layers=[b"first"], age_days=20)
        second = await builder.push(f"{NAMESPACE}/app:live", layers=[b"second"], age_days=10)
        await workload(cluster, "deployments", f"{builder.registry_host}/{NAMESPACE}/app:live")
    settings = as_user("pruner", keep_tag_revisions=0)

    async with api(settings) as client:
        plan = (await make_plan(client, settings)).plan
        result = await apply_plan(client, plan, settings)

    assert not result.failures
    assert cluster.sandbox.history(f"{NAMESPACE}/app:live") == [second]
    assert first not in cluster.sandbox.images()


async def test_R36_R37_the_account_of_a_schedule_retires_and_restores_and_needs_the_right_to_patch_images(
    cluster: Kubernetes, as_user: AsUser
) -> None:
    async with cluster.sandbox.builder() as builder:
        first = await builder.push(f"{NAMESPACE}/app:live", layers=[b"first"], age_days=20)
        second = await builder.push(f"{NAMESPACE}/app:live", layers=[b"second"], age_days=10)
        await workload(cluster, "deployments", f"{builder.registry_host}/{NAMESPACE}/app:live")
    settings = as_user("pruner", keep_tag_revisions=0, grace="1d", prune_registry=False)
    before = cluster.sandbox.images()

    async with api(settings) as client:
        plan = (await make_plan(client, settings)).plan
        assert [image.name for image in plan.retired] == [first]
        # Its ClusterRole is one for runs without grace.
        with pytest.raises(ForbiddenError, match=r"no permission to patch images\.image\.openshift\.io"):
            await apply_plan(client, plan, settings)
    assert cluster.sandbox.images() == before
    cluster.allow("limited", [*cluster_rules({"grace": "1d"}), *lease_rules({"grace": "1d"})])
    settings = as_user("limited", keep_tag_revisions=0, grace="1d", prune_registry=False)
    async with api(settings) as client:
        plan = (await make_plan(client, settings)).plan
        assert (await apply_plan(client, plan, settings)).failures == []
        assert cluster.sandbox.history(f"{NAMESPACE}/app:live") == [second]
        assert RETIRED in cluster.sandbox.images()[first]["metadata"]["annotations"]
        assert (await restore(client, Choice(run=plan.fingerprint))).complete

    assert cluster.sandbox.history(f"{NAMESPACE}/app:live") == [second, first]
    assert RETIRED not in cluster.sandbox.images()[first]["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("group", "plural"),
    [
        ("", "pods"),
        ("apps", "deployments"),
        ("batch", "cronjobs"),
        ("apps.openshift.io", "deploymentconfigs"),
        ("build.openshift.io", "builds"),
        ("image.openshift.io", "images"),
    ],
)
async def test_missing_list_permission_ends_it_with_verb_group_and_resource_R3(
    cluster: Kubernetes, as_user: AsUser, group: str, plural: str
) -> None:
    rules = [
        {**rule, "resources": [name for name in rule["resources"] if (rule["apiGroups"], name) != ([group], plural)]}
        for rule in READ_RULES
    ]
    cluster.allow("limited", [rule for rule in rules if rule["resources"]])
    settings = as_user("limited")

    async with api(settings) as client:
        with pytest.raises(ForbiddenError) as raised:
            await make_plan(client, settings)

    message = str(raised.value)
    name = f"{plural}.{group}" if group else plural
    assert f"no permission to list {name} (403" in message
    assert f"grant verb 'list' on resource '{plural}' of API group '{group}'" in message


async def test_up_without_the_right_to_delete_images_changes_nothing(cluster: Kubernetes, as_user: AsUser) -> None:
    async with cluster.sandbox.builder() as builder:
        await builder.push(f"{NAMESPACE}/old:one", layers=[b"old"], age_days=30)
        kept = await builder.push(f"{NAMESPACE}/app:one", layers=[b"app"], age_days=30)
        await workload(cluster, "pods", f"{builder.registry_host}/{NAMESPACE}/app@{kept}")
    settings = as_user("reader", keep_tag_revisions=0, prune_registry=False)
    before = cluster.sandbox.images()

    async with api(settings) as client:
        plan = (await make_plan(client, settings)).plan
        assert [note for note in plan.notes if "no permission to delete images.image.openshift.io" in note]
        with pytest.raises(ForbiddenError, match="nothing was changed"):
            await apply_plan(client, plan, settings)

    assert cluster.sandbox.images() == before
