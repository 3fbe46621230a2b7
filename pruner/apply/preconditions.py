"""Preconditions of deletions: what must still be true each time that a deletion is sent.

A request may have to wait for the limiter, or because the server asks for it, and the cluster changes meanwhile. So the
check is made when the request is sent. A deletion that must not happen any more is withdrawn: by `NeededError` where
something needs the object, by `StaleViewError` where the cluster has to be read again first, or the run is to stop.
"""

from __future__ import annotations

from collections.abc import Callable

from pruner.apply.watch import Watcher
from pruner.apply.workers import CircuitBreaker
from pruner.http.client import Precondition


class WithdrawnError(Exception):
    """A deletion that was not sent."""


class NeededError(WithdrawnError):
    """It is needed now; `str()` says by whom."""


class StaleViewError(WithdrawnError):
    """What is known of the cluster is not fresh enough to delete by it, or the run is to stop."""


class Preconditions:
    """Checks that a deletion is still right when it is sent, and each time that it is sent again."""

    def __init__(self, watcher: Watcher, breaker: CircuitBreaker) -> None:
        self.watcher = watcher
        self.needs = watcher.needs
        self.breaker = breaker

    def unless(self, needed: Callable[[], str | None]) -> Precondition:
        """What to await before a request that must not be sent when something is `needed`."""

        async def check() -> None:
            if self.breaker.stopping or not await self.watcher.is_fresh():
                raise StaleViewError
            why = needed()
            if why is not None:
                raise NeededError(why)

        return check
