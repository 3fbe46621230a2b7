"""Follows the cluster during a run, so that everything that comes to need an object is known before it is deleted.

A `Watcher` follows images, image streams and all workloads from the resource versions of a snapshot, and adds what it
observes to `Needs`. What comes up while the snapshot is still being analysed is kept until the analysis is there. A run
asks just before every deletion whether the view `is_fresh`: a watch lasts seconds and is begun again and again, so that
a dead connection is noticed, and while one is down deletions wait. Where a watch cannot be had, or has lost its place,
`failure` says why, and the run reads the cluster again instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

import msgspec

from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.usage import Usage
from pruner.apply.needs import Needs
from pruner.cluster.api import Api
from pruner.cluster.controller_revisions import revision_referrer
from pruner.cluster.further_kinds import decoded, extra_referrer
from pruner.cluster.images import compact
from pruner.cluster.objects import ApiImage, ImageStream, Snapshot
from pruner.cluster.resources import CONTROLLER_REVISIONS, IMAGE_STREAMS, IMAGES, Resource
from pruner.cluster.sizes import SizeClaims
from pruner.cluster.snapshot import kinds_of
from pruner.cluster.watches import WatchEvent
from pruner.cluster.workloads import ControllerRevision, Referrer, Workload
from pruner.errors import ClusterError, ExpiredError
from pruner.settings import PodSource, Settings

SECONDS: Final = 15
"""How long a watch lasts before it is begun again: after as long, and a few seconds, a dead connection is noticed."""
_RECONNECT: Final = 0.2
"""Seconds before a watch that has ended in failure is begun again, twice as many after every further one."""
ATTEMPTS: Final = 3
"""Failures in a row after which a watch is given up."""
_REFUSED: Final = frozenset({401, 403, 404, 405})


class Watcher:
    """Watches on everything that a snapshot has read. Use it as an asynchronous context manager.

    `good_for` are the seconds for which the snapshot is fresh where the cluster cannot be watched.
    """

    def __init__(self, api: Api, settings: Settings, snapshot: Snapshot, good_for: float) -> None:
        self.api = api
        self.settings = settings
        self.snapshot = snapshot
        self.needs = Needs(snapshot, settings.analysis)
        self.failure: str | None = None
        self._good_until = asyncio.get_running_loop().time() + good_for
        self._pending: list[tuple[Resource, PodSource | None, WatchEvent]] | None = []
        self._disconnected: set[int] = set()
        self._all_connected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        kinds = list(self._kinds())
        self._disconnected = set(range(len(kinds)))
        self._tasks = [asyncio.create_task(self._follow(number, *kind)) for number, kind in enumerate(kinds)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, graph: IndexGraph, on_usage: Callable[[Usage], None]) -> None:
        """The snapshot is analysed: what came up meanwhile is added to the needs.

        `on_usage` is called with every use from now on.
        """
        self.needs.begin(graph, on_usage)
        pending, self._pending = self._pending or [], None
        for resource, source, event in pending:
            self._add_or_distrust(resource, source, event)

    async def is_fresh(self) -> bool:
        """Whether what is known is fresh enough to delete by it. Waits while a watch is being reconnected."""
        if self.failure is None:
            await self._all_connected.wait()
        return self.failure is None or asyncio.get_running_loop().time() < self._good_until

    def _kinds(self) -> Iterable[tuple[Resource, PodSource | None]]:
        kinds = [(resource, None) for resource in (IMAGES, IMAGE_STREAMS, *kinds_of(self.settings.references))]
        extra = [(Resource(it.group, it.version, it.resource), it) for it in self.snapshot.sources]
        return ((kind, source) for kind, source in [*kinds, *extra] if kind.name in self.snapshot.resource_versions)

    async def _follow(self, number: int, resource: Resource, source: PodSource | None) -> None:
        """Follow one kind until the run ends. Gives up when its place in time is lost or it is refused."""
        version = self.snapshot.resource_versions[resource.name]
        failures = 0
        clock = asyncio.get_running_loop().time
        while self.failure is None:
            begun, before = clock(), version
            try:
                async with self.api.watch(resource, version, seconds=SECONDS) as events:
                    self._connected(number)
                    async for event in events:
                        failures = 0
                        version = event.version or version
                        self._note(resource, source, event)
                if version == before and clock() - begun < 1:
                    raise ClusterError(f"{self.api.server}: watch {resource.name}: it ends as soon as it has begun")
                failures = 0
                self._lose_connection(number)
            except ExpiredError as error:
                self._give_up(str(error))
            except ClusterError as error:
                self._lose_connection(number)
                failures += 1
                if error.status in _REFUSED or failures == ATTEMPTS:
                    self._give_up(str(error))
                else:
                    await asyncio.sleep(_RECONNECT * 2 ** (failures - 1))
            except Exception as error:  # noqa: BLE001 - whatever ends it, the run must not go on as if nothing came up
                self._distrust(f"watch {resource.name}: {type(error).__name__}: {error}")

    def _connected(self, number: int) -> None:
        self._disconnected.discard(number)
        if not self._disconnected:
            self._all_connected.set()

    def _lose_connection(self, number: int) -> None:
        self._disconnected.add(number)
        if self.failure is None:
            self._all_connected.clear()

    def _give_up(self, why: str) -> None:
        """Continue with the snapshot for as long as it is fresh."""
        self.failure = self.failure or why
        self._all_connected.set()

    def _distrust(self, why: str) -> None:
        """Something came up that is not understood: the view cannot be deleted by any more."""
        self._good_until = 0.0
        self._give_up(why)

    def _note(self, resource: Resource, source: PodSource | None, event: WatchEvent) -> None:
        if event.type not in ("ADDED", "MODIFIED"):
            return
        if self._pending is not None:
            self._pending.append((resource, source, event))
        else:
            self._add_or_distrust(resource, source, event)

    def _add_or_distrust(self, resource: Resource, source: PodSource | None, event: WatchEvent) -> None:
        try:
            self._add(resource, source, event.object)
        except Exception as error:  # noqa: BLE001 - what has come up cannot be understood, so what it uses is not known
            self._distrust(f"{resource.name}: {error}")

    def _add(self, resource: Resource, source: PodSource | None, raw: msgspec.Raw) -> None:
        if resource == IMAGES:
            self.needs.add_image(next(iter(compact([msgspec.json.decode(raw, type=ApiImage)], SizeClaims()))))
        elif resource == IMAGE_STREAMS:
            self.needs.add_stream(msgspec.json.decode(raw, type=ImageStream))
        elif source is not None:
            self.needs.add_referrer(extra_referrer(source, decoded(raw, source)))
        elif resource == CONTROLLER_REVISIONS:
            self.needs.add_referrer(revision_referrer(msgspec.json.decode(raw, type=ControllerRevision)))
        else:
            self.needs.add_referrer(Referrer(resource.kind, msgspec.json.decode(raw, type=Workload)))
