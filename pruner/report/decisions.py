"""What is decided about all that a plan keeps, as lines of a report's file hold it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from pruner.cluster.metadata import moment
from pruner.reasons import Reason

if TYPE_CHECKING:
    from pruner.analysis import Analysis
    from pruner.analysis.history import StreamHistory


class KeptImage(msgspec.Struct, frozen=True, gc=False, tag="kept image", tag_field="line", omit_defaults=True):
    """An Image that stays. `size` in bytes as the API says it, None where it says nothing."""

    name: str
    created: datetime
    reason: Reason
    size: int | None = None
    reference: str = ""


class KeptRevision(msgspec.Struct, frozen=True, gc=False, tag="kept revision", tag_field="line", omit_defaults=True):
    """An item of a tag's history that stays; `revision` 0 is the current one."""

    stream: str
    tag: str
    revision: int
    image: str
    created: datetime
    reason: Reason


class InUse(msgspec.Struct, frozen=True, gc=False, tag="in use", tag_field="line"):
    """An image that was in use when the plan was made, whatever keeps it: `by` names objects, `Kind namespace/name`."""

    image: str
    by: tuple[str, ...]


class ImageSize(msgspec.Struct, frozen=True, gc=False, tag="image size", tag_field="line"):
    """What the API says an Image takes that goes, shared layers included."""

    name: str
    size: int


class Decisions(msgspec.Struct, frozen=True):
    """What an analysis knows beyond its plan."""

    images: tuple[KeptImage, ...] = ()
    revisions: tuple[KeptRevision, ...] = ()
    uses: tuple[InUse, ...] = ()
    sizes: tuple[ImageSize, ...] = ()

    @classmethod
    def of(cls, analysis: Analysis) -> Decisions:
        images = analysis.graph.images
        return cls(
            images=tuple(
                KeptImage(name, images[name].created, reason, images[name].size, images[name].reference)
                for name, reason in sorted(analysis.images.items())
                if reason.kept
            ),
            revisions=tuple(itertools.chain.from_iterable(map(_kept_revisions, analysis.histories))),
            uses=tuple(InUse(image, by) for image, by in sorted(analysis.references.items())),
            sizes=tuple(
                ImageSize(image.name, size)
                for image in analysis.plan.images
                if (size := images[image.name].size) is not None
            ),
        )


def _kept_revisions(history: StreamHistory) -> Iterator[KeptRevision]:
    stream = history.stream.name
    for tag in sorted(history.tags, key=attrgetter("tag")):
        for revision, (item, reason) in enumerate(tag.decided()):
            if reason.kept:
                yield KeptRevision(stream, tag.tag, revision, item.image, moment(item.created), reason)


class Kept(msgspec.Struct, frozen=True):
    """How many images and revisions each reason keeps: half a million of them have a few dozen."""

    images: Mapping[Reason, int]
    revisions: Mapping[Reason, int]
