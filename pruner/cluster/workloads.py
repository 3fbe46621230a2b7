"""The objects that use images, as far as pruning reads them: pods, everything with a pod template, and builds.

`pruner.cluster.objects` says how these structs are made.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from pruner.cluster.metadata import ObjectReference, Stated


class Container(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    image: str | None = None


class ImageVolume(msgspec.Struct, frozen=True, gc=False):
    reference: str | None = None


class Volume(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    image: ImageVolume | None = None


class WorkloadAnnotations(msgspec.Struct, frozen=True, gc=False):
    """The two annotations that make an object use an image stream (R10)."""

    triggers: str | None = msgspec.field(name="image.openshift.io/triggers", default=None)
    resolve_names: str | None = msgspec.field(name="alpha.image.policy.openshift.io/resolve-names", default=None)


class WorkloadMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    name: Stated
    namespace: str = ""
    creation_timestamp: datetime | None = None
    annotations: WorkloadAnnotations | None = None


class TemplateMeta(msgspec.Struct, frozen=True, gc=False):
    annotations: WorkloadAnnotations | None = None


class PodTemplate(msgspec.Struct, frozen=True, gc=False):
    metadata: TemplateMeta | None = None
    spec: WorkloadSpec | None = None


class JobTemplate(msgspec.Struct, frozen=True, gc=False):
    spec: WorkloadSpec | None = None


class ImageSource(msgspec.Struct, frozen=True, gc=False):
    from_: ObjectReference | None = msgspec.field(name="from", default=None)


class BuildSource(msgspec.Struct, frozen=True, gc=False):
    images: list[ImageSource] | None = None


class BuildStrategy(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Of a BuildConfig or Build; the strategy of a Deployment has none of these fields."""

    source_strategy: ImageSource | None = None
    docker_strategy: ImageSource | None = None
    custom_strategy: ImageSource | None = None


class BuildOutput(msgspec.Struct, frozen=True, gc=False):
    """Where a build pushes to."""

    to: ObjectReference | None = None


class Trigger(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Of a DeploymentConfig (`imageChangeParams`) or a BuildConfig (`imageChange`)."""

    image_change_params: ImageSource | None = None
    image_change: ImageSource | None = None


class WorkloadSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The spec of everything that uses images: of a pod itself, and of all that holds a pod template or a build."""

    template: PodTemplate | None = None
    job_template: JobTemplate | None = None
    init_containers: list[Container] | None = None
    containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None
    volumes: list[Volume] | None = None
    strategy: BuildStrategy | None = None
    source: BuildSource | None = None
    triggers: list[Trigger] | None = None
    output: BuildOutput | None = None
    replicas: Any = None

    def __post_init__(self) -> None:
        # Nearly all volumes are of other kinds, and there are several in each template.
        if self.volumes:
            self.volumes[:] = [volume for volume in self.volumes if volume.image is not None]


class ContainerStatus(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    image_id: str | None = msgspec.field(name="imageID", default=None)


class WorkloadStatus(msgspec.Struct, frozen=True, rename="camel", gc=False):
    phase: str = ""
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None
    completion_time: Any = None
    """Of a Job that has succeeded."""


class RevisionData(msgspec.Struct, frozen=True, gc=False):
    """`data` of a ControllerRevision: the part of the spec that a roll-back would bring back."""

    spec: WorkloadSpec | None = None


class ControllerRevision(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="ControllerRevision"):
    """A ControllerRevision; what its `data` is, only the controller knows that wrote it."""

    metadata: WorkloadMeta
    data: msgspec.Raw = msgspec.Raw(b"null")


class Workload(msgspec.Struct, frozen=True, gc=False):
    """Any object that uses images. `data` is a ControllerRevision's."""

    metadata: WorkloadMeta
    spec: WorkloadSpec | None = None
    status: WorkloadStatus | None = None
    data: RevisionData | None = None


ExtraForm = Literal["pull spec", "image stream", "value"]


class ExtraReference(msgspec.Struct, frozen=True, gc=False):
    """What stands in a field of a further kind (R13).

    A pull spec; `name` or `name:tag` of an image stream in the object's own namespace; or a value that is a pull spec
    perhaps.
    """

    place: str
    text: str
    form: ExtraForm = "pull spec"


class Referrer(msgspec.Struct, frozen=True, gc=False):
    """A workload, its kind, and the references found in it as in one of a further kind (R13)."""

    kind: str
    workload: Workload
    extra: tuple[ExtraReference, ...] = ()

    @property
    def name(self) -> str:
        """`Kind namespace/name`, or `Kind name` of what is in no namespace."""
        meta = self.workload.metadata
        return f"{self.kind} {meta.namespace}/{meta.name}" if meta.namespace else f"{self.kind} {meta.name}"
