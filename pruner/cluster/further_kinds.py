"""Further kinds whose objects name images: those of `extra_referrers`, and what nodes boot from (R10, R13).

A `PodSource` says at which paths of an object its images stand. Objects are read whole, since each kind has other
fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from pruner.cluster.api import Api
from pruner.cluster.resources import Resource
from pruner.cluster.workloads import ExtraForm, ExtraReference, Referrer, Workload, WorkloadSpec
from pruner.errors import ClusterError
from pruner.settings import NODE_IMAGES, PRESETS, PodSource, References

_KNOWN: Final = frozenset(
    (source.group, source.resource)
    for source in (*NODE_IMAGES, *(each for preset in PRESETS.values() for each in preset))
)
"""Kinds that pruner knows itself, by group and plural name."""

_OPTIONAL: Final = frozenset((source.group, source.resource) for source in NODE_IMAGES)

_VARIABLE: Final = "$("
"""Begins a parameter in a template of Tekton. What it stands
for is known only when it runs, and then a pod names it."""


def is_optional(source: PodSource) -> bool:
    """Whether a cluster may well not have the kind, so that its absence is not worth a note."""
    return (source.group, source.resource) in _OPTIONAL


def sources_of(references: References, extra_referrers: Iterable[PodSource]) -> tuple[PodSource, ...]:
    """The further kinds that are read: what nodes boot from, with the extended rules only, and what was asked for."""
    extra = tuple(extra_referrers)
    return tuple(dict.fromkeys((*NODE_IMAGES, *extra))) if references == "extended" else extra


async def in_served_versions(api: Api, sources: Iterable[PodSource]) -> tuple[PodSource, ...]:
    """The sources, each in the first of its versions that the cluster serves; as they are where it serves none."""

    async def served(source: PodSource) -> PodSource:
        for version in (source.version, *source.other_versions):
            if await api.serves(Resource(source.group, version, source.resource)):
                return msgspec.structs.replace(source, version=version)
        return source

    return tuple([await served(source) for source in sources])


def is_known(source: PodSource) -> bool:
    """Whether this is a kind that pruner knows: its paths are right, and may be empty in every object of a cluster."""
    return (source.group, source.resource) in _KNOWN


def decoded(raw: msgspec.Raw, source: PodSource) -> Any:
    """An object of a further kind. Raises ClusterError for one that is nested too deeply to be read."""
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        raise ClusterError(
            f"extra_referrers: an object of {source.name} is nested too deeply, so what it uses is not known; remove "
            "it, or take the kind out of extra_referrers"
        ) from None


def extra_referrer(source: PodSource, found: dict[str, Any]) -> Referrer:
    """What an object of a further kind uses: its pod templates or pod specs, and its image fields (R13).

    Raises ClusterError where no pod template stands at a path that is said to hold one: what it uses would not be
    known.
    """
    kind = str(found.get("kind") or source.name)
    references: list[ExtraReference] = []
    try:
        workload = msgspec.convert({"metadata": found.get("metadata") or {}}, Workload)
        for path in source.template:
            for template in at_path(found, path):
                references.extend(_images_of_template(path, template))
        for path in source.images:
            references.extend(ExtraReference(path, text) for text in _texts_at(source, path, found))
    except (msgspec.ValidationError, RecursionError) as error:
        name = found.get("metadata") or {}
        raise ClusterError(
            f"{kind} {name.get('namespace', '')}/{name.get('name', '')}: extra_referrers names "
            f"{source.template or source.images} in {source.name}, and what stands there is something else: {error}"
        ) from None
    others: tuple[tuple[tuple[str, ...], ExtraForm], ...] = ((source.streams, "image stream"), (source.values, "value"))
    for paths, form in others:
        for path in paths:
            texts = (text for text in at_path(found, path) if isinstance(text, str))
            references.extend(ExtraReference(path, text, form) for text in texts)
    known = is_known(source)
    used = (each for each in references if each.text.strip() and not (known and _VARIABLE in each.text))
    return Referrer(kind, workload, tuple(dict.fromkeys(used)))


def _texts_at(source: PodSource, path: str, found: dict[str, Any]) -> Iterator[str]:
    """The pull specs at the path. A value that is not a string is an error in a kind that a user has described."""
    for value in at_path(found, path):
        if isinstance(value, str):
            yield value
        elif value is not None and not is_known(source):
            yield msgspec.convert(value, str)


def stands_at(source: PodSource, path: str, found: dict[str, Any]) -> bool:
    """Whether the object has containers at the path of a template, or anything at that of an image."""
    if path in source.template:
        return any(spec is not None and spec.containers for spec in map(_pod_spec, at_path(found, path)))
    return any(value is not None for value in at_path(found, path))


def _pod_spec(template: Any) -> WorkloadSpec | None:
    """The spec in a pod template, or a pod spec that stands there itself."""
    inner = template.get("spec", template) if isinstance(template, dict) else template
    return msgspec.convert(inner, WorkloadSpec | None)


def _images_of_template(where: str, template: Any) -> Iterable[ExtraReference]:
    spec = _pod_spec(template)
    if spec is None:
        return
    for place, containers in (
        ("initContainer", spec.init_containers),
        ("container", spec.containers),
        ("ephemeralContainer", spec.ephemeral_containers),
    ):
        for container in containers or ():
            yield ExtraReference(f"{where}, {place} {container.name!r}", container.image or "")
    for volume in spec.volumes or ():
        if volume.image is not None and volume.image.reference:
            yield ExtraReference(f"{where}, volume {volume.name!r}", volume.image.reference)


def at_path(value: Any, path: str) -> Iterator[Any]:
    """The values at a dotted path; `*` steps over a list or a map, `**` over any number of them."""
    reached: list[Any] = [value]
    for step in path.split("."):
        if step == "**":
            reached = list(_all_below(reached))
        elif step == "*":
            reached = [member for each in reached for member in _members(each)]
        else:
            reached = [each[step] for each in reached if isinstance(each, dict) and step in each]
    return iter(reached)


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _all_below(values: list[Any]) -> Iterator[Any]:
    """The values themselves and every map or list in them, at any depth."""
    ahead = list(values)
    while ahead:
        each = ahead.pop()
        yield each
        ahead.extend(member for member in _members(each) if isinstance(member, dict | list))
