"""Where the objects of a cluster say which images they use: every field that R4, R8, R10, R11 and R13 name.

`references_of` gives what one object says, unparsed, each with the place where it stands, so that an error can name it.
What a reference means is for `usage` to find out.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

from pruner.cluster.metadata import ObjectReference
from pruner.cluster.objects import ImageStream
from pruner.cluster.workloads import Container, ContainerStatus, Referrer, WorkloadSpec, WorkloadStatus

Form = Literal[
    "pull spec", "DockerImage", "ImageStreamTag", "ImageStreamImage", "image stream", "image id", "value", "unknown"
]


class Reference(msgspec.Struct, frozen=True, gc=False):
    """One use, as it is written. `namespace` is where names without a namespace are looked up.

    It stands at `place`, where that has several in the one that is `named`. `pulled` says whether a kubelet, a node or
    a builder takes it from there: if such a text cannot be understood, what it uses is not known (R9). All others are
    resolved by OpenShift itself, which ignores what it cannot parse.
    """

    form: Form
    text: str
    namespace: str
    place: str
    named: str | None = None
    pulled: bool = True

    @property
    def where(self) -> str:
        """The place in words. Only errors ask for it, and there are as many references as containers in a cluster."""
        return self.place if self.named is None else f"{self.place} {self.named!r}"


_FORMS: dict[str, Form] = {
    "DockerImage": "DockerImage",
    "ImageStreamTag": "ImageStreamTag",
    "ImageStreamImage": "ImageStreamImage",
}


def references_of(referrer: Referrer, *, extended: bool) -> list[Reference]:
    """All that one object says it uses; with `extended` also what only R10, R11 and R13 count."""
    workload, namespace = referrer.workload, referrer.workload.metadata.namespace
    found: list[Reference] = []
    if workload.spec is not None:
        _add_spec(found, workload.spec, namespace, extended=extended)
    if not extended:
        return found
    if workload.data is not None and workload.data.spec is not None:
        _add_spec(found, workload.data.spec, namespace, extended=True)
    if workload.status is not None:
        _add_status(found, workload.status, namespace)
    annotations = workload.metadata.annotations
    if annotations is not None and annotations.triggers:
        _add_annotation(found, annotations.triggers, namespace)
    found += [
        Reference(extra.form, extra.text, namespace, extra.place, pulled=extra.form == "pull spec")
        for extra in referrer.extra
    ]
    return found


def _add_spec(found: list[Reference], spec: WorkloadSpec, namespace: str, *, extended: bool) -> None:
    """Of a pod's, a controller's or a build's spec, and of the templates in it."""
    if spec.init_containers:
        _add_containers(found, spec.init_containers, "initContainer", namespace)
    if spec.containers:
        _add_containers(found, spec.containers, "container", namespace)
    if spec.strategy is not None:
        for source, place in (
            (spec.strategy.source_strategy, "spec.strategy.sourceStrategy.from"),
            (spec.strategy.docker_strategy, "spec.strategy.dockerStrategy.from"),
            (spec.strategy.custom_strategy, "spec.strategy.customStrategy.from"),
        ):
            if source is not None:
                _add_from(found, source.from_, namespace, place)
    if extended:
        _add_extended_spec(found, spec, namespace)
    for template in (spec.template, spec.job_template):
        if template is not None and template.spec is not None:
            _add_spec(found, template.spec, namespace, extended=extended)


def _add_extended_spec(found: list[Reference], spec: WorkloadSpec, namespace: str) -> None:
    if spec.ephemeral_containers:
        _add_containers(found, spec.ephemeral_containers, "ephemeralContainer", namespace)
    if spec.volumes:
        found += [
            Reference("pull spec", volume.image.reference, namespace, "volume", volume.name)
            for volume in spec.volumes
            if volume.image is not None and volume.image.reference
        ]
    for image in (spec.source.images if spec.source else None) or ():
        _add_from(found, image.from_, namespace, "spec.source.images")
    for trigger in spec.triggers or ():
        for change in (trigger.image_change_params, trigger.image_change):
            if change is not None:
                _add_from(found, change.from_, namespace, "spec.triggers", pulled=False)


def _add_containers(found: list[Reference], containers: list[Container], place: str, namespace: str) -> None:
    # A blank image stands for one that a trigger is still to fill in (R4).
    found += [
        Reference("pull spec", container.image, namespace, place, container.name)
        for container in containers
        if container.image and container.image.strip()
    ]


def _add_from(
    found: list[Reference],
    source: ObjectReference | None,
    namespace: str,
    place: str,
    named: str | None = None,
    *,
    pulled: bool = True,
) -> None:
    if source is not None and source.name.strip():
        form = _FORMS.get(source.kind, "unknown")
        # A kind that OpenShift does not know is ignored by it, as it is by `oc`.
        known = form != "unknown"
        found.append(Reference(form, source.name, source.namespace or namespace, place, named, pulled and known))


def _add_status(found: list[Reference], status: WorkloadStatus, namespace: str) -> None:
    lists: tuple[list[ContainerStatus] | None, ...] = (
        status.container_statuses,
        status.init_container_statuses,
        status.ephemeral_container_statuses,
    )
    for statuses in lists:
        if statuses:
            found += [
                Reference("image id", container.image_id, namespace, "running container", container.name)
                for container in statuses
                if container.image_id
            ]


def _add_annotation(found: list[Reference], annotation: str, namespace: str) -> None:
    """The triggers of the annotation, read as OpenShift's controller does: names of fields match in any case.

    Anybody who may edit the object can write anything here. What OpenShift cannot use is none of its triggers.
    """
    place = "annotation image.openshift.io/triggers"
    unusable = Reference("unknown", annotation, namespace, place, pulled=False)
    try:
        triggers = json.loads(annotation, object_pairs_hook=_folded, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        triggers = None
    if not isinstance(triggers, list):
        found.append(unusable)
        return
    for trigger in triggers:
        try:
            source = msgspec.convert(trigger["from"], ObjectReference)
        except (TypeError, KeyError, RecursionError, msgspec.ValidationError):
            found.append(unusable)
        else:
            _add_from(found, source, namespace, place, pulled=False)


def _folded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name.lower(): value for name, value in pairs}


def references_of_stream(stream: ImageStream) -> list[Reference]:
    """Where the tags of an image stream come from: `spec.tags[].from` (R10)."""
    namespace = stream.metadata.namespace
    found: list[Reference] = []
    for tag in (stream.spec.tags if stream.spec else None) or ():
        source = tag.from_
        if source is not None and source.kind == "ImageStreamTag" and source.name and ":" not in source.name:
            # A tag alone is one of the same image stream.
            source = ObjectReference(f"{stream.metadata.name}:{source.name}", source.kind, source.namespace)
        _add_from(found, source, namespace, "spec.tags", tag.name, pulled=False)
    return found


def output_of(referrer: Referrer) -> list[Reference]:
    """Where a build pushes to: `spec.output.to`. It keeps the image stream, and none of its revisions (R34)."""
    spec = referrer.workload.spec
    found: list[Reference] = []
    if spec is not None and spec.output is not None:
        _add_from(found, spec.output.to, referrer.workload.metadata.namespace, "spec.output.to", pulled=False)
    return found


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
