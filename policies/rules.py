"""The rules: each looks at the facts of a plan and at its own options, and gives a message for everything that it objects to.

`RULES` is the only place that knows a rule's name, level, options and what it says; the pack and the table of docs/policies.md are
made from it. A limit that is not set does not apply. Messages name the images, the first few of them, and count the rest.
"""

from __future__ import annotations

import glob
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from policies.facts import Facts
from policies.windows import parse_window
from pruner.errors import PrunerError
from pruner.plan import StreamChange
from pruner.report.jsonl import read_report
from pruner.report.model import NO_STREAM, ReportedImage
from pruner.report.wording import age, count, printable, short, size, time

NAMED: Final = 10
"""Images that a message names."""

Level = Literal["advisory", "mandatory", "disabled"]
Options = Mapping[str, Any]


class Option(NamedTuple):
    """An option of a rule: its JSON schema, and what it is."""

    schema: dict[str, Any]
    about: str


class Rule(NamedTuple):
    """One rule: its level where the configuration gives none, and what it objects to."""

    name: str
    level: Level
    about: str
    options: dict[str, Option]
    judge: Callable[[Facts, Options], Iterator[str]]


# --- how much -------------------------------------------------------------------------------------------------------


def max_images(facts: Facts, options: Options) -> Iterator[str]:
    images = _deleted(facts)
    yield from _over(len(images), options.get("limit"), "images", images)
    for namespace, of_it in _by_namespace(images).items():
        yield from _over(len(of_it), options.get("per_namespace"), f"images of namespace {namespace}", of_it)


def max_bytes(facts: Facts, options: Options) -> Iterator[str]:
    images = _deleted(facts)
    freed: defaultdict[str, int] = defaultdict(int)
    for each in facts.report.streams:
        freed[each.namespace if each.stream != NO_STREAM else NO_STREAM] += each.bytes
    limit, by_namespace = _bytes(options, "limit"), _bytes(options, "per_namespace")
    if limit is not None and facts.plan.summary.bytes > limit:
        yield f"would free {size(facts.plan.summary.bytes)}, and {size(limit)} are allowed: {_names(images)}"
    if limit is not None and options.get("refuse_unknown_sizes") and facts.plan.summary.unmeasured:
        yield f"the size of {count(facts.plan.summary.unmeasured, 'blob')} is not known, so that the limit cannot be checked"
    for namespace, number in sorted(freed.items()):
        if by_namespace is not None and number > by_namespace:
            of_it = [image for image in images if (image.namespace or NO_STREAM) == namespace]
            yield f"would free {size(number)} of namespace {namespace}, and {size(by_namespace)} are allowed: {_names(of_it)}"


def max_percent(facts: Facts, options: Options) -> Iterator[str]:
    limit, by_namespace = options.get("limit"), options.get("per_namespace")
    if limit is None and by_namespace is None:
        return
    if facts.report.decisions is None:
        yield "how many images the cluster has is not known, since the plan was kept without what stays"
        return
    images = _deleted(facts)
    whole = len(images) + len(facts.report.decisions.images)
    yield from _over_share(images, whole, limit, "images")
    staying: defaultdict[str, int] = defaultdict(int)
    for image in facts.report.images:
        staying[image.namespace or NO_STREAM] += image.reason.kept
    for namespace, of_it in _by_namespace(images).items():
        whole = len(of_it) + staying[namespace]
        yield from _over_share(of_it, whole, by_namespace, f"images of namespace {namespace}")


def _over(number: int, limit: float | None, what: str, images: Iterable[ReportedImage]) -> Iterator[str]:
    if limit is not None and number > limit:
        yield f"would delete {number} {what}, and {_number(limit)} are allowed: {_names(images)}"


def _over_share(images: list[ReportedImage], whole: int, limit: float | None, what: str) -> Iterator[str]:
    if limit is not None and whole and 100 * len(images) > limit * whole:
        share = 100 * len(images) / whole
        yield f"would delete {share:.1f}% of the {whole} {what}, and {_number(limit)}% are allowed: {_names(images)}"


# --- what -----------------------------------------------------------------------------------------------------------


def protected_namespaces(facts: Facts, options: Options) -> Iterator[str]:
    for pattern in options.get("patterns") or ():
        images = [
            image
            for image in facts.report.going
            if any(fnmatchcase(stream.partition("/")[0], pattern) for stream in _streams(image))
        ]
        links = [change for change in facts.plan.streams if fnmatchcase(change.namespace, pattern)]
        yield from _protected(pattern, images, links)


def protected_streams(facts: Facts, options: Options) -> Iterator[str]:
    for pattern in options.get("patterns") or ():
        images = [
            image for image in facts.report.going if any(fnmatchcase(stream, pattern) for stream in _streams(image))
        ]
        links = [change for change in facts.plan.streams if fnmatchcase(change.stream, pattern)]
        yield from _protected(pattern, images, links)


def protected_tags(facts: Facts, options: Options) -> Iterator[str]:
    for pattern in options.get("patterns") or ():
        images = []
        for image in facts.report.going:
            tags = [(named.stream, named.tag) for named in image.named_by if not named.reason.kept]
            if any(fnmatchcase(f"{stream}:{tag}" if ":" in pattern else tag, pattern) for stream, tag in tags):
                images.append(image)
        yield from _protected(pattern, images, [])


def _streams(image: ReportedImage) -> set[str]:
    """The image stream that it belongs to, and those that a revision goes from with it."""
    return {image.home, *(named.stream for named in image.named_by if not named.reason.kept)}


def _protected(pattern: str, images: list[ReportedImage], changes: list[StreamChange]) -> Iterator[str]:
    if images:
        yield f"{pattern} is protected, and these would go: {_names(images)}"
    elif changes:
        names = ", ".join(printable(change.stream) for change in changes[:NAMED])
        yield f"{pattern} is protected, and links of these image streams would go: {names}"


def least_age(facts: Facts, options: Options) -> Iterator[str]:
    days = options.get("days")
    if days is None:
        return
    limit = facts.plan.as_of - timedelta(days=days)
    young = [
        image
        for image in facts.report.going
        if (image.created is not None and image.created > limit)
        or any(named.created > limit for named in image.named_by if not named.reason.kept)
    ]
    if young:
        aged = ", ".join(f"{_name(image)} ({age(facts.report, image.created)})" for image in young[:NAMED])
        yield f"only what is older than {_number(days)} days may go, and these are younger: {aged}{_rest(young)}"


def only_copies(facts: Facts, options: Options) -> Iterator[str]:
    allowed = options.get("allow") or ()
    emptied = {
        (change.stream, tag)
        for change in facts.plan.streams
        for tag in change.removed_tags
        if not any(fnmatchcase(f"{change.stream}:{tag}", pattern) for pattern in allowed)
    }
    images = [
        image
        for image in facts.report.going
        if any((named.stream, named.tag) in emptied and not named.reason.kept for named in image.named_by)
    ]
    if images:
        yield f"these are all that {count(len(emptied), 'tag')} had, and the tags would go with them: {_names(images)}"


def recently_running(facts: Facts, options: Options) -> Iterator[str]:
    days = options.get("days")
    if days is None:
        return
    since = facts.now - timedelta(days=days)
    paths = sorted({path for pattern in options.get("reports") or () for path in glob.glob(pattern, recursive=True)})
    if not paths:
        yield "there is no earlier report that could say what was running: have previews write some, and name them in `reports`"
        return
    seen: dict[str, tuple[datetime, str]] = {}
    for path in paths:
        seen |= _seen_running(Path(path), since, facts.plan.cluster, seen)
    ran = [image for image in facts.report.going if image.digest in seen]
    if ran:
        told = ", ".join(
            f"{_name(each)} (by {seen[each.digest][1]}, {time(seen[each.digest][0])})" for each in ran[:NAMED]
        )
        yield f"these were seen running in the last {_number(days)} days: {told}{_rest(ran)}"


def _seen_running(
    path: Path, since: datetime, cluster: str, earlier: Mapping[str, tuple[datetime, str]]
) -> dict[str, tuple[datetime, str]]:
    """When and by which pod each digest was last seen running, as far as the report at `path` is later than what is known."""
    try:
        report = read_report(path)
    except OSError as error:
        raise PrunerError(f"the report {path} cannot be read: {error.strerror}") from None
    seen: dict[str, tuple[datetime, str]] = {}
    if report.decisions is None or report.plan.cluster != cluster or report.plan.as_of < since:
        return seen
    for use in report.decisions.uses:
        pod = next((user for user in use.by if user.startswith("Pod ")), None)
        known = earlier.get(use.image)
        if pod is not None and (known is None or known[0] < report.plan.as_of):
            seen[use.image] = (report.plan.as_of, printable(pod))
    return seen


# --- how it was planned ---------------------------------------------------------------------------------------------


def references_of_oc(facts: Facts, _options: Options) -> Iterator[str]:
    if facts.plan.rules.get("references") == "oc":
        yield f"references is `oc`: fewer uses protect an image than with `extended`. These would go: {_names(facts.report.going)}"


def ignored_references(facts: Facts, _options: Options) -> Iterator[str]:
    if facts.plan.rules.get("ignore_invalid_refs"):
        ignored = [printable(note) for note in facts.plan.notes if note.startswith("ignored: ")]
        which = f": {'; '.join(ignored[:NAMED])}" if ignored else ""
        yield f"ignore_invalid_refs is set: what these references use is not known, and may be among what goes{which}"


def certificates(facts: Facts, _options: Options) -> Iterator[str]:
    settings, registry = facts.settings, facts.plan.registry
    if not settings.certs_validated:
        yield "validate_certs is false: whoever answers is believed to be the cluster"
    if not settings.registry_certs_validated and settings.certs_validated:
        yield "registry_validate_certs is false: whoever answers is believed to be the registry"
    if (settings.host or "").startswith("http://"):
        yield f"the API server is asked without TLS: {settings.host}"
    if registry is not None and registry.url.startswith("http://"):
        yield f"the registry is asked without TLS: {printable(registry.url)}"


def plan_age(facts: Facts, options: Options) -> Iterator[str]:
    hours = options.get("hours")
    if hours is None:
        return
    limit = timedelta(hours=hours)
    if facts.approved is not None and facts.now - facts.approved.as_of > limit:
        yield (
            f"the approved plan is of {time(facts.approved.as_of)}, and may be {_number(hours)} hours old: have it reviewed again. "
            f"It would delete {_names(facts.report.going)}"
        )
    if facts.now - facts.plan.as_of > limit:
        yield f"as_of is {time(facts.plan.as_of)}, and may be {_number(hours)} hours ago. It would delete {_names(facts.report.going)}"


# --- when, and who has looked ----------------------------------------------------------------------------------------


def maintenance_window(facts: Facts, options: Options) -> Iterator[str]:
    windows = options.get("windows") or ()
    if not windows or (facts.preview and not options.get("previews")):
        return
    name = options.get("timezone") or "UTC"
    try:
        local = facts.now.astimezone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError):
        raise PrunerError(f"timezone: there is no time zone {name!r}") from None
    if not any(parse_window(text).contains(local) for text in windows):
        yield (
            f"it is {local:%a %H:%M} in {name}, outside of the maintenance windows ({', '.join(windows)}). "
            f"It would delete {_names(facts.report.going)}"
        )


def approval(facts: Facts, options: Options) -> Iterator[str]:
    if facts.approved is not None or (facts.preview and not options.get("previews")):
        return
    images, limit = options.get("images"), _bytes(options, "bytes")
    summary = facts.plan.summary
    if (images is not None and summary.images > images) or (limit is not None and summary.bytes > limit):
        yield (
            f"{count(summary.images, 'image')} and {size(summary.bytes)} need an approved plan (approved_plan): "
            f"{_names(facts.report.going)}"
        )


# --- words and numbers ----------------------------------------------------------------------------------------------


def _deleted(facts: Facts) -> list[ReportedImage]:
    """Images that go, without revisions whose Image object is absent anyway."""
    return [image for image in facts.report.going if image.created is not None]


def _by_namespace(images: Iterable[ReportedImage]) -> dict[str, list[ReportedImage]]:
    found: defaultdict[str, list[ReportedImage]] = defaultdict(list)
    for image in images:
        found[image.namespace or NO_STREAM].append(image)
    return dict(sorted(found.items()))


def _name(image: ReportedImage) -> str:
    return f"{printable(image.name)} {short(image.digest)}".strip()


def _number(value: float) -> str:
    """A number as it was configured; the engine hands out floats."""
    return str(int(value)) if value == int(value) else str(value)


def _names(images: Iterable[ReportedImage]) -> str:
    listed = list(images)
    return ", ".join(_name(image) for image in listed[:NAMED]) + _rest(listed)


def _rest(images: list[ReportedImage]) -> str:
    return f" and {len(images) - NAMED} more" if len(images) > NAMED else ""


_UNITS: Final = {
    unit: factor
    for power, letter in enumerate("KMGTP", start=1)
    for unit, factor in (
        (f"{letter}B", 1000**power),
        (f"{letter}IB", 1024**power),
        (f"{letter}I", 1024**power),
        (letter, 1000**power),
    )
}


def _bytes(options: Options, name: str) -> int | None:
    """An option as bytes: a number, or one with a unit, `500MB` or `2GiB`. Raises PrunerError for what is none."""
    value = options.get(name)
    if value is None:
        return None
    text = str(value).strip().upper()
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit)), "")
    try:
        number = Decimal(text.removesuffix(unit).strip() or "none") * _UNITS.get(unit, 1)
    except InvalidOperation:
        raise PrunerError(f"{name}: takes bytes, a number or one like 500MB or 2GiB, not {value!r}") from None
    return int(number)


# --- the table -------------------------------------------------------------------------------------------------------

_COUNT: Final = {"type": "integer", "minimum": 0}
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 100}
_BYTES: Final = {"type": ["integer", "string"]}
_PATTERNS: Final = {"type": "array", "items": {"type": "string"}, "default": []}
_PREVIEWS: Final = Option({"type": "boolean", "default": False}, "object at preview as well, not at up only")

RULES: Final[tuple[Rule, ...]] = (
    Rule("max-images", "mandatory", "No run deletes more images than this.",
        {"limit": Option(_COUNT, "most images"), "per_namespace": Option(_COUNT, "most images of one namespace")},
        max_images),
    Rule("max-bytes", "mandatory", "No run frees more than this.",
        {"limit": Option(_BYTES, "most bytes, like 500MB or 2GiB"),
         "per_namespace": Option(_BYTES, "most bytes of one namespace"),
         "refuse_unknown_sizes": Option({"type": "boolean", "default": False},
            "object to blobs of unknown size, which could go past the limit")},
        max_bytes),
    Rule("max-percent", "mandatory", "No run deletes a larger share of the images than this.",
        {"limit": Option(_SHARE, "percent of all images"),
         "per_namespace": Option(_SHARE, "percent of the images of one namespace")},
        max_percent),
    Rule("protected-namespaces", "mandatory", "Nothing of these namespaces goes.",
        {"patterns": Option(_PATTERNS, "names of namespaces, with * and ?")}, protected_namespaces),
    Rule("protected-streams", "mandatory", "Nothing of these image streams goes.",
        {"patterns": Option(_PATTERNS, "namespace/stream, with * and ?")}, protected_streams),
    Rule("protected-tags", "mandatory", "No revision of these tags goes.",
        {"patterns": Option(_PATTERNS, "tags like v*, or namespace/stream:tag, with * and ?")}, protected_tags),
    Rule("least-age", "mandatory", "Nothing younger than this goes.",
        {"days": Option({"type": "number", "minimum": 0}, "least age in days")}, least_age),
    Rule("only-copies", "advisory", "No tag loses its last image.",
        {"allow": Option(_PATTERNS, "namespace/stream:tag that may, with * and ?")}, only_copies),
    Rule("recently-running", "mandatory", "Nothing goes that a pod ran lately, as earlier reports have seen it.",
        {"days": Option({"type": "number", "minimum": 0}, "how many days back"),
         "reports": Option(_PATTERNS, "files that earlier previews have written (parameter report), with * and **")},
        recently_running),
    Rule("references-oc", "advisory", "All uses protect an image, not only those that oc knows.", {}, references_of_oc),
    Rule("ignored-references", "advisory", "No reference that does not parse is passed over.", {}, ignored_references),
    Rule("certificates", "advisory", "Cluster and registry prove who they are.", {}, certificates),
    Rule("plan-age", "mandatory", "No plan is carried out that is older than this.",
        {"hours": Option({"type": "number", "minimum": 0, "default": 72}, "most hours between review and up")}, plan_age),
    Rule("maintenance-window", "mandatory", "Changes are made inside of maintenance windows only.",
        {"windows": Option(_PATTERNS, "like `mon-fri 22:00-05:00` or `sat 00:00-24:00`"),
         "timezone": Option({"type": "string", "default": "UTC"}, "name of a time zone, like Europe/Vienna"),
         "previews": _PREVIEWS},
        maintenance_window),
    Rule("approval", "mandatory", "What is larger than this is carried out by an approved plan only.",
        {"images": Option(_COUNT, "most images without approval"), "bytes": Option(_BYTES, "most bytes without approval"),
         "previews": _PREVIEWS},
        approval),
)  # fmt: skip
