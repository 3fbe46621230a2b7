"""Retirement and what ends it, decided (R36); what was restored
(R37); records, and what of them somebody wants back.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.analysis import Analysis, analyse
from pruner.cluster.objects import Registry
from pruner.cluster.retirement import (
    RETIRED,
    VERSION,
    Marks,
    Record,
    RemovedRevision,
    Restoration,
    Retirement,
    merged,
    record_of,
    room_for_record,
    without,
    written,
)
from pruner.errors import UnsafePlanError
from pruner.plan import Approval, decode, encode
from pruner.planning import check_grace, check_size
from pruner.reasons import (
    AmongNewest,
    GraceOver,
    ImageAbsent,
    MemberOf,
    NamedBy,
    NotApproved,
    Restored,
    Retired,
    Retiring,
    Unreferenced,
)
from pruner.report import Report
from pruner.report.openmetrics import openmetrics
from pruner.report.wording import headline
from pruner.restore.history import with_revisions, with_spec_tags
from pruner.restore.selection import Choice, Chosen, Cluster, MarkedImage, NotRetiredError, choose
from pruner.settings import AnalysisSettings, read
from tests.builders.clusters import Cluster as Generated
from tests.builders.clusters import any_settings, applied, clusters, deletions, retention_settings, tagged_clusters
from tests.builders.objects import (
    L1,
    L2,
    L3,
    NOW,
    OLD,
    A,
    B,
    C,
    D,
    E,
    analysed,
    deployment,
    digest,
    image,
    image_stream,
    index,
    snapshot,
)
from tests.builders.objects import rules as rules_of

WEEK = timedelta(days=7)
LONG_AGO = NOW - timedelta(days=8)
RECENTLY = NOW - timedelta(days=6)


def decided(
    *objects: Any, retired: Any = None, restored: Any = None, approval: Approval | None = None, **asked: Any
) -> Analysis:
    found = msgspec.structs.replace(snapshot(*objects), retired=retired or {}, restored=restored or {})
    return analyse(found, rules_of(**{"grace": WEEK, **asked}), approval)


# --- what is retired, and until when ----------------------------------------------------------------------------------


def test_R36_what_the_rules_prune_is_retired_and_keeps_its_blobs_and_links() -> None:
    stream = image_stream("shop/app", latest=[B, A])
    objects = (image(A, layers=[L1], repository="shop/app"), image(B, layers=[L2], repository="shop/app"), stream)
    found = decided(*objects, revisions=1)
    assert found.images[A] == Retiring(7 * 24 * 60)
    plan = found.plan
    assert [each.name for each in plan.retired] == [A]
    assert [item.image for change in plan.streams for item in change.revisions] == [A]
    assert (plan.images, plan.blobs) == ((), ())
    assert [(change.layer_links, change.manifest_links) for change in plan.streams] == [((), ())]
    assert analysed(*objects, revisions=1).images[A] == Unreferenced()


@pytest.mark.parametrize(
    ("at", "grace", "reason"),
    [
        (RECENTLY, WEEK, Retired(RECENTLY, RECENTLY + WEEK)),
        (NOW - WEEK, WEEK, GraceOver(7 * 24 * 60)),
        (
            NOW - WEEK + timedelta(seconds=1),
            WEEK,
            Retired(NOW - WEEK + timedelta(seconds=1), NOW + timedelta(seconds=1)),
        ),
        (LONG_AGO, WEEK, GraceOver(7 * 24 * 60)),
        (RECENTLY, timedelta(days=5), GraceOver(5 * 24 * 60)),
        (NOW + timedelta(minutes=1), WEEK, Retired(NOW + timedelta(minutes=1), NOW + timedelta(minutes=1) + WEEK)),
        (RECENTLY, timedelta(), Unreferenced()),
    ],
)
def test_R36_a_retired_image_is_deleted_when_the_grace_of_this_run_is_over(
    at: datetime, grace: timedelta, reason: Any
) -> None:
    found = decided(image(A), retired={A: Retirement(at)}, grace=grace)
    assert found.images[A] == reason
    assert [each.name for each in found.plan.images] == ([] if reason.kept else [A])
    assert found.plan.retired == ()


def test_R36_a_retired_image_that_loses_a_name_again_is_retired_anew() -> None:
    found = decided(image(A), image_stream("shop/app", latest=[A]), retired={A: Retirement(LONG_AGO)})
    assert found.images[A] == Retiring(7 * 24 * 60)


def test_R36_a_retired_image_that_is_named_or_used_again_loses_its_record() -> None:
    retired = {A: Retirement(LONG_AGO, (("shop/app", "v1"),)), B: Retirement(RECENTLY), C: Retirement(LONG_AGO)}
    found = decided(
        image(A), image(B), index(C, [B]), image_stream("shop/app", v1=[A]), deployment("shop/x", f"x/y/z@{C}"),
        retired=retired, revisions=1,
    )  # fmt: skip
    assert [each.name for each in found.plan.needed_again] == sorted([A, B, C])
    assert isinstance(found.images[A], NamedBy)
    assert isinstance(found.images[B], MemberOf)
    without_grace = decided(image(A), image_stream("shop/app", v1=[A]), retired=retired, revisions=1, grace=timedelta())
    assert without_grace.plan.empty


def test_R36_members_stay_as_long_as_their_retired_index() -> None:
    retired = {A: Retirement(LONG_AGO), B: Retirement(RECENTLY)}
    found = decided(image(A), index(B, [A]), retired=retired)
    assert found.images[A] == Retired(LONG_AGO, RECENTLY + WEEK)
    assert found.plan.empty


def test_R36_members_stay_as_long_as_the_index_that_is_retired_now() -> None:
    found = decided(image(A), index(B, [A]), retired={A: Retirement(LONG_AGO)})
    assert found.images[B] == Retiring(7 * 24 * 60)
    assert found.images[A] == Retired(LONG_AGO, NOW + WEEK)


def test_R36_what_one_run_has_retired_shares_its_reason() -> None:
    found = decided(image(A), image(B), image(C), retired={A: Retirement(RECENTLY), B: Retirement(RECENTLY)})
    assert found.images[A] == Retired(RECENTLY, RECENTLY + WEEK)
    assert found.images[A] is found.images[B]


@pytest.mark.parametrize("before", [False, True])
def test_R36_an_image_whose_revision_was_approved_may_be_retired(before: bool) -> None:
    """Also where the approval does not name the image itself, and where the same run has removed the revision."""
    stream = image_stream("shop/app", latest=[B] if before else [B, A])
    approval = Approval(
        revisions=frozenset({("shop/app", "latest", A, NOW - timedelta(minutes=OLD))}),
        dropped=frozenset({A} if before else ()),
    )
    found = decided(image(A), image(B), image(C), stream, revisions=1, approval=approval)
    assert found.images[A] == Retiring(7 * 24 * 60)
    assert found.images[C] == NotApproved()


def test_R36_what_is_attached_stays_as_long_as_its_retired_subject() -> None:
    tag = f"{A.replace(':', '-')}.sig"
    retired = {A: Retirement(RECENTLY), B: Retirement(LONG_AGO, (("shop/app", tag),))}
    found = decided(image(A), image(B), retired=retired)
    assert found.images[B] == Retired(LONG_AGO, RECENTLY + WEEK)
    assert decided(image(A), image(B), retired=retired, attached="keep").images[B] == GraceOver(7 * 24 * 60)


def test_R36_a_signature_is_retired_with_its_subject() -> None:
    tag = f"{A.replace(':', '-')}.sig"
    stream = image_stream("shop/app", {tag: [B]}, latest=[C, A])
    found = decided(image(A), image(B), image(C), stream, revisions=1)
    assert [each.name for each in found.plan.retired] == sorted([A, B])


def test_R36_a_retired_image_frees_no_blob_that_a_kept_one_needs_and_counts_its_members() -> None:
    config = digest("config")
    found = snapshot(
        image(A, layers=[L1], config=config),
        image(B, layers=[L2], config=config),
        index(C, [A]),
        image_stream("shop/app", latest=[B, C]),
        blob_sizes={L1: 1, L2: 20, config: 300, A: 4000, B: 50_000, C: 600_000},
    )
    plan = analyse(found, rules_of(revisions=1, grace=WEEK), registry=Registry("https://registry")).plan
    assert {each.name: (each.bytes, each.members) for each in plan.retired} == {A: (4001, 0), C: (600_000, 1)}


def test_R36_a_retired_image_frees_no_blob_that_is_a_member_of_a_kept_index() -> None:
    """A member without an Image of its own is a manifest that the index needs all the same."""
    found = snapshot(
        image(A, layers=[L1, L2]), index(C, [L1]), image_stream("shop/app", latest=[C]), blob_sizes={L1: 1, L2: 20}
    )
    plan = analyse(found, rules_of(revisions=1, grace=WEEK), registry=Registry("https://registry")).plan
    assert {each.name: each.bytes for each in plan.retired} == {A: 20}


def test_R36_links_stay_in_every_repository_that_named_a_retired_image() -> None:
    streams = [image_stream(f"shop/{name}", latest=[B, A]) for name in ("one", "two")]
    objects = [image(A, layers=[L1], repository="shop/one"), image(B, layers=[L2], repository="shop/one"), *streams]
    first = decided(*objects, revisions=1)
    assert {change.stream: change.layer_links for change in first.plan.streams} == {"shop/one": (), "shop/two": ()}
    tags = (("shop/one", "latest"), ("shop/two", "latest"))
    over = decided(
        *objects[:2], *(image_stream(f"shop/{name}", latest=[B]) for name in ("one", "two")),
        retired={A: Retirement(LONG_AGO, tags)}, revisions=1,
    )  # fmt: skip
    assert {change.stream: change.layer_links for change in over.plan.streams} == {
        "shop/one": (L1,),
        "shop/two": (L1,),
    }


def test_R36_a_namespace_retires_and_deletes_what_its_revisions_named() -> None:
    tags = {A: (("shop/app", "v1"),), B: (("blog/app", "v1"),), C: ()}
    retired = {name: Retirement(LONG_AGO, each) for name, each in tags.items()}
    found = decided(image(A), image(B), image(C), image_stream("shop/app"), retired=retired, namespace="shop")
    assert [each.name for each in found.plan.images] == [A]
    whole = decided(image(A), image(B), image(C), image_stream("shop/app"), retired=retired)
    assert [each.name for each in whole.plan.images] == sorted([A, B, C])


def test_R36_a_run_retires_what_loses_its_last_name_with_an_image_stream() -> None:
    """What the image stream goes on to name, and what another one names, does not."""
    objects = (
        *(image(name) for name in (A, B, C, D)),
        image_stream("shop/web", v1=[A]),
        image_stream("shop/web2", v1=[B]),
        image_stream("shop/db", v1=[B]),
        image_stream("shop/api", latest=[C, A, D], v1=[A]),
    )
    found, later = decided(*objects, revisions=1), decided(*objects, revisions=0)

    def retired(histories: Analysis, links: Analysis) -> dict[str, set[str]]:
        return {each.stream.name: links.links.retired_with(each) for each in histories.histories}

    assert retired(found, found) == {"shop/api": {D}, "shop/db": set(), "shop/web": set(), "shop/web2": set()}
    assert retired(later, found) == {"shop/api": {C, D}, "shop/db": set(), "shop/web": set(), "shop/web2": set()}
    without = decided(*objects[:4], *objects[4:5], objects[7], revisions=1, namespace="shop")
    assert isinstance(without.images[C], NamedBy)
    at_once = decided(*objects, revisions=1, grace=timedelta())
    assert set().union(*retired(at_once, at_once).values()) == set()


def test_R36_what_is_attached_to_what_is_attached_stays_as_long_R35() -> None:
    def record(at: datetime, subject: str) -> Retirement:
        return Retirement(at, (("shop/app", f"{subject.replace(':', '-')}.sig"),))

    retired = {A: Retirement(RECENTLY), B: record(LONG_AGO, A), C: record(LONG_AGO, B), D: record(LONG_AGO, C)}
    found = decided(*(image(name) for name in (A, B, C, D, E)), retired={**retired, E: Retirement(LONG_AGO)})
    assert [found.images[name] for name in (B, C, D)] == [Retired(LONG_AGO, RECENTLY + WEEK)] * 3
    assert found.images[E] == GraceOver(7 * 24 * 60)


def test_R36_links_go_and_stay_for_records_and_for_what_was_pushed_there() -> None:
    def of(*names: str) -> dict[str, Retirement]:
        return {name: Retirement(LONG_AGO if name != B else RECENTLY, (("shop/web", "v1"),)) for name in names}

    pushed = image(A, layers=[L1], repository="shop/web")
    other = image(B, layers=[L2], repository="shop/other")
    over = image(C, layers=[L1, L2, L3], repository="shop/other")
    at_once = decided(pushed, other, image_stream("shop/web"), retired=of(B), grace=timedelta())
    assert [(each.layer_links, set(each.manifest_links)) for each in at_once.plan.streams] == [
        (tuple(sorted((L1, L2))), {A, B})
    ]
    young = msgspec.structs.replace(pushed, created=NOW)
    kept = decided(young, other, over, image_stream("shop/web"), retired=of(B, C))
    assert [(each.layer_links, each.manifest_links) for each in kept.plan.streams] == [((L3,), (C,))]


@pytest.mark.parametrize("longer", [B, C])
def test_R36_a_member_of_several_retired_indexes_stays_as_long_as_the_last_of_them(longer: str) -> None:
    later = RECENTLY + timedelta(days=1)
    at = {name: later if name == longer else RECENTLY for name in (B, C)}
    retired = {A: Retirement(LONG_AGO), **{name: Retirement(each) for name, each in at.items()}}
    found = decided(image(A), index(B, [A]), index(C, [A]), retired=retired)
    assert found.images[A] == Retired(LONG_AGO, later + WEEK)


def test_R36_what_is_needed_again_is_that_of_the_approval_and_of_the_namespace() -> None:
    stream = image_stream("shop/app", v1=[A], v2=[B])
    retired = {A: Retirement(LONG_AGO, (("shop/app", "v1"),)), B: Retirement(LONG_AGO, (("blog/app", "v1"),))}

    def needed_again(**asked: Any) -> list[str]:
        found = decided(image(A), image(B), stream, retired=retired, revisions=1, **asked)
        return [each.name for each in found.plan.needed_again]

    assert needed_again() == sorted([A, B])
    assert needed_again(namespace="shop") == [A]
    assert needed_again(namespace="blog") == [B]
    assert needed_again(namespace="other") == []
    assert needed_again(approval=Approval(needed_again=frozenset({(B, image(B).uid)}))) == [B]
    assert needed_again(approval=Approval(needed_again=frozenset({(B, "another uid")}))) == []


def test_R36_an_image_stream_that_retired_images_come_back_to_is_not_deleted() -> None:
    from pruner.settings import EmptyStreams  # noqa: PLC0415

    empty = EmptyStreams(older_than=timedelta(days=1))
    stream = image_stream("shop/app", age=OLD)
    kept = decided(image(A), stream, retired={A: Retirement(RECENTLY, (("shop/app", "v1"),))}, empty_streams=empty)
    assert kept.plan.empty_streams == ()
    over = decided(image(A), stream, retired={A: Retirement(LONG_AGO, (("shop/app", "v1"),))}, empty_streams=empty)
    assert [each.stream for each in over.plan.empty_streams] == ["shop/app"]


def test_R36_an_approval_of_a_deletion_allows_the_retirement_and_not_the_other_way_round() -> None:
    uid = image(A).uid
    for approval in (Approval(images=frozenset({(A, uid)})), Approval(retired=frozenset({(A, uid)}))):
        assert decided(image(A), approval=approval).images[A] == Retiring(7 * 24 * 60)
    retired = {A: Retirement(LONG_AGO)}
    only_retired = Approval(retired=frozenset({(A, uid)}))
    assert decided(image(A), retired=retired, approval=only_retired).images[A] == NotApproved()
    assert decided(image(A), approval=Approval()).images[A] == NotApproved()


def test_R36_a_plan_that_retires_is_refused_without_grace_and_limited_by_itself() -> None:
    objects = (image(A), image(B))
    plan = decided(*objects).plan
    with pytest.raises(UnsafePlanError, match="the plan retires 2 images, and grace is 0"):
        check_grace(plan, read({}))
    check_grace(plan, read({"grace": "7d"}))
    with pytest.raises(UnsafePlanError, match="the plan would retire 2 images, and max_deletions is 1"):
        check_size(plan, snapshot(*objects), read({"max_deletions": 1}))
    check_size(plan, snapshot(*objects), read({"max_deletions": 2}))


def test_R36_plans_reports_and_metrics_show_what_is_retired() -> None:
    stream = image_stream("shop/app", latest=[B, A])
    found = msgspec.structs.replace(
        snapshot(image(A, layers=[L1]), image(B, layers=[L2]), stream, blob_sizes={L1: 1500, L2: 10}),
        retired={B: Retirement(LONG_AGO)},
    )
    analysis = analyse(found, rules_of(revisions=1, grace=WEEK))
    plan = analysis.plan
    assert decode(encode(plan), "plan") == plan
    summary = plan.summary
    assert (summary.retired_images, summary.retired_bytes, summary.needed_again, summary.images) == (1, 1500, 1, 0)
    assert headline(plan).endswith("1 image retired, 1 image needed again: 0 bytes, 1.5 kB later")
    (row,) = Report.of(analysis).retiring
    assert (row.digest, row.home) == (A, "shop/app")
    assert 'pruner_planned_objects{cluster="test",kind="retired_images"} 1' in openmetrics(Report.of(analysis))
    assert 'pruner_planned_retired_bytes{cluster="test"} 1500' in openmetrics(Report.of(analysis))


def test_R36_the_fingerprint_tells_a_retirement_from_a_deletion() -> None:
    plans = [decided(image(A), grace=grace).plan for grace in (WEEK, timedelta())]
    assert len({plan.fingerprint for plan in plans}) == 2


# --- what was restored ------------------------------------------------------------------------------------------------


def test_R37_the_revisions_of_a_restored_image_are_kept_until_its_time() -> None:
    stream = image_stream("shop/app", latest=[B, A])
    for until, reason in ((NOW + timedelta(seconds=1), True), (NOW, False)):
        restored = {A: Restoration(VERSION, RECENTLY, until)}
        for grace in (WEEK, timedelta()):
            found = decided(image(A), image(B), stream, restored=restored, revisions=1, grace=grace)
            (tag,) = found.histories[0].tags
            assert (tag.reasons[1] == Restored(until)) is reason
            unnamed = decided(image(A), restored=restored, grace=grace)
            assert (unnamed.images[A] == Restored(until)) is reason


def test_R37_what_was_restored_is_a_reason_to_keep_its_revision_while_it_has_an_image() -> None:
    stream = image_stream("shop/app", latest=[C, A, B])
    until = NOW + WEEK
    restored = {name: Restoration(VERSION, RECENTLY, until) for name in (A, B)}
    found = decided(image(A), image(C), stream, restored=restored, revisions=1)
    (history,) = stream.histories
    reasons = [
        [*found.history_rules.reasons(stream, "latest", place, each)] for place, each in enumerate(history.items or ())
    ]
    assert reasons == [[AmongNewest(0, 1)], [Restored(until)], [ImageAbsent()]]
    assert [*found.histories[0].tags[0].reasons] == [each for (each,) in reasons]


def test_R37_the_record_stays_while_the_restoration_protects_it() -> None:
    stream = image_stream("shop/app", latest=[A])
    restored = {A: Restoration(VERSION, RECENTLY, NOW + WEEK)}
    found = decided(image(A), stream, retired={A: Retirement(LONG_AGO)}, restored=restored, revisions=1)
    assert found.plan.needed_again == ()


# --- on every cluster -------------------------------------------------------------------------------------------------


@pytest.mark.properties
@given(st.one_of(clusters(), tagged_clusters()), st.one_of(any_settings(), retention_settings()))
def test_retiring_first_ends_where_deleting_at_once_does_P3(cluster: Generated, rules: AnalysisSettings) -> None:
    first = analyse(cluster.snapshot, dataclasses.replace(rules, grace=WEEK)).plan
    assert (first.images, first.blobs) == ((), ())
    within = applied(cluster.snapshot, first, cluster.snapshot.as_of)
    assert analyse(within, dataclasses.replace(rules, grace=WEEK)).plan.empty
    over = applied(cluster.snapshot, first, cluster.snapshot.as_of - 2 * WEEK)
    second = analyse(over, dataclasses.replace(rules, grace=WEEK)).plan
    assert second.retired == ()
    ended = applied(over, second)
    assert analyse(ended, dataclasses.replace(rules, grace=WEEK)).plan.empty
    at_once = applied(cluster.snapshot, analyse(cluster.snapshot, rules).plan)
    assert {each.name for each in ended.images} == {each.name for each in at_once.images}
    assert ended.streams == at_once.streams or {each.name for each in ended.streams} >= {
        each.name for each in at_once.streams
    }


@pytest.mark.properties
@given(st.one_of(clusters(), tagged_clusters()), st.one_of(any_settings(), retention_settings()))
def test_a_longer_grace_never_deletes_more_P4(cluster: Generated, rules: AnalysisSettings) -> None:
    first = analyse(cluster.snapshot, dataclasses.replace(rules, grace=WEEK)).plan
    within = applied(cluster.snapshot, first, cluster.snapshot.as_of - timedelta(days=3))
    shorter, longer = (
        deletions(analyse(within, dataclasses.replace(rules, grace=timedelta(days=days))).plan) for days in (2, 4)
    )
    assert longer <= shorter


@pytest.mark.properties
@given(clusters(), any_settings())
def test_without_records_a_plan_without_grace_has_nothing_new_P8(cluster: Generated, rules: AnalysisSettings) -> None:
    plan = analyse(cluster.snapshot, rules).plan
    assert (plan.retired, plan.needed_again) == ((), ())
    header, *lines = b"".join(encode(plan)).splitlines()
    assert (b"retire" in header, [line for line in lines if b"retire" in line]) == (True, [])


# --- records ----------------------------------------------------------------------------------------------------------


def removed(
    tag: str = "shop/app:v1", position: int = 0, *, name: str = A, at: datetime = RECENTLY, **more: Any
) -> RemovedRevision:
    stream, _, plain = tag.partition(":")
    created = (NOW - timedelta(days=30 + position)).strftime("%Y-%m-%dT%H:%M:%SZ")
    item = {"created": created, "image": name, "dockerImageReference": f"host/{stream}@{name}"}
    return RemovedRevision(stream=stream, tag=plain, position=position, item=item, at=at, run="sha256:1", **more)


def test_R36_a_record_is_read_back_and_grows_without_repeating_itself() -> None:
    record = merged(None, [removed()], at=RECENTLY, grace=60)
    read_back = record_of({"metadata": {"annotations": {RETIRED: written(record)}}})
    assert read_back == record
    again = merged(record, [removed(at=NOW), removed("shop/two:v1")], at=NOW, grace=30)
    assert [(each.name, each.at) for each in again.revisions] == [("shop/app:v1", NOW), ("shop/two:v1", RECENTLY)]
    assert (again.at, again.grace, again.omitted) == (NOW, 30, 0)
    left = without(again, [removed()])
    assert left is not None
    assert [each.name for each in left.revisions] == ["shop/two:v1"]
    assert without(left, [removed("shop/two:v1")]) is None


def test_R36_a_record_never_outgrows_the_room_that_annotations_have() -> None:
    revisions = [removed(f"shop/app:pr-{number}", at=NOW - timedelta(days=number)) for number in range(3000)]
    annotations = {"other": "x" * 50_000}
    room = room_for_record({"metadata": {"annotations": annotations}})
    record = merged(None, revisions, at=NOW, grace=60, room=room)
    assert len(written(record)) + 50_000 < 256 * 1024
    assert record.omitted == 3000 - len(record.revisions) > 0
    assert record.revisions[0].tag == "pr-0"
    none = merged(None, revisions, at=NOW, grace=60, room=0)
    assert (none.revisions, none.omitted) == ((), 3000)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "null", "[]", "x", '{"version":2,"at":"2026-01-01T00:00:00Z","grace":1}',
     '{"version":1,"at":"2026-01-01T00:00:00"}',
     '{"version":1,"at":"9999-12-31T00:00:00Z","grace":2000000000}', "[" * 10_000],
)  # fmt: skip
def test_R36_what_is_no_record_is_ignored(text: str) -> None:
    assert record_of({"metadata": {"annotations": {RETIRED: text}}}) is None
    marks = Marks()
    marks.take(A, text, text)
    assert marks.believable(NOW) == ({}, {})


def test_R36_a_record_of_the_future_is_ignored() -> None:
    marks = Marks()
    for name, at in ((A, NOW + timedelta(minutes=4)), (B, NOW + timedelta(minutes=6))):
        marks.take(name, written(Record(version=VERSION, at=at, grace=1)), written(Restoration(VERSION, at, at)))
    retired, restored = marks.believable(NOW)
    assert (set(retired), set(restored)) == ({A}, {A})


def test_R36_images_of_the_same_record_share_one_value_and_its_time_is_in_utc() -> None:
    marks = Marks()
    for name, at in (
        (A, "2026-01-01T02:00:00+02:00"),
        (B, "2026-01-01T00:00:00Z"),
        (C, "0001-01-01T00:00:00+14:00"),
    ):
        revisions = '[{"stream":"shop/app","tag":"v1"},{"stream":"shop/app","tag":"v2"}]'
        marks.take(name, f'{{"version":1,"at":"{at}","revisions":{revisions}}}', None)
    retired, _ = marks.believable(datetime(2026, 1, 1, tzinfo=UTC))
    assert set(retired) == {A, B}
    assert retired[A] is retired[B]
    assert (retired[A].at.isoformat(), len(retired[A].tags)) == ("2026-01-01T00:00:00+00:00", 2)


# --- back into histories ----------------------------------------------------------------------------------------------


def stream_of(*items: dict[str, Any], tag: str = "v1", spec_tags: Any = ()) -> dict[str, Any]:
    return {
        "spec": {"tags": list(spec_tags)},
        "status": {"dockerImageRepository": "x", "tags": [{"tag": tag, "items": list(items)}]},
    }


@given(st.lists(st.integers(0, 3), max_size=8), st.data())
def test_R37_revisions_go_back_to_where_they_were(gaps: list[int], data: st.DataObject) -> None:
    """For a tag that has not moved since, whatever was removed, also of revisions of the same second."""
    created, items = NOW - timedelta(days=1), []
    for number, gap in enumerate(gaps):
        created -= timedelta(seconds=gap)
        items.append({"created": created.strftime("%Y-%m-%dT%H:%M:%SZ"), "image": f"sha256:{number}"})
    gone = data.draw(st.sets(st.sampled_from(range(len(items))))) if items else set()
    revisions = [
        RemovedRevision(stream="shop/app", tag="v1", position=number, item=items[number], at=NOW, run="")
        for number in data.draw(st.permutations(sorted(gone)))
    ]
    left = stream_of(*(item for number, item in enumerate(items) if number not in gone))
    if len(gone) == len(items):
        left["status"]["tags"] = []
    whole, placed = with_revisions(left, revisions)
    found = [tag["items"] for tag in whole["status"]["tags"] if tag["tag"] == "v1"]
    assert found == ([items] if items else found)
    assert {each.position for each in placed} == gone
    assert not any(each.below_current for each in placed)
    again, present = with_revisions(whole, revisions)
    assert again is whole
    assert [each.present for each in present] == [True] * len(gone)


def test_R37_a_tag_that_has_moved_gets_its_old_current_revision_below_the_new_one() -> None:
    new = {"created": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"), "image": B}
    whole, (placed,) = with_revisions(stream_of(new), [removed()])
    assert [item["image"] for item in whole["status"]["tags"][0]["items"]] == [B, A]
    assert (placed.position, placed.below_current) == (1, True)
    assert whole["status"]["dockerImageRepository"] == "x"


def test_R37_an_entry_of_spec_tags_comes_back_unless_there_is_another() -> None:
    entry = {"name": "v1", "from": {"kind": "ImageStreamTag", "name": "lib:v1"}}
    back, tags = with_spec_tags(stream_of(), [removed(spec_tag=entry)])
    assert (back["spec"]["tags"], tags) == ([entry], {"v1"})
    other = stream_of(spec_tags=[{"name": "v1"}])
    assert with_spec_tags(other, [removed(spec_tag=entry)]) == (other, set())


# --- what somebody wants back -----------------------------------------------------------------------------------------


def known(
    *records: tuple[str, list[RemovedRevision]], images: Any = (), tags: Any = None, restored: Any = ()
) -> Cluster:
    marked = {
        name: MarkedImage(name=name, record=Record(version=VERSION, at=RECENTLY, grace=60, revisions=tuple(revisions)))
        for name, revisions in records
    }
    marked |= {
        name: MarkedImage(name=name, restoration=Restoration(VERSION, NOW, NOW, ("sha256:1",))) for name in restored
    }
    return Cluster(marked=marked, images=frozenset({*marked, *images}), tags=tags or {})


def names_of(chosen: Chosen) -> dict[str, list[str]]:
    return {name: [each.name for each in revisions] for name, revisions in chosen.revisions.items()}


def test_R37_names_are_digests_their_beginnings_and_tags() -> None:
    cluster = known((A, [removed(), removed("shop/two:v1")]), (B, [removed(name=B, position=1)]))
    for name in (A, A[:20], A.partition(":")[2][:12]):
        assert names_of(choose(Choice(names=(name,)), cluster)) == {A: ["shop/app:v1", "shop/two:v1"]}
    assert names_of(choose(Choice(names=("shop/app:v1",)), cluster)) == {A: ["shop/app:v1"], B: ["shop/app:v1"]}


def test_R37_what_is_attached_to_the_chosen_comes_with_it() -> None:
    tags = [f"shop/app:{name.replace(':', '-')}.sig" for name in (A, B)]
    cluster = known((A, [removed()]), (B, [removed(tags[0], name=B)]), (C, [removed(tags[1], name=C)]))
    assert names_of(choose(Choice(names=(A,)), cluster)) == {A: ["shop/app:v1"], B: [tags[0]], C: [tags[1]]}


def test_R37_runs_and_times_choose_what_they_removed() -> None:
    other = msgspec.structs.replace(removed("shop/two:v1", at=LONG_AGO), run="sha256:2")
    cluster = known((A, [removed(), other]))
    assert names_of(choose(Choice(run="sha256:2"), cluster)) == {A: ["shop/two:v1"]}
    assert names_of(choose(Choice(since=RECENTLY), cluster)) == {A: ["shop/app:v1"]}
    with pytest.raises(
        NotRetiredError, match=r"the latest runs with retired revisions are sha256:1 at .*, sha256:2 at"
    ):
        choose(Choice(run="sha256:3"), cluster)
    with pytest.raises(NotRetiredError, match="no image is retired; nothing was changed"):
        choose(Choice(since=NOW), known())


def test_R37_what_was_restored_before_is_no_mistake() -> None:
    cluster = known(restored=[A], tags={"shop/app:v1": (A,)})
    for choice in (Choice(names=(A,)), Choice(names=("shop/app:v1",)), Choice(run="sha256:1")):
        assert choose(choice, cluster) == Chosen(revisions={}, already=(A,))


def test_R37_all_that_is_wrong_stands_in_one_message() -> None:
    cluster = known((A, [removed()]), images=[B], tags={"shop/app:v2": (), "shop/apq:v1": None})
    with pytest.raises(NotRetiredError) as caught:
        choose(Choice(names=("shop/app:v1", "shop/app:v2", "shop/apq:v1", B, C, "app")), cluster)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "nothing of shop/app:v2 can be restored: none of its revisions is retired",
        "nothing of shop/apq:v1 can be restored: there is no such image stream; retired near it: shop/app:v1",
        f"image {B} is not retired",
        f"there is no image {C}: it was deleted",
        "'app' is neither a digest nor namespace/stream:tag",
        "nothing was changed",
    ):
        assert part in message
