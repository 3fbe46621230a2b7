"""The doctor's word on a real kube-apiserver: as cluster admin, and as somebody with read permissions only."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pruner.cli import main
from pruner.cluster.unlink_journal import REGISTRY_NAMESPACE
from pruner.schedule.permissions import cluster_rules, lease_rules
from tests.integration.kubernetes_api import RBAC, Kubernetes


def examined(cluster: Kubernetes, user: str, *options: str) -> Result:
    environment = {
        "K8S_AUTH_HOST": cluster.url,
        "K8S_AUTH_API_KEY": cluster.tokens[user],
        "K8S_AUTH_SSL_CA_CERT": cluster.ca,
        "COLUMNS": "160",
    }
    return CliRunner().invoke(main, ["doctor", "--no-prune-registry", *options], env=environment)


def as_json(cluster: Kubernetes, user: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(examined(cluster, user, "--json").stdout)
    return found


@pytest.mark.parametrize("user", ["admin", "pruner"])
def test_cluster_admin_and_pruner_can_do_both(kubernetes: Kubernetes, user: str) -> None:
    result = examined(kubernetes, user)

    assert result.exit_code == 0, result.output
    assert "preview and up would work" in result.stdout


def test_reader_can_preview_only(kubernetes: Kubernetes) -> None:
    result = examined(kubernetes, "reader")

    assert result.exit_code == 3, result.output
    assert "a preview would work, up would not: no permission to delete images.image.openshift.io" in result.stdout


def test_nobody_can_do_neither(kubernetes: Kubernetes) -> None:
    result = examined(kubernetes, "nobody")

    assert result.exit_code == 1
    assert "neither preview nor up would work: no permission to list" in result.stdout


def test_role_that_it_prints_suffices(kubernetes: Kubernetes) -> None:
    printed = as_json(kubernetes, "nobody")
    kubernetes.namespace(REGISTRY_NAMESPACE)
    kubernetes.allow("limited", printed["cluster_role"]["rules"])
    role, binding = printed["role"], {"kind": "Role", "name": "pruner", "apiGroup": "rbac.authorization.k8s.io"}
    subjects = [{"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}]
    kubernetes.put(f"{RBAC}/namespaces/{REGISTRY_NAMESPACE}/roles", role)
    bound = {"metadata": {"name": "pruner"}, "roleRef": binding, "subjects": subjects}
    kubernetes.put(f"{RBAC}/namespaces/{REGISTRY_NAMESPACE}/rolebindings", bound)

    found = as_json(kubernetes, "limited")

    assert found["up_works"]
    assert {permission["allowed"] for permission in found["permissions"]} == {True}


def test_role_that_it_prints_is_a_role_of_kubernetes(kubernetes: Kubernetes) -> None:
    role = as_json(kubernetes, "nobody")["cluster_role"]

    role["metadata"]["name"] = "as-printed"
    status, answer = kubernetes.call("POST", f"{RBAC}/clusterroles?dryRun=All&fieldValidation=Strict", role)

    assert status == 201, answer


def test_rights_are_those_of_a_schedule(kubernetes: Kubernetes) -> None:
    """Of which tests on this same server show that each is needed, and that they suffice."""
    found = as_json(kubernetes, "nobody")

    served = set(found["not_served"])
    rules = [rule for rule in cluster_rules({"prune_registry": False}) if not {names(rule)} & served]
    assert found["cluster_role"]["rules"] == rules
    assert found["role"]["rules"] == lease_rules()


def names(rule: dict[str, Any]) -> str:
    return f"{rule['resources'][0]}.{rule['apiGroups'][0]}"


def test_it_says_who_asks_and_of_whom(kubernetes: Kubernetes) -> None:
    found = as_json(kubernetes, "admin")

    assert found["user"]["name"] == "admin"
    assert "system:masters" in found["user"]["groups"]
    assert found["version"].startswith("v")
    assert abs(found["clock_skew"]) < 5
