"""The rules: each looks at the facts of a plan and at its own options, and gives a message for every objection.

`RULES` is the only place that knows a rule's name, level, options and what it says; the pack and the table of
docs/policies.md are made from it. A limit that is not set does not apply. Messages name the images, the first few of
them, and count the rest.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from policies.amounts import Options, approval, max_bytes, max_images, max_percent
from policies.facts import Facts, streams
from policies.windows import parse_window
from policies.wording import NAMED, name, names, number, rest
from pruner.errors import PrunerError
from pruner.plan import UNVERIFIED, DeletedStream, StreamChange
from pruner.report.jsonl import read_report
from pruner.report.rows import ReportedImage
from pruner.report.wording import age, count, time

Level = Literal["advisory", "mandatory", "disabled"]


class Option(NamedTuple):
    """An option of a rule: its JSON schema, and what it is."""

    schema: dict[str, Any]
    about: str


class Rule(NamedTuple):
    """One rule: its level where the configuration gives none, and what it objects to.

    `judge` is None for the rule about plans that nothing is known of: there are no facts to judge then.
    """

    name: str
    level: Level
    about: str
    options: dict[str, Option]
    judge: Callable[[Facts, Options], Iterator[str]] | None


# --- what -----------------------------------------------------------------------------------------------------------


def protected_namespaces(facts: Facts, options: Options) -> Iterator[str]:
    for pattern in options.get("patterns") or ():
        images = [image for image in facts.touched if _any(streams(image), pattern, namespace=True)]
        yield from _protected(
            pattern, images, [change for change in facts.plan.streams if fnmatchcase(change.namespace, pattern)]
        )
        yield from _deleted(
            pattern, [each for each in facts.plan.empty_streams if fnmatchcase(each.namespace, pattern)]
        )


def protected_streams(facts: Facts, options: Options) -> Iterator[str]:
    for pattern in options.get("patterns") or ():
        images = [image for image in facts.touched if _any(streams(image), pattern)]
        yield from _protected(
            pattern, images, [change for change in facts.plan.streams if fnmatchcase(change.stream, pattern)]
        )
        yield from _deleted(pattern, [each for each in facts.plan.empty_streams if fnmatchcase(each.stream, pattern)])


def protected_tags(facts: Facts, options: Options) -> Iterator[str]:
    for pattern in options.get("patterns") or ():
        images = [
            image
            for image in facts.touched
            if _any({f"{named.stream}:{named.tag}" if ":" in pattern else named.tag for named in image.losing}, pattern)
        ]
        yield from _protected(pattern, images, [])


def _any(names: Iterable[str], pattern: str, *, namespace: bool = False) -> bool:
    return any(fnmatchcase(name.partition("/")[0] if namespace else name, pattern) for name in names)


def _protected(pattern: str, images: list[ReportedImage], changes: list[StreamChange]) -> Iterator[str]:
    if images:
        yield f"{pattern} is protected, and these would go: {names(images)}"
    elif changes:
        listed = ", ".join(change.stream for change in changes[:NAMED])
        yield f"{pattern} is protected, and links of these image streams would go: {listed}"


def _deleted(pattern: str, streams: list[DeletedStream]) -> Iterator[str]:
    if streams:
        listed = ", ".join(each.stream for each in streams[:NAMED])
        more = f" and {len(streams) - NAMED} more" if len(streams) > NAMED else ""
        yield f"{pattern} is protected, and these image streams would be deleted: {listed}{more}"


def least_age(facts: Facts, options: Options) -> Iterator[str]:
    days = options.get("days")
    if days is None:
        return
    limit = facts.plan.as_of - timedelta(days=days)
    young = [
        image
        for image in facts.touched
        if (not image.reason.kept and image.created is not None and image.created > limit)
        or any(named.created > limit for named in image.losing)
    ]
    if young:
        aged = ", ".join(f"{name(image)} ({_youngest(facts, image)})" for image in young[:NAMED])
        yield f"only what is older than {number(days)} days may go, and these are younger: {aged}{rest(young)}"


def _youngest(facts: Facts, image: ReportedImage) -> str:
    """The age that a rule looks at: of the image, or of a revision that goes, whichever is the younger."""
    moments = [named.created for named in image.losing]
    if not image.reason.kept and image.created is not None:
        moments.append(image.created)
    return age(facts.report, max(moments))


def only_copies(facts: Facts, options: Options) -> Iterator[str]:
    allowed = options.get("allow") or ()
    emptied = {
        (change.stream, tag)
        for change in facts.plan.streams
        for tag in change.removed_tags
        if not any(fnmatchcase(f"{change.stream}:{tag}", pattern) for pattern in allowed)
    }
    images = [image for image in facts.touched if any((each.stream, each.tag) in emptied for each in image.losing)]
    if images:
        yield f"these are all that {count(len(emptied), 'tag')} had, and the tags would go with them: {names(images)}"


def recently_running(facts: Facts, options: Options) -> Iterator[str]:
    days = options.get("days")
    if days is None:
        return
    since = facts.now - timedelta(days=days)
    paths = sorted({path for pattern in options.get("reports") or () for path in glob.glob(pattern, recursive=True)})
    if not paths:
        yield (
            "there is no earlier report that could say what was running: have previews write some, and name them in "
            f"`reports`. It would delete {names(facts.touched)}"
        )
        return
    found = [report for path in paths if (report := _seen(Path(path), facts.plan.cluster, since)) is not None]
    if not found:
        yield (
            f"none of {count(len(paths), 'earlier report')} tells of this cluster in the last {number(days)} days, so "
            f"that what ran is not known. It would delete {names(facts.touched)}"
        )
        return
    seen: dict[str, tuple[datetime, str]] = {}
    for as_of, pods in sorted(found, key=itemgetter(0)):
        seen.update((digest, (as_of, pod)) for digest, pod in pods.items())
    ran = [image for image in facts.touched if image.digest in seen]
    if ran:
        still_named = ", ".join(
            f"{name(each)} (by {seen[each.digest][1]}, {time(seen[each.digest][0])})" for each in ran[:NAMED]
        )
        yield f"these were seen running in the last {number(days)} days: {still_named}{rest(ran)}"


def _seen(path: Path, cluster: str, since: datetime) -> tuple[datetime, dict[str, str]] | None:
    """When the report was made, and by which pod each digest ran
    then; None where it does not tell of this cluster and time.
    """
    try:
        report = read_report(path)
    except OSError as error:
        raise PrunerError(f"the report {path} cannot be read: {error.strerror}") from None
    if report.decisions is None or report.plan.cluster != cluster or report.plan.as_of < since:
        return None
    pods = (
        (use.image, next((user for user in use.by if user.startswith("Pod ")), None)) for use in report.decisions.uses
    )
    return report.plan.as_of, {image: pod for image, pod in pods if pod is not None}


# --- how it was planned ---------------------------------------------------------------------------------------------


def references_of_oc(facts: Facts, _options: Options) -> Iterator[str]:
    if facts.settings.references == "oc":
        yield (
            "references is `oc`: fewer uses protect an image than with `extended`. "
            f"These would go: {names(facts.touched)}"
        )


def uses_from(facts: Facts, options: Options) -> Iterator[str]:
    wanted, clusters = options.get("clusters") or (), facts.uses.clusters
    if not wanted:
        return
    if clusters is None:
        yield (
            "uses_from cannot be read here, so which clusters it names is not known. "
            f"It would delete {names(facts.touched)}"
        )
        return
    missing = [pattern for pattern in wanted if not _any(clusters, pattern)]
    if missing:
        yield (
            f"uses_from names no cluster {', '.join(missing)}, so what is used there may be deleted. "
            f"It would delete {names(facts.touched)}"
        )


def keep_used_within(facts: Facts, options: Options) -> Iterator[str]:
    days, within = options.get("days"), facts.uses.within
    if days is None:
        return
    if within is None or within < timedelta(days=days):
        given = "not set" if within is None else f"{number(round(within / timedelta(days=1), 2))} days"
        yield (
            f"keep_used_within is {given}, and what ran in the last {number(days)} days must stay. "
            f"It would delete {names(facts.touched)}"
        )
    elif facts.uses.partial and not options.get("partial"):
        yield (
            "usage_history sets partial_history, so what ran before the history begins is not known. "
            f"It would delete {names(facts.touched)}"
        )


def ignored_references(facts: Facts, _options: Options) -> Iterator[str]:
    if facts.settings.ignore_invalid_refs:
        ignored = [note for note in facts.notes if note.startswith("ignored: ")]
        which = f": {'; '.join(ignored[:NAMED])}" if ignored else ""
        more = f" and {len(ignored) - NAMED} more" if len(ignored) > NAMED else ""
        yield (
            "ignore_invalid_refs is set: what these references use is not known, "
            f"and may be among what is pruned{which}{more}"
        )


def certificates(facts: Facts, _options: Options) -> Iterator[str]:
    settings, registry = facts.settings, facts.plan.registry
    if not settings.certs_validated:
        yield "validate_certs is false: whoever answers is believed to be the cluster"
    if not settings.registry_certs_validated and settings.certs_validated:
        yield "registry_validate_certs is false: whoever answers is believed to be the registry"
    if (settings.host or "").startswith("http://"):
        yield f"the API server is asked without TLS: {settings.host}"
    yield from (note for note in facts.notes if note.startswith(UNVERIFIED))
    if registry is not None and registry.url.startswith("http://"):
        yield f"the registry is asked without TLS: {registry.url}"


def plan_age(facts: Facts, options: Options) -> Iterator[str]:
    hours = options.get("hours")
    if hours is None:
        return
    limit = timedelta(hours=hours)
    if facts.unbound:
        yield (
            "approved_plan is given without approved_digest, so the date in it is anybody's word; give the digest of "
            f"the file that was reviewed. It would delete {names(facts.touched)}"
        )
    if facts.approved is not None and facts.now - facts.approved.as_of > limit:
        yield (
            f"the approved plan is of {time(facts.approved.as_of)}, and may be {number(hours)} hours old: have it "
            f"reviewed again. It would delete {names(facts.touched)}"
        )
    if facts.now - facts.plan.as_of > limit:
        yield (
            f"as_of is {time(facts.plan.as_of)}, and may be {number(hours)} hours ago. "
            f"It would delete {names(facts.touched)}"
        )


# --- when, and who has looked ----------------------------------------------------------------------------------------


def maintenance_window(facts: Facts, options: Options) -> Iterator[str]:
    # Read at preview too, so that a malformed window shows there, and not only when the change is due.
    windows = [parse_window(text) for text in options.get("windows") or ()]
    zone = options.get("timezone") or "UTC"
    try:
        local = facts.now.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        raise PrunerError(f"timezone: there is no time zone {zone!r}") from None
    if not windows or (facts.preview and not options.get("previews")):
        return
    if not any(window.contains(local) for window in windows):
        yield (
            f"it is {local:%a %H:%M} in {zone}, outside of the maintenance windows ({', '.join(options['windows'])}). "
            f"It would delete {names(facts.touched)}"
        )


# --- the table -------------------------------------------------------------------------------------------------------

_COUNT: Final = {"type": "integer", "minimum": 0}
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 100}
_BYTES: Final = {"type": ["integer", "string"]}
_PATTERNS: Final = {"type": "array", "items": {"type": "string"}, "default": []}
_PREVIEWS: Final = Option({"type": "boolean", "default": False}, "object at preview as well, not at up only")

RULES: Final[tuple[Rule, ...]] = (
    Rule("max-images", "mandatory", "No run deletes, or retires, more images than this.",
        {"limit": Option(_COUNT, "most images"), "per_namespace": Option(_COUNT, "most images of one namespace"),
         "retired": Option(_COUNT, "most images that are retired instead of deleted")},
        max_images),
    Rule("max-bytes", "mandatory", "No run frees more than this.",
        {"limit": Option(_BYTES, "most bytes, like 500MB or 2GiB"),
         "per_namespace": Option(_BYTES, "most bytes of one namespace"),
         "refuse_unknown_sizes": Option({"type": "boolean", "default": False},
            "object to manifests and configs of unknown size too, not to layers only")},
        max_bytes),
    Rule("max-percent", "mandatory", "No run deletes a larger share of the images than this.",
        {"limit": Option(_SHARE, "percent of all images"),
         "per_namespace": Option(_SHARE, "percent of the images of one namespace")},
        max_percent),
    Rule("protected-namespaces", "mandatory", "Nothing in these namespaces is pruned.",
        {"patterns": Option(_PATTERNS, "names of namespaces, with * and ?")}, protected_namespaces),
    Rule("protected-streams", "mandatory", "Nothing of these image streams is pruned.",
        {"patterns": Option(_PATTERNS, "namespace/stream, with * and ?")}, protected_streams),
    Rule("protected-tags", "mandatory", "No revision of these tags is pruned.",
        {"patterns": Option(_PATTERNS, "tags like v*, or namespace/stream:tag, with * and ?")}, protected_tags),
    Rule("least-age", "mandatory", "Nothing younger than this is pruned.",
        {"days": Option({"type": "number", "minimum": 0}, "least age in days")}, least_age),
    Rule("only-copies", "advisory", "No tag loses its last image.",
        {"allow": Option(_PATTERNS, "namespace/stream:tag that may, with * and ?")}, only_copies),
    Rule("recently-running", "mandatory", "No image is pruned that a pod ran lately, as earlier reports have seen it.",
        {"days": Option({"type": "number", "minimum": 0}, "how many days back"),
         "reports": Option(_PATTERNS, "files that earlier previews have written (parameter report), with * and **")},
        recently_running),
    Rule("unknown-plan", "advisory", "No preview passes that has no plan yet.", {}, None),
    Rule("references-oc", "advisory", "All uses protect an image, not only those that oc knows.", {}, references_of_oc),
    Rule("uses-from", "mandatory", "What these clusters use is kept.",
        {"clusters": Option(_PATTERNS, "names of clusters that uses_from has, with * and ?")}, uses_from),
    Rule("keep-used-within", "mandatory", "What ran lately is kept, by the history that the run asks.",
        {"days": Option({"type": "number", "minimum": 0}, "least days of keep_used_within"),
         "partial": Option({"type": "boolean", "default": False}, "accept a shorter history (partial_history)")},
        keep_used_within),
    Rule("ignored-references", "advisory", "No reference that does not parse is passed over.", {}, ignored_references),
    Rule("certificates", "advisory", "Cluster and registry prove who they are.", {}, certificates),
    Rule("plan-age", "mandatory", "No plan is carried out that is older than this.",
        {"hours": Option({"type": "number", "minimum": 0, "default": 72}, "most hours between review and up")},
        plan_age),
    Rule("maintenance-window", "mandatory", "Changes are made inside of maintenance windows only.",
        {"windows": Option(_PATTERNS, "like `mon-fri 22:00-05:00` or `sat 00:00-24:00`"),
         "timezone": Option({"type": "string", "default": "UTC"}, "name of a time zone, like Europe/Vienna"),
         "previews": _PREVIEWS},
        maintenance_window),
    Rule("approval", "mandatory", "What is larger than this is carried out by an approved plan only.",
        {"images": Option(_COUNT, "most images without approval"),
         "bytes": Option(_BYTES, "most bytes without approval"),
         "previews": _PREVIEWS},
        approval),
)  # fmt: skip
