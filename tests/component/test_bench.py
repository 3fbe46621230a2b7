"""The benchmarks: that their server answers as a real one, that each
group has its section, and that docs/bench.md is what was measured.
"""

from __future__ import annotations

import asyncio

import pytest

from bench import document
from bench.groups import groups
from bench.processes import ask, served
from pruner.cluster.session import session
from pruner.plan import PrunePlan
from pruner.planning import make_plan
from pruner.settings import read
from tests.servers import ROOT


@pytest.mark.parametrize("compressed", [0, 1])
def test_a_plan_can_be_made_with_the_server_of_the_benchmarks(compressed: int) -> None:
    """It has a clock, discovery, lists and a registry that are believed, and each list is read once."""

    async def planned(url: str) -> PrunePlan:
        settings = read({"host": url, "api_key": "bench", "registry_url": url}, environ={})
        async with session(settings) as api:
            return (await make_plan(api, settings)).plan

    with served(600) as server:
        url = server["url"]
        ask(f"{url}/bench/set?pace=0&gzip={compressed}")
        ask(f"{url}/bench/counts")
        plan = asyncio.run(planned(url))
        counted = ask(f"{url}/bench/counts")
    assert len(plan.images) > 100
    assert plan.registry is not None
    assert plan.registry.deletes_blobs
    manifests = sum(blob.kind == "manifest" for blob in plan.blobs)
    pages = 1 + sum(count > 500 for count, _ in server["lists"].values())
    assert counted["requests"] <= manifests + len(server["lists"]) + pages + 11
    sizes = sum(size for _, size in server["lists"].values())
    assert counted["bytes"] < (sizes if not compressed else sizes / 2) + 20_000


def test_every_group_has_its_place() -> None:
    found = groups()
    assert {"apply", "people", "plan"} <= set(found)
    orders = [group.ORDER for group in found.values()]
    assert orders == sorted(set(orders))
    assert all(group.TITLE for group in found.values())


def test_the_page_says_what_was_measured_and_nothing_else() -> None:
    written = (ROOT / "docs/bench.md").read_text(encoding="utf-8")
    assert written == document.text(document.read(ROOT / "docs"))
