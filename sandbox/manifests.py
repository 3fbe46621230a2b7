"""
From a pushed manifest to the Image object that OpenShift keeps of it. Sizes, layers, members and metadata are read from
the manifest and its config, as openshift/image-registry does it, so that what a pruner counts is what lies on the disk.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from sandbox.status import Json

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MANIFESTS = (DOCKER_MANIFEST, OCI_MANIFEST)
INDEXES = (DOCKER_LIST, OCI_INDEX)

_ANNOTATIONS = {
    "image.openshift.io/dockerLayersOrder": "ascending",
    "image.openshift.io/manifestBlobStored": "true",
    "openshift.io/image.managed": "true",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index, as pushed."""

    digest: str
    media_type: str
    content: Json

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    @property
    def config(self) -> Json:
        found: Json = self.content["config"]
        return found

    @property
    def layers(self) -> list[Json]:
        return self.content.get("layers") or []

    @property
    def members(self) -> list[Json]:
        return self.content.get("manifests") or []


def parse_manifest(digest: str, media_type: str, raw: bytes) -> Manifest:
    """ValueError when the body is not a manifest of that media type."""
    try:
        content = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    media_type = media_type.partition(";")[0] or str(content.get("mediaType", ""))
    if media_type not in MANIFESTS + INDEXES:
        raise ValueError(f"unsupported media type {media_type!r}")
    manifest = Manifest(digest, media_type, content)
    parts = manifest.members if manifest.is_index else [content.get("config"), *manifest.layers]
    if content.get("schemaVersion") != 2 or not all(isinstance(part, dict) and "digest" in part for part in parts):
        raise ValueError("schemaVersion 2 with digests of config and layers, or of manifests, is needed")
    return manifest


def image_of(manifest: Manifest, config: bytes, reference: str) -> Json:
    """The Image object without what the server adds. `config` is the config blob, empty for an index."""
    head = {
        "metadata": {"name": manifest.digest, "annotations": dict(_ANNOTATIONS)},
        "dockerImageReference": reference,
        "dockerImageMetadataVersion": "1.0",
        "dockerImageManifestMediaType": manifest.media_type,
    }
    if manifest.is_index:
        metadata: Json = {"kind": "DockerImage", "apiVersion": "1.0", "Id": "", "Created": None, "ContainerConfig": {}}
        members = [_member(entry) for entry in manifest.members]
        return {**head, "dockerImageMetadata": metadata, "dockerImageLayers": None, "dockerImageManifests": members}
    layers = [
        {"name": layer["digest"], "size": layer.get("size", 0), "mediaType": layer.get("mediaType", "")}
        for layer in manifest.layers
    ]
    return {**head, "dockerImageMetadata": _metadata(manifest, config, layers), "dockerImageLayers": layers}


def _metadata(manifest: Manifest, config: bytes, layers: list[Json]) -> Json:
    """Size is in bytes: the config, and every layer once."""
    content = msgspec.json.decode(config, type=dict[str, Any])
    return {
        "kind": "DockerImage",
        "apiVersion": "1.0",
        "Id": manifest.config["digest"],
        "Created": content.get("created"),
        "ContainerConfig": {},
        "Config": content.get("config") or {},
        "Architecture": content.get("architecture", ""),
        "Size": len(config) + sum({layer["name"]: layer["size"] for layer in layers}.values()),
    }


def _member(entry: Json) -> Json:
    platform: Json = entry.get("platform") or {}
    variant = {"variant": platform["variant"]} if platform.get("variant") else {}
    return {
        "digest": entry["digest"],
        "mediaType": entry.get("mediaType", ""),
        "manifestSize": entry.get("size", 0),
        "architecture": platform.get("architecture", ""),
        "os": platform.get("os", ""),
        **variant,
    }
