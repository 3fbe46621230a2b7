"""The file of a plan: JSON Lines with a header and an end, in which truncation and editing show."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
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


class PlanHeader(msgspec.Struct, frozen=True, tag="plan", tag_field="line"):
    """The first line of a plan's file. `summary` and `fingerprint` are those of the lines that follow."""

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
    PlanHeader | StreamChange | PrunedImage | PrunedBlob | DeletedStream | RetiredImage | RetirementEnd | _End
)


def _header(plan: PrunePlan) -> PlanHeader:
    return PlanHeader(
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


def encode(plan: PrunePlan) -> Iterator[bytes]:
    """The lines of the plan's file, each with its line break. The last one counts and checks those before it."""
    checksum, count = hashlib.sha256(), 0
    for value in itertools.chain(
        (_header(plan),), plan.streams, plan.images, plan.blobs, plan.empty_streams, plan.retired, plan.needed_again
    ):
        line = _encoder.encode(value) + b"\n"
        checksum.update(line)
        count += 1
        yield line
    yield _encoder.encode(_End(count, checksum.hexdigest())) + b"\n"


_KINDS: Final = (StreamChange, PrunedImage, PrunedBlob, DeletedStream, RetiredImage, RetirementEnd)
"""The kinds of lines between header and end, in the order in which `encode` writes them."""
_BATCH: Final = 1_000_000
"""Bytes of lines that are decoded at once, which takes a third of the time of one by one."""


def decode(lines: Iterable[bytes], where: str) -> PrunePlan:
    """The plan of a file. Raises UnsafePlanError for what `encode` has not written: another version, cut or edited.

    Lines of other kinds than the plan's, such as the result that a report appends, may follow its end and are not read.
    Everything is checked for everybody, whether the plan is shown or carried out: with lines decoded and compared in
    batches the checks take a fraction of the reading.
    """
    reader = _Reader(where)
    rest = iter(lines)
    while batch := _next_batch(rest):
        reader.read(batch)
        if reader.end is not None:
            break
    return reader.plan()


def _next_batch(lines: Iterator[bytes]) -> list[bytes]:
    """The next lines. The plan's end is the last one of its batch, since what follows it belongs to the caller."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size > _BATCH or b'"end"' in line:
            break
    return batch


class _Reader:
    """Lines of a plan, checked as they come. `canonical` says whether `encode` writes all of them so."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.header: PlanHeader | None = None
        self.end: _End | None = None
        self.canonical = True
        self._first = b""
        self._checksum = hashlib.sha256()
        self._count = 0
        self._parts: dict[type, list[Any]] = {kind: [] for kind in _KINDS}
        self._latest = 0

    def read(self, batch: list[bytes]) -> None:
        """Read lines of which the plan's end can only be the last one."""
        if not self._first:
            self._first, *batch = batch
            _check_header(self._first, self.where)
            self._read_lines([self._first])
        if not batch:
            return
        *before, last = batch
        self._read_lines(before)
        value = self._decoded(last) if b'"end"' in last else None
        if isinstance(value, _End):
            self.end = value
        else:
            self._read_lines([last])

    def _read_lines(self, lines: list[bytes]) -> None:
        content = b"".join(lines)
        try:
            values = _decoder.decode_lines(content)
        except UNREADABLE:
            values = []
        if len(values) != len(lines) or _encoder.encode_lines(values) != content:
            # One by one, the line that cannot be decoded is found, and whatever is not one value is refused.
            self.canonical = False
            values = [self._decoded(line, number) for number, line in enumerate(lines)]
        for kind, found in itertools.groupby(values, type):
            self._keep(kind, found)
        self._checksum.update(content)
        self._count += len(lines)

    def find(self, batch: list[bytes], needles: Sequence[bytes]) -> Iterator[Any]:
        """Pass over lines; give the values of those that contain a needle, and the header."""
        if not self._count:
            _check_header(batch[0], self.where)
            header = self._decoded(batch[0])
            if isinstance(header, PlanHeader):
                self.header = header
                yield header
        last = self._decoded(batch[-1]) if b'"end"' in batch[-1] else None
        if isinstance(last, _End):
            self.end = last
            batch.pop()
        content = b"".join(batch)
        if any(needle in content for needle in needles):
            for number, line in enumerate(batch):
                if (number or self._count) and any(needle in line for needle in needles):
                    yield self._decoded(line, number)
        self._checksum.update(content)
        self._count += len(batch)

    def whole_header(self) -> PlanHeader:
        """The header. Raises UnsafePlanError where there is none or no end, or the end does not fit the lines."""
        where = self.where
        if self.header is None:
            raise UnsafePlanError(f"{where}: is empty; give a plan that preview has written")
        if self.end is None:
            raise UnsafePlanError(
                f"{where}: is truncated, its end is missing; take the whole file that preview has written"
            )
        if (self.end.lines, self.end.checksum) != (self._count, self._checksum.hexdigest()):
            raise UnsafePlanError(
                f"{where}: was edited after preview had written it; have the change planned and reviewed again"
            )
        return self.header

    def _decoded(self, line: bytes, number: int = 0) -> Any:
        try:
            return _decoder.decode(line)
        except UNREADABLE as error:
            place = f"{self.where}, line {self._count + number + 1}"
            raise UnsafePlanError(f"{place}: is not a line of a plan: {reason(error)}") from None

    def _keep(self, kind: type, values: Iterable[Any]) -> None:
        if kind not in self._parts:
            for value in values:
                # A second header, or an end that is written in another way: readers of the file may stop there.
                self.canonical = self.canonical and isinstance(value, PlanHeader) and self.header is None
                self.header = value if isinstance(value, PlanHeader) else self.header
            return
        place = _KINDS.index(kind)
        self.canonical = self.canonical and place >= self._latest
        self._latest = place
        self._parts[kind].extend(values)

    def plan(self) -> PrunePlan:
        """The plan of all lines."""
        header, where = self.whole_header(), self.where
        streams, images, blobs, empty_streams, retired, needed_again = map(tuple, self._parts.values())
        plan = PrunePlan(
            cluster=header.cluster,
            as_of=header.as_of,
            rules=header.rules,
            registry=header.registry,
            streams=streams,
            images=images,
            blobs=blobs,
            empty_streams=empty_streams,
            retired=retired,
            needed_again=needed_again,
            notes=header.notes,
        )
        if plan.fingerprint != header.fingerprint:
            raise UnsafePlanError(
                f"{where}: its fingerprint is not that of its content; have it planned and reviewed again"
            )
        # What the header says of the plan follows from its lines.
        self.canonical = self.canonical and _encoder.encode(_header(plan)) + b"\n" == self._first
        _check_canonical(plan, where, canonical=self.canonical)
        return plan


def _check_canonical(plan: PrunePlan, where: str, *, canonical: bool) -> None:
    """Raise UnsafePlanError for a plan that `encode` would write in other bytes, or that names something twice.

    Readers of a file disagree about keys that are given twice, times of other zones and the like; what was reviewed is
    then not what is carried out.
    """
    if not canonical:
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


def find(lines: Iterable[bytes], where: str, needles: Sequence[bytes]) -> Iterator[Any]:
    """The header of a plan, and the values of all its lines that contain one of the needles.

    Nothing else is decoded or kept. Raises UnsafePlanError, after the last value, where the count of lines or the
    checksum shows that the file is cut or was edited. This is for showing a decision: `decode` also checks the
    fingerprint, and that the file is written as preview writes it, before anything is deleted by a plan.
    """
    reader = _Reader(where)
    rest = iter(lines)
    while batch := _next_batch(rest):
        yield from reader.find(batch, needles)
        if reader.end is not None:
            break
    reader.whole_header()


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
