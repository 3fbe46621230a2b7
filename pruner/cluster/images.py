"""Images and image streams as a snapshot keeps them: small, with one string for all equal digests."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

import msgspec

from pruner.cluster.metadata import moment
from pruner.cluster.objects import WITH_CONFIG, ApiImage, Image, ImageStream, NamedTagEventList, TagEvent
from pruner.cluster.retirement import Marks
from pruner.cluster.sizes import SizeClaims, plausible_json


def compact(images: Iterable[ApiImage], claims: SizeClaims, marks: Marks | None = None) -> Iterable[Image]:
    """Images as they are kept; adds what they say of their blobs'
    sizes to `claims`, and of their retirement to `marks`.
    """
    intern = sys.intern
    for listed in images:
        meta, metadata = listed.metadata, listed.docker_image_metadata
        layers, measured = claims.layers(listed.docker_image_layers)
        members: tuple[str, ...] = ()
        if listed.docker_image_manifests:
            members = tuple([intern(manifest.digest) for manifest in listed.docker_image_manifests if manifest.digest])
            for manifest in listed.docker_image_manifests:
                claims.claim(manifest.digest, manifest.manifest_size)
        media_type = intern(listed.docker_image_manifest_media_type)
        config = metadata.id if metadata and metadata.id and media_type in WITH_CONFIG else None
        size = plausible_json(metadata.size) if metadata else None
        if config is not None:
            claims.config(config, size, layers, measured)
        annotations = meta.annotations
        if marks is not None and annotations is not None and (annotations.retired or annotations.restored):
            marks.take(meta.name, annotations.retired, annotations.restored)
        yield Image(
            meta.name,
            meta.uid,
            meta.resource_version,
            moment(meta.creation_timestamp),
            annotations is not None and annotations.managed == "true",
            intern(_location(listed.docker_image_reference, meta.name)),
            media_type,
            size,
            config,
            layers,
            members,
        )


def _location(reference: str, name: str) -> str:
    """`Image.location` of an image with this `dockerImageReference`."""
    return reference.removesuffix(name) if reference.endswith("@" + name) else reference


def with_shared(stream: ImageStream, known: Mapping[str, str], events: dict[str, TagEvent]) -> ImageStream:
    """The stream, with the strings of `known` for equal digests, and equal items of all streams as one, from `events`.

    A digest that stands in five tags is five texts and five times as it is decoded: of half a million revisions, 100
    MB.
    """
    status = stream.status
    if status is None or not status.tags:
        return stream
    get = events.get

    def share(item: TagEvent) -> TagEvent:
        first = get(item.image)
        shared = TagEvent(known.get(item.image, item.image) if first is None else first.image, item.created)
        return events.setdefault(shared.image, shared) if first is None else shared

    tags = [
        NamedTagEventList(
            sys.intern(history.tag),
            tuple(
                [
                    first if (first := get(item.image)) is not None and first.created == item.created else share(item)
                    for item in history.items
                ]
            )
            if history.items
            else history.items,
        )
        for history in status.tags
    ]
    return msgspec.structs.replace(stream, status=msgspec.structs.replace(status, tags=tags))
