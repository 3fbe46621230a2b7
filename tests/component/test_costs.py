"""What a plan costs, in counts that are the same on every machine: requests, bytes, objects, steps.

A guard against growing slower.
"""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest

from bench.clusters import NOW, Cluster, encoded
from pruner.analysis import analyse, find_usage
from pruner.analysis.prune import decide
from pruner.analysis.storage import idle_workloads, storage
from pruner.analysis.storage_steps import steps as storage_steps
from pruner.analysis.storage_steps import usage_for
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.images import compact, with_shared
from pruner.cluster.objects import ApiImage, ImageStream, Snapshot, TagEvent
from pruner.cluster.resources import WORKLOADS
from pruner.cluster.retirement import Marks, Retirement
from pruner.cluster.sizes import SizeClaims
from pruner.cluster.snapshot import take_snapshot
from pruner.cluster.workloads import Referrer, Workload
from pruner.console import plain_console
from pruner.explain import UnknownNameError
from pruner.explain_plan import explain_plan
from pruner.files import read_blocks
from pruner.plan import decode
from pruner.report.html import page
from pruner.report.jsonl import encode_report, read_report, read_touched
from pruner.report.markdown import markdown
from pruner.report.text import print_report
from pruner.settings import AnalysisSettings
from tests.pruning import plan, settings_for
from tests.servers import RunningSandbox


def test_a_plan_of_the_demo_cluster_asks_once_for_everything(sandbox: RunningSandbox) -> None:
    """One request for each list, API group, manifest to be measured;
    for the cluster's name, the Lease of runs and its namespace.
    """
    settings = settings_for(sandbox)
    sandbox.forget_requests()
    made = plan(settings)
    asked = [entry["path"].partition("?")[0] for entry in sandbox.requests() if entry["server"] == "api"]
    once = [path for path in asked if path != REVIEWS]
    assert sorted(once) == sorted(set(once))
    assert len(once) <= 24
    assert asked.count(REVIEWS) == 2
    # The registry refuses what is sent before it has given a token: at most as many requests as there are workers.
    answered = [entry for entry in sandbox.requests() if entry["server"] == "registry" and entry["status"] != 401]
    manifests = [entry["path"] for entry in answered if "/manifests/" in entry["path"]]
    assert len(manifests) == len(set(manifests)) <= sum(blob.kind == "manifest" for blob in made.blobs)
    assert len(answered) - len(manifests) <= 6


REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def test_the_bytes_of_a_snapshot_are_those_of_the_lists(sandbox: RunningSandbox) -> None:
    lists = sum(
        len(sandbox.call("GET", kind.path()).body)
        for kind in (*WORKLOADS,)
    )  # fmt: skip
    assert lists < _bytes_read(sandbox) < lists + 400_000


def _bytes_read(sandbox: RunningSandbox) -> int:
    read = 0

    async def take() -> None:
        nonlocal read
        async with Api(connect(settings_for(sandbox))) as api:
            original = api._http.request

            async def counted(*arguments: Any, **named: Any) -> Any:
                nonlocal read
                answer = await original(*arguments, **named)
                read += len(answer.body)
                return answer

            api._http.request = counted  # type: ignore[method-assign]
            await take_snapshot(api)

    asyncio.run(take())
    return read


def cluster(images: int) -> Snapshot:
    """A generated cluster, read the way a snapshot is."""
    lists = {
        path.rpartition("/")[2]: [body for _, body in encoded(objects)] for path, objects in Cluster(images).lists()
    }
    claims = SizeClaims()
    wires = (msgspec.json.decode(body, type=ApiImage) for body in lists["images"])
    found = tuple(compact(wires, claims))
    known = {image.name: image.name for image in found}
    events: dict[str, TagEvent] = {}
    return Snapshot(
        cluster="generated",
        as_of=NOW,
        images=found,
        streams=tuple(
            with_shared(msgspec.json.decode(body, type=ImageStream), known, events) for body in lists["imagestreams"]
        ),
        referrers=tuple(
            Referrer(kind.kind, msgspec.json.decode(body, type=Workload))
            for kind in WORKLOADS
            for body in lists.get(kind.plural, ())
        ),
        blob_sizes=claims.settled()[0],
    )


@pytest.fixture
def still() -> Iterator[None]:
    """No search for cycles while objects are counted."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("still")
def test_a_snapshot_keeps_few_bytes_for_an_image_with_its_revisions_and_users() -> None:
    """At 100,000 images 400 MB are allowed for all of a plan, the interpreter and its modules included."""
    cluster(10)
    tracemalloc.start()
    try:
        kept = cluster(1000)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept.images) == 1000
    assert size / 1000 < 2500


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("prune_registry", [False, True])
def test_an_analysis_keeps_few_objects_for_an_image(prune_registry: bool) -> None:
    found = cluster(1000)
    rules = AnalysisSettings(prune_registry=prune_registry)
    analyse(found, rules)
    before = sys.getallocatedblocks()
    analysis = analyse(found, rules)
    assert (sys.getallocatedblocks() - before) / 1000 < (8.5 if prune_registry else 7)
    assert analysis.plan.images


def calls_of(work: Callable[[], object]) -> int:
    """Calls, of Python's functions and of C's, that it makes."""
    count = 0

    def called(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def steps(images: int) -> int:
    """Calls that an analysis makes."""
    found, rules = cluster(images), AnalysisSettings()
    return calls_of(lambda: analyse(found, rules))


def test_an_analysis_makes_twice_as_many_steps_for_twice_the_cluster() -> None:
    steps(10)
    once, twice = steps(400), steps(800)
    assert 1.8 < twice / once < 2.1


def test_an_analysis_makes_few_steps_for_an_image_with_its_revisions_and_users() -> None:
    assert steps(400) / 400 < 95


def measured(found: Snapshot, rules: AnalysisSettings) -> object:
    """What `pruner storage` decides."""
    idle = idle_workloads(found.referrers)
    apart = find_usage(found, rules, sources_apart=True)
    decided = decide(found, rules, usage=usage_for(rules, apart))
    return storage_steps(found, rules, apart, decided, idle, storage(decided, found.blob_sizes, idle))


def test_what_keeps_the_registry_large_takes_five_times_the_steps_of_an_analysis() -> None:
    """It tries what each step would free. Of a whole plan, which reads its cluster first, that is as much again."""
    found, rules = cluster(400), AnalysisSettings(prune_registry=False)
    assert measured(found, rules)
    assert calls_of(lambda: measured(found, rules)) < 5.2 * calls_of(lambda: analyse(found, rules))


def test_retired_images_add_few_steps_to_an_analysis() -> None:
    found, rules, grace = cluster(400), AnalysisSettings(), AnalysisSettings(grace=timedelta(days=7))
    retired = {image.name: Retirement(NOW - timedelta(days=1)) for image in found.images}
    marked = msgspec.structs.replace(found, retired=retired)
    plan = analyse(marked, grace).plan
    assert len(plan.retired) > 100
    assert len(plan.needed_again) > 100
    without = calls_of(lambda: analyse(found, rules))
    assert calls_of(lambda: analyse(marked, grace)) - without < 4 * 400


@pytest.mark.usefixtures("still")
def test_a_record_keeps_few_bytes_for_its_image() -> None:
    """At 100,000 retired images 50 MB are allowed for all that they add to a plan."""
    made = Cluster(1000, removed=True, recorded=True)
    texts = {made.digests[number]: made._record(number) for number in range(1000) if made.retired(number)}
    Marks().take("", next(iter(texts.values())), None)
    tracemalloc.start()
    try:
        marks = Marks()
        for name, text in texts.items():
            marks.take(name, text, None)
        retired, _ = marks.believable(NOW)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(retired) == 400
    assert size / 400 < 320


def explained(path: Path) -> None:
    with pytest.raises(UnknownNameError):
        explain_plan(path, f"sha256:{'0' * 64}")


REPORTS: Mapping[str, Callable[[Path], object]] = {
    "plan": lambda path: decode(read_blocks(path), "plan"),
    "read": read_report,
    "touched": read_touched,
    "text": lambda path: print_report(read_touched(path), plain_console(file=io.StringIO(), width=160)),
    "html": lambda path: page(read_report(path)),
    "markdown": lambda path: markdown(read_touched(path)),
    "explained stream": lambda path: explain_plan(path, "team-0000/app-00000"),
    "explained digest": explained,
}


@pytest.mark.parametrize(
    ("form", "most"),
    [
        ("plan", 20),
        ("read", 20),
        ("touched", 20),
        ("text", 310),
        ("html", 285),
        ("markdown", 72),
        ("explained stream", 40),
        ("explained digest", 5),
    ],
)
def test_a_report_of_a_file_makes_few_steps_for_an_image_and_no_more_in_a_larger_one(
    form: str, most: int, tmp_path: Path
) -> None:
    steps_by_size = {}
    for images in (200, 400, 800):
        path = tmp_path / f"{images}.jsonl"
        path.write_bytes(b"".join(encode_report(analyse(cluster(images), AnalysisSettings()))))
        steps_by_size[images] = calls_of(partial(REPORTS[form], path))
    assert steps_by_size[800] / steps_by_size[400] < 2.1
    assert steps_by_size[800] / 800 < most
