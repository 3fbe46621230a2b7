"""The types of reasons for keeping an image stream that has no images (R34).

`pruner explain` says them. No plan's file has them.
"""

from __future__ import annotations

from typing import ClassVar

from pruner.reasons.base import Kept
from pruner.reasons.reason import NotApproved, OutsideNamespace, Protected, ProtectedByLabels


class EmptyStreamsOff(Kept, frozen=True, gc=False, tag="empty-streams-off"):
    """`empty_streams` is not set."""

    rule: ClassVar[str] = "R34"


class TagsWithoutImages(Kept, frozen=True, gc=False, tag="tags-without-images"):
    """The image stream has `tags` without revisions, in `status.tags` or in `spec.tags`."""

    rule: ClassVar[str] = "R34"
    tags: tuple[str, ...]


class EmptyStreamTooYoung(Kept, frozen=True, gc=False, tag="empty-stream-too-young"):
    """The image stream is younger than `minutes`: the longer of `empty_streams.older_than` and `keep_younger_than`."""

    rule: ClassVar[str] = "R34"
    minutes: int


class NotMatchedByEmptyStreams(Kept, frozen=True, gc=False, tag="not-matched-by-empty-streams"):
    """`empty_streams.streams` does not match the image stream."""

    rule: ClassVar[str] = "R34"


class Owned(Kept, frozen=True, gc=False, tag="owned"):
    """The image stream has owner references, `owners` as `Kind name`."""

    rule: ClassVar[str] = "R34"
    owners: tuple[str, ...]


class StreamReferenced(Kept, frozen=True, gc=False, tag="stream-referenced"):
    """`references` refer to the image stream, whether it has what they name or not, or push to it."""

    rule: ClassVar[str] = "R34"
    references: tuple[str, ...]


class RepositoryOfKept(Kept, frozen=True, gc=False, tag="repository-of-kept"):
    """`images`, which are kept, were pushed to the image stream."""

    rule: ClassVar[str] = "R34"
    images: tuple[str, ...]


class RestorableInto(Kept, frozen=True, gc=False, tag="restorable-into"):
    """`images` are retired, and restoring them needs the image stream."""

    rule: ClassVar[str] = "R34"
    images: tuple[str, ...]


StreamReason = (
    EmptyStreamsOff
    | TagsWithoutImages
    | EmptyStreamTooYoung
    | NotMatchedByEmptyStreams
    | Owned
    | StreamReferenced
    | RepositoryOfKept
    | RestorableInto
    | OutsideNamespace
    | Protected
    | ProtectedByLabels
    | NotApproved
)
