"""Bad input and failing servers: one clear message, exit code not 0, nothing changed, no traceback."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from pruner.provider.naming import to_parameters
from tests.pulumi_project import Project
from tests.servers import RunningSandbox


def test_wrong_settings_are_all_named_before_anything_is_contacted(demo: Project, sandbox: RunningSandbox) -> None:
    demo.configure(keep_younger_than="-5", registry_url="https://registry.example/path", keep_tag_revision="3")
    sandbox.forget_requests()
    output = demo.fail("preview")
    assert "must be at least 0, not -5" in output
    assert "without a path" in output
    assert "did you mean 'keep_tag_revisions'" in output
    assert sandbox.requests() == []


def test_an_unreachable_host_is_named(project: Project) -> None:
    project.configure(host="http://127.0.0.1:1", api_key="x")
    output = project.fail("preview")
    assert "http://127.0.0.1:1: cannot connect" in output


def test_a_rejected_token_is_named_as_such(demo: Project) -> None:
    demo.configure(api_key="not-a-token")
    output = demo.fail("preview")
    assert "the credentials are not accepted (401" in output
    assert "not-a-token" not in output


def test_a_missing_permission_is_named_with_verb_group_and_resource(demo: Project, sandbox: RunningSandbox) -> None:
    demo.configure(api_key=sandbox.tokens["nobody"])
    output = demo.fail("preview")
    assert "grant verb 'list' on resource 'images' of API group 'image.openshift.io'" in output


def test_up_without_the_right_to_delete_changes_nothing(demo: Project, sandbox: RunningSandbox) -> None:
    demo.configure(api_key=sandbox.tokens["viewer"])
    assert "up would be refused: no permission to delete images.image.openshift.io" in demo.succeed("preview")
    sandbox.forget_requests()
    output = demo.fail("up", "--yes", "--skip-preview")
    assert "no permission to update imagestreams/status.image.openshift.io" in output
    assert "nothing was changed" in output
    assert not [entry for entry in sandbox.requests() if entry["method"] in ("PUT", "DELETE")]


@pytest.mark.parametrize("kind", ["pods", "daemonsets", "builds", "imagestreams", "images"])
def test_a_cluster_that_cannot_be_read_whole_ends_up_before_any_change(
    demo: Project, sandbox: RunningSandbox, kind: str
) -> None:
    sandbox.add_fault({"status": 403}, method="GET", path=f"/{kind}[?]")
    output = demo.fail("up", "--yes", "--skip-preview")
    assert f"no permission to list {kind}" in output
    assert not [entry for entry in sandbox.requests() if entry["method"] in ("PUT", "DELETE")]


def test_a_registry_that_fails_ends_as_failed_and_the_next_up_goes_on(demo: Project, sandbox: RunningSandbox) -> None:
    fault = sandbox.add_fault({"status": 403}, method="DELETE", path="/admin/blobs", server="registry")
    output = demo.fail("up", "--yes", "--skip-preview")
    assert "deletions failed" in output
    images = set(sandbox.images())
    sandbox.clear_faults()
    assert fault is not None
    demo.succeed("up", "--yes", "--skip-preview")
    assert set(sandbox.images()) < images
    assert "2 unchanged" in demo.succeed("preview", "--expect-no-changes")


def test_a_registry_that_does_not_answer_is_named_before_any_change(demo: Project, sandbox: RunningSandbox) -> None:
    demo.configure(registry_url="http://127.0.0.1:1")
    sandbox.forget_requests()
    output = demo.fail("up", "--yes", "--skip-preview")
    assert "registry http://127.0.0.1:1: cannot connect" in output
    assert not [entry for entry in sandbox.requests() if entry["method"] in ("PUT", "DELETE")]


def test_a_failing_api_server_keeps_what_was_done_in_the_state(either: Project, sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 403}, method="DELETE", path="/images/", first=3)
    either.fail("up", "--yes", "--skip-preview")
    outputs = to_parameters(either.outputs())
    assert len(outputs["deleted_images"]) == 2
    assert outputs["failures"]
    sandbox.clear_faults()
    either.succeed("up", "--yes", "--skip-preview")
    assert either.outputs()["failures"] == []


def test_a_report_that_cannot_be_written_after_an_up_leaves_its_result_in_the_state(
    demo: Project, sandbox: RunningSandbox
) -> None:
    folder = demo.folder / "reports"
    demo.configure(report=str(folder / "report.jsonl"))
    deletion = sandbox.add_fault({"hold": True}, method="DELETE", path="/images/", last=1)

    def put_in_the_way() -> None:
        if sandbox.has_fired(deletion):
            shutil.rmtree(folder)
            folder.write_text("in the way", encoding="utf-8")
        sandbox.clear_faults()

    with ThreadPoolExecutor(1) as beside:
        placed = beside.submit(put_in_the_way)
        output = demo.fail("up", "--yes", "--skip-preview")
    placed.result()
    assert re.search(
        r"its report is not there: .*/reports/report.jsonl: cannot be written: (File exists|Not a dir)", output
    )
    outputs = demo.outputs()
    assert len(outputs["deleted_images"]) == outputs["summary"]["images"] == 17
    assert outputs["failures"] == []
    folder.unlink()
    assert "2 unchanged" in demo.succeed("preview", "--expect-no-changes")
    demo.succeed("up", "--yes", "--skip-preview")
    assert demo.outputs()["summary"] == outputs["summary"]


def test_a_pull_spec_that_does_not_parse_is_an_error_and_with_ignore_invalid_refs_a_warning(
    demo: Project, sandbox: RunningSandbox
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "odd", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": "shop/Web::x"}]},
        "status": {"phase": "Running"},
    }
    assert sandbox.call("POST", "/api/v1/namespaces/shop/pods", pod).status == 201
    output = demo.fail("preview")
    assert "Pod shop/odd, container 'main': 'shop/Web::x'" in output
    demo.configure(ignore_invalid_refs="true")
    assert "ignored: Pod shop/odd" in demo.succeed("preview")
