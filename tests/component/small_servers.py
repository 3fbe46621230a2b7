"""
Servers of one trick on loopback: ASGI applications with TLS or without, and such as hang, reset, or say one thing to
everybody. They run beside the test, in a thread or in its event loop.
"""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from tests.integration.authorities import Pair

STOP_SECONDS = 10


@contextmanager
def served(application: ASGIApp, tls: Pair | None = None) -> Iterator[str]:
    """The URL at which an application answers."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    # From here on clients are taken, and wait until the application is up.
    listener.listen(100)
    config = uvicorn.Config(
        application,
        log_config=None,
        ws="none",
        lifespan="off",
        ssl_certfile=str(tls.certificate) if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listener.close()


async def _read_request(reader: asyncio.StreamReader) -> bool:
    """Whether a whole request has come in."""
    try:
        await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError):
        return False
    return True


@asynccontextmanager
async def saying(answer: bytes, tls: Pair | None = None) -> AsyncIterator[str]:
    """The URL of a server that says these bytes to every request, and closes the connection."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await _read_request(reader):
            writer.write(answer)
        writer.close()

    async with _started(say, tls) as url:
        yield url


@asynccontextmanager
async def hearing(answer: bytes, heard: list[bytes]) -> AsyncIterator[str]:
    """The URL of a server that says these bytes to every request, whose head it keeps; to HEAD without the body."""
    head, end, _ = answer.partition(b"\r\n\r\n")

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(head + end if heard[-1].startswith(b"HEAD ") else answer)
        writer.close()

    async with _started(hear, None) as url:
        yield url


@asynccontextmanager
async def handling(handle: Callable[[str, asyncio.StreamWriter], Coroutine[Any, Any, None]]) -> AsyncIterator[str]:
    """The URL of a server that has each request handled, by its
    path; the connection is closed then, at the end at the latest.
    """
    handling: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        task = asyncio.ensure_future(handle(head.decode().split()[1], writer))
        handling.add(task)
        await asyncio.wait([task])
        writer.close()

    async with _started(answer, None) as url:
        try:
            yield url
        finally:
            for task in handling:
                task.cancel()
            await asyncio.gather(*handling, return_exceptions=True)
            # Who waited for them closes the connections.
            await asyncio.sleep(0)


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """The URL of a server that takes connections and says nothing."""
    over = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with _started(hang, None) as url:
        try:
            yield url
        finally:
            over.set()


@asynccontextmanager
async def resetting() -> AsyncIterator[str]:
    """The URL of a server that reads a request and resets the connection."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with _started(reset, None) as url:
        yield url


@asynccontextmanager
async def _started(answer: object, tls: Pair | None) -> AsyncIterator[str]:
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)  # type: ignore[arg-type]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def page(body: str, *, status: str = "200 OK", kind: str = "text/html", length: int | None = None) -> bytes:
    """An HTTP answer, with a length that may be a lie."""
    size = len(body.encode()) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()
