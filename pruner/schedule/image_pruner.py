"""Translates OpenShift's ImagePruner, the operator's own
pruning schedule, into the settings and the schedule of pruner.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pruner.errors import Problem, SettingsError
from pruner.schedule.manifests import Json, Schedule
from pruner.settings import UnfitError
from pruner.settings.durations import minutes_of_go

IMAGE_PRUNER: Final = ("imageregistry.operator.openshift.io/v1", "ImagePruner", "cluster")
"""API version, kind and name: https://docs.openshift.com/container-platform/latest/applications/pruning-objects.html"""
SUSPENDED_BEFORE: Final = "pruner/suspended-before"
"""Annotation of the ImagePruner: whether it was already suspended when it was taken over."""


class TakenOver(msgspec.Struct, frozen=True):
    """An ImagePruner's spec as settings and fields of `Schedule`. `notes` name what has no counterpart."""

    settings: Json
    options: Json
    notes: tuple[str, ...] = ()

    def applied_to(self, schedule: Schedule) -> Schedule:
        """The schedule, with the ImagePruner's values for everything that is left at its default."""
        options = {name: value for name, value in self.options.items() if getattr(schedule, name) == _default(name)}
        return msgspec.structs.replace(schedule, settings={**self.settings, **schedule.settings}, **options)


def _default(name: str) -> Any:
    return getattr(Schedule(image=""), name)


def taken_over(spec: Mapping[str, Any]) -> TakenOver:
    """Map the spec of an `imagepruners.imageregistry.operator.openshift.io`.

    Raises SettingsError for an invalid duration.
    """
    settings: Json = {}
    notes: list[str] = []
    if spec.get("keepTagRevisions") is not None:
        settings["keep_tag_revisions"] = int(spec["keepTagRevisions"])
    if spec.get("keepYoungerThanDuration"):
        settings["keep_younger_than"] = _minutes(str(spec["keepYoungerThanDuration"]))
    elif spec.get("keepYoungerThan"):
        # Nanoseconds; deprecated by the operator.
        settings["keep_younger_than"] = math.ceil(float(spec["keepYoungerThan"]) / 60e9)
    if spec.get("ignoreInvalidImageReferences"):
        settings["ignore_invalid_refs"] = True
    options = {
        ours: spec[theirs] for theirs, ours in _COUNTERPARTS.items() if spec.get(theirs) not in (None, "", {}, [])
    }
    for name in ("successful_jobs", "failed_jobs"):
        if name in options:
            options[name] = int(options[name])
    if "tolerations" in options:
        options["tolerations"] = tuple(options["tolerations"])
    notes.extend(
        f"{name} has no counterpart and is ignored"
        for name in ("logLevel",)
        if spec.get(name) not in (None, "", "Normal")
    )
    unknown = sorted(spec.keys() - _COUNTERPARTS.keys() - _MAPPED)
    notes.extend(f"{name} is unknown and is ignored" for name in unknown)
    return TakenOver(settings, options, tuple(notes))


_COUNTERPARTS: Final = {
    "schedule": "schedule",
    "suspend": "suspend",
    "successfulJobsHistoryLimit": "successful_jobs",
    "failedJobsHistoryLimit": "failed_jobs",
    "nodeSelector": "node_selector",
    "tolerations": "tolerations",
    "affinity": "affinity",
    "resources": "resources",
}
_MAPPED: Final = frozenset(
    {"keepTagRevisions", "keepYoungerThan", "keepYoungerThanDuration", "ignoreInvalidImageReferences", "logLevel"}
)


def _minutes(duration: str) -> int:
    try:
        return minutes_of_go(duration)
    except UnfitError as unfit:
        raise SettingsError([Problem("keepYoungerThanDuration", str(unfit))]) from None


def original_spec(spec: Json | None, metadata: Json | None) -> Json:
    """The spec, with the `suspend` that the ImagePruner had before it was taken over."""
    before = ((metadata or {}).get("annotations") or {}).get(SUSPENDED_BEFORE)
    suspended = (spec or {}).get("suspend") if before is None else before == "true"
    return {**(spec or {}), "suspend": bool(suspended)}


def takeover_message(takeover: TakenOver, schedule: Schedule) -> str:
    """What was taken over and how to undo it, on one line."""
    settings = ", ".join(f"{name}={value}" for name, value in sorted(takeover.settings.items())) or "its defaults"
    parts = [
        f"imagepruners.imageregistry.operator.openshift.io/{IMAGE_PRUNER[2]} is suspended, and CronJob "
        f"{schedule.namespace}/{schedule.object_name} prunes instead, at {schedule.schedule!r} with {settings}",
    ]
    if schedule.suspend:
        parts.append("it was already suspended, and so is the CronJob; set suspend=False to prune")
    parts.extend(takeover.notes)
    # Whoever had suspended it keeps it suspended.
    afterwards = "leaves the ImagePruner suspended" if takeover.options.get("suspend") else "resumes the ImagePruner"
    return f"{'; '.join(parts)}; destroying this component {afterwards}"
