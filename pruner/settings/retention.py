"""Retention rules and the deletion of empty image streams as users write them, and every mistake in it (R29, R34)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, Literal, cast

import msgspec

from pruner.documents.values import DocumentError, check_bounds
from pruner.settings.files import json_value, yaml_in_file
from pruner.settings.shown import shown
from pruner.settings.values import UnfitError, age, boolean, count, minutes_of, text_of
from pruner.suggestions import did_you_mean

Order = Literal["time", "semver"]

MOST_RULES: Final = 1000
"""More rules than that come from a generator that has gone wrong."""
MOST_PATTERNS: Final = 1000
"""Patterns of one rule."""


class RetentionRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which tags of which image streams are kept (R29, R30).

    `streams` and `tags` are globs, `!` excludes; empty means every one. `keep_younger_than` is measured from when the
    tag was last moved; `keep_newest` counts per image stream. `keep_tag_revisions` replaces the setting for older
    revisions of kept tags (R33).
    """

    name: str
    streams: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    keep_all: bool = False
    keep_younger_than: timedelta | None = None
    keep_newest: int | None = None
    order: Order = "time"
    variants: tuple[str, ...] = ()
    prereleases: bool = False
    imported: bool = False
    keep_tag_revisions: int | None = None

    @property
    def can_expire(self) -> bool:
        return not self.keep_all


class EmptyStreams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Image streams without any tag are deleted once they are older than this (R34).

    `streams` are globs, empty means every one.
    """

    older_than: timedelta
    streams: tuple[str, ...] = ()


# --- single values ---------------------------------------------------------------------------------------------------

_STREAM: Final = re.compile(r"!?[^\s/:@!]+/[^\s/:@!]+")
_TAG: Final = re.compile(r"!?[A-Za-z0-9_*?][A-Za-z0-9_.*?-]{0,127}")
_VARIANT: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def _patterns(expression: re.Pattern[str], form: str, value: object) -> tuple[str, ...]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list | tuple):
        raise UnfitError(f"takes a list of patterns such as {form}, not {shown(value)}")
    if not patterns:
        raise UnfitError(f"has no pattern; name one such as {form}, or leave it out for every one")
    if len(patterns) > MOST_PATTERNS:
        raise UnfitError(f"has {len(patterns)} patterns; at most {MOST_PATTERNS} are allowed")
    for pattern in patterns:
        if not isinstance(pattern, str) or not expression.fullmatch(pattern):
            raise UnfitError(f"{shown(pattern)} is not a pattern such as {form} (* and ? are wildcards, ! excludes)")
    if all(pattern.startswith("!") for pattern in patterns):
        raise UnfitError("only excludes, so it matches nothing; add a pattern without !")
    return tuple(patterns)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 100 or not value.isprintable():
        raise UnfitError(f"takes a text of at most 100 printable characters, not {shown(value)}")
    return value.strip()


def _order(value: object) -> Order:
    if value not in ("time", "semver"):
        raise UnfitError(f"takes 'time' or 'semver', not {shown(value)}")
    return value


def _all(value: object) -> bool:
    if value != "all":
        raise UnfitError(f"takes 'all', not {shown(value)}; write keep_newest or keep_younger_than for a limit")
    return True


def _variants(value: object) -> tuple[str, ...]:
    variants = [value] if isinstance(value, str) else value
    if not isinstance(variants, list | tuple):
        raise UnfitError(f"takes a list of suffixes such as alpine, not {shown(value)}")
    if not variants:
        raise UnfitError("has no suffix; name one such as alpine, or leave it out")
    for variant in variants:
        if not isinstance(variant, str) or not _VARIANT.fullmatch(variant):
            raise UnfitError(f"{shown(variant)} is not a suffix such as alpine")
    return tuple(sorted(set(cast("list[str]", variants))))


Parsers = Mapping[str, tuple[str, Callable[[object], Any]]]
"""By key, as users write it: the field, and what reads the value."""

_RULE: Final[Parsers] = {
    "name": ("name", _name),
    "streams": ("streams", partial(_patterns, _STREAM, "shop/*")),
    "tags": ("tags", partial(_patterns, _TAG, "pr-*")),
    "keep": ("keep_all", _all),
    "keep_younger_than": ("keep_younger_than", age),
    "keep_newest": ("keep_newest", count),
    "order": ("order", _order),
    "variants": ("variants", _variants),
    "prereleases": ("prereleases", boolean),
    "imported": ("imported", boolean),
    "keep_tag_revisions": ("keep_tag_revisions", count),
}
_EMPTY_STREAMS: Final[Parsers] = {
    "older_than": ("older_than", age),
    "streams": ("streams", partial(_patterns, _STREAM, "shop/*")),
}


# --- the settings ----------------------------------------------------------------------------------------------------


def retention_rules(value: object) -> tuple[RetentionRule, ...]:
    """The rules in their order, from a list of maps, JSON, or the path of a YAML file.

    Raises UnfitError with every mistake in every rule.
    """
    if isinstance(value, str):
        text = text_of(value).strip()
        value = json_value(text) if text.startswith(("[", "{")) else yaml_in_file(text)
    return rules_of(value)


def _listed(value: object) -> Sequence[object]:
    if isinstance(value, Mapping) and "retention" in value:
        others = sorted(str(key) for key in value if key != "retention")
        if others:
            raise UnfitError(*(f"there is no key {shown(key)} beside retention" for key in others))
        value = value["retention"]
    if not isinstance(value, list | tuple):
        raise UnfitError(f"takes a list of rules, not {shown(value)}")
    if len(value) > MOST_RULES:
        raise UnfitError(f"has {len(value)} rules; at most {MOST_RULES} are allowed")
    return value


def rules_of(value: object) -> tuple[RetentionRule, ...]:
    """The rules in a value that YAML or JSON gave: a list, or a map with the key `retention`.

    Raises UnfitError with every mistake.
    """
    problems: list[str] = []
    rules: list[RetentionRule] = []
    names: dict[str, int] = {}
    for position, each in enumerate(_listed(value), 1):
        fields, wrong = _fields(each, _RULE)
        name = fields.get("name", f"rule {position}")
        if isinstance(each, Mapping):
            wrong += _contradictions(fields, {str(key) for key, given in each.items() if given is not None})
        first = names.setdefault(name, position)
        if first != position:
            wrong.append(f"rule {first} has the same name, which plans show; choose another one")
        if not wrong:
            rule = RetentionRule(**{**fields, "name": name})
            hiding = next((before.name for before in rules if _hides(before, rule)), None)
            if hiding is not None:
                wrong.append(f"can never match, since rule {shown(hiding)} before it takes everything that it matches")
            rules.append(rule)
        problems += [f"{_where(position, fields)}: {problem}" for problem in wrong]
    if problems:
        raise UnfitError(*problems)
    return tuple(rules)


def empty_streams(value: object) -> EmptyStreams:
    """The setting, from a map or JSON. Raises UnfitError with every mistake."""
    if isinstance(value, str):
        value = json_value(text_of(value).strip())
    fields, wrong = _fields(value, _EMPTY_STREAMS)
    if isinstance(value, Mapping) and value.get("older_than") is None:
        wrong.append("older_than is missing, such as older_than: 30d")
    if wrong:
        raise UnfitError(*wrong)
    return EmptyStreams(**fields)


def written(setting: RetentionRule | EmptyStreams) -> dict[str, Any]:
    """The setting as users write it, durations in minutes: what plans record, and what these functions read again."""
    parsers = _RULE if isinstance(setting, RetentionRule) else _EMPTY_STREAMS
    keys = {field: key for key, (field, _) in parsers.items()}
    values: dict[str, Any] = {}
    for field in setting.__struct_fields__:
        value = getattr(setting, field)
        if value is None or value is False or value == () or (field == "order" and value == "time"):
            continue
        if isinstance(value, timedelta):
            value = minutes_of(value)
        elif isinstance(value, tuple):
            value = list(value)
        values[keys[field]] = "all" if field == "keep_all" else value
    return values


# --- what is wrong ---------------------------------------------------------------------------------------------------


def _where(position: int, fields: Mapping[str, Any]) -> str:
    return f"rule {position} ({shown(fields['name'])})" if "name" in fields else f"rule {position}"


def _fields(value: object, known: Parsers) -> tuple[dict[str, Any], list[str]]:
    """The fields of a map that are right, and what is wrong with the others."""
    if not isinstance(value, Mapping):
        return {}, [f"takes a map with {', '.join(known)}, not {shown(value)}"]
    try:
        check_bounds(value)
    except DocumentError as error:
        return {}, [str(error)]
    fields: dict[str, Any] = {}
    wrong: list[str] = []
    for key, given in value.items():
        if key not in known:
            wrong.append(f"there is no key {shown(key)}{did_you_mean(str(key), known)}")
        elif given is not None:
            field, parse = known[key]
            try:
                fields[field] = parse(given)
            except UnfitError as unfit:
                wrong.append(f"{key} {unfit}")
    return fields, wrong


_LIMITS: Final = ("keep_newest", "keep_younger_than")


def _contradictions(fields: Mapping[str, Any], given: set[str]) -> list[str]:
    """Combinations of keys that cannot be meant.

    `given` are the keys that are set, also those whose values are wrong.
    """
    wrong = []
    limits = [key for key in _LIMITS if key in given]
    if not limits and "keep" not in given:
        wrong.append("has no condition that keeps a tag; add keep: all, keep_younger_than or keep_newest")
    if limits and "keep" in given:
        wrong.append(f"keep: all contradicts {' and '.join(limits)}; leave one of them out")
    if "keep_newest" not in given:
        counted = ("order", "variants", "prereleases")
        wrong += [f"{key} has no effect without keep_newest" for key in counted if key in given]
    elif fields.get("order") != "semver":
        wrong += [f"{key} has no effect without order: semver" for key in ("variants", "prereleases") if key in given]
    return wrong


# --- rules that others hide ------------------------------------------------------------------------------------------


def _hides(before: RetentionRule, after: RetentionRule) -> bool:
    """Whether every tag that `after` matches is matched by `before`, as far as the patterns show by themselves."""
    return _covers(before.streams, after.streams, "*/*") and _covers_tags(before.tags, after.tags)


def _covers_tags(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """As `_covers`. Attached tags are matched only by patterns that begin with `sha256-` (R35)."""
    attached = any(_is_attached_pattern(pattern) for pattern in after)
    if attached and not any(_is_attached_pattern(pattern) for pattern in before):
        return False
    if attached and not {pattern for pattern in after if _is_attached_pattern(pattern)} <= set(before):
        return False
    return _covers(before, after, "*")


def _is_attached_pattern(pattern: str) -> bool:
    return pattern.startswith("sha256-")


def _covers(before: tuple[str, ...], after: tuple[str, ...], everything: str) -> bool:
    if any(pattern.startswith("!") for pattern in before):
        # What is excluded before may be what the later rule is for.
        return set(before) == set(after)
    if not before or everything in before:
        return True
    included = {pattern for pattern in after if not pattern.startswith("!")}
    return bool(included) and included <= set(before)
