"""What an Image's annotations say about its retirement (R36) and its restoration (R37).

`pruner/retired` is the record of an image whose revisions were removed: when, by which run, and every removed revision
as it was, with its place, so that it can be put back. `pruner/restored` says until when a restored image is safe from
runs. Whoever creates an Image can write anything there: what is not a record is ignored, and the image is retired as if
it had none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec

RETIRED: Final = "pruner/retired"
RESTORED: Final = "pruner/restored"
VERSION: Final = 1
"""Of both annotations. Another one is not understood, and so ignored."""
ROOM: Final = 200_000
"""Bytes for all annotations of an Image; the API allows 256 KiB of them."""
AHEAD: Final = timedelta(minutes=5)
"""A time that is further ahead of the API server's clock than this was written by no run."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError)


class RemovedRevision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A revision as it was before a run removed it.

    `stream` is `namespace/name`, `position` its number in the history of the tag, `item` what stood there. `at` and
    `run` are the time and the plan's fingerprint of the run. `spec_tag` is the tag's entry in `spec.tags` where that
    was removed too (R32).
    """

    stream: str
    tag: str
    position: int
    item: dict[str, Any]
    at: Moment
    run: str
    spec_tag: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """`namespace/stream:tag`."""
        return f"{self.stream}:{self.tag}"

    @property
    def created(self) -> datetime:
        """When the tag was moved to this image; the API's zero time where the item does not say."""
        return created(self.item)

    @property
    def key(self) -> tuple[str, str, str]:
        """What two records of the same revision have in common."""
        return self.stream, self.tag, self.created.isoformat()


def created(item: Mapping[str, Any]) -> datetime:
    """When an item of a tag's history was made; the API's zero time where it does not say."""
    try:
        found = msgspec.convert(item.get("created"), datetime)
    except msgspec.ValidationError:
        return datetime(1, 1, 1, tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The annotation `pruner/retired`: since when the image is retired, its grace in minutes, and what named it.

    `omitted` revisions had no room.
    """

    version: int
    at: Moment
    grace: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    revisions: tuple[RemovedRevision, ...] = ()
    omitted: int = 0

    @property
    def until(self) -> datetime:
        """When the grace that it was retired with is over."""
        return self.at + timedelta(minutes=self.grace)


class Restoration(msgspec.Struct, frozen=True):
    """The annotation `pruner/restored`: until when no run removes the
    image's revisions. `runs` are those that had removed them.
    """

    version: int
    at: Moment
    until: Moment
    runs: tuple[str, ...] = ()


class Retirement(msgspec.Struct, frozen=True, gc=False):
    """What an analysis knows of a record: the time, and the tags that named the image, as (`namespace/name`, tag)."""

    at: datetime
    tags: tuple[tuple[str, str], ...] = ()


class _Tag(msgspec.Struct, frozen=True, gc=False):
    stream: str
    tag: str


class _Short(msgspec.Struct, frozen=True, gc=False):
    version: int
    at: Moment
    revisions: tuple[_Tag, ...] = ()


_record = msgspec.json.Decoder(Record)
_short = msgspec.json.Decoder(_Short)
_restoration = msgspec.json.Decoder(Restoration)
_encoder = msgspec.json.Encoder()


def record_of(image: Mapping[str, Any]) -> Record | None:
    """The record of an Image as the API gives it; None where it has none, or something else stands there."""
    text = _annotation(image, RETIRED)
    return None if text is None else decoded_record(text)


def decoded_record(text: str) -> Record | None:
    """The record in the text of an annotation; None where it is something else."""
    try:
        found = _record.decode(text)
        _ = found.until
    except _UNREADABLE:
        return None
    return found if found.version == VERSION else None


def restoration_of(image: Mapping[str, Any]) -> Restoration | None:
    """What an Image's annotation says about its restoration; None where it was not restored."""
    text = _annotation(image, RESTORED)
    return None if text is None else decoded_restoration(text)


def decoded_restoration(text: str) -> Restoration | None:
    """What the text of an annotation says; None where it is something else."""
    try:
        found = _restoration.decode(text)
    except _UNREADABLE:
        return None
    return found if found.version == VERSION else None


def _annotation(image: Mapping[str, Any], name: str) -> str | None:
    annotations = (image.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(name) if isinstance(annotations, dict) else None
    return text if isinstance(text, str) else None


class Marks:
    """Retirements and restorations of a list of Images, by name, gathered while it is read.

    The older images of a tag say the same, all of them: equal retirements are one value.
    """

    def __init__(self) -> None:
        self.retired: dict[str, Retirement] = {}
        self.restored: dict[str, Restoration] = {}
        self._same: dict[Retirement, Retirement] = {}

    def take(self, image: str, retired: str | None, restored: str | None) -> None:
        """Note what the two annotations of an Image say."""
        if retired is not None:
            try:
                found = _short.decode(retired)
                at = found.at.astimezone(UTC)
            except _UNREADABLE:
                pass
            else:
                if found.version == VERSION:
                    tags = tuple([(each.stream, each.tag) for each in found.revisions])
                    said = Retirement(at, tags)
                    same = self._same.get(said)
                    if same is None:
                        shared = [(sys.intern(stream), sys.intern(tag)) for stream, tag in tags]
                        same = Retirement(at, tuple(shared))
                        self._same[same] = same
                    self.retired[image] = same
        if restored is not None and (restoration := decoded_restoration(restored)) is not None:
            self.restored[image] = restoration

    def believable(self, now: datetime) -> tuple[dict[str, Retirement], dict[str, Restoration]]:
        """Those that a run can have written by `now`, the API server's time."""
        latest = now + AHEAD
        retired = self.retired
        if any(each.at > latest for each in self._same):
            retired = {name: each for name, each in retired.items() if each.at <= latest}
        return retired, {name: each for name, each in self.restored.items() if each.at <= latest}


def merged(
    known: Record | None, removed: Iterable[RemovedRevision], *, at: datetime, grace: int, room: int = ROOM
) -> Record:
    """The record with these revisions added to those that are known already, newest removal first.

    What has no room is counted: a record never grows beyond `room` bytes.
    """
    latest = {each.key: each for each in (known.revisions if known is not None else ())}
    for each in removed:
        before = latest.get(each.key)
        # An interrupted run has perhaps removed the entry of spec.tags already, which only its record has then.
        entry = each.spec_tag or (before.spec_tag if before is not None else None)
        latest[each.key] = msgspec.structs.replace(each, spec_tag=entry)
    ordered = sorted(latest.values(), key=lambda each: (each.stream, each.tag, each.position, each.key))
    ordered.sort(key=lambda each: each.at, reverse=True)
    left, fitting = room - 200, list[RemovedRevision]()
    for each in ordered:
        left -= len(_encoder.encode(each)) + 1
        if left < 0:
            break
        fitting.append(each)
    omitted = (known.omitted if known is not None else 0) + len(ordered) - len(fitting)
    return Record(version=VERSION, at=at, grace=grace, revisions=tuple(fitting), omitted=omitted)


def room_for_record(image: Mapping[str, Any]) -> int:
    """Bytes that the other annotations of an Image leave for its record."""
    annotations = (image.get("metadata") or {}).get("annotations") or {}
    others = (f"{name}{value}".encode() for name, value in annotations.items() if name not in (RETIRED, RESTORED))
    return max(0, ROOM - sum(map(len, others)))


def written(value: Record | Restoration) -> str:
    """The text of the annotation."""
    return _encoder.encode(value).decode()


def without(record: Record, revisions: Sequence[RemovedRevision]) -> Record | None:
    """The record without these revisions; None where nothing is left in it."""
    gone = {each.key for each in revisions}
    left = tuple(each for each in record.revisions if each.key not in gone)
    return msgspec.structs.replace(record, revisions=left) if left or record.omitted else None
