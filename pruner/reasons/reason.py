"""The types of reasons, one for each reason, with its facts.

A reason knows its rule (`rule`, a section of docs/rules.md) and whether it keeps (`kept`).
A plan's file stores reasons by their tags, which therefore never change. CONTRIBUTING.md lists the steps of adding one.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec

from pruner.reasons.base import Kept, Pruned

# --- revisions --------------------------------------------------------------------------------------------------------


class OutsideNamespace(Kept, frozen=True, gc=False, tag="outside-namespace"):
    """The image stream is not in the namespace that the plan is limited to."""

    rule: ClassVar[str] = "R21"
    namespace: str


class StreamTooYoung(Kept, frozen=True, gc=False, tag="stream-too-young"):
    """The image stream was created after the age limit. `minutes` is `keep_younger_than`."""

    rule: ClassVar[str] = "R14"
    minutes: int


class RevisionTooYoung(Kept, frozen=True, gc=False, tag="revision-too-young"):
    """The revision was created after the age limit. `minutes` is `keep_younger_than`."""

    rule: ClassVar[str] = "R14"
    minutes: int


class CurrentOfReferencedTag(Kept, frozen=True, gc=False, tag="current-of-referenced-tag"):
    """Revision 0 of a tag that `references`, objects as `Kind namespace/name`, refer to."""

    rule: ClassVar[str] = "R15"
    references: tuple[str, ...]


class AmongNewest(Kept, frozen=True, gc=False, tag="among-newest"):
    """The revision is below `keep`, which is `keep_tag_revisions`."""

    rule: ClassVar[str] = "R16"
    revision: int
    keep: int


class WithinSizeLimit(Kept, frozen=True, gc=False, tag="within-size-limit"):
    """With `prune_over_size_limit`: the image exceeds no limit of its namespace."""

    rule: ClassVar[str] = "R16"


class ReferencedInStream(Kept, frozen=True, gc=False, tag="referenced-in-stream"):
    """`references` refer to the digest in this image stream."""

    rule: ClassVar[str] = "R17"
    references: tuple[str, ...]


class Protected(Kept, frozen=True, gc=False, tag="protected"):
    """A pattern of `protect` matches the tag or the digest."""

    rule: ClassVar[str] = "R18"
    pattern: str


class ProtectedByLabels(Kept, frozen=True, gc=False, tag="protected-by-labels"):
    """The labels of `object`, the image stream or its namespace, match `protect_selector`, which is `selector`."""

    rule: ClassVar[str] = "R18"
    object: str
    selector: str


class ReferenceOnly(Kept, frozen=True, gc=False, tag="reference-only"):
    """The revision names a pull spec and no Image, as `oc tag --reference` makes it."""

    rule: ClassVar[str] = "R19"


class ImageAppeared(Kept, frozen=True, gc=False, tag="image-appeared"):
    """The Image was absent from the list, and a GET of it before the update found it."""

    rule: ClassVar[str] = "R19"


# --- tags that a retention rule matches, and attached tags ------------------------------------------------------------


class KeptByRule(Kept, frozen=True, gc=False, tag="kept-by-rule"):
    """The current revision of a tag that a retention rule with `keep: all` matches.

    `retention` is the name of the rule.
    """

    rule: ClassVar[str] = "R30"
    retention: str


class MovedRecently(Kept, frozen=True, gc=False, tag="moved-recently"):
    """The current revision of a tag that was moved after the age limit of its retention rule, which is `minutes`."""

    rule: ClassVar[str] = "R30"
    retention: str
    minutes: int


class AmongNewestTags(Kept, frozen=True, gc=False, tag="among-newest-tags"):
    """The current revision of a tag that is number `position`,
    from 1, of the tags of its retention rule, which keeps `keep`.
    """

    rule: ClassVar[str] = "R30"
    retention: str
    position: int
    keep: int


class ImportedTag(Kept, frozen=True, gc=False, tag="imported-tag"):
    """The current revision of an expired tag that is declared to be imported, which its retention rule leaves alone."""

    rule: ClassVar[str] = "R32"
    retention: str


class OlderRevisionKept(Kept, frozen=True, gc=False, tag="older-revision-kept"):
    """The current revision of an expired tag of which an older
    `revision` is kept: the tag would move back to that one.
    """

    rule: ClassVar[str] = "R31"
    revision: int


class Expired(Pruned, frozen=True, gc=False, tag="expired"):
    """No condition of the retention rule keeps the tag, and nothing refers to the revision."""

    rule: ClassVar[str] = "R30"
    retention: str


class AttachedToKept(Kept, frozen=True, gc=False, tag="attached-to-kept"):
    """The tag is attached to the Image `subject`, which is kept."""

    rule: ClassVar[str] = "R35"
    subject: str


class AttachedToPruned(Pruned, frozen=True, gc=False, tag="attached-to-pruned"):
    """The tag is attached to the Image `subject`, which is pruned."""

    rule: ClassVar[str] = "R35"
    subject: str


class AttachedToAbsent(Pruned, frozen=True, gc=False, tag="attached-to-absent"):
    """The tag is attached to `subject`, of which there is no Image."""

    rule: ClassVar[str] = "R35"
    subject: str


class ImageAbsent(Pruned, frozen=True, gc=False, tag="image-absent"):
    """The revision's Image does not exist."""

    rule: ClassVar[str] = "R19"


class BeyondNewest(Pruned, frozen=True, gc=False, tag="beyond-newest"):
    """The revision is not below `keep`, which is `keep_tag_revisions`, and nothing else keeps it."""

    rule: ClassVar[str] = "R16"
    revision: int
    keep: int


class OverSizeLimit(Pruned, frozen=True, gc=False, tag="over-size-limit"):
    """The image's `size` exceeds `limit`, both in bytes, of the LimitRange `limit_range` (`namespace/name`)."""

    rule: ClassVar[str] = "R16"
    size: int
    limit: Decimal
    limit_range: str


# --- images -----------------------------------------------------------------------------------------------------------


class Referenced(Kept, frozen=True, gc=False, tag="referenced"):
    """`references` refer to the image by digest, or to something in it or above it that needs it."""

    rule: ClassVar[str] = "R12"
    references: tuple[str, ...]


class NamedBy(Kept, frozen=True, gc=False, tag="named-by"):
    """Kept revisions of `tags` (`namespace/stream:tag`) name the image."""

    rule: ClassVar[str] = "R22"
    tags: tuple[str, ...]


class MemberOf(Kept, frozen=True, gc=False, tag="member-of"):
    """Kept indexes list the image as a manifest."""

    rule: ClassVar[str] = "R22"
    indexes: tuple[str, ...]


class ImageTooYoung(Kept, frozen=True, gc=False, tag="image-too-young"):
    """The image was created after the age limit. `minutes` is `keep_younger_than`."""

    rule: ClassVar[str] = "R22"
    minutes: int


class Imported(Kept, frozen=True, gc=False, tag="imported"):
    """The image was not pushed to the integrated registry, and `all_images` is false."""

    rule: ClassVar[str] = "R22"


class NoRevisionOverSize(Kept, frozen=True, gc=False, tag="no-revision-over-size"):
    """With `prune_over_size_limit` alone: no revision that is pruned named the image."""

    rule: ClassVar[str] = "R22"


class NotPrunedInNamespace(Kept, frozen=True, gc=False, tag="not-pruned-in-namespace"):
    """No pruned revision of the namespace that the plan is limited to named the image."""

    rule: ClassVar[str] = "R23"
    namespace: str


class Unreferenced(Pruned, frozen=True, gc=False, tag="unreferenced"):
    """Nothing names the image or refers to it."""

    rule: ClassVar[str] = "R22"


# --- retired and restored images --------------------------------------------------------------------------------------


class Retiring(Kept, frozen=True, gc=False, tag="retiring"):
    """The rules prune the image, so this plan retires it; it can be deleted after `minutes`, which is `grace`."""

    rule: ClassVar[str] = "R36"
    minutes: int


class Retired(Kept, frozen=True, gc=False, tag="retired"):
    """The image was retired at the time `since`, and its grace is over at the time `until`."""

    rule: ClassVar[str] = "R36"
    since: Annotated[datetime, msgspec.Meta(tz=True)]
    until: Annotated[datetime, msgspec.Meta(tz=True)]


class GraceOver(Pruned, frozen=True, gc=False, tag="grace-over"):
    """The image was retired for longer than `minutes`, which is `grace`, and nothing keeps it."""

    rule: ClassVar[str] = "R36"
    minutes: int


class Restored(Kept, frozen=True, gc=False, tag="restored"):
    """The image, and with it each revision that names it, was restored and is safe from runs until the time `until`."""

    rule: ClassVar[str] = "R37"
    until: Annotated[datetime, msgspec.Meta(tz=True)]


# --- image streams ----------------------------------------------------------------------------------------------------


class EmptyStream(Pruned, frozen=True, gc=False, tag="empty-stream"):
    """The image stream has no tag, nothing refers to it, and it
    is older than `minutes`, which is `empty_streams.older_than`.
    """

    rule: ClassVar[str] = "R34"
    minutes: int


# --- the limit of an approved plan ------------------------------------------------------------------------------------


class NotApproved(Kept, frozen=True, gc=False, tag="not-approved"):
    """The approved plan does not name the revision or the image."""

    rule: ClassVar[str] = "approval"


class BlobNotApproved(Kept, frozen=True, gc=False, tag="blob-not-approved"):
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
    | Retiring
    | Retired
    | Restored
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
    | GraceOver
    | EmptyStream
)
Reason = KeepReason | PruneReason
