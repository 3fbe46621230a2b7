"""Which revisions of tags are kept, and by which rule: R14 to R21."""

from __future__ import annotations

from decimal import Decimal

import pytest
from kubernetes.utils.quantity import parse_quantity

from pruner.analysis import Analysis, Usage
from pruner.plan import Approval
from pruner.reasons import (
    AmongNewest,
    BeyondNewest,
    CurrentOfReferencedTag,
    ImageAbsent,
    ImageAppeared,
    ImageTooYoung,
    NotApproved,
    OlderRevisionKept,
    OutsideNamespace,
    OverSizeLimit,
    Protected,
    ReferencedInStream,
    ReferenceOnly,
    RevisionTooYoung,
    StreamTooYoung,
)
from pruner.settings import RetentionRule
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
    image,
    image_stream,
    index,
    item,
    kept_by,
    limit,
    limit_range,
    pod,
    pruned_by,
    revision,
    rule,
)

WEB = f"{HOST}/shop/web"
IMAGES = [image(name) for name in (A, B, C, D, E)]
SECOND = 1 / 60


def outcome(*objects: Object, tag: str = "shop/web:latest", number: int = 0, **asked: object) -> str | None:
    """The rule that keeps this revision of a cluster that has all the images."""
    return kept_by(revision(analysed(*IMAGES, *objects, **asked), tag, number))


def remaining(analysis: Analysis, tag: str = "shop/web:latest") -> list[str]:
    stream, _, name = tag.partition(":")
    (found,) = (
        each
        for history in analysis.histories
        if history.stream.name == stream
        for each in history.tags
        if each.tag == name
    )
    return [each.image for each in found.remaining()]


# --- R14: age --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "rule"), [(60 - SECOND, "R14"), (60, None), (60 + SECOND, None), (0, "R14"), (-5, "R14")]
)
def test_a_revision_younger_than_the_age_limit_is_kept_R14(age: float, rule: str | None) -> None:
    assert outcome(image_stream("shop/web", latest=[item(A, age)])) == rule


@pytest.mark.parametrize(("age", "rule"), [(60 - SECOND, "R14"), (60, None), (60 + SECOND, None)])
def test_all_of_a_young_image_stream_is_kept_R14(age: float, rule: str | None) -> None:
    stream = image_stream("shop/web", latest=[A, B], age=age)
    assert outcome(stream, number=0) == outcome(stream, number=1) == rule


@pytest.mark.parametrize("minutes", [1.5, 1])
def test_an_age_is_said_in_whole_minutes_R14(minutes: float) -> None:
    stream = image_stream("shop/web", latest=[item(A, 0.5)])
    found = analysed(image(A), image(B, age=0.5), stream, image_stream("shop/db", latest=[A], age=1), minutes=minutes)
    assert repr(revision(found, "shop/web:latest")) == repr(RevisionTooYoung(1))
    assert repr(found.images[B]) == repr(ImageTooYoung(1))
    if minutes > 1:
        assert repr(revision(found, "shop/db:latest")) == repr(StreamTooYoung(1))


def test_what_is_young_is_said_R14() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[item(A, 1)]), image_stream("shop/db", latest=[A], age=1))
    assert revision(found, "shop/web:latest") == RevisionTooYoung(60)
    assert revision(found, "shop/db:latest") == StreamTooYoung(60)


def test_a_young_stream_keeps_revisions_without_an_image_R14() -> None:
    found = analysed(image_stream("shop/web", latest=[A], age=1))
    assert revision(found, "shop/web:latest").rule == "R14"
    assert found.plan.empty


def test_every_young_revision_is_kept_wherever_it_stands_R14() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A, item(B, 5), C]))
    assert remaining(found) == [B]


def test_a_revision_without_a_time_is_old_R14() -> None:
    assert outcome(image_stream("shop/web", latest=[item(A, None)])) is None
    found = analysed(*IMAGES, image_stream("shop/web", latest=[item(A, None)]))
    assert found.plan.streams[0].revisions[0].created.year == 1


def test_zero_minutes_keep_what_is_newer_than_now_only_R14() -> None:
    assert outcome(image_stream("shop/web", latest=[item(A, 0)]), minutes=0) is None
    assert outcome(image_stream("shop/web", latest=[item(A, -SECOND)]), minutes=0) == "R14"


def test_without_an_age_limit_nothing_is_young_R14() -> None:
    stream = image_stream("shop/web", latest=[item(A, -5)], age=-5)
    assert outcome(stream, minutes=None) is None


# --- R15: the current revision of a used tag -------------------------------------------------------------------------


def test_current_revision_of_a_used_tag_is_kept_R15() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A, B]), deployment("shop/x", WEB))
    decision = revision(found, "shop/web:latest", 0)
    assert decision == CurrentOfReferencedTag(("Deployment shop/x",))


def test_earlier_revisions_of_a_used_tag_are_not_R15() -> None:
    assert remaining(analysed(*IMAGES, image_stream("shop/web", latest=[A, B]), deployment("shop/x", WEB))) == [A]


def test_another_tag_and_another_stream_are_not_used_R15() -> None:
    found = analysed(
        *IMAGES,
        image_stream("shop/web", latest=[A], v1=[B]),
        image_stream("shop/db", latest=[C]),
        deployment("shop/x", WEB),
    )
    assert pruned_by(revision(found, "shop/web:v1")) == "R16"
    assert pruned_by(revision(found, "shop/db:latest")) == "R16"


@pytest.mark.parametrize("user", [deployment("shop/x", WEB), pod("shop/x", WEB)])
def test_the_current_revision_of_a_used_tag_is_kept_without_an_image_R15_R19(user: Object) -> None:
    assert kept_by(revision(analysed(image_stream("shop/web", latest=[A]), user), "shop/web:latest")) == "R15"


def test_age_comes_before_use_R14_R15() -> None:
    assert outcome(image_stream("shop/web", latest=[item(A, 1)]), deployment("shop/x", WEB)) == "R14"


# --- R16: revisions and sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_the_newest_revisions_of_every_tag_are_kept_R16(count: int) -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A, B, C], v1=[D]), revisions=count)
    assert remaining(found) == [A, B, C][:count]
    assert remaining(found, "shop/web:v1") == [D][:count]


def test_the_number_of_a_revision_is_said_R16() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A, B, C]), revisions=2)
    assert [revision(found, "shop/web:latest", number) for number in range(3)] == [
        AmongNewest(0, 2),
        AmongNewest(1, 2),
        BeyondNewest(2, 2),
    ]


def test_equal_decisions_on_tags_with_as_many_revisions_are_one_object_R16() -> None:
    found = analysed(
        *IMAGES, image_stream("shop/web", a=[A, B], b=[C], c=[C, D]), image_stream("shop/x", d=[D, E]), revisions=1
    )
    a, b, c, d = (tag.decisions for history in found.histories for tag in history.tags)
    assert a.reasons == (AmongNewest(0, 1), BeyondNewest(1, 1))
    assert (a is c, a is d, a is b) == (True, True, False)
    assert a.reasons[0] is b.reasons[0]


def test_each_revision_that_goes_has_its_own_number_R16() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A, B]))
    assert [revision(found, "shop/web:latest", number) for number in (0, 1)] == [BeyondNewest(0, 0), BeyondNewest(1, 0)]


def test_use_comes_before_the_number_R15_R16() -> None:
    assert outcome(image_stream("shop/web", latest=[A]), deployment("shop/x", WEB), revisions=1) == "R15"


@pytest.mark.parametrize(
    ("storage", "size", "kept"),
    [
        ("1K", 1000, True),
        ("1K", 1001, False),
        ("1k", 1001, False),
        ("1Ki", 1024, True),
        ("1Ki", 1025, False),
        ("1.5Gi", 1610612736, True),
        ("1.5Gi", 1610612737, False),
        ("1e9", 1_000_000_000, True),
        ("1e9", 1_000_000_001, False),
        ("1E9", 1_000_000_001, False),
        ("500m", 1, False),
        ("1500m", 1, True),
        ("1500m", 2, False),
        ("2M", 2_000_000, True),
        ("2M", 2_000_001, False),
        ("2Mi", 2_097_152, True),
        ("2Mi", 2_097_153, False),
        ("3G", 3_000_000_001, False),
        ("1Ti", 1 << 40, True),
        ("1Ti", (1 << 40) + 1, False),
        ("1T", 10**12 + 1, False),
        ("1Pi", (1 << 50) + 1, False),
        ("1Ei", (1 << 60) + 1, False),
        ("0", 1, False),
        (100, 100, True),
        (100, 101, False),
    ],
)
def test_sizes_are_compared_with_exact_quantities_R16(storage: object, size: int, kept: bool) -> None:
    found = analysed(
        image(A, size=size),
        image_stream("shop/web", latest=[A]),
        limit_range("shop/limits", storage),
        minutes=None,
        revisions=None,
        prune_over_size_limit=True,
    )
    decision = revision(found, "shop/web:latest")
    assert decision.kept is kept
    assert decision.rule == "R16"
    if not kept:
        assert decision == OverSizeLimit(size, parse_quantity(storage), "shop/limits")


OVERSIZE = {"minutes": None, "revisions": None, "prune_over_size_limit": True}


def test_limits_of_other_kinds_and_other_namespaces_do_not_count_R16() -> None:
    found = analysed(
        image(A, size=100),
        image_stream("shop/web", latest=[A]),
        limit_range("shop/containers", "1", "Container"),
        limit_range("other/limits", "1"),
        **OVERSIZE,
    )
    assert kept_by(revision(found, "shop/web:latest")) == "R16"
    assert found.plan.empty


def test_every_limit_of_the_namespace_counts_and_the_smallest_is_named_R16() -> None:
    limits = [limit("shop/b", 50), limit("shop/a", 500), limit("shop/c", 10)]
    found = analysed(image(A, size=100), image_stream("shop/web", latest=[A]), *limits, **OVERSIZE)
    assert revision(found, "shop/web:latest") == OverSizeLimit(100, Decimal(10), "shop/c")


@pytest.mark.parametrize("kept", [image(A, size=None), image(A, size=0)])
def test_an_image_without_a_size_exceeds_no_limit_R16(kept: Object) -> None:
    found = analysed(kept, image_stream("shop/web", latest=[A]), limit("shop/limits", 10), **OVERSIZE)
    assert kept_by(revision(found, "shop/web:latest")) == "R16"


def test_over_size_mode_keeps_used_young_and_protected_revisions_R14_R18() -> None:
    found = analysed(
        *(image(name, size=100) for name in (A, B, C, D)),
        image_stream("shop/web", latest=[A, B], young=[item(C, 5)], safe=[D]),
        deployment("shop/x", WEB, f"{WEB}@{B}"),
        limit("shop/limits", 10),
        **{**OVERSIZE, "minutes": 60},
        protect=("shop/web:safe",),
    )
    assert [
        kept_by(revision(found, f"shop/web:{tag}", number))
        for tag, number in (("latest", 0), ("latest", 1), ("young", 0), ("safe", 0))
    ] == ["R15", "R17", "R14", "R18"]


def test_revisions_and_size_must_agree_to_a_deletion_R16() -> None:
    found = analysed(
        image(A, size=100),
        image(B, size=100),
        image(C, size=5),
        image_stream("shop/web", latest=[A, B, C]),
        limit("shop/limits", 10),
        minutes=None,
        revisions=1,
        prune_over_size_limit=True,
    )
    assert remaining(found) == [A, C]


def test_limits_do_not_count_without_prune_over_size_limit_R16() -> None:
    found = analysed(image(A, size=100), image_stream("shop/web", latest=[A]), limit("shop/limits", 1000))
    assert revision(found, "shop/web:latest") == BeyondNewest(0, 0)


# --- R17: digests ----------------------------------------------------------------------------------------------------


def test_a_digest_used_in_the_stream_is_kept_at_any_revision_R17() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A, B], v1=[B]), deployment("shop/x", f"{WEB}@{B}"))
    assert kept_by(revision(found, "shop/web:latest", 1)) == kept_by(revision(found, "shop/web:v1")) == "R17"
    assert revision(found, "shop/web:v1") == ReferencedInStream(("Deployment shop/x",))
    assert remaining(found) == [B]


def test_a_digest_used_in_another_stream_keeps_no_revision_R17() -> None:
    found = analysed(
        *IMAGES,
        image_stream("shop/web", latest=[A]),
        image_stream("shop/db", latest=[A]),
        deployment("shop/x", f"{WEB}@{A}"),
    )
    assert kept_by(revision(found, "shop/db:latest")) is None


@pytest.mark.parametrize(("references", "rule"), [("extended", "R17"), ("oc", None)])
def test_a_used_member_keeps_revisions_of_its_index_R12_R17(references: str, rule: str | None) -> None:
    nested = [image(A), index(B, [A]), index(C, [B])]
    found = analysed(
        *nested,
        image_stream("shop/web", latest=[C]),
        deployment("shop/x", f"{WEB}@{A}"),
        pod("shop/y", f"{WEB}@{C}", phase="Failed"),
        references=references,
    )
    assert kept_by(revision(found, "shop/web:latest")) == rule


@pytest.mark.parametrize(("references", "rule"), [("extended", "R17"), ("oc", None)])
def test_a_used_tag_keeps_revisions_of_the_index_above_its_image_R12_R17(references: str, rule: str | None) -> None:
    stream = image_stream("shop/web", latest=[A], multi=[B], old=[A])
    found = analysed(image(A), index(B, [A]), stream, deployment("x/y", f"{WEB}:latest"), references=references)
    assert kept_by(revision(found, "shop/web:multi")) == rule
    assert kept_by(revision(found, "shop/web:old")) is None


def test_users_of_an_index_by_tag_and_by_digest_are_named_together_R12_R17() -> None:
    stream = image_stream("shop/web", latest=[A], multi=[B])
    users = [deployment("x/z", f"{WEB}:latest"), deployment("x/y", f"{WEB}@{B}"), deployment("x/a", f"{WEB}:latest")]
    found = analysed(image(A), index(B, [A]), stream, *users)
    assert revision(found, "shop/web:multi") == ReferencedInStream(
        ("Deployment x/a", "Deployment x/y", "Deployment x/z")
    )


def test_users_of_an_index_and_of_its_members_are_named_together_R12_R17() -> None:
    found = analysed(
        image(A),
        image(B),
        index(C, [A, B]),
        image_stream("shop/web", latest=[C]),
        deployment("shop/x", f"{WEB}@{A}"),
        deployment("shop/y", f"{WEB}@{B}"),
        deployment("shop/z", f"{WEB}@{C}"),
    )
    assert revision(found, "shop/web:latest") == ReferencedInStream(
        ("Deployment shop/x", "Deployment shop/y", "Deployment shop/z")
    )


# --- R18: protection -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["shop/web", "shop/web:latest", "shop/*", "*/web:l*", A, "sha256:*"])
def test_what_a_pattern_matches_is_kept_R18(pattern: str) -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A]), protect=(pattern,))
    assert revision(found, "shop/web:latest") == Protected(pattern)


@pytest.mark.parametrize("pattern", ["shop/we", "shop/web:v1", "other/*", B, "*/*:v?"])
def test_what_no_pattern_matches_goes_R18(pattern: str) -> None:
    assert outcome(image_stream("shop/web", latest=[A]), protect=(pattern,)) is None


@pytest.mark.parametrize("pattern", ["shop/web", "shop/web:latest", A])
def test_protected_revisions_stay_without_an_image_R18_R19(pattern: str) -> None:
    found = analysed(image_stream("shop/web", latest=[A]), protect=(pattern,))
    assert kept_by(revision(found, "shop/web:latest")) == "R18"


def test_use_comes_before_protection_R17_R18() -> None:
    found = analysed(
        *IMAGES, image_stream("shop/web", latest=[A]), deployment("shop/x", f"{WEB}@{A}"), protect=("shop/web",)
    )
    assert kept_by(revision(found, "shop/web:latest")) == "R17"


# --- uses that come up during a run ----------------------------------------------------------------------------------


def test_uses_that_come_up_later_count_in_later_decisions_R28() -> None:
    stream = image_stream("shop/web", latest=[A, B], v1=[C])
    found = analysed(*IMAGES, stream, deployment("shop/x", WEB))
    assert len(found.plan.streams[0].revisions) == 2
    found.history_rules.also_used(
        Usage(
            tags={("shop/web", "latest"): ("Pod shop/b",), ("shop/web", "v1"): ("Pod shop/a",)},
            digests={("shop/web", B): ("Pod shop/c",)},
        )
    )
    latest, v1 = found.history_rules.decide(stream).tags
    assert latest.reasons == (
        CurrentOfReferencedTag(("Deployment shop/x", "Pod shop/b")),
        ReferencedInStream(("Pod shop/c",)),
    )
    assert v1.reasons == (CurrentOfReferencedTag(("Pod shop/a",)),)


def test_users_of_a_digest_that_come_up_later_join_the_earlier_R28() -> None:
    stream = image_stream("shop/web", latest=[A])
    found = analysed(*IMAGES, stream, deployment("shop/x", f"{WEB}@{A}"))
    found.history_rules.also_used(Usage(digests={("shop/web", A): ("Pod shop/b",)}))
    (latest,) = found.history_rules.decide(stream).tags
    assert latest.reasons == (ReferencedInStream(("Deployment shop/x", "Pod shop/b")),)


def test_all_reasons_for_a_revision_are_those_of_its_own_tag_and_namespace() -> None:
    stream = image_stream("shop/web", v1=[C], latest=[item(A, 1), B], v2=[B])
    users = [deployment("x/y", f"{WEB}:latest"), deployment("x/z", f"{WEB}@{A}")]
    limits = [limit("shop/limits", 10), limit("other/limits", 100)]
    asked = {"revisions": 1, "prune_over_size_limit": True, "protect": ("shop/web:latest",)}
    for size, small in ((5, ["R16"]), (50, [])):
        found = analysed(image(A, size=size), image(B, size=size), stream, *users, *limits, **asked)

        def reasons(tag: str, number: int, found: Analysis = found) -> list[str]:
            (event,) = (each.items[number] for each in stream.histories if each.tag == tag and each.items)
            return [each.rule for each in found.history_rules.reasons(stream, tag, number, event) if each.kept]

        assert reasons("latest", 0) == ["R14", "R15", "R16", *small, "R17", "R18"]
        assert reasons("latest", 1) == [*small, "R18"]
        assert reasons("v2", 0) == ["R16", *small]
        assert reasons("v1", 0) == []


# --- R19, R20: what is absent or empty -------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{"revisions": 3}, {"revisions": 0}, OVERSIZE])
def test_a_revision_without_an_image_goes_R19(asked: dict[str, object]) -> None:
    found = analysed(image(B), image_stream("shop/web", latest=[A, B]), deployment("x/y", f"{WEB}@{A}"), **asked)
    assert revision(found, "shop/web:latest") == ImageAbsent()
    first = found.plan.streams[0].revisions[0]
    assert (first.image, first.reason) == (A, ImageAbsent())


@pytest.mark.parametrize("references", ["extended", "oc"])
def test_a_revision_that_names_no_image_at_all_stays_R19(references: str) -> None:
    """`oc tag --reference` makes such ones: no GET of an Image could answer 404 for them."""
    found = analysed(image_stream("shop/web", latest=[item("")], v1=[A, item("")]), references=references)
    assert revision(found, "shop/web:latest", 0) == revision(found, "shop/web:v1", 1) == ReferenceOnly()
    assert [each.image for each in found.plan.streams[0].revisions] == [A]


@pytest.mark.parametrize("name", [".", "..", "a/b", "a%b"])
@pytest.mark.parametrize("retention", [(), (rule(keep="all"),)], ids=["setting", "rule"])
def test_a_revision_of_what_no_image_can_be_called_stays_R19(name: str, retention: tuple[RetentionRule, ...]) -> None:
    found = analysed(image_stream("shop/web", latest=[A, name]), retention=retention)
    reasons = [revision(found, "shop/web:latest", number) for number in (0, 1)]
    # A tag must not move back, so that where a rule decides the current revision stays too.
    assert reasons == [OlderRevisionKept(1) if retention else ImageAbsent(), ReferenceOnly()]


@pytest.mark.parametrize("protect", [(), ("a/*",)])
def test_all_reasons_for_a_revision_without_an_image_R18_R19(protect: tuple[str, ...]) -> None:
    stream = image_stream("a/web", latest=[A, "a/b", ""])
    found = analysed(stream, protect=protect)
    reasons = [
        [*found.history_rules.reasons(stream, "latest", number, item(name))]
        for number, name in enumerate((A, "a/b", ""))
    ]
    expected = [Protected("a/*")] if protect else [ReferenceOnly()]
    assert reasons == [[Protected("a/*")] if protect else [ImageAbsent()], expected, [ReferenceOnly()]]


def test_an_image_that_exists_after_all_keeps_its_revisions_R19() -> None:
    found = analysed(image(C), image_stream("shop/web", latest=[A, B, C], v1=[A]))
    kept = found.history_rules.keeping_images(found.histories[0], {A, C})
    latest, v1 = kept.tags
    assert latest.reasons == (ImageAppeared(), ImageAbsent(), ImageAppeared())
    assert kept.remaining() == {A, C}
    assert kept.pruned() == {B}
    assert (latest.tag, v1.tag, kept.stream) == ("latest", "v1", found.histories[0].stream)


def test_kept_revisions_keep_their_reason_when_images_appear_R19() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A]), revisions=1)
    assert found.history_rules.keeping_images(found.histories[0], {A}) == found.histories[0]


def test_a_tag_that_loses_its_last_revision_is_removed_R20() -> None:
    found = analysed(
        *IMAGES, image_stream("shop/web", {"z": [A], "b": [B], "kept": [item(C, 1)], "half": [item(D, 1), E]})
    )
    assert found.plan.streams[0].removed_tags == ("b", "z")


@pytest.mark.parametrize("items", [None, []])
def test_a_tag_with_conditions_only_stays_R20(items: list[str] | None) -> None:
    found = analysed(*IMAGES, image_stream("shop/web", failed=items, latest=[A]))
    assert found.plan.streams[0].removed_tags == ("latest",)
    assert found.histories[0].tags[0].items == ()


def test_a_stream_without_tags_has_nothing_to_prune_R20() -> None:
    assert analysed(image_stream("shop/web")).plan.empty
    bare = image_stream("shop/web")
    assert analysed(type(bare)(bare.metadata)).plan.empty


def test_the_plan_lists_revisions_by_tag_with_their_numbers_R20() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", {"b": [item(A, 90), item(B, 1), C], "a": [D]}))
    (change,) = found.plan.streams
    assert [(each.tag, each.revision, each.image) for each in change.revisions] == [
        ("a", 0, D),
        ("b", 0, A),
        ("b", 2, C),
    ]
    assert (change.namespace, change.name, change.stream) == ("shop", "web", "shop/web")
    assert (change.uid, change.resource_version) == ("uid of shop/web", "1")
    assert change.revisions[1].created == at(90)


def test_streams_are_sorted_by_namespace_and_name_R20() -> None:
    names = ["b/a", "a/b", "a/a", "a-b/a"]
    found = analysed(*IMAGES, *(image_stream(name, latest=[A]) for name in names))
    assert [change.stream for change in found.plan.streams] == ["a/a", "a/b", "a-b/a", "b/a"]


# --- R21: namespace --------------------------------------------------------------------------------------------------


def test_only_streams_of_the_namespace_change_R21() -> None:
    found = analysed(
        *IMAGES, image_stream("shop/web", latest=[A]), image_stream("other/web", latest=[B]), namespace="shop"
    )
    assert [change.stream for change in found.plan.streams] == ["shop/web"]
    assert revision(found, "other/web:latest") == OutsideNamespace("shop")


def test_uses_of_all_namespaces_count_whatever_the_namespace_R2_R21() -> None:
    found = analysed(*IMAGES, image_stream("shop/web", latest=[A]), deployment("other/x", WEB), namespace="shop")
    assert kept_by(revision(found, "shop/web:latest")) == "R15"


# --- an approved plan ------------------------------------------------------------------------------------------------


def test_revisions_that_were_not_approved_are_kept() -> None:
    objects = [*IMAGES, image_stream("shop/web", latest=[A, B])]
    approved = Approval(revisions=frozenset({("shop/web", "latest", B, at(43200))}))
    found = analysed(*objects, approval=approved)
    assert revision(found, "shop/web:latest", 0) == NotApproved()
    assert pruned_by(revision(found, "shop/web:latest", 1)) == "R16"


@pytest.mark.parametrize(
    "approved",
    [
        ("shop/db", "latest", A, at(43200)),
        ("shop/web", "v1", A, at(43200)),
        ("shop/web", "latest", B, at(43200)),
        ("shop/web", "latest", A, NOW),
    ],
)
def test_an_approval_of_another_revision_is_none(approved: tuple[str, str, str, object]) -> None:
    found = analysed(
        *IMAGES,
        image_stream("shop/web", latest=[A]),
        approval=Approval(revisions=frozenset({approved})),
    )
    assert kept_by(revision(found, "shop/web:latest")) == "approval"


def test_what_a_rule_keeps_keeps_its_reason_whatever_was_approved() -> None:
    found = analysed(image(A), image_stream("shop/web", latest=[item(A, 1)]), approval=Approval())
    assert kept_by(revision(found, "shop/web:latest")) == "R14"


def test_an_approval_does_not_prune_what_a_rule_keeps() -> None:
    whole = analysed(*IMAGES, image_stream("shop/web", latest=[A]))
    found = analysed(
        *IMAGES,
        image_stream("shop/web", latest=[A]),
        deployment("shop/x", WEB),
        approval=Approval.of(whole.plan),
    )
    assert kept_by(revision(found, "shop/web:latest")) == "R15"


def test_a_use_that_comes_up_later_leaves_the_usage_of_the_snapshot_as_it_was_R15() -> None:
    found = analysed(image(A), image_stream("shop/web", latest=[A]), revisions=0)
    assert kept_by(revision(found, "shop/web:latest")) is None
    found.history_rules.also_used(Usage(tags={("shop/web", "latest"): ("Pod shop/one",)}))
    (stream,) = [history.stream for history in found.histories]
    (tag,) = found.history_rules.decide(stream).tags
    assert not tag.pruned()
    assert found.usage == Usage()
