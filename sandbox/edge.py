"""
What stands before both servers: it writes each request into the journal, puts the sandbox's time into each answer, and
lets faults happen where a client would see them, on the connection itself.
"""

import asyncio
import socket
import struct
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.clock import Clock
from sandbox.faults import Action, Faults
from sandbox.journal import Entry, Journal

TRANSPORT = "sandbox.transport"
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol; it lends the application the connection, which ASGI hides."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What both servers share. `stop` ends the sandbox, `stopping` is set when it does."""

    clock: Clock
    journal: Journal
    faults: Faults
    stopping: asyncio.Event
    stop: Callable[[], None]


class Edge:
    """The ASGI application around that of a server, `api` or `registry`."""

    def __init__(self, inner: ASGIApp, server: str, around: Surroundings) -> None:
        self.inner = inner
        self.server = server
        self.around = around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, query = scope["raw_path"].decode("ascii"), scope["query_string"].decode("ascii")
        path = f"{path}?{query}" if query else path
        if path.startswith("/sandbox/") and self.server == "api":
            await self.inner(scope, receive, self._dated(send))
            return
        entry = self.around.journal.begin(self.server, scope["method"], path)
        noted = self._noting(entry, scope, self._dated(send))
        chosen = self.around.faults.choose(self.server, scope["method"], path)
        if chosen is None:
            await self.inner(scope, receive, noted)
        elif chosen.rule.action.hold:
            released = await _held(self.around.faults.removed(chosen.id), receive)
            if released is not None:
                await self.inner(scope, released, noted)
        else:
            await self._trouble(chosen.rule.action, scope, receive, noted)

    def _dated(self, send: Send) -> Send:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = b"date", self.around.clock.http_date().encode()
                message = {**message, "headers": [*message.get("headers", []), date]}
            await send(message)

        return dated

    @staticmethod
    def _noting(entry: Entry, scope: Scope, send: Send) -> Send:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                entry.user = scope.get("sandbox.user", "")
            await send(message)

        return noting

    async def _trouble(self, action: Action, scope: Scope, receive: Receive, send: Send) -> None:
        if action.delay:
            await _until(self.around.stopping, action.delay)
        if "before" in (action.drop, action.kill):
            await self._lose(action, scope, receive)
        elif action.hang:
            await _gone(receive)
        elif action.status is not None:
            await self._refuse(action, action.status, send)
        elif action.pad or action.compress or action.trickle is not None:
            await self._spread(action, scope, receive, send)
        elif action.truncate is not None:
            await self.inner(scope, receive, _truncating(action.truncate, scope[TRANSPORT], send))
        elif "after" in (action.drop, action.kill):
            await self.inner(scope, receive, _nowhere)
            await self._lose(action, scope, receive)
        else:
            await self.inner(scope, receive, send)

    async def _spread(self, action: Action, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer of the server with more bytes, or more slowly, than it has."""
        start, body = await _whole(self.inner, scope, receive)
        packer = zlib.compressobj(9, zlib.DEFLATED, 31) if action.compress else None
        headers = [pair for pair in start["headers"] if pair[0] not in (b"content-length", b"content-encoding")]
        await send({**start, "headers": [*headers, *([(b"content-encoding", b"gzip")] if packer else [])]})
        blank = b" " * _BLOCK
        for at in range(0, action.pad, _BLOCK):
            spaces = blank[: action.pad - at]
            await send(_more(packer.compress(spaces) if packer else spaces))
        rest = packer.compress(body) + packer.flush() if packer else body
        if action.trickle is not None:
            for byte in rest[:-1]:
                await send(_more(bytes([byte])))
                await _until(self.around.stopping, action.trickle)
            rest = rest[-1:]
        await send({"type": "http.response.body", "body": rest})

    async def _lose(self, action: Action, scope: Scope, receive: Receive) -> None:
        _reset(scope[TRANSPORT])
        if action.kill:
            self.around.stop()
        await _gone(receive)

    async def _refuse(self, action: Action, code: int, send: Send) -> None:
        body = action.body if action.body is not None else self._wording(code)
        raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
        kind = "text/plain" if isinstance(body, str) else "application/json"
        headers = {"content-type": kind, "content-length": str(len(raw)), **action.headers}
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": code, "headers": pairs})
        await send({"type": "http.response.body", "body": raw})

    def _wording(self, code: int) -> dict[str, Any]:
        message = f"the sandbox was asked to answer {code}"
        if self.server == "registry":
            return {"errors": [{"code": "UNKNOWN", "message": message, "detail": None}]}
        reason = _REASONS.get(code, "")
        head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return {**head, "message": message, "reason": reason, "code": code}


_BLOCK = 2**20
"""Bytes of padding that are sent at once."""


def _more(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _whole(inner: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """A server's answer as it is without compression: the message that begins it, and the body."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    headers = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
    await inner({**scope, "headers": headers}, receive, keep)
    return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


async def _nowhere(_message: Message) -> None:
    """Takes an answer that nobody gets."""


async def _gone(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _held(release: Coroutine[Any, Any, None], receive: Receive) -> Receive | None:
    """Waits for the release, and returns what gives the request's messages after it; None when the client has gone."""
    kept: list[Message] = []
    released = asyncio.ensure_future(release)
    while not released.done():
        message = asyncio.ensure_future(receive())
        await asyncio.wait([released, message], return_when=asyncio.FIRST_COMPLETED)
        if message.done():
            kept.append(message.result())
        else:
            message.cancel()
        if kept and kept[-1]["type"] == "http.disconnect":
            released.cancel()
            return None

    async def receive_kept() -> Message:
        return kept.pop(0) if kept else await receive()

    return receive_kept


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Returns after so many seconds, or when the event comes first."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()


def _reset(transport: asyncio.Transport) -> None:
    """Ends a connection the hard way: the client sees a reset, not an end."""
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _truncating(length: int, transport: asyncio.Transport, send: Send) -> Send:
    left = length

    async def truncating(message: Message) -> None:
        nonlocal left
        if message["type"] != "http.response.body":
            await send(message)
            return
        if left < 0:
            return
        cut = message.get("body", b"")[:left]
        left -= len(cut)
        await send({"type": "http.response.body", "body": cut, "more_body": True})
        if left == 0:
            left = -1
            transport.close()

    return truncating
