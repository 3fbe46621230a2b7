"""The plan as a value: what would be pruned, and why.

A `PrunePlan` is canonical: everything in it is sorted, so that equal plans are equal bytes (P8, docs/rules.md). Its
fingerprint covers what would be deleted and on which cluster, and leaves out what changes without changing that: the
time of the plan, resource versions, and the reasons. The tags of the structs name the lines of a plan's file.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import msgspec

from pruner.cluster.objects import Registry
from pruner.cluster.sizes import LARGEST
from pruner.reasons import Expired, KeepReason, PruneReason, Retiring

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone, which is UTC in every plan."""

DELETED: Final = "images, revisions and image streams"
"""What `PrunePlan.deletions` counts, in words."""

_BLOCK: Final = 1000
"""Lines of a fingerprint that are hashed at once."""

UNVERIFIED: Final = "the API server's identity is not verified: "
"""What a note begins with that says so; policies look for it."""


class PrunedRevision(msgspec.Struct, frozen=True, gc=False):
    """An item of a tag's history that goes. `revision` counts from 0, the current one, at the time of the plan."""

    tag: str
    revision: int
    image: str
    created: Moment
    reason: PruneReason


class StreamChange(msgspec.Struct, frozen=True, gc=False, tag="image stream", tag_field="line"):
    """What is pruned of one image stream: items of its history, and links in its repository.

    `removed_tags` lose their last item and go with it (R20). `removed_spec_tags` are those of them whose entries in
    `spec.tags` go too, since these would bring the tags back (R32). A change without revisions has only links left to
    delete, those that an interrupted run has left behind.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    revisions: tuple[PrunedRevision, ...] = ()
    removed_tags: tuple[str, ...] = ()
    layer_links: tuple[str, ...] = ()
    manifest_links: tuple[str, ...] = ()
    removed_spec_tags: tuple[str, ...] = ()

    @property
    def stream(self) -> str:
        return f"{self.namespace}/{self.name}"


class DeletedStream(msgspec.Struct, frozen=True, gc=False, tag="empty image stream", tag_field="line"):
    """An image stream that is deleted as a whole (R34): it has no tag, or `StreamChange` takes the last one of it."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    created: Moment
    reason: PruneReason

    @property
    def stream(self) -> str:
        return f"{self.namespace}/{self.name}"


class PrunedImage(msgspec.Struct, frozen=True, gc=False, tag="image", tag_field="line"):
    """An Image that goes. `blobs` are those of its blobs that go too; `shared` others are needed by images that stay.

    `members` is the number of images in a manifest list or an OCI index, 0 for every other image.
    """

    name: str
    uid: str
    resource_version: str
    created: Moment
    reference: str
    reason: PruneReason
    blobs: tuple[str, ...] = ()
    shared: int = 0
    members: int = 0


class RetiredImage(msgspec.Struct, frozen=True, gc=False, tag="retired image", tag_field="line"):
    """An Image that is retired (R36): its revisions go, and it is deleted by a later run unless it is restored or used.

    `bytes` are those of its blobs that nothing else needs, which are freed later; a blob of several of them counts
    once, with the first.
    """

    name: str
    uid: str
    resource_version: str
    created: Moment
    reference: str
    reason: Retiring
    bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    members: int = 0


class RetirementEnd(msgspec.Struct, frozen=True, gc=False, tag="needed again", tag_field="line"):
    """A retired Image that is named or used again and loses its record (R36)."""

    name: str
    uid: str
    reason: KeepReason


class PrunedBlob(msgspec.Struct, frozen=True, gc=False, tag="blob", tag_field="line"):
    """A blob that goes; `size` in bytes, None where it is not known."""

    digest: str
    kind: Literal["layer", "config", "manifest"]
    size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)] | None = None


class Summary(msgspec.Struct, frozen=True):
    """Counts, and bytes: `bytes` are known to be freed, `unmeasured` blobs would free some more.

    `expired_tags` are removed as a whole by a retention rule (R32), `empty_streams` are image streams that are deleted
    (R34). `retired_images` are retired instead of deleted, and `retired_bytes` freed later; `needed_again` are no
    longer retired (R36).
    """

    image_streams: int
    revisions: int
    images: int
    blobs: int
    layer_links: int
    manifest_links: int
    bytes: int
    unmeasured: int
    expired_tags: int = 0
    empty_streams: int = 0
    retired_images: int = 0
    retired_bytes: int = 0
    needed_again: int = 0


class PrunePlan(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All that would go. `rules` are those that it was made with; `notes` are said with every showing of the plan."""

    cluster: str
    as_of: Moment
    rules: dict[str, Any]
    registry: Registry | None = None
    streams: tuple[StreamChange, ...] = ()
    images: tuple[PrunedImage, ...] = ()
    blobs: tuple[PrunedBlob, ...] = ()
    empty_streams: tuple[DeletedStream, ...] = ()
    retired: tuple[RetiredImage, ...] = ()
    needed_again: tuple[RetirementEnd, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        deleted = self.streams or self.images or self.blobs or self.empty_streams
        return not (deleted or self.retired or self.needed_again)

    @property
    def deletions(self) -> int:
        """What `max_deletions` counts: images, revisions and image streams.

        A tag that is removed counts with its revisions.
        """
        revisions = sum(len(change.revisions) for change in self.streams)
        return len(self.images) + revisions + len(self.empty_streams)

    @property
    def retirements(self) -> int:
        """The images that are retired, which `max_deletions` limits as well, by themselves."""
        return len(self.retired)

    @cached_property
    def expired_tags(self) -> tuple[tuple[str, str], ...]:
        """The tags, as (`namespace/name`, tag), that a retention
        rule removes as a whole (R32), sorted as the plan is.
        """
        found = []
        for change in self.streams:
            if not change.removed_tags:
                continue
            expired = {item.tag for item in change.revisions if isinstance(item.reason, Expired)}
            found += [(change.stream, tag) for tag in change.removed_tags if tag in expired]
        return tuple(found)

    @cached_property
    def summary(self) -> Summary:
        return Summary(
            image_streams=len(self.streams),
            revisions=sum(len(change.revisions) for change in self.streams),
            images=len(self.images),
            blobs=len(self.blobs),
            layer_links=sum(len(change.layer_links) for change in self.streams),
            manifest_links=sum(len(change.manifest_links) for change in self.streams),
            bytes=sum(blob.size or 0 for blob in self.blobs),
            unmeasured=sum(blob.size is None for blob in self.blobs),
            expired_tags=len(self.expired_tags),
            empty_streams=len(self.empty_streams),
            retired_images=len(self.retired),
            retired_bytes=sum(image.bytes for image in self.retired),
            needed_again=len(self.needed_again),
        )

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what would be deleted on which cluster."""
        digest = hashlib.sha256()
        lines = _essence(self)
        while block := "\n".join(itertools.islice(lines, _BLOCK)):
            digest.update(block.encode() + b"\n")
        return f"sha256:{digest.hexdigest()}"


def _essence(plan: PrunePlan) -> Iterator[str]:
    yield f"cluster {_word(plan.cluster)}"
    yield f"registry {_word(plan.registry.url) if plan.registry else ''}"
    for change in plan.streams:
        stream = _word(change.stream, _WITHOUT_COLON)
        tags = _words([item.tag for item in change.revisions], _WITHOUT_COLON)
        images = _words([item.image for item in change.revisions])
        times = _times([item.created for item in change.revisions])
        for tag, image, time in zip(tags, images, times, strict=True):
            yield f"revision {stream}:{tag} {image} {time}"
        yield from (f"spec tag {stream}:{tag}" for tag in _words(change.removed_spec_tags, _WITHOUT_COLON))
        for kind, digests in (("layer", change.layer_links), ("manifest", change.manifest_links)):
            yield from (f"{kind} link {stream} {digest}" for digest in _words(digests))
    yield from _named("image", plan.images)
    yield from (f"blob {digest}" for digest in _words([blob.digest for blob in plan.blobs]))
    for deleted in plan.empty_streams:
        yield f"image stream {_word(deleted.stream)} {_word(deleted.uid)}"
    yield from _named("retired image", plan.retired)
    yield from _named("needed again", plan.needed_again)


def _named(kind: str, images: Sequence[PrunedImage | RetiredImage | RetirementEnd]) -> Iterator[str]:
    names, uids = _words([image.name for image in images]), _words([image.uid for image in images])
    yield from (f"{kind} {name} {uid}" for name, uid in zip(names, uids, strict=True))


def _times(moments: Sequence[datetime]) -> Sequence[str]:
    """The times as `isoformat` writes them, which msgspec does for many at once in a quarter of the time."""
    written = msgspec.json.encode(moments).decode()[2:-2].replace("Z", "+00:00")
    return written.split('","') if moments else []


_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@+-]*")
_WITHOUT_COLON: Final = re.compile(r"[A-Za-z0-9_./@+-]*")
"""For the two parts of `stream:tag`."""


def _words(texts: Sequence[str], plain: re.Pattern[str] = _PLAIN) -> Sequence[str]:
    """Each of the texts as one word of a line. Names are nearly always plain, which is seen of all of them at once."""
    return texts if plain.fullmatch("".join(texts)) else [_word(text, plain) for text in texts]


def _word(text: str, plain: re.Pattern[str] = _PLAIN) -> str:
    """The text as one word of a line.

    Names are free text, and one with a blank or a line break must not look like two.
    """
    return text if plain.fullmatch(text) else msgspec.json.encode(text).decode()
