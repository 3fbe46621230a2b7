"""What keeps the registry large: every byte counts once, for
what keeps it, and steps say what a plan with them would free.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from pruner.analysis import analyse, find_usage
from pruner.analysis.blobs import blobs_of
from pruner.analysis.prune import decide
from pruner.analysis.storage import (
    RANKS,
    Cause,
    HeldByIdle,
    KeptBy,
    NobodyRefers,
    Prunable,
    Storage,
    UsedBy,
    idle_workloads,
    order,
    storage,
)
from pruner.analysis.storage_steps import DeleteIdle, SetTo, Step, steps, usage_for
from pruner.cli.output import json_text
from pruner.cluster.objects import Snapshot, TagEvent
from pruner.cluster.retirement import Retirement
from pruner.cluster.workloads import Referrer
from pruner.console import plain_console
from pruner.errors import PrunerError
from pruner.reasons import AmongNewest, Protected, RevisionTooYoung, in_general
from pruner.report import Report
from pruner.report.html import page as page_of_report
from pruner.report.storage import ShownStorage, StorageReport, as_json, page, print_storage, read_storage, said
from pruner.settings import AnalysisSettings
from tests.builders.clusters import Cluster, clusters, retention_settings, tagged_clusters
from tests.builders.objects import (
    HOST,
    NOW,
    A,
    B,
    C,
    D,
    E,
    F,
    build,
    controller,
    deployment,
    digest,
    from_,
    image,
    image_stream,
    index,
    item,
    pod,
    rules,
    snapshot,
)
from tests.hostile import MARKUP

BASE, OF_A, OF_B, OF_C, OF_D = (digest(f"layer {name}") for name in ("base", "a", "b", "c", "d"))
SIZES = {BASE: 1000, OF_A: 10, OF_B: 20, OF_C: 30, OF_D: 40}


def scaled(referrer: Referrer, replicas: int) -> Referrer:
    assert referrer.workload.spec is not None
    spec = msgspec.structs.replace(referrer.workload.spec, replicas=replicas)
    return msgspec.structs.replace(referrer, workload=msgspec.structs.replace(referrer.workload, spec=spec))


def replica_set(name: str, replicas: int, image: str) -> Referrer:
    return scaled(controller("ReplicaSet", name, f"{HOST}/shop/web@{image}"), replicas)


def measured(found: Snapshot, asked: AnalysisSettings) -> tuple[Storage, tuple[Step, ...]]:
    idle = idle_workloads(found.referrers)
    apart = find_usage(found, asked, sources_apart=True)
    decided = decide(found, asked, usage=usage_for(asked, apart))
    result = storage(decided, found.blob_sizes, idle)
    return result, steps(found, asked, apart, decided, idle, result)


def causes(found: Storage) -> dict[Cause, tuple[int, int, int, int]]:
    return {cause: msgspec.structs.astuple(each) for cause, each in found.causes}


def stored_blobs(found: Snapshot) -> set[str]:
    return {blob for each in found.images if each.managed for blob in blobs_of(each)}


# --- what keeps what -------------------------------------------------------------------------------------------------


def test_a_shared_layer_counts_once_and_is_divided_equally_among_streams() -> None:
    found, _ = measured(
        snapshot(
            image(A, layers=[BASE, OF_A]),
            image(B, layers=[BASE, OF_B]),
            image(C, layers=[BASE, OF_C]),
            image_stream("shop/web", latest=[A, B]),
            image_stream("data/etl", latest=[C]),
            deployment("shop/web", f"{HOST}/shop/web:latest", f"{HOST}/shop/web@{B}", f"{HOST}/data/etl:latest"),
            blob_sizes=SIZES,
        ),
        rules(),
    )
    assert found.bytes == 1060
    assert {name: (each.bytes, each.alone) for name, each in found.streams} == {
        "shop/web": (530, 30),
        "data/etl": (530, 30),
    }
    assert {name: each.bytes for name, each in found.namespaces} == {"shop": 530, "data": 530}
    assert causes(found) == {UsedBy("Deployment"): (3, 1, 1060, 1060)}


def test_what_only_replica_sets_scaled_to_zero_use_is_kept_by_these() -> None:
    found, tried = measured(
        snapshot(
            image(A, layers=[OF_A]),
            image(B, layers=[OF_B]),
            image(C, layers=[OF_C]),
            image_stream("shop/web", latest=[A, B, C]),
            deployment("shop/web", f"{HOST}/shop/web:latest"),
            replica_set("shop/web-1", 1, A),
            replica_set("shop/web-2", 0, A),
            replica_set("shop/web-3", 0, B),
            replica_set("shop/web-4", 0, C),
            replica_set("shop/web-5", 0, C),
            blob_sizes=SIZES,
        ),
        rules(),
    )
    assert causes(found) == {UsedBy("Deployment"): (1, 1, 10, 10), HeldByIdle("ReplicaSet"): (2, 3, 50, 50)}
    assert said(HeldByIdle("ReplicaSet"), 412) == "kept by 412 ReplicaSets scaled to zero"
    assert Step(DeleteIdle("ReplicaSet", 4), 2, 50) in tried


def test_the_current_image_of_a_tag_that_nothing_refers_to_is_told_from_older_revisions() -> None:
    found, tried = measured(
        snapshot(
            image(A, layers=[OF_A]),
            image(B, layers=[OF_B]),
            image(C, layers=[OF_C]),
            image_stream("shop/web", latest=[A, B], old=[C]),
            deployment("shop/web", f"{HOST}/shop/web:latest"),
            blob_sizes=SIZES,
        ),
        rules(revisions=3),
    )
    older = next(cause for cause in causes(found) if isinstance(cause, KeptBy))
    assert causes(found) == {
        UsedBy("Deployment"): (1, 1, 10, 10),
        KeptBy("R16", AmongNewest(1, 3)): (1, 0, 20, 20),
        NobodyRefers(): (1, 0, 30, 30),
    }
    assert said(older, 0) == "among the newest 3 of its tag"
    assert said(NobodyRefers(), 0) == "current images of tags nobody refers to"
    expire = next(step for step in tried if step.change == SetTo("retention", "", "30d"))
    assert (expire.images, expire.bytes) == (2, 50)


def test_what_is_protected_and_idle_counts_as_protected() -> None:
    found, _ = measured(
        snapshot(
            image(A, layers=[OF_A]),
            image_stream("shop/web", latest=[A]),
            replica_set("shop/web-1", 0, A),
            blob_sizes=SIZES,
        ),
        rules(protect=("shop/*",)),
    )
    assert [(type(cause), each.bytes) for cause, each in found.causes] == [(HeldByIdle, 10)]
    found, _ = measured(
        snapshot(image(A, layers=[OF_A]), image_stream("shop/web", latest=[A]), blob_sizes=SIZES),
        rules(protect=("shop/*",)),
    )
    assert [cause for cause, _ in found.causes] == [KeptBy("R18", Protected("shop/*"))]


def test_what_is_hardest_to_give_up_is_what_keeps_an_image() -> None:
    """Each of these keeps it beside those that follow, which are easier to give up."""
    young, old, newest = item(A, 5), item(A), item(B)
    tags: dict[str, list[TagEvent]] = {"used": [old], "safe": [newest, newest, old], "idle": [old]}
    users = [deployment("shop/web", f"{HOST}/shop/web:used"), scaled(deployment("shop/x", f"{HOST}/shop/web:idle"), 0)]
    more: list[tuple[dict[str, list[TagEvent]], list[Referrer], Cause]] = [
        ({}, users, UsedBy("Deployment")),
        ({}, users[1:], KeptBy("R18", Protected("shop/web:safe"))),
        ({"safe": []}, users[1:], HeldByIdle("Deployment")),
        ({"safe": [], "used": [newest, old], "idle": [old]}, [], KeptBy("R16", AmongNewest(1, 2))),
        ({"safe": [], "used": [], "idle": [old, newest]}, [], NobodyRefers()),
        ({"safe": [], "used": [newest, newest, young], "idle": []}, [], KeptBy("R14", RevisionTooYoung(60))),
    ]
    assert len(more) == len(RANKS)
    for changed, workloads, cause in more:
        of_young = {"young": [newest, newest, young]}
        found, _ = measured(
            snapshot(
                image(A, layers=[OF_A]),
                image_stream("shop/web", {**tags, **changed, **of_young}),
                *workloads,
                blob_sizes=SIZES,
            ),
            rules(revisions=2, protect=("shop/web:safe",)),
        )
        assert [each for each, _ in found.causes] == [cause]


def test_what_nothing_keeps_belongs_to_the_image_stream_that_names_it_and_else_to_its_repository() -> None:
    found, _ = measured(
        snapshot(
            image(A, layers=[OF_A], repository="shop/pushed"),
            image(B, layers=[OF_B], repository="shop/pushed"),
            image(C, layers=[OF_C]),
            image(D, layers=[OF_D], repository="shop/pushed"),
            image_stream("shop/web", latest=[D, A]),
            image_stream("data/etl", latest=[A]),
            image_stream("data/kept", latest=[D]),
            deployment("shop/x", f"{HOST}/data/kept:latest"),
            blob_sizes=SIZES,
        ),
        rules(),
    )
    assert {(stream, cause): each.bytes for (stream, cause), each in found.rows} == {
        ("data/etl", Prunable()): 5,
        ("shop/web", Prunable()): 5,
        ("shop/pushed", Prunable()): 20,
        ("", Prunable()): 30,
        ("data/kept", UsedBy("Deployment")): 40,
    }


def test_what_nothing_keeps_needs_only_the_layers_that_nothing_else_needs() -> None:
    found, _ = measured(
        snapshot(
            image(A, layers=[BASE, OF_A]),
            image(B, layers=[BASE, OF_B]),
            image_stream("shop/web", latest=[A, B]),
            deployment("shop/x", f"{HOST}/shop/web:latest"),
            blob_sizes=SIZES,
        ),
        rules(),
    )
    assert causes(found) == {UsedBy("Deployment"): (1, 1, 1010, 1010), Prunable(): (1, 0, 20, 20)}


def test_equal_causes_are_one_object_and_are_sorted_by_what_they_are() -> None:
    found, _ = measured(
        snapshot(
            *(image(name, layers=[layer]) for name, layer in ((A, OF_A), (B, OF_B), (C, OF_C), (D, OF_D))),
            image_stream("shop/one", used=[A, digest("older")], free=[E, C]),
            image_stream("shop/two", used=[B], free=[F, D]),
            image(E),
            image(F),
            deployment("shop/x", f"{HOST}/shop/one:used", f"{HOST}/shop/two:used"),
        ),
        rules(revisions=1),
    )
    rows: dict[Cause, list[Cause]] = {}
    for (_, cause), _ in found.rows:
        rows.setdefault(cause, []).append(cause)
    assert {cause: len(same) for cause, same in rows.items()} == {
        UsedBy("Deployment"): 2,
        NobodyRefers(): 2,
        Prunable(): 2,
    }
    assert [cause for cause, same in rows.items() if same[0] is not same[1]] == []
    # None has any bytes, so that names alone decide.
    assert [cause for cause, _ in found.causes] == [NobodyRefers(), Prunable(), UsedBy("Deployment")]
    assert [
        order(cause) for cause in (NobodyRefers(), Prunable(), HeldByIdle("Pod"), KeptBy("R18", Protected("x")))
    ] == [
        ("NobodyRefers", ""),
        ("Prunable", ""),
        ("HeldByIdle", "Pod"),
        ("R18", in_general(Protected("x"))),
    ]


def test_members_count_for_what_keeps_their_index() -> None:
    found, _ = measured(
        snapshot(
            image(A, layers=[OF_A], repository="shop/web"),
            image(B, layers=[OF_B], repository="shop/web"),
            index(C, [A, B], repository="shop/web"),
            image_stream("shop/web", latest=[C]),
            deployment("shop/web", f"{HOST}/shop/web:latest"),
            blob_sizes=SIZES,
        ),
        rules(),
    )
    assert causes(found) == {UsedBy("Deployment"): (3, 1, 30, 30)}
    assert [name for name, _ in found.streams] == ["shop/web"]


@pytest.mark.parametrize("turned", [False, True])
def test_members_at_any_depth_count_for_the_hardest_cause_above_them(turned: bool) -> None:
    """A is in D, at some depth, and in F, which are both used: the first one counts, however they are listed."""
    objects = [
        image(A, layers=[OF_A]),
        index(B, [A]),
        index(D, [B, digest("absent")]),
        image(C, layers=[OF_C]),
        index(E, [C]),
        index(F, [A]),
    ]
    found, _ = measured(
        snapshot(
            *(reversed(objects) if turned else objects),
            image_stream("shop/web", used=[D], free=[F], other=[E]),
            deployment("shop/x", f"{HOST}/shop/web:used"),
            controller("DaemonSet", "shop/y", f"{HOST}/shop/web:other"),
            controller("StatefulSet", "shop/z", f"{HOST}/shop/web@{F}"),
            blob_sizes=SIZES,
        ),
        rules(revisions=1),
    )
    first = "Deployment" if D < F else "StatefulSet"
    assert {cause: each.bytes for cause, each in found.causes if each.bytes} == {
        UsedBy(first): 10,
        UsedBy("DaemonSet"): 30,
    }


def test_what_is_used_by_its_digest_in_another_repository_counts_as_used_R12() -> None:
    found, _ = measured(
        snapshot(
            image(A, layers=[OF_A]),
            image_stream("shop/web", latest=[A]),
            deployment("shop/x", f"{HOST}/shop/gone@{A}", f"{HOST}/shop/gone@{digest('absent')}"),
            blob_sizes=SIZES,
        ),
        rules(revisions=1),
    )
    assert causes(found) == {UsedBy("Deployment"): (1, 1, 10, 10)}


def test_imported_images_take_no_space_in_this_registry() -> None:
    found, _ = measured(
        snapshot(
            image(A, layers=[OF_A], managed=False),
            image(B, layers=[OF_B]),
            image_stream("shop/web", latest=[A, B]),
            deployment("shop/web", f"{HOST}/shop/web:latest", f"{HOST}/shop/web@{B}"),
            blob_sizes=SIZES,
        ),
        rules(),
    )
    assert (found.bytes, found.images) == (20, 1)


def test_R36_what_a_step_would_free_is_freed_after_the_grace_period() -> None:
    cluster = snapshot(
        image(A, layers=[OF_A]),
        image(B, layers=[OF_B]),
        image(C, layers=[OF_C]),
        image(D, layers=[OF_D], repository="shop/web"),
        image_stream("shop/web", latest=[A, B, C]),
        deployment("shop/web", f"{HOST}/shop/web:latest"),
        replica_set("shop/web-1", 0, C),
        blob_sizes=SIZES,
    )
    cluster = msgspec.structs.replace(cluster, retired={D: Retirement(NOW - timedelta(days=1), ())})
    at_once, without = measured(cluster, rules(revisions=2))
    found, tried = measured(cluster, rules(revisions=2, grace=timedelta(days=7)))
    by_change = {step.change: step for step in tried}
    # D is retired: the next run frees it only without grace.
    assert by_change.pop(SetTo("grace", "7d", "0")) == Step(SetTo("grace", "7d", "0"), 1, 40)
    assert {(cause.rule, each.alone) for cause, each in found.causes if isinstance(cause, KeptBy)} == {
        ("R16", 20),
        ("R36", 40),
    }
    assert Prunable() in dict(at_once.causes)
    assert set(by_change.values()) == {msgspec.structs.replace(step, retired=True) for step in without}
    assert by_change[DeleteIdle("ReplicaSet", 1)].bytes == 30
    told = StringIO()
    print_storage(StorageReport("test", NOW, found, tried), plain_console(file=told, width=160))
    assert "delete 1 ReplicaSet scaled to zero" in told.getvalue()
    assert "after the grace period" in told.getvalue()
    assert "next run" in told.getvalue()


@pytest.mark.parametrize(
    ("workload", "kind"),
    [
        (scaled(deployment("shop/web", "a"), 0), "Deployment"),
        (scaled(deployment("shop/web", "a"), 1), None),
        (deployment("shop/web", "a"), None),
        (scaled(controller("ReplicationController", "shop/web", "a"), 0), "ReplicationController"),
        (scaled(controller("Job", "shop/web", "a"), 0), None),
        (pod("shop/web", "a", phase="Succeeded"), "Pod"),
        (pod("shop/web", "a", phase="Failed"), "Pod"),
        (pod("shop/web", "a"), None),
        (build("shop/web", from_("DockerImage", "a")), None),
    ],
)
def test_a_workload_that_runs_nothing_is_idle(workload: Referrer, kind: str | None) -> None:
    assert idle_workloads([workload]).get(workload.name) == kind


# --- properties ------------------------------------------------------------------------------------------------------

LAYER_SIZES = {digest(f"layer {number}"): 10**number for number in range(5)} | {
    digest(f"config {number}"): 3 * 10**number for number in range(2)
}


@pytest.mark.properties
@given(tagged_clusters(), retention_settings(ignore_invalid_refs=True, strict=False))
def test_every_stored_byte_counts_once_in_every_table(cluster: Cluster, asked: AnalysisSettings) -> None:
    found = msgspec.structs.replace(cluster.snapshot, blob_sizes=LAYER_SIZES)
    result, _ = measured(found, asked)
    whole = sum(LAYER_SIZES.get(blob, 0) for blob in stored_blobs(found))
    assert result.bytes == whole
    assert result.blobs == len(stored_blobs(found))
    for table in (result.rows, result.namespaces, result.streams, result.causes):
        assert sum(each.bytes for _, each in table) == whole
        assert all(each.alone <= whole for _, each in table)


@pytest.mark.properties
@given(clusters(), retention_settings(ignore_invalid_refs=True, strict=False, references="extended"))
def test_what_nothing_keeps_is_what_the_plan_frees(cluster: Cluster, asked: AnalysisSettings) -> None:
    found = msgspec.structs.replace(cluster.snapshot, blob_sizes=LAYER_SIZES)
    result, _ = measured(found, dataclasses.replace(asked, prune_registry=True))
    stored = stored_blobs(found)
    plan = analyse(found, dataclasses.replace(asked, prune_registry=True)).plan
    imported = {blob for each in found.images if not each.managed for blob in blobs_of(each)}
    freed = sum(blob.size or 0 for blob in plan.blobs if blob.digest in stored and blob.digest not in imported)
    prunable = sum(each.alone for cause, each in result.causes if cause == Prunable())
    assert freed <= prunable
    if not imported & stored:
        assert freed == prunable


@pytest.mark.properties
@given(clusters(), retention_settings(ignore_invalid_refs=True, strict=False, references="extended"))
def test_the_order_of_lists_changes_nothing_P7(cluster: Cluster, asked: AnalysisSettings) -> None:
    found = msgspec.structs.replace(cluster.snapshot, blob_sizes=LAYER_SIZES)
    back = msgspec.structs.replace(
        found, images=found.images[::-1], streams=found.streams[::-1], referrers=found.referrers[::-1]
    )
    assert shown(found, asked) == shown(back, asked)


def shown(found: Snapshot, asked: AnalysisSettings) -> dict[str, object]:
    return as_json(StorageReport("test", datetime(2026, 1, 1, tzinfo=UTC), *measured(found, asked)))


@pytest.mark.properties
@given(clusters(), retention_settings(ignore_invalid_refs=True, strict=False, references="extended"))
def test_a_step_without_idle_workloads_frees_what_a_plan_without_them_does(
    cluster: Cluster, asked: AnalysisSettings
) -> None:
    asked = dataclasses.replace(asked, prune_registry=True, all_images=True)
    found = msgspec.structs.replace(
        cluster.snapshot,
        blob_sizes=LAYER_SIZES,
        images=tuple(msgspec.structs.replace(each, managed=True) for each in cluster.snapshot.images),
    )
    _, tried = measured(found, asked)
    idle = idle_workloads(found.referrers)
    now = analyse(found, asked).plan
    freed = {step.change.kind: step for step in tried if isinstance(step.change, DeleteIdle)}
    for kind in set(idle.values()):
        left = tuple(each for each in found.referrers if idle.get(each.name) != kind)
        then = analyse(msgspec.structs.replace(found, referrers=left), asked).plan
        more = (then.summary.images - now.summary.images, then.summary.bytes - now.summary.bytes)
        assert more == ((freed[kind].images, freed[kind].bytes) if kind in freed else (0, 0))


# --- shown -----------------------------------------------------------------------------------------------------------


def report() -> StorageReport:
    found = snapshot(
        image(A, layers=[BASE, OF_A]),
        image(B, layers=[BASE, OF_B]),
        image(D, layers=[OF_D]),
        image_stream("shop/web", latest=[A, B]),
        deployment("shop/web", f"{HOST}/shop/web:latest"),
        replica_set("shop/web-1", 0, B),
        blob_sizes=SIZES,
    )
    return StorageReport("test", datetime(2026, 1, 1, tzinfo=UTC), *measured(found, rules()))


def test_the_text_has_the_tables_and_the_steps() -> None:
    written = StringIO()
    print_storage(report(), plain_console(file=written, width=160))
    text = written.getvalue()
    for line in (
        "1.1 kB in 7 blobs of 3 images, and 3 blobs of unknown size",
        "kept by 1 ReplicaSet scaled to zero",
        "used by 1 Deployment",
        "nothing: the next run prunes it",
        "(no image stream)",
        "delete 1 ReplicaSet scaled to zero",
    ):
        assert line in text


def test_json_adds_up() -> None:
    found = as_json(report())
    assert found["bytes"] == 1070
    for name in ("kept_by", "namespaces", "image_streams", "rows"):
        assert found[name]
        assert sum(each["bytes"] for each in found[name]) == 1070
    assert [(each["type"], each["why"]) for each in found["kept_by"]] == [
        ("idle", "kept by 1 ReplicaSet scaled to zero"),
        ("used", "used by 1 Deployment"),
        ("prunable", "nothing: the next run prunes it"),
    ]


def test_the_page_loads_nothing_and_shows_texts_as_texts() -> None:
    shown = page(report())
    assert "default-src 'none'" in shown
    assert "kept by 1 ReplicaSet scaled to zero" in shown
    marked = [text for text in MARKUP if "<" in text]
    assert marked
    for text in marked:
        assert text not in page(msgspec.structs.replace(report(), cluster=text))


def written(of: StorageReport, file: Path) -> Path:
    file.write_text(json_text(as_json(of)), encoding="utf-8")
    return file


def test_what_json_says_is_a_section_of_a_reports_page(tmp_path: Path) -> None:
    plan = Report.of(analyse(snapshot(image(A), image_stream("shop/web", latest=[A])), rules()))
    found = read_storage(written(report(), tmp_path / "storage.json"))
    assert found == ShownStorage.of(report())
    with_it, without = page_of_report(plan, found), page_of_report(plan)
    for text in ("What keeps the registry large", "kept by 1 ReplicaSet scaled to zero", "What one step would free"):
        assert text in with_it
        assert text not in without
    for text in (each for each in MARKUP if "<" in each):
        other = msgspec.structs.replace(found, kept_by=(msgspec.structs.replace(found.kept_by[0], why=text),))
        assert text not in page_of_report(plan, other)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not what pruner storage --json writes: Input data was truncated"),
        (b"{}", "is not what pruner storage --json writes: Object missing required field `cluster`"),
        (b"[" * 100_000, "is not what pruner storage --json writes"),
        (b"\xff", "is not what pruner storage --json writes"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_with_something_else_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "storage.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PrunerError, match=re.escape(f"{file}: {said}")):
        read_storage(file)
