"""The Kubernetes API, as far as pruning asks it: discovery, lists, single objects, status updates, deletions, access reviews.

`Api` turns requests into decoded values and every answer that is not one into an error of pruner.errors that names the server, the
resource and, for a refusal, the permission that is missing. While the server is busy requests are repeated, writes too: an update names
the resourceVersion it replaces and a deletion the uid, so that a second one after a lost answer is a conflict or a 404, and no harm.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from pruner.cluster.connection import Connection
from pruner.cluster.oauth import token_by_challenge
from pruner.cluster.objects import ListMeta, Page
from pruner.cluster.resources import Resource
from pruner.errors import (
    ClusterError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
)
from pruner.http.body import OnPrefix
from pruner.http.client import HTTPClient, Precondition, StreamedResponse, Timeouts, json_headers
from pruner.http.failures import TransportError
from pruner.http.response import Response
from pruner.http.retry import TRANSIENT_STATUSES
from pruner.http.urls import query

T = TypeVar("T")

PAGE: int = 500
"""Objects asked for at once, as `oc` does."""

_GRACE = 5.0
"""Seconds after which a watch is taken to be dead that should have been ended by the server."""


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""


class _ApiResource(msgspec.Struct):
    name: str


class _ApiResourceList(msgspec.Struct):
    resources: list[_ApiResource] | None = None


class _ReviewStatus(msgspec.Struct, frozen=True):
    allowed: bool = False


class _Review(msgspec.Struct, frozen=True):
    status: _ReviewStatus = _ReviewStatus()


class _EventMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _EventObject(msgspec.Struct, frozen=True):
    metadata: _EventMeta = _EventMeta()
    code: int | None = None
    message: str = ""


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class WatchEvent(msgspec.Struct, frozen=True):
    """An event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object as bytes of JSON.

    `version` is the resource version that it brings the watcher to.
    """

    type: str
    object: msgspec.Raw
    version: str


class Api:
    """A client of one API server. Use it as an asynchronous context manager.

    `clock` is the server's time by the `Date` header of the latest answer (UTC), None before the first one.
    """

    def __init__(self, connection: Connection, *, workers: int = 20, timeouts: Timeouts | None = None) -> None:
        self.connection = connection
        self.server = connection.server
        self.clock: datetime | None = None
        self.timeouts = timeouts or Timeouts()
        self._http = HTTPClient(
            lambda: connection.tls,
            proxy=connection.proxy,
            server_name=connection.server_name,
            workers=workers,
            timeouts=self.timeouts,
        )
        self._renewing = asyncio.Lock()
        self._hopeless = -1
        self._discovered: dict[str, frozenset[str] | None] = {}
        self._discovering: dict[str, asyncio.Lock] = {}

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        try:
            await self._log_in()
        except BaseException:
            await self._http.__aexit__(None, None, None)
            raise
        return self

    async def _log_in(self) -> None:
        """Take a token for a name and a password, where the cluster gives one."""
        if self.connection.password is not None:
            token = await token_by_challenge(self._http, self.connection)
            if token is not None:
                self.connection.take_token(token)

    async def _has_others(self, refused: int) -> bool:
        """Whether there are other credentials than those of the generation that was refused; they are got where they can be.

        One request at a time does so, and once for a generation: the others that were refused meanwhile find what came of it.
        """
        async with self._renewing:
            if self.connection.generation == refused != self._hopeless:
                self._hopeless = refused
                if self.connection.password is not None:
                    await self._log_in()
                else:
                    await self.connection.renew_refused()
            return self.connection.generation != refused

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def serves(self, resource: Resource) -> bool:
        """Whether discovery shows this resource (R3)."""
        # Kinds of one group are listed side by side, and the group is asked for once.
        async with self._discovering.setdefault(resource.root, asyncio.Lock()):
            if resource.root not in self._discovered:
                answer = await self._read(resource.root, "get", resource, missing_ok=True)
                found = None
                if answer is not None:
                    listed = self._decode(answer, _ApiResourceList, resource.root)
                    found = frozenset(entry.name for entry in listed.resources or ())
                self._discovered[resource.root] = found
        return resource.plural in (self._discovered[resource.root] or ())

    async def pages(
        self, resource: Resource, decoder: msgspec.json.Decoder[Page[T]], *, ahead: int = 1
    ) -> AsyncGenerator[Page[T]]:
        """The pages of a list of all namespaces, in order. Raises ExpiredError when its `continue` token does (410).

        So many `ahead` are on their way, or wait, while one is decoded and used. Close what this gives where it is not read to its end.
        """
        coming: deque[asyncio.Task[Response]] = deque()
        waiting: list[str] = []

        def ask(token: str) -> None:
            if len(coming) >= ahead:
                waiting.append(token)
            else:
                coming.append(asyncio.create_task(self._page(resource, token, ask)))

        ask("")
        try:
            while coming:
                answer = await coming[0]
                coming.popleft()
                if waiting:
                    ask(waiting.pop())
                # Nothing else has its turn while a page is decoded and used: let that be sent, and then what has come be taken.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                try:
                    page = decoder.decode(answer.body)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise self._not_understood(answer, resource.path(), error) from None
                del answer
                yield page
        finally:
            for page_ahead in coming:
                page_ahead.cancel()
            await asyncio.gather(*coming, return_exceptions=True)

    async def _page(self, resource: Resource, token: str, ask: Callable[[str], None]) -> Response:
        """A page; `ask` is told the token of the one after it, if there is one, as soon as the first bytes give it.

        Raises ExpiredError when the page had to be asked for anew and is another one then.
        """
        told: list[str] = []

        def tell(after: str) -> bool:
            if not told:
                told.append(after)
                if after:
                    ask(after)
            return True

        def peek(begun: bytes) -> bool:
            meta = begun_list_meta(begun)
            return meta is not None and tell(meta.continue_)

        parameters: dict[str, str | int] = {"limit": PAGE, **({"continue": token} if token else {})}
        answer = await self._read(resource.path() + query(parameters), "list", resource, peek=peek)
        assert answer is not None  # noqa: S101 - only None with missing_ok
        try:
            after = list_meta(answer.body).continue_
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._not_understood(answer, resource.path(), error) from None
        tell(after)
        if told != [after]:
            raise ExpiredError(f"{self.server}: list {resource.name}: it was broken off, and is another one by now")
        return answer

    @asynccontextmanager
    async def watch(
        self, resource: Resource, resource_version: str, *, seconds: int
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """The events of a kind in all namespaces since a resource version, for so many seconds; entered when the server has agreed.

        That the server ends it in time shows that it was there until then. Raises ExpiredError when the version is too old (410),
        ClusterError when it is refused, or the connection fails or is silent for longer than it should be.
        """
        parameters: dict[str, str | int] = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": seconds,
        }
        url = self.server + resource.path() + query(parameters)
        silence = seconds + min(self.timeouts.read, _GRACE)
        try:
            async with self._http.stream(url, await self._headers(), silence=silence, total=2 * silence) as answer:
                if answer.status != 200:
                    raise self._error(await answer.read(), "watch", resource, resource.path())
                yield self._events(resource, answer)
        except TransportError as error:
            raise ClusterError(f"watch {resource.name}: {error}") from None

    async def _events(self, resource: Resource, answer: StreamedResponse) -> AsyncIterator[WatchEvent]:
        async for line in answer.lines():
            try:
                event = msgspec.json.decode(line, type=_Event)
                about = msgspec.json.decode(event.object, type=_EventObject)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ClusterError(f"{self.server}: watch {resource.name}: {error}") from None
            if event.type == "ERROR":
                kind = ExpiredError if about.code == 410 else ClusterError
                raise kind(f"{self.server}: watch {resource.name}: {about.message}")
            yield WatchEvent(event.type, event.object, about.metadata.resource_version)

    async def get(self, resource: Resource, kind: type[T], *, namespace: str = "", name: str = "") -> T:
        """One object. Raises NotFoundError."""
        path = resource.object_path(namespace, name)
        answer = await self._read(path, "get", resource)
        assert answer is not None  # noqa: S101
        return self._decode(answer, kind, path)

    async def allowed(
        self, verb: str, resource: Resource, *, subresource: str = "", namespace: str = "", name: str = ""
    ) -> bool:
        """Whether who asks may do this: a SelfSubjectAccessReview, which writes nothing."""
        attributes = {
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": subresource,
            "namespace": namespace,
            "name": name,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {name: value for name, value in attributes.items() if value}},
        }
        reviews = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
        return msgspec.convert(await self.create(reviews, body), _Review).status.allowed

    async def read_path(self, path: str, kind: type[T]) -> T:
        """Whatever stands at a path, such as `/version`. Raises ClusterError."""
        answer = await self._read(path, "get", None)
        assert answer is not None  # noqa: S101
        return self._decode(answer, kind, path)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def create(self, resource: Resource, body: object, *, namespace: str = "") -> dict[str, Any]:
        """Create an object, and give it as it is. Raises ConflictError when there is one, perhaps by an answer that was lost."""
        path = resource.path(namespace)
        return self._decode(await self._write("POST", path, "create", resource, body), dict, path)

    async def update(
        self,
        resource: Resource,
        body: object,
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        before: Precondition | None = None,
    ) -> dict[str, Any]:
        """Replace an object, or its status, and give it as it is.

        Raises ConflictError when its resourceVersion is another one by now, perhaps by an answer that was lost.
        """
        path = resource.object_path(namespace, name, subresource)
        shown = (
            msgspec.structs.replace(resource, plural=f"{resource.plural}/{subresource}") if subresource else resource
        )
        return self._decode(await self._write("PUT", path, "update", shown, body, before), dict, path)

    async def delete(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        name: str,
        uid: str,
        resource_version: str | None = None,
        before: Precondition | None = None,
    ) -> None:
        """Delete this very object. Raises NotFoundError, and ConflictError when it is another one by now."""
        preconditions = {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        await self._write("DELETE", resource.object_path(namespace, name), "delete", resource, body, before)

    # --- underneath ---------------------------------------------------------------------------------------------------

    async def _headers(self, more: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        return json_headers(await self.connection.authorization(), [*self.connection.headers, *more])

    async def _read(
        self,
        path: str,
        verb: str,
        resource: Resource | None,
        *,
        missing_ok: bool = False,
        peek: OnPrefix | None = None,
    ) -> Response | None:
        answer = await self._answer("GET", path, peek=peek)
        if missing_ok and answer.status == 404:
            return None
        self._check(answer, verb, resource, path)
        return answer

    async def _write(
        self, method: str, path: str, verb: str, resource: Resource, body: object, before: Precondition | None = None
    ) -> Response:
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = await self._answer(method, path, encoded, before)
        self._check(answer, verb, resource, path)
        return answer

    async def _answer(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        before: Precondition | None = None,
        peek: OnPrefix | None = None,
    ) -> Response:
        """The answer to a request, which is made anew where its credentials are refused and there are others by then."""
        answer, generation = await self._try(method, path, body, before, peek)
        if answer.status == 401 and await self._has_others(generation):
            answer, generation = await self._try(method, path, body, before, peek)
            if answer.status == 401:
                # New ones are refused too: to get others for every request would help nobody.
                self._hopeless = generation
        return answer

    async def _try(
        self, method: str, path: str, body: bytes | None, before: Precondition | None, peek: OnPrefix | None
    ) -> tuple[Response, int]:
        """The answer, and the generation of the credentials that the request had."""
        headers = await self._headers([("Content-Type", "application/json")] if body is not None else ())
        generation = self.connection.generation
        try:
            answer = await self._http.request(
                method, self.server + path, headers=headers, body=body, precondition=before, on_prefix=peek
            )
        except TransportError as error:
            raise ClusterError(str(error)) from None
        self.clock = answer.date or self.clock
        return answer, generation

    def _check(self, answer: Response, verb: str, resource: Resource | None, path: str) -> None:
        if answer.status in (200, 201, 202):
            return
        raise self._error(answer, verb, resource, path)

    def _error(self, answer: Response, verb: str, resource: Resource | None, path: str) -> ClusterError:  # noqa: PLR0911 - a table
        try:
            said = msgspec.json.decode(answer.body, type=_Status).message
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = ""
        what = resource.name if resource else path.partition("?")[0]
        match answer.status:
            case 401:
                return UnauthorizedError(
                    f"{self.server}: the credentials are not accepted (401{f', {said}' if said else ''}); "
                    "give a valid api_key, or log in again"
                )
            case 403:
                group = repr(resource.group) if resource and resource.group else "'' (core)"
                return ForbiddenError(
                    f"{self.server}: no permission to {verb} {what} (403{f', {said}' if said else ''}); "
                    f"grant verb {verb!r} on resource {resource.plural if resource else path!r} of API group {group}"
                )
            case 404:
                return NotFoundError(
                    f"{self.server}: {path.partition('?')[0]} is not there (404{f', {said}' if said else ''})"
                )
            case 409:
                return ConflictError(f"{self.server}: {verb} {what}: {said or 'the object has changed'} (409)")
            case 410:
                return ExpiredError(f"{self.server}: {verb} {what}: {said or 'too old'} (410)")
            case status if 300 <= status < 400:
                where = answer.headers.get("Location", "nowhere").partition("?")[0]
                return ClusterError(f"{self.server}: sends one on to {where} ({status}); give that address as host")
        said = said or answer.describe()
        later = "; it stays busy, try again later" if answer.status in TRANSIENT_STATUSES else ""
        error = ClusterError(f"{self.server}: {verb} {what}: the server answers {answer.status} ({said}){later}")
        error.status = answer.status
        return error

    def _decode(self, answer: Response, kind: type[T], path: str) -> T:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._not_understood(answer, path, error) from None

    def _not_understood(self, answer: Response, path: str, error: Exception) -> ClusterError:
        return ClusterError(
            f"{self.server}: the answer to {path} is not what an API server gives ({answer.describe()}: {error}); "
            "give the address of the API as host"
        )


class _Head(msgspec.Struct):
    metadata: ListMeta


class _WholeHead(msgspec.Struct):
    metadata: ListMeta = ListMeta()


_head, _whole_head = msgspec.json.Decoder(_Head), msgspec.json.Decoder(_WholeHead)
_LONGEST_HEAD = 8192


def list_meta(body: bytes | bytearray) -> ListMeta:
    """The metadata of a list. Raises msgspec.DecodeError for what is no list."""
    begun = begun_list_meta(body)
    return begun if begun is not None else _whole_head.decode(body).metadata


def begun_list_meta(body: bytes | bytearray) -> ListMeta | None:
    """The metadata of a list of which this is the beginning; None where they are not in it.

    API servers write them before the items, where they are found without going through those.
    """
    items = body.find(b'"items"', 0, _LONGEST_HEAD)
    if items <= 0:
        return None
    try:
        return _head.decode(body[:items].rstrip(b", \r\n\t") + b"}").metadata
    except msgspec.DecodeError:
        return None


def decoder_of_pages(kind: type[T]) -> msgspec.json.Decoder[Page[T]]:
    """A decoder for the pages of lists of this kind."""
    page: Any = Page[kind]  # type: ignore[valid-type]
    decoder: msgspec.json.Decoder[Page[T]] = msgspec.json.Decoder(page)
    return decoder
