"""How many deletions are in flight at once, and when to stop altogether."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

FAILURES_IN_A_ROW: Final = 20
"""After so many without a success in between, the server or the network counts as down."""


class CircuitBreaker:
    """Ends a run after many failures in a row, when the user interrupts it, or when somebody calls `stop`.

    What is in flight is finished, nothing new is begun. `stopped` says why.
    """

    def __init__(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        self._interrupted = interrupted
        self._failures = 0
        self.stopped: str | None = None

    @property
    def stopping(self) -> bool:
        """Whether nothing new must be begun; `stopped` then says why."""
        if self._interrupted():
            self.stop("interrupted")
        return self.stopped is not None

    def stop(self, why: str) -> None:
        """Begin nothing new. The first reason stays."""
        self.stopped = self.stopped or why

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            self.stop(f"{self._failures} failures in a row")


class WorkerPool:
    """Works on `workers` pieces at a time, until the circuit breaker opens."""

    def __init__(self, workers: int, breaker: CircuitBreaker) -> None:
        self._workers = workers
        self._breaker = breaker

    async def run(self, work: Callable[[T], Awaitable[None]], pieces: Iterable[T]) -> None:
        """Do all the work. What `work` raises ends the run and is raised here, in an ExceptionGroup."""
        waiting = iter(pieces)

        async def worker() -> None:
            for piece in waiting:
                if self._breaker.stopping:
                    return
                await work(piece)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(worker())
