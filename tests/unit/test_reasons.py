"""How each reason is said, of one thing and of many, what would have to change, and how a file stores it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, cast, get_args

import msgspec
import pytest

from pruner.cluster.metadata import BEGINNING
from pruner.reasons import (
    AmongNewest,
    AmongNewestTags,
    AttachedToAbsent,
    AttachedToKept,
    AttachedToPruned,
    BeyondNewest,
    BlobNotApproved,
    CurrentOfReferencedTag,
    EmptyStream,
    EmptyStreamsOff,
    EmptyStreamTooYoung,
    Expired,
    GraceOver,
    ImageAbsent,
    ImageAppeared,
    ImageTooYoung,
    Imported,
    ImportedTag,
    KeepReason,
    KeptByRule,
    MemberOf,
    MovedRecently,
    NamedBy,
    NoRevisionOverSize,
    NotApproved,
    NotMatchedByEmptyStreams,
    NotPrunedInNamespace,
    OlderRevisionKept,
    OutsideNamespace,
    OverSizeLimit,
    Owned,
    Protected,
    ProtectedByLabels,
    PruneReason,
    Reason,
    Referenced,
    ReferencedInStream,
    ReferenceOnly,
    RepositoryOfKept,
    RestorableInto,
    Restored,
    Retired,
    Retiring,
    RevisionTooYoung,
    StreamReason,
    StreamReferenced,
    StreamTooYoung,
    TagsWithoutImages,
    Unreferenced,
    WithinSizeLimit,
    in_general,
    sentence,
    time_said,
    to_change,
)


class Row(NamedTuple):
    """A reason, and what is said of it; `general` is empty where it is the sentence."""

    reason: Reason | StreamReason
    tag: str
    rule: str
    sentence: str
    general: str
    change: str


SINCE, UNTIL = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 8, 12, tzinfo=UTC)

ROWS = [
    Row(Retiring(10080), "retiring", "R36",
        "nothing needs it: it is retired, and can be restored for 10080 minutes", "",
        "set grace to 0, or wait until it was retired for that long"),
    Row(Retired(SINCE, UNTIL), "retired", "R36",
        "retired at 2026-01-01 12:00 UTC, it can be restored until 2026-01-08 12:00 UTC",
        "retired, and within its grace period", "wait until 2026-01-08 12:00 UTC, or lower grace"),
    Row(GraceOver(10080), "grace-over", "R36", "retired longer than 10080 minutes ago, and nothing needs it", "",
        "restore it with `pruner restore`, refer to it, protect it, or raise grace"),
    Row(Restored(UNTIL), "restored", "R37", "the image was restored, which keeps it until 2026-01-08 12:00 UTC",
        "restored lately", "wait until 2026-01-08 12:00 UTC"),
    Row(OutsideNamespace("shop"), "outside-namespace", "R21", "the image stream is not in namespace shop", "",
        "set namespace to that of the image stream, or leave it out"),
    Row(StreamTooYoung(60), "stream-too-young", "R14", "its image stream is younger than 60 minutes", "",
        "wait until the image stream is 60 minutes old"),
    Row(RevisionTooYoung(1), "revision-too-young", "R14", "the revision is younger than 1 minute", "",
        "wait until the revision is 1 minute old"),
    Row(CurrentOfReferencedTag(("Pod a/b",)), "current-of-referenced-tag", "R15",
        "the current revision of a tag referenced by Pod a/b", "the current revision of a referenced tag",
        "remove all references to the tag, or push a newer revision"),
    Row(AmongNewest(2, 3), "among-newest", "R16", "revision 2 is among the newest 3 of its tag",
        "among the newest 3 of its tag", "set keep_tag_revisions to 2 or less, or push newer revisions"),
    Row(AmongNewest(0, 3), "among-newest", "R16", "revision 0 is among the newest 3 of its tag",
        "among the newest 3 of its tag", "set keep_tag_revisions to 0, or push newer revisions"),
    Row(WithinSizeLimit(), "within-size-limit", "R16",
        "the image does not exceed the image size limits of its namespace", "",
        "set an image size limit (LimitRange) in the namespace that is smaller than the image"),
    Row(ReferencedInStream(("Pod a/b", "Pod a/c")), "referenced-in-stream", "R17",
        "referenced by digest in this image stream by Pod a/b, Pod a/c", "referenced by digest in its image stream",
        "remove all references to its digest in this image stream"),
    Row(Protected("shop/*"), "protected", "R18", "protected by pattern shop/*", "protected by a pattern",
        "remove the pattern from protect"),
    Row(ProtectedByLabels("Namespace shop", "keep=true"), "protected-by-labels", "R18",
        "protected by the labels of Namespace shop, which match keep=true", "protected by labels that match keep=true",
        "remove the labels of Namespace shop that match keep=true, or change protect_selector"),
    Row(ReferenceOnly(), "reference-only", "R19", "it names a pull spec instead of an Image", "",
        "delete the tag with `oc tag -d`"),
    Row(ImageAppeared(), "image-appeared", "R19", "its Image object was absent and exists now", "",
        "run again, which decides by the other rules now that its Image object exists"),
    Row(ImageAbsent(), "image-absent", "R19", "its Image object is absent", "", "push or import the image again"),
    Row(BeyondNewest(3, 3), "beyond-newest", "R16",
        "revision 3 is beyond the newest 3 of its tag, and nothing refers to it",
        "beyond the newest 3 of its tag, and nothing refers to it",
        "refer to it, protect it, or set keep_tag_revisions to 4 or more"),
    Row(OverSizeLimit(1001, Decimal("1E+3"), "shop/limits"), "over-size-limit", "R16",
        "its 1,001 bytes exceed the 1,000 bytes that LimitRange shop/limits allows",
        "larger than the image size limits of its namespace allow",
        "refer to it, protect it, raise the limit of LimitRange shop/limits to 1001 bytes, or set keep_tag_revisions "
        "so that the "
        "revision is among the newest"),
    Row(KeptByRule("prod"), "kept-by-rule", "R30", "retention rule prod keeps all of its tags",
        "kept by retention rule prod",
        "replace `keep: all` of retention rule prod by a limit, or have another rule match its tag"),
    Row(MovedRecently("previews", 1440), "moved-recently", "R30",
        "its tag was moved less than 1440 minutes ago, which retention rule previews keeps",
        "moved recently, which retention rule previews keeps",
        "wait until its tag has not been moved for 1440 minutes, "
        "or lower keep_younger_than of retention rule previews"),
    Row(AmongNewestTags("releases", 2, 10), "among-newest-tags", "R30",
        "its tag is number 2 of the newest 10 of retention rule releases",
        "among the newest 10 tags of retention rule releases",
        "set keep_newest of retention rule releases to 1, or push newer tags that the rule matches"),
    Row(OlderRevisionKept(2), "older-revision-kept", "R31", "its tag would move back to revision 2, which is kept",
        "of a tag of which an older revision is kept", "do what prunes revision 2 of its tag"),
    Row(ImportedTag("mirrors"), "imported-tag", "R32",
        "its tag imports from another registry, and retention rule mirrors is not for imported tags",
        "imported, and retention rule mirrors is not for imported tags",
        "set `imported: true` in retention rule mirrors"),
    Row(Expired("previews"), "expired", "R30",
        "its tag has expired by retention rule previews, and nothing refers to it",
        "expired by retention rule previews, and nothing refers to it",
        "refer to it, protect it, or have retention rule previews keep its tag"),
    Row(AttachedToKept("sha256:1"), "attached-to-kept", "R35", "attached to sha256:1, which is kept",
        "attached to an image that is kept", "prune the image that it is attached to"),
    Row(AttachedToPruned("sha256:1"), "attached-to-pruned", "R35", "attached to sha256:1, which is pruned",
        "attached to an image that is pruned", "keep the image that it is attached to, or set attached to keep"),
    Row(AttachedToAbsent("sha256:1"), "attached-to-absent", "R35", "attached to sha256:1, of which there is no Image",
        "attached to an image that does not exist",
        "push the image that it is attached to, protect it, or set attached to keep"),
    Row(EmptyStream(43200), "empty-stream", "R34",
        "it has no tags, nothing refers to it, and it is older than 43200 minutes", "",
        "tag an image into it, refer to it, protect it, or leave out empty_streams"),
    Row(Referenced(("Pod a/b",)), "referenced", "R12", "referenced by Pod a/b", "referenced by digest",
        "remove all references to it"),
    Row(NamedBy(("shop/web:v1",)), "named-by", "R22", "named by shop/web:v1", "named by an image stream",
        "prune the revisions of these tags that name it"),
    Row(MemberOf(("sha256:1",)), "member-of", "R22", "a member of sha256:1", "a member of a kept index",
        "prune every index that it is a member of"),
    Row(ImageTooYoung(60), "image-too-young", "R22", "the image is younger than 60 minutes", "",
        "wait until the image is 60 minutes old"),
    Row(Imported(), "imported", "R22", "imported from another registry, and all_images is false", "",
        "set all_images to true"),
    Row(NoRevisionOverSize(), "no-revision-over-size", "R22", "no pruned revision over the size limit named it", "",
        "set an image size limit that a revision naming it exceeds, or set keep_younger_than"),
    Row(NotPrunedInNamespace("shop"), "not-pruned-in-namespace", "R23",
        "no pruned revision in namespace shop named it", "",
        "prune a revision in that namespace that names it, or leave namespace out"),
    Row(Unreferenced(), "unreferenced", "R22", "no image stream names it, and nothing refers to it", "",
        "tag it, refer to it, or protect it"),
    Row(NotApproved(), "not-approved", "approval", "not in the approved plan", "", "make and approve a new plan"),
    Row(BlobNotApproved(), "blob-not-approved", "approval", "one of its blobs is not in the approved plan", "",
        "make and approve a new plan"),
]  # fmt: skip

STREAM_ROWS = [
    Row(EmptyStreamsOff(), "empty-streams-off", "R34",
        "empty_streams is not set, so that empty image streams are kept", "", "set empty_streams"),
    Row(TagsWithoutImages(("a", "b")), "tags-without-images", "R34", "it has tags, though without images: a, b", "",
        "delete these tags with `oc tag -d`"),
    Row(EmptyStreamTooYoung(43200), "empty-stream-too-young", "R34", "it is younger than 43200 minutes", "",
        "wait until it is 43200 minutes old"),
    Row(NotMatchedByEmptyStreams(), "not-matched-by-empty-streams", "R34",
        "the patterns of empty_streams.streams do not match it", "",
        "have empty_streams.streams match it, or leave that out"),
    Row(Owned(("Operator web",)), "owned", "R34", "owned by Operator web", "",
        "remove its owner references, or delete its owner"),
    Row(StreamReferenced(("Pod a/b",)), "stream-referenced", "R34", "referenced by Pod a/b", "",
        "remove all references to it"),
    Row(RepositoryOfKept(("sha256:1",)), "repository-of-kept", "R34", "kept images were pushed to it: sha256:1", "",
        "prune these images"),
    Row(RestorableInto(("sha256:1",)), "restorable-into", "R34", "retired images can be restored into it: sha256:1", "",
        "wait until their grace period is over, or set grace to 0"),
]  # fmt: skip
"""Those of empty image streams that stay. They have no words for many things."""


def test_the_table_has_every_reason() -> None:
    assert {type(row.reason) for row in ROWS} == {*get_args(KeepReason), *get_args(PruneReason)}
    assert {type(row.reason) for row in STREAM_ROWS} == {*get_args(StreamReason)} - {*get_args(KeepReason)}


@pytest.mark.parametrize("row", [*ROWS, *STREAM_ROWS], ids=lambda row: row.tag)
def test_a_reason_is_put_into_words(row: Row) -> None:
    assert sentence(row.reason) == row.sentence
    assert str(row.reason) == f"{row.sentence} ({row.rule})"
    assert to_change(row.reason) == row.change


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.tag)
def test_a_reason_is_said_of_many_things(row: Row) -> None:
    assert in_general(cast(Reason, row.reason)) == (row.general or row.sentence)


@pytest.mark.parametrize("row", [*ROWS, *STREAM_ROWS], ids=lambda row: row.tag)
def test_a_reason_is_stored_by_its_tag_and_read_again(row: Row) -> None:
    stored = msgspec.json.encode(row.reason)
    assert msgspec.json.decode(stored)["type"] == row.tag
    assert msgspec.json.decode(stored, type=Reason if row in ROWS else StreamReason) == row.reason


def test_a_reason_keeps_or_prunes() -> None:
    assert {type(row.reason) for row in ROWS if row.reason.kept} == {*get_args(KeepReason)}


@pytest.mark.parametrize(
    "make", [CurrentOfReferencedTag, ReferencedInStream, Referenced, NamedBy, MemberOf, StreamReferenced]
)
def test_many_names_are_counted(make: type[Referenced]) -> None:
    reason = make(tuple("abcde"))
    assert sentence(reason).endswith(" a, b, c and 2 more")
    assert sentence(reason, most=5).endswith(" a, b, c, d, e")
    assert sentence(make(tuple("abc"))).endswith(" a, b, c")


def test_a_time_is_said_in_utc_and_none_is_said_to_be_unknown() -> None:
    assert time_said(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05 UTC"
    assert time_said(BEGINNING) == "an unknown time"


@pytest.mark.parametrize(
    "limit", ["1E+999999", "-1E+999999999", "1E-999999999", "9" * 1000, "0E+999999", "NaN", "sNaN", "-Infinity"]
)
def test_a_limit_of_any_size_is_put_into_few_words(limit: str) -> None:
    assert len(sentence(OverSizeLimit(1, Decimal(limit), "shop/limits"))) < 200


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (f"{10**29}", f"{10**29:,}"),
        (f"{10**30}", "1.00e+30"),
        ("1E+30", f"{10**30:,}"),
        ("1E+31", "1e+31"),
        ("1E-30", f"0.{'0' * 29}1"),
        ("1E-31", "1e-31"),
        ("1.5", "1.5"),
    ],
)
def test_a_limit_is_said_in_full_up_to_30_digits(limit: str, said: str) -> None:
    assert f" exceed the {said} bytes that " in sentence(OverSizeLimit(5, Decimal(limit), "a/b"))
