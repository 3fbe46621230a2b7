"""A run against the sandbox: what it does, in which order, and what it leaves alone."""

from __future__ import annotations

import asyncio
import re
from email.utils import parsedate_to_datetime

import pytest

from pruner.apply import Result
from pruner.errors import ForbiddenError, UnsafePlanError
from tests.pruning import applied, broken_images, end_state, plan, planned, prune, settings_for
from tests.servers import RunningSandbox


def writes(sandbox: RunningSandbox) -> list[tuple[str, str]]:
    """Method and path of everything but reads and reviews, in order."""
    return [
        (entry["method"], entry["path"].partition("?")[0])
        for entry in sandbox.requests()
        if entry["method"] in ("PUT", "DELETE", "POST", "PATCH") and "/authorization.k8s.io/" not in entry["path"]
    ]


def test_a_run_deletes_what_was_planned_and_nothing_else(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox)
    wanted, before, disk = plan(settings), set(sandbox.images()), sandbox.disk()["blob_bytes"]
    result = prune(settings)
    assert result.failures == []
    assert result.skipped == []
    assert before - set(sandbox.images()) == {image.name for image in wanted.images}
    assert disk - sandbox.disk()["blob_bytes"] == wanted.summary.bytes == result.summary.bytes
    assert broken_images(sandbox) == []


def test_planning_again_after_a_run_gives_an_empty_plan_P3(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox)
    prune(settings)
    assert plan(settings).empty


def test_a_stream_is_updated_before_its_links_go_and_images_after_all_blobs_R28(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox, workers=1)
    sandbox.forget_requests()
    prune(settings)
    order = [kind_of(*write) for write in writes(sandbox) if kind_of(*write)]
    first_blob = order.index("blob")
    assert "status" not in order[first_blob:]
    assert "link" not in order[first_blob:]
    updates = [write for write in writes(sandbox) if write[0] == "PUT" and write[1].endswith("/status")]
    assert updates
    first_links = {}
    for _, path in updates:
        stream = "/".join(re.findall(r"namespaces/([^/]+)/imagestreams/([^/]+)/", path)[0])
        links = [at for at, write in enumerate(writes(sandbox)) if write[1].startswith(f"/v2/{stream}/")]
        if links:
            first_links[path] = min(links)
    # A stream whose images others name too has no links to delete.
    assert first_links
    assert [path for path, link in first_links.items() if link < writes(sandbox).index(("PUT", path))] == []


def kind_of(method: str, path: str) -> str | None:
    for kind, wanted, pattern in (
        ("status", "PUT", "/imagestreams/.*/status$"),
        ("link", "DELETE", "^/v2/"),
        ("blob", "DELETE", "^/admin/blobs/"),
        ("image", "DELETE", "/images/"),
    ):
        if method == wanted and re.search(pattern, path):
            return kind
    return None


def test_a_conflict_is_read_and_decided_anew_R28(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 409}, method="PUT", path="/imagestreams/web/status", last=2)
    settings = settings_for(sandbox)
    assert prune(settings).failures == []
    assert plan(settings).empty


def test_a_stream_whose_update_fails_keeps_its_images_and_blobs_R28(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 422}, method="PUT", path="/namespaces/shop/imagestreams/web/status")
    before = sandbox.history("shop/web:latest")
    result = prune(settings_for(sandbox))
    assert [failure.what for failure in result.failures] == ["image stream shop/web"]
    assert sandbox.history("shop/web:latest") == before
    assert set(before) <= set(sandbox.images())
    assert broken_images(sandbox) == []


def test_an_image_whose_blob_could_not_be_deleted_stays_and_the_next_run_finishes_it_R28(
    sandbox: RunningSandbox,
) -> None:
    settings = settings_for(sandbox)
    wanted = plan(settings)
    sandbox.add_fault({"status": 403}, method="DELETE", path="/admin/blobs", server="registry", last=1)
    result = prune(settings)
    assert result.failures
    assert len(result.deleted_images) < len(wanted.images)
    sandbox.clear_faults()
    assert prune(settings).failures == []
    assert plan(settings).empty


def test_a_stream_that_is_gone_by_then_is_no_error_R28(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox)
    wanted = plan(settings)
    sandbox.call("DELETE", "/apis/image.openshift.io/v1/namespaces/blog/imagestreams/site")
    result = asyncio.run(applied(settings, wanted))
    assert result.failures == []
    assert any("blog/site" in skipped.what for skipped in result.skipped)


def test_an_image_that_is_there_by_now_keeps_its_revision_R19(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox)
    wanted = plan(settings)
    absent = next(item for change in wanted.streams for item in change.revisions if item.reason.rule == "R19")
    image = {
        "apiVersion": "image.openshift.io/v1",
        "kind": "Image",
        "metadata": {"name": absent.image},
        "dockerImageReference": f"quay.example/mirror/redis@{absent.image}",
    }
    assert sandbox.call("POST", "/apis/image.openshift.io/v1/images", image).status == 201
    result = asyncio.run(applied(settings, wanted))
    assert absent.image in sandbox.history("mirror/redis:7")
    assert any(absent.image in skipped.what for skipped in result.skipped)


def test_a_new_user_between_plan_and_run_is_respected_and_reported(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox)
    wanted = plan(settings)
    digest = next(item.image for change in wanted.streams for item in change.revisions if change.stream == "shop/web")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "late", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": f"{sandbox.registry_host}/shop/web@{digest}"}]},
        "status": {"phase": "Running"},
    }
    assert sandbox.call("POST", "/api/v1/namespaces/shop/pods", pod).status == 201
    result = asyncio.run(applied(settings, wanted))
    assert digest in sandbox.images()
    assert any(digest in skipped.what and "Pod shop/late" in skipped.why for skipped in result.skipped)
    assert broken_images(sandbox) == []


def test_what_was_not_in_the_plan_is_not_deleted(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox)
    wanted = plan(settings)
    sandbox.call("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api")
    before = set(sandbox.images())
    asyncio.run(applied(settings, wanted))
    assert before - set(sandbox.images()) <= {image.name for image in wanted.images}
    assert not plan(settings).empty


def test_the_plan_of_another_cluster_is_refused(sandbox: RunningSandbox, empty_sandbox: RunningSandbox) -> None:
    wanted = plan(settings_for(sandbox))
    with pytest.raises(UnsafePlanError, match="the plan is of cluster"):
        asyncio.run(applied(settings_for(empty_sandbox), wanted))


def test_a_missing_right_is_found_before_anything_is_changed(sandbox: RunningSandbox) -> None:
    wanted, before = plan(settings_for(sandbox)), end_state(sandbox)
    with pytest.raises(ForbiddenError, match="imagestreams/status"):
        asyncio.run(applied(settings_for(sandbox, "viewer"), wanted))
    assert end_state(sandbox) == before


def test_the_smallest_rights_suffice(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox, "pruner")
    assert prune(settings).failures == []
    assert plan(settings).empty


def test_failures_in_a_row_stop_the_run(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 403}, method="DELETE", path="/admin/blobs", server="registry")
    result = prune(settings_for(sandbox, workers=1))
    assert any("failures in a row" in failure.why for failure in result.failures)
    assert result.deleted_images == []


def test_what_was_done_is_in_the_result_when_the_cluster_cannot_be_read_any_more(sandbox: RunningSandbox) -> None:
    # Images are listed for the plan, before the streams are updated, and once more before the images go.
    sandbox.add_fault({"status": 403}, method="GET", path="/images[?]", first=3)
    result = prune(settings_for(sandbox))
    assert len(result.updated_image_streams) == 6
    assert result.deleted_images == []
    assert [failure.what for failure in result.failures] == ["the rest of the plan"]
    assert "no permission to list images" in result.failures[0].why
    sandbox.clear_faults()
    prune(settings_for(sandbox))
    assert plan(settings_for(sandbox)).empty


def test_a_wish_to_stop_is_heard_and_the_next_run_goes_on(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox, workers=1)

    def stop_after_some_deletions() -> bool:
        return len(sandbox.requests(method="DELETE")) > 20

    async def stopped() -> Result:
        return await applied(settings, await planned(settings), stop_after_some_deletions)

    result = asyncio.run(stopped())
    assert "interrupted" in str(result.failures[-1].why)
    assert prune(settings).failures == []
    assert plan(settings).empty


def test_only_one_run_is_at_work_on_a_cluster(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox)
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "pruner", "namespace": "default"},
        "spec": {"holderIdentity": "other/1/a", "leaseDurationSeconds": 60, "renewTime": now(sandbox)},
    }
    assert sandbox.call("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", lease).status == 201
    wanted, before = plan(settings), end_state(sandbox)
    with pytest.raises(UnsafePlanError, match=r"other/1/a"):
        asyncio.run(applied(settings, wanted))
    assert end_state(sandbox) == before
    sandbox.advance_clock(120)
    assert asyncio.run(applied(settings, wanted)).failures == []


def test_run_that_may_not_look_at_the_registrys_namespace_meets_the_others_in_it(sandbox: RunningSandbox) -> None:
    space = "openshift-image-registry"
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "pruner", "namespace": space},
        "spec": {"holderIdentity": "other/1/a", "leaseDurationSeconds": 60, "renewTime": now(sandbox)},
    }
    assert sandbox.call("POST", "/api/v1/namespaces", {"metadata": {"name": space}}).status == 201
    assert sandbox.call("POST", f"/apis/coordination.k8s.io/v1/namespaces/{space}/leases", lease).status == 201
    sandbox.add_fault({"status": 403}, method="GET", path=f"/api/v1/namespaces/{space}$")
    settings = settings_for(sandbox)
    with pytest.raises(UnsafePlanError, match=r"other/1/a"):
        asyncio.run(applied(settings, plan(settings)))


def now(sandbox: RunningSandbox) -> str:
    headers = sandbox.call("GET", "/version").headers
    return parsedate_to_datetime(str(headers["Date"])).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def test_the_lease_is_released_at_the_end(sandbox: RunningSandbox) -> None:
    prune(settings_for(sandbox))
    lease = sandbox.get("/apis/coordination.k8s.io/v1/namespaces/default/leases/pruner")
    assert lease["spec"]["holderIdentity"] == ""


def test_without_the_right_to_leases_a_run_goes_on_with_a_warning(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 403}, path="/coordination.k8s.io/v1/namespaces")
    settings, warnings = settings_for(sandbox), list[str]()
    result = asyncio.run(applied(settings, plan(settings), warnings=warnings))
    assert result.failures == []
    assert "not kept apart" in warnings[0]


def test_without_the_right_to_watch_the_cluster_is_read_again(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 403}, path="watch=true")
    settings = settings_for(sandbox)
    assert prune(settings).failures == []
    assert plan(settings).empty
