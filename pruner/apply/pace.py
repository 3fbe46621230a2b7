"""How many deletions are under way at once, and when to stop altogether.

`Pace.run_all` starts one task for each piece of work, bounded by `workers`. A run of consecutive failures, or a wish to
stop, ends the run: what is under way is finished, nothing new is begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

FAILURES_IN_A_ROW: Final = 20
"""After so many without a success between them the server, or the network, is taken to be down."""


class Pace:
    """A bound on concurrency, a count of failures in a row, and a wish to stop."""

    def __init__(self, workers: int, wish_to_stop: Callable[[], bool] = lambda: False) -> None:
        self.workers = workers
        self._wish_to_stop = wish_to_stop
        self._failures = 0
        self.stopped: str | None = None

    @property
    def stopping(self) -> bool:
        """Whether nothing new is to be begun; `stopped` then says why."""
        if self._wish_to_stop():
            self.stop("interrupted")
        return self.stopped is not None

    def stop(self, why: str) -> None:
        """Begin nothing new."""
        self.stopped = self.stopped or why

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            self.stop(f"{self._failures} failures in a row")

    async def run_all(self, work: Callable[[T], Awaitable[None]], pieces: Iterable[T]) -> None:
        """Do all the work, `workers` pieces at a time. What `work` raises ends the run and is raised here."""
        waiting = iter(pieces)

        async def worker() -> None:
            for piece in waiting:
                if self.stopping:
                    return
                await work(piece)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.workers):
                group.create_task(worker())
