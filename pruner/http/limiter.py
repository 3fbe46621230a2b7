"""How many requests are in flight at once: fewer while the server says that it is busy."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self


class Limiter:
    """At most `workers` requests in flight, with additive increase and multiplicative decrease.

    After 429 or 503 the limit is halved, once for all requests that were in flight; each success brings back a little
    of it. Use it as an asynchronous context manager around a request, and report the status with `observe`.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.limit = float(workers)
        self._in_flight = 0
        self._stale = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> Self:
        if not self._waiting and self._has_room():
            self._in_flight += 1
            return self
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                # It was admitted already, and does not come any more.
                self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._in_flight -= 1
        self._admit()

    def _has_room(self) -> bool:
        return self._in_flight < max(1, int(self.limit))

    def _admit(self) -> None:
        """Give free places to waiting requests, first come, first served."""
        while self._waiting and self._has_room():
            place = self._waiting.popleft()
            if not place.cancelled():
                self._in_flight += 1
                place.set_result(None)

    def observe(self, status: int) -> None:
        """Adapt the limit to the status of a response."""
        if status in (429, 503):
            if self._stale <= 0:
                self.limit = max(1.0, self.limit / 2)
                # Requests in flight were sent before the limit was lowered: their refusals say nothing new.
                self._stale = self._in_flight
            self._stale -= 1
        else:
            self._stale = 0
            self.limit = min(float(self.workers), self.limit + 1 / self.limit)
