"""Repeat a request while the server is busy or the connection fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from pruner.http.failures import TransportError
from pruner.http.response import Response

TRANSIENT_STATUSES: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses after which a request is repeated: the server cannot answer just now."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often a request is sent, and how long to wait in between (seconds).

    The wait is random, up to `first_wait` doubled with each attempt and at most `longest_wait`, unless the server asks
    for another one with `Retry-After`, which is obeyed up to `longest_retry_after`.
    """

    attempts: int = 5
    first_wait: float = 0.1
    longest_wait: float = 5.0
    longest_retry_after: float = 30.0

    def wait(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds to wait after this attempt, the first of which is 1."""
        if retry_after is not None:
            return min(retry_after, self.longest_retry_after)
        return random.uniform(0, min(self.longest_wait, self.first_wait * 2 ** (attempt - 1)))  # noqa: S311 - jitter

    async def run(self, send: Callable[[], Awaitable[Response]]) -> Response:
        """The last response, whatever its status.

        Raises TransportError when there is none, and whatever else `send` raises.
        """
        attempt = 1
        while True:
            try:
                response = await send()
            except TransportError as error:
                if attempt >= self.attempts or not error.transient:
                    raise
                retry_after = None
            else:
                if attempt >= self.attempts or response.status not in TRANSIENT_STATUSES:
                    return response
                retry_after = response.retry_after
            await asyncio.sleep(self.wait(attempt, retry_after))
            attempt += 1
