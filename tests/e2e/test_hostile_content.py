"""A tenant writes what terminals, CI runners and Pulumi obey
into labels, annotations and pull specs: all of it is data.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pruner.provider.values import value_of
from tests.component.test_report_commands import planned, pruner
from tests.hostile import assert_inert
from tests.pulumi_project import Project
from tests.servers import RunningSandbox

SIGNATURE = "4dabf18193072939515e22adb298388d"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
ASSET = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "path": "/etc/hostname"}
HARM = "\x1b]0;owned\x07\n::error::injected \u202e##vso[task.complete]##[group]x [red]</script>"
STREAM = "/apis/image.openshift.io/v1/namespaces/shop/imagestreams/web"


@pytest.fixture
def tampered(sandbox: RunningSandbox) -> str:
    """The demo cluster with hostile content in what goes and in what a note quotes; the name of the image."""
    name = sandbox.history("shop/web:latest")[5]
    path = f"/apis/image.openshift.io/v1/images/{name}"
    image = sandbox.get(path)
    image["metadata"]["annotations"] = {**image["metadata"].get("annotations", {}), "note": UNKNOWN, "harm": HARM}
    image["dockerImageMetadata"].setdefault("Config", {})["Labels"] = {**ASSET, HARM: HARM, "__x": "y"}
    assert sandbox.call("PUT", path, image).status == 200
    stream = sandbox.get(STREAM)
    stream["metadata"]["annotations"] = {SIGNATURE: "x", "note": UNKNOWN, "harm": HARM}
    assert sandbox.call("PUT", STREAM, stream).status == 200
    containers = [{"name": "c", "image": f"{HARM} !!"}]
    pod = {
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": containers},
        "status": {"phase": "Running"},
    }
    assert sandbox.call("POST", "/api/v1/namespaces/shop/pods", pod).status == 201
    return name


def test_commands_print_it_as_text(sandbox: RunningSandbox, tampered: str, tmp_path: Path) -> None:
    file, token = tmp_path / "plan.jsonl", sandbox.tokens["admin"]
    shown = [planned(sandbox, "--ignore-invalid-refs", "--out", file)]
    for form in ("text", "markdown", "html", "openmetrics"):
        done = pruner("report", file, "--format", form)
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout)
    assert len(shown) == 5
    assert [each for each in shown[:4] if "injected" not in each] == []
    refused = pruner("plan", "--host", sandbox.api_url, token=token)
    assert refused.returncode == 1
    assert "injected" in refused.stderr
    explained = pruner("explain", tampered, "--host", sandbox.api_url, "--ignore-invalid-refs", token=token)
    assert explained.returncode == 0, explained.stderr
    for each in (*shown, refused.stderr, explained.stdout):
        assert_inert(each)


def test_preview_and_up_print_it_as_text_and_keep_whole_objects(
    demo: Project, sandbox: RunningSandbox, tampered: str
) -> None:
    demo.configure(ignore_invalid_refs="true")
    image = sandbox.get(f"/apis/image.openshift.io/v1/images/{tampered}")
    preview = demo.succeed("preview", "--diff")
    assert "injected" in preview
    up = demo.succeed("up", "--yes", "--skip-preview")
    for output in (preview, up):
        assert_inert("\n".join(line for line in output.splitlines() if "injected" in line))
        assert "\x1b]0;owned" not in output
        assert not [line for line in output.splitlines() if line.strip().startswith(("::", "##"))]
    outputs = demo.outputs()
    (deleted,) = [each for each in outputs["deleted_images"] if each["metadata"]["name"] == tampered]
    assert deleted["dockerImageMetadata"] == value_of(image["dockerImageMetadata"])
    (stream,) = [each for each in outputs["updated_image_streams"] if each["metadata"]["name"] == "web"]
    assert stream["metadata"]["annotations"] == value_of({SIGNATURE: "x", "note": UNKNOWN, "harm": HARM})
    assert Path("/etc/hostname").read_text(encoding="utf-8") not in str(demo.state())
    assert "2 unchanged" in demo.succeed("preview", "--expect-no-changes")
