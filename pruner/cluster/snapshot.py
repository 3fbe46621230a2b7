"""A snapshot: everything that a decision is made from, read in the order that makes no use older than what it uses.

Images are listed first, then image streams, then all that uses them, whose kinds are listed side by side (R1, R2). A
kind that discovery does not show has no objects; anything else that keeps a list from being read whole ends it all
(R3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from datetime import datetime
from operator import attrgetter
from typing import Final, TypeVar

import msgspec

from pruner.cluster.api import Api
from pruner.cluster.controller_revisions import revision_referrer
from pruner.cluster.further_kinds import (
    decoded,
    extra_referrer,
    in_served_versions,
    is_known,
    is_optional,
    sources_of,
    stands_at,
)
from pruner.cluster.identity import identify
from pruner.cluster.images import compact, with_shared
from pruner.cluster.limits import image_limits
from pruner.cluster.lists import check_item, decoder_of_pages
from pruner.cluster.metadata import BEGINNING, Page, Stated, moment
from pruner.cluster.objects import ApiImage, Image, ImageLimit, ImageStream, LimitRange, Snapshot, TagEvent
from pruner.cluster.resources import (
    CONTROLLER_REVISIONS,
    IMAGE_STREAMS,
    IMAGES,
    LIMIT_RANGES,
    NAMESPACES,
    WORKLOADS,
    Resource,
)
from pruner.cluster.retirement import Marks
from pruner.cluster.sizes import SizeClaims
from pruner.cluster.unlink_journal import find_unlinked
from pruner.cluster.workloads import ControllerRevision, Referrer, Workload
from pruner.errors import ClusterError, ExpiredError, UnsafePlanError
from pruner.interpreter import keep_freed_memory, no_search_for_cycles, short_turns
from pruner.settings import PodSource, References

T = TypeVar("T")
U = TypeVar("U")

RESTARTS: Final = 3
"""How often a list is begun again after its `continue` token has expired."""

AHEAD: Final = 3
"""Pages of a list read alone that are asked for while one is decoded: on their way, being decompressed, ready.

Lists that are read side by side have one each: together that is as many, and each takes several MB.
"""

Progress = Callable[[str], None]
"""Told, in a few words, what is being done."""

_images = decoder_of_pages(ApiImage)
_streams = decoder_of_pages(ImageStream)
_limits = decoder_of_pages(LimitRange)
_workloads = {resource: decoder_of_pages(Workload, resource.kind) for resource in WORKLOADS}
_revisions = decoder_of_pages(ControllerRevision)
_raw = decoder_of_pages(msgspec.Raw)


def silent(_: str) -> None:
    """No progress is shown."""


async def take_snapshot(
    api: Api,
    *,
    references: References = "extended",
    extra_referrers: Iterable[PodSource] = (),
    protect_selector: str | None = None,
    as_of: datetime | None = None,
    progress: Progress = silent,
) -> Snapshot:
    """Read the cluster. `as_of` replaces the API server's clock; one that is ahead of it is refused.

    `protect_selector` is a label selector for image streams and namespaces (R18).

    Raises ClusterError when anything cannot be read whole, UnsafePlanError for an `as_of` in the future.
    """
    keep_freed_memory()
    with no_search_for_cycles(), short_turns():
        protected = await _protected(api, protect_selector) if protect_selector else frozenset()
        snapshot = await _take_snapshot(api, references, extra_referrers, as_of, progress)
    return msgspec.structs.replace(snapshot, protected=protected) if protected else snapshot


class _Labelled(msgspec.Struct, frozen=True):
    """An object that a label selector matches."""

    class Metadata(msgspec.Struct, frozen=True):
        name: Stated
        namespace: str = ""

    metadata: Metadata


_labelled = {resource: decoder_of_pages(_Labelled, resource.kind) for resource in (IMAGE_STREAMS, NAMESPACES)}


async def _protected(api: Api, selector: str) -> frozenset[str]:
    """The image streams and namespaces that the selector matches, as reasons name them."""
    found: set[str] = set()
    for resource, decoder in _labelled.items():
        async with aclosing(api.pages(resource, decoder, selector=selector)) as pages:
            async for page in pages:
                for each in page.items:
                    meta = each.metadata
                    name = f"{meta.namespace}/{meta.name}" if resource == IMAGE_STREAMS else meta.name
                    found.add(f"{resource.kind} {name}")
    return frozenset(found)


async def _take_snapshot(
    api: Api, references: References, extra_referrers: Iterable[PodSource], as_of: datetime | None, progress: Progress
) -> Snapshot:
    reading = Reading(api, progress)
    cluster = await identify(api)
    if not await api.serves(IMAGES):
        raise ClusterError(
            f"{api.server}: serves no {IMAGES.group}/{IMAGES.version}, so there is nothing to prune; is it an "
            "OpenShift cluster?"
        )
    now = _now(api, as_of)
    unlinked = await find_unlinked(api)
    images, claims, marks = await reading.images()
    streams = await reading.streams(images)
    kinds = kinds_of(references)
    limits: list[ImageLimit] = []
    referrers: list[Referrer] = []

    async def add(found: list[T], listed: Awaitable[list[T]]) -> None:
        # The result of a task stays in memory until cycles are looked for, so it must not be half the cluster.
        found.extend(await listed)

    await asyncio.gather(
        add(limits, reading.limits()),
        *(add(referrers, reading.referrers(resource)) for resource in kinds),
        *(add(referrers, reading.extra_referrers(source)) for source in sources_of(references, extra_referrers)),
    )
    check_clock(api, images, streams, referrers)
    sizes, contested = claims.settled()
    retired, restored = marks.believable(api.clock.now_or_here())
    return Snapshot(
        cluster=cluster,
        as_of=now,
        images=tuple(images),
        streams=tuple(streams),
        limits=tuple(limits),
        referrers=tuple(referrers),
        blob_sizes=sizes,
        contested_sizes=contested,
        absent=tuple(sorted(reading.absent)),
        idle_paths=tuple(sorted(reading.idle_paths)),
        sources=tuple(sorted(reading.sources, key=lambda source: source.name)),
        resource_versions=reading.versions,
        unlinked=unlinked,
        retired=retired,
        restored=restored,
    )


def kinds_of(references: References) -> tuple[Resource, ...]:
    """The kinds whose objects use images, by the rules that were asked for (R1, R10)."""
    return (*WORKLOADS, CONTROLLER_REVISIONS) if references == "extended" else WORKLOADS


def check_clock(api: Api, images: list[Image], streams: list[ImageStream], referrers: list[Referrer]) -> None:
    """Raise UnsafePlanError for a clock that is behind the
    newest object, or that the answers meanwhile disagree about.
    """
    image = max(images, key=attrgetter("created"), default=None)
    newest = (BEGINNING, "") if image is None else (image.created, f"image {image.name}")
    for stream in streams:
        if (created := moment(stream.metadata.creation_timestamp)) > newest[0]:
            newest = (created, f"image stream {stream.name}")
    for referrer in referrers:
        meta = referrer.workload.metadata
        if (created := moment(meta.creation_timestamp)) > newest[0]:
            newest = (created, f"{referrer.kind} {meta.namespace}/{meta.name}")
    api.clock.check(*newest)


def _now(api: Api, as_of: datetime | None) -> datetime:
    """The time that ages are measured against (R2).

    Raises UnsafePlanError for a future one, and for a clock that cannot be believed.
    """
    if as_of is None:
        return api.clock.now()
    clock = api.clock.now_or_here()
    if as_of > clock:
        raise UnsafePlanError(
            f"as_of: {as_of:%Y-%m-%dT%H:%M:%SZ} is ahead of the API server's clock, {clock:%Y-%m-%dT%H:%M:%SZ}; give a "
            "time that has passed"
        )
    return as_of


class Reading:
    """One reading of a cluster: what is gathered in addition to the objects."""

    def __init__(self, api: Api, progress: Progress) -> None:
        self.api = api
        self.progress = progress
        self.absent: set[str] = set()
        self.idle_paths: set[str] = set()
        self.sources: set[PodSource] = set()
        self.versions: dict[str, str] = {}

    async def list_all(
        self,
        resource: Resource,
        decoder: msgspec.json.Decoder[Page[T]],
        kept: Callable[[list[T]], Iterable[U]],
        *,
        ahead: int = 1,
    ) -> list[U]:
        """All objects of a kind, as they are `kept` of each page; none where the cluster does not serve it.

        So many pages are asked for `ahead` of the one that is read. Begins again when the list expires (410).
        """
        if not await self.api.serves(resource):
            await self._check_other_versions(resource)
            self.absent.add(resource.name)
            return []
        for _ in range(RESTARTS):
            found: list[U] = []
            self.versions.pop(resource.name, None)
            try:
                await self._gather(
                    resource,
                    decoder,
                    lambda items, found=found: found.extend(kept(items)),  # type: ignore[misc]
                    ahead,
                )
            except ExpiredError:
                continue
            return found
        raise ClusterError(
            f"{self.api.server}: the list of {resource.name} has expired {RESTARTS} times before it was read"
        )

    async def _check_other_versions(self, resource: Resource) -> None:
        """Raise ClusterError where the cluster serves the kind in
        another version: it has objects, and they would not be seen (R3).
        """
        for version in await self.api.discovery.other_versions(resource):
            raise ClusterError(
                f"{self.api.server}: {resource.name} is served as {version} and not as {resource.version}, so what it "
                "uses cannot be seen; for a kind of extra_referrers give that version"
            )

    async def _gather(
        self, resource: Resource, decoder: msgspec.json.Decoder[Page[T]], take: Callable[[list[T]], object], ahead: int
    ) -> None:
        count = 0
        async with aclosing(self.api.pages(resource, decoder, ahead=ahead)) as pages:
            async for page in pages:
                self.versions.setdefault(resource.name, page.metadata.resource_version)
                count += len(page.items)
                take(page.items)
                self.progress(f"reading {resource.plural}: {count}")

    async def images(self) -> tuple[list[Image], SizeClaims, Marks]:
        """The images, compact, and what they say about the sizes of their blobs and about their retirement."""
        claims, marks = SizeClaims(), Marks()
        images = await self.list_all(IMAGES, _images, lambda images: compact(images, claims, marks), ahead=AHEAD)
        return images, claims, marks

    async def streams(self, images: Iterable[Image]) -> list[ImageStream]:
        """The image streams, whose items share the digests of the images, and their times, with each other."""
        known = {image.name: image.name for image in images}
        events: dict[str, TagEvent] = {}
        return await self.list_all(
            IMAGE_STREAMS,
            _streams,
            lambda streams: [with_shared(stream, known, events) for stream in streams],
            ahead=AHEAD,
        )

    async def limits(self) -> list[ImageLimit]:
        server = self.api.server
        return await self.list_all(
            LIMIT_RANGES, _limits, lambda ranges: [limit for found in ranges for limit in image_limits(found, server)]
        )

    async def referrers(self, resource: Resource) -> list[Referrer]:
        if resource == CONTROLLER_REVISIONS:
            return await self.list_all(resource, _revisions, lambda revisions: map(revision_referrer, revisions))
        return await self.list_all(
            resource, _workloads[resource], lambda workloads: [Referrer(resource.kind, it) for it in workloads]
        )

    async def extra_referrers(self, source: PodSource) -> list[Referrer]:
        """Objects of a kind that `extra_referrers` names, or that nodes boot from (R10, R13)."""
        (source,) = await in_served_versions(self.api, [source])
        resource = Resource(source.group, source.version, source.resource)
        kind = await self.api.discovery.kind_of(resource)
        idle = {*source.template, *source.images}

        def read(raw: msgspec.Raw) -> Referrer:
            found = decoded(raw, source)
            check_item(found, resource, kind, self.api.server)
            referrer = extra_referrer(source, found)
            idle.difference_update([path for path in idle if stands_at(source, path, found)])
            return referrer

        referrers = await self.list_all(resource, _raw, lambda found: map(read, found))
        self.sources.add(source)
        if is_optional(source):
            self.absent.discard(resource.name)
        if referrers and not is_known(source):
            self._check_paths(source, idle, len(referrers))
        return referrers

    def _check_paths(self, source: PodSource, idle: set[str], count: int) -> None:
        """Raise ClusterError for the path of a template that no
        object has: it is misspelt, or what they use is elsewhere.
        """
        misspelt = [path for path in source.template if path in idle]
        if misspelt:
            raise ClusterError(
                f"{self.api.server}: extra_referrers: none of {count} {source.name} has containers at "
                f"{' or '.join(misspelt)}, so what they use is not known; give the path of the pod template"
            )
        self.idle_paths.update(f"{path} of {source.name}" for path in idle)
