"""The sandbox as a process: how it starts, what it says, how it ends, its folder, and its control interface."""

import json
import subprocess
import sys
from itertools import count
from pathlib import Path

import kubernetes
import pytest
import trustme

from tests.conftest import StartSandbox
from tests.servers import IMAGE_API, ROOT, RunningSandbox, copied, renewed, running_sandbox


def sandbox_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_help_names_the_options() -> None:
    done = sandbox_command("--help")
    assert done.returncode == 0
    assert "--registry-read-only" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--address", "0.0.0.0"], "127.0.0.1 only"),  # noqa: S104 - refused
        (["--resource", "rollouts"], "GROUP/VERSION/PLURAL/KIND"),
        (["--tls-cert", __file__], "go together"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], why: str) -> None:
    done = sandbox_command(*arguments)
    assert done.returncode == 2
    assert why in " ".join(done.stderr.replace("│", "").split())


def test_ready_line_is_also_written_to_a_file(tmp_path: Path, sandbox_with: StartSandbox) -> None:
    running = sandbox_with("--ready-file", str(tmp_path / "ready"))
    assert json.loads((tmp_path / "ready").read_text()) == running.state


def test_kubeconfig_has_a_context_for_each_user(empty_sandbox: RunningSandbox) -> None:
    contexts, current = kubernetes.config.list_kube_config_contexts(str(empty_sandbox.kubeconfig))
    assert {context["name"] for context in contexts} == {"admin", "pruner", "viewer", "nobody"}
    assert current["name"] == "admin"
    assert empty_sandbox.kubeconfig.stat().st_mode & 0o077 == 0


def test_termination_is_a_clean_end(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.stop()
    assert empty_sandbox.process.returncode == 0


def test_sandbox_ends_with_its_parent(empty_sandbox: RunningSandbox) -> None:
    assert empty_sandbox.process.stdin is not None
    empty_sandbox.process.stdin.close()
    assert empty_sandbox.process.wait(10) == 0


def test_stopped_sandbox_finds_its_objects_again(demo_folder: Path, tmp_path: Path) -> None:
    folder = copied(demo_folder, tmp_path / "cluster")
    with running_sandbox(folder) as running:
        running.call("DELETE", "/api/v1/namespaces/shop")
        before = running.images()
    with running_sandbox(folder) as running:
        assert running.call("GET", "/api/v1/namespaces/shop").status == 404
        assert set(running.images()) == set(before)


def test_copy_of_a_folder_names_its_own_registry(sandbox: RunningSandbox) -> None:
    references = {image["dockerImageReference"].partition("/")[0] for image in sandbox.images().values()}
    assert references == {sandbox.registry_host, "registry.example.com"}


def test_saved_folder_can_be_copied_while_it_runs(empty_sandbox: RunningSandbox, tmp_path: Path) -> None:
    empty_sandbox.call("POST", "/api/v1/namespaces", {"metadata": {"name": "new"}})
    empty_sandbox.save()
    with running_sandbox(copied(empty_sandbox.folder, tmp_path / "copy")) as other:
        assert other.get("/api/v1/namespaces/new")


def test_registry_can_have_a_name_of_its_own(sandbox_with: StartSandbox) -> None:
    host = "image-registry.openshift-image-registry.svc:5000"
    assert sandbox_with("--registry-host", host).registry_host == host


def test_tls_is_served_with_the_given_certificate(tmp_path: Path, sandbox_with: StartSandbox) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    paths["cert"].write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(paths["key"]))
    authority.cert_pem.write_to_path(str(paths["ca"]))
    running = sandbox_with(*(word for name, path in paths.items() for word in (f"--tls-{name}", str(path))))
    assert running.registry_url.startswith("https://")
    with kubernetes.config.new_client_from_config(str(running.kubeconfig)) as client:
        namespaces = kubernetes.client.CoreV1Api(client).list_namespace().items
        names = [item.metadata.name for item in namespaces if item.metadata]
    assert "default" in names


def test_requests_are_recorded_without_credentials(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.forget_requests()
    empty_sandbox.call("GET", "/api/v1/pods?limit=5", user="pruner")
    empty_sandbox.call("GET", "/v2/", server="registry", user=None)
    first, second = empty_sandbox.requests()
    assert first | {"number": 0} == {
        "number": 0,
        "server": "api",
        "method": "GET",
        "path": "/api/v1/pods?limit=5",
        "user": "pruner",
        "status": 200,
    }
    assert (second["server"], second["status"], second["user"]) == ("registry", 401, "")


def test_clock_can_be_set_moved_and_released(empty_sandbox: RunningSandbox) -> None:
    empty_sandbox.set_clock("2020-01-01T00:00:00Z")
    empty_sandbox.advance_clock(90)
    assert empty_sandbox.get("/sandbox/clock") == {"now": "2020-01-01T00:01:30Z"}
    empty_sandbox.call("PUT", "/sandbox/clock", {"days_ago": 1})
    assert empty_sandbox.get("/sandbox/clock") == {"now": "2019-12-31T00:01:30Z"}
    empty_sandbox.call("PUT", "/sandbox/clock", {"days_ago": 0})
    assert empty_sandbox.get("/sandbox/clock") == {"now": "2020-01-01T00:01:30Z"}
    empty_sandbox.release_clock()
    assert empty_sandbox.get("/sandbox/clock")["now"] > "2026"


def test_clock_needs_an_offset(empty_sandbox: RunningSandbox) -> None:
    assert empty_sandbox.call("PUT", "/sandbox/clock", {"now": "2020-01-01T00:00:00"}).status == 400


def test_objects_can_be_aged_with_their_items(sandbox: RunningSandbox) -> None:
    sandbox.set_clock("2026-01-31T00:00:00Z")
    stream = sandbox.age("imagestreams", "shop/web", days=30)
    created = {item["created"] for tag in stream["status"]["tags"] for item in tag["items"]}
    assert {stream["metadata"]["creationTimestamp"], *created} == {"2026-01-01T00:00:00Z"}


def test_demo_has_what_makes_pruning_hard(sandbox: RunningSandbox) -> None:
    images = sandbox.images()
    streams = sandbox.items(f"{IMAGE_API}/imagestreams")
    tags = [tag for stream in streams for tag in stream["status"].get("tags") or []]
    named = {item["image"] for tag in tags for item in tag["items"] or []}
    media_types = {image["dockerImageManifestMediaType"] for image in images.values()}
    assert max(len(tag["items"] or []) for tag in tags) >= 6
    assert named - set(images), "an item whose image is gone"
    assert any(not tag["items"] and tag["conditions"] for tag in tags), "a failed import"
    assert any(not image["metadata"]["annotations"].get("openshift.io/image.managed") for image in images.values())
    assert len(media_types) == 4


def test_population_leaves_no_record_of_its_requests(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "cluster", populate="demo") as running:
        assert running.requests() == []


def test_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "objects.json").write_text("{")
    done = sandbox_command("--data", str(tmp_path))
    assert done.returncode == 1
    assert "objects.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_has_the_same_digests_each_time(sandbox: RunningSandbox, tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "second", populate="demo") as other:
        assert set(other.images()) == set(sandbox.images())


@pytest.mark.parametrize(("seconds", "given"), [(3600, [0, 0, 0]), (-1, [0, 1, 2])])
def test_a_populated_folder_is_filled_again_once_it_is_old(seconds: float, given: list[int]) -> None:
    give = renewed(count().__next__, seconds)
    assert [give() for _ in range(3)] == given
