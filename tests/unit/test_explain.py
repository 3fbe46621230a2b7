"""Explanations: what a name stands for, what decides on it, and what would change that."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from click.testing import CliRunner

from pruner.cli import main
from pruner.explain import Explanation, UnknownNameError, explain, lines
from pruner.plan import Approval
from pruner.reasons import (
    AmongNewest,
    BeyondNewest,
    EmptyStream,
    EmptyStreamsOff,
    EmptyStreamTooYoung,
    NotApproved,
    NotMatchedByEmptyStreams,
    NotPrunedInNamespace,
    OutsideNamespace,
    Owned,
    Protected,
    ProtectedByLabels,
    RepositoryOfKept,
    RestorableInto,
    StreamReason,
    StreamReferenced,
    TagsWithoutImages,
    to_change,
)
from pruner.settings import EmptyStreams
from tests.builders.objects import (
    HOST,
    L1,
    L2,
    OLD,
    A,
    B,
    C,
    D,
    E,
    F,
    Object,
    analysed,
    build,
    deployment,
    digest,
    from_,
    image,
    image_stream,
    index,
    item,
    limit,
    pod,
)

WEB = f"{HOST}/shop/web"
CONFIG = digest("config")
CLUSTER: list[Object] = [
    image(A, layers=[L1, L2], config=CONFIG, size=1234567, repository="shop/web"),
    image(B, layers=[L1]),
    image(C, age=5),
    index(D, [C]),
    image(E),
    image_stream("shop/web", {"latest": [A, B], "v1": [E], "failed": None}),
    image_stream("shop/db", {"latest": [F]}),
    deployment("shop/web", WEB),
    pod("shop/x", running=[f"{WEB}@{E}"]),
]


def explained(reference: str, *objects: Object, **asked: object) -> Explanation:
    return explain(analysed(*(objects or CLUSTER), **asked), reference)


def refused(reference: str, *objects: Object) -> str:
    with pytest.raises(UnknownNameError) as raised:
        explained(reference, *objects)
    return str(raised.value)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference", [A, f" {A}\n", A.removeprefix("sha256:"), A[:20], f"elsewhere.io/a/b/c@{A}", f"web@{A}"]
)
def test_a_digest_stands_for_its_image(reference: str) -> None:
    found = explained(reference)
    assert (
        found.what
        == "an image of 1,234,567 bytes, pushed to the cluster's registry, created at 2025-12-02 12:00:00 UTC"
    )
    assert found.reference == reference.strip()


@pytest.mark.parametrize("reference", ["shop/web:latest", f"{WEB}:latest", WEB, "any.host/shop/web"])
def test_a_tag_stands_for_its_revisions(reference: str) -> None:
    found = explained(reference)
    assert found.what == "a tag with 2 revisions"
    assert [(each.tag, each.revision, each.image) for each in found.revisions] == [
        ("shop/web:latest", 0, A),
        ("shop/web:latest", 1, B),
    ]
    assert found.used_by == ("Deployment shop/web",)
    assert found.revisions[0].used_by == ("Deployment shop/web",)
    assert found.revisions[1].used_by == ()


def test_a_stream_stands_for_all_its_tags() -> None:
    found = explained("shop/web")
    assert found.what == "an image stream with 3 tags and 3 revisions, created at 2025-12-02 12:00:00 UTC"
    assert {each.tag for each in found.revisions} == {"shop/web:latest", "shop/web:v1"}
    assert found.used_by == ("Deployment shop/web", "Pod shop/x")


@pytest.mark.parametrize("reference", [f"shop/web@{E}", f"{WEB}@{E}", f"{WEB}:v9@{E}"])
def test_a_digest_in_a_stream_stands_for_its_revisions_there(reference: str) -> None:
    found = explained(reference)
    assert found.what.endswith("in image stream shop/web")
    assert [each.tag for each in found.revisions] == ["shop/web:v1"]
    assert found.used_by == ("Pod shop/x",)
    assert found.decision is not None


@pytest.mark.parametrize("blob", [L1, CONFIG])
def test_a_blob_stands_for_the_images_that_need_it(blob: str) -> None:
    found = explained(blob)
    assert found.what == "a blob of images"
    assert found.blob is not None
    assert found.blob.needed_by == tuple(sorted([A, B] if blob == L1 else [A]))
    assert not found.blob.pruned
    assert "nothing refers to it" not in "\n".join(lines(found))


def test_a_blob_goes_with_all_its_images() -> None:
    found = explained(L1, image(A, layers=[L1]))
    assert found.blob is not None
    assert found.blob.pruned
    assert f"  pruned: needed by {A}" in list(lines(found))


def test_a_digest_without_an_image_is_said_to_be_absent_R19() -> None:
    found = explained(F)
    assert found.what == "named by revisions, and its Image object is absent"
    assert found.decision is None
    assert found.revisions[0].decision.rule == "R19"


def test_a_tag_that_failed_to_import_stays_R20() -> None:
    assert explained("shop/web:failed").what == "a tag without revisions, which is kept"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("shop/wbe", "there is no image stream shop/wbe; near it are shop/web"),
        ("other/web:latest", "there is no image stream other/web; near it are shop/web"),
        ("shop/web:lates", "image stream shop/web has no tag lates; near it are latest"),
        ("web", "'web' names no image stream; it is named namespace/stream; near it are shop/web"),
        ("host.io/web", "'host.io/web' names no image stream; it is named namespace/stream; near it are shop/web"),
        (f"shop/db@{A}", f"no revision in image stream shop/db is {A}"),
        (
            "",
            "'' is none of a digest, namespace/stream, namespace/stream:tag, namespace/stream@digest and a pull spec: ",
        ),
        ("Shop/Web", "'Shop/Web' is none of a digest, "),
        ("shop/web@sha256:12", "'shop/web@sha256:12' is none of a digest, "),
        ("sha256:", "'sha256:' begins "),
        ("sha256:zz", "no Image, revision or blob of this cluster is 'sha256:zz'"),
        ("sha512:12", "no Image, revision or blob of this cluster is 'sha512:12'"),
        (digest("nothing"), f"no Image, revision or blob of this cluster is '{digest('nothing')}'"),
        (f"host.io/a/b/c@{digest('nothing')}", f"'host.io/a/b/c@{digest('nothing')}' names no image stream"),
    ],
)
def test_a_bad_or_unknown_name_gets_a_clear_answer(reference: str, message: str) -> None:
    assert refused(reference).startswith(message)


def test_digests_that_begin_alike_are_listed() -> None:
    one, two = "sha256:" + "ab" * 32, "sha256:" + "ac" * 32
    assert refused("sha256:a", image(one), image(two)) == f"'sha256:a' begins 2 digests: {one}, {two}"


# --- decisions, and what would change them ---------------------------------------------------------------------------

OVERSIZE = {"minutes": None, "revisions": None, "prune_over_size_limit": True}
STREAM = image_stream("shop/web", latest=[A])


@pytest.mark.parametrize(
    ("objects", "asked", "rule", "change"),
    [
        (
            [image(A), image_stream("shop/web", latest=[item(A, 10)])],
            {},
            "R14",
            "wait until the revision is 60 minutes old, at 2026-01-01 12:50:00",
        ),
        (
            [image(A), image_stream("shop/web", latest=[A], age=5)],
            {},
            "R14",
            "wait until the image stream is 60 minutes old, at 2026-01-01 12:55:00",
        ),
        ([image(A), STREAM, deployment("shop/x", WEB)], {}, "R15", "To prune it: remove all references to the tag, or"),
        (
            [image(A), STREAM],
            {"revisions": 3},
            "R16",
            "To prune it: set keep_tag_revisions to 0, or push newer revisions",
        ),
        ([image(A), STREAM], OVERSIZE, "R16", "set an image size limit (LimitRange) in the namespace"),
        (
            [image(A), STREAM, deployment("shop/x", f"{WEB}@{A}")],
            {},
            "R17",
            "remove all references to its digest in this image stream",
        ),
        ([image(A), STREAM], {"protect": ("shop/*",)}, "R18", "To prune it: remove the pattern from protect"),
        (
            [image(A), STREAM],
            {"namespace": "other"},
            "R21",
            "set namespace to that of the image stream, or leave it out",
        ),
        ([STREAM], {}, "R19", "To keep it: push or import the image again"),
        ([image_stream("shop/web", latest=[item("")])], {}, "R19", "To prune it: delete the tag with `oc tag -d`"),
        (
            [image(A), STREAM],
            {},
            "R16",
            "To keep it: refer to it, protect it, or set keep_tag_revisions to 1 or more",
        ),
        (
            [image(A, size=9), STREAM, limit("shop/l", 1)],
            OVERSIZE,
            "R16",
            "raise the limit of LimitRange shop/l to 9 bytes",
        ),
    ],
)
def test_each_decision_on_a_revision_says_what_would_change_it(
    objects: list[Object], asked: dict[str, object], rule: str, change: str
) -> None:
    (found,) = explained("shop/web:latest", *objects, **asked).revisions
    assert found.decision.rule == rule
    assert change in found.decision.to_change


@pytest.mark.parametrize(
    ("objects", "asked", "rule", "change"),
    [
        ([image(A, age=1)], {}, "R22", "wait until the image is 60 minutes old, at 2026-01-01 12:59:00"),
        ([image(A, managed=False)], {"all_images": False}, "R22", "To prune it: set all_images to true"),
        (
            [image(A), image_stream("shop/web", latest=[item(A, 1)])],
            {},
            "R22",
            "prune the revisions of these tags that name it",
        ),
        ([image(A), index(B, [A], age=1)], {}, "R22", "prune every index that it is a member of"),
        ([image(A)], OVERSIZE, "R22", "set an image size limit that a revision naming it exceeds"),
        ([image(A), pod("x/y", running=[A])], {}, "R12", "To prune it: remove all references to it"),
        ([image(A)], {"protect": (A,)}, "R18", "To prune it: remove the pattern from protect"),
        (
            [image(A)],
            {"namespace": "shop"},
            "R23",
            "prune a revision in that namespace that names it, or leave namespace out",
        ),
        ([image(A)], {}, "R22", "To keep it: tag it, refer to it, or protect it"),
    ],
)
def test_each_decision_on_an_image_says_what_would_change_it(
    objects: list[Object], asked: dict[str, object], rule: str, change: str
) -> None:
    found = explained(A, *objects, **asked).decision
    assert found is not None
    assert found.rule == rule
    assert change in found.to_change


def test_all_that_keeps_a_revision_would_have_to_change() -> None:
    stream = image_stream("shop/web", latest=[item(A, 10)])
    users = [deployment("shop/x", WEB), deployment("shop/y", f"{WEB}@{A}")]
    asked = {"revisions": 3, "protect": ("shop/*",), "namespace": "other"}
    (found,) = explained("shop/web:latest", image(A), stream, *users, **asked).revisions
    assert (found.decision.rule, found.decision.to_change) == (
        "R21",
        "To prune it: set namespace to that of the image stream, or leave it out; and wait until the revision is 60 "
        "minutes old, at 2026-01-01 12:50:00 UTC; and remove all references to the tag, or push a newer revision; and "
        "set keep_tag_revisions to 0, or push newer revisions; and remove all references to its digest in this image "
        "stream; and remove the pattern from protect",
    )


def test_size_and_number_of_a_revision_are_both_named() -> None:
    asked = {"minutes": None, "revisions": 1, "prune_over_size_limit": True}
    (found,) = explained("shop/web:latest", image(A, size=1), STREAM, limit("shop/l", 5), **asked).revisions
    assert found.decision.to_change == (
        "To prune it: set keep_tag_revisions to 0, or push newer revisions; and set an image size limit (LimitRange) "
        "in the namespace that is smaller than the image"
    )


def test_reasons_are_looked_for_without_changing_the_decisions() -> None:
    found = analysed(image(A), image_stream("shop/web", latest=[A, A]), revisions=1)
    explain(found, "shop/web:latest")
    assert found.history_rules.decide(found.histories[0].stream).tags[0].reasons == (
        AmongNewest(0, 1),
        BeyondNewest(1, 1),
    )


def test_all_that_keeps_an_image_would_have_to_change() -> None:
    objects = [image(A, age=10, managed=False), index(B, [A], age=5), image_stream("shop/web", latest=[item(A, 1)])]
    found = explained(A, *objects, pod("x/y", running=[A]), all_images=False, protect=(A,)).decision
    assert found is not None
    assert found.to_change == (
        "To prune it: prune the revisions of these tags that name it; and remove all references to it; and remove the "
        "pattern from protect; and wait until the image is 60 minutes old, at 2026-01-01 12:50:00 UTC; and set "
        "all_images to true; and prune every index that it is a member of"
    )


def test_an_age_beyond_all_calendars_has_no_end() -> None:
    found = explained(A, image(A), minutes=10**10).decision
    assert found is not None
    assert found.to_change == "To prune it: wait until the image is 10000000000 minutes old, which no calendar reaches"


def test_who_uses_a_tag_uses_its_current_image() -> None:
    assert explained(A).used_by == ("Deployment shop/web",)
    assert explained(B).used_by == ()


@pytest.mark.parametrize("text", [f"docker-pullable://{WEB}@{A}", f"cri-o://{A}", f"docker://{A}", A[7:], A[7:19]])
def test_what_is_copied_from_a_pod_or_a_list_is_understood(text: str) -> None:
    assert explained(text, image(A), STREAM).digest == A


def test_a_member_of_an_index_is_found_by_the_stream_of_the_index() -> None:
    """As imageID of what runs names it."""
    found = explained(f"{WEB}@{A}", image(A), index(B, [A]), image_stream("shop/web", latest=[B]))
    assert found.what.endswith("; in image stream shop/web as a member of an index")
    assert (found.digest, found.revisions, found.indexes) == (A, (), (B,))


def test_a_member_without_an_image_names_its_indexes() -> None:
    found = explained(C, index(B, [C]))
    assert found.what == "a member of indexes, without an Image of its own"
    assert found.indexes == (B,)


@pytest.mark.parametrize("text", [C, f"quay.io/some/thing@{C}"])
def test_a_digest_that_is_used_and_not_here_names_its_users(text: str) -> None:
    assert "; it is used by Pod x/y all the same" in refused(text, pod("x/y", running=[C]))


def test_a_digest_that_was_cut_short_is_shown_whole() -> None:
    assert list(lines(explained(A[:20])))[:2] == [A[:20], f"  {A}"]


def test_an_index_names_its_members_and_a_member_its_indexes() -> None:
    assert explained(D).members == (C,)
    assert explained(D).what.startswith("an index (manifest list), pushed")
    assert explained(C).indexes == (D,)
    assert f"  member of: {D}" in list(lines(explained(C)))


def test_the_blobs_of_an_image_are_counted() -> None:
    found = explained(B, image(A, layers=[L1], age=1), image(B, layers=[L1, L2]))
    assert (found.blobs, found.pruned_blobs) == (3, tuple(sorted([B, L2])))
    assert "  3 blobs: 2 pruned, 1 kept" in list(lines(found))


def test_what_runs_by_the_digest_of_its_config_is_a_user_R11() -> None:
    assert explained(A, image(A, config=CONFIG), pod("x/y", running=[CONFIG])).used_by == ("Pod x/y",)


@pytest.mark.parametrize("namespace", ["younger", "named-by", "revision", "a-member-of"])
def test_names_of_objects_do_not_change_what_would_have_to_be_done(namespace: str) -> None:
    """Reasons are values: nothing is read from the sentence in which a name stands."""
    (found,) = explained("shop/web:latest", image(A), STREAM, namespace=namespace).revisions
    assert found.decision.reason == OutsideNamespace(namespace)
    assert found.decision.to_change == "To prune it: set namespace to that of the image stream, or leave it out"
    on_image = explained(A, image(A), namespace=namespace).decision
    assert on_image is not None
    assert on_image.reason == NotPrunedInNamespace(namespace)
    assert on_image.to_change == (
        "To prune it: prune a revision in that namespace that names it, or leave namespace out"
    )


# --- as text and as JSON ---------------------------------------------------------------------------------------------


def test_an_explanation_as_text() -> None:
    assert list(lines(explained("shop/web:latest"))) == [
        "shop/web:latest",
        "  a tag with 2 revisions",
        "  referenced by Deployment shop/web",
        f"  shop/web:latest revision 0, {A}, of 2025-12-02 12:00:00 UTC",
        "    kept: the current revision of a tag referenced by Deployment shop/web (R15)",
        "    To prune it: remove all references to the tag, or push a newer revision",
        f"  shop/web:latest revision 1, {B}, of 2025-12-02 12:00:00 UTC",
        "    pruned: revision 1 is beyond the newest 0 of its tag, and nothing refers to it (R16)",
        "    To keep it: refer to it, protect it, or set keep_tag_revisions to 2 or more",
    ]
    assert "  nothing refers to it" in list(lines(explained("shop/db:latest")))


def test_an_explanation_as_json() -> None:
    found = msgspec.json.decode(msgspec.json.encode(explained(B)))
    assert found["decision"] == {
        "kept": False,
        "rule": "R22",
        "said": "no image stream names it, and nothing refers to it",
        "reason": {"type": "unreferenced"},
        "to_change": "To keep it: tag it, refer to it, or protect it",
    }
    assert found["revisions"][0]["tag"] == "shop/web:latest"


def test_an_image_without_a_time_says_so() -> None:
    timeless = image_stream("shop/web", latest=[item(A, None)])
    assert "of at an unknown time" not in "\n".join(lines(explained("shop/web:latest", timeless)))


# --- image streams that are empty, and stay --------------------------------------------------------------------------

EMPTY = {"empty_streams": EmptyStreams(older_than=timedelta(days=1), streams=("shop/*",))}
BARE = image_stream("shop/old")


@pytest.mark.parametrize(
    ("objects", "asked", "reasons"),
    [
        ([BARE], {}, [EmptyStreamsOff()]),
        ([image_stream("shop/old", age=1439)], EMPTY, [EmptyStreamTooYoung(1440)]),
        ([BARE], {**EMPTY, "minutes": 2 * OLD}, [EmptyStreamTooYoung(2 * OLD)]),
        ([image_stream("base/old")], EMPTY, [NotMatchedByEmptyStreams()]),
        (
            [image_stream("shop/old", failed=None, sources={"spec": None})],
            EMPTY,
            [TagsWithoutImages(("failed", "spec"))],
        ),
        ([image_stream("shop/old", owners=["web"])], EMPTY, [Owned(("Owner web",))]),
        ([BARE], {**EMPTY, "protect": ("shop/*",)}, [Protected("shop/*")]),
        (
            [BARE],
            {**EMPTY, "protected": ["ImageStream shop/old", "Namespace shop"], "protect_selector": "a=b"},
            [ProtectedByLabels("ImageStream shop/old", "a=b"), ProtectedByLabels("Namespace shop", "a=b")],
        ),
        ([BARE], {**EMPTY, "namespace": "base"}, [OutsideNamespace("base")]),
        ([BARE], {**EMPTY, "approval": Approval()}, [NotApproved()]),
        ([BARE, deployment("apps/x", f"{HOST}/shop/old:gone")], EMPTY, [StreamReferenced(("Deployment apps/x",))]),
        ([BARE, pod("apps/x", f"{HOST}/shop/old@{B}")], EMPTY, [StreamReferenced(("Pod apps/x",))]),
        (
            [BARE, build("apps/x", to=from_("ImageStreamTag", "old:new", "shop"))],
            EMPTY,
            [StreamReferenced(("Build apps/x",))],
        ),
        (
            [BARE, image(A, repository="shop/old"), image_stream("base/x", a=[item(A, 1)])],
            EMPTY,
            [RepositoryOfKept((A,))],
        ),
        (
            [image(A), image_stream("shop/old", a=[A])],
            {**EMPTY, "revisions": 0, "grace": timedelta(days=7)},
            [RestorableInto((A,))],
        ),
        (
            [image_stream("base/old", age=5, failed=None, owners=["web"])],
            {**EMPTY, "protect": ("base/*",)},
            [
                TagsWithoutImages(("failed",)),
                EmptyStreamTooYoung(1440),
                NotMatchedByEmptyStreams(),
                Owned(("Owner web",)),
                Protected("base/*"),
            ],
        ),
    ],
)
def test_an_empty_image_stream_that_stays_says_why_R34(
    objects: list[Object], asked: dict[str, object], reasons: list[StreamReason]
) -> None:
    found = explained("base/old" if "base/old" in str(objects[0]) else "shop/old", *objects, **asked)
    assert found.decision is not None
    assert (found.decision.kept, found.decision.reason) == (True, reasons[0])
    assert found.decision.to_change.count("; and ") == len(reasons) - 1
    for reason in reasons:
        assert to_change(reason) in found.decision.to_change
    if isinstance(reasons[0], StreamReferenced):
        assert found.used_by == reasons[0].references


def test_an_empty_image_stream_is_explained_in_lines_and_in_json_R34() -> None:
    found = explained("shop/old", image_stream("shop/old", age=1000), **EMPTY)
    assert list(lines(found))[2:] == [
        "  kept: it is younger than 1440 minutes (R34)",
        "  To prune it: wait until it is 1440 minutes old, at 2026-01-01 19:20:00 UTC",
        "  nothing refers to it",
    ]
    decision = msgspec.json.decode(msgspec.json.encode(found))["decision"]
    assert (decision["kept"], decision["rule"]) == (True, "R34")
    assert decision["reason"] == {"type": "empty-stream-too-young", "minutes": 1440}


def test_an_image_stream_that_is_deleted_or_has_images_says_nothing_of_what_keeps_it_empty_R34() -> None:
    deleted = explained("shop/old", BARE, **EMPTY).decision
    assert deleted is not None
    assert deleted.reason == EmptyStream(1440)
    assert explained("shop/web", **EMPTY).decision is None


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_line_knows_explain() -> None:
    shown = CliRunner().invoke(main, ["explain", "--help"])
    assert shown.exit_code == 0
    assert "explain [OPTIONS] REF" in shown.output
    assert "--json" in shown.output
    assert "--keep-tag-revisions" in shown.output
    assert "--api-key" not in shown.output


def test_explain_without_a_name_is_a_wrong_call() -> None:
    assert CliRunner().invoke(main, ["explain"]).exit_code == 2
