"""Why something is kept or pruned: one type per reason, with its facts.

A reason knows its rule (`rule`, a section of docs/rules.md) and whether it keeps (`kept`). How it is said (`sentence`), how it is said of
many things at once (`in_general`) and what would have to change for the opposite decision (`to_change`) are answered below, each in one
`match` that has to name every reason. No other module puts a reason into words or reads those words.

A plan's file stores reasons by their tags, which therefore never change. CONTRIBUTING.md lists the steps of adding one.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar, Final, assert_never, cast

import msgspec

_DIGITS: Final = 30
"""Digits of a number that are shown: a quantity has at most 19 before its point and 9 after it."""

NAMED: Final = 3
"""So many objects are named in a sentence; the others are counted."""


class _Reason(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """What all reasons share. `rule` is the number of a rule of docs/rules.md, or `approval` for the limit of an approved plan."""

    rule: ClassVar[str]
    kept: ClassVar[bool]

    def __str__(self) -> str:
        return f"{sentence(cast('Reason', self))} ({self.rule})"


class _Kept(_Reason, frozen=True, gc=False):
    kept: ClassVar[bool] = True


class _Pruned(_Reason, frozen=True, gc=False):
    kept: ClassVar[bool] = False


# --- revisions --------------------------------------------------------------------------------------------------------


class OutsideNamespace(_Kept, frozen=True, gc=False, tag="outside-namespace"):
    """The image stream is not in the namespace that the plan is limited to."""

    rule: ClassVar[str] = "R21"
    namespace: str


class StreamTooYoung(_Kept, frozen=True, gc=False, tag="stream-too-young"):
    """The image stream was created after the age limit. `minutes` is `keep_younger_than`."""

    rule: ClassVar[str] = "R14"
    minutes: int


class RevisionTooYoung(_Kept, frozen=True, gc=False, tag="revision-too-young"):
    """The revision was created after the age limit. `minutes` is `keep_younger_than`."""

    rule: ClassVar[str] = "R14"
    minutes: int


class CurrentOfReferencedTag(_Kept, frozen=True, gc=False, tag="current-of-referenced-tag"):
    """Revision 0 of a tag that `references`, objects as `Kind namespace/name`, refer to."""

    rule: ClassVar[str] = "R15"
    references: tuple[str, ...]


class AmongNewest(_Kept, frozen=True, gc=False, tag="among-newest"):
    """The revision is below `keep`, which is `keep_tag_revisions`."""

    rule: ClassVar[str] = "R16"
    revision: int
    keep: int


class WithinSizeLimit(_Kept, frozen=True, gc=False, tag="within-size-limit"):
    """With `prune_over_size_limit`: the image exceeds no limit of its namespace."""

    rule: ClassVar[str] = "R16"


class ReferencedInStream(_Kept, frozen=True, gc=False, tag="referenced-in-stream"):
    """`references` refer to the digest in this image stream."""

    rule: ClassVar[str] = "R17"
    references: tuple[str, ...]


class Protected(_Kept, frozen=True, gc=False, tag="protected"):
    """A pattern of `protect` matches the tag or the digest."""

    rule: ClassVar[str] = "R18"
    pattern: str


class ProtectedByLabels(_Kept, frozen=True, gc=False, tag="protected-by-labels"):
    """The labels of `object`, the image stream or its namespace, match `protect_selector`, which is `selector`."""

    rule: ClassVar[str] = "R18"
    object: str
    selector: str


class ReferenceOnly(_Kept, frozen=True, gc=False, tag="reference-only"):
    """The revision names a pull spec and no Image, as `oc tag --reference` makes it."""

    rule: ClassVar[str] = "R19"


class ImageAppeared(_Kept, frozen=True, gc=False, tag="image-appeared"):
    """The Image was absent from the list, and a GET of it before the update found it."""

    rule: ClassVar[str] = "R19"


# --- tags that a retention rule matches, and attached tags ------------------------------------------------------------


class KeptByRule(_Kept, frozen=True, gc=False, tag="kept-by-rule"):
    """The current revision of a tag that a retention rule with `keep: all` matches. `retention` is the name of the rule."""

    rule: ClassVar[str] = "R30"
    retention: str


class MovedRecently(_Kept, frozen=True, gc=False, tag="moved-recently"):
    """The current revision of a tag that was moved after the age limit of its retention rule, which is `minutes`."""

    rule: ClassVar[str] = "R30"
    retention: str
    minutes: int


class AmongNewestTags(_Kept, frozen=True, gc=False, tag="among-newest-tags"):
    """The current revision of a tag that is number `position`, from 1, of the tags of its retention rule, which keeps `keep`."""

    rule: ClassVar[str] = "R30"
    retention: str
    position: int
    keep: int


class ImportedTag(_Kept, frozen=True, gc=False, tag="imported-tag"):
    """The current revision of an expired tag that is declared to be imported, which its retention rule leaves alone."""

    rule: ClassVar[str] = "R32"
    retention: str


class OlderRevisionKept(_Kept, frozen=True, gc=False, tag="older-revision-kept"):
    """The current revision of an expired tag of which an older `revision` is kept: the tag would move back to that one."""

    rule: ClassVar[str] = "R31"
    revision: int


class Expired(_Pruned, frozen=True, gc=False, tag="expired"):
    """No condition of the retention rule keeps the tag, and nothing refers to the revision."""

    rule: ClassVar[str] = "R30"
    retention: str


class AttachedToKept(_Kept, frozen=True, gc=False, tag="attached-to-kept"):
    """The tag is attached to the Image `subject`, which is kept."""

    rule: ClassVar[str] = "R35"
    subject: str


class AttachedToPruned(_Pruned, frozen=True, gc=False, tag="attached-to-pruned"):
    """The tag is attached to the Image `subject`, which is pruned."""

    rule: ClassVar[str] = "R35"
    subject: str


class AttachedToAbsent(_Pruned, frozen=True, gc=False, tag="attached-to-absent"):
    """The tag is attached to `subject`, of which there is no Image."""

    rule: ClassVar[str] = "R35"
    subject: str


class ImageAbsent(_Pruned, frozen=True, gc=False, tag="image-absent"):
    """The revision's Image does not exist."""

    rule: ClassVar[str] = "R19"


class BeyondNewest(_Pruned, frozen=True, gc=False, tag="beyond-newest"):
    """The revision is not below `keep`, which is `keep_tag_revisions`, and nothing else keeps it."""

    rule: ClassVar[str] = "R16"
    revision: int
    keep: int


class OverSizeLimit(_Pruned, frozen=True, gc=False, tag="over-size-limit"):
    """The image's `size` exceeds `limit`, both in bytes, of the LimitRange `limit_range` (`namespace/name`)."""

    rule: ClassVar[str] = "R16"
    size: int
    limit: Decimal
    limit_range: str


# --- images -----------------------------------------------------------------------------------------------------------


class Referenced(_Kept, frozen=True, gc=False, tag="referenced"):
    """`references` refer to the image by digest, or to something in it or above it that needs it."""

    rule: ClassVar[str] = "R12"
    references: tuple[str, ...]


class NamedBy(_Kept, frozen=True, gc=False, tag="named-by"):
    """Kept revisions of `tags` (`namespace/stream:tag`) name the image."""

    rule: ClassVar[str] = "R22"
    tags: tuple[str, ...]


class MemberOf(_Kept, frozen=True, gc=False, tag="member-of"):
    """Kept indexes list the image as a manifest."""

    rule: ClassVar[str] = "R22"
    indexes: tuple[str, ...]


class ImageTooYoung(_Kept, frozen=True, gc=False, tag="image-too-young"):
    """The image was created after the age limit. `minutes` is `keep_younger_than`."""

    rule: ClassVar[str] = "R22"
    minutes: int


class Imported(_Kept, frozen=True, gc=False, tag="imported"):
    """The image was not pushed to the integrated registry, and `all_images` is false."""

    rule: ClassVar[str] = "R22"


class NoRevisionOverSize(_Kept, frozen=True, gc=False, tag="no-revision-over-size"):
    """With `prune_over_size_limit` alone: no revision that is pruned named the image."""

    rule: ClassVar[str] = "R22"


class NotPrunedInNamespace(_Kept, frozen=True, gc=False, tag="not-pruned-in-namespace"):
    """No pruned revision of the namespace that the plan is limited to named the image."""

    rule: ClassVar[str] = "R23"
    namespace: str


class Unreferenced(_Pruned, frozen=True, gc=False, tag="unreferenced"):
    """Nothing names the image or refers to it."""

    rule: ClassVar[str] = "R22"


# --- image streams ----------------------------------------------------------------------------------------------------


class EmptyStream(_Pruned, frozen=True, gc=False, tag="empty-stream"):
    """The image stream has no tag, nothing refers to it, and it is older than `minutes`, which is `empty_streams.older_than`."""

    rule: ClassVar[str] = "R34"
    minutes: int


# --- the limit of an approved plan ------------------------------------------------------------------------------------


class NotApproved(_Kept, frozen=True, gc=False, tag="not-approved"):
    """The approved plan does not name the revision or the image."""

    rule: ClassVar[str] = "approval"


class BlobNotApproved(_Kept, frozen=True, gc=False, tag="blob-not-approved"):
    """The approved plan does not name a blob that would be deleted with the image."""

    rule: ClassVar[str] = "approval"


KeepReason = (
    OutsideNamespace
    | StreamTooYoung
    | RevisionTooYoung
    | CurrentOfReferencedTag
    | AmongNewest
    | WithinSizeLimit
    | ReferencedInStream
    | Protected
    | ProtectedByLabels
    | ReferenceOnly
    | ImageAppeared
    | KeptByRule
    | MovedRecently
    | AmongNewestTags
    | ImportedTag
    | OlderRevisionKept
    | AttachedToKept
    | Referenced
    | NamedBy
    | MemberOf
    | ImageTooYoung
    | Imported
    | NoRevisionOverSize
    | NotPrunedInNamespace
    | NotApproved
    | BlobNotApproved
)
PruneReason = (
    ImageAbsent
    | BeyondNewest
    | OverSizeLimit
    | Expired
    | AttachedToPruned
    | AttachedToAbsent
    | Unreferenced
    | EmptyStream
)
Reason = KeepReason | PruneReason


# --- the questions ----------------------------------------------------------------------------------------------------


def sentence(reason: Reason, most: int = NAMED) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each reason
    """How the reason is said of one revision or image. At most `most` objects are named."""
    match reason:
        case OutsideNamespace(namespace=namespace):
            return f"its image stream is not in namespace {namespace}"
        case StreamTooYoung(minutes=minutes):
            return f"its image stream is younger than {_minutes(minutes)}"
        case RevisionTooYoung(minutes=minutes):
            return f"the revision is younger than {_minutes(minutes)}"
        case CurrentOfReferencedTag(references=references):
            return f"the current revision of a tag referenced by {_listed(references, most)}"
        case AmongNewest(revision=revision, keep=keep):
            return f"revision {revision} is among the newest {keep} of its tag"
        case WithinSizeLimit():
            return "the image does not exceed the image size limits of its namespace"
        case ReferencedInStream(references=references):
            return f"referenced by digest in this image stream by {_listed(references, most)}"
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
            return f"referenced by {_listed(references, most)}"
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
        case NotApproved():
            return "not in the approved plan"
        case BlobNotApproved():
            return "one of its blobs is not in the approved plan"
        case _:
            assert_never(reason)


def in_general(reason: Reason) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each reason
    """How the reason is said of many things: without what is special to one of them, so that they can be counted together."""
    match reason:
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
        case NamedBy():
            return "named by an image stream"
        case MemberOf():
            return "a member of a kept index"
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
            | EmptyStream()
            | NotApproved()
            | BlobNotApproved()
        ):
            # The facts of these, if any, are settings, which are the same for everything in a plan.
            return sentence(reason)
        case _:
            assert_never(reason)


def to_change(reason: Reason) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each reason
    """What would have to be done for the opposite decision, as an instruction: to prune what is kept, to keep what is pruned.

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
                f"refer to it, protect it, raise the limit of LimitRange {limit_range} to {size} bytes, or set keep_tag_revisions "
                "so that the revision is among the newest"
            )
        case KeptByRule(retention=retention):
            return f"replace `keep: all` of retention rule {retention} by a limit, or have another rule match its tag"
        case MovedRecently(retention=retention, minutes=minutes):
            wait = f"wait until its tag has not been moved for {_minutes(minutes)}"
            return f"{wait}, or lower keep_younger_than of retention rule {retention}"
        case AmongNewestTags(retention=retention, position=position):
            return f"set keep_newest of retention rule {retention} to {position - 1}, or push newer tags that the rule matches"
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
        case NotApproved() | BlobNotApproved():
            return "make and approve a new plan"
        case _:
            assert_never(reason)


def _decimal(number: Decimal) -> str:
    """The number in full, or rounded where a file gives one that has more digits than a size can have."""
    digits = len(number.as_tuple().digits)
    return f"{number:,f}" if digits <= _DIGITS and abs(number.adjusted()) <= _DIGITS else f"{number:.3g}"


def _minutes(minutes: int) -> str:
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
