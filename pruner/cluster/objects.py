"""The objects of a cluster, as far as pruning reads them.

The structs name only the fields that some rule asks for; msgspec's decoders pass over everything else, so that a list
of images, 4 to 20 KB each in responses, holds a few hundred bytes each in memory. Field names are those of the API.
Where an API server may answer null for an empty list, the type says so. Where an object says its kind, as those of
lists do not, the struct's tag has to be that kind. What is decoded from JSON has no cycles, so that the collector of
cycles need not look at it, again and again, while half a million objects are read (`gc=False`).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from pruner.cluster.metadata import ObjectMeta, ObjectReference, Stated
from pruner.cluster.retirement import RESTORED, RETIRED, Restoration, Retirement
from pruner.cluster.workloads import Referrer
from pruner.settings import PodSource

WITH_CONFIG = frozenset(
    {"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json"}
)
"""Media types of manifests that have a config (R24)."""


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
    retired: str | None = msgspec.field(name=RETIRED, default=None)
    restored: str | None = msgspec.field(name=RESTORED, default=None)


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


class Mirror(msgspec.Struct, frozen=True):
    """An entry of a mirror set: nodes pull what `source` names (`host[/path]`, or `*.domain`) from `mirror` as well."""

    source: str
    mirror: str


class OtherCluster(msgspec.Struct, frozen=True, kw_only=True):
    """What uses images in another cluster, which is called `name` in the settings (R38).

    `cluster` identifies it, and `as_of` is the time there. `hosts` are those by which this registry is known, `streams`
    are without status: where their tags come from counts. `sources` and `resource_versions` are as in a `Snapshot`.
    """

    name: str
    cluster: str
    as_of: datetime
    hosts: frozenset[str] = frozenset()
    mirrors: tuple[Mirror, ...] = ()
    streams: tuple[ImageStream, ...] = ()
    referrers: tuple[Referrer, ...] = ()
    sources: tuple[PodSource, ...] = ()
    resource_versions: dict[str, str] = {}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster has, read in the order that makes no use older than what it uses (R2).

    `cluster` identifies it; `as_of` is the time that ages are measured against (UTC); `blob_sizes` are bytes by digest,
    as far as images claim them, and `contested_sizes` the digests about which their claims differ; `absent` names the
    kinds that the cluster does not serve; `idle_paths` the paths of `extra_referrers` at which no object has anything;
    `sources` are the further kinds that were read, each in the version that was served; `resource_versions` say for
    each kind from where a watch would go on; `protected` are the image streams and namespaces, as `ImageStream
    namespace/name` and `Namespace name`, that `protect_selector` matches; `unlinked` are digests, by image stream, that
    an interrupted run has removed and whose links may be left; `others` are further clusters that use this registry;
    `retired` and `restored` are what annotations of images say, by the image's name (R36, R37).
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
    others: tuple[OtherCluster, ...] = ()
    retired: dict[str, Retirement] = {}
    restored: dict[str, Restoration] = {}
