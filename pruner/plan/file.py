"""The file of a plan: JSON Lines with a header and an end, in which truncation and editing show."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any, Final

import msgspec

from pruner.cluster.objects import Registry
from pruner.errors import UnsafePlanError
from pruner.plan.prune_plan import (
    DeletedStream,
    Moment,
    PrunedBlob,
    PrunedImage,
    PrunePlan,
    RetiredImage,
    RetirementEnd,
    StreamChange,
    Summary,
)

VERSION: Final = 4
"""Of the file format. A reader refuses every other one."""


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
_decoder = msgspec.json.Decoder(
    _Header | StreamChange | PrunedImage | PrunedBlob | DeletedStream | RetiredImage | RetirementEnd | _End
)


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
    for value in itertools.chain(
        (header,), plan.streams, plan.images, plan.blobs, plan.empty_streams, plan.retired, plan.needed_again
    ):
        line = _encoder.encode(value) + b"\n"
        checksum.update(line)
        count += 1
        yield line
    yield _encoder.encode(_End(count, checksum.hexdigest())) + b"\n"


def decode(lines: Iterable[bytes], where: str) -> PrunePlan:
    """The plan of a file. Raises UnsafePlanError for what `encode` has not written: another version, cut or edited.

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
        retired=tuple(part for part in parts if isinstance(part, RetiredImage)),
        needed_again=tuple(part for part in parts if isinstance(part, RetirementEnd)),
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

    Readers of a file disagree about keys that are given twice, times of other zones and the like; what was reviewed is
    then not what is carried out.
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
            (retired.created for retired in plan.retired),
        )
    ):
        raise UnsafePlanError(f"{where}: has a time that is not in UTC; have it planned and reviewed again")
    for what, names in (
        ("an image stream", [change.stream for change in plan.streams]),
        ("an image", [image.name for image in plan.images]),
        ("a blob", [blob.digest for blob in plan.blobs]),
        ("an empty image stream", [deleted.stream for deleted in plan.empty_streams]),
        ("a retired image", [each.name for each in plan.retired] + [each.name for each in plan.needed_again]),
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
            f"{where}: is a plan of version {header.version}, this pruner reads version {VERSION}; preview again with "
            "this one"
        )
