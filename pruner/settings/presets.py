"""Further kinds that refer to images: presets by name, and what one may write oneself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pruner.settings.documents import DocumentError, check_bounds, from_json
from pruner.settings.shown import may_hold_credentials, shown
from pruner.settings.values import UnfitError, texts
from pruner.suggestions import did_you_mean


class PodSource(msgspec.Struct, frozen=True):
    """Where a further kind says which images it uses (R13).

    `template` is the dotted path of a pod template or pod spec inside the object, `images` are dotted paths of fields
    that are pull specs themselves; `*` steps over the members of a list or the values of a map.
    """

    group: str
    version: str
    resource: str
    template: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.resource}.{self.group}"


PRESETS: Final[Mapping[str, tuple[PodSource, ...]]] = {
    "argo-rollouts": (PodSource("argoproj.io", "v1alpha1", "rollouts", template=("spec.template",)),),
    "knative": (
        PodSource("serving.knative.dev", "v1", "services", template=("spec.template",)),
        PodSource(
            "serving.knative.dev",
            "v1",
            "revisions",
            template=("spec",),
            images=("status.containerStatuses.*.imageDigest",),
        ),
    ),
    "tekton": (
        PodSource(
            "tekton.dev",
            "v1",
            "tasks",
            images=("spec.steps.*.image", "spec.sidecars.*.image", "spec.stepTemplate.image"),
        ),
    ),
}
"""Presets of `extra_referrers`: Argo Rollouts, Knative Services and Revisions, Tekton Tasks."""


def extra_referrers(value: object) -> tuple[PodSource, ...]:
    """Presets by name and kinds by their fields; each may be written as JSON."""
    entries = value
    if isinstance(value, str):
        entries = _json(value) if value.lstrip().startswith("[") else list(texts(value))
    if not isinstance(entries, list | tuple):
        raise UnfitError("takes a list")
    found: list[PodSource] = []
    for entry in entries:
        written = _json(entry) if isinstance(entry, str) and entry.lstrip().startswith("{") else entry
        if not isinstance(written, str):
            found.append(_pod_source(written))
        elif written in PRESETS:
            found.extend(PRESETS[written])
        else:
            known = ", ".join(PRESETS)
            # Of an address that is cut at the commas in its password each part looks harmless.
            name = "of this name" if may_hold_credentials(value) else shown(written)
            raise UnfitError(f"knows no preset {name}{did_you_mean(written, PRESETS)}; there are {known}")
    return tuple(found)


def _json(text: str) -> object:
    try:
        return from_json(text)
    except DocumentError as error:
        raise UnfitError(f"looks like JSON and {error}") from None


def _pod_source(entry: object) -> PodSource:
    if not isinstance(entry, Mapping):
        raise UnfitError("takes presets by name, or maps of group, version, resource, template and images")
    for name in entry:
        if name not in PodSource.__struct_fields__:
            raise UnfitError(f"does not know {shown(name)}{did_you_mean(str(name), PodSource.__struct_fields__)}")
    paths = {
        name: (entry[name],) if isinstance(entry.get(name), str) else entry.get(name, ())
        for name in ("template", "images")
    }
    try:
        check_bounds({**entry, **paths})
        source = msgspec.convert({**entry, **paths}, PodSource)
    except (msgspec.ValidationError, DocumentError) as error:
        raise UnfitError(f"takes group, version, resource, and template or images: {error}") from None
    if not source.template and not source.images:
        raise UnfitError(f"{shown(source.name)}: give the path of its pod template, or the paths of its image fields")
    return source
