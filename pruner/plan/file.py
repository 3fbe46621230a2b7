"""The file of a plan: JSON Lines with a header and an end, in which truncation and editing show."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import UTC
from operator import attrgetter
from typing import Any, Final

import msgspec

from pruner.cluster.objects import Registry
from pruner.errors import UnsafePlanError
from pruner.files import joined, lines_of, number_of_lines
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


_LINES: Final = 250
"""Values that are encoded at once."""

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
    """The plan's file, in blocks of whole lines. The last line counts and checks those before it."""
    checksum, count = hashlib.sha256(), 0
    for block in encoded_lines(
        (_header(plan),), plan.streams, plan.images, plan.blobs, plan.empty_streams, plan.retired, plan.needed_again
    ):
        checksum.update(block)
        count += number_of_lines(block)
        yield block
    yield _encoder.encode(_End(count, checksum.hexdigest())) + b"\n"


def encoded_lines(*parts: Iterable[Any]) -> Iterator[bytes]:
    """A line for each value, in blocks: encoded one by one they take twice as long."""
    values = itertools.chain.from_iterable(parts)
    while block := _encoder.encode_lines(list(itertools.islice(values, _LINES))):
        yield block


_KINDS: Final = (StreamChange, PrunedImage, PrunedBlob, DeletedStream, RetiredImage, RetirementEnd)
"""The kinds of lines between header and end, in the order in which `encode` writes them."""


def decode(pieces: Iterable[bytes], where: str) -> PrunePlan:
    """The plan of a file, whose content comes in lines or in blocks of whole lines.

    Raises UnsafePlanError for what `encode` has not written: another version, cut or edited. Lines of other kinds than
    the plan's, such as the result that a report appends, may follow its end and are not read. Everything is checked for
    everybody, whether the plan is shown or carried out: with lines decoded and compared in blocks the checks take a
    fraction of the reading.
    """
    return decode_beginning(pieces, where)[0]


def decode_beginning(pieces: Iterable[bytes], where: str) -> tuple[PrunePlan, Iterator[bytes]]:
    """The plan that a file begins with, as `decode` gives it, and the blocks of the lines that follow its end."""
    reader = _Reader(where)
    blocks = joined(pieces)
    for block in blocks:
        after = reader.read(block)
        if reader.end is not None:
            return reader.plan(), itertools.chain((after,) if after else (), blocks)
    return reader.plan(), blocks


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

    def read(self, block: bytes) -> bytes:
        """Read lines up to the plan's end; what follows it in the block is given back."""
        if not self._first:
            self._first, block = _first_line(block)
            _check_header(self._first, self.where)
            self._read_lines(self._first)
        return self._up_to_end(block, self._read_lines)

    def _up_to_end(self, block: bytes, read: Callable[[bytes], None]) -> bytes:
        """Have the lines before the plan's end read; what follows it in the block is given back."""
        start = 0
        while (found := block.find(b'"end"', start)) >= 0:
            line, after = block.rfind(b"\n", start, found) + 1 or start, block.find(b"\n", found) + 1 or len(block)
            read(block[start:line])
            value = self._decoded(block[line:after])
            if isinstance(value, _End):
                self.end = value
                return block[after:]
            read(block[line:after])
            start = after
        read(block[start:])
        return b""

    def _read_lines(self, content: bytes) -> None:
        try:
            values = _decoder.decode_lines(content)
        except UNREADABLE:
            values = []
        if _encoder.encode_lines(values) != content:
            # One by one, the line that cannot be decoded is found, and whatever is not one value is refused.
            self.canonical = False
            values = [self._decoded(line, at) for at, line in enumerate(lines_of(content))]
        for kind, found in itertools.groupby(values, type):
            self._keep(kind, found)
        self._checksum.update(content)
        self._count += len(values)

    def find(self, block: bytes, needles: Sequence[bytes]) -> tuple[list[Any], bytes]:
        """Pass over lines: the header, the values of those with a needle, and the bytes that follow the plan's end."""
        found: list[Any] = []
        if not self._count:
            first, block = _first_line(block)
            _check_header(first, self.where)
            header = self._decoded(first)
            if isinstance(header, PlanHeader):
                self.header = header
                found.append(header)
            self._pass(first, (), found)
        return found, self._up_to_end(block, lambda content: self._pass(content, needles, found))

    def _pass(self, content: bytes, needles: Sequence[bytes], found: list[Any]) -> None:
        if any(needle in content for needle in needles):
            for at, line in enumerate(lines_of(content)):
                if any(needle in line for needle in needles):
                    found.append(self._decoded(line, at))
        self._checksum.update(content)
        self._count += number_of_lines(content)

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


def _first_line(block: bytes) -> tuple[bytes, bytes]:
    """The first line of a block, and the others."""
    length = block.find(b"\n") + 1 or len(block)
    return block[:length], block[length:]


def _check_canonical(plan: PrunePlan, where: str, *, canonical: bool) -> None:
    """Raise UnsafePlanError for a plan that `encode` would write in other bytes, or that names something twice.

    Readers of a file disagree about keys that are given twice, times of other zones and the like; what was reviewed is
    then not what is carried out.
    """
    if not canonical:
        raise UnsafePlanError(f"{where}: is not written as preview writes it; have it planned and reviewed again")
    revisions = itertools.chain.from_iterable(change.revisions for change in plan.streams)
    dated = itertools.chain(revisions, plan.images, plan.empty_streams, plan.retired)
    zones = {plan.as_of.tzinfo, *map(attrgetter("created.tzinfo"), dated)}
    if any(zone is not UTC for zone in zones):
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


def find(pieces: Iterable[bytes], where: str, needles: Sequence[bytes]) -> Generator[Any, None, Iterator[bytes]]:
    """The header of a plan, and the values of all its lines that contain one of the needles.

    Nothing else is decoded or kept. Returns the blocks of the lines that follow the plan's end. Raises UnsafePlanError,
    after the last value, where the count of lines or the checksum shows that the file is cut or was edited. This is for
    showing a decision: `decode` also checks the fingerprint, and that the file is written as preview writes it, before
    anything is deleted by a plan.
    """
    reader = _Reader(where)
    blocks, after = joined(pieces), b""
    for block in blocks:
        found, after = reader.find(block, needles)
        yield from found
        if reader.end is not None:
            break
    reader.whole_header()
    return itertools.chain((after,) if after else (), blocks)


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
