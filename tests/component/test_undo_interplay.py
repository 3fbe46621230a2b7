"""Retirement beside other pruners, the history of use, the references of oc, and nested indexes (R36, R37)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pruner.restore import NotRetiredError
from pruner.settings import Settings
from tests.component.conftest import SavedCluster
from tests.component.small_servers import served
from tests.component.test_usage_history_faults import BEGINS, metric, prometheus, vector
from tests.pruning import bring_back, broken_images, plan, prune, records, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox
from tests.small_clusters import settings_of

LATER = 120
"""Seconds: longer than the grace period."""


def settings(sandbox: RunningSandbox, **more: Any) -> Settings:
    return settings_for(sandbox, **{**settings_of("undo"), **more})


def test_R36_what_oc_adm_prune_images_deletes_is_gone_and_stops_nothing(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        given = settings(sandbox)
        run = plan(given).fingerprint
        prune(given)
        (tagged,) = (
            name
            for name, record in records(sandbox).items()
            if [each["tag"] for each in record.get("revisions", [])] == ["pr-1"]
        )
        # Nothing names or uses it, so the other pruner takes it, and knows nothing of the grace period.
        assert sandbox.call("DELETE", f"/apis/image.openshift.io/v1/images/{tagged}").status == 200
        with pytest.raises(NotRetiredError, match="it was deleted, or never was in this cluster"):
            bring_back(given, tagged)
        with pytest.raises(NotRetiredError, match="none of its revisions is retired: they were deleted"):
            bring_back(given, "shop/app:pr-1")
        found = bring_back(given, run=run)
        assert found.complete
        assert "shop/app:pr-1" not in {row.tag for row in found.rows}
        sandbox.advance_clock(LATER)
        assert prune(settings(sandbox, grace=10)).failures == []
        assert broken_images(sandbox) == []


def test_R36_what_ran_within_the_history_is_kept_and_not_retired(saved_cluster: SavedCluster, tmp_path: Path) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        given = settings(sandbox)
        first = {image.name for image in plan(given).retired}
        ran = sandbox.history("shop/lib:v1")[1]
        assert ran in first
        with served(prometheus(vector(metric(image_id=f"registry/shop/lib@{ran}"), BEGINS))) as url:
            used = settings(sandbox, keep_used_within="30d", usage_history={"url": url})
            assert {image.name for image in plan(used).retired} == first - {ran}
            # Retired before anybody asked for the history: it is used, so it loses its record, and stays.
            prune(given)
            assert ran in records(sandbox)
            again = plan(used)
            assert [each.name for each in again.needed_again] == [ran]
            sandbox.advance_clock(LATER)
            assert prune(used).failures == []
        assert first & sandbox.images().keys() == {ran}
        assert not records(sandbox)


def test_R36_with_the_references_of_oc_images_are_retired_and_restored_too(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        given = settings(sandbox, references="oc", retention=[])
        before, first = set(sandbox.images()), plan(given)
        run = first.fingerprint
        assert first.retired
        assert not first.images
        assert prune(given).failures == []
        assert set(sandbox.images()) == before
        assert plan(given).empty
        assert bring_back(given, run=run).complete
        assert broken_images(sandbox) == []
        # What was restored is safe with these references as well, and then retired again.
        assert plan(given).empty
        sandbox.advance_clock(LATER)
        assert plan(given).retired


def test_R37_an_index_in_an_index_comes_back_with_the_members_of_both(
    saved_cluster: SavedCluster, tmp_path: Path
) -> None:
    async def push(sandbox: RunningSandbox) -> list[str]:
        async with sandbox.builder() as cluster:
            member = await cluster.push("shop/nested", layers=[b"member"], age_days=60)
            inner = await cluster.push_index("shop/nested", [member], age_days=50)
            outer = await cluster.push_index("shop/nested:latest", [inner], age_days=40)
            await cluster.push("shop/nested:latest", layers=[b"new"], age_days=20)
            return [member, inner, outer]

    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        whole = asyncio.run(push(sandbox))
        given = settings(sandbox)
        assert {image.name for image in plan(given).retired} >= set(whole)
        prune(given)
        assert records(sandbox).keys() >= set(whole)
        found = bring_back(given, whole[-1])
        assert [(row.tag, row.position) for row in found.rows] == [("shop/nested:latest", 1)]
        assert not records(sandbox).keys() & set(whole)
        assert broken_images(sandbox) == []
        sandbox.advance_clock(LATER)
        assert prune(settings(sandbox, grace=10)).failures == []
        # The restoration protected it for a minute; it is retired again, and nothing of it was deleted.
        assert records(sandbox).keys() >= set(whole)
