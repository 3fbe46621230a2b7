"""The report as metrics, in OpenMetrics text: for node_exporter's textfile collector, or a push gateway.

All of them are gauges, since each run tells of itself and not of those before it. That keeps the text readable for
collectors of the older Prometheus format too, which know no other type of OpenMetrics by the same name. docs/metrics.md
describes each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec

from pruner.printable import printable
from pruner.report.expired import expired_tags, retention_sums
from pruner.report.model import Report

Sample = tuple[dict[str, str], int]

METRICS: Final[dict[str, tuple[str, str]]] = {
    "pruner_plan_timestamp_seconds": (
        "seconds",
        "The time that ages in the plan are measured against, in seconds since 1970.",
    ),
    "pruner_plan_empty": ("", "1 if there is nothing to prune, else 0."),
    "pruner_planned_objects": ("", "Objects to be pruned, by kind."),
    "pruner_planned_bytes": ("bytes", "Bytes to be freed, as far as sizes are known."),
    "pruner_planned_retired_bytes": (
        "bytes",
        "Bytes of images to be retired, which are freed when their grace is over; as far as sizes are known.",
    ),
    "pruner_planned_unmeasured_blobs": ("", "Blobs to be deleted whose size is unknown."),
    "pruner_planned_namespace_images": ("", "Images to be pruned, by namespace."),
    "pruner_planned_namespace_bytes": ("bytes", "Bytes to be freed, by namespace; shared blobs count once."),
    "pruner_planned_expired_tags": ("", "Tags that expire, by retention rule."),
    "pruner_kept_objects": ("", "Objects that are kept, by kind and the rule that keeps them."),
    "pruner_run_success": ("", "1 if a plan was carried out without failures, 0 otherwise."),
    "pruner_deleted_objects": ("", "Deleted objects, by kind."),
    "pruner_retired_images": ("", "Images that were retired, and are deleted by a later run."),
    "pruner_needed_again_images": ("", "Retired images that were named or used again, and lost their record."),
    "pruner_freed_bytes": ("bytes", "Bytes that were freed, as far as sizes are known."),
    "pruner_skipped_objects": ("", "Objects that were planned and skipped, since they came into use."),
    "pruner_failed_objects": ("", "Deletions that failed."),
    "pruner_registry_restart_needed": (
        "",
        "1 if the registry has several replicas, or their number is unknown, and was not restarted, else 0.",
    ),
}
"""Unit and help of every metric, in the order of the output."""


def openmetrics(report: Report) -> str:
    """All metrics of the report, `# EOF` at their end."""
    lines = []
    for name, samples in _samples(report).items():
        if not samples:
            continue
        unit, about = METRICS[name]
        lines.append(f"# TYPE {name} gauge")
        if unit:
            lines.append(f"# UNIT {name} {unit}")
        lines.append(f"# HELP {name} {about}")
        lines.extend(
            f"{name}{_labels({'cluster': report.plan.cluster, **labels})} {value}" for labels, value in samples
        )
    return "\n".join([*lines, "# EOF", ""])


def _samples(report: Report) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {name: [] for name in METRICS}
    for part in (_of_plan(report), _of_kept(report), _of_outcome(report)):
        for name, labels, value in part:
            found[name].append((labels, value))
    return found


def _of_plan(report: Report) -> Iterator[tuple[str, dict[str, str], int]]:
    plan, summary = report.plan, report.plan.summary
    yield "pruner_plan_timestamp_seconds", {}, int(plan.as_of.timestamp())
    yield "pruner_plan_empty", {}, int(plan.empty)
    for kind in (
        "image_streams",
        "revisions",
        "images",
        "blobs",
        "layer_links",
        "manifest_links",
        "expired_tags",
        "empty_streams",
        "retired_images",
        "needed_again",
    ):
        yield "pruner_planned_objects", {"kind": kind}, getattr(summary, kind)
    yield "pruner_planned_bytes", {}, summary.bytes
    yield "pruner_planned_retired_bytes", {}, summary.retired_bytes
    yield "pruner_planned_unmeasured_blobs", {}, summary.unmeasured
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for each in report.streams:
        namespace = each.namespace if "/" in each.stream else ""
        sums[namespace][0] += each.images
        sums[namespace][1] += each.bytes
    for namespace in sorted(sums):
        images, freed = sums[namespace]
        yield "pruner_planned_namespace_images", {"namespace": namespace}, images
        yield "pruner_planned_namespace_bytes", {"namespace": namespace}, freed
    for rule in retention_sums(report, expired_tags(plan)):
        yield "pruner_planned_expired_tags", {"retention": rule.retention}, rule.expired


def _of_kept(report: Report) -> Iterator[tuple[str, dict[str, str], int]]:
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for each in report.kept_by:
        counts["images", each.rule] += each.images
        counts["revisions", each.rule] += each.revisions
    for (kind, rule), number in sorted(counts.items()):
        if number:
            yield "pruner_kept_objects", {"kind": kind, "rule": rule}, number


def _of_outcome(report: Report) -> Iterator[tuple[str, dict[str, str], int]]:
    outcome = report.outcome
    if outcome is None:
        return
    yield "pruner_run_success", {}, int(not outcome.failures)
    for kind, number in msgspec.to_builtins(outcome.summary).items():
        if kind == "bytes":
            yield "pruner_freed_bytes", {}, number
        elif kind == "retired_images":
            yield "pruner_retired_images", {}, number
        elif kind == "needed_again":
            yield "pruner_needed_again_images", {}, number
        else:
            yield "pruner_deleted_objects", {"kind": kind}, number
    yield "pruner_skipped_objects", {}, len(outcome.skipped)
    yield "pruner_failed_objects", {}, len(outcome.failures)
    restart = outcome.registry_restart
    yield "pruner_registry_restart_needed", {}, int(restart is not None and not restart.done)


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """The value, printable and quoted; a line break cannot be in it any more."""
    return printable(value).replace("\\", "\\\\").replace('"', '\\"')
