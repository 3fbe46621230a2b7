"""The doctor's word on a cluster: as its administrator, as somebody who may only read, and as nobody in particular."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pruner.cli import main
from pruner.schedule.permissions import cluster_rules
from tests.servers import RunningSandbox


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("HOME", str(tmp_path))


def examined(cluster: RunningSandbox, user: str, *options: str) -> Result:
    environment = {"K8S_AUTH_HOST": cluster.api_url, "K8S_AUTH_API_KEY": cluster.tokens[user]}
    return CliRunner().invoke(main, ["doctor", *options], env=environment)


def as_json(cluster: RunningSandbox, user: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(examined(cluster, user, "--json", *options).stdout)
    return found


def missing(found: dict[str, Any]) -> set[str]:
    return {f"{it['verb']} {it['resource']}" for it in found["permissions"] if not it["allowed"]}


@pytest.mark.parametrize("user", ["admin", "pruner"])
def test_administrator_and_pruner_can_do_both(sandbox: RunningSandbox, user: str) -> None:
    result = examined(sandbox, user)

    assert result.exit_code == 0, result.output
    assert "preview and up would work" in result.stdout
    assert sandbox.registry_url in result.stdout


def test_reader_can_preview_only(sandbox: RunningSandbox) -> None:
    result = examined(sandbox, "viewer", "--no-prune-registry")

    assert result.exit_code == 3, result.output
    assert (
        "a preview would work, up would not: no permission to delete images.image.openshift.io, update" in result.stdout
    )


def test_nobody_can_do_neither_and_is_told_the_smallest_role(sandbox: RunningSandbox) -> None:
    result = examined(sandbox, "nobody")

    assert result.exit_code == 1
    assert "neither preview nor up would work: no permission to list images.image.openshift.io" in result.stdout
    wide, near = yaml.safe_load_all(result.stdout.partition("the lease that keeps runs apart:\n")[2])
    # The sandbox has no machine configuration, and a role for this cluster leaves out what it does not serve.
    whole = cluster_rules({"prune_registry": True})
    served = [rule for rule in whole if rule["apiGroups"] != ["machineconfiguration.openshift.io"]]
    assert len(served) < len(whole)
    assert (wide["kind"], wide["rules"]) == ("ClusterRole", served)
    assert (near["kind"], near["metadata"]["namespace"]) == ("Role", "openshift-image-registry")


def test_role_it_prints_suffices(sandbox: RunningSandbox) -> None:
    found = as_json(sandbox, "nobody")
    rules = [
        {"verbs": rule["verbs"], "resources": rule["resources"], "groups": rule["apiGroups"]}
        for rule in found["cluster_role"]["rules"] + found["role"]["rules"]
    ]
    sandbox.put_user("grantee", rules)

    found = as_json(sandbox, "grantee")

    assert found["up_works"]
    assert not missing(found)


def test_every_permission_is_asked_by_an_access_review_and_nothing_is_written(sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()

    found = as_json(sandbox, "admin")

    written = [entry for entry in sandbox.requests() if entry["method"] not in ("GET", "HEAD")]
    reviews = [entry for entry in written if entry["path"].endswith("/selfsubjectaccessreviews")]
    assert len(reviews) == len(found["permissions"])
    assert {entry["path"].rpartition("/")[2] for entry in written} == {"selfsubjectaccessreviews", "selfsubjectreviews"}


def test_it_says_who_asks_and_of_whom(sandbox: RunningSandbox) -> None:
    found = as_json(sandbox, "admin")

    assert found["user"]["name"] == "admin"
    assert found["server"] == sandbox.api_url
    assert found["version"] == "v1.31.0-sandbox"
    assert found["registry"]["url"] == sandbox.registry_url
    assert found["registry"]["found"].startswith("image ")


def test_kinds_that_the_cluster_does_not_serve_need_no_permission(sandbox_with: Any) -> None:
    cluster = sandbox_with("--without-group", "apps.openshift.io")

    found = as_json(cluster, "admin")

    assert "deploymentconfigs.apps.openshift.io" in found["not_served"]
    assert not [it for it in found["permissions"] if it["group"] == "apps.openshift.io"]


def test_references_of_oc_need_no_controller_revisions(sandbox: RunningSandbox) -> None:
    def resources(*options: str) -> set[str]:
        return {it["resource"] for it in as_json(sandbox, "admin", *options)["permissions"]}

    assert "controllerrevisions" in resources()
    assert "controllerrevisions" not in resources("--references", "oc")


def test_clock_that_is_wrong_is_said(sandbox: RunningSandbox) -> None:
    sandbox.release_clock()
    sandbox.advance_clock(3600)

    result = examined(sandbox, "admin")

    assert "seconds behind the server's, which ages are measured by" in result.stdout
    assert -3610 < as_json(sandbox, "admin")["clock_skew"] < -3590


def test_registry_that_cannot_be_reached_is_said_and_ends_preview(sandbox: RunningSandbox) -> None:
    result = examined(sandbox, "admin", "--registry-url", "http://127.0.0.1:9")

    assert result.exit_code == 1
    assert "registry http://127.0.0.1:9: cannot connect" in result.stdout


def test_rejected_token_is_one_message_and_exit_code_1(sandbox: RunningSandbox) -> None:
    sandbox.tokens["stranger"] = "wrong"

    result = examined(sandbox, "stranger")

    assert result.exit_code == 1
    assert "the credentials are not accepted (401" in result.stderr
    assert not result.stdout


def test_no_output_shows_the_token(sandbox: RunningSandbox) -> None:
    for options in ((), ("--json",)):
        assert sandbox.tokens["admin"] not in examined(sandbox, "admin", *options).output
