"""The plan: what would go, and why; the value that previews show, policies judge, people approve and apply carries out.

A `PrunePlan` is canonical: everything in it is sorted, so that equal plans are equal bytes (P8, docs/rules.md). Its fingerprint covers
what would be deleted and on which cluster, and leaves out what changes without changing that: the time of the plan, resource
versions, and the reasons. `encode` and `decode` are its file format, JSON Lines with a header and an end, in which truncation and
editing show; the tags of the structs name its lines. `Approval` is a plan as a limit: everything else is kept.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import msgspec

from pruner.cluster.objects import Registry
from pruner.cluster.sizes import LARGEST
from pruner.errors import UnsafePlanError
from pruner.reasons import Expired, PruneReason

VERSION: Final = 3
"""Of the file format. A reader refuses every other one."""
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone, which is UTC in every plan."""


class PrunedRevision(msgspec.Struct, frozen=True, gc=False):
    """An item of a tag's history that goes. `revision` counts from 0, the current one, at the time of the plan."""

    tag: str
    revision: int
    image: str
    created: Moment
    reason: PruneReason


class StreamChange(msgspec.Struct, frozen=True, tag="image stream", tag_field="line"):
    """What goes of one image stream: items of its history, and links in its repository.

    `removed_tags` lose their last item and go with it (R20). `removed_spec_tags` are those of them whose entries in `spec.tags` go
    too, since these would bring the tags back (R32). A change without revisions has only links left to
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


class DeletedStream(msgspec.Struct, frozen=True, tag="empty image stream", tag_field="line"):
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


class PrunedImage(msgspec.Struct, frozen=True, tag="image", tag_field="line"):
    """An Image that goes. `blobs` are those of its blobs that go with it; `shared` others are needed by images that stay.

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


class PrunedBlob(msgspec.Struct, frozen=True, gc=False, tag="blob", tag_field="line"):
    """A blob that goes; `size` in bytes, None where it is not known."""

    digest: str
    kind: Literal["layer", "config", "manifest"]
    size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)] | None = None


class Summary(msgspec.Struct, frozen=True):
    """Counts, and bytes: `bytes` are known to be freed, `unmeasured` blobs would free some more.

    `expired_tags` are removed as a whole by a retention rule (R32), `empty_streams` are image streams that are deleted (R34).
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
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.streams or self.images or self.blobs or self.empty_streams)

    @property
    def deletions(self) -> int:
        """What `max_deletions` counts: images, revisions and image streams. A tag that is removed counts with its revisions."""
        revisions = sum(len(change.revisions) for change in self.streams)
        return len(self.images) + revisions + len(self.empty_streams)

    @cached_property
    def expired_tags(self) -> tuple[tuple[str, str], ...]:
        """The tags, as (`namespace/name`, tag), that a retention rule removes as a whole (R32), sorted as the plan is."""
        found = []
        for change in self.streams:
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
        )

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what would be deleted on which cluster."""
        digest = hashlib.sha256()
        for line in _essence(self):
            digest.update(line.encode() + b"\n")
        return f"sha256:{digest.hexdigest()}"


def _essence(plan: PrunePlan) -> Iterator[str]:
    yield f"cluster {_word(plan.cluster)}"
    yield f"registry {_word(plan.registry.url) if plan.registry else ''}"
    for change in plan.streams:
        stream = _word(change.stream, _WITHOUT_COLON)
        for item in change.revisions:
            yield f"revision {stream}:{_word(item.tag, _WITHOUT_COLON)} {_word(item.image)} {item.created.isoformat()}"
        yield from (f"spec tag {stream}:{_word(tag, _WITHOUT_COLON)}" for tag in change.removed_spec_tags)
        for kind, digests in (("layer", change.layer_links), ("manifest", change.manifest_links)):
            yield from (f"{kind} link {stream} {_word(digest)}" for digest in digests)
    for image in plan.images:
        yield f"image {_word(image.name)} {_word(image.uid)}"
    for blob in plan.blobs:
        yield f"blob {_word(blob.digest)}"
    for deleted in plan.empty_streams:
        yield f"image stream {_word(deleted.stream)} {_word(deleted.uid)}"


_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@+-]*")
_WITHOUT_COLON: Final = re.compile(r"[A-Za-z0-9_./@+-]*")
"""For the two parts of `stream:tag`."""


def _word(text: str, plain: re.Pattern[str] = _PLAIN) -> str:
    """The text as one word of a line. Names are free text, and one with a blank or a line break must not look like two."""
    return text if plain.fullmatch(text) else msgspec.json.encode(text).decode()


class Approval(msgspec.Struct, frozen=True):
    """The names in a plan, as the limit of what may be deleted.

    `spec_tags` are tags whose spec entries may be removed, as (`namespace/name`, tag), `streams` image streams that may be deleted, as
    (`namespace/name`, uid).
    `dropped` are digests that revisions named which have been removed already: those of an analysis in mid-run.
    """

    revisions: frozenset[tuple[str, str, str, datetime]] = frozenset()
    images: frozenset[tuple[str, str]] = frozenset()
    blobs: frozenset[str] = frozenset()
    links: frozenset[tuple[str, str, str]] = frozenset()
    dropped: frozenset[str] = frozenset()
    spec_tags: frozenset[tuple[str, str]] = frozenset()
    streams: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, plan: PrunePlan) -> Approval:
        return cls(
            revisions=frozenset(
                (change.stream, item.tag, item.image, item.created)
                for change in plan.streams
                for item in change.revisions
            ),
            images=frozenset((image.name, image.uid) for image in plan.images),
            blobs=frozenset(blob.digest for blob in plan.blobs),
            links=frozenset(
                (change.stream, kind, digest)
                for change in plan.streams
                for kind, digests in (("layer", change.layer_links), ("manifest", change.manifest_links))
                for digest in digests
            ),
            spec_tags=frozenset((change.stream, tag) for change in plan.streams for tag in change.removed_spec_tags),
            streams=frozenset((deleted.stream, deleted.uid) for deleted in plan.empty_streams),
        )


# --- the file ---------------------------------------------------------------------------------------------------------


class _Header(msgspec.Struct, tag="plan", tag_field="line"):
    format: str
    version: int
    cluster: str
    as_of: Moment
    rules: dict[str, Any]
    registry: Registry | None
    summary: Summary
    fingerprint: str
    notes: tuple[str, ...] = ()


class _End(msgspec.Struct, tag="end", tag_field="line"):
    lines: int
    checksum: str


_FORMAT: Final = "pruner plan"
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What decoding a line raises that is not one of these."""
_SHOWN: Final = 200
"""Characters of a reason that are shown: it may repeat a value, which may be of any length."""


def reason(error: Exception) -> str:
    """Why a line cannot be decoded, cut to a length that can be read."""
    text = str(error)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Header | StreamChange | PrunedImage | PrunedBlob | DeletedStream | _End)


def encode(plan: PrunePlan) -> Iterator[bytes]:
    """The lines of the plan's file, each with its line break. The last one counts and checks those before it."""
    checksum, count = hashlib.sha256(), 0
    header = _Header(
        _FORMAT,
        VERSION,
        plan.cluster,
        plan.as_of,
        plan.rules,
        plan.registry,
        plan.summary,
        plan.fingerprint,
        plan.notes,
    )
    for value in itertools.chain((header,), plan.streams, plan.images, plan.blobs, plan.empty_streams):
        line = _encoder.encode(value) + b"\n"
        checksum.update(line)
        count += 1
        yield line
    yield _encoder.encode(_End(count, checksum.hexdigest())) + b"\n"


def decode(lines: Iterable[bytes], where: str) -> PrunePlan:
    """The plan of a file. Raises UnsafePlanError for anything but what `encode` has written: another version, truncated or edited.

    Lines of other kinds than the plan's, such as the result that a report appends, may follow its end and are not read.
    """
    checksum, header, end = hashlib.sha256(), None, None
    parts: list[Any] = []
    count = 0
    for line in lines:
        if header is None:
            _check_header(line, where)
        try:
            value = _decoder.decode(line)
        except UNREADABLE as error:
            raise UnsafePlanError(f"{where}, line {count + 1}: is not a line of a plan: {reason(error)}") from None
        if isinstance(value, _End):
            end = value
            break
        if isinstance(value, _Header):
            header = value
        else:
            parts.append(value)
        checksum.update(line)
        count += 1
    if header is None:
        raise UnsafePlanError(f"{where}: is empty; give a plan that preview has written")
    if end is None:
        raise UnsafePlanError(
            f"{where}: is truncated, its end is missing; take the whole file that preview has written"
        )
    if (end.lines, end.checksum) != (count, checksum.hexdigest()):
        raise UnsafePlanError(
            f"{where}: was edited after preview had written it; have the change planned and reviewed again"
        )
    plan = PrunePlan(
        cluster=header.cluster,
        as_of=header.as_of,
        rules=header.rules,
        registry=header.registry,
        streams=tuple(part for part in parts if isinstance(part, StreamChange)),
        images=tuple(part for part in parts if isinstance(part, PrunedImage)),
        blobs=tuple(part for part in parts if isinstance(part, PrunedBlob)),
        empty_streams=tuple(part for part in parts if isinstance(part, DeletedStream)),
        notes=header.notes,
    )
    if plan.fingerprint != header.fingerprint:
        raise UnsafePlanError(
            f"{where}: its fingerprint is not that of its content; have it planned and reviewed again"
        )
    _check_canonical(plan, end, where)
    return plan


def _check_canonical(plan: PrunePlan, end: _End, where: str) -> None:
    """Raise UnsafePlanError for a plan that `encode` would write in other bytes, or that names something twice.

    Readers of a file disagree about keys that are given twice, times of other zones and the like; what was reviewed is then not what is
    carried out.
    """
    last = deque(encode(plan), maxlen=1).pop()
    if _decoder.decode(last) != end:
        raise UnsafePlanError(f"{where}: is not written as preview writes it; have it planned and reviewed again")
    times = (item.created for change in plan.streams for item in change.revisions)
    if any(
        time.tzinfo is not UTC
        for time in itertools.chain(
            (plan.as_of,),
            times,
            (image.created for image in plan.images),
            (deleted.created for deleted in plan.empty_streams),
        )
    ):
        raise UnsafePlanError(f"{where}: has a time that is not in UTC; have it planned and reviewed again")
    for what, names in (
        ("an image stream", [change.stream for change in plan.streams]),
        ("an image", [image.name for image in plan.images]),
        ("a blob", [blob.digest for blob in plan.blobs]),
        ("an empty image stream", [deleted.stream for deleted in plan.empty_streams]),
    ):
        if len(set(names)) != len(names):
            raise UnsafePlanError(f"{where}: names {what} twice; have it planned and reviewed again")


class _AnyHeader(msgspec.Struct):
    format: str
    version: int


def _check_header(line: bytes, where: str) -> None:
    try:
        header = msgspec.json.decode(line, type=_AnyHeader)
    except UNREADABLE:
        raise UnsafePlanError(f"{where}: is not a plan of pruner") from None
    if header.format != _FORMAT:
        raise UnsafePlanError(f"{where}: is not a plan of pruner")
    if header.version != VERSION:
        raise UnsafePlanError(
            f"{where}: is a plan of version {header.version}, this pruner reads version {VERSION}; preview again with this one"
        )
