"""Keeping an eye on the cluster while a run goes on: whatever could need something that is about to be deleted.

A `Watcher` follows images, image streams and all workloads from the resource versions of a snapshot. What comes up while the snapshot is
still being analysed is kept, and taken in when the analysis is there: digests that are named or used, blobs that an image needs,
links that a repository needs, tags and digests of streams for the rules of history. A run asks it just before every deletion, and first
of all whether it `is_fresh`: a watch is a matter of seconds and begun again and again, so that a connection that has died is noticed, and
while one is down deletions wait. Where a watch cannot be had, or has lost its place, `blind` says so, and the run reads the cluster
again instead.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

import msgspec

from pruner.analysis import find_usage
from pruner.analysis.blobs import blobs_of, layers_and_configs, pushed_to
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.usage import Usage, local_lookups
from pruner.cluster.api import Api
from pruner.cluster.controller_revisions import revision_referrer
from pruner.cluster.further_kinds import decoded, extra_referrer
from pruner.cluster.images import compact
from pruner.cluster.objects import ApiImage, Image, ImageStream, Snapshot
from pruner.cluster.resources import CONTROLLER_REVISIONS, IMAGE_STREAMS, IMAGES, Resource
from pruner.cluster.sizes import SizeClaims
from pruner.cluster.snapshot import kinds_of
from pruner.cluster.watches import WatchEvent
from pruner.cluster.workloads import ControllerRevision, Referrer, Workload
from pruner.errors import ClusterError, ExpiredError
from pruner.plan import PrunedImage
from pruner.settings import PodSource, Settings

SECONDS: Final = 15
"""How long a watch lasts before it is begun again: after as long, and a few seconds, a dead connection is noticed."""
_RECONNECT: Final = 0.2
"""Seconds before a watch that has ended in failure is begun again, twice as many after every further one."""
ATTEMPTS: Final = 3
"""Failures in a row after which a watch is given up."""
_REFUSED: Final = frozenset({401, 403, 404, 405})


class Watcher:
    """Uses that have come up since a snapshot was taken. Use it as an asynchronous context manager.

    `good_for` are the seconds for which the snapshot may be gone by where the cluster cannot be watched.
    """

    def __init__(self, api: Api, settings: Settings, snapshot: Snapshot, good_for: float) -> None:
        self.api = api
        self.settings = settings
        self.snapshot = snapshot
        self.graph = IndexGraph(())
        self.blind: str | None = None
        self._on_usage: Callable[[Usage], None] = lambda _: None
        self._local = local_lookups(snapshot)
        self._streams = {stream.name: stream for stream in snapshot.streams}
        self._good_until = asyncio.get_running_loop().time() + good_for
        self._early: list[tuple[Resource, PodSource | None, WatchEvent]] | None = []
        self._used: dict[str, str] = {}
        self._needed: dict[str, str] = {}
        self._named: dict[str, dict[str, str]] = {}
        self._linked: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._referred: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        self._unseen: set[int] = set()
        self._seeing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        kinds = list(self._kinds())
        self._unseen = set(range(len(kinds)))
        self._tasks = [asyncio.create_task(self._follow(number, *kind)) for number, kind in enumerate(kinds)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def know(self, graph: IndexGraph, on_usage: Callable[[Usage], None]) -> None:
        """The snapshot is analysed: what has come up meanwhile is taken in. `on_usage` is told of every use from now on."""
        self.graph = graph
        self._on_usage = on_usage
        early, self._early = self._early or [], None
        for resource, source, event in early:
            self._take_or_doubt(resource, source, event)

    # --- asked before deletions ---------------------------------------------------------------------------------------

    async def is_fresh(self) -> bool:
        """Whether what is known is fresh enough to delete by it. Waits while a watch is being begun again."""
        if self.blind is None:
            await self._seeing.wait()
        return self.blind is None or asyncio.get_running_loop().time() < self._good_until

    def new_use(self, image: PrunedImage) -> str | None:
        """Who needs the image, or one of the blobs that would be deleted with it; None when nobody does."""
        user = self._used.get(image.name)
        if user is not None:
            return f"in use now: {user}"
        return next(filter(None, map(self.needs_blob, (image.name, *image.blobs))), None)

    def needs_blob(self, digest: str) -> str | None:
        """Who needs a blob; None when nobody does."""
        needing = self._needed.get(digest)
        return f"its blob {digest} is needed now: {needing}" if needing else None

    def needs_link(self, repository: str, digest: str) -> str | None:
        """Who needs a layer or a manifest in a repository, `namespace/name`; None when nobody does."""
        needing = self._named.get(repository, {}).get(digest) or self._linked[repository].get(digest)
        return f"needed now: {needing}" if needing else None

    def needed_links(self) -> list[tuple[str, str, str]]:
        """Repository, digest and who needs it there, of all that has come up."""
        return [
            (repository, digest, user)
            for repositories in (self._named, self._linked)
            for repository, digests in repositories.items()
            for digest, user in digests.items()
        ]

    def refers_to_stream(self, stream: str) -> str | None:
        """Who refers to an image stream, `namespace/name`, since the snapshot; None when nobody does."""
        user = self._referred.get(stream)
        return f"referred to since it was planned: {user}" if user else None

    def keep(self, image: PrunedImage) -> None:
        """A skipped image keeps its blobs, also those that would be deleted with other images."""
        self._use(image.name, f"image {image.name} is skipped")

    def updated(self, stream: ImageStream) -> None:
        """An image stream as this run has just made it: older events about it say nothing any more."""
        self._take_stream(stream)

    # --- following ----------------------------------------------------------------------------------------------------

    def _kinds(self) -> Iterable[tuple[Resource, PodSource | None]]:
        kinds = [(resource, None) for resource in (IMAGES, IMAGE_STREAMS, *kinds_of(self.settings.references))]
        extra = [(Resource(it.group, it.version, it.resource), it) for it in self.snapshot.sources]
        return ((kind, source) for kind, source in [*kinds, *extra] if kind.name in self.snapshot.resource_versions)

    async def _follow(self, number: int, resource: Resource, source: PodSource | None) -> None:
        """Follow one kind until the run ends. Gives up, and says so, when its place in time is lost or it is refused."""
        version = self.snapshot.resource_versions[resource.name]
        failures = 0
        clock = asyncio.get_running_loop().time
        while self.blind is None:
            begun, before = clock(), version
            try:
                async with self.api.watch(resource, version, seconds=SECONDS) as events:
                    self._see(number)
                    async for event in events:
                        failures = 0
                        version = event.version or version
                        self._note(resource, source, event)
                if version == before and clock() - begun < 1:
                    raise ClusterError(f"{self.api.server}: watch {resource.name}: it ends as soon as it has begun")
                failures = 0
                self._lose_sight(number)
            except ExpiredError as error:
                self._give_up(str(error))
            except ClusterError as error:
                self._lose_sight(number)
                failures += 1
                if error.status in _REFUSED or failures == ATTEMPTS:
                    self._give_up(str(error))
                else:
                    await asyncio.sleep(_RECONNECT * 2 ** (failures - 1))
            except Exception as error:  # noqa: BLE001 - whatever ends it, the run must not go on as if nothing came up any more
                self._doubt(f"watch {resource.name}: {type(error).__name__}: {error}")

    def _see(self, number: int) -> None:
        self._unseen.discard(number)
        if not self._unseen:
            self._seeing.set()

    def _lose_sight(self, number: int) -> None:
        self._unseen.add(number)
        if self.blind is None:
            self._seeing.clear()

    def _give_up(self, why: str) -> None:
        """Go on by the snapshot for as long as it is good."""
        self.blind = self.blind or why
        self._seeing.set()

    def _doubt(self, why: str) -> None:
        """Something has come up that is not understood: what was seen is good for nothing any more."""
        self._good_until = 0.0
        self._give_up(why)

    # --- taking in ----------------------------------------------------------------------------------------------------

    def _note(self, resource: Resource, source: PodSource | None, event: WatchEvent) -> None:
        if event.type not in ("ADDED", "MODIFIED"):
            return
        if self._early is not None:
            self._early.append((resource, source, event))
        else:
            self._take_or_doubt(resource, source, event)

    def _take_or_doubt(self, resource: Resource, source: PodSource | None, event: WatchEvent) -> None:
        try:
            self._take(resource, source, event.object)
        except Exception as error:  # noqa: BLE001 - what has come up cannot be understood, so what it uses is not known
            self._doubt(f"{resource.name}: {error}")

    def _take(self, resource: Resource, source: PodSource | None, raw: msgspec.Raw) -> None:
        if resource == IMAGES:
            self._take_image(next(iter(compact([msgspec.json.decode(raw, type=ApiImage)], SizeClaims()))))
        elif resource == IMAGE_STREAMS:
            self._take_stream(msgspec.json.decode(raw, type=ImageStream))
        elif source is not None:
            self._take_referrer(extra_referrer(source, decoded(raw, source)))
        elif resource == CONTROLLER_REVISIONS:
            self._take_referrer(revision_referrer(msgspec.json.decode(raw, type=ControllerRevision)))
        else:
            self._take_referrer(Referrer(resource.kind, msgspec.json.decode(raw, type=Workload)))

    def _use(self, digest: str, user: str) -> None:
        """The digest is used, with everything in it."""
        self._used.setdefault(digest, user)
        image = self.graph.images.get(digest)
        for blob in (digest, *(blobs_of(image) if image is not None else ())):
            self._needed.setdefault(blob, user)

    def _take_image(self, image: Image) -> None:
        known = self.graph.images.get(image.name)
        if known is not None and known.uid == image.uid:
            # Known to the analysis, or about to be deleted; that it has not changed is seen just before it goes.
            return
        for blob in blobs_of(image):
            self._needed.setdefault(blob, f"image {image.name}")
        members = self.graph.with_members(image.members)
        for member in members:
            self._use(member, f"index {image.name}")
        repository = pushed_to(image.location) if image.managed else None
        if repository is not None:
            for blob in {*blobs_of(image), *self._repository_blobs(members)}:
                self._linked[repository].setdefault(blob, f"image {image.name}")

    def _take_stream(self, stream: ImageStream) -> None:
        """What the stream names now, instead of what it named before: an update of our own is such an event too."""
        if _is_older(stream.metadata.resource_version, self._versions.get(stream.name)):
            return
        self._versions[stream.name] = stream.metadata.resource_version
        items = (item.image for history in stream.histories for item in history.items or () if item.image)
        named = self.graph.with_members(items)
        user = f"image stream {stream.name}"
        for digest in named:
            self._use(digest, user)
        self._named[stream.name] = dict.fromkeys(self._repository_blobs(named), user)
        if self.settings.references == "extended":
            self._take_usage(msgspec.structs.replace(self._nothing(), streams=(stream,)))

    def _take_referrer(self, referrer: Referrer) -> None:
        self._take_usage(msgspec.structs.replace(self._nothing(), referrers=(referrer,)))

    def _take_usage(self, found: Snapshot) -> None:
        usage = find_usage(found, self.settings.analysis, self._local, self._streams)
        self._on_usage(usage)
        referred = [(stream, users) for (stream, _), users in [*usage.tags.items(), *usage.digests.items()]]
        for stream, users in [*referred, *usage.outputs.items()]:
            self._referred.setdefault(stream, ", ".join(users))
        for digest, users in usage.anywhere.items():
            for reached in self.graph.with_members(self.graph.with_indexes([digest])):
                self._use(reached, ", ".join(users))
        for (stream, digest), users in usage.digests.items():
            for blob in self._repository_blobs(self.graph.with_members([digest])):
                self._linked[stream].setdefault(blob, ", ".join(users))

    def _repository_blobs(self, digests: Iterable[str]) -> set[str]:
        """What is linked in a repository for these images: the manifests, their layers and configs."""
        found = set(digests)
        return found | layers_and_configs(filter(None, map(self.graph.images.get, found)))

    def _nothing(self) -> Snapshot:
        """The snapshot without objects."""
        return msgspec.structs.replace(self.snapshot, images=(), referrers=(), streams=())


def _is_older(version: str, known: str | None) -> bool:
    """Whether one resource version came before another; what cannot be compared counts as new."""
    return known is not None and version.isdecimal() and known.isdecimal() and int(version) < int(known)
