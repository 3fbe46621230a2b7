"""Which images are kept, and by which rule: R12, R18, R22, R23."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pruner.analysis import Usage, analyse
from pruner.errors import SettingsError
from pruner.plan import Approval
from pruner.reasons import (
    CurrentOfReferencedTag,
    ImageTooYoung,
    Imported,
    MemberOf,
    NamedBy,
    NoRevisionOverSize,
    NotApproved,
    NotPrunedInNamespace,
    Protected,
    Referenced,
    Unreferenced,
)
from pruner.settings import EmptyStreams
from tests.builders.objects import (
    HOST,
    OCI_INDEX,
    A,
    B,
    C,
    D,
    E,
    Object,
    analysed,
    deployment,
    digest,
    image,
    image_stream,
    index,
    item,
    kept_by,
    limit,
    pod,
    pruned_by,
    revision,
    rule,
    rules,
    snapshot,
)

WEB = f"{HOST}/shop/web"
SECOND = 1 / 60


def outcome(name: str, *objects: Object, **asked: object) -> str | None:
    return kept_by(analysed(*objects, **asked).images[name])


# --- R22 -------------------------------------------------------------------------------------------------------------


def test_an_image_that_nothing_names_or_uses_goes_R22() -> None:
    found = analysed(image(A))
    assert found.images[A] == Unreferenced()
    assert [each.name for each in found.plan.images] == [A]


def test_an_image_that_a_remaining_revision_names_is_kept_R22() -> None:
    found = analysed(
        image(A), image_stream("shop/web", latest=[A], b=[item(A, 1)]), image_stream("a/b", x=[item(A, 1)])
    )
    assert found.images[A] == NamedBy(("a/b:x", "shop/web:b"))


def test_an_image_whose_revisions_all_go_goes_R22() -> None:
    found = analysed(image(A), image_stream("shop/web", latest=[A], v1=[A]))
    assert pruned_by(found.images[A]) == "R22"


@pytest.mark.parametrize(("age", "rule"), [(60 - SECOND, "R22"), (60, None), (60 + SECOND, None), (-1, "R22")])
def test_a_young_image_is_kept_R22(age: float, rule: str | None) -> None:
    assert outcome(A, image(A, age=age)) == rule


def test_a_young_image_says_so_R22() -> None:
    assert analysed(image(A, age=1)).images[A] == ImageTooYoung(60)


@pytest.mark.parametrize(
    ("all_images", "managed", "rule"),
    [(True, True, None), (True, False, None), (False, True, None), (False, False, "R22")],
)
def test_imported_images_are_kept_unless_all_images_R22(all_images: bool, managed: bool, rule: str | None) -> None:
    found = analysed(image(A, managed=managed), all_images=all_images)
    assert kept_by(found.images[A]) == rule
    if rule:
        assert found.images[A] == Imported()


def test_revisions_go_whether_their_image_is_managed_or_not_R22() -> None:
    found = analysed(image(A, managed=False), image_stream("shop/web", latest=[A]), all_images=False)
    assert len(found.plan.streams[0].revisions) == 1
    assert found.plan.images == ()


@pytest.mark.parametrize("kept", [image_stream("shop/web", latest=[item(C, 1)]), deployment("x/y", f"{WEB}@{C}")])
def test_members_of_a_kept_index_are_kept_at_any_depth_R22(kept: Object) -> None:
    found = analysed(image(A), index(B, [A, D]), index(C, [B]), image(E), kept)
    assert found.images[A] == MemberOf((B,))
    assert found.images[B] == MemberOf((C,))
    assert [each.name for each in found.plan.images] == [E]


def test_members_of_indexes_that_go_are_not_kept_R22() -> None:
    found = analysed(image(A), index(B, [A]), index(C, [A]), image_stream("shop/web", latest=[item(B, 1)]))
    assert found.images[A] == MemberOf((B,))
    assert pruned_by(found.images[C]) == "R22"


def test_a_member_keeps_its_own_reason_R22() -> None:
    found = analysed(image(A, age=1), index(B, [A]), image_stream("shop/web", latest=[item(B, 1)]))
    assert found.images[A] == ImageTooYoung(60)


def test_indexes_that_name_each_other_come_to_an_end_R22() -> None:
    assert len(analysed(index(A, [B]), index(B, [A])).plan.images) == 2
    assert analysed(index(A, [B]), index(B, [A]), image_stream("a/b", x=[item(A, 1)])).plan.images == ()


def test_an_attestation_stays_with_its_index_and_goes_with_it_R22() -> None:
    attestation = image(B, layers=[digest("provenance")], media_type="application/vnd.oci.image.manifest.v1+json")
    members = [image(A), attestation]
    kept = analysed(*members, index(C, [A, B]), image_stream("shop/web", latest=[item(C, 1)]))
    assert kept.plan.empty
    gone = analysed(*members, index(C, [A, B]))
    assert {each.name for each in gone.plan.images} == {A, B, C}


def test_a_signature_with_a_tag_of_its_own_follows_its_tag_R22() -> None:
    """Cosign tags a signature `sha256-<digest>.sig` beside what it signs."""
    stream = image_stream("shop/web", {"latest": [item(A, 1)], "sha256-1234.sig": [item(B, 1)], "sha256-5678.sig": [C]})
    found = analysed(image(A), image(B), image(C), stream)
    assert [each.name for each in found.plan.images] == [C]


def test_an_image_without_metadata_or_reference_goes_like_any_other_R22() -> None:
    found = analysed(image(A, media_type="", config=None, size=None))
    (pruned,) = found.plan.images
    assert (pruned.name, pruned.reference, pruned.blobs) == (A, "", (A,))


@pytest.mark.parametrize("algorithm", ["sha512", "sha384", "blake2b", "sha1"])
def test_digests_of_any_algorithm_are_decided_alike_R22(algorithm: str) -> None:
    one, two = digest("one", algorithm), digest("two", algorithm)
    found = analysed(image(one), image(two), deployment("x/y", f"{WEB}@{one}"))
    assert kept_by(found.images[one]) == "R12"
    assert [each.name for each in found.plan.images] == [two]


# --- R12: digests used anywhere --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user",
    [
        deployment("x/y", f"{WEB}@{A}"),
        deployment("x/y", f"elsewhere.io/a/b/c@{A}"),
        deployment("x/y", f"web@{A}"),
        pod("x/y", running=[f"docker-pullable://{WEB}@{A}"]),
        pod("x/y", running=[A]),
        pod("x/y", running=[A.removeprefix("sha256:")]),
    ],
)
def test_a_digest_used_anywhere_keeps_its_image_R12(user: Object) -> None:
    found = analysed(image(A), user)
    assert found.images[A] == Referenced((f"{user.kind} x/y",))  # type: ignore[union-attr]
    assert outcome(A, image(A), user, references="oc") is None


def test_a_running_pod_keeps_its_image_although_the_tag_has_moved_R11_R12() -> None:
    found = analysed(
        image(A), image(B), image_stream("shop/web", latest=[B, A]), pod("shop/x", WEB, running=[f"{WEB}@{A}"])
    )
    assert found.plan.empty


def test_a_used_member_keeps_its_indexes_and_what_they_name_R12() -> None:
    found = analysed(image(A), index(B, [A, D]), index(C, [B]), image(D), image(E), deployment("x/y", f"{WEB}@{A}"))
    assert [kept_by(found.images[name]) for name in (A, B, C)] == ["R12"] * 3
    assert found.images[D] == MemberOf((B,))
    assert [each.name for each in found.plan.images] == [E]


def test_an_index_above_what_is_current_in_a_used_tag_is_kept_R12() -> None:
    """In no stream itself; the tag moved to the image of one architecture, say."""
    objects = [image(A), index(B, [A]), index(C, [B]), image_stream("shop/web", latest=[A])]
    user = deployment("x/y", f"{WEB}:latest")
    found = analysed(*objects, user)
    assert found.images[B] == found.images[C] == Referenced(("Deployment x/y",))
    assert {each.name for each in analysed(*objects, user, references="oc").plan.images} == {B, C}
    assert {each.name for each in analysed(*objects).plan.images} == {A, B, C}


def test_what_runs_may_be_known_by_its_config_R11_R12() -> None:
    found = analysed(image(A, config=E), image(B, config=D), index(C, [A]), pod("x/y", running=[E]))
    assert found.images[A] == found.images[C] == Referenced(("Pod x/y",))
    assert [each.name for each in found.plan.images] == [B]


def test_users_by_digest_and_by_config_are_named_together_R12() -> None:
    found = analysed(image(A, config=E), pod("x/b", running=[E]), pod("x/a", running=[A]))
    assert found.images[A] == Referenced(("Pod x/a", "Pod x/b"))


# --- R18: protection -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [A, "sha256:*", A[:20] + "*", "sha256:" + "?" * 64, "*:*"])
def test_a_protected_digest_is_kept_R18(pattern: str) -> None:
    assert analysed(image(A), protect=(pattern,)).images[A] == Protected(pattern)


@pytest.mark.parametrize("pattern", [B, "sha512:*", "sha256:", "sha256:" + "?" * 63, "shop/*"])
def test_other_digests_are_not_protected_R18(pattern: str) -> None:
    assert outcome(A, image(A), protect=(pattern,)) is None


def test_a_protected_index_protects_its_members_R18_R22() -> None:
    assert analysed(image(A), index(B, [A]), protect=(B,)).plan.empty


@pytest.mark.parametrize(
    ("protect", "idle"),
    [
        (("shop/web", A), []),
        (("shop/wbe",), ["shop/wbe"]),
        (("shop/web:v2", "shop/web:v*"), ["shop/web:v2"]),
        ((B, "shop/*", "a/*"), ["a/*", B]),
        (("sha256:*", "sha512:*"), ["sha512:*"]),
    ],
)
def test_with_strict_a_pattern_that_matches_nothing_is_an_error_R18(protect: tuple[str, ...], idle: list[str]) -> None:
    objects = [image(A), image_stream("shop/web", v1=[A])]
    assert analysed(*objects, protect=protect)
    if not idle:
        assert analysed(*objects, protect=protect, strict=True)
        return
    with pytest.raises(SettingsError) as raised:
        analysed(*objects, protect=protect, strict=True)
    assert [problem.message for problem in raised.value.problems] == [
        f"{pattern!r} matches nothing in this cluster" for pattern in sorted(idle)
    ]
    assert {problem.parameter for problem in raised.value.problems} == {"protect"}


def test_without_strict_a_pattern_that_matches_nothing_is_a_note_of_the_plan_R18() -> None:
    """Somebody believes that something is protected by it."""
    objects = [image(A), image_stream("shop/web", v1=[A])]
    assert analysed(*objects, protect=("shop/wbe", "shop/web", "web:v1")).plan.notes == (
        "protect: 'shop/wbe' matches nothing in this cluster",
        "protect: 'web:v1' matches nothing in this cluster",
    )
    assert analysed(*objects).plan.notes == ()


def test_streams_without_tags_and_revisions_without_images_are_matched_R18() -> None:
    protect = ("shop/empty", B, "sha256:*")
    objects = [image_stream("shop/empty"), image_stream("shop/web", v1=[B])]
    assert analysed(*objects, protect=protect, strict=True).plan.notes == ()


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("shop/web", ["shop/web:latest", "shop/web:v1"]),
        ("shop/web:*", ["shop/web:latest", "shop/web:v1"]),
        ("shop/*", ["shop/db:v1", "shop/web:latest", "shop/web:v1"]),
        ("*/web", ["other/web:v1", "shop/web:latest", "shop/web:v1"]),
        ("*/*:v1", ["other/web:v1", "shop/db:v1", "shop/web:v1"]),
        ("shop/w?b:v?", ["shop/web:v1"]),
        ("*web", []),
        ("shop/*b:*", ["shop/db:v1", "shop/web:latest", "shop/web:v1"]),
        ("shop/we.", []),
        ("shop/[w]eb", []),
    ],
)
def test_wildcards_do_not_cross_slash_and_colon_R18(pattern: str, matches: list[str]) -> None:
    names = ("shop/web:latest", "shop/web:v1", "shop/db:v1", "other/web:v1")
    streams = [
        image_stream("shop/web", latest=[A], v1=[A]),
        image_stream("shop/db", v1=[A]),
        image_stream("other/web", v1=[A]),
    ]
    found = analysed(image(A), *streams, protect=(pattern,))
    kept = {f"{each.stream.name}:{tag.tag}" for each in found.histories for tag in each.tags if tag.reasons[0].kept}
    assert sorted(kept) == matches
    assert kept <= set(names)


def test_all_reasons_for_an_image_come_once_and_in_the_order_of_the_rules() -> None:
    user = pod("x/y", running=[A])
    objects = [image(A, age=5, managed=False), image(B, age=5), image(C, managed=False), image(D)]
    found = analysed(*objects, user, all_images=False, protect=(A,))
    reasons = {each.name: [*found.image_rules.reasons(each)] for each in found.graph.images.values()}
    young, imported = ImageTooYoung(60), Imported()
    assert reasons == {
        A: [Referenced(("Pod x/y",)), Protected(A), young, imported],
        B: [young],
        C: [imported],
        D: [],
    }


# --- R22, R23: images that are not candidates -------------------------------------------------------------------------

OVERSIZE = {"minutes": None, "revisions": None, "prune_over_size_limit": True}
BIG = [image(A, size=100), image_stream("shop/web", latest=[A]), limit("shop/limits", 10)]


def test_over_size_mode_alone_deletes_what_a_revision_over_size_named_R22() -> None:
    found = analysed(*BIG, image(B), **OVERSIZE)
    assert [each.name for each in found.plan.images] == [A]
    assert found.images[B] == NoRevisionOverSize()


def test_over_size_mode_asks_for_no_age_R22() -> None:
    young = image(A, size=100, age=0)
    assert len(analysed(young, *BIG[1:], **OVERSIZE).plan.images) == 1


def test_over_size_mode_as_in_oc_deletes_every_unreferenced_image_R22() -> None:
    found = analysed(*BIG, image(B, age=0), **OVERSIZE, references="oc")
    assert {each.name for each in found.plan.images} == {A, B}


def test_over_size_mode_with_an_age_deletes_old_unreferenced_images_R22() -> None:
    found = analysed(*BIG, image(B), image(C, age=5), **{**OVERSIZE, "minutes": 60})
    assert {each.name for each in found.plan.images} == {A, B}


def test_with_a_namespace_only_images_of_its_pruned_revisions_go_R23() -> None:
    found = analysed(
        *(image(name) for name in (A, B, C)),
        image_stream("shop/web", latest=[A]),
        image_stream("other/web", latest=[B]),
        namespace="shop",
    )
    assert [each.name for each in found.plan.images] == [A]
    assert found.images[C] == NotPrunedInNamespace("shop")
    assert kept_by(found.images[B]) == "R22"


def test_with_a_namespace_images_that_others_name_are_kept_R23() -> None:
    found = analysed(
        image(A), image_stream("shop/web", latest=[A]), image_stream("other/web", latest=[A]), namespace="shop"
    )
    assert found.images[A] == NamedBy(("other/web:latest",))


# --- an approved plan ------------------------------------------------------------------------------------------------


def test_images_that_were_not_approved_are_kept() -> None:
    approved = Approval.of(analysed(image(A)).plan)
    found = analysed(image(A), image(B), approval=approved)
    assert [each.name for each in found.plan.images] == [A]
    assert found.images[B] == NotApproved()


def test_an_image_pushed_anew_under_an_approved_name_is_kept() -> None:
    approved = Approval.of(analysed(image(A, uid="first")).plan)
    assert outcome(A, image(A, uid="second"), approval=approved) == "approval"


def test_what_is_used_again_is_kept_although_approved() -> None:
    approved = Approval.of(analysed(image(A)).plan)
    assert outcome(A, image(A), deployment("x/y", f"{WEB}@{A}"), approval=approved) == "R12"


def test_with_a_namespace_images_dropped_earlier_in_the_run_are_candidates_R23() -> None:
    approved = Approval.of(analysed(image(A), image_stream("shop/web", latest=[A]), namespace="shop").plan)
    assert outcome(A, image(A), namespace="shop", approval=approved) == "R23"
    mid_run = Approval(approved.revisions, approved.images, approved.blobs, approved.links, frozenset({A}))
    assert outcome(A, image(A), namespace="shop", approval=mid_run) is None


def test_what_goes_now_and_what_went_earlier_in_the_run_are_candidates_R23() -> None:
    objects = [image(A), image(B), image_stream("shop/web", latest=[A])]
    whole = Approval.of(analysed(*objects, image_stream("shop/db", latest=[B]), namespace="shop").plan)
    mid_run = Approval(whole.revisions, whole.images, whole.blobs, whole.links, frozenset({B}))
    found = analysed(*objects, namespace="shop", approval=mid_run)
    assert {each.name for each in found.plan.images} == {A, B}


# --- the plan's list of them -----------------------------------------------------------------------------------------


def test_the_plan_names_each_image_with_what_identifies_it_R22() -> None:
    found = analysed(image(B, uid="b"), image(A, uid="a", repository="shop/web"))
    first, second = found.plan.images
    assert [first.name, second.name] == sorted([A, B])
    pushed = next(each for each in found.plan.images if each.name == A)
    assert (pushed.uid, pushed.resource_version, pushed.reference) == ("a", "1", f"{WEB}@{A}")
    assert pushed.reason.rule == "R22"


def test_rules_are_recorded_in_the_plan() -> None:
    found = analysed(image(A), minutes=90, revisions=2, namespace="shop", protect=("a/b",))
    assert found.plan.rules == {
        "all_images": True,
        "ignore_invalid_refs": False,
        "keep_younger_than": 90,
        "keep_tag_revisions": 2,
        "namespace": "shop",
        "prune_over_size_limit": False,
        "prune_registry": True,
        "references": "extended",
        "protect": ["a/b"],
        "strict": False,
        "retention": [],
        "empty_streams": None,
        "grace": 0,
        "attached": "follow",
        "protect_selector": None,
    }
    assert analysed(minutes=None).plan.rules["keep_younger_than"] is None
    assert analysed(minutes=timedelta(days=3) / timedelta(minutes=1)).plan.rules["keep_younger_than"] == 4320


def test_ages_are_recorded_in_whole_minutes() -> None:
    asked = {"minutes": 90.5, "grace": timedelta(days=7, seconds=59)}
    retention = (rule(keep_younger_than="2d"),)
    recorded = analysed(
        **asked, retention=retention, empty_streams=EmptyStreams(older_than=timedelta(hours=3))
    ).plan.rules
    assert {name: repr(recorded[name]) for name in ("keep_younger_than", "grace")} == {
        "keep_younger_than": "90",
        "grace": "10080",
    }
    assert recorded["retention"] == [{"name": "rule", "keep_younger_than": 2880}]
    assert recorded["empty_streams"] == {"older_than": 180}


def test_the_usage_that_is_given_counts_and_workloads_are_not_looked_at() -> None:
    found = snapshot(image(A), image_stream("shop/web", latest=[A]), deployment("shop/bad", "no pull spec"))
    users = ("Deployment shop/web",)
    usage = Usage(tags={("shop/web", "latest"): users})
    analysis = analyse(found, rules(), usage=usage)
    assert revision(analysis, "shop/web:latest") == CurrentOfReferencedTag(users)
    assert analysis.usage is usage


def test_warnings_are_notes_of_the_plan_R9() -> None:
    found = analysed(deployment("x/y", "a b"), ignore_invalid_refs=True)
    assert found.plan.notes == ("ignored: Deployment x/y, container 'c0': 'a b': invalid reference format",)


def test_an_analysis_knows_the_images_that_it_decided_on() -> None:
    found = analysed(image(A), index(B, [A]))
    assert found.graph.images.keys() == found.images.keys() == {A, B}
    assert found.graph.indexes(A) == (B,)
    assert found.graph.indexes(B) == ()


def test_an_index_has_its_media_type_R22() -> None:
    assert index(A, [B]).media_type == OCI_INDEX
