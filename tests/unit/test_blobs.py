"""What of the registry goes: blobs and links, R24 and R25."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pruner.analysis import Analysis
from pruner.analysis.index_graph import IndexGraph
from pruner.cluster.objects import Registry
from pruner.plan import Approval
from pruner.reasons import BlobNotApproved
from tests.builders.objects import (
    HOST,
    L1,
    L2,
    L3,
    L4,
    A,
    B,
    C,
    D,
    E,
    F,
    Object,
    analysed,
    at,
    deployment,
    digest,
    image,
    image_stream,
    index,
    item,
    kept_by,
    revision,
)

WEB = f"{HOST}/shop/web"
CONFIG = digest("config")
YOUNG = 5


def blobs(*objects: Object, **asked: object) -> dict[str, str]:
    return {blob.digest: blob.kind for blob in analysed(*objects, **asked).plan.blobs}


def links(analysis: Analysis, stream: str = "shop/web") -> tuple[set[str], set[str]]:
    """Layer links and manifest links that go in this stream's repository."""
    change = next((each for each in analysis.plan.streams if each.stream == stream), None)
    return (set(change.layer_links), set(change.manifest_links)) if change else (set(), set())


# --- R24: what an image's blobs are ----------------------------------------------------------------------------------


def test_layers_config_and_manifest_are_an_images_blobs_R24() -> None:
    assert blobs(image(A, layers=[L1, L2], config=CONFIG)) == {
        L1: "layer",
        L2: "layer",
        CONFIG: "config",
        A: "manifest",
    }


def test_an_image_names_the_blobs_that_go_with_it_R24() -> None:
    found = analysed(image(A, layers=[L2, L1], config=CONFIG), image(B, layers=[L2], age=YOUNG))
    assert found.plan.images[0].blobs == tuple(sorted([L1, CONFIG, A]))
    assert [blob.digest for blob in found.plan.blobs] == sorted([L1, CONFIG, A])


def test_an_index_has_no_blobs_but_its_manifest_R24() -> None:
    found = analysed(index(A, [B, C])).plan
    assert {blob.digest: blob.kind for blob in found.blobs} == {A: "manifest"}
    assert [image.members for image in found.images] == [2]


def test_a_layer_that_stands_in_an_image_twice_is_one_blob_R24() -> None:
    assert blobs(image(A, layers=[L1, L1])) == {L1: "layer", A: "manifest"}


def test_sizes_come_from_the_api_R24() -> None:
    found = analysed(image(A, layers=[L1], config=CONFIG), blob_sizes={L1: 10, CONFIG: 3, L2: 99})
    assert {blob.digest: blob.size for blob in found.plan.blobs} == {L1: 10, CONFIG: 3, A: None}
    assert (found.plan.summary.bytes, found.plan.summary.unmeasured) == (13, 1)
    assert analysed(image(A), blob_sizes={A: 7}).plan.blobs[0].size == 7


def test_the_kind_of_a_blob_does_not_depend_on_the_order_of_images_P7() -> None:
    objects = [image(A, layers=[B]), image(B, layers=[CONFIG]), image(C, config=CONFIG)]
    assert blobs(*objects) == blobs(*reversed(objects))


# --- R25: blobs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sharing",
    [
        image(B, layers=[L1], age=YOUNG),
        image(B, config=L1, age=YOUNG),
        image(L1, age=YOUNG),
        index(B, [L1], age=YOUNG),
    ],
)
def test_a_shared_blob_survives_whatever_needs_it_R25(sharing: Object) -> None:
    assert blobs(image(A, layers=[L1, L2]), sharing) == {L2: "layer", A: "manifest"}


def test_a_shared_config_survives_R25() -> None:
    assert blobs(image(A, config=CONFIG), image(B, config=CONFIG, age=YOUNG)) == {A: "manifest"}


def test_a_manifest_that_a_remaining_index_names_survives_R25() -> None:
    kept = index(B, [C], age=YOUNG)
    assert blobs(image(A, layers=[C]), kept) == {A: "manifest"}


def test_blobs_of_several_images_that_go_go_once_R25() -> None:
    assert set(blobs(image(A, layers=[L1]), image(B, layers=[L1, L2]))) == {A, B, L1, L2}


def test_without_prune_registry_no_blob_and_no_link_goes_R24() -> None:
    found = analysed(image(A, layers=[L1]), image_stream("shop/web", latest=[A]), prune_registry=False)
    assert found.plan.blobs == ()
    assert links(found) == (set(), set())
    assert len(found.plan.images) == 1
    assert (found.plan.images[0].blobs, found.plan.images[0].shared) == ((), 0)


@pytest.mark.parametrize("deletes", [True, False])
def test_a_registry_without_the_admin_endpoint_keeps_its_blobs_R26(deletes: bool) -> None:
    registry = Registry("https://registry", deletes_blobs=deletes)
    found = analysed(image(A, layers=[L1]), image_stream("shop/web", latest=[A]), registry=registry)
    assert bool(found.plan.blobs) is deletes
    assert [(each.blobs, each.shared) for each in found.plan.images] == [(tuple(sorted((A, L1))) if deletes else (), 0)]
    assert links(found) == ({L1}, {A})
    assert found.plan.registry == registry


def test_without_prune_registry_a_registry_changes_nothing_R26() -> None:
    found = analysed(image(A), registry=Registry("https://registry"), prune_registry=False)
    assert found.plan.blobs == ()


@pytest.mark.parametrize(
    "name", ["../../v2/shop/db/manifests/latest", f"{L1}?x", f"{L1}/../{L2}", "layer", "sha256:12"]
)
def test_what_is_no_digest_is_no_blob_and_no_link_R24(name: str) -> None:
    """Whoever may push can make an Image that names any layer; a path of the registry is made of that name."""
    crafted = image(A, layers=[L1, name], config=name, repository="shop/web")
    found = analysed(crafted, index(B, [name]), image_stream("shop/web", latest=[A, B]))
    assert {blob.digest for blob in found.plan.blobs} == {A, B, L1}
    assert links(found) == ({L1}, {A, B})
    assert {blob for each in found.plan.images for blob in each.blobs} == {A, B, L1}


def test_an_image_whose_name_is_no_digest_goes_without_a_manifest_R24() -> None:
    found = analysed(image("by-hand", layers=[L1]))
    assert [(each.name, each.blobs) for each in found.plan.images] == [("by-hand", (L1,))]


# --- R25: links ------------------------------------------------------------------------------------------------------


def test_links_of_a_pruned_revision_go_R25() -> None:
    found = analysed(image(A, layers=[L1, L2], config=CONFIG), image_stream("shop/web", latest=[A]))
    assert links(found) == ({L1, L2, CONFIG}, {A})
    (change,) = found.plan.streams
    assert change.layer_links == tuple(sorted([L1, L2, CONFIG]))


def test_links_that_a_remaining_revision_needs_stay_R25() -> None:
    found = analysed(
        image(A, layers=[L1, L2], config=CONFIG),
        image(B, layers=[L2, L3]),
        image_stream("shop/web", latest=[A], v1=[item(B, YOUNG)]),
    )
    assert links(found) == ({L1, CONFIG}, {A})


def test_a_manifest_that_another_tag_still_names_keeps_its_link_R25() -> None:
    found = analysed(image(A, layers=[L1]), image_stream("shop/web", latest=[A], v1=[item(A, YOUNG)]))
    assert len(found.plan.streams[0].revisions) == 1
    assert links(found) == (set(), set())


def test_links_of_other_repositories_do_not_count_R25() -> None:
    found = analysed(
        image(A, layers=[L1]),
        image_stream("shop/web", latest=[A]),
        image_stream("shop/db", latest=[item(A, YOUNG)]),
    )
    assert links(found) == ({L1}, {A})
    assert found.plan.blobs == ()


def test_links_of_members_go_with_their_index_R25() -> None:
    found = analysed(
        image(A, layers=[L1]),
        index(B, [A]),
        index(C, [B]),
        image_stream("shop/web", latest=[C]),
    )
    assert links(found) == ({L1}, {A, B, C})


def test_links_of_members_that_a_remaining_index_names_stay_R25() -> None:
    found = analysed(
        image(A, layers=[L1]),
        image(B, layers=[L2]),
        index(C, [A, B]),
        index(D, [B]),
        image_stream("shop/web", latest=[C], v1=[item(D, YOUNG)]),
    )
    assert links(found) == ({L1}, {A, C})


def test_the_manifest_link_of_an_absent_image_goes_R19_R25() -> None:
    assert links(analysed(image_stream("shop/web", latest=[A]))) == (set(), {A})


def test_links_left_behind_by_an_interrupted_run_go_R28() -> None:
    found = analysed(image(A, layers=[L1], repository="shop/web"), image_stream("shop/web", latest=None))
    assert links(found) == ({L1}, {A})
    assert found.plan.streams[0].revisions == ()
    assert found.plan.streams[0].removed_tags == ()


def test_a_manifest_link_alone_may_be_left_behind_R28() -> None:
    found = analysed(image(A, repository="shop/web"), image_stream("shop/web"))
    assert links(found) == (set(), {A})


def test_links_that_no_image_leads_to_are_unreachable_R28() -> None:
    """That A was pushed here, A itself tells; of an image from elsewhere, and of one that is gone, nothing does."""
    found = analysed(image(A, repository="shop/web"), image(B, repository="shop/other"), image_stream("shop/web"))
    assert found.links.unreachable("shop/web", [A, B, C]) == {B, C}
    assert found.links.unreachable("shop/nowhere", [A]) == {A}


def test_links_are_looked_for_past_images_that_stay_R28() -> None:
    found = analysed(
        image(B, repository="shop/web"),
        image(A, layers=[L1], repository="shop/web"),
        image_stream("shop/web", latest=[item(B, YOUNG)]),
    )
    assert links(found) == ({L1}, {A})


def test_a_config_is_no_blob_of_an_image_without_one_R24() -> None:
    found = analysed(image(A), approval=Approval.of(analysed(image(A)).plan))
    assert found.plan.images[0].blobs == (A,)


def test_links_of_an_image_that_stays_in_no_stream_stay_R25() -> None:
    """One pushed by digest minutes ago, whose index is still to come, needs the repository that it was pushed to."""
    found = analysed(
        image(A, layers=[L1, L2], repository="shop/web"),
        image(B, layers=[L1], repository="shop/web", age=YOUNG),
        image_stream("shop/web", latest=[A]),
    )
    assert links(found) == ({L2}, {A})


def test_a_member_of_an_index_in_a_stream_is_needed_where_the_index_is_R25() -> None:
    found = analysed(
        image(A, layers=[L1], repository="shop/web"),
        index(B, [A]),
        image(C, layers=[L1]),
        image_stream("shop/web", latest=[C]),
        image_stream("shop/db", latest=[item(B, YOUNG)]),
    )
    assert links(found) == ({L1}, {C})


PROMOTED = [image(A, layers=[L1], repository="shop/web"), image(B), image_stream("shop/web", latest=[A])]
"""Pushed to one repository; the tests have it named in another."""


def test_links_go_where_an_image_was_pushed_and_stay_where_it_is_named_R25() -> None:
    assert links(analysed(*PROMOTED, image_stream("base/os", latest=[item(A, YOUNG)]))) == ({L1}, {A})


@pytest.mark.parametrize("reason", [deployment("x/y", f"quay.io/some/thing@{A}"), index(C, [A], age=YOUNG)])
@pytest.mark.parametrize("more", [{}, {"protect": ("base/os",)}, {"namespace": "shop"}])
def test_keeping_revisions_elsewhere_takes_no_link_of_an_image_that_stays_by_itself_P4_P6(
    reason: Object, more: dict[str, Any]
) -> None:
    found = analysed(*PROMOTED, image_stream("base/os", latest=[A]), reason, **more)
    assert links(found) == (set(), set())
    assert kept_by(revision(found, "shop/web:latest")) is None


def test_images_of_another_registry_need_no_repository_here_R25() -> None:
    imported = msgspec.structs.replace(
        image(B, layers=[L1], age=YOUNG, managed=False), location=f"quay.io/shop/web@{B}"
    )
    found = analysed(image(A, layers=[L1]), imported, image_stream("shop/web", latest=[A]))
    assert links(found) == ({L1}, {A})


@pytest.mark.parametrize("reference", ["", "a b", "web", f"registry/shop/web@{B}"])
def test_a_reference_that_names_no_repository_is_passed_over_R25(reference: str) -> None:
    stays = msgspec.structs.replace(image(B, layers=[L1], age=YOUNG), location=reference)
    assert links(analysed(image(A, layers=[L1]), stays, image_stream("shop/web", latest=[A]))) == ({L1}, {A})


def test_links_of_a_used_digest_stay_although_its_revision_goes_R7_R25() -> None:
    """With oc's references a used member does not keep its index, and is pulled by its digest all the same."""
    found = analysed(
        image(A, layers=[L1]),
        index(B, [A]),
        image_stream("shop/web", latest=[B]),
        deployment("x/y", f"{WEB}@{A}"),
        references="oc",
    )
    assert links(found) == (set(), {B})


def test_with_a_namespace_links_of_other_streams_stay_R21() -> None:
    found = analysed(
        image(A, layers=[L1], repository="other/web"),
        image_stream("shop/web", latest=[A]),
        image_stream("other/web", latest=None),
        namespace="shop",
    )
    assert links(found) == ({L1}, {A})
    assert links(found, "other/web") == (set(), set())


def test_links_of_revisions_that_have_been_removed_already_go_R28() -> None:
    found = analysed(image(A, layers=[L1]), image(B, layers=[L2]), image_stream("shop/web", latest=[item(B, YOUNG)]))
    assert found.links.of(found.histories[0]) == ((), ())
    assert found.links.of(found.histories[0], {A, B}) == ((L1,), (A,))


def test_links_can_be_decided_with_more_images_known_R28() -> None:
    found = analysed(image_stream("shop/web", latest=[A]))
    graph = IndexGraph([image(A, layers=[L1])])
    assert found.links.of(found.histories[0]) == ((), (A,))
    assert found.links.with_graph(graph).of(found.histories[0]) == ((L1,), (A,))
    assert found.links.of(found.histories[0]) == ((), (A,))


# --- an approved plan ------------------------------------------------------------------------------------------------


def test_links_that_were_not_approved_stay() -> None:
    before = analysed(image(A, layers=[L1]), image_stream("shop/web", latest=[A]))
    now = [image(A, layers=[L1, L2]), image_stream("shop/web", latest=[A])]
    found = analysed(*now, approval=Approval.of(before.plan))
    assert links(found) == ({L1}, {A})


def test_an_approval_names_links_by_kind_and_repository() -> None:
    approval = Approval(
        revisions=frozenset({("shop/web", "latest", A, at(43200))}),
        links=frozenset({("shop/web", "manifest", L1), ("shop/db", "manifest", A), ("shop/web", "layer", A)}),
    )
    found = analysed(image(A, layers=[L1]), image_stream("shop/web", latest=[A]), approval=approval)
    assert links(found) == (set(), set())


def test_an_image_whose_blob_was_shared_when_the_plan_was_approved_is_kept() -> None:
    before = analysed(image(A, layers=[L1, L2]), image(B, layers=[L2], age=YOUNG), image(D, layers=[L3]))
    now = [image(A, layers=[L1, L2]), image(D, layers=[L3])]
    found = analysed(*now, approval=Approval.of(before.plan))
    assert found.images[A] == BlobNotApproved()
    assert [each.name for each in found.plan.images] == [D]
    assert {blob.digest for blob in found.plan.blobs} == {D, L3}


def test_an_image_whose_manifest_blob_was_not_approved_is_kept() -> None:
    approval = Approval(images=frozenset({(A, f"uid of {A[:12]}")}), blobs=frozenset({L1}))
    found = analysed(image(A, layers=[L1]), approval=approval)
    assert kept_by(found.images[A]) == "approval"
    assert found.plan.blobs == ()


def test_members_of_an_index_that_is_kept_for_its_blobs_are_kept() -> None:
    objects = [image(A, layers=[L1]), index(B, [A, F]), image(C, layers=[L4])]
    whole = Approval.of(analysed(*objects).plan)
    found = analysed(*objects, approval=Approval(images=whole.images, blobs=whole.blobs - {B}))
    assert kept_by(found.images[A]) == kept_by(found.images[B]) == "approval"
    assert {blob.digest for blob in found.plan.blobs} == {C, L4}


def test_a_config_that_was_not_approved_keeps_its_image() -> None:
    objects = [image(A, config=E)]
    whole = Approval.of(analysed(*objects).plan)
    found = analysed(*objects, approval=Approval(images=whole.images, blobs=whole.blobs - {E}))
    assert kept_by(found.images[A]) == "approval"


def test_a_fully_approved_plan_is_made_again() -> None:
    objects = [
        image(A, layers=[L1], config=CONFIG),
        index(B, [A]),
        image_stream("shop/web", latest=[B]),
        image(C, layers=[L2], age=YOUNG),
    ]
    whole = analysed(*objects)
    assert analysed(*objects, approval=Approval.of(whole.plan)).plan == whole.plan
