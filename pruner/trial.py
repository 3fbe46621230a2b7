"""Trying retention rules: what they decide about tags that are listed somewhere, without a plan (R29, R30, R35).

The tags come from a list, from image streams as `oc get imagestreams -o json` prints them, or from a plan's file.
References are not looked at, so an expired tag stays in a plan for as long as it is in use (R31). Everything here is
pure; `pruner.cli.retention` reads and shows.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec
from rich.console import Console
from rich.table import Table

from pruner.analysis.attached import subject_of
from pruner.analysis.retention import TagDecision, TagRetention, version_of
from pruner.cluster.metadata import ObjectMeta, moment
from pruner.cluster.objects import ImageStream, ImageStreamStatus, NamedTagEventList, TagEvent
from pruner.console import Margin, data
from pruner.documents.values import DocumentError, from_json
from pruner.errors import Problem, SettingsError
from pruner.report.model import Report
from pruner.report.wording import count, time
from pruner.settings.retention import RetentionRule
from pruner.settings.shown import shown
from pruner.settings.values import UnfitError, age

MOST_TAGS: Final = 1_000_000
"""Tags of one trial."""
MOST_PROBLEMS: Final = 100
"""Lines of a list that one message names."""


class TriedTag(msgspec.Struct, frozen=True, kw_only=True):
    """A tag, the rule that decides about it (None where none matches), and the decision in words.

    `stream` is `namespace/name`, empty where the list names none. `used_by` is what refers to the tag's image, as far
    as a plan says it.
    """

    stream: str
    tag: str
    moved: datetime | None
    rule: str | None
    decision: Literal["kept", "expired"]
    why: str
    used_by: tuple[str, ...] = ()


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions, sorted by image stream and tag, by the time that ages are measured against.

    `idle` rules match none of the tags.
    """

    as_of: datetime
    rules: tuple[str, ...]
    tags: tuple[TriedTag, ...] = ()
    idle: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def expired(self) -> int:
        return sum(tag.decision == "expired" for tag in self.tags)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Tags to try rules on, as image streams; the one with an empty name holds tags whose image stream is not named."""

    streams: tuple[ImageStream, ...]
    as_of: datetime
    uses: Mapping[str, tuple[str, ...]] = {}
    notes: tuple[str, ...] = ()


# --- where tags come from --------------------------------------------------------------------------------------------

_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_LINE: Final = re.compile(rf"(?:(?P<stream>[^\s/:@]+/[^\s/:@]+):)?(?P<tag>{_TAG})(?:[\s,]+(?P<moved>\S.*))?")
_FORM: Final = "[NAMESPACE/STREAM:]TAG [MOVED], such as shop/web:pr-17 14d"


def from_list(text: str, as_of: datetime, where: str) -> Listed:
    """The tags of a list: one a line, as [NAMESPACE/STREAM:]TAG [MOVED], or image streams as JSON.

    Raises SettingsError with every line that is wrong.
    """
    if text.lstrip()[:1] in ("{", "["):
        return _from_objects(text, as_of, where)
    found: dict[tuple[str, str], tuple[int, datetime | None]] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        try:
            stream, tag, moved = _line(content, as_of)
            first = found.setdefault((stream, tag), (number, moved))[0]
            if first != number:
                raise UnfitError(f"{shown(tag)} is on line {first} too; name every tag once")
        except UnfitError as unfit:
            problems.append(Problem(f"{where}, line {number}", str(unfit)))
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise SettingsError([*problems[:MOST_PROBLEMS], *([Problem(where, f"{more} more lines")] if more > 0 else [])])
    timeless = sum(moved is None for _, moved in found.values())
    notes = []
    if timeless:
        notes.append(f"{count(timeless, 'tag')} without a time: taken for moved long ago; write a line as {_FORM}")
    if any(not stream for stream, _ in found):
        notes.append("tags without an image stream are matched by the tags of rules alone")
    return Listed(
        streams=_streams((*name, moved, "") for name, (_, moved) in found.items()), as_of=as_of, notes=tuple(notes)
    )


def _line(text: str, as_of: datetime) -> tuple[str, str, datetime | None]:
    match = _LINE.fullmatch(text)
    if match is None:
        raise UnfitError(f"{shown(text)} is not of the form {_FORM}")
    moved = match["moved"]
    return match["stream"] or "", match["tag"], _moved(moved, as_of) if moved else None


def _moved(text: str, as_of: datetime) -> datetime:
    """When a tag was moved: so long ago, or at a time as ISO 8601 writes it."""
    try:
        return as_of - age(text)
    except (UnfitError, OverflowError):
        pass
    try:
        return moment(datetime.fromisoformat(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnfitError(
            f"{shown(text)} is neither an age such as 14d nor a time such as 2026-01-31T12:00:00Z"
        ) from None


def _from_objects(text: str, as_of: datetime, where: str) -> Listed:
    try:
        value = from_json(text)
    except DocumentError as error:
        raise SettingsError([Problem(where, str(error))]) from None
    try:
        items = value if isinstance(value, list) else value.get("items", [value])
        streams = msgspec.convert(items, tuple[ImageStream, ...])
    except msgspec.ValidationError as error:
        raise SettingsError(
            [Problem(where, f"is no list of image streams as `oc get imagestreams -o json` prints it: {error}")]
        ) from None
    return Listed(streams=streams, as_of=as_of)


def of_stream(stream: ImageStream, as_of: datetime) -> Listed:
    return Listed(streams=(stream,), as_of=as_of)


def of_report(report: Report) -> Listed:
    """The tags that a plan's file names, by their current revisions, and what refers to the images of these."""
    kept = report.decisions.revisions if report.decisions is not None else ()
    revisions = [(each.stream, each.tag, each.revision, each.created, each.image) for each in kept]
    for change in report.plan.streams:
        revisions += [(change.stream, it.tag, it.revision, it.created, it.image) for it in change.revisions]
    current: dict[tuple[str, str], tuple[datetime, str]] = {}
    others: set[tuple[str, str]] = set()
    for stream, tag, revision, created, image in revisions:
        if revision == 0:
            current[stream, tag] = (created, image)
        else:
            others.add((stream, tag))
    notes = ["a plan does not say which tags are imported from other registries: all are decided as if none were"]
    if report.decisions is None:
        notes.append("this plan does not say what is kept; take one that `pruner plan --out` has written")
    if missing := len(others - current.keys()):
        notes.append(f"{count(missing, 'tag')} left out, since the plan does not name the current revision")
    uses = {each.image: each.by for each in report.decisions.uses} if report.decisions is not None else {}
    streams = _streams((*name, moved, image) for name, (moved, image) in current.items())
    return Listed(streams=streams, as_of=report.plan.as_of, uses=uses, notes=tuple(notes))


def _streams(tags: Iterable[tuple[str, str, datetime | None, str]]) -> tuple[ImageStream, ...]:
    """Image streams with these tags, each with one revision."""
    by_stream: defaultdict[str, list[NamedTagEventList]] = defaultdict(list)
    for stream, tag, moved, image in tags:
        by_stream[stream].append(NamedTagEventList(tag, (TagEvent(image, moved),)))
    found = []
    for name, histories in by_stream.items():
        namespace, _, stream = name.partition("/")
        found.append(ImageStream(ObjectMeta(stream, namespace, "unknown"), status=ImageStreamStatus(tags=histories)))
    return tuple(found)


# --- the decisions ---------------------------------------------------------------------------------------------------


def try_rules(rules: Sequence[RetentionRule], listed: Listed) -> Trial:
    """What the rules decide about each of the tags."""
    retention = TagRetention(rules, listed.as_of)
    anywhere = TagRetention([msgspec.structs.replace(rule, streams=()) for rule in rules], listed.as_of)
    tags: list[TriedTag] = []
    for stream in listed.streams:
        named = stream.metadata.name != ""
        tags += _tried(stream, (retention if named else anywhere).decide(stream), listed)
    if len(tags) > MOST_TAGS:
        raise SettingsError([Problem("", f"there are {len(tags)} tags; at most {MOST_TAGS} can be tried at once")])
    matched = retention.matched | anywhere.matched
    return Trial(
        as_of=listed.as_of,
        rules=tuple(rule.name for rule in rules),
        tags=tuple(sorted(tags, key=lambda each: (each.stream, each.tag))),
        idle=tuple(rule.name for place, rule in enumerate(rules) if place not in matched) if tags else (),
        notes=listed.notes,
    )


def _tried(stream: ImageStream, decisions: Mapping[str, TagDecision], listed: Listed) -> Iterator[TriedTag]:
    gone = _gone(stream, decisions)
    for history in stream.histories:
        items, tag = history.items or (), history.tag
        decision, subject = decisions.get(tag), subject_of(tag)
        moved = items[0].created if items else None
        uses = listed.uses.get(items[0].image, ()) if items else ()
        rule, expired = (decision.rule.name, decision.expired) if decision is not None else (None, False)
        if subject is not None and (decision is None or expired):
            rule, expired = None, subject in gone
            why = f"attached to {subject}, and {'pruned' if expired else 'kept and pruned'} with it (R35)"
        elif decision is None:
            why = "no retention rule matches it (R29)" if items else "it has no revisions (R29)"
        elif expired:
            why = f"{_why_expired(decision.rule, tag)} (R30)"
        else:
            why = str(decision.reason)
        yield TriedTag(
            stream=stream.name if stream.metadata.name else "",
            tag=tag,
            moved=moment(moved) if moved is not None else None,
            rule=rule,
            decision="expired" if expired else "kept",
            why=why,
            used_by=uses,
        )


def _gone(stream: ImageStream, decisions: Mapping[str, TagDecision]) -> set[str]:
    """The images that only expired tags of the image stream name, as far as they are known."""
    named: dict[bool, set[str]] = {True: set(), False: set()}
    for history in stream.histories:
        decision = decisions.get(history.tag)
        expired = decision is not None and decision.expired
        named[expired].update(item.image for item in history.items or () if item.image)
    return named[True] - named[False]


def _why_expired(rule: RetentionRule, tag: str) -> str:
    """Why none of the conditions of the rule keeps the tag."""
    parts = []
    if rule.keep_younger_than is not None:
        parts.append(f"it was moved {rule.keep_younger_than // timedelta(minutes=1)} minutes ago or earlier")
    if rule.keep_newest is not None:
        version, _ = version_of(tag, tuple(sorted(rule.variants, key=len, reverse=True)))
        if rule.order == "time":
            parts.append(f"it is not among the newest {rule.keep_newest} tags of the rule")
        elif version is None:
            parts.append("it is no version")
        elif version.prerelease and not rule.prereleases:
            parts.append(f"{version.prerelease} makes it a pre-release or a variant that is not counted")
        else:
            parts.append(f"it is not among the highest {rule.keep_newest} versions of the rule")
    return ", and ".join(parts)


# --- for people ------------------------------------------------------------------------------------------------------


def headline(trial: Trial) -> str:
    if not trial.tags:
        return f"{count(len(trial.rules), 'rule')} without mistakes: {', '.join(trial.rules)}"
    return f"{trial.expired} of {count(len(trial.tags), 'tag')} expire by {count(len(trial.rules), 'rule')}"


def print_trial(trial: Trial, console: Console) -> None:
    """Print the trial: a row for each tag, and what is not looked at."""
    console.print(Margin(data(headline(trial))))
    notes = [*(f"rule {name} matches none of these tags" for name in trial.idle), *trial.notes]
    for note in notes:
        console.print(Margin(data(f"note: {note}")))
    if not trial.tags:
        return
    used = any(tag.used_by for tag in trial.tags)
    table = Table(box=None, pad_edge=False)
    for column in ("Tag", "Moved", "Decision", "Rule", "Why", *(["Image referenced by"] if used else [])):
        table.add_column(column, overflow="fold")
    for tag in trial.tags:
        name = f"{tag.stream}:{tag.tag}" if tag.stream else tag.tag
        more = [data(", ".join(tag.used_by))] if used else []
        table.add_row(data(name), time(tag.moved), tag.decision, data(tag.rule or ""), data(tag.why), *more)
    console.print(Margin(table))
    console.print(Margin(data("An expired tag is kept for as long as something refers to it or protects it (R31).")))
