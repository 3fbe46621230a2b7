"""The report as a file: the plan's own lines (pruner.plan), then what is known of all that stays, and the result.

`pruner.plan.decode` reads such a file as a plan and passes over what follows, so that one file is report and approved
plan in one. Lines after the plan's end are `decisions` with their counts, `kept image`, `kept revision`, `in use`,
`image size`, and `result`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pruner import plan as plans
from pruner.apply.result import Failure, RegistryRestart, Result, Skipped
from pruner.apply.result import Summary as ResultSummary
from pruner.errors import PrunerError, UnsafePlanError
from pruner.files import lines_of, number_of_lines, read_blocks, read_lines
from pruner.plan import UNREADABLE, PrunePlan, decode_beginning, encode, encoded_lines, reason
from pruner.reasons import Reason
from pruner.report.decisions import Decisions, ImageSize, InUse, Kept, KeptImage, KeptRevision
from pruner.report.model import Outcome, Report

if TYPE_CHECKING:
    from pruner.analysis import Analysis


class Counts(msgspec.Struct, frozen=True, tag="decisions", tag_field="line"):
    """How many lines of each kind follow, so that truncation shows."""

    images: int
    revisions: int
    uses: int
    sizes: int


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Object(msgspec.Struct, frozen=True):
    metadata: _Named = _Named()


class _Result(msgspec.Struct, frozen=True, tag="result", tag_field="line"):
    """What of the result's line is shown; its objects are whole in the file."""

    summary: ResultSummary
    deleted_images: tuple[_Object, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failures: tuple[Failure, ...] = ()
    registry_restart: RegistryRestart | None = None


_decoder: Final = msgspec.json.Decoder(Counts | KeptImage | KeptRevision | InUse | ImageSize | _Result)

_COUNTS: Final = b'{"line":"decisions"'
"""What the line of `Counts` begins with."""

_REASON: Final = attrgetter("reason")
_NAMED: Final[Mapping[type, Callable[[Any], str]]] = {
    KeptImage: attrgetter("name"),
    KeptRevision: attrgetter("image"),
    InUse: attrgetter("image"),
    ImageSize: attrgetter("name"),
}
"""The digest that a decision is about."""


def encode_report(analysis: Analysis) -> Iterator[bytes]:
    """A plan and the decisions on everything else, in blocks of whole lines."""
    yield from encode(analysis.plan)
    yield from _decision_lines(Decisions.of(analysis))


def encode_result(plan: PrunePlan, result: Result, earlier: Path | None = None) -> Iterator[bytes]:
    """A plan that was carried out, in blocks of whole lines: the plan, the decisions, the result.

    The decisions are those that the report at `earlier` holds, where it is there and of the same plan: what carries a
    plan out does not know what kept the rest.
    """
    decisions = _decisions_of(earlier, plan) if earlier is not None else None
    yield from encode(plan)
    if decisions is not None:
        yield from _decision_lines(decisions)
    builtins = {"line": "result", **msgspec.to_builtins(result), "summary": msgspec.to_builtins(result.summary)}
    yield from encoded_lines([builtins])


def encode_again(report: Report) -> Iterator[bytes]:
    """A report, in blocks of whole lines. Of the result it has what is shown, not the whole objects."""
    yield from encode(report.plan)
    if report.decisions is not None:
        yield from _decision_lines(report.decisions)
    if report.outcome is not None:
        outcome = report.outcome
        deleted = tuple(_Object(_Named(name)) for name in sorted(outcome.deleted))
        result = _Result(outcome.summary, deleted, outcome.skipped, outcome.failures, outcome.registry_restart)
        yield from encoded_lines([result])


def _decision_lines(decisions: Decisions) -> Iterator[bytes]:
    parts = (decisions.images, decisions.revisions, decisions.uses, decisions.sizes)
    yield from encoded_lines((Counts(*map(len, parts)),), *parts)


def _decisions_of(path: Path, plan: PrunePlan) -> Decisions | None:
    """What a report of the same plan knows of the rest; None where there is no such report."""
    if not path.is_file():
        # Reading from a pipe or a terminal would wait for a report that nobody writes.
        return None
    try:
        earlier = read_report(path)
    except (OSError, PrunerError):
        return None
    return earlier.decisions if earlier.plan.fingerprint == plan.fingerprint else None


def read_report(path: str | Path) -> Report:
    """The report in a file that preview, up or `plan --out` has written.

    Raises OSError, and UnsafePlanError for a file that is not a plan, is truncated or was edited.
    """
    return decode_report(read_blocks(path), str(path))


def read_outcome(path: Path) -> Outcome | None:
    """What was done, by the last line of a report; None where
    there is no such file, or its last line is not a result.
    """
    last = b""
    try:
        for line in read_lines(path):
            last = line
        value = _decoder.decode(last)
    except (OSError, PrunerError, *UNREADABLE):
        return None
    return _outcome(value) if isinstance(value, _Result) else None


def _outcome(result: _Result) -> Outcome:
    deleted = frozenset(image.metadata.name for image in result.deleted_images)
    return Outcome(result.summary, deleted, result.skipped, result.failures, result.registry_restart)


def decode_report(pieces: Iterable[bytes], where: str) -> Report:
    """The report in these lines, or blocks of whole lines.

    Raises UnsafePlanError as `pruner.plan.decode` does, and for decisions that are truncated.
    """
    plan, rest = decode_beginning(pieces, where)
    parts: dict[type, list[Any]] = {KeptImage: [], KeptRevision: [], InUse: [], ImageSize: []}
    counts, outcome = _decisions(rest, where, lambda kind, values: parts[kind].extend(values))
    decisions = Decisions(*map(tuple, parts.values())) if counts is not None else None
    return Report(plan=plan, decisions=decisions, outcome=outcome)


def read_touched(path: str | Path) -> Report:
    """The report in a file, with rows of what the plan touches, and the rest of the decisions counted and not kept.

    This is all that text, Markdown and metrics show. Raises what `read_report` does.
    """
    where = str(path)
    plan, rest = decode_beginning(read_blocks(path), where)
    names = {item.image for change in plan.streams for item in change.revisions}
    names.update(image.name for image in plan.images)
    names.update(image.name for image in plan.retired)
    parts: dict[type, list[Any]] = {KeptImage: [], KeptRevision: [], InUse: [], ImageSize: []}
    reasons: dict[type, Counter[Reason]] = {KeptImage: Counter(), KeptRevision: Counter()}

    def add(kind: type, values: list[Any]) -> None:
        if kind in reasons:
            reasons[kind].update(map(_REASON, values))
        named = map(names.__contains__, map(_NAMED[kind], values))
        parts[kind].extend(itertools.compress(values, named))

    counts, outcome = _decisions(rest, where, add)
    if counts is None:
        return Report(plan=plan, outcome=outcome)
    named = Decisions(*map(tuple, parts.values()))
    return Report(plan=plan, outcome=outcome, counted=Kept(*reasons.values()), named=named)


def _decisions(
    blocks: Iterable[bytes], where: str, add: Callable[[type, list[Any]], None]
) -> tuple[Counts | None, Outcome | None]:
    """What follows a plan: decisions are given to `add`, as many of a kind at once as come together."""
    counts, outcome = None, None
    numbers = dict.fromkeys((KeptImage, KeptRevision, InUse, ImageSize), 0)
    for block in blocks:
        for kind, group in itertools.groupby(_decoded(block, where), type):
            values = list(group)
            if kind in numbers:
                numbers[kind] += len(values)
                add(kind, values)
                continue
            for value in values:
                if isinstance(value, Counts):
                    counts = value
                elif isinstance(value, _Result):
                    outcome = _outcome(value)
    if counts is not None and counts != Counts(*numbers.values()):
        raise UnsafePlanError(f"{where}: is truncated after its plan; take the whole file, or preview again")
    return counts, outcome


def _decoded(block: bytes, where: str) -> list[Any]:
    """The values of these lines, decoded at once, which takes half of the time of one by one."""
    try:
        values = _decoder.decode_lines(block)
        return values if len(values) == number_of_lines(block) else [_decoder.decode(line) for line in lines_of(block)]
    except UNREADABLE as error:
        raise UnsafePlanError(
            f"{where}: has a line after its plan that does not belong to a report: {reason(error)}"
        ) from None


def find(path: str | Path, needles: Sequence[bytes]) -> Iterator[Any]:
    """The plan's header, the counts of the decisions, and the values of all lines that contain one of the needles.

    Nothing else of the file is decoded or kept. Raises OSError, and UnsafePlanError after the last value where the file
    is not whole: see `pruner.plan.find`, which also says what only `read_report` checks.
    """
    where = str(path)
    rest = yield from plans.find(read_blocks(path), where, needles)
    missing = 0
    for block in rest:
        missing -= number_of_lines(block) - block.count(b'{"line":"result"')
        lines = lines_of(block) if any(needle in block for needle in (*needles, _COUNTS)) else []
        if _COUNTS in block:
            (counts,) = _decoded(b"".join(line for line in lines if line.startswith(_COUNTS)), where)
            missing += 1 + counts.images + counts.revisions + counts.uses + counts.sizes
            yield counts
        if found := b"".join(line for line in lines if any(needle in line for needle in needles)):
            yield from _decoded(found, where)
    if missing:
        raise UnsafePlanError(f"{where}: is truncated after its plan; take the whole file, or preview again")
