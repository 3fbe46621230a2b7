"""Keeping an eye on the cluster while a run goes on: whatever could need something that is about to be deleted.

A `Watcher` follows images, image streams and all workloads from the resource versions of a snapshot. What comes up is kept as uses: digests
that are named or used, blobs that an image needs, tags and digests of streams for the rules of history. A run asks it just before every
deletion. Where a watch cannot be had, or has lost its place, `blind` says so, and the run reads the cluster again instead.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

import msgspec

from pruner.analysis import find_usage
from pruner.analysis.family import Family
from pruner.analysis.usage import Usage, local_lookups
from pruner.cluster.api import Api
from pruner.cluster.objects import ControllerRevision, ImageOnTheWire, ImageStream, Referrer, Snapshot, Workload
from pruner.cluster.resources import CONTROLLER_REVISIONS, IMAGE_STREAMS, IMAGES, Resource
from pruner.cluster.snapshot import compact, extra_referrer, kinds_of, revision_referrer
from pruner.errors import ClusterError, ExpiredError, InvalidReferencesError
from pruner.plan import PrunedImage
from pruner.settings import PodSource, Settings, rules

_RECONNECT: Final = 1.0
"""Seconds before a watch that has ended in failure is begun again."""

ATTEMPTS: Final = 5
"""Failures in a row after which a watch is given up."""


class Watcher:
    """Uses that have come up since a snapshot was taken. Use it as an asynchronous context manager."""

    def __init__(
        self, api: Api, settings: Settings, snapshot: Snapshot, family: Family, on_usage: Callable[[Usage], None]
    ) -> None:
        self.api = api
        self.settings = settings
        self.snapshot = snapshot
        self.family = family
        self.on_usage = on_usage
        self.blind: str | None = None
        self._local = local_lookups(snapshot)
        self._used: dict[str, str] = {}
        self._needed: dict[str, str] = {}
        self._named: defaultdict[str, set[str]] = defaultdict(set)
        self._names: dict[str, set[str]] = {}
        self._sharing: defaultdict[str, list[str]] = defaultdict(list)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._follow(resource, source)) for resource, source in self._kinds()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def guard(self, images: Iterable[PrunedImage]) -> None:
        """These are about to be deleted: which of them share a blob."""
        self._sharing.clear()
        for image in images:
            for blob in image.blobs:
                self._sharing[blob].append(image.name)

    def new_use(self, image: PrunedImage) -> str | None:
        """Who needs the image, or one of the blobs that would go with it, by now; None when nobody does."""
        user = self._user(image.name)
        if user is not None:
            return f"used by now: {user}"
        for blob in (image.name, *image.blobs):
            needing = self._needed.get(blob) or next(filter(None, map(self._user, self._sharing.get(blob, ()))), None)
            if needing is not None:
                return f"its blob {blob} is needed by now: {needing}"
        return None

    def spare(self, image: PrunedImage) -> None:
        """An image that is left alone keeps its blobs, also those that other images would take with them."""
        self._used.setdefault(image.name, f"image {image.name} is left alone")

    def _user(self, digest: str) -> str | None:
        if digest in self._used:
            return self._used[digest]
        named = self._named.get(digest)
        return f"image stream {min(named)}" if named else None

    def _kinds(self) -> Iterable[tuple[Resource, PodSource | None]]:
        kinds = [(resource, None) for resource in (IMAGES, IMAGE_STREAMS, *kinds_of(self.settings.references))]
        extra = [(Resource(it.group, it.version, it.resource), it) for it in self.settings.extra_referrers]
        return ((kind, source) for kind, source in [*kinds, *extra] if kind.name in self.snapshot.resource_versions)

    async def _follow(self, resource: Resource, source: PodSource | None) -> None:
        """Follow one kind until the run ends. Gives up, and says so, when its place in time is lost or it is refused."""
        version = self.snapshot.resource_versions[resource.name]
        failures = 0
        while self.blind is None:
            try:
                async for event in self.api.watch(resource, version):
                    failures = 0
                    version = event.about.metadata.resource_version or version
                    if event.type in ("ADDED", "MODIFIED"):
                        self._take(resource, source, event.object)
            except ExpiredError as error:
                self.blind = str(error)
            except ClusterError as error:
                failures += 1
                if error.status in (401, 403, 404, 405) or failures == ATTEMPTS:
                    self.blind = str(error)
                else:
                    await asyncio.sleep(_RECONNECT)

    def _take(self, resource: Resource, source: PodSource | None, raw: msgspec.Raw) -> None:
        try:
            if resource == IMAGES:
                self._take_image(msgspec.json.decode(raw, type=ImageOnTheWire))
            elif resource == IMAGE_STREAMS:
                self._take_stream(msgspec.json.decode(raw, type=ImageStream))
            elif source is not None:
                self._take_referrer(extra_referrer(source, msgspec.json.decode(raw)))
            elif resource == CONTROLLER_REVISIONS:
                self._take_referrer(revision_referrer(msgspec.json.decode(raw, type=ControllerRevision)))
            else:
                self._take_referrer(Referrer(resource.kind, msgspec.json.decode(raw, type=Workload)))
        except (msgspec.DecodeError, InvalidReferencesError) as error:
            # What has come up cannot be understood, so what it uses is not known: look at everything again.
            self.blind = f"{resource.name}: {error}"

    def _take_image(self, wire: ImageOnTheWire) -> None:
        image = next(iter(compact([wire], {})))
        if image.name in self.family.images:
            # Known to the analysis, or about to be deleted; that it has not changed is seen just before it goes.
            return
        for blob in (image.name, *image.layers, *([image.config] if image.config else [])):
            self._needed.setdefault(blob, f"image {image.name}")
        for member in self.family.with_members(image.members):
            self._used.setdefault(member, f"index {image.name}")

    def _take_stream(self, stream: ImageStream) -> None:
        """What the stream names by now, instead of what it named before: an update of our own is such an event too."""
        for digest in self._names.pop(stream.name, ()):
            self._named[digest].discard(stream.name)
        items = (item.image for history in stream.histories for item in history.items or ())
        self._names[stream.name] = self.family.with_members(items)
        for digest in self._names[stream.name]:
            self._named[digest].add(stream.name)
        if self.settings.references == "extended":
            self._take_usage(msgspec.structs.replace(self._nothing(), streams=(stream,)))

    def _take_referrer(self, referrer: Referrer) -> None:
        self._take_usage(msgspec.structs.replace(self._nothing(), referrers=(referrer,)))

    def _take_usage(self, found: Snapshot) -> None:
        usage = find_usage(found, rules(self.settings), self._local)
        self.on_usage(usage)
        for digest, users in usage.anywhere.items():
            for reached in self.family.with_members(self.family.with_indexes([digest])):
                self._used.setdefault(reached, ", ".join(users))

    def _nothing(self) -> Snapshot:
        """The snapshot without objects."""
        return msgspec.structs.replace(self.snapshot, images=(), referrers=(), streams=())
