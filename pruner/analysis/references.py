"""Where the objects of a cluster say which images they use: every field that DECISIONS R4, R8, R10, R11 and R13 name.

`references_of` gives what one object says, unparsed, each with the place where it stands, so that an error can name it.
What a reference means is for `usage` to find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from pruner.cluster.objects import (
    Container,
    ContainerStatus,
    ImageStream,
    ObjectReference,
    Referrer,
    WorkloadSpec,
    WorkloadStatus,
)

Form = Literal["pull spec", "DockerImage", "ImageStreamTag", "ImageStreamImage", "image id", "unknown"]


class Reference(msgspec.Struct, frozen=True, gc=False):
    """One use, as it is written. `namespace` is where names without a namespace are looked up."""

    form: Form
    text: str
    namespace: str
    place: str


class _TriggerAnnotation(msgspec.Struct, frozen=True):
    from_: ObjectReference | None = msgspec.field(name="from", default=None)


_triggers = msgspec.json.Decoder(list[_TriggerAnnotation])
_FORMS: dict[str, Form] = {
    "DockerImage": "DockerImage",
    "ImageStreamTag": "ImageStreamTag",
    "ImageStreamImage": "ImageStreamImage",
}


def references_of(referrer: Referrer, *, extended: bool) -> Iterator[Reference]:
    """All that one object says it uses; with `extended` also what only R10, R11 and R13 count."""
    workload, namespace = referrer.workload, referrer.workload.metadata.namespace
    if workload.spec is not None:
        yield from _of_spec(workload.spec, namespace, extended=extended)
    if not extended:
        return
    if workload.data is not None and workload.data.spec is not None:
        yield from _of_spec(workload.data.spec, namespace, extended=True)
    if workload.status is not None:
        yield from _of_status(workload.status, namespace)
    annotations = workload.metadata.annotations
    if annotations is not None and annotations.triggers:
        yield from _of_annotation(annotations.triggers, namespace)
    for path, text in referrer.extra:
        yield Reference("pull spec", text, namespace, path)


def _of_spec(spec: WorkloadSpec, namespace: str, *, extended: bool) -> Iterator[Reference]:
    """Of a pod's, a controller's or a build's spec, and of the templates in it."""
    for containers, place in ((spec.init_containers, "initContainer"), (spec.containers, "container")):
        yield from _of_containers(containers, place, namespace)
    if spec.strategy is not None:
        for source, place in (
            (spec.strategy.source_strategy, "spec.strategy.sourceStrategy.from"),
            (spec.strategy.docker_strategy, "spec.strategy.dockerStrategy.from"),
            (spec.strategy.custom_strategy, "spec.strategy.customStrategy.from"),
        ):
            if source is not None:
                yield from _of_from(source.from_, namespace, place)
    if extended:
        yield from _of_extended_spec(spec, namespace)
    for template in (spec.template, spec.job_template):
        if template is not None and template.spec is not None:
            yield from _of_spec(template.spec, namespace, extended=extended)


def _of_extended_spec(spec: WorkloadSpec, namespace: str) -> Iterator[Reference]:
    yield from _of_containers(spec.ephemeral_containers, "ephemeralContainer", namespace)
    for volume in spec.volumes or ():
        if volume.image is not None and volume.image.reference:
            yield Reference("pull spec", volume.image.reference, namespace, f"volume {volume.name!r}")
    for image in (spec.source.images if spec.source else None) or ():
        yield from _of_from(image.from_, namespace, "spec.source.images")
    for trigger in spec.triggers or ():
        for change in (trigger.image_change_params, trigger.image_change):
            if change is not None:
                yield from _of_from(change.from_, namespace, "spec.triggers")


def _of_containers(containers: Iterable[Container] | None, place: str, namespace: str) -> Iterator[Reference]:
    for container in containers or ():
        # A blank image stands for one that a trigger is still to fill in (R4).
        if container.image and container.image.strip():
            yield Reference("pull spec", container.image, namespace, f"{place} {container.name!r}")


def _of_from(source: ObjectReference | None, namespace: str, place: str) -> Iterator[Reference]:
    if source is not None and source.name:
        yield Reference(_FORMS.get(source.kind, "unknown"), source.name, source.namespace or namespace, place)


def _of_status(status: WorkloadStatus, namespace: str) -> Iterator[Reference]:
    lists: tuple[list[ContainerStatus] | None, ...] = (
        status.container_statuses,
        status.init_container_statuses,
        status.ephemeral_container_statuses,
    )
    for statuses in lists:
        for container in statuses or ():
            if container.image_id:
                yield Reference("image id", container.image_id, namespace, f"running container {container.name!r}")


def _of_annotation(annotation: str, namespace: str) -> Iterator[Reference]:
    place = "annotation image.openshift.io/triggers"
    try:
        triggers = _triggers.decode(annotation)
    except msgspec.DecodeError:
        yield Reference("unknown", annotation, namespace, place)
        return
    for trigger in triggers:
        yield from _of_from(trigger.from_, namespace, place)


def references_of_stream(stream: ImageStream) -> Iterator[Reference]:
    """Where the tags of an image stream come from: `spec.tags[].from` (R10)."""
    namespace = stream.metadata.namespace
    for tag in (stream.spec.tags if stream.spec else None) or ():
        source = tag.from_
        if source is not None and source.kind == "ImageStreamTag" and source.name and ":" not in source.name:
            # A tag alone is one of the same image stream.
            source = ObjectReference(f"{stream.metadata.name}:{source.name}", source.kind, source.namespace)
        yield from _of_from(source, namespace, f"spec.tags {tag.name!r}")


def resolves_names(referrer: Referrer) -> bool:
    """Whether the object, or its pod template, asks for bare names to be looked up as image streams (R10)."""
    workload = referrer.workload
    specs = [workload.spec, workload.data.spec if workload.data else None]
    # A CronJob's pod template stands in its job template.
    specs += [spec.job_template.spec for spec in specs if spec and spec.job_template]
    templates = (spec.template for spec in specs if spec)
    metas = [workload.metadata, *(template.metadata for template in templates if template)]
    return any(
        meta is not None and meta.annotations is not None and meta.annotations.resolve_names == "*" for meta in metas
    )
