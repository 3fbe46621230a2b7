"""Watches on one cluster: the connections, and whether what they have shown is fresh.

A watch lasts seconds and is begun again and again, so that a dead connection is noticed, and while one is down nobody
may rely on the others. Where a watch cannot be had, or has lost its place, `failure` says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from pruner.cluster.api import Api
from pruner.cluster.resources import Resource
from pruner.cluster.watches import WatchEvent
from pruner.errors import ClusterError, ConnectionLostError, ExpiredError
from pruner.settings import PodSource

SECONDS: Final = 15
"""How long a watch lasts before it is begun again: after as long, and a few seconds, a dead connection is noticed."""
_RECONNECT: Final = 0.2
"""Seconds before a watch that has ended in failure is begun again, twice as many after every further one."""
ATTEMPTS: Final = 3
"""Failures in a row after which a watch is given up."""
_REFUSED: Final = frozenset({401, 403, 404, 405})

Kinds = Sequence[tuple[Resource, PodSource | None]]
"""Kinds to watch, each with where a further kind has its images."""
Add = Callable[[Resource, PodSource | None, msgspec.Raw], None]
"""Takes in an object that came up, or raises what makes the view of the cluster worthless."""


class ClusterWatch:
    """Watches on `kinds` of one cluster, from the `versions` of a snapshot; objects that come up are given to `add`.

    `good_for` are the seconds for which the snapshot is fresh where the cluster cannot be watched. With `must_answer`
    it is fresh only for as long as the cluster can be reached: deletions elsewhere would not notice that it is gone.
    """

    def __init__(
        self,
        api: Api,
        kinds: Kinds,
        versions: Mapping[str, str],
        add: Add,
        good_for: float,
        *,
        must_answer: bool = False,
    ) -> None:
        self.api = api
        self.failure: str | None = None
        self._kinds = kinds
        self._versions = versions
        self._add = add
        self._good_until = asyncio.get_running_loop().time() + good_for
        self._must_answer = must_answer
        self._pending: list[tuple[Resource, PodSource | None, WatchEvent]] | None = []
        self._disconnected = set(range(len(kinds)))
        self._all_connected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Follow all kinds. What comes up is kept until `begin`."""
        self._tasks = [asyncio.create_task(self._follow(number, *kind)) for number, kind in enumerate(self._kinds)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self) -> None:
        """Take in what came up meanwhile, and from now on what comes up."""
        pending, self._pending = self._pending or [], None
        for resource, source, event in pending:
            self._add_or_distrust(resource, source, event)

    @property
    def is_settled(self) -> bool:
        """Whether everything is watched, or given up."""
        return self.failure is not None or not self._disconnected

    async def settled(self) -> None:
        """Wait while a watch is being reconnected."""
        if not self.is_settled:
            await self._all_connected.wait()

    @property
    def is_fresh(self) -> bool:
        """Whether what is known of a settled watch is fresh enough to delete by it."""
        return self.failure is None or asyncio.get_running_loop().time() < self._good_until

    async def _follow(self, number: int, resource: Resource, source: PodSource | None) -> None:
        """Follow one kind until the run ends. Gives up when its place in time is lost or it is refused."""
        version = self._versions[resource.name]
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
                if failures == ATTEMPTS and self._must_answer and isinstance(error, ConnectionLostError):
                    self._distrust(str(error))
                elif error.status in _REFUSED or failures == ATTEMPTS:
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
