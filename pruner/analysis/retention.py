"""Which tags expire: the first retention rule that matches a tag, and whether it keeps the tag (R29, R30, R32).

References are not looked at here: an expired tag that something refers to is kept all the same (R31,
`pruner.analysis.revision_rules`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

import msgspec
from semver import Version

from pruner.analysis.attached import PREFIX, subject_of
from pruner.analysis.globs import Globs, Matches, matcher
from pruner.cluster.metadata import BEGINNING, moment
from pruner.cluster.objects import ImageStream
from pruner.reasons import AmongNewestTags, Expired, ImportedTag, KeptByRule, MovedRecently
from pruner.settings import RetentionRule, minutes_of

TagReason = KeptByRule | MovedRecently | AmongNewestTags | ImportedTag | Expired
Moved = tuple[str, datetime]
"""A tag, and when it was moved."""


class TagDecision(msgspec.Struct, frozen=True, gc=False):
    """What a retention rule decides about a tag."""

    rule: RetentionRule
    reason: TagReason

    @property
    def expired(self) -> bool:
        return isinstance(self.reason, Expired)


class TagRetention:
    """The rules, compiled once. `matched` are the positions of those that have matched any tag so far.

    Equal decisions are one object, and so are their reasons: half a million tags share a few hundred.
    """

    def __init__(self, rules: Sequence[RetentionRule], as_of: datetime) -> None:
        self.rules = tuple(rules)
        self.matched: set[int] = set()
        self._streams = Globs(((place, rule.streams) for place, rule in enumerate(self.rules)), slashes=1)
        self._compiled = [_Compiled(rule, as_of) for rule in self.rules]
        self._by_rules: dict[tuple[int, ...], _TagMatcher] = {}

    def decide(self, stream: ImageStream) -> dict[str, TagDecision]:
        """The decision on every tag that a rule matches. Tags without revisions are not matched."""
        applicable = self._streams.all(stream.name)
        if not applicable:
            return {}
        tag_matcher = self._by_rules.get(applicable)
        if tag_matcher is None:
            rules = [(place, self.rules[place].tags) for place in applicable]
            tag_matcher = self._by_rules[applicable] = _TagMatcher(rules)
        declared, rule_of = stream.spec_tags, tag_matcher.globs.first
        by_rule: defaultdict[int, list[Moved]] = defaultdict(list)
        for history in stream.histories:
            if history.items:
                tag, created = history.tag, history.items[0].created
                if tag[:7] == PREFIX and subject_of(tag) is not None:
                    # One with an entry in spec.tags was put there by somebody, and is decided as its subject is (R35).
                    place = None if tag in declared else tag_matcher.rule_of_attached(tag)
                else:
                    place = rule_of(tag)
                if place is not None:
                    by_rule[place].append((tag, created if created and created.tzinfo else moment(created)))
        self.matched.update(by_rule)
        decisions: dict[str, TagDecision] = {}
        imports = _imports(stream) if declared else frozenset()
        for place, tags in by_rule.items():
            self._compiled[place].add(decisions, tags, imports)
        return decisions

    def idle(self) -> list[str]:
        """The names of the rules that have matched nothing, in their order."""
        return [rule.name for place, rule in enumerate(self.rules) if place not in self.matched]


class _Compiled:
    """A rule with its decisions."""

    def __init__(self, rule: RetentionRule, as_of: datetime) -> None:
        self.rule = rule
        self.always = TagDecision(rule, KeptByRule(rule.name))
        self.expired = TagDecision(rule, Expired(rule.name))
        self.imported = TagDecision(rule, ImportedTag(rule.name))
        self.newest: list[TagDecision] = []
        age = rule.keep_younger_than
        if age is not None:
            self.young = TagDecision(rule, MovedRecently(rule.name, minutes_of(age)))
            try:
                self.limit = as_of - age
            except OverflowError:
                self.limit = BEGINNING
        self.variants = tuple(sorted(rule.variants, key=len, reverse=True))

    def add(self, decisions: dict[str, TagDecision], tags: Sequence[Moved], imports: frozenset[str]) -> None:
        """R30: the first condition of the rule that keeps each tag, in the order in which RetentionRule lists them."""
        rule = self.rule
        if rule.keep_all:
            decisions.update(dict.fromkeys((tag for tag, _ in tags), self.always))
            return
        decisions.update(dict.fromkeys((tag for tag, _ in tags), self.expired))
        if imports and not rule.imported:
            decisions.update((tag, self.imported) for tag, _ in tags if tag in imports)
        if rule.keep_newest:
            groups = _newest_first(tags) if rule.order == "time" else self._highest_first(tags)
            for group in groups:
                kept = group[: rule.keep_newest]
                decisions.update(zip(kept, self._among_newest(len(kept)), strict=False))
        if rule.keep_younger_than is not None:
            limit, young = self.limit, self.young
            decisions.update([(tag, young) for tag, moved in tags if moved > limit])

    def _among_newest(self, count: int) -> list[TagDecision]:
        """The decisions on the first so many tags, at least."""
        known, rule = self.newest, self.rule
        known += [
            TagDecision(rule, AmongNewestTags(rule.name, position, rule.keep_newest or 0))
            for position in range(len(known) + 1, count + 1)
        ]
        return known

    def _highest_first(self, tags: Sequence[Moved]) -> Iterable[list[str]]:
        """The tags that are versions, highest first: a group for each variant. Ties are broken by name (P7)."""
        groups: defaultdict[str, list[tuple[tuple[Any, ...], str]]] = defaultdict(list)
        for tag, _ in sorted(tags):
            key, variant = _precedence(tag, self.variants)
            if key is not None and (self.rule.prereleases or key[3]):
                groups[variant].append((key, tag))
        for group in groups.values():
            yield [tag for _, tag in sorted(group, key=itemgetter(0), reverse=True)]


def _newest_first(tags: Sequence[Moved]) -> Iterable[list[str]]:
    """The tags that were moved last first, as one group. Ties are broken by name (P7)."""
    # Stable, also when reversed: tags moved at the same time stay in the order of their names.
    yield [tag for tag, _ in sorted(sorted(tags), key=itemgetter(1), reverse=True)]


LONGEST_VERSION: Final = 128
"""Characters of a tag, the limit of registries. A longer text is no version, and the numbers in it stay small."""
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?![0-9.])")


_PLAIN: Final = re.compile(r"v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")


def _precedence(tag: str, variants: tuple[str, ...]) -> tuple[tuple[Any, ...] | None, str]:
    """What a version is ordered by, and its variant; None for a tag that is no version.

    Most versions are three numbers, which takes a tenth of the time; of pre-releases the order is the library's.
    """
    if (plain := _PLAIN.fullmatch(tag)) is not None and len(tag) <= LONGEST_VERSION:
        return (int(plain[1]), int(plain[2]), int(plain[3]), True), ""
    version, variant = version_of(tag, variants)
    if version is None:
        return None, variant
    release = not version.prerelease
    numbers = (version.major, version.minor, version.patch, release)
    return numbers if release else (*numbers, version), variant


def version_of(tag: str, variants: tuple[str, ...] = ()) -> tuple[Version | None, str]:
    """The version that a tag names (SemVer 2.0, a leading `v` is allowed), and its variant; None for other tags.

    Of several `variants` that a tag ends with, the first one counts.
    """
    text = tag[1:] if tag.startswith("v") else tag
    if len(tag) > LONGEST_VERSION or not _VERSION.match(text):
        return None, ""
    variant = next((each for each in variants if text.endswith(f"-{each}")), "")
    if variant:
        text = text[: -len(variant) - 1]
    try:
        return Version.parse(text), variant
    except ValueError:
        return None, variant


def _imports(stream: ImageStream) -> frozenset[str]:
    """Tags that are declared to be imported from another registry (R32)."""
    tags = stream.spec.tags if stream.spec else None
    return frozenset(
        tag.name
        for tag in tags or ()
        if tag.from_ is not None and tag.from_.kind == "DockerImage" and not tag.reference
    )


class _TagMatcher:
    """Which of some rules tags belong to, by their `tags`."""

    def __init__(self, rules: Sequence[tuple[int, tuple[str, ...]]]) -> None:
        self.globs = Globs(rules)
        self._attached: list[tuple[int, Matches]] = []
        for place, patterns in rules:
            attached = [pattern for pattern in patterns if pattern.startswith((PREFIX, "!"))]
            matches = matcher(attached)
            if matches is not None:
                self._attached.append((place, matches))

    def rule_of_attached(self, tag: str) -> int | None:
        """The first rule whose patterns that begin with `sha256-` match (R35)."""
        return next((place for place, matches in self._attached if matches(tag)), None)
