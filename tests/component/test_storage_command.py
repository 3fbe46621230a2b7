"""`pruner storage` as a process, on the demo cluster."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from sandbox.builder import Builder
from tests.component.test_report_commands import READS, REVIEWS, pruner
from tests.pruning import plan, settings_for
from tests.servers import RunningSandbox


async def scale_to_zero(sandbox: RunningSandbox) -> None:
    """A ReplicaSet without pods that refers to a revision which would be pruned."""
    old = sandbox.history("data/etl:nightly")[4]
    async with sandbox.builder() as cluster:
        await add(cluster, old)


async def add(cluster: Builder, old: str) -> None:
    await cluster.workload("ReplicaSet", "data/etl-old", cluster.pull_spec(f"data/etl@{old}"), replicas=0, age_days=90)


def answered(sandbox: RunningSandbox, *arguments: str | Path) -> str:
    done = pruner("storage", "--host", sandbox.api_url, *arguments, token=sandbox.tokens["admin"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_storage_says_what_is_kept_by_what_and_only_reads(sandbox: RunningSandbox, tmp_path: Path) -> None:
    asyncio.run(scale_to_zero(sandbox))
    promised = plan(settings_for(sandbox)).summary
    sandbox.forget_requests()
    found = json.loads(answered(sandbox, "--json"))
    assert 0 < found["bytes"] < sandbox.disk()["blob_bytes"]
    kept_by = {each["why"]: each for each in found["kept_by"]}
    (held,) = [each for each in found["kept_by"] if (each["type"], each.get("kind")) == ("idle", "ReplicaSet")]
    assert held["alone"] > 0
    assert held["why"].endswith("scaled to zero")
    assert kept_by["current images of tags nobody refers to"]["bytes"] > 0
    # The plan asks the registry for the sizes of manifests; these are small, and not known here.
    assert 0 < kept_by["nothing: the next run prunes it"]["alone"] <= promised.bytes
    (step,) = [each for each in found["steps"] if each.get("kind") == "ReplicaSet"]
    assert step["images"] == held["images"] > 0
    assert step["bytes"] == held["alone"]
    written = [request for request in sandbox.requests() if request["method"] not in READS]
    assert [request for request in written if not request["path"].startswith(REVIEWS)] == []
    assert sandbox.requests(server="registry") == []

    text = answered(sandbox)
    assert held["why"] in text
    assert "What one step would free" in text
    file = tmp_path / "storage.html"
    assert answered(sandbox, "--format", "html", "--output", file) == ""
    assert held["why"] in file.read_text(encoding="utf-8").replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_a_cluster_that_cannot_be_read_is_one_line(sandbox: RunningSandbox) -> None:
    done = pruner("storage", "--host", sandbox.api_url, token=sandbox.tokens["nobody"])
    assert done.returncode == 1
    assert "no permission to list images.image.openshift.io" in done.stderr
    assert done.stdout == ""


def test_the_page_of_a_report_holds_what_storage_says_of_the_same_cluster(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    stored, planned, html = tmp_path / "storage.json", tmp_path / "plan.jsonl", tmp_path / "report.html"
    kept_by = json.loads(answered(sandbox, "--json"))["kept_by"]
    answered(sandbox, "--json", "--output", stored)
    arguments = ("plan", "--host", sandbox.api_url, "--out", planned, "--format", "html", "--storage", stored)
    done = pruner(*arguments, "--output", html, token=sandbox.tokens["admin"])
    assert done.returncode == 0, done.stderr
    assert len(kept_by) > 3
    shown = html.read_text(encoding="utf-8")
    assert [each["why"] for each in kept_by if each["why"] not in shown] == []

    refused = pruner("report", planned, "--storage", stored)
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (2, "Error: --storage is for --format html")
    other = json.loads(stored.read_text(encoding="utf-8")) | {"cluster": "another"}
    stored.write_text(json.dumps(other), encoding="utf-8")
    refused = pruner("report", planned, "--format", "html", "--storage", stored)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: {stored}: is of cluster another, and the plan is of ")
