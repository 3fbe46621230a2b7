"""What `pruner explain` is told is what was decided: the first of all reasons for a revision is the plan's.

Plans are decided by code that is written for speed, explanations by code that is written for the reader. The properties
compare both on generated clusters; these are the cases in which they could come apart.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pruner.analysis import Analysis, analyse
from pruner.cluster.retirement import VERSION, Restoration
from pruner.plan import Approval
from pruner.reasons import (
    AmongNewest,
    Expired,
    ImageAppeared,
    KeptByRule,
    NotApproved,
    OlderRevisionKept,
    Reason,
    Restored,
)
from tests.builders.objects import (
    HOST,
    NOW,
    A,
    B,
    C,
    D,
    E,
    Object,
    analysed,
    at,
    deployment,
    from_,
    image,
    image_stream,
    item,
    limit,
    pod,
    revision,
    rule,
    rules,
    snapshot,
)

WEB = f"{HOST}/shop/web"
IMAGES: list[Object] = [image(name, size=size) for name, size in ((A, 5), (B, 50), (C, 500), (D, 5))]
SIGNATURE = f"sha256-{A.removeprefix('sha256:')}.sig"
PREVIEWS = rule("previews", tags=("pr-*",), keep_newest=0)
RELEASES = rule("releases", tags=("v*",), keep_newest=1, keep_tag_revisions=1)
OVER_SIZE = {"minutes": None, "revisions": None, "prune_over_size_limit": True}
STREAM = image_stream(
    "shop/web",
    {
        "latest": [item(A, 1), B, C, E],
        "pr-1": [A, B],
        "pr-2": [item(B, 1)],
        "pr-3": [item("web:v1"), item("")],
        "pr-4": [C, E],
        "v1": [C, B, A],
        "v2": [item(D, 90), B],
        "plain": [item("web:v1"), item(""), C],
        SIGNATURE: [D, C],
        "sha256-of-nothing": [D, C],
    },
    sources={"pr-1": from_("DockerImage", "elsewhere.example.com/shop/web:1")},
)
LIMITS = [limit("shop/limits", 10), limit("shop/wide", 100), limit("other/limits", 1)]
USERS = [
    deployment("x/tag", f"{WEB}:pr-1", f"{WEB}:v2"),
    deployment("x/digest", f"{WEB}@{B}"),
    pod("x/signature", f"{WEB}:{SIGNATURE}"),
    pod("x/named", f"{WEB}:sha256-of-nothing"),
]
ELSEWHERE = deployment("x/elsewhere", f"{HOST}/shop/another@{C}")


def all_reasons(found: Analysis) -> dict[tuple[str, int], tuple[Reason, list[Reason]]]:
    """What was decided on each revision of shop/web, and all reasons for it."""
    (history,) = found.histories
    return {
        (tag.tag, number): (
            tag.reasons[number],
            list(found.history_rules.reasons(history.stream, tag.tag, number, event)),
        )
        for tag in history.tags
        for number, event in enumerate(tag.items)
    }


ASKED: list[dict[str, Any]] = [
    {},
    {"revisions": 1},
    {"revisions": 2, "prune_over_size_limit": True},
    OVER_SIZE,
    {"protect": ("shop/web:pr-*",)},
    {"protect": (f"*@{C}", f"*@{E}")},
    {"namespace": "other"},
]
RULES = [(), (PREVIEWS,), (PREVIEWS, RELEASES)]


@pytest.mark.parametrize("users", [[], [ELSEWHERE], USERS], ids=len)
@pytest.mark.parametrize(
    "asked",
    [
        *({**asked, "retention": retention} for asked in ASKED for retention in RULES),
        {"references": "oc", "attached": "plain"},
    ],
)
def test_the_first_of_all_reasons_is_what_was_decided(users: list[Object], asked: dict[str, Any]) -> None:
    found = analysed(*IMAGES, STREAM, *users, *LIMITS, **asked)
    explained = all_reasons(found)
    assert len(explained) == 23
    for where, (decided, reasons) in explained.items():
        # What is written for the reader does not know of other revisions of the tag.
        if not isinstance(decided, OlderRevisionKept):
            assert reasons[0] == decided, where
            assert all(each.kept for each in reasons) if decided.kept else reasons == [decided], where


def test_all_reasons_know_what_was_approved() -> None:
    approved = Approval(revisions=frozenset({("shop/web", "latest", B, at(43200))}))
    found = analysed(image(A), image(B), image_stream("shop/web", latest=[A, B]), approval=approved)
    explained = all_reasons(found)
    assert explained["latest", 0] == (NotApproved(), [NotApproved()])
    decided, reasons = explained["latest", 1]
    assert not decided.kept
    assert reasons == [decided]


def test_an_expired_tag_that_is_declared_goes_when_its_entry_was_approved_R31() -> None:
    stream = image_stream("shop/web", {"pr-1": [A, B]}, sources={"pr-1": None})
    whole = analysed(image(A), image(B), stream, retention=(PREVIEWS,))
    approved = Approval.of(whole.plan)
    assert approved.spec_tags == {("shop/web", "pr-1")}
    again = analysed(image(A), image(B), stream, retention=(PREVIEWS,), approval=approved)
    assert [revision(again, "shop/web:pr-1", number) for number in (0, 1)] == [Expired("previews")] * 2
    without = msgspec.structs.replace(approved, spec_tags=frozenset())
    kept = analysed(image(A), image(B), stream, retention=(PREVIEWS,), approval=without)
    assert revision(kept, "shop/web:pr-1") == NotApproved()


def test_the_entry_of_one_image_stream_is_none_of_another_R31() -> None:
    names = ("shop/a", "shop/b", "shop/c")
    declared = {name: {"pr-1": None} for name in names[1:]}
    streams = [image_stream(name, {"pr-1": [A, B]}, sources=declared.get(name)) for name in names]
    whole = Approval.of(analysed(image(A), image(B), *streams, retention=(PREVIEWS,)).plan)
    approved = msgspec.structs.replace(whole, spec_tags=frozenset({("shop/b", "pr-1")}))
    found = analysed(image(A), image(B), *streams, retention=(PREVIEWS,), approval=approved)
    assert [revision(found, f"{name}:pr-1") for name in names] == [
        Expired("previews"),
        Expired("previews"),
        NotApproved(),
    ]


def test_an_attached_tag_without_a_subject_is_kept_by_its_own_rule_R33_R35() -> None:
    tag = f"sha256-{E.removeprefix('sha256:')}.sig"
    stream = image_stream("shop/web", {tag: [A, B, C]})
    images = [image(name) for name in (A, B, C)]
    for of_rule, kept in ((None, 1), (2, 2)):
        more = {} if of_rule is None else {"keep_tag_revisions": of_rule}
        retention = (rule("all", tags=("sha256-*",), keep="all", **more),)
        found = analysed(*images, stream, retention=retention, minutes=None, revisions=1)
        assert [revision(found, f"shop/web:{tag}", number).kept for number in range(3)] == [
            number < kept for number in range(3)
        ]
        assert revision(found, f"shop/web:{tag}") == KeptByRule("all")


def test_an_expired_tag_never_goes_back_to_an_image_that_appears_R19_R31() -> None:
    stream = image_stream("shop/web", {"pr-1": [A, B], "latest": [A, B]})
    found = analysed(image(A), stream, retention=(PREVIEWS,))
    kept = found.history_rules.keeping_images(found.histories[0], {B})
    reasons = {tag.tag: tag.reasons for tag in kept.tags}
    assert reasons["pr-1"] == (OlderRevisionKept(1), ImageAppeared())
    assert reasons["latest"][1] == ImageAppeared()
    assert not reasons["latest"][0].kept


def test_what_was_restored_is_kept_beside_what_is_pruned_and_what_is_kept_anyway_R37() -> None:
    until = NOW + timedelta(days=1)
    found = msgspec.structs.replace(
        snapshot(
            *(image(name) for name in (A, B, C)), image_stream("shop/web", latest=[A, B, C], old=[B, D], pr=[C, B])
        ),
        restored={B: Restoration(VERSION, NOW, until), D: Restoration(VERSION, NOW, until)},
    )
    for retention in ((), (rule("none", tags=("pr",), keep_newest=0),)):
        latest, old, previews = analyse(found, rules(revisions=1, retention=retention)).histories[0].tags
        assert latest.reasons[:2] == (AmongNewest(0, 1), Restored(until))
        assert not latest.reasons[2].kept
        assert old.reasons[0] == AmongNewest(0, 1)
        # There is no Image to restore.
        assert not old.reasons[1].kept
        assert previews.reasons[1] == Restored(until)
