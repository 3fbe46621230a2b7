"""Which tags expire: the first retention rule that matches a tag, and whether one of its conditions keeps it (R29, R30, R32).

References are not looked at here: an expired tag that something refers to is kept all the same (R31, `pruner.analysis.revision_rules`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
from semver import Version

from pruner.analysis.attached import may_be_attached, subject_of
from pruner.analysis.protection import expression
from pruner.cluster.metadata import BEGINNING, moment
from pruner.cluster.objects import ImageStream
from pruner.reasons import AmongNewestTags, Expired, ImportedTag, KeptByRule, MovedRecently
from pruner.settings.retention import RetentionRule

TagReason = KeptByRule | MovedRecently | AmongNewestTags | ImportedTag | Expired
Matches = Callable[[str], object]


class TagDecision(msgspec.Struct, frozen=True, gc=False):
    """What a retention rule decides about a tag."""

    rule: RetentionRule
    reason: TagReason

    @property
    def expired(self) -> bool:
        return isinstance(self.reason, Expired)


class TagRetention:
    """The rules, compiled once. `matched` are the positions of those that have matched any tag so far."""

    def __init__(self, rules: Sequence[RetentionRule], as_of: datetime) -> None:
        self.rules = tuple(rules)
        self.as_of = as_of
        self.matched: set[int] = set()
        self._streams = [matcher(rule.streams) for rule in self.rules]
        self._by_rules: dict[tuple[int, ...], _TagMatcher] = {}
        # Equal reasons are one object.
        self._reasons: dict[TagReason, TagReason] = {}

    def decide(self, stream: ImageStream) -> dict[str, TagDecision]:
        """The decision on every tag that a rule matches. Tags without revisions are not matched."""
        name = stream.name
        applicable = tuple([place for place, matches in enumerate(self._streams) if matches is None or matches(name)])
        if not applicable:
            return {}
        tag_matcher = self._by_rules.get(applicable)
        if tag_matcher is None:
            rules = [(place, self.rules[place].tags) for place in applicable]
            tag_matcher = self._by_rules[applicable] = _TagMatcher(rules)
        declared = stream.spec_tags
        by_rule: defaultdict[int, list[tuple[str, datetime]]] = defaultdict(list)
        for history in stream.histories:
            if history.items:
                tag = history.tag
                if may_be_attached(tag) and subject_of(tag) is not None:
                    # One with an entry in spec.tags was put there by somebody, and is decided as its subject is (R35).
                    place = None if tag in declared else tag_matcher.rule_of_attached(tag)
                else:
                    place = tag_matcher.rule_of(tag)
                if place is not None:
                    by_rule[place].append((tag, moment(history.items[0].created)))
        self.matched.update(by_rule)
        decisions: dict[str, TagDecision] = {}
        imports = _imports(stream) if declared else frozenset()
        for place, tags in by_rule.items():
            self._add(decisions, self.rules[place], tags, imports)
        return decisions

    def idle(self) -> list[str]:
        """The names of the rules that have matched nothing, in their order."""
        return [rule.name for place, rule in enumerate(self.rules) if place not in self.matched]

    def _add(
        self,
        decisions: dict[str, TagDecision],
        rule: RetentionRule,
        tags: Sequence[tuple[str, datetime]],
        imports: frozenset[str],
    ) -> None:
        """R30: the first condition of the rule that keeps each tag, in the order in which RetentionRule lists them."""
        if rule.keep_all:
            always = TagDecision(rule, KeptByRule(rule.name))
            decisions.update((tag, always) for tag, _ in tags)
            return
        expired = TagDecision(rule, Expired(rule.name))
        imported = TagDecision(rule, ImportedTag(rule.name))
        decisions.update((tag, imported if tag in imports and not rule.imported else expired) for tag, _ in tags)
        if rule.keep_newest:
            for group in _newest_first(rule, tags):
                for position, tag in enumerate(group[: rule.keep_newest], 1):
                    decisions[tag] = TagDecision(rule, AmongNewestTags(rule.name, position, rule.keep_newest))
        if rule.keep_younger_than is not None:
            young = TagDecision(rule, MovedRecently(rule.name, int(rule.keep_younger_than.total_seconds() // 60)))
            try:
                limit = self.as_of - rule.keep_younger_than
            except OverflowError:
                limit = BEGINNING
            decisions.update((tag, young) for tag, moved in tags if moved > limit)


def _newest_first(rule: RetentionRule, tags: Sequence[tuple[str, datetime]]) -> Iterable[list[str]]:
    """The tags that count for `keep_newest`, newest first: one group, or one for each variant. Ties are broken by name (P7)."""
    if rule.order == "time":
        # Stable, also when reversed: tags moved at the same time stay in the order of their names.
        yield [tag for tag, _ in sorted(sorted(tags), key=lambda each: each[1], reverse=True)]
        return
    variants = tuple(sorted(rule.variants, key=len, reverse=True))
    groups: defaultdict[str, list[tuple[Version, str]]] = defaultdict(list)
    for tag, _ in sorted(tags):
        version, variant = version_of(tag, variants)
        if version is not None and (rule.prereleases or not version.prerelease):
            groups[variant].append((version, tag))
    for group in groups.values():
        yield [tag for _, tag in sorted(group, key=lambda each: each[0], reverse=True)]


LONGEST_VERSION: Final = 128
"""Characters of a tag, the limit of registries. A longer text is no version, and the numbers in it stay small."""
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?![0-9.])")


@lru_cache(maxsize=4096)
def version_of(tag: str, variants: tuple[str, ...] = ()) -> tuple[Version | None, str]:
    """The version that a tag names (SemVer 2.0, a leading `v` is allowed), and its variant; None for a tag that is no version.

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


# --- patterns --------------------------------------------------------------------------------------------------------


def matcher(patterns: Sequence[str]) -> Matches | None:
    """What matches any of the patterns and none of those excluded with `!`; None when everything matches (R29)."""
    return re.compile(_expression(patterns)).fullmatch if patterns else None


def _expression(patterns: Sequence[str]) -> str:
    excluded = "|".join(expression(each[1:]) for each in patterns if each.startswith("!"))
    included = "|".join(expression(each) for each in patterns if not each.startswith("!"))
    return (rf"(?!(?:{excluded})\Z)" if excluded else "") + f"(?:{included})"


_NONE: Final = 1 << 30
"""A position after every rule."""


class _TagMatcher:
    """The first of some rules whose `tags` match.

    Half a million tags are compared with a hundred rules. Patterns without wildcards are looked up, and so are those that end with their
    only wildcard, `pr-*`, by their length; all others that can match a tag by its first character are one expression each.
    """

    def __init__(self, rules: Sequence[tuple[int, tuple[str, ...]]]) -> None:
        self._exact: dict[str, int] = {}
        self._prefixes: dict[int, dict[str, int]] = {}
        self._others: list[tuple[int, tuple[str, ...]]] = []
        self._by_beginning: dict[str, re.Pattern[str] | None] = {}
        self._attached: list[tuple[int, Matches]] = []
        for place, patterns in rules:
            self._add(place, patterns or ("*",))

    def _add(self, place: int, patterns: tuple[str, ...]) -> None:
        attached = [pattern for pattern in patterns if pattern.startswith(("sha256-", "!"))]
        if any(not pattern.startswith("!") for pattern in attached):
            self._attached.append((place, re.compile(_expression(attached)).fullmatch))
        if any(pattern.startswith("!") for pattern in patterns):
            self._others.append((place, patterns))
            return
        for pattern in patterns:
            literal = pattern.removesuffix("*")
            if "*" in literal or "?" in literal:
                self._others.append((place, (pattern,)))
            elif literal == pattern:
                self._exact.setdefault(pattern, place)
            else:
                self._prefixes.setdefault(len(literal), {}).setdefault(literal, place)

    def rule_of(self, tag: str) -> int | None:
        """The rule's position, None where none matches."""
        first = self._exact.get(tag, _NONE)
        for length, by_prefix in self._prefixes.items():
            place = by_prefix.get(tag[:length])
            if place is not None and place < first:
                first = place
        if self._others:
            beginning = tag[:1]
            if beginning not in self._by_beginning:
                self._by_beginning[beginning] = self._beginning_with(beginning)
            others = self._by_beginning[beginning]
            match = others.fullmatch(tag) if others is not None else None
            if match is not None and match.lastgroup is not None:
                first = min(first, int(match.lastgroup[1:]))
        return None if first == _NONE else first

    def rule_of_attached(self, tag: str) -> int | None:
        """As `rule_of`, by the patterns that begin with `sha256-` (R35)."""
        return next((place for place, matches in self._attached if matches(tag)), None)

    def _beginning_with(self, beginning: str) -> re.Pattern[str] | None:
        """The patterns that can match such tags, each as a group named after its rule; the first that matches wins."""
        by_place: dict[int, list[str]] = {}
        for place, patterns in self._others:
            if any(pattern[:1] in ("*", "?", beginning) for pattern in patterns if pattern[:1] != "!"):
                by_place.setdefault(place, []).append(_expression(patterns))
        fitting = [f"(?P<r{place}>{'|'.join(expressions)})" for place, expressions in by_place.items()]
        return re.compile("|".join(fitting)) if fitting else None
