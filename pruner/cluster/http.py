"""One wire for everything: the HTTP client under the API and the registry.

`Wire.send` makes one request and gives the whole answer, or a `WireError` that says in one sentence what happened to it, so that a refused
connection, a bad certificate, a hang, a reset and a page of HTML each read as what they are. `Wire.repeat` repeats requests that
may be while the server is busy or the connection fails, as long as its patience lasts, and obeys `Retry-After`.
"""

from __future__ import annotations

import asyncio
import email.utils
import errno
import os
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

import aiohttp
import deflate
import msgspec
import tenacity
from multidict import CIMultiDict, CIMultiDictProxy

from pruner.cluster.connection import Proxy

BUSY: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses after which a request is repeated: the server is not able to answer just now."""

ATTEMPTS: Final = 5
LONGEST_WAIT: Final = 30.0
"""Seconds; a server that asks for more than this is taken at its word no further than this."""

_READ_AHEAD: Final = 4 * 1024 * 1024
"""Bytes of an answer that wait to be read before its connection is paused: about a page of a list."""

_LARGE: Final = 64 * 1024
"""Bytes, compressed, from which on it is worth a thread to decompress."""

_GZIP: Final = 31
"""zlib's window and format."""

_PEEKED: Final = 64 * 1024
"""Bytes of an answer after which whoever has not seen enough waits for the whole."""

_DENSEST: Final = 1032
"""Bytes that one byte of deflate's format can stand for at most."""

_SIZE: Final = 4
"""Bytes at the end of what gzip has made that give the size of the text, modulo 2 to the power of 32."""

Before = Callable[[], Awaitable[None]]
"""Awaited when a request has its place, right before it is sent, and before every repetition; what it raises withdraws the request."""

Peek = Callable[[bytes], bool]
"""Given what has come so far of an answer's body, decompressed, while the rest is on its way: again with more, until it has seen enough."""


class CorruptGzipError(Exception):
    """What is no whole text compressed with gzip."""


class WireError(Exception):
    """No answer, and why, in words that can be shown."""

    @property
    def distrusted(self) -> bool:
        """Whether the server speaks TLS, and its certificate is what is wrong."""
        return isinstance(self.__cause__, aiohttp.ClientConnectorCertificateError)


class Answer(msgspec.Struct, frozen=True):
    """The whole answer to a request."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes | bytearray

    def json(self) -> Any:
        """The body, decoded. Raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)

    @property
    def date(self) -> datetime | None:
        """The server's clock (UTC), by its `Date` header."""
        try:
            return email.utils.parsedate_to_datetime(self.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return None

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait; None where it does not say so in seconds."""
        value = self.headers.get("Retry-After", "")
        return float(value) if value.isdecimal() else None


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to connect, and between two pieces of an answer."""

    connect: float = 10.0
    read: float = 60.0

    def of(self, *, read: float | None) -> aiohttp.ClientTimeout:
        """As aiohttp takes them. A proxy's way to the server is a connection of its own, so twice the time for both."""
        return aiohttp.ClientTimeout(total=None, connect=2 * self.connect, sock_connect=self.connect, sock_read=read)


class _Connector(aiohttp.TCPConnector):
    """A pool of connections that says to a proxy what it was told to.

    aiohttp sends `Authorization` to the proxy under the name `Proxy-Authorization`, in place of one that is there already.
    """

    def _update_proxy_auth_header_and_build_proxy_req(self, req: aiohttp.ClientRequest) -> aiohttp.ClientRequest:
        given = CIMultiDict(req.proxy_headers or {})
        authorization = given.pop("Authorization", None)
        req.proxy_headers = given
        proxied = super()._update_proxy_auth_header_and_build_proxy_req(req)
        if authorization is not None:
            proxied.headers["Authorization"] = authorization
        return proxied


class Bound:
    """How many requests are under way at once: at most `workers`, and fewer while the server says that it is busy.

    After 429 or 503 the bound is halved, once for all requests that were under way; each success brings back a little of it. Use it
    as an asynchronous context manager around a request, and tell it the status with `learn`.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.limit = float(workers)
        self._under_way = 0
        self._spared = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> Self:
        if not self._waiting and self._has_room():
            self._under_way += 1
            return self
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # It was let in already, and does not come any more.
                self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._under_way -= 1
        self._let_in()

    def _has_room(self) -> bool:
        return self._under_way < max(1, int(self.limit))

    def _let_in(self) -> None:
        """Give free places to those that wait, in the order in which they came."""
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.cancelled():
                self._under_way += 1
                turn.set_result(None)

    def learn(self, status: int) -> None:
        if status in (429, 503):
            if self._spared <= 0:
                self.limit = max(1.0, self.limit / 2)
                # Those that are under way were sent before the bound was lowered, and say nothing new.
                self._spared = self._under_way
            self._spared -= 1
        else:
            self._spared = 0
            self.limit = min(float(self.workers), self.limit + 1 / self.limit)


class Wire:
    """A pool of connections to one server. Use it as an asynchronous context manager.

    `tls` gives the context for connections that are made from now on, None for plain http; `trust` is the parameter that says which
    certificates are trusted, for messages.
    """

    def __init__(
        self,
        tls: Callable[[], ssl.SSLContext | None],
        *,
        proxy: Proxy | None = None,
        server_name: str | None = None,
        trust: str = "ca_cert",
        workers: int = 20,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    ) -> None:
        self._tls = tls
        self._proxy = proxy
        self._server_name = server_name
        self._trust = trust
        # A stream lasts as long as a run and must not take the place of a request, so not the pool is bounded.
        self.bound = Bound(workers)
        self.timeouts = timeouts
        self._session: aiohttp.ClientSession | None = None
        # One thread is faster than any network, and each more would have an arena of the allocator's, of a few pages, to itself.
        self._decompressing = ThreadPoolExecutor(1, "gunzip")

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0),
            timeout=self.timeouts.of(read=self.timeouts.read),
            read_bufsize=_READ_AHEAD,
            headers={"User-Agent": "pruner", "Accept-Encoding": "gzip"},
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        self._decompressing.shutdown(wait=False)

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "the wire is used outside of its context"  # noqa: S101
        return self._session

    def request_options(self, url: str) -> dict[str, Any]:
        """What every request through this wire is made with: the way to the server."""
        options: dict[str, Any] = {"allow_redirects": False}
        tls = self._tls()
        if tls is not None:
            options["ssl"] = tls
        if self._server_name:
            options["server_hostname"] = self._server_name
        if self._proxy is not None and self._is_proxied(url):
            options["proxy"] = self._proxy.url
            options["proxy_headers"] = CIMultiDict(self._proxy.headers)
        return options

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        before: Before | None = None,
        peek: Peek | None = None,
    ) -> Answer:
        """Make one request. Raises WireError when there is no answer, or not a whole one, and whatever `before` raises.

        `peek` is shown the beginning of the body of an answer with status 200.
        """
        options, all_headers = self.request_options(url), self._with_proxys(headers, url)
        try:
            async with self.bound:
                if before is not None:
                    await before()
                async with self.session.request(method, url, headers=all_headers, data=body, **options) as response:
                    answer = await self.whole(response, peek if response.status == 200 else None)
                self.bound.learn(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            raise WireError(self._explain(error, url)) from error
        if answer.status == 407 and self._is_read_by_proxy(url):
            raise WireError(f"{server_of(url)}: {_refusal_of_proxy(407, 'Proxy Authentication Required')}")
        return answer

    def _is_proxied(self, url: str) -> bool:
        return self._proxy is not None and self._proxy.applies_to(url)

    def _is_read_by_proxy(self, url: str) -> bool:
        """Whether a proxy reads the request itself: it is made through one, and not through a tunnel."""
        return self._is_proxied(url) and not url.startswith("https://")

    def _with_proxys(self, headers: Iterable[tuple[str, str]], url: str) -> CIMultiDict[str]:
        """The headers, with what the proxy is told where it reads the request; the server's Authorization is the one that counts."""
        all_headers = CIMultiDict(headers)
        if self._proxy is not None and self._is_read_by_proxy(url):
            for name, value in self._proxy.headers.items():
                if name != "Authorization" or name not in all_headers:
                    all_headers[name] = value
        return all_headers

    def _explain(self, error: BaseException, url: str) -> str:
        if isinstance(error, aiohttp.ConnectionTimeoutError) and self._is_proxied(url):
            return f"{server_of(url)}: no connection through the proxy in time; check proxy, and whether it reaches this address"
        return explain(error, url, self._trust)

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Iterable[tuple[str, str]], *, silence: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A GET whose answer is read while it comes in; after `silence` seconds without a byte the connection is taken to be dead.

        Raises WireError, also from inside the context.
        """
        # Events are read as they come in, each at once: they are not asked for compressed.
        plain = self._with_proxys([*headers, ("Accept-Encoding", "identity")], url)
        options, timeout = self.request_options(url), self.timeouts.of(read=silence)
        try:
            async with asyncio.timeout(min(self.timeouts.connect, self.timeouts.read)):
                response = await self.session.get(url, headers=plain, timeout=timeout, **options)
            async with response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise WireError(self._explain(error, url)) from error

    @staticmethod
    async def lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The lines of an answer, of any length, as they come in."""
        rest = b""
        async for chunk in response.content.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line:
                    yield line

    async def whole(self, response: aiohttp.ClientResponse, peek: Peek | None = None) -> Answer:
        """All of an answer."""
        return Answer(response.status, response.headers, await self._body(response, peek))

    async def _body(self, response: aiohttp.ClientResponse, peek: Peek | None) -> bytes | bytearray:
        """The whole body, decompressed. Raises aiohttp.ClientPayloadError for one that cannot be."""
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        compressed = encoding != "identity"
        if compressed and encoding not in ("gzip", "x-gzip"):
            raise aiohttp.ClientPayloadError(f"Content-Encoding {encoding!r} was not asked for")
        raw = await (response.read() if peek is None else _read_peeking(response, peek, compressed=compressed))
        if not compressed or not raw:
            return raw
        try:
            if len(raw) > _LARGE:
                # Meanwhile the page before is decoded.
                return await asyncio.get_running_loop().run_in_executor(self._decompressing, gunzip, raw)
            return gunzip(raw)
        except CorruptGzipError as error:
            raise aiohttp.ClientPayloadError(str(error)) from error

    async def repeat(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        attempts: int = ATTEMPTS,
        before: Before | None = None,
        peek: Peek | None = None,
    ) -> Answer:
        """Make a request that may be repeated, again while the server is busy or the connection fails.

        Gives the last answer, whatever its status. Raises WireError when there is none, and whatever `before` raises.
        What `peek` has been shown may be the beginning of an answer that was broken off, and not of the one that is given.
        """
        once = partial(self.send, method, url, headers=list(headers), body=body, before=before, peek=peek)
        first: Answer | WireError
        try:
            first = await once()
        except WireError as error:
            first = error
        if not (_may_pass(first) if isinstance(first, WireError) else first.status in BUSY):
            # Nearly every request: the machinery of retries takes longer than to send it.
            if isinstance(first, WireError):
                raise first
            return first
        known: list[Answer | WireError] = [first]

        async def attempt() -> Answer:
            """The first time what has happened already."""
            outcome = known.pop() if known else await once()
            if isinstance(outcome, WireError):
                raise outcome
            return outcome

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=_patience,
            retry=tenacity.retry_if_exception(_may_pass)
            | tenacity.retry_if_result(lambda answer: answer.status in BUSY),
            retry_error_callback=_last_outcome,
            reraise=True,
        )
        answer: Answer = await retrying(attempt)
        return answer


async def _read_peeking(response: aiohttp.ClientResponse, peek: Peek, *, compressed: bool) -> bytes:
    """The whole body as it comes, its beginning shown to `peek` meanwhile."""
    chunks: list[bytes] = []
    seen = False
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        if not seen:
            begun = b"".join(chunks)[:_PEEKED]
            seen = peek(_begun(begun) if compressed else begun) or len(begun) == _PEEKED
    return b"".join(chunks)


def _begun(raw: bytes) -> bytes:
    """The beginning of what was compressed, as far as it can be told; what is damaged is found when it is whole."""
    try:
        return zlib.decompressobj(wbits=_GZIP).decompress(raw, _PEEKED)
    except zlib.error:
        return b""


def gunzip(raw: bytes) -> bytearray:
    """Decompress. Raises CorruptGzipError for what is damaged or truncated, or followed by what is no copy of it."""
    size = int.from_bytes(raw[-_SIZE:], "little")
    if size > len(raw) * _DENSEST:
        raise CorruptGzipError("the compressed answer is damaged")
    try:
        # In a buffer that is large enough it runs without a stop, and waits for no other thread meanwhile.
        text = deflate.gzip_decompress(raw, max(size, 1))
    except deflate.DeflateError as error:
        raise CorruptGzipError(f"the compressed answer is damaged or ends too early: {error}") from None
    if len(text) != size:
        raise CorruptGzipError("the compressed answer is followed by something else")
    return text


_jitter = tenacity.wait_random_exponential(multiplier=0.1, max=5)


def _patience(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: what the server asks for, or a random time that grows."""
    outcome = state.outcome
    if outcome is not None and not outcome.failed and outcome.result().retry_after is not None:
        return min(float(outcome.result().retry_after), LONGEST_WAIT)
    return _jitter(state)


def _may_pass(error: BaseException) -> bool:
    """Whether a failure may be a passing one. A bad certificate or an unknown host name stays what it is."""
    if not isinstance(error, WireError):
        return False
    cause = error.__cause__
    lasting = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorDNSError, aiohttp.InvalidURL)
    if isinstance(cause, aiohttp.ClientConnectorSSLError | aiohttp.ClientHttpProxyError | TimeoutError):
        return False
    return not isinstance(cause, lasting)


def _last_outcome(state: tenacity.RetryCallState) -> Answer:
    assert state.outcome is not None  # noqa: S101 - tenacity calls this after an attempt
    answer: Answer = state.outcome.result()
    return answer


def explain(error: BaseException, url: str, trust: str = "ca_cert") -> str:
    """What happened to a request, in one sentence that begins with the server's address, and what to do about it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{server_of(url)}: {_distrust(error, trust)}"
    return f"{server_of(url)}: {_what_happened(error)}"


def server_of(url: str) -> str:
    """A URL's server, without credentials: `https://host:port`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _refusal_of_proxy(status: int, message: str) -> str:
    return f"the proxy refuses: {status} {message}; check proxy and proxy_headers"


_EXPIRED, _NOT_YET, _OTHER_NAMES = 10, 9, frozenset({62, 64})
"""OpenSSL's codes of what is wrong with a certificate (X509_V_ERR_...)."""


def _distrust(error: aiohttp.ClientConnectorCertificateError, trust: str) -> str:
    inner = error.certificate_error
    reason = getattr(inner, "verify_message", None) or str(inner)
    code = getattr(inner, "verify_code", None)
    if code in (_EXPIRED, _NOT_YET):
        way_out = "have it renewed, or check this machine's clock"
    elif code in _OTHER_NAMES:
        way_out = "use an address that the certificate is for"
    else:
        way_out = f"give the CA that signed it as {trust}"
    return f"its certificate is not trusted ({reason.rstrip('.')}); {way_out}"


def _what_happened(error: BaseException) -> str:  # noqa: C901, PLR0911 - a table of faults
    match error:
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return f"no TLS connection could be made ({_reason(error)}); check that this port speaks https"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known to the resolver; check the address"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy cannot be reached ({_reason(error)}); check proxy"
        case aiohttp.ClientHttpProxyError():
            return _refusal_of_proxy(error.status, error.message)
        case aiohttp.ClientConnectorError():
            return f"cannot be reached ({_reason(error)}); check the address and that it is up"
        case aiohttp.ConnectionTimeoutError():
            return "cannot be reached (no answer to the attempt to connect); check the address and the network"
        case aiohttp.SocketTimeoutError() | TimeoutError() | asyncio.TimeoutError():
            return "has accepted the connection and then given no answer in time; check whether it is overloaded"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | aiohttp.ClientOSError():
            return (
                "has closed the connection before the answer was complete; check the address, and what stands between"
            )
        case aiohttp.ClientPayloadError():
            return "has sent a truncated answer; check what stands between"
        case aiohttp.ClientResponseError():
            return "its answer is not HTTP; check the address and its port"
        case _:
            return f"the request failed ({_reason(error)})"


def _reason(error: BaseException) -> str:
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLError):
        return (inner.reason or str(inner)).replace("_", " ").lower()
    if isinstance(inner, OSError) and inner.errno is not None and inner.errno in errno.errorcode:
        # asyncio writes the address, which is said already, where the system has words.
        return os.strerror(inner.errno)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def describe_body(answer: Answer) -> str:
    """What an answer that is no JSON seems to be, for a message."""
    if b"HTTP request to an HTTPS server" in answer.body:
        return f"status {answer.status}, it speaks https: write https:// before the address"
    kind = answer.headers.get("Content-Type", "").partition(";")[0] or "no content type"
    return f"status {answer.status}, {kind}, {len(answer.body)} bytes"


def json_headers(authorization: str | None, more: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """Headers for JSON in both directions, with the credentials."""
    headers = [("Accept", "application/json"), *more]
    if authorization is not None:
        headers.append(("Authorization", authorization))
    return headers


def query(parameters: Mapping[str, str | int]) -> str:
    """A query string, question mark included; empty for no parameters."""
    return f"?{urlencode(parameters)}" if parameters else ""
