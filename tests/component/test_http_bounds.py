"""Bounds of responses: whatever a server sends, the error names the bound, and neither memory nor patience runs out."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pruner.http import body as http_body
from pruner.http.bounds import KIB, MAX_HEADERS, MAX_LINE, MIB
from pruner.http.client import HTTPClient, Timeouts
from pruner.http.failures import TransportError
from pruner.http.response import Response
from tests.component.small_servers import handling

BOUND = 2 * MIB
QUICK = Timeouts(connect=5, read=5, total=30, trickle=0.2)
Handle = Callable[[str, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def sends(*parts: bytes) -> Handle:
    async def handle(_path: str, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)

    return handle


def endless(block: bytes, *first: bytes, pause: float = 0) -> Handle:
    """Sends these bytes again and again until the client has gone."""

    async def handle(_path: str, writer: asyncio.StreamWriter) -> None:
        for part in first:
            writer.write(part)
        try:
            while not writer.is_closing():
                writer.write(block)
                await writer.drain()
                await asyncio.sleep(pause)
        except OSError:
            return

    return handle


async def fetched(handle: Handle, *, method: str = "GET", timeouts: Timeouts = QUICK, bound: int = BOUND) -> Response:
    async with handling(handle) as url, HTTPClient(lambda: None, timeouts=timeouts, max_body=bound) as client:
        return await client.request(method, url + "/")


async def refusal(handle: Handle, *, timeouts: Timeouts = QUICK) -> str:
    """Why the response is refused; it is asked for once only."""
    requests = 0

    async def counted(path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        await handle(path, writer)

    with pytest.raises(TransportError) as raised:
        await fetched(counted, timeouts=timeouts)
    assert requests == 1
    return str(raised.value)


def bomb(size: int) -> bytes:
    """So many bytes of spaces, as gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(b" " * MIB) for _ in range(size // MIB)), packer.flush()])


def gzipped(raw: bytes) -> Handle:
    return sends(head("Content-Encoding: gzip", f"Content-Length: {len(raw)}"), raw)


# --- size ------------------------------------------------------------------------------------------------------------


async def test_a_body_up_to_the_bound_is_read() -> None:
    text = b"x" * BOUND
    assert (await fetched(sends(head(f"Content-Length: {BOUND}"), text))).body == text
    assert (await fetched(gzipped(gzip.compress(text)))).body == text


@pytest.mark.parametrize("over", [1, BOUND, 2**40])
async def test_a_claimed_length_beyond_the_bound_is_refused_before_anything_is_read(over: int) -> None:
    assert "larger than 2 MiB" in await refusal(sends(head(f"Content-Length: {BOUND + over}")))


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_endless_body_is_refused(encoding: str) -> None:
    assert "larger than 2 MiB" in await refusal(endless(b"x" * MIB, head(f"Content-Encoding: {encoding}")))


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "302 Found", "500 Oops", "418 Teapot"])
async def test_a_body_of_an_error_has_a_smaller_bound(status: str) -> None:
    assert "larger than 1 MiB" in await refusal(endless(b"x" * MIB, head(status=status)))


async def test_the_length_of_a_response_to_HEAD_is_no_body() -> None:
    response = await fetched(sends(head("Content-Length: 5000000000")), method="HEAD")
    assert (response.headers["Content-Length"], response.body) == ("5000000000", b"")


# --- compression -----------------------------------------------------------------------------------------------------


async def test_a_bomb_is_refused_without_being_decompressed() -> None:
    raw = bomb(64 * MIB)
    assert len(raw) < 100 * KIB
    tracemalloc.start()
    try:
        assert "larger than 2 MiB when decompressed" in await refusal(gzipped(raw))
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


async def test_a_bomb_below_the_bound_is_refused_by_its_ratio() -> None:
    with pytest.raises(TransportError, match="compressed more than 250 times"):
        await fetched(gzipped(bomb(32 * MIB)), bound=64 * MIB)


async def test_a_small_response_may_be_compressed_at_any_ratio() -> None:
    assert len((await fetched(gzipped(bomb(8 * MIB)), bound=64 * MIB)).body) == 8 * MIB


@pytest.mark.parametrize("claim", [0, 1, BOUND, 2**31])
async def test_a_wrong_claim_of_the_size_is_an_error(claim: int) -> None:
    """Whatever the trailer says, no more than that is written, and no more than the bound is taken."""
    raw = gzip.compress(bytes(range(256)) * 4 * KIB)
    with pytest.raises(TransportError, match=r"truncated or damaged|larger than 2 MiB"):
        await fetched(gzipped(raw[:-4] + claim.to_bytes(4, "little")))


async def test_an_encoding_that_was_not_asked_for_is_an_error() -> None:
    with pytest.raises(TransportError, match="truncated or damaged"):
        await fetched(sends(head("Content-Encoding: br", "Content-Length: 1"), b"x"))


# --- memory of all together ------------------------------------------------------------------------------------------


async def test_responses_in_flight_share_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_body, "MAX_IN_FLIGHT", 3 * MIB)
    begun = asyncio.Event()
    waiting = 0

    async def handle(_path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        writer.write(head(f"Content-Length: {BOUND}") + b"x" * (BOUND - 1))
        await writer.drain()
        waiting += 1
        if waiting == 3:
            begun.set()
        await begun.wait()
        writer.write(b"x")

    async with handling(handle) as url, HTTPClient(lambda: None, timeouts=QUICK, max_body=BOUND) as client:
        outcomes = await asyncio.gather(*(client.send("GET", url) for _ in range(3)), return_exceptions=True)
        assert any("3 MiB together" in str(outcome) for outcome in outcomes)
        # What was refused is not counted any more.
        waiting = 2
        assert (await client.send("GET", url)).status == 200


# --- time ------------------------------------------------------------------------------------------------------------


async def test_a_body_that_trickles_is_refused() -> None:
    assert "trickles: less than 1 KiB in 0.2 seconds" in await refusal(endless(b" ", head(), pause=0.02))


async def test_a_body_that_never_ends_is_refused_after_the_total_time() -> None:
    timeouts = Timeouts(connect=5, read=5, total=0.3, trickle=60)
    assert "not complete after 0.3 seconds" in await refusal(endless(b" ", head(), pause=0.02), timeouts=timeouts)


async def test_headers_that_never_end_are_refused() -> None:
    timeouts = Timeouts(connect=0.1, read=0.3)
    assert "timed out" in await refusal(endless(b"X: y\r\n", b"HTTP/1.1 200 OK\r\n", pause=0.02), timeouts=timeouts)


async def test_one_pause_is_not_a_trickle() -> None:
    async def handle(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head("Content-Length: 3") + b"a")
        await writer.drain()
        await asyncio.sleep(0.5)
        writer.write(b"bc")

    assert (await fetched(handle)).body == b"abc"


# --- headers and redirects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [f"X-{number}: y" for number in range(MAX_HEADERS + 1)],
        [f"X-{number}: {'y' * 4000}" for number in range(200)],
        ["X: " + "y" * 9000],
        ["y" * 9000 + ": x"],
    ],
)
async def test_headers_beyond_the_bound_are_refused(headers: list[str]) -> None:
    assert "more than 128 headers, or one larger than 8 KiB" in await refusal(sends(head(*headers)))


async def test_a_status_line_beyond_the_bound_is_refused() -> None:
    assert "larger than 8 KiB" in await refusal(sends(head(status="200 " + "y" * 9000)))


async def test_a_redirect_is_returned_and_not_followed() -> None:
    paths: list[str] = []

    async def handle(path: str, writer: asyncio.StreamWriter) -> None:
        paths.append(path)
        writer.write(head("Location: /again", "Content-Length: 0", status="307 Again"))

    assert (await fetched(handle)).status == 307
    assert paths == ["/"]


# --- streams ---------------------------------------------------------------------------------------------------------


async def lines_of(handle: Handle, *, total: float = 5) -> list[bytes]:
    async with (
        handling(handle) as url,
        HTTPClient(lambda: None, timeouts=QUICK) as client,
        client.stream(url, [], silence=5, total=total) as response,
    ):
        return [line async for line in response.lines()]


@pytest.mark.parametrize("sizes", [[3], [1] * 9, [MIB] * 3 + [5]])
async def test_lines_are_put_together_from_any_pieces(sizes: list[int]) -> None:
    text = b"first\n\n" + b"x" * sum(sizes) + b"\nlast\n"
    pieces = [
        text[at : at + size] for at, size in zip(range(0, len(text), max(sizes)), [max(sizes)] * 99, strict=False)
    ]
    assert await lines_of(sends(head(), *pieces)) == [b"first", b"x" * sum(sizes), b"last"]


async def test_an_endless_line_is_refused() -> None:
    with pytest.raises(TransportError, match="a line of the response is larger than 16 MiB"):
        await lines_of(endless(b"x" * (MAX_LINE // 8), head()), total=60)


async def test_a_stream_that_trickles_on_beyond_its_time_is_refused() -> None:
    with pytest.raises(TransportError, match=r"did not end after 0\.2 seconds"):
        await lines_of(endless(b" ", head(), pause=0.02), total=0.2)
