"""The schedule's objects on a real kube-apiserver: accepted as they are, with no permission missing or too many.

The pruning runs as the ServiceAccount, with a token of the TokenRequest API. Whether it can do all of its work is told
by the run itself, by what kube-apiserver counts as not authorized, and by the registry's answers.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pruner.apply import apply_plan
from pruner.cluster.unlink_journal import REGISTRY_NAMESPACE
from pruner.errors import PrunerError
from pruner.planning import make_plan
from pruner.schedule.manifests import Schedule, fleet_job_objects, schedule_objects
from pruner.schedule.permissions import cluster_rules, lease_rules
from pruner.settings import read
from tests.integration.conftest import api
from tests.integration.kubernetes_api import RBAC, Kubernetes
from tests.integration.processes import pause

Json = dict[str, Any]
Permission = tuple[str, str, str, str]
"""API group, resource, verb, and the object's name or nothing."""

NAMESPACE = "pruner"
NAME = "nightly"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"
ASKED = Schedule(image="registry.example.com/pruner:0.1.0", object_name=NAME, network_policy=True)
PLURALS = {
    "Namespace": "namespaces", "ServiceAccount": "serviceaccounts", "ConfigMap": "configmaps", "Secret": "secrets",
    "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles",
    "RoleBinding": "rolebindings", "NetworkPolicy": "networkpolicies", "CronJob": "cronjobs", "Job": "jobs",
}  # fmt: skip


def path_of(each: Json) -> str:
    version, namespace = each["apiVersion"], each["metadata"].get("namespace")
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    return f"{root}{f'/namespaces/{namespace}' if namespace else ''}/{PLURALS[each['kind']]}"


def permissions_in(rules: list[Json]) -> list[Permission]:
    return [
        (group, resource, verb, name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    ]


def without(rules: list[Json], permission: Permission) -> list[Json]:
    """The rules as single permissions, without this one."""
    return [
        {
            "apiGroups": [group],
            "resources": [resource],
            "verbs": [verb],
            **({"resourceNames": [name]} if name else {}),
        }
        for group, resource, verb, name in permissions_in(rules)
        if (group, resource, verb, name) != permission
    ]


@pytest.fixture(scope="module")
def cluster(kubernetes: Kubernetes) -> Iterator[Kubernetes]:
    """The API with the schedule's namespace, its account, and the namespace of the lease."""
    objects = schedule_objects(ASKED)
    kubernetes.put("/api/v1/namespaces", objects[0])
    kubernetes.namespace(REGISTRY_NAMESPACE)
    kubernetes.namespace("shop")
    for each in objects:
        if each["kind"] in ("ServiceAccount", "ClusterRoleBinding", "RoleBinding"):
            kubernetes.put(path_of(each), each)
    yield kubernetes
    kubernetes.sandbox.clear_faults()


@pytest.fixture(scope="module")
def token(cluster: Kubernetes) -> str:
    """The account's, of the TokenRequest API."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = cluster.put(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token", body)
    found: str = answer["status"]["token"]
    return found


# --- accepted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(len(schedule_objects(ASKED))))
def test_every_object_is_accepted_as_it_is(cluster: Kubernetes, position: int) -> None:
    each = copy.deepcopy(schedule_objects(ASKED)[position])
    if each["kind"] in ("Namespace", "ServiceAccount", "ClusterRoleBinding", "RoleBinding"):
        each["metadata"]["name"] = "another"
    status, answer = cluster.call("POST", f"{path_of(each)}?dryRun=All&fieldValidation=Strict", each)
    assert status == 201, answer


@pytest.mark.parametrize("scheduled", [False, True])
def test_indexed_fleet_job_is_accepted(cluster: Kubernetes, scheduled: bool) -> None:
    job = fleet_job_objects(ASKED, "clusters: []", 4, 2, scheduled=scheduled)[-1]
    status, answer = cluster.call("POST", f"{path_of(job)}?dryRun=All&fieldValidation=Strict", job)
    assert status == 201, answer


def test_pod_is_one_that_the_restricted_standard_lets_in(cluster: Kubernetes) -> None:
    template = schedule_objects(ASKED)[-1]["spec"]["jobTemplate"]["spec"]["template"]
    pod = {"metadata": {**template["metadata"], "name": NAME}, "spec": template["spec"]}
    status, answer = cluster.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)
    assert status == 201, answer
    del pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
    status, answer = cluster.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)
    assert (status, "PodSecurity" in answer["message"]) == (403, True)


# --- the permissions --------------------------------------------------------------------------------------------------


def grant(cluster: Kubernetes, token: str, wide: list[Json], near: list[Json]) -> None:
    """Give the account exactly these permissions, in the API
    and in the registry, which asks the cluster on OpenShift.
    """
    for root, rules in ((RBAC, wide), (f"{RBAC}/namespaces/{REGISTRY_NAMESPACE}", near)):
        kind = "clusterroles" if root == RBAC else "roles"
        cluster.call("DELETE", f"{root}/{kind}/{NAME}")
        cluster.put(f"{root}/{kind}", {"metadata": {"name": NAME}, "rules": rules})
    cluster.sandbox.tokens[ACCOUNT] = token
    known = [{"verbs": it["verbs"], "resources": it["resources"], "groups": it["apiGroups"]} for it in wide]
    cluster.sandbox.put_user(ACCOUNT, known)
    granted = [
        *((permission, "") for permission in permissions_in(wide)),
        *((permission, REGISTRY_NAMESPACE) for permission in permissions_in(near)),
    ]
    whole = {*permissions_in(cluster_rules()), *permissions_in(lease_rules())}
    taken = whole - {permission for permission, _ in granted}
    assert granted
    wait_until(lambda: all(may(cluster, permission, namespace) for permission, namespace in granted))
    wait_until(lambda: not any(may(cluster, permission, REGISTRY_NAMESPACE) for permission in taken))


def may(cluster: Kubernetes, permission: Permission, namespace: str) -> bool:
    group, resource, verb, name = permission
    plural, _, subresource = resource.partition("/")
    wanted = {
        "group": group, "resource": plural, "subresource": subresource, "verb": verb, "name": name,
        "namespace": namespace,
    }  # fmt: skip
    body = {"spec": {"user": ACCOUNT, "groups": ["system:authenticated"], "resourceAttributes": wanted}}
    answer = cluster.put("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


def wait_until(true: Any) -> None:
    """The API server hears of roles by a watch of its own."""
    for _ in range(100):
        if true():
            return
        pause()
    raise AssertionError("the API server does not hear of the roles")


def not_authorized(cluster: Kubernetes) -> int:
    """Requests that kube-apiserver has not authorized so far."""
    text = cluster.call("GET", "/metrics")[1]["message"]
    counts = re.findall(r'^authorization_attempts_total\{result="(?!allowed)[^"]*"\} (\S+)', text, re.MULTILINE)
    return sum(int(float(count)) for count in counts)


async def shortcomings(cluster: Kubernetes, token: str) -> list[str]:
    """Run the pruning as the account, on something to prune; what it could not do."""
    sandbox = cluster.sandbox
    cluster.empty("shop")
    # Whoever finds a Lease needs no permission to make one.
    cluster.call("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{REGISTRY_NAMESPACE}/leases/pruner")
    async with sandbox.builder() as builder:
        await builder.push("shop/app:live", layers=[b"first"], age_days=20)
        kept = await builder.push("shop/app:live", layers=[b"second"], age_days=10)
        await builder.push("shop/old:one", layers=[b"third"], age_days=30)
        used = {"name": "main", "image": f"{builder.registry_host}/shop/app@{kept}"}
    cluster.put("/api/v1/namespaces/shop/pods", {"metadata": {"name": "app"}, "spec": {"containers": [used]}})
    sandbox.forget_requests()
    settings = read({"host": cluster.url, "ca_cert": cluster.ca, "api_key": token, "keep_tag_revisions": 0})
    before = not_authorized(cluster)
    said: list[str] = []
    try:
        async with api(settings) as client:
            plan = (await make_plan(client, settings)).plan
            assert plan.images
            said += [note for note in plan.notes if "not served" not in note]
            said += [f"{plan.summary.unmeasured} blobs not measured"] if plan.summary.unmeasured else []
            result = await apply_plan(client, plan, settings, warn=said.append)
            said += [f"{failure.what}: {failure.why}" for failure in result.failures]
            if not said:
                assert set(sandbox.images()) == {kept}
    except PrunerError as error:
        said.append(str(error))
    denied = not_authorized(cluster) - before
    said += [f"{denied} requests not authorized"] if denied else []
    refused = [entry for entry in sandbox.requests(server="registry") if entry["status"] in (401, 403)]
    return said + [f"registry refused {entry['method']} {entry['path']}" for entry in refused if entry["user"]]


@pytest.fixture(scope="module")
def slowed(cluster: Kubernetes) -> None:
    """Writes that take a moment, so that a run is long enough for its watches to begin."""
    for method in ("PUT", "DELETE"):
        cluster.sandbox.add_fault({"delay": 0.3}, method=method, server="api", path="/apis/image.openshift.io/")


async def test_the_account_can_do_all_of_its_work(cluster: Kubernetes, token: str, slowed: None) -> None:
    grant(cluster, token, cluster_rules(), lease_rules())
    assert await shortcomings(cluster, token) == []


@pytest.mark.parametrize("permission", permissions_in(cluster_rules()), ids="-".join)
async def test_no_permission_in_the_cluster_is_too_many(
    cluster: Kubernetes, token: str, slowed: None, permission: Permission
) -> None:
    grant(cluster, token, without(cluster_rules(), permission), lease_rules())
    assert await shortcomings(cluster, token) != []


@pytest.mark.parametrize("permission", permissions_in(lease_rules()), ids="-".join)
async def test_no_permission_on_leases_is_too_many(
    cluster: Kubernetes, token: str, slowed: None, permission: Permission
) -> None:
    grant(cluster, token, cluster_rules(), without(lease_rules(), permission))
    assert await shortcomings(cluster, token) != []
