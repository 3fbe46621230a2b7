"""The words for reasons: what is said of one thing, of many things, and what would have to change.

Each question is one `match` that has to name every reason. No other module puts a reason into words or reads those
words.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, assert_never

from pruner.reasons.reason import (
    AmongNewest,
    AmongNewestTags,
    AttachedToAbsent,
    AttachedToKept,
    AttachedToPruned,
    BeyondNewest,
    BlobNotApproved,
    CurrentOfReferencedTag,
    EmptyStream,
    Expired,
    GraceOver,
    ImageAbsent,
    ImageAppeared,
    ImageTooYoung,
    Imported,
    ImportedTag,
    KeptByRule,
    MemberOf,
    MovedRecently,
    NamedBy,
    NoRevisionOverSize,
    NotApproved,
    NotPrunedInNamespace,
    OlderRevisionKept,
    OutsideNamespace,
    OverSizeLimit,
    Protected,
    ProtectedByLabels,
    Reason,
    Referenced,
    ReferencedInStream,
    ReferenceOnly,
    Restored,
    Retired,
    Retiring,
    RevisionTooYoung,
    StreamTooYoung,
    Unreferenced,
    WithinSizeLimit,
)
from pruner.reasons.stream_reason import (
    EmptyStreamsOff,
    EmptyStreamTooYoung,
    NotMatchedByEmptyStreams,
    Owned,
    RepositoryOfKept,
    RestorableInto,
    StreamReason,
    StreamReferenced,
    TagsWithoutImages,
)
from pruner.reasons.users import said

_DIGITS: Final = 30
"""Digits of a number that are shown: a quantity has at most 19 before its point and 9 after it."""

NAMED: Final = 3
"""So many objects are named in a sentence; the others are counted."""


def sentence(reason: Reason | StreamReason, most: int = NAMED) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each reason
    """How the reason is said of one revision, image or image stream. At most `most` objects are named."""
    match reason:
        case OutsideNamespace(namespace=namespace):
            return f"the image stream is not in namespace {namespace}"
        case StreamTooYoung(minutes=minutes):
            return f"its image stream is younger than {_minutes(minutes)}"
        case RevisionTooYoung(minutes=minutes):
            return f"the revision is younger than {_minutes(minutes)}"
        case CurrentOfReferencedTag(references=references):
            return f"the current revision of a tag {said(references, most)}"
        case AmongNewest(revision=revision, keep=keep):
            return f"revision {revision} is among the newest {keep} of its tag"
        case WithinSizeLimit():
            return "the image does not exceed the image size limits of its namespace"
        case ReferencedInStream(references=references):
            return said(references, most, "referenced by digest in this image stream by")
        case Protected(pattern=pattern):
            return f"protected by pattern {pattern}"
        case ProtectedByLabels(object=name, selector=selector):
            return f"protected by the labels of {name}, which match {selector}"
        case ReferenceOnly():
            return "it names a pull spec instead of an Image"
        case ImageAppeared():
            return "its Image object was absent and exists now"
        case ImageAbsent():
            return "its Image object is absent"
        case BeyondNewest(revision=revision, keep=keep):
            return f"revision {revision} is beyond the newest {keep} of its tag, and nothing refers to it"
        case OverSizeLimit(size=size, limit=limit, limit_range=limit_range):
            return f"its {size:,} bytes exceed the {_decimal(limit)} bytes that LimitRange {limit_range} allows"
        case KeptByRule(retention=retention):
            return f"retention rule {retention} keeps all of its tags"
        case MovedRecently(retention=retention, minutes=minutes):
            return f"its tag was moved less than {_minutes(minutes)} ago, which retention rule {retention} keeps"
        case AmongNewestTags(retention=retention, position=position, keep=keep):
            return f"its tag is number {position} of the newest {keep} of retention rule {retention}"
        case ImportedTag(retention=retention):
            return f"its tag imports from another registry, and retention rule {retention} is not for imported tags"
        case OlderRevisionKept(revision=revision):
            return f"its tag would move back to revision {revision}, which is kept"
        case Expired(retention=retention):
            return f"its tag has expired by retention rule {retention}, and nothing refers to it"
        case AttachedToKept(subject=subject):
            return f"attached to {subject}, which is kept"
        case AttachedToPruned(subject=subject):
            return f"attached to {subject}, which is pruned"
        case AttachedToAbsent(subject=subject):
            return f"attached to {subject}, of which there is no Image"
        case EmptyStream(minutes=minutes):
            return f"it has no tags, nothing refers to it, and it is older than {_minutes(minutes)}"
        case Referenced(references=references):
            return said(references, most)
        case NamedBy(tags=tags):
            return f"named by {_listed(tags, most)}"
        case MemberOf(indexes=indexes):
            return f"a member of {_listed(indexes, most)}"
        case ImageTooYoung(minutes=minutes):
            return f"the image is younger than {_minutes(minutes)}"
        case Imported():
            return "imported from another registry, and all_images is false"
        case NoRevisionOverSize():
            return "no pruned revision over the size limit named it"
        case NotPrunedInNamespace(namespace=namespace):
            return f"no pruned revision in namespace {namespace} named it"
        case Unreferenced():
            return "no image stream names it, and nothing refers to it"
        case Retiring(minutes=minutes):
            return f"nothing needs it: it is retired, and can be restored for {_minutes(minutes)}"
        case Retired(since=since, until=until):
            return f"retired at {_time(since)}, it can be restored until {_time(until)}"
        case GraceOver(minutes=minutes):
            return f"retired longer than {_minutes(minutes)} ago, and nothing needs it"
        case Restored(until=until):
            return f"the image was restored, which keeps it until {_time(until)}"
        case NotApproved():
            return "not in the approved plan"
        case BlobNotApproved():
            return "one of its blobs is not in the approved plan"
        case EmptyStreamsOff():
            return "empty_streams is not set, so that empty image streams are kept"
        case TagsWithoutImages(tags=tags):
            return f"it has tags, though without images: {_listed(tags, most)}"
        case EmptyStreamTooYoung(minutes=minutes):
            return f"it is younger than {_minutes(minutes)}"
        case NotMatchedByEmptyStreams():
            return "the patterns of empty_streams.streams do not match it"
        case Owned(owners=owners):
            return f"owned by {_listed(owners, most)}"
        case StreamReferenced(references=references):
            return said(references, most)
        case RepositoryOfKept(images=images):
            return f"kept images were pushed to it: {_listed(images, most)}"
        case RestorableInto(images=images):
            return f"retired images can be restored into it: {_listed(images, most)}"
        case _:
            assert_never(reason)


def in_general(reason: Reason) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each reason
    """How the reason is said of many things: without what is
    special to one of them, so that they can be counted together.
    """
    match reason:
        case NamedBy():
            # First, since its tags make nearly every one of a plan's different: in a large cluster, tens of thousands.
            return "named by an image stream"
        case CurrentOfReferencedTag():
            return "the current revision of a referenced tag"
        case AmongNewest(keep=keep):
            return f"among the newest {keep} of its tag"
        case BeyondNewest(keep=keep):
            return f"beyond the newest {keep} of its tag, and nothing refers to it"
        case OverSizeLimit():
            return "larger than the image size limits of its namespace allow"
        case ReferencedInStream():
            return "referenced by digest in its image stream"
        case Protected():
            return "protected by a pattern"
        case KeptByRule(retention=retention):
            return f"kept by retention rule {retention}"
        case MovedRecently(retention=retention):
            return f"moved recently, which retention rule {retention} keeps"
        case AmongNewestTags(retention=retention, keep=keep):
            return f"among the newest {keep} tags of retention rule {retention}"
        case ImportedTag(retention=retention):
            return f"imported, and retention rule {retention} is not for imported tags"
        case OlderRevisionKept():
            return "of a tag of which an older revision is kept"
        case Expired(retention=retention):
            return f"expired by retention rule {retention}, and nothing refers to it"
        case AttachedToKept():
            return "attached to an image that is kept"
        case AttachedToPruned():
            return "attached to an image that is pruned"
        case AttachedToAbsent():
            return "attached to an image that does not exist"
        case ProtectedByLabels(selector=selector):
            return f"protected by labels that match {selector}"
        case Referenced():
            return "referenced by digest"
        case MemberOf():
            return "a member of a kept index"
        case Retired():
            return "retired, and within its grace period"
        case Restored():
            return "restored lately"
        case (
            OutsideNamespace()
            | StreamTooYoung()
            | RevisionTooYoung()
            | WithinSizeLimit()
            | ReferenceOnly()
            | ImageAppeared()
            | ImageAbsent()
            | ImageTooYoung()
            | Imported()
            | NoRevisionOverSize()
            | NotPrunedInNamespace()
            | Unreferenced()
            | Retiring()
            | GraceOver()
            | EmptyStream()
            | NotApproved()
            | BlobNotApproved()
        ):
            # The facts of these, if any, are settings, which are the same for everything in a plan.
            return sentence(reason)
        case _:
            assert_never(reason)


def to_change(reason: Reason | StreamReason) -> str:  # noqa: C901, PLR0911, PLR0912, PLR0915 - one case for each reason
    """What would have to be done for the opposite decision, as an instruction: to prune it if kept, or else to keep it.

    Something can be kept for several reasons: to prune it, what each of them says has to be done.
    """
    match reason:
        case OutsideNamespace():
            return "set namespace to that of the image stream, or leave it out"
        case StreamTooYoung(minutes=minutes):
            return f"wait until the image stream is {_minutes(minutes)} old"
        case RevisionTooYoung(minutes=minutes):
            return f"wait until the revision is {_minutes(minutes)} old"
        case CurrentOfReferencedTag():
            return "remove all references to the tag, or push a newer revision"
        case AmongNewest(revision=revision):
            lower = f"{revision} or less" if revision else "0"
            return f"set keep_tag_revisions to {lower}, or push newer revisions"
        case WithinSizeLimit():
            return "set an image size limit (LimitRange) in the namespace that is smaller than the image"
        case ReferencedInStream():
            return "remove all references to its digest in this image stream"
        case Protected():
            return "remove the pattern from protect"
        case ProtectedByLabels(object=name, selector=selector):
            return f"remove the labels of {name} that match {selector}, or change protect_selector"
        case ReferenceOnly():
            return "delete the tag with `oc tag -d`"
        case ImageAppeared():
            return "run again, which decides by the other rules now that its Image object exists"
        case ImageAbsent():
            return "push or import the image again"
        case BeyondNewest(revision=revision):
            return f"refer to it, protect it, or set keep_tag_revisions to {revision + 1} or more"
        case OverSizeLimit(size=size, limit_range=limit_range):
            return (
                f"refer to it, protect it, raise the limit of LimitRange {limit_range} to {size} bytes, or set "
                "keep_tag_revisions so that the revision is among the newest"
            )
        case KeptByRule(retention=retention):
            return f"replace `keep: all` of retention rule {retention} by a limit, or have another rule match its tag"
        case MovedRecently(retention=retention, minutes=minutes):
            wait = f"wait until its tag has not been moved for {_minutes(minutes)}"
            return f"{wait}, or lower keep_younger_than of retention rule {retention}"
        case AmongNewestTags(retention=retention, position=position):
            return (
                f"set keep_newest of retention rule {retention} to {position - 1}, "
                "or push newer tags that the rule matches"
            )
        case ImportedTag(retention=retention):
            return f"set `imported: true` in retention rule {retention}"
        case OlderRevisionKept(revision=revision):
            return f"do what prunes revision {revision} of its tag"
        case Expired(retention=retention):
            return f"refer to it, protect it, or have retention rule {retention} keep its tag"
        case AttachedToKept():
            return "prune the image that it is attached to"
        case AttachedToPruned():
            return "keep the image that it is attached to, or set attached to keep"
        case AttachedToAbsent():
            return "push the image that it is attached to, protect it, or set attached to keep"
        case EmptyStream():
            return "tag an image into it, refer to it, protect it, or leave out empty_streams"
        case Referenced():
            return "remove all references to it"
        case NamedBy():
            return "prune the revisions of these tags that name it"
        case MemberOf():
            return "prune every index that it is a member of"
        case ImageTooYoung(minutes=minutes):
            return f"wait until the image is {_minutes(minutes)} old"
        case Imported():
            return "set all_images to true"
        case NoRevisionOverSize():
            return "set an image size limit that a revision naming it exceeds, or set keep_younger_than"
        case NotPrunedInNamespace():
            return "prune a revision in that namespace that names it, or leave namespace out"
        case Unreferenced():
            return "tag it, refer to it, or protect it"
        case Retiring():
            return "set grace to 0, or wait until it was retired for that long"
        case Retired(until=until):
            return f"wait until {_time(until)}, or lower grace"
        case GraceOver():
            return "restore it with `pruner restore`, refer to it, protect it, or raise grace"
        case Restored(until=until):
            return f"wait until {_time(until)}"
        case NotApproved() | BlobNotApproved():
            return "make and approve a new plan"
        case EmptyStreamsOff():
            return "set empty_streams"
        case TagsWithoutImages():
            return "delete these tags with `oc tag -d`"
        case EmptyStreamTooYoung(minutes=minutes):
            return f"wait until it is {_minutes(minutes)} old"
        case NotMatchedByEmptyStreams():
            return "have empty_streams.streams match it, or leave that out"
        case Owned():
            return "remove its owner references, or delete its owner"
        case StreamReferenced():
            return "remove all references to it"
        case RepositoryOfKept():
            return "prune these images"
        case RestorableInto():
            return "wait until their grace period is over, or set grace to 0"
        case _:
            assert_never(reason)


def _decimal(number: Decimal) -> str:
    """The number in full, or rounded where a file gives one that has more digits than a size can have."""
    digits = len(number.as_tuple().digits)
    return f"{number:,f}" if digits <= _DIGITS and abs(number.adjusted()) <= _DIGITS else f"{number:.3g}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _minutes(minutes: int) -> str:
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
