"""The objects of a cluster, as far as pruning reads them.

The structs name only the fields that some rule asks for; msgspec's decoders pass over everything else, so that a list
of images, 4 to 20 KB each in responses, holds a few hundred bytes each in memory. Field names are those of the API. Where an API
server may answer null for an empty list, the type says so. Where an object says its kind, as those of lists do not, the struct's tag
has to be that kind. What is decoded from JSON has no cycles, so that the collector of
cycles need not look at it, again and again, while half a million objects are read (`gc=False`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from pruner.settings import PodSource

T = TypeVar("T")

WITH_CONFIG = frozenset(
    {"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json"}
)
"""Media types of manifests that have a config (R24)."""

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""The age of what has no time: the API's zero time, older than any limit, as the API server's own types have it."""


def moment(value: datetime | None) -> datetime:
    """A time of the API, in UTC; one without an offset is UTC already, as the API writes no other."""
    if value is None:
        return BEGINNING
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


Stated = Annotated[str, msgspec.Meta(min_length=1)]
"""What an API server never leaves out or empty. An answer without it is none of its own (R3)."""


class ListMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    resource_version: Stated
    continue_: str = msgspec.field(name="continue", default="")
    remaining_item_count: int | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """One page of a list. Everything is required: API servers write it for empty lists too, whose `items` are `[]` and never null."""

    kind: str
    api_version: str
    metadata: ListMeta
    items: list[T]


class OwnerReference(msgspec.Struct, frozen=True, gc=False):
    kind: str = ""
    name: str = ""


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    name: Stated
    namespace: Stated
    uid: Stated
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    owner_references: list[OwnerReference] | None = None


# --- what uses images ----------------------------------------------------------------------------------------------


class ObjectReference(msgspec.Struct, frozen=True, gc=False):
    """`from` of builds, tags and triggers."""

    name: str = ""
    kind: str = ""
    namespace: str | None = None


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

    A pull spec; `name` or `name:tag` of an image stream in the object's own namespace; or a value that is a pull spec perhaps.
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


class LimitSpec(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    max: dict[str, Any] | None = None


class LimitRangeSpec(msgspec.Struct, frozen=True, gc=False):
    limits: list[LimitSpec] | None = None


class LimitRange(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="LimitRange"):
    metadata: ObjectMeta
    spec: LimitRangeSpec | None = None


class ImageLimit(msgspec.Struct, frozen=True):
    """An `openshift.io/Image` limit: no image of the namespace should be larger than `storage` bytes."""

    namespace: str
    name: str
    storage: Decimal


# --- image streams and images --------------------------------------------------------------------------------------


class TagReference(msgspec.Struct, frozen=True, gc=False):
    """`spec.tags[]`: where a tag comes from. A `reference` tag is never imported."""

    name: str = ""
    from_: ObjectReference | None = msgspec.field(name="from", default=None)
    reference: bool = False


class LookupPolicy(msgspec.Struct, frozen=True, gc=False):
    local: bool = False


class ImageStreamSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    lookup_policy: LookupPolicy | None = None
    tags: list[TagReference] | None = None


class TagEvent(msgspec.Struct, frozen=True, gc=False):
    """`status.tags[].items[]`: one revision of a tag."""

    image: str = ""
    created: datetime | None = None


class NamedTagEventList(msgspec.Struct, frozen=True, gc=False):
    """`status.tags[]`: the history of a tag, newest first."""

    tag: str
    items: tuple[TagEvent, ...] | None = None


class ImageStreamStatus(msgspec.Struct, frozen=True, rename="camel", gc=False):
    docker_image_repository: str = ""
    public_docker_image_repository: str = ""
    tags: list[NamedTagEventList] | None = None


class ImageStream(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="ImageStream"):
    metadata: ObjectMeta
    spec: ImageStreamSpec | None = None
    status: ImageStreamStatus | None = None

    @property
    def name(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def histories(self) -> list[NamedTagEventList]:
        return (self.status.tags if self.status else None) or []

    @property
    def spec_tags(self) -> frozenset[str]:
        """The tags that have an entry in `spec.tags`."""
        return frozenset(tag.name for tag in (self.spec.tags if self.spec else None) or ())


class ImageAnnotations(msgspec.Struct, frozen=True, gc=False):
    managed: str | None = msgspec.field(name="openshift.io/image.managed", default=None)


class ImageMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    name: Stated
    uid: Stated
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    annotations: ImageAnnotations | None = None


class ImageLayer(msgspec.Struct, frozen=True, gc=False):
    """`size` is whatever the maker of the image wrote there (pruner.cluster.sizes)."""

    name: str = ""
    size: Any = None


class ImageManifest(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`dockerImageManifests[]`: a member of a manifest list or an OCI index."""

    digest: str = ""
    manifest_size: Any = None


class DockerImageMetadata(msgspec.Struct, frozen=True, gc=False):
    id: str | None = msgspec.field(name="Id", default=None)
    size: msgspec.Raw = msgspec.field(name="Size", default=msgspec.Raw(b"null"))


class ApiImage(msgspec.Struct, frozen=True, rename="camel", gc=False, tag_field="kind", tag="Image"):
    """An Image as the API gives it; `Image` is what is kept of it."""

    metadata: ImageMeta
    docker_image_reference: str = ""
    docker_image_metadata: DockerImageMetadata | None = None
    docker_image_layers: list[ImageLayer] | None = None
    docker_image_manifests: list[ImageManifest] | None = None
    docker_image_manifest_media_type: str = ""


class Image(msgspec.Struct, frozen=True, gc=False):
    """An Image, compact: digests are shared strings, sizes of blobs stand once, in the snapshot.

    `size` is what the API says the image takes, in bytes; None where it says nothing. `config` is the digest of its
    config, where its manifest has one (R24). `location` is its `dockerImageReference`; where that ends with the image's
    own name it ends with the `@` before it, and is one text for all images of a repository.
    """

    name: str
    uid: str
    resource_version: str
    created: datetime
    managed: bool
    location: str
    media_type: str
    size: int | None
    config: str | None
    layers: tuple[str, ...]
    members: tuple[str, ...]

    @property
    def reference(self) -> str:
        """The pull spec that the API gives for it; empty where it gives none."""
        return self.location + self.name if self.location.endswith("@") else self.location


class Registry(msgspec.Struct, frozen=True):
    """The registry that blobs are deleted in.

    `deletes_blobs` is False where it lacks the admin endpoint: then manifests go, and blobs are left to its own garbage
    collector (R26). `found` is what named it: registry_url, an image or an image stream.
    """

    url: str
    deletes_blobs: bool = True
    found: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster has, read in the order that makes no use older than what it uses (R2).

    `cluster` identifies it; `as_of` is the time that ages are measured against (UTC); `blob_sizes` are bytes by digest,
    as far as images claim them, and `contested_sizes` the digests about which their claims differ; `absent` names the kinds that the
    cluster does not serve; `idle_paths` the paths of `extra_referrers` at which no object has anything; `sources` are the further
    kinds that were read, each in the version that was served; `resource_versions` say for each kind from where a watch would
    go on; `protected` are the image streams and namespaces, as `ImageStream namespace/name` and `Namespace name`, that
    `protect_selector` matches; `unlinked` are digests, by image stream, that an interrupted run has removed and whose links may be left.
    """

    cluster: str
    as_of: datetime
    images: tuple[Image, ...] = ()
    streams: tuple[ImageStream, ...] = ()
    limits: tuple[ImageLimit, ...] = ()
    referrers: tuple[Referrer, ...] = ()
    blob_sizes: dict[str, int] = {}
    contested_sizes: frozenset[str] = frozenset()
    absent: tuple[str, ...] = ()
    idle_paths: tuple[str, ...] = ()
    sources: tuple[PodSource, ...] = ()
    resource_versions: dict[str, str] = {}
    unlinked: dict[str, frozenset[str]] = {}
    protected: frozenset[str] = frozenset()
