"""Which steps `pruner storage` tries: each setting that keeps something one step looser, and idle workloads deleted.

What each step frees is what a plan with that setting frees more than the plan of now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pruner.analysis import analyse, find_usage
from pruner.analysis.prune import decide
from pruner.analysis.storage import idle_workloads, storage
from pruner.analysis.storage_steps import DeleteIdle, SetTo, Step, steps, usage_for
from pruner.cluster.objects import Snapshot
from pruner.settings import AnalysisSettings, RetentionRule
from tests.builders.objects import (
    HOST,
    A,
    B,
    C,
    D,
    controller,
    digest,
    from_,
    image,
    image_stream,
    item,
    pod,
    rule,
    rules,
    snapshot,
)
from tests.unit.test_storage import measured, replica_set, scaled

OF = {name: digest(f"layer of {name}") for name in (A, B, C, D)}
SIZES = {OF[A]: 1000, OF[B]: 200, OF[C]: 30, OF[D]: 4}
FIRST_RULE = SetTo("retention", "", "30d")
HOUR = 60.0
"""Minutes."""


def stored(name: str, **more: Any) -> Any:
    """An image with a layer of its own."""
    return image(name, layers=[OF[name]], **more)


def tried(found: Snapshot, asked: AnalysisSettings) -> dict[SetTo | DeleteIdle, Step]:
    steps = measured(found, asked)[1]
    by_change = {step.change: step for step in steps}
    assert len(by_change) == len(steps)
    return by_change


def more_than_now(found: Snapshot, now: AnalysisSettings, then: AnalysisSettings) -> tuple[int, int]:
    """The images and bytes that a plan prunes with the other settings."""
    plans = [analyse(found, asked).plan.summary for asked in (now, then)]
    return plans[1].images - plans[0].images, plans[1].bytes - plans[0].bytes


def crowded(**more: Any) -> Snapshot:
    """One tag with four revisions, of which the second is young."""
    return snapshot(
        *(stored(name) for name in (A, B, C, D)),
        image_stream("shop/web", latest=[item(A, age=200), item(B, age=90), item(C, age=9000), item(D, age=9900)]),
        blob_sizes=SIZES,
        **more,
    )


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({"revisions": 3}, [("keep_tag_revisions", "3", "2")]),
        ({"revisions": 1}, [("keep_tag_revisions", "1", "0")]),
        ({"minutes": 120}, [("keep_younger_than", "120", "60")]),
        ({"minutes": 2 * 1440}, [("keep_younger_than", "2d", "1d")]),
        ({"minutes": 1440}, [("keep_younger_than", "1d", "720")]),
        ({"minutes": 101}, [("keep_younger_than", "101", "50")]),
        ({"namespace": "shop"}, [("namespace", "shop", "")]),
        ({"protect": ("shop/*", "a/b")}, [("protect", "shop/*, a/b", "")]),
        ({"minutes": 120, "revisions": 2}, [("keep_tag_revisions", "2", "1"), ("keep_younger_than", "120", "60")]),
        ({}, []),
        ({"minutes": None, "revisions": None, "prune_over_size_limit": True}, []),
    ],
)
def test_settings_that_keep_something_are_tried_one_step_looser(
    asked: dict[str, Any], changes: Sequence[tuple[str, str, str]]
) -> None:
    wanted = {SetTo(*change) for change in changes} | {FIRST_RULE}
    assert set(tried(crowded(), rules(**{"minutes": 0, **asked}))) == wanted


@pytest.mark.parametrize(
    ("asked", "looser", "change"),
    [
        ({"revisions": 3}, {"revisions": 2}, SetTo("keep_tag_revisions", "3", "2")),
        ({"minutes": 170}, {"minutes": 85}, SetTo("keep_younger_than", "170", "85")),
        ({"namespace": "data"}, {"namespace": None}, SetTo("namespace", "data", "")),
        ({"protect": ("shop/*",)}, {"protect": ()}, SetTo("protect", "shop/*", "")),
    ],
)
def test_a_step_frees_what_a_plan_with_it_does(asked: dict[str, Any], looser: dict[str, Any], change: SetTo) -> None:
    found, now = crowded(), rules(**{"minutes": 0, **asked})
    more = more_than_now(found, now, rules(**{"minutes": 0, **asked, **looser}))
    assert more[1] > 0
    assert tried(found, now)[change] == Step(change, *more)


def test_a_first_retention_rule_expires_tags_that_are_older_than_thirty_days() -> None:
    days = 24 * HOUR
    found = snapshot(
        *(stored(name) for name in (A, B)),
        image_stream("shop/web", young=[item(A, age=29 * days)], old=[item(B, age=31 * days)]),
        blob_sizes=SIZES,
    )
    assert tried(found, rules(revisions=1))[FIRST_RULE] == Step(FIRST_RULE, 1, 200)


def test_conditions_of_retention_rules_are_tried_one_by_one() -> None:
    days = 24 * HOUR
    found = snapshot(
        *(stored(name) for name in (A, B, C)),
        image_stream("shop/web", {"v3": [item(A, age=1 * days)], "v2": [item(B, age=8 * days)], "v1": [C]}),
        blob_sizes=SIZES,
    )
    both = rule("releases", keep_newest=2, keep_younger_than="10d")
    now = rules(retention=(both,))
    steps = tried(found, now)
    fewer, younger = (
        SetTo("keep_newest", "2", "1", "releases"),
        SetTo("keep_younger_than", "10d", "5d", "releases"),
    )
    assert set(steps) == {fewer, younger}
    # Each of the two alone keeps v2.
    assert [steps[each].bytes for each in (fewer, younger)] == [0, 0]
    one = rules(retention=(rule("releases", keep_newest=2),))
    assert tried(found, one) == {fewer: Step(fewer, 1, 200)}
    last = rules(retention=(rule("releases", keep_newest=1),))
    none = SetTo("keep_newest", "1", "0", "releases")
    assert tried(found, last) == {none: Step(none, 1, 1000)}
    aged = rules(retention=(rule("releases", keep_younger_than="10d"),))
    assert tried(found, aged) == {younger: Step(younger, 1, 200)}


def test_the_first_three_retention_rules_are_tried() -> None:
    retention = tuple(rule(f"rule {number}", tags=(f"{number}*",), keep_newest=1) for number in range(5))
    found = snapshot(
        *(stored(name) for name in (A, B, C, D)),
        image_stream("shop/web", {"0": [A], "1": [B], "2": [C], "3": [D]}),
        blob_sizes=SIZES,
    )
    steps = measured(found, rules(retention=retention))[1]
    # Each replaces its own rule and leaves the others; those that free most come first.
    assert [(step.change, step.bytes) for step in steps] == [
        (SetTo("keep_newest", "1", "0", f"rule {number}"), size) for number, size in enumerate([1000, 200, 30])
    ]


@pytest.mark.parametrize("age", [HOUR - 1, HOUR, HOUR + 1])
@pytest.mark.parametrize("young", ["image", "stream", "revision", "pod"])
def test_an_age_is_tried_where_something_is_younger(young: str, age: float) -> None:
    """A pod that is exactly as old counts (R5), and nothing else does."""
    ages = {"image": 999.0, "stream": 999.0, "revision": 999.0, "pod": 999.0, young: age}
    found = snapshot(
        stored(A, age=ages["image"]),
        image_stream("shop/api", latest=None),
        image_stream("shop/web", age=ages["stream"], latest=[item(A, age=999), item(A, age=ages["revision"])]),
        pod("shop/web", f"{HOST}/shop/web:latest", age=ages["pod"]),
        blob_sizes=SIZES,
    )
    assert (SetTo("keep_younger_than", "60", "30") in tried(found, rules(minutes=HOUR))) == (
        age <= HOUR if young == "pod" else age < HOUR
    )


def test_R5_a_lower_age_frees_what_a_pod_that_has_ended_used() -> None:
    found = snapshot(
        *(stored(name) for name in (A, B)),
        image_stream("shop/web", latest=[A, B]),
        pod("shop/web", f"{HOST}/shop/web@{B}", phase="Succeeded", age=45),
        blob_sizes=SIZES,
    )
    change = SetTo("keep_younger_than", "60", "30")
    assert tried(found, rules(minutes=HOUR))[change] == Step(change, 1, 200)


def test_R5_a_lower_age_is_tried_with_the_sources_of_expired_tags_apart_R31() -> None:
    """A tag that a retention rule removes keeps nothing that it comes from."""
    found = snapshot(
        *(stored(name) for name in (A, B)),
        image_stream("shop/dev", {"pr-1": [A]}),
        image_stream("shop/prod", {"pr-1": [A]}, sources={"pr-1": from_("ImageStreamTag", "dev:pr-1")}),
        image_stream("shop/web", latest=[item(B, age=45)]),
        blob_sizes=SIZES,
    )
    change = SetTo("keep_younger_than", "60", "30")
    now, then = (rules(minutes=age, retention=(rule(keep_newest=0),)) for age in (60, 30))
    assert more_than_now(found, now, then) == (1, 200)
    assert tried(found, now)[change] == Step(change, 1, 200)


def test_idle_workloads_that_name_tags_are_tried_without_them() -> None:
    names = [f"{HOST}/shop/web:v1", f"{HOST}/shop/web@{B}", f"{HOST}/elsewhere/web@{C}"]
    found = snapshot(
        *(stored(name) for name in (A, B, C)),
        image_stream("shop/web", v1=[A, B], v2=[C]),
        *(scaled(controller("ReplicaSet", f"shop/x{number}", name), 0) for number, name in enumerate(names)),
        blob_sizes=SIZES,
    )
    change = DeleteIdle("ReplicaSet", 3)
    assert tried(found, rules(revisions=0))[change] == Step(change, 3, 1230)


def test_what_a_selector_protects_is_tried_without_it() -> None:
    found = crowded(protected=["ImageStream shop/web"])
    asked = rules(protect_selector="keep=yes")
    change = SetTo("protect_selector", "keep=yes", "")
    assert tried(found, asked)[change] == Step(change, 4, 1234)


def test_idle_workloads_are_tried_by_kind_and_only_where_they_keep_something() -> None:
    found = snapshot(
        *(stored(name) for name in (A, B, C)),
        image_stream("shop/web", latest=[A, B, C]),
        replica_set("shop/web-1", 0, B),
        replica_set("shop/web-2", 0, A),
        pod("shop/job", f"{HOST}/shop/web@{C}", phase="Failed", age=30),
        pod("shop/other", "elsewhere.example.com/image", phase="Failed", age=30),
        blob_sizes=SIZES,
    )
    sets, pods = DeleteIdle("ReplicaSet", 2), DeleteIdle("Pod", 2)
    steps = tried(found, rules())
    assert (steps[sets], steps[pods]) == (Step(sets, 2, 1200), Step(pods, 1, 30))
    without = msgspec.structs.replace(found, referrers=tuple(each for each in found.referrers if "other" in each.name))
    assert not any(isinstance(change, DeleteIdle) for change in tried(without, rules()))


@pytest.mark.parametrize("grace", [timedelta(), timedelta(days=7)])
def test_steps_are_decided_by_the_usage_that_is_known_and_workloads_are_not_looked_at_again(grace: timedelta) -> None:
    found = snapshot(
        *(stored(name) for name in (A, B, C)),
        image_stream("shop/web", latest=[A, B], v1=[C]),
        pod("shop/web", f"{HOST}/shop/web:latest"),
        replica_set("shop/web-1", 0, B),
        blob_sizes=SIZES,
    )
    asked = rules(protect=("shop/web:v1",), grace=grace)
    idle, apart = idle_workloads(found.referrers), find_usage(found, asked, sources_apart=True)
    decided = decide(found, asked, usage=usage_for(asked, apart))
    result = storage(decided, found.blob_sizes, idle)
    without = msgspec.structs.replace(found, referrers=())
    changes: list[SetTo | DeleteIdle] = [SetTo("protect", "shop/web:v1", ""), FIRST_RULE, DeleteIdle("ReplicaSet", 1)]
    expected = tried(found, asked)
    assert [expected[change].bytes for change in changes] == [30, 0, 200]
    assert {step.change: step for step in steps(without, asked, apart, decided, idle, result)} == expected


@pytest.mark.parametrize("retention", [(), (rule(keep="all"),)])
def test_the_usage_of_a_step_is_as_it_is_found_for_its_settings(retention: tuple[RetentionRule, ...]) -> None:
    found = snapshot(
        image(A),
        image_stream("shop/dev", v1=[A]),
        image_stream("shop/prod", v1=[A], sources={"v1": from_("ImageStreamTag", "dev:v1")}),
    )
    asked = rules(retention=retention)
    apart = find_usage(found, asked, sources_apart=True)
    assert len(apart.sources) == 1
    assert usage_for(asked, apart) == find_usage(found, asked, sources_apart=bool(retention))


def test_steps_that_free_the_same_are_sorted_by_what_they_change() -> None:
    found = snapshot(image_stream("shop/web"), image_stream("data/web", age=5))
    asked = rules(minutes=60, revisions=2, namespace="shop", protect=("data/*",))
    changes = [step.change for step in measured(found, asked)[1]]
    assert len(changes) == 5
    assert changes == sorted(changes, key=str)


def test_of_steps_that_free_the_same_those_of_more_images_come_first() -> None:
    found = snapshot(
        *(stored(name) for name in (A, B)),
        image(C, layers=[OF[B]]),
        image(D),
        image_stream("shop/web", latest=[A, C]),
        image_stream("data/etl", latest=[A, B, D]),
        blob_sizes={OF[A]: 1000},
    )
    steps = measured(found, rules(revisions=1, protect=("data/*",)))[1]
    order = [(step.bytes, step.images) for step in steps]
    assert order == sorted(order, reverse=True)
    assert len({images for size, images in order if size == 0}) > 1
