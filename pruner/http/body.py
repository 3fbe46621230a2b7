"""Receiving bodies and streams, within the bounds of `bounds`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import aiohttp
import msgspec

from pruner.http.bounds import (
    MAX_ERROR_BODY,
    MAX_IN_FLIGHT,
    MAX_LINE,
    MIN_BYTES,
    MIN_PIECES,
    in_words,
)
from pruner.http.decompression import CorruptGzipError, Prefix, claimed_size, gunzip
from pruner.http.failures import UnacceptableResponseError

OnPrefix = Callable[[bytes], bool]
"""Called with the beginning of a body, decompressed, while the
rest is on its way: again with more of it, until it returns true."""

_PREFIX: Final = 64 * 1024
"""Bytes of a body after which OnPrefix is not called any more."""

_LARGE: Final = 64 * 1024
"""Compressed bytes from which on it is worth a thread to decompress."""


class Patience(msgspec.Struct, frozen=True):
    """How slowly a response may come, in seconds: `total` for all of it, `trickle` for MIN_BYTES of it."""

    total: float
    trickle: float


class _Speed:
    """Refuses what takes too long, or trickles. Silence is bounded by aiohttp's read timeout."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._clock = asyncio.get_running_loop().time
        self._started = self._since = self._clock()
        self._bytes = self._pieces = 0

    def received(self, size: int) -> None:
        now = self._clock()
        if now - self._started > self._patience.total:
            raise UnacceptableResponseError(
                f"the response was not complete after {self._patience.total:g} seconds, the most that is waited; "
                "check the network and whether the server is overloaded"
            )
        self._bytes += size
        self._pieces += 1
        if now - self._since > self._patience.trickle:
            if self._bytes < MIN_BYTES and self._pieces >= MIN_PIECES:
                raise UnacceptableResponseError(
                    f"the response trickles: less than {in_words(MIN_BYTES)} in {self._patience.trickle:g} seconds; "
                    "check the network and what stands in between"
                )
            self._since, self._bytes, self._pieces = now, 0, 0


class BodyReader:
    """Receives the bodies of one client, whose memory is bounded together. `max_size` is in bytes, decompressed."""

    def __init__(self, max_size: int, patience: Patience) -> None:
        self._max_size = max_size
        self._patience = patience
        self._in_flight = 0
        # One thread is faster than any network, and each more would have an arena of the allocator's, of a few pages,
        # to itself.
        self._decompressing = ThreadPoolExecutor(1, "gunzip")

    def close(self) -> None:
        self._decompressing.shutdown(wait=False)

    async def read(self, response: aiohttp.ClientResponse, on_prefix: OnPrefix | None = None) -> bytes | bytearray:
        """The complete body, decompressed.

        Raises aiohttp.ClientPayloadError when it is truncated or damaged, UnacceptableResponseError when it exceeds a
        bound.
        """
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        compressed = encoding != "identity"
        if compressed and encoding not in ("gzip", "x-gzip"):
            raise aiohttp.ClientPayloadError(f"Content-Encoding {encoding!r} was not asked for")
        max_size = self._max_size if response.status in (200, 201, 202) else min(self._max_size, MAX_ERROR_BODY)
        buffered = 0
        try:
            prefix = Prefix(compressed=compressed, size=_PREFIX) if on_prefix is not None else None
            if response.method != "HEAD":
                # Of HEAD it is the length of a body that does not come.
                _check_size(response.content_length or 0, max_size, response.status)
            speed = _Speed(self._patience)
            chunks: list[bytes] = []
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                buffered += len(chunk)
                self._buffer(len(chunk))
                _check_size(buffered, max_size, response.status)
                speed.received(len(chunk))
                if prefix is not None and on_prefix is not None and (on_prefix(prefix.add(chunk)) or prefix.complete):
                    prefix = None
            raw = b"".join(chunks)
            del chunks
            if not compressed or not raw:
                return raw
            buffered += (text := min(claimed_size(raw), max_size))
            self._buffer(text)
            if len(raw) > _LARGE:
                # Meanwhile the page before is decoded.
                return await asyncio.get_running_loop().run_in_executor(self._decompressing, gunzip, raw, max_size)
            return gunzip(raw, max_size)
        except CorruptGzipError as error:
            raise aiohttp.ClientPayloadError(str(error)) from error
        except UnacceptableResponseError:
            # What is still on its way is not received.
            response.close()
            raise
        finally:
            self._in_flight -= buffered

    def _buffer(self, size: int) -> None:
        self._in_flight += size
        if self._in_flight > MAX_IN_FLIGHT:
            raise UnacceptableResponseError(
                f"the responses that are being received are larger than {in_words(MAX_IN_FLIGHT)} together, the most "
                "that is accepted; check the address and what stands in between"
            )


def _check_size(size: int, max_size: int, status: int) -> None:
    if size > max_size:
        raise UnacceptableResponseError(
            f"the response (status {status}) is larger than {in_words(max_size)}, the most that is accepted; "
            "check the address and what stands in between"
        )


async def read_lines(response: aiohttp.ClientResponse, *, total: float) -> AsyncIterator[bytes]:
    """The lines of a response as they come in, without empty ones, for at most `total` seconds.

    Raises UnacceptableResponseError for a line of more than MAX_LINE bytes, or when the server does not end in time.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + total
    rest: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        first, *others = chunk.split(b"\n")
        rest.append(first)
        size += len(first)
        if size > MAX_LINE:
            raise UnacceptableResponseError(
                f"a line of the response is larger than {in_words(MAX_LINE)}, the most that is accepted; "
                "check the address and what stands in between"
            )
        if others:
            *lines, last = b"".join(rest), *others
            rest, size = [last], len(last)
            for line in lines:
                if line:
                    yield line
        if clock() > end:
            raise UnacceptableResponseError(
                f"the response did not end after {total:g} seconds, as was asked; check what stands in between"
            )
