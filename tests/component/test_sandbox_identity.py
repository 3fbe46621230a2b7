"""Who may do what in the sandbox: its own users, those of a file, impersonation, and the words of a refusal."""

import base64
import json
from pathlib import Path

import pytest

from tests.conftest import StartSandbox
from tests.servers import IMAGE_API, RunningSandbox

REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def whoami(sandbox: RunningSandbox, headers: dict[str, str], user: str | None = None) -> str:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = sandbox.call("POST", path, {}, user=user, headers=headers)
    assert answer.status == 201, answer.body
    return str(answer.json()["status"]["userInfo"]["username"])


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, basic("admin", "wrong")])
def test_whoever_is_not_known_is_unauthorized(empty_sandbox: RunningSandbox, headers: dict[str, str]) -> None:
    answer = empty_sandbox.call("GET", "/api/v1/pods", user=None, headers=headers)
    assert (answer.status, answer.json()["reason"]) == (401, "Unauthorized")


def test_refusal_at_the_cluster_scope_says_what_is_missing(empty_sandbox: RunningSandbox) -> None:
    answer = empty_sandbox.call("GET", f"{IMAGE_API}/images", user="nobody")
    assert answer.status == 403
    assert answer.json()["message"] == (
        'images.image.openshift.io is forbidden: User "nobody" cannot list resource "images" '
        'in API group "image.openshift.io" at the cluster scope'
    )
    assert answer.json()["details"] == {"group": "image.openshift.io", "kind": "images"}


def test_refusal_in_a_namespace_names_it(empty_sandbox: RunningSandbox) -> None:
    answer = empty_sandbox.call("DELETE", "/api/v1/namespaces/default/pods/a", user="viewer")
    assert answer.json()["message"] == (
        'pods "a" is forbidden: User "viewer" cannot delete resource "pods" in API group "" in the namespace "default"'
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/pods", 200),
        ("GET", "/apis/apps/v1/controllerrevisions", 200),
        ("GET", "/apis/build.openshift.io/v1/builds", 200),
        ("GET", "/api/v1/secrets", 403),
        ("DELETE", f"{IMAGE_API}/images/sha256:0", 404),
        ("DELETE", f"{IMAGE_API}/namespaces/default/imagestreams/a", 403),
        ("PUT", f"{IMAGE_API}/namespaces/default/imagestreams/a", 403),
        ("DELETE", "/api/v1/namespaces/default/pods/a", 403),
    ],
)
def test_pruner_has_the_rights_that_pruning_needs(
    empty_sandbox: RunningSandbox, method: str, path: str, status: int
) -> None:
    assert empty_sandbox.call(method, path, user="pruner").status == status


def test_pruner_may_update_the_status_of_streams(sandbox: RunningSandbox) -> None:
    stream = sandbox.stream("blog/site")
    path = f"{IMAGE_API}/namespaces/blog/imagestreams/site/status"
    assert sandbox.call("PUT", path, stream, user="pruner").status == 200


def test_admin_may_impersonate(empty_sandbox: RunningSandbox) -> None:
    headers = {"Impersonate-User": "viewer"}
    assert whoami(empty_sandbox, headers, "admin") == "viewer"
    assert empty_sandbox.call("DELETE", "/api/v1/namespaces/default", headers=headers).status == 403


def test_nobody_else_may_impersonate(empty_sandbox: RunningSandbox) -> None:
    answer = empty_sandbox.call("GET", "/api/v1/pods", user="viewer", headers={"Impersonate-User": "admin"})
    assert answer.status == 403
    assert 'cannot impersonate resource "users"' in answer.json()["message"]


def test_name_and_password_are_accepted(empty_sandbox: RunningSandbox) -> None:
    assert whoami(empty_sandbox, basic("viewer", "viewer")) == "viewer"


@pytest.mark.parametrize(("user", "allowed"), [("pruner", True), ("viewer", False)])
def test_access_review_tells_whether_one_may(empty_sandbox: RunningSandbox, user: str, allowed: bool) -> None:
    attributes = {"verb": "delete", "group": "image.openshift.io", "resource": "images"}
    answer = empty_sandbox.call("POST", REVIEW, {"spec": {"resourceAttributes": attributes}}, user=user)
    assert answer.json()["status"]["allowed"] is allowed


def test_access_review_asks_for_subresources(empty_sandbox: RunningSandbox) -> None:
    attributes = {"verb": "update", "group": "image.openshift.io", "resource": "imagestreams", "subresource": "status"}
    answer = empty_sandbox.call("POST", REVIEW, {"spec": {"resourceAttributes": attributes}}, user="pruner")
    assert answer.json()["status"]["allowed"] is True


def test_openshifts_whoami_names_the_user(empty_sandbox: RunningSandbox) -> None:
    assert empty_sandbox.get("/apis/user.openshift.io/v1/users/~", user="nobody")["metadata"]["name"] == "nobody"


def test_users_of_a_file_are_added(tmp_path: Path, sandbox_with: StartSandbox) -> None:
    rules = [{"verbs": ["list"], "groups": [""], "resources": ["pods"], "namespaces": ["default"]}]
    file = tmp_path / "users.json"
    file.write_text(json.dumps({"users": [{"name": "eve", "token": "t", "rules": rules}]}), encoding="utf-8")
    running = sandbox_with("--users", str(file))
    assert running.call("GET", "/api/v1/namespaces/default/pods", user="eve").status == 200
    assert running.call("GET", "/api/v1/pods", user="eve").status == 403


def test_rights_can_be_changed_while_it_runs(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.put_user("nobody", [{"verbs": ["list"], "resources": ["pods"]}])
    assert empty_sandbox.call("GET", "/api/v1/pods", user="nobody").status == 200


def test_front_proxy_is_trusted_only_on_demand(empty_sandbox: RunningSandbox, sandbox_with: StartSandbox) -> None:
    headers = {"X-Remote-User": "alice", "X-Remote-Group": "dev"}
    assert empty_sandbox.call("GET", "/api/v1/pods", user=None, headers=headers).status == 401
    assert whoami(sandbox_with("--trust-front-proxy"), headers) == "alice"
