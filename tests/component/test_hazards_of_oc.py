"""Where `oc adm prune images` is not to be followed: each
hazard of docs/rules.md by name, and what happens here instead.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from pruner.errors import ForbiddenError
from pruner.http.client import Timeouts
from sandbox.builder import noise
from tests.pruning import applied, broken_images, end_state, plan, prune, settings_for
from tests.servers import RunningSandbox


def revisions_of(sandbox: RunningSandbox, count: int = 5) -> list[str]:
    """Push revisions of team/app:latest, oldest first."""

    async def push() -> list[str]:
        async with sandbox.builder() as cluster:
            return [
                await cluster.push(
                    "team/app:latest", layers=[noise("base", 9000), noise(f"app {n}", 2000)], age_days=99 - n
                )
                for n in range(count)
            ]

    return asyncio.run(push())


def test_a_failed_status_update_does_not_lead_to_deleting_what_the_stream_still_names(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 500}, method="PUT", path="/imagestreams/web/status")
    named = set(sandbox.history("shop/web:latest"))
    prune(settings_for(sandbox))
    assert named == set(sandbox.history("shop/web:latest"))
    assert named <= set(sandbox.images())
    assert broken_images(sandbox) == []


def test_a_404_on_the_update_is_no_crash(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 404}, method="PUT", path="/imagestreams/web/status")
    result = prune(settings_for(sandbox))
    assert result.failures == []
    assert any(skipped.what == "image stream shop/web" for skipped in result.skipped)


@pytest.mark.parametrize("kind", ["deployments", "daemonsets", "replicasets"])
def test_a_403_on_workloads_ends_the_run_instead_of_unprotecting_their_images(
    sandbox: RunningSandbox, kind: str
) -> None:
    sandbox.add_fault({"status": 403}, method="GET", path=f"/{kind}[?]")
    before = end_state(sandbox)
    with pytest.raises(ForbiddenError, match=f"list {kind}.apps"):
        prune(settings_for(sandbox))
    assert end_state(sandbox) == before


def test_with_a_namespace_the_workloads_of_all_others_protect_too(empty_sandbox: RunningSandbox) -> None:
    oldest = revisions_of(empty_sandbox)[0]

    async def use() -> None:
        async with empty_sandbox.builder() as cluster:
            await cluster.pod("elsewhere/user", cluster.pull_spec(f"team/app@{oldest}"), age_days=9)

    asyncio.run(use())
    result = prune(settings_for(empty_sandbox, namespace="team"))
    assert oldest in empty_sandbox.history("team/app:latest")
    assert oldest in empty_sandbox.images()
    assert result.removed_revisions == 1


def test_an_over_size_run_leaves_young_images_that_no_stream_names_yet(empty_sandbox: RunningSandbox) -> None:
    revisions_of(empty_sandbox)

    async def push_a_member_whose_index_is_still_to_come() -> str:
        async with empty_sandbox.builder() as cluster:
            await cluster.pod("team/user", cluster.pull_spec("team/app:latest"), age_days=9)
            await cluster.limit_range("team/limits", "1Ki")
            return await cluster.push("team/app", layers=[noise("young", 3000)])

    young = asyncio.run(push_a_member_whose_index_is_still_to_come())
    result = prune(settings_for(empty_sandbox, prune_over_size_limit=True))
    assert young in empty_sandbox.images()
    assert result.removed_revisions == 4


def test_an_item_newer_than_the_list_of_images_is_not_dropped(sandbox: RunningSandbox) -> None:
    settings = settings_for(sandbox, keep_younger_than=0, keep_tag_revisions=0)
    wanted = plan(settings)
    missing = next(item.image for change in wanted.streams for item in change.revisions if item.reason.rule == "R19")
    image = {"apiVersion": "image.openshift.io/v1", "kind": "Image", "metadata": {"name": missing}}
    sandbox.call("POST", "/apis/image.openshift.io/v1/images", image)
    # The list still lacks it, as one that was read before it came.
    asyncio.run(applied(settings_for(sandbox, as_of=wanted.as_of.isoformat()), wanted))
    assert missing in sandbox.images()


def test_registry_calls_have_a_timeout(sandbox: RunningSandbox) -> None:
    wanted = plan(settings_for(sandbox))
    sandbox.add_fault({"hang": True}, method="DELETE", server="registry")
    result = asyncio.run(applied(settings_for(sandbox), wanted, timeouts=Timeouts(connect=2, read=2)))
    assert any("timed out waiting for a response" in failure.why for failure in result.failures)
    assert broken_images(sandbox) == []


def test_layer_links_go_after_the_update_and_not_when_it_fails(sandbox: RunningSandbox) -> None:
    sandbox.add_fault({"status": 422}, method="PUT", path="/imagestreams/web/status")
    sandbox.forget_requests()
    prune(settings_for(sandbox))
    deleted = [entry["path"] for entry in sandbox.requests() if entry["method"] == "DELETE"]
    assert not [path for path in deleted if path.startswith("/v2/shop/web/")]


def test_an_image_object_stays_when_a_blob_of_it_could_not_be_deleted(sandbox: RunningSandbox) -> None:
    wanted = plan(settings_for(sandbox))
    kept = next(image for image in wanted.images if image.blobs)
    sandbox.add_fault({"status": 403}, method="DELETE", path=f"/admin/blobs/{kept.blobs[0]}", server="registry")
    prune(settings_for(sandbox))
    assert kept.name in sandbox.images()
    sandbox.clear_faults()
    prune(settings_for(sandbox))
    assert kept.name not in sandbox.images()


def test_what_survives_can_be_pulled_whole_by_a_real_client(sandbox: RunningSandbox, tmp_path: Path) -> None:
    sandbox.add_fault({"status": 403}, method="DELETE", server="registry", every=3)
    prune(settings_for(sandbox))
    sandbox.clear_faults()
    prune(settings_for(sandbox))
    pulled = 0
    for namespace, name in (
        ("shop", "web"),
        ("shop", "api"),
        ("blog", "site"),
        ("data", "collector"),
        ("data", "query"),
    ):
        stream = sandbox.get(f"/apis/image.openshift.io/v1/namespaces/{namespace}/imagestreams/{name}")
        for digest in {item["image"] for tag in stream["status"]["tags"] for item in tag.get("items") or ()}:
            source = f"docker://{sandbox.registry_host}/{namespace}/{name}@{digest}"
            command = [
                "skopeo",
                "copy",
                "--all",
                "--quiet",
                "--src-tls-verify=false",
                "--src-creds",
                "any:sandbox-admin-token",
            ]
            subprocess.run([*command, source, f"dir:{tmp_path / digest[7:19]}"], check=True, timeout=60)
            pulled += 1
    assert pulled > 15
