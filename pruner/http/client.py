"""One HTTP client for the API server, the registry and the OAuth server.

`HTTPClient.send` makes one request and returns the complete response, or raises a `TransportError` that says in one
sentence what happened. `HTTPClient.request` repeats it while the server is busy or the connection fails. Redirects are
never followed: a response with one is returned as it is, so that no credentials reach another server.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec
from multidict import CIMultiDict

from pruner.http.body import BodyReader, OnPrefix, Patience, read_lines
from pruner.http.bounds import MAX_HEADER, MAX_HEADERS, MAX_LIST_BODY
from pruner.http.failures import TRANSPORT_FAULTS, TransportError, failure, refused_by_proxy, server_of
from pruner.http.limiter import Limiter
from pruner.http.proxy import Proxy, ProxyAwareConnector
from pruner.http.response import Response
from pruner.http.retry import RetryPolicy

_READ_AHEAD: Final = 4 * 1024 * 1024
"""Bytes of a response that wait to be read before its connection is paused: about a page of a list."""

Precondition = Callable[[], Awaitable[None]]
"""Awaited right before a request is sent, when the limiter has
admitted it, and before each retry; raising withdraws the request."""


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to connect; between two pieces of a response; for a whole response; for MIN_BYTES in small pieces.

    In 300 seconds a page of 500 large pods, 25 MB, comes through a line of 1 Mbit/s.
    """

    connect: float = 10.0
    read: float = 60.0
    total: float = 300.0
    trickle: float = 5.0

    def of_aiohttp(self, *, read: float) -> aiohttp.ClientTimeout:
        """In aiohttp's form. Connecting through a proxy makes two connections, so it gets twice the time."""
        return aiohttp.ClientTimeout(total=None, connect=2 * self.connect, sock_connect=self.connect, sock_read=read)


class StreamedResponse:
    """A response that is read while it comes in."""

    def __init__(self, response: aiohttp.ClientResponse, reader: BodyReader, total: float) -> None:
        self.status = response.status
        self._response = response
        self._reader = reader
        self._total = total

    async def read(self) -> Response:
        """All of it."""
        return Response(self.status, self._response.headers, await self._reader.read(self._response))

    def lines(self) -> AsyncIterator[bytes]:
        """Its lines as they come in, without empty ones."""
        return read_lines(self._response, total=self._total)


class HTTPClient:
    """A pool of connections to one server. Use it as an asynchronous context manager.

    `tls` returns the context for new connections, None for plain http; `trust` is the setting that names the trusted
    certificates, for messages; `max_body` bounds successful responses, in bytes.
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
        max_body: int = MAX_LIST_BODY,
    ) -> None:
        self._tls = tls
        self._proxy = proxy
        self._server_name = server_name
        self._trust = trust
        # A stream lasts as long as a run and must not take the place of a request: requests are limited, not
        # connections.
        self.limiter = Limiter(workers)
        self.timeouts = timeouts
        self._reader = BodyReader(max_body, Patience(total=timeouts.total, trickle=timeouts.trickle))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=ProxyAwareConnector(limit=0),
            timeout=self.timeouts.of_aiohttp(read=self.timeouts.read),
            read_bufsize=_READ_AHEAD,
            headers={"User-Agent": "pruner", "Accept-Encoding": "gzip"},
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            max_headers=MAX_HEADERS,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        self._reader.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        precondition: Precondition | None = None,
        on_prefix: OnPrefix | None = None,
    ) -> Response:
        """Make one request. Raises TransportError without a complete response, and whatever `precondition` raises.

        `on_prefix` is called with the beginning of the body of a response with status 200.
        """
        options, all_headers = self._options(url), self._headers(headers, url)
        try:
            async with self.limiter:
                if precondition is not None:
                    await precondition()
                within = 2 * self.timeouts.connect + self.timeouts.read
                async with self._open(method, url, within, headers=all_headers, data=body, **options) as response:
                    read = await self._reader.read(response, on_prefix if response.status == 200 else None)
                self.limiter.observe(response.status)
        except TRANSPORT_FAULTS as error:
            raise self._failure(error, url) from error
        if response.status == 407 and self._is_read_by_proxy(url):
            raise TransportError(f"{server_of(url)}: {refused_by_proxy(407, 'Proxy Authentication Required')}")
        return Response(response.status, response.headers, read)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        precondition: Precondition | None = None,
        on_prefix: OnPrefix | None = None,
    ) -> Response:
        """Make a request that may be repeated, as `send` does, again while the server is busy or the connection fails.

        Returns the last response, whatever its status. What `on_prefix` has seen may be the beginning of a response
        that broke off.
        """
        return await retry.run(
            partial(
                self.send,
                method,
                url,
                headers=list(headers),
                body=body,
                precondition=precondition,
                on_prefix=on_prefix,
            )
        )

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Iterable[tuple[str, str]], *, silence: float, total: float
    ) -> AsyncIterator[StreamedResponse]:
        """A GET whose response is read while it comes in, outside of the limiter.

        After `silence` seconds without a byte the connection counts as dead; after `total` seconds it is given up.
        Raises TransportError, also from inside the context.
        """
        # Events are read one by one as they come in, so they are not asked for in compressed form.
        plain = self._headers([*headers, ("Accept-Encoding", "identity")], url)
        timeout = self.timeouts.of_aiohttp(read=silence)
        try:
            # The server begins at once, with the headers: only events take their time.
            within = min(self.timeouts.connect, self.timeouts.read)
            async with self._open("GET", url, within, headers=plain, timeout=timeout, **self._options(url)) as response:
                yield StreamedResponse(response, self._reader, total)
        except TRANSPORT_FAULTS as error:
            raise self._failure(error, url) from error

    @asynccontextmanager
    async def _open(
        self, method: str, url: str, within: float, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response with its headers, which must be complete within
        so many seconds: they must not trickle in for ever either.
        """
        assert self._session is not None, "the client is used outside of its context"  # noqa: S101
        async with asyncio.timeout(within):
            response = await self._session.request(method, url, **options)
        async with response:
            yield response

    def _options(self, url: str) -> dict[str, Any]:
        """The options of aiohttp that lead to the server."""
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

    def _is_proxied(self, url: str) -> bool:
        return self._proxy is not None and self._proxy.applies_to(url)

    def _is_read_by_proxy(self, url: str) -> bool:
        """Whether a proxy reads the request itself, since it does not go through a tunnel."""
        return self._is_proxied(url) and not url.startswith("https://")

    def _headers(self, headers: Iterable[tuple[str, str]], url: str) -> CIMultiDict[str]:
        """The headers, with the proxy's where it reads the
        request; the server's Authorization wins over the proxy's.
        """
        all_headers = CIMultiDict(headers)
        if self._proxy is not None and self._is_read_by_proxy(url):
            for name, value in self._proxy.headers.items():
                if name != "Authorization" or name not in all_headers:
                    all_headers[name] = value
        return all_headers

    def _failure(self, error: BaseException, url: str) -> TransportError:
        return failure(error, url, trust=self._trust, proxied=self._is_proxied(url))


def json_headers(
    authorization: str | None, more: Iterable[tuple[str, str]] = (), accept: str = "application/json"
) -> list[tuple[str, str]]:
    """Headers for JSON in both directions, with the credentials."""
    headers = [("Accept", accept), *more]
    if authorization is not None:
        headers.append(("Authorization", authorization))
    return headers
