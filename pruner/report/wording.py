"""Words and numbers as all reports write them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from rich.filesize import decimal

from pruner.plan import PrunePlan
from pruner.report.model import Outcome, Report

_SHORT: Final = 12


def size(number: int) -> str:
    """Bytes in decimal units, as a person reads them."""
    return decimal(number)


def count(number: int, what: str) -> str:
    """How many of what there are, with narrow spaces between groups of three digits: `1 blob`, `12 000 blobs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def short(digest: str) -> str:
    """A digest as `sha256:` and its first characters; enough to find it by."""
    algorithm, _, hexadecimal = digest.partition(":")
    return f"{algorithm}:{hexadecimal[:_SHORT]}"


def time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def age(report: Report, moment: datetime | None) -> str:
    """How old something was when the plan was made: days, and hours below two days."""
    if moment is None:
        return "unknown"
    hours = int((report.plan.as_of - moment).total_seconds() // 3600)
    return f"{hours} h" if hours < 48 else f"{hours // 24} d"


def removed_from(declared: bool) -> str:
    """Which parts of an image stream a tag that expires is removed from."""
    return "spec and status" if declared else "status"


def headline(plan: PrunePlan) -> str:
    """One line: how much of what the plan deletes."""
    if plan.empty:
        return "Nothing to prune"
    summary = plan.summary
    parts = [
        f"{count(summary.revisions, 'revision')} of {count(summary.image_streams, 'image stream')}",
        count(summary.images, "image"),
        count(summary.blobs, "blob"),
        *([count(summary.expired_tags, "expired tag")] if summary.expired_tags else []),
        *([count(summary.empty_streams, "empty image stream")] if summary.empty_streams else []),
    ]
    if summary.retired_images:
        parts.append(f"{count(summary.retired_images, 'image')} retired")
    if summary.needed_again:
        parts.append(f"{count(summary.needed_again, 'image')} needed again")
    later = f", {size(summary.retired_bytes)} later" if summary.retired_images else ""
    unknown = f" and {count(summary.unmeasured, 'blob')} of unknown size" if summary.unmeasured else ""
    return f"{', '.join(parts)}: {size(summary.bytes)}{unknown}{later}"


def outcome_line(outcome: Outcome) -> str:
    """One line: how much of what was deleted."""
    done = outcome.summary
    streams = f", {count(done.empty_streams, 'empty image stream')}" if done.empty_streams else ""
    line = (
        f"{count(done.revisions, 'revision')}{streams}, {count(done.images, 'image')} and {count(done.blobs, 'blob')} "
        f"deleted: {size(done.bytes)} freed"
    )
    if done.retired_images:
        line += f", {count(done.retired_images, 'image')} retired"
    if outcome.skipped:
        line += f", {len(outcome.skipped)} skipped"
    return line + (f", {len(outcome.failures)} FAILED" if outcome.failures else "")


def restart_line(outcome: Outcome) -> str:
    """One line on the restart of the registry that deleted blobs call for; empty where none is needed."""
    restart = outcome.registry_restart
    if restart is None:
        return ""
    if restart.done:
        return f"the registry's {restart.replicas} replicas were restarted, so that none of them caches deleted blobs"
    if restart.replicas is None:
        return (
            "the registry's replicas cannot be seen; if there are several, "
            f"pushes can fail until they are restarted: {restart.command}"
        )
    return (
        f"each of the registry's {restart.replicas} replicas caches which blobs there are, so pushes can fail until "
        f"they are restarted: {restart.command}"
    )


def rules(report: Report) -> list[tuple[str, str]]:
    """The rules that the plan was made with, as name and value."""
    return [(name, _value(name, value)) for name, value in sorted(report.plan.rules.items())]


def _value(name: str, value: object) -> str:
    if value is None:
        return "does not apply" if name.startswith("keep_") else "all" if name == "namespace" else "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        # Of a retention rule its name stands for it.
        return ", ".join(str(each["name"] if isinstance(each, dict) else each) for each in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(key, each)}" for key, each in value.items())
    return f"{value} minutes" if name in ("keep_younger_than", "older_than", "grace") else str(value)
