"""The sandbox's registry as image tools see it: pushes, pulls, tokens, deletes, and what is left on the disk."""

import base64
import json
import subprocess
from pathlib import Path

import pytest

from sandbox.blobs import digest_of
from sandbox.builder import noise
from sandbox.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX
from tests.conftest import StartSandbox
from tests.servers import Answer, RunningSandbox

BLOBS = "/v2/default/app/blobs"
MANIFESTS = "/v2/default/app/manifests"


def ask(sandbox: RunningSandbox, method: str, path: str, body: bytes | None = None, *, user: str = "admin") -> Answer:
    return sandbox.call(method, path, body, server="registry", user=user)


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"any:{password}".encode()).decode()}


def skopeo(sandbox: RunningSandbox, *arguments: str, token: str = "") -> "subprocess.CompletedProcess[str]":
    credentials = f"any:{token or sandbox.tokens['admin']}"
    words = [credentials if word == "CREDENTIALS" else word for word in arguments]
    return subprocess.run(["skopeo", *words], capture_output=True, text=True, timeout=60, check=False)


def pull(sandbox: RunningSandbox, ref: str, target: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    source = f"docker://{sandbox.registry_host}/{ref}"
    access = ("--src-tls-verify=false", "--src-creds", "CREDENTIALS")
    return skopeo(sandbox, "copy", *options, *access, source, f"dir:{target}")


@pytest.mark.parametrize("ref", ["shop/web:latest", "shop/api:latest", "data/query:latest", "data/collector:v1"])
def test_skopeo_pulls_what_was_pushed(sandbox: RunningSandbox, tmp_path: Path, ref: str) -> None:
    done = pull(sandbox, ref, tmp_path / "image", "--all")
    assert done.returncode == 0, done.stderr
    assert digest_of((tmp_path / "image" / "manifest.json").read_bytes()) == sandbox.history(ref)[0]


def test_skopeo_pushes_an_image_and_pulls_it_again(sandbox: RunningSandbox, tmp_path: Path) -> None:
    assert pull(sandbox, "shop/web:latest", tmp_path / "image").returncode == 0
    target = f"docker://{sandbox.registry_host}/blog/copy:v1"
    access = ("--dest-tls-verify=false", "--dest-creds", "CREDENTIALS")
    done = skopeo(sandbox, "copy", *access, f"dir:{tmp_path / 'image'}", target)
    assert done.returncode == 0, done.stderr
    assert sandbox.history("blog/copy:v1") == sandbox.history("shop/web:latest")[:1]
    assert pull(sandbox, "blog/copy:v1", tmp_path / "again").returncode == 0


def test_skopeo_with_a_bad_token_is_refused(sandbox: RunningSandbox, tmp_path: Path) -> None:
    done = skopeo(
        sandbox, "inspect", "--tls-verify=false", "--creds", "CREDENTIALS",
        f"docker://{sandbox.registry_host}/shop/web:latest", token="wrong",
    )  # fmt: skip
    assert done.returncode != 0
    assert "authenti" in done.stderr or "unauthorized" in done.stderr


@pytest.mark.parametrize("path", ["/", "/healthz"])
def test_ping_needs_no_credentials(empty_sandbox: RunningSandbox, path: str) -> None:
    assert empty_sandbox.call("GET", path, server="registry", user=None).status == 200


def test_missing_token_is_told_where_to_get_one(empty_sandbox: RunningSandbox) -> None:
    answer = empty_sandbox.call("GET", "/v2/", server="registry", user=None)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{empty_sandbox.registry_url}/openshift/token"'


def test_token_is_given_for_a_token_as_password(empty_sandbox: RunningSandbox) -> None:
    headers = basic(empty_sandbox.tokens["pruner"])
    answer = empty_sandbox.call("GET", "/openshift/token", server="registry", user=None, headers=headers)
    assert set(answer.json()) == {"token", "access_token", "expires_in", "issued_at"}
    bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert empty_sandbox.call("GET", "/v2/", server="registry", user=None, headers=bearer).status == 200


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer wrong"}, basic("wrong")])
def test_bad_token_is_401_with_a_basic_challenge(empty_sandbox: RunningSandbox, headers: dict[str, str]) -> None:
    answer = empty_sandbox.call("GET", "/v2/", server="registry", user=None, headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=openshift")


@pytest.mark.parametrize("path", ["/admin/blobs/", f"{BLOBS}/", f"{MANIFESTS}/"])
def test_missing_right_to_delete_is_401(empty_sandbox: RunningSandbox, path: str) -> None:
    assert ask(empty_sandbox, "DELETE", path + digest_of(b""), user="viewer").status == 401


def test_upload_in_chunks(empty_sandbox: RunningSandbox) -> None:
    digest = digest_of(b"onetwo")
    started = ask(empty_sandbox, "POST", f"{BLOBS}/uploads/")
    location = started.headers["Location"]
    assert started.status == 202
    assert ask(empty_sandbox, "PATCH", location, b"one").headers["Range"] == "0-2"
    assert ask(empty_sandbox, "PATCH", location, b"two").headers["Range"] == "0-5"
    assert ask(empty_sandbox, "PUT", f"{location}?digest={digest}").status == 201
    assert ask(empty_sandbox, "GET", f"{BLOBS}/{digest}").body == b"onetwo"
    assert ask(empty_sandbox, "GET", location).status == 404


def test_upload_with_another_digest_is_refused(empty_sandbox: RunningSandbox) -> None:
    answer = ask(empty_sandbox, "POST", f"{BLOBS}/uploads/?digest={digest_of(b'b')}", b"a")
    assert (answer.status, answer.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")


def test_upload_can_be_cancelled(empty_sandbox: RunningSandbox) -> None:
    location = ask(empty_sandbox, "POST", f"{BLOBS}/uploads/").headers["Location"]
    assert ask(empty_sandbox, "DELETE", location).status == 204
    assert ask(empty_sandbox, "GET", location).status == 404


def test_blob_is_mounted_from_another_repository(empty_sandbox: RunningSandbox) -> None:
    digest = digest_of(b"a")
    ask(empty_sandbox, "POST", f"{BLOBS}/uploads/?digest={digest}", b"a")
    other = "/v2/default/other/blobs"
    assert ask(empty_sandbox, "HEAD", f"{other}/{digest}").status == 404
    assert ask(empty_sandbox, "POST", f"{other}/uploads/?mount={digest}&from=default/app").status == 201
    assert ask(empty_sandbox, "HEAD", f"{other}/{digest}").status == 200


@pytest.mark.parametrize("path", ["/v2/default/../uploads/", "/v2/default/%2e%2e/blobs/uploads/"])
def test_repository_cannot_lead_out_of_the_folder(empty_sandbox: RunningSandbox, path: str) -> None:
    assert ask(empty_sandbox, "POST", path).status == 404


def test_mount_from_outside_of_the_folder_starts_an_upload(empty_sandbox: RunningSandbox) -> None:
    answer = ask(empty_sandbox, "POST", f"{BLOBS}/uploads/?mount={digest_of(b'a')}&from=../../..")
    assert answer.status == 202


def test_manifest_whose_blobs_are_missing_is_refused(empty_sandbox: RunningSandbox) -> None:
    part = {"mediaType": "x", "size": 1, "digest": digest_of(b"missing")}
    manifest = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": part, "layers": []}
    answer = ask(empty_sandbox, "PUT", f"{MANIFESTS}/v1", json.dumps(manifest).encode())
    assert answer.status == 400, "the media type of the request is not that of a manifest"
    answer = empty_sandbox.call(
        "PUT",
        f"{MANIFESTS}/v1",
        json.dumps(manifest).encode(),
        server="registry",
        headers={"Content-Type": DOCKER_MANIFEST},
    )
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_push_makes_a_managed_image_with_its_sizes(empty_sandbox: RunningSandbox) -> None:
    async with empty_sandbox.builder() as cluster:
        digest = await cluster.push("ns/app:v1", layers=[b"a", b"b", b"a"])
    image = empty_sandbox.images()[digest]
    manifest = ask(empty_sandbox, "GET", "/v2/ns/app/manifests/v1").json()
    assert image["metadata"]["annotations"]["openshift.io/image.managed"] == "true"
    assert image["dockerImageReference"] == f"{empty_sandbox.registry_host}/ns/app@{digest}"
    assert image["dockerImageMetadata"]["Id"] == manifest["config"]["digest"]
    assert [layer["name"] for layer in image["dockerImageLayers"]] == [part["digest"] for part in manifest["layers"]]
    unique = {part["digest"]: part["size"] for part in manifest["layers"]}
    assert image["dockerImageMetadata"]["Size"] == manifest["config"]["size"] + sum(unique.values())


async def test_push_of_another_image_becomes_the_current_item(empty_sandbox: RunningSandbox) -> None:
    async with empty_sandbox.builder() as cluster:
        old = await cluster.push("ns/app:v1", layers=[b"a"], age_days=30)
        new = await cluster.push("ns/app:v1", layers=[b"b"], age_days=2)
    assert empty_sandbox.history("ns/app:v1") == [new, old]
    items = empty_sandbox.stream("ns/app")["status"]["tags"][0]["items"]
    assert items[0]["created"] > items[1]["created"]
    assert empty_sandbox.stream("ns/app")["metadata"]["creationTimestamp"] == items[1]["created"]


async def test_push_of_the_current_image_adds_nothing(empty_sandbox: RunningSandbox) -> None:
    async with empty_sandbox.builder() as cluster:
        digest = await cluster.push("ns/app:v1", layers=[b"a"], age_days=30)
        before = empty_sandbox.stream("ns/app")
        await cluster.push("ns/app:v1", layers=[b"a"])
    assert empty_sandbox.history("ns/app:v1") == [digest]
    assert empty_sandbox.stream("ns/app") == before


async def test_push_by_digest_is_in_no_history(empty_sandbox: RunningSandbox) -> None:
    async with empty_sandbox.builder() as cluster:
        digest = await cluster.push("ns/app", layers=[b"a"])
    assert digest in empty_sandbox.images()
    assert not empty_sandbox.stream("ns/app")["status"].get("tags")


@pytest.mark.parametrize(("flavour", "media_type"), [("docker", DOCKER_LIST), ("oci", OCI_INDEX)])
async def test_index_becomes_an_image_with_members(  # type: ignore[no-untyped-def]
    empty_sandbox: RunningSandbox, flavour, media_type
) -> None:
    async with empty_sandbox.builder() as cluster:
        amd = await cluster.push("ns/app", layers=[b"a"], flavour=flavour)
        arm = await cluster.push("ns/app", layers=[b"b"], flavour=flavour, architecture="arm64", variant="v8")
        index = await cluster.push_index("ns/app:v1", [amd, arm], flavour=flavour)
    image = empty_sandbox.images()[index]
    assert image["dockerImageManifestMediaType"] == media_type
    assert [member["digest"] for member in image["dockerImageManifests"]] == [amd, arm]
    assert image["dockerImageManifests"][1]["variant"] == "v8"
    assert not image["dockerImageMetadata"]["Id"]
    assert not image["dockerImageLayers"]


def layers_of(sandbox: RunningSandbox, digest: str) -> list[str]:
    return [layer["name"] for layer in sandbox.images()[digest]["dockerImageLayers"]]


def test_deleting_a_layer_link_hides_the_blob_in_that_repository_only(sandbox: RunningSandbox) -> None:
    shared = layers_of(sandbox, sandbox.history("shop/web:latest")[0])[0]
    disk = sandbox.disk()
    assert ask(sandbox, "DELETE", f"/v2/shop/web/blobs/{shared}", user="pruner").status == 202
    assert ask(sandbox, "HEAD", f"/v2/shop/web/blobs/{shared}").status == 404
    assert ask(sandbox, "HEAD", f"/v2/shop/api/blobs/{shared}").status == 200
    assert ask(sandbox, "DELETE", f"/v2/shop/web/blobs/{shared}", user="pruner").status == 404
    assert sandbox.disk() == disk


def test_deleting_a_blob_frees_its_bytes(sandbox: RunningSandbox) -> None:
    layer = layers_of(sandbox, sandbox.history("shop/web:latest")[0])[-1]
    size = int(ask(sandbox, "HEAD", f"/v2/shop/web/blobs/{layer}").headers["Content-Length"])
    before = sandbox.disk()
    assert ask(sandbox, "DELETE", f"/admin/blobs/{layer}", user="pruner").status == 204
    after = sandbox.disk()
    assert (before["blob_bytes"] - after["blob_bytes"], before["files"] - after["files"]) == (size, 1)
    assert ask(sandbox, "DELETE", f"/admin/blobs/{layer}", user="pruner").status == 204


def test_image_without_a_blob_cannot_be_pulled(sandbox: RunningSandbox, tmp_path: Path) -> None:
    layer = layers_of(sandbox, sandbox.history("shop/web:latest")[0])[-1]
    ask(sandbox, "DELETE", f"/admin/blobs/{layer}")
    assert pull(sandbox, "shop/web:latest", tmp_path / "image").returncode != 0


def test_manifest_that_the_stream_names_cannot_be_deleted(sandbox: RunningSandbox) -> None:
    digest = sandbox.history("shop/web:latest")[-1]
    assert ask(sandbox, "DELETE", f"/v2/shop/web/manifests/{digest}", user="pruner").status == 405


def test_member_of_an_index_that_the_stream_names_cannot_be_deleted(sandbox: RunningSandbox) -> None:
    index = sandbox.images()[sandbox.history("data/collector:v1")[0]]
    member = index["dockerImageManifests"][0]["digest"]
    assert ask(sandbox, "DELETE", f"/v2/data/collector/manifests/{member}", user="pruner").status == 405


def test_manifest_that_no_item_names_can_be_deleted_once(sandbox: RunningSandbox) -> None:
    digest = next(name for name, image in sandbox.images().items() if "/mirror/lost@" in image["dockerImageReference"])
    assert ask(sandbox, "DELETE", f"/v2/mirror/lost/manifests/{digest}", user="pruner").status == 202
    assert ask(sandbox, "DELETE", f"/v2/mirror/lost/manifests/{digest}", user="pruner").status == 404


def test_other_methods_on_admin_are_refused(empty_sandbox: RunningSandbox) -> None:
    assert ask(empty_sandbox, "GET", f"/admin/blobs/{digest_of(b'')}").status == 405


def test_registry_without_admin_has_no_such_path(sandbox_with: StartSandbox) -> None:
    running = sandbox_with("--registry-without-admin")
    assert ask(running, "DELETE", f"/admin/blobs/{digest_of(b'')}").status == 404


def test_read_only_registry_refuses_writes(sandbox_with: StartSandbox) -> None:
    running = sandbox_with("--registry-read-only")
    digest = digest_of(b"a")
    assert ask(running, "POST", f"{BLOBS}/uploads/?digest={digest}", b"a").status == 405
    assert ask(running, "DELETE", f"{BLOBS}/{digest}").status == 405
    assert ask(running, "DELETE", f"/admin/blobs/{digest}").status == 405


def test_tags_are_those_of_the_stream(sandbox: RunningSandbox) -> None:
    answer = ask(sandbox, "GET", "/v2/shop/web/tags/list").json()
    assert answer == {"name": "shop/web", "tags": ["canary", "latest", "stable"]}


def test_files_lie_where_distribution_looks_for_them(sandbox: RunningSandbox) -> None:
    digest = sandbox.history("shop/web:latest")[0].removeprefix("sha256:")
    root = sandbox.folder / "docker" / "registry" / "v2"
    assert (root / "blobs" / "sha256" / digest[:2] / digest / "data").is_file()
    link = root / "repositories" / "shop" / "web" / "_manifests" / "revisions" / "sha256" / digest / "link"
    assert link.read_text() == f"sha256:{digest}"


def test_noise_is_the_same_each_time() -> None:
    assert noise("a", 100) == noise("a", 100) != noise("b", 100)
