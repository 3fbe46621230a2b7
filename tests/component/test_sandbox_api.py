"""
The sandbox's API as a client of a cluster sees it: discovery, lists in pages, writes with their conflicts, watches, and
errors in Kubernetes' words.
"""

import gzip
import http.client
import json
from urllib.parse import urlsplit

import kubernetes
import pytest

from tests.conftest import StartSandbox
from tests.servers import IMAGE_API, RunningSandbox, escaped

PODS = "/api/v1/namespaces/default/pods"
STREAMS = f"{IMAGE_API}/namespaces/default/imagestreams"


def pod(name: str, **labels: str) -> dict[str, object]:
    metadata = {"name": name, "labels": labels}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "shop/web"}]}}


def create_pods(sandbox: RunningSandbox, *names: str) -> None:
    for name in names:
        assert sandbox.call("POST", PODS, pod(name)).status == 201


def watched(sandbox: RunningSandbox, query: str) -> list[dict[str, object]]:
    """The events of a watch that ends by itself after a second."""
    answer = sandbox.call("GET", f"/api/v1/pods?watch=true&timeoutSeconds=1&{query}")
    return [json.loads(line) for line in answer.body.splitlines()]


def test_discovery_shows_the_groups_and_their_resources(empty_sandbox: RunningSandbox) -> None:
    groups = {group["name"] for group in empty_sandbox.get("/apis")["groups"]}
    resources = {entry["name"] for entry in empty_sandbox.get(IMAGE_API)["resources"]}
    assert {"apps", "batch", "image.openshift.io", "apps.openshift.io", "build.openshift.io"} <= groups
    assert {"images", "imagestreams", "imagestreams/status", "imagestreammappings"} <= resources


def test_anybody_may_ask_for_the_version(empty_sandbox: RunningSandbox) -> None:
    assert empty_sandbox.get("/version", user=None)["gitVersion"].startswith("v1.")


def test_discovery_is_for_the_authenticated(empty_sandbox: RunningSandbox) -> None:
    assert empty_sandbox.call("GET", "/apis", user=None).status == 401
    assert empty_sandbox.call("GET", "/apis", user="nobody").status == 200


def test_official_client_lists_what_the_population_made(sandbox: RunningSandbox) -> None:
    client = kubernetes.config.new_client_from_config(str(sandbox.kubeconfig))
    with client:
        deployments = kubernetes.client.AppsV1Api(client).list_deployment_for_all_namespaces()
        images = kubernetes.client.CustomObjectsApi(client).list_cluster_custom_object(
            "image.openshift.io", "v1", "images"
        )
    names = {item.metadata.name for item in deployments.items if item.metadata}
    assert names >= {"web", "api", "cache"}
    assert isinstance(images, dict)
    assert len(images["items"]) > 50


def test_items_of_a_list_have_no_kind_as_in_typed_lists(sandbox: RunningSandbox) -> None:
    assert "kind" not in sandbox.items("/api/v1/pods")[0]


def test_created_objects_get_the_servers_metadata(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.set_clock("2026-01-02T03:04:05Z")
    metadata = empty_sandbox.call("POST", PODS, pod("a")).json()["metadata"]
    assert metadata["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert metadata["uid"]
    assert metadata["resourceVersion"]


def test_every_answer_has_the_date_of_the_sandboxs_clock(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.set_clock("2026-01-02T03:04:05Z")
    for server, path in (("api", "/version"), ("api", "/nowhere"), ("registry", "/")):
        answer = empty_sandbox.call("GET", path, server=server)  # type: ignore[arg-type]
        assert answer.headers.get_all("Date") == ["Fri, 02 Jan 2026 03:04:05 GMT"]


def test_pages_are_those_of_the_moment_of_the_first(empty_sandbox: RunningSandbox) -> None:
    create_pods(empty_sandbox, "a", "b", "c")
    first = empty_sandbox.get("/api/v1/pods?limit=2")
    create_pods(empty_sandbox, "bb", "d")
    token = escaped(first["metadata"]["continue"])
    second = empty_sandbox.get(f"/api/v1/pods?limit=2&continue={token}")
    names = [item["metadata"]["name"] for item in (*first["items"], *second["items"])]
    assert names == ["a", "b", "c"]
    assert first["metadata"]["remainingItemCount"] == 1
    assert "continue" not in second["metadata"]
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


def test_expired_continue_token_answers_410(empty_sandbox: RunningSandbox) -> None:
    create_pods(empty_sandbox, "a", "b")
    token = escaped(empty_sandbox.get("/api/v1/pods?limit=1")["metadata"]["continue"])
    empty_sandbox.expire()
    answer = empty_sandbox.call("GET", f"/api/v1/pods?limit=1&continue={token}")
    assert (answer.status, answer.json()["reason"]) == (410, "Expired")


def test_continue_token_is_of_no_use_for_another_list(empty_sandbox: RunningSandbox) -> None:
    create_pods(empty_sandbox, "a", "b")
    token = escaped(empty_sandbox.get("/api/v1/pods?limit=1")["metadata"]["continue"])
    for path in ("/api/v1/namespaces/default/pods", "/api/v1/secrets", "/apis/image.openshift.io/v1/images"):
        assert empty_sandbox.call("GET", f"{path}?limit=1&continue={token}").status == 400
    assert empty_sandbox.call("GET", f"/api/v1/pods?limit=1&continue={token}").status == 200


def test_continue_token_that_is_none_answers_400(empty_sandbox: RunningSandbox) -> None:
    assert empty_sandbox.call("GET", "/api/v1/pods?continue=nonsense").status == 400


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("labelSelector=app%3Dx", ["a"]),
        ("labelSelector=app%21%3Dx", ["b", "c"]),
        ("labelSelector=app+in+(x,y)", ["a", "b"]),
        ("labelSelector=app", ["a", "b"]),
        ("labelSelector=%21app", ["c"]),
        ("fieldSelector=metadata.name%3Db", ["b"]),
    ],
)
def test_selectors_choose(empty_sandbox: RunningSandbox, query: str, names: list[str]) -> None:
    for name, labels in (("a", {"app": "x"}), ("b", {"app": "y"}), ("c", {})):
        empty_sandbox.call("POST", PODS, pod(name, **labels))
    assert [item["metadata"]["name"] for item in empty_sandbox.items(f"/api/v1/pods?{query}")] == names


def test_metadata_only_list(sandbox: RunningSandbox) -> None:
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    content = sandbox.call("GET", f"{IMAGE_API}/images", headers={"Accept": accept}).json()
    assert content["kind"] == "PartialObjectMetadataList"
    assert set(content["items"][0]) == {"kind", "apiVersion", "metadata"}


def test_large_list_is_compressed_for_who_accepts_it(empty_sandbox: RunningSandbox) -> None:
    config = {"metadata": {"name": "big"}, "data": {"text": "x" * 200_000}}
    empty_sandbox.call("POST", "/api/v1/namespaces/default/configmaps", config)
    answer = empty_sandbox.call("GET", "/api/v1/configmaps", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(gzip.decompress(answer.body)) > 200_000
    assert "Content-Encoding" not in empty_sandbox.call("GET", "/api/v1/configmaps").headers


def test_second_object_of_a_name_is_refused(empty_sandbox: RunningSandbox) -> None:
    create_pods(empty_sandbox, "a")
    answer = empty_sandbox.call("POST", PODS, pod("a"))
    assert (answer.status, answer.json()["reason"]) == (409, "AlreadyExists")


def test_object_in_a_namespace_that_is_not_there_is_refused(empty_sandbox: RunningSandbox) -> None:
    answer = empty_sandbox.call("POST", "/api/v1/namespaces/missing/pods", pod("a"))
    assert (answer.status, answer.json()["message"]) == (404, 'namespaces "missing" not found')


def test_update_of_an_old_version_is_a_conflict(empty_sandbox: RunningSandbox) -> None:
    old = empty_sandbox.call("POST", PODS, pod("a")).json()
    assert empty_sandbox.call("PUT", f"{PODS}/a", {**old, "status": {"phase": "Failed"}}).status == 200
    answer = empty_sandbox.call("PUT", f"{PODS}/a", {**old, "status": {"phase": "Running"}})
    assert (answer.status, answer.json()["reason"]) == (409, "Conflict")


def test_update_that_changes_nothing_keeps_the_version(empty_sandbox: RunningSandbox) -> None:
    old = empty_sandbox.call("POST", PODS, pod("a")).json()
    assert empty_sandbox.call("PUT", f"{PODS}/a", old).json()["metadata"] == old["metadata"]


def test_merge_patch_changes_what_it_names(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.call("POST", PODS, pod("a", app="x", tier="y"))
    patch = {"metadata": {"labels": {"app": None, "new": "z"}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = empty_sandbox.call("PATCH", f"{PODS}/a", patch, headers=headers)
    assert answer.json()["metadata"]["labels"] == {"tier": "y", "new": "z"}


def test_other_patches_are_refused(empty_sandbox: RunningSandbox) -> None:
    create_pods(empty_sandbox, "a")
    headers = {"Content-Type": "application/json-patch+json"}
    assert empty_sandbox.call("PATCH", f"{PODS}/a", [], headers=headers).status == 415


def test_delete_answers_success_with_details(sandbox: RunningSandbox) -> None:
    digest, image = next(iter(sandbox.images().items()))
    answer = sandbox.call("DELETE", f"{IMAGE_API}/images/{digest}").json()
    details = {"name": digest, "group": "image.openshift.io", "kind": "images", "uid": image["metadata"]["uid"]}
    assert (answer["status"], answer["details"]) == ("Success", details)
    assert digest not in sandbox.images()


@pytest.mark.parametrize("precondition", ["uid", "resourceVersion"])
def test_delete_with_another_precondition_is_a_conflict(empty_sandbox: RunningSandbox, precondition: str) -> None:
    create_pods(empty_sandbox, "a")
    answer = empty_sandbox.call("DELETE", f"{PODS}/a", {"preconditions": {precondition: "1"}})
    assert (answer.status, answer.json()["reason"]) == (409, "Conflict")
    assert empty_sandbox.items("/api/v1/pods")


def test_dry_run_writes_nothing(empty_sandbox: RunningSandbox) -> None:
    create_pods(empty_sandbox, "a")
    assert empty_sandbox.call("POST", f"{PODS}?dryRun=All", pod("b")).status == 201
    assert empty_sandbox.call("DELETE", f"{PODS}/a?dryRun=All").status == 200
    assert [item["metadata"]["name"] for item in empty_sandbox.items("/api/v1/pods")] == ["a"]


def test_status_update_of_a_stream_keeps_spec_and_metadata(sandbox: RunningSandbox) -> None:
    before = sandbox.stream("blog/site")
    changed = {
        **before,
        "spec": {"lookupPolicy": {"local": True}},
        "status": {"dockerImageRepository": "x", "tags": []},
    }
    changed["metadata"] = {**before["metadata"], "labels": {"a": "b"}}
    path = f"{IMAGE_API}/namespaces/blog/imagestreams/site"
    after = sandbox.call("PUT", f"{path}/status", changed).json()
    assert after["spec"] == before["spec"]
    assert "labels" not in after["metadata"]
    assert after["status"]["tags"] == []
    assert sandbox.call("PUT", f"{path}/status", changed).status == 409


def test_update_of_a_stream_keeps_its_status(sandbox: RunningSandbox) -> None:
    before = sandbox.stream("blog/site")
    path = f"{IMAGE_API}/namespaces/blog/imagestreams/site"
    after = sandbox.call("PUT", path, {**before, "spec": {"lookupPolicy": {"local": True}}, "status": {}}).json()
    assert after["status"] == before["status"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


def test_status_update_of_a_stream_that_is_gone_is_404(sandbox: RunningSandbox) -> None:
    stream = sandbox.stream("blog/site")
    path = f"{IMAGE_API}/namespaces/blog/imagestreams/site"
    sandbox.call("DELETE", path)
    assert sandbox.call("PUT", f"{path}/status", stream).status == 404


def test_status_update_without_a_version_is_invalid(sandbox: RunningSandbox) -> None:
    stream = sandbox.stream("blog/site")
    del stream["metadata"]["resourceVersion"]
    assert sandbox.call("PUT", f"{IMAGE_API}/namespaces/blog/imagestreams/site/status", stream).status == 422


def test_imported_image_gets_an_item_and_is_not_managed(sandbox: RunningSandbox) -> None:
    (digest,) = sandbox.history("mirror/postgres:15")
    image = sandbox.images()[digest]
    assert "openshift.io/image.managed" not in image["metadata"]["annotations"]
    assert image["dockerImageReference"].startswith("registry.example.com/")


def test_stream_tag_and_stream_image_show_the_image(sandbox: RunningSandbox) -> None:
    digest = sandbox.history("shop/web:latest")[0]
    here = f"{IMAGE_API}/namespaces/shop"
    assert sandbox.get(f"{here}/imagestreamtags/web:latest")["image"]["metadata"]["name"] == digest
    assert sandbox.get(f"{here}/imagestreamimages/web@{digest}")["image"]["metadata"]["name"] == digest
    assert sandbox.call("GET", f"{here}/imagestreamtags/web:missing").status == 404


def test_namespace_takes_along_what_is_in_it(sandbox: RunningSandbox) -> None:
    assert sandbox.call("DELETE", "/api/v1/namespaces/shop").status == 200
    assert sandbox.items(f"{IMAGE_API}/namespaces/shop/imagestreams") == []


def test_watch_from_a_version_tells_what_changed_since(empty_sandbox: RunningSandbox) -> None:
    create_pods(empty_sandbox, "before")
    version = empty_sandbox.get("/api/v1/pods")["metadata"]["resourceVersion"]
    created = empty_sandbox.call("POST", PODS, pod("a")).json()
    empty_sandbox.call("PUT", f"{PODS}/a", {**created, "status": {"phase": "Running"}})
    empty_sandbox.call("DELETE", f"{PODS}/a")
    events = watched(empty_sandbox, f"resourceVersion={version}&allowWatchBookmarks=true")
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


def test_watch_tells_of_a_change_when_it_happens(empty_sandbox: RunningSandbox) -> None:
    connection = http.client.HTTPConnection(urlsplit(empty_sandbox.api_url).netloc, timeout=10)
    headers = {"Authorization": f"Bearer {empty_sandbox.tokens['admin']}"}
    connection.request("GET", "/api/v1/pods?watch=true", headers=headers)
    response = connection.getresponse()
    create_pods(empty_sandbox, "a")
    event = json.loads(response.readline())
    connection.close()
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")


def test_watch_from_too_old_a_version_is_an_error_event(empty_sandbox: RunningSandbox) -> None:
    create_pods(empty_sandbox, "a")
    empty_sandbox.expire()
    (event,) = watched(empty_sandbox, "resourceVersion=2")
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)  # type: ignore[index]


def test_watch_list_is_refused_so_that_clients_fall_back(empty_sandbox: RunningSandbox) -> None:
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    assert empty_sandbox.call("GET", f"/api/v1/pods?{query}").status == 422


def test_watch_of_a_namespace_is_about_that_only(empty_sandbox: RunningSandbox) -> None:
    version = empty_sandbox.get("/api/v1/pods")["metadata"]["resourceVersion"]
    empty_sandbox.call("POST", "/api/v1/namespaces/openshift/pods", pod("other"))
    create_pods(empty_sandbox, "a")
    answer = empty_sandbox.call("GET", f"{PODS}?watch=true&timeoutSeconds=1&resourceVersion={version}")
    assert [json.loads(line)["object"]["metadata"]["name"] for line in answer.body.splitlines()] == ["a"]


def test_group_that_is_left_out_is_not_there(sandbox_with: StartSandbox) -> None:
    running = sandbox_with("--without-group", "apps.openshift.io")
    assert "apps.openshift.io" not in {group["name"] for group in running.get("/apis")["groups"]}
    assert running.call("GET", "/apis/apps.openshift.io/v1/deploymentconfigs").status == 404


def test_further_resource_is_served(sandbox_with: StartSandbox) -> None:
    running = sandbox_with("--resource", "argoproj.io/v1alpha1/rollouts/Rollout")
    path = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts"
    assert running.call("POST", path, {"metadata": {"name": "a"}, "spec": {}}).status == 201
    (item,) = running.items("/apis/argoproj.io/v1alpha1/rollouts")
    assert (item["kind"], item["apiVersion"]) == ("Rollout", "argoproj.io/v1alpha1")
