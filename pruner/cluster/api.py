"""The Kubernetes API, as far as pruning asks it: discovery, lists, objects, updates, deletions, access reviews.

`Api` turns requests into decoded values and every answer that is not one into an error of pruner.errors that names the
server, the resource and, for a refusal, the permission that is missing. While the server is busy requests are repeated,
writes too: an update names the resourceVersion it replaces and a deletion the uid, so that a second one after a lost
answer is a conflict or a 404, and no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from pruner.cluster.access_reviews import ACCESS_REVIEWS, allowed_by, review_of
from pruner.cluster.clock import ServerClock
from pruner.cluster.connection import Connection
from pruner.cluster.discovery import Discovery
from pruner.cluster.lists import ListReader
from pruner.cluster.metadata import Page
from pruner.cluster.oauth import token_by_challenge
from pruner.cluster.resources import Resource
from pruner.cluster.responses import (
    check_deletion,
    check_object,
    decoded,
    failure,
    identity_in,
    says_no_such_path,
    says_not_found,
)
from pruner.cluster.watches import GRACE, WatchEvent, read_event
from pruner.errors import ClusterError, ConnectionLostError
from pruner.http.body import OnPrefix
from pruner.http.client import HTTPClient, Precondition, StreamedResponse, Timeouts, json_headers
from pruner.http.failures import TransportError
from pruner.http.response import Response
from pruner.http.urls import query

T = TypeVar("T")

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"


class Api:
    """A client of one API server. Use it as an asynchronous context manager.

    `clock` is the server's time by the `Date` headers of its answers, and says whether it can be believed.
    """

    def __init__(self, connection: Connection, *, workers: int = 20, timeouts: Timeouts | None = None) -> None:
        self.connection = connection
        self.server = connection.server
        self.clock = ServerClock(connection.server)
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
        self.discovery = Discovery(self.server, self._discover)

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
        """Whether there are other credentials than those of the refused generation; they are got where they can be.

        One request at a time does so, and once for a generation: the others that were refused meanwhile find what came
        of it.
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
        """Whether discovery shows this resource in this version (R3). Raises ClusterError where that is not certain."""
        return await self.discovery.kind_of(resource) is not None

    async def pages(
        self,
        resource: Resource,
        decoder: msgspec.json.Decoder[Page[T]],
        *,
        ahead: int = 1,
        selector: str = "",
        namespace: str = "",
    ) -> AsyncGenerator[Page[T]]:
        """The pages of a list of all namespaces or of one, in order. Close it where it is not read to its end.

        With a label `selector` those of the objects that have such labels.

        So many `ahead` are on their way, or wait, while one is decoded and used. Raises ExpiredError when its
        `continue` token does (410), ClusterError for everything that is not all of the list.
        """

        async def fetch(path: str, peek: OnPrefix) -> Response:
            return await self._read(path, "list", resource, peek=peek)

        reader = ListReader(self.server, resource, await self._kind(resource), fetch, selector, namespace)
        async with aclosing(reader.pages(decoder, ahead)) as pages:
            async for page in pages:
                yield page

    async def _kind(self, resource: Resource) -> str:
        """The kind of a resource's objects; of one that the settings name, discovery knows it."""
        return resource.kind or await self.discovery.kind_of(resource) or resource.name

    @asynccontextmanager
    async def watch(
        self, resource: Resource, resource_version: str, *, seconds: int
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """The events of a kind in all namespaces since a resource version, for so many seconds; entered once agreed.

        That the server ends it in time shows that it was there until then. Raises ExpiredError when the version is too
        old (410), ClusterError when it is refused, or the connection fails or is silent for longer than it should be.
        """
        parameters: dict[str, str | int] = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": seconds,
        }
        url = self.server + resource.path() + query(parameters)
        silence = seconds + min(self.timeouts.read, GRACE)
        kind = await self._kind(resource)
        try:
            async with self._http.stream(
                url, await self._headers(JSON), silence=silence, total=2 * silence
            ) as response:
                if response.status != 200:
                    raise await self._failure(await response.read(), "watch", resource, resource.path())
                yield self._events(resource, kind, response)
        except TransportError as error:
            raise ConnectionLostError(f"watch {resource.name}: {error}") from None

    async def _events(self, resource: Resource, kind: str, response: StreamedResponse) -> AsyncIterator[WatchEvent]:
        async for line in response.lines():
            yield read_event(line, self.server, resource, kind)

    async def get(self, resource: Resource, kind: type[T], *, namespace: str = "", name: str = "") -> T:
        """One object.

        Raises NotFoundError where the API server itself says that it is absent; the user `~` is whoever asks.
        """
        path = resource.object_path(namespace, name)
        response = await self._read(path, "get", resource, name=name)
        wanted = "" if name == "~" else name
        check_object(self.server, response, resource, path, name=wanted, namespace=namespace)
        return decoded(self.server, response, kind, path)

    async def allowed(
        self, verb: str, resource: Resource, *, subresource: str = "", namespace: str = "", name: str = ""
    ) -> bool:
        """Whether whoever asks may do this: a SelfSubjectAccessReview, which writes nothing."""
        review = review_of(verb, resource, subresource=subresource, namespace=namespace, name=name)
        return allowed_by(await self.create(ACCESS_REVIEWS, review), self.server)

    async def read_path(self, path: str, kind: type[T]) -> T:
        """Whatever stands at a path, such as `/version`. Raises ClusterError."""
        return decoded(self.server, await self._read(path, "get", None), kind, path)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def create(self, resource: Resource, body: object, *, namespace: str = "") -> dict[str, Any]:
        """Create an object, and give it as it is.

        Raises ConflictError when there is one, perhaps by an answer that was lost.
        """
        path = resource.path(namespace)
        response = await self._write("POST", path, "create", resource, body)
        check_object(self.server, response, resource, path, **identity_in(body))
        return decoded(self.server, response, dict, path)

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

        Raises ConflictError when its resourceVersion has changed, possibly by an update whose response was lost.
        """
        path = resource.object_path(namespace, name, subresource)
        shown = (
            msgspec.structs.replace(resource, plural=f"{resource.plural}/{subresource}") if subresource else resource
        )
        response = await self._write("PUT", path, "update", shown, body, before, name=name)
        check_object(self.server, response, resource, path, **identity_in(body))
        return decoded(self.server, response, dict, path)

    async def patch(
        self,
        resource: Resource,
        body: object,
        *,
        namespace: str = "",
        name: str,
        before: Precondition | None = None,
    ) -> dict[str, Any]:
        """Merge something into an object (RFC 7386), and give it as it is.

        A body with a resourceVersion is a precondition. Raises ConflictError when that has changed, NotFoundError.
        """
        path = resource.object_path(namespace, name)
        response = await self._write(
            "PATCH", path, "patch", resource, body, before, name=name, content_type=MERGE_PATCH
        )
        check_object(self.server, response, resource, path, name=name, namespace=namespace)
        return decoded(self.server, response, dict, path)

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
        """Delete this very object. Raises NotFoundError, and ConflictError when it was replaced."""
        preconditions = {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        path = resource.object_path(namespace, name)
        response = await self._write("DELETE", path, "delete", resource, body, before, name=name)
        check_deletion(self.server, response, resource, path, name)

    # --- underneath ---------------------------------------------------------------------------------------------------

    async def _headers(self, accept: str, more: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        return json_headers(await self.connection.authorization(), [*self.connection.headers, *more], accept)

    async def _discover(self, path: str, accept: str) -> Response:
        """A document of discovery, or whatever stands in its place.

        Raises ClusterError for a refusal, or where the server stays busy.
        """
        response = await self._request("GET", path, accept=accept)
        if response.status not in (200, 404):
            raise await self._failure(response, "get", None, path)
        return response

    async def _read(
        self, path: str, verb: str, resource: Resource | None, *, name: str = "", peek: OnPrefix | None = None
    ) -> Response:
        response = await self._request("GET", path, peek=peek)
        return await self._checked(response, verb, resource, path, name)

    async def _write(
        self,
        method: str,
        path: str,
        verb: str,
        resource: Resource,
        body: object,
        before: Precondition | None = None,
        *,
        name: str = "",
        content_type: str = JSON,
    ) -> Response:
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        response = await self._request(method, path, encoded, before, content_type=content_type)
        return await self._checked(response, verb, resource, path, name)

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        before: Precondition | None = None,
        peek: OnPrefix | None = None,
        accept: str = JSON,
        content_type: str = JSON,
    ) -> Response:
        """The response to a request, which is sent again if its credentials are refused and others are available."""
        response, generation = await self._try(method, path, body, before, peek, accept, content_type)
        if response.status == 401 and await self._has_others(generation):
            response, generation = await self._try(method, path, body, before, peek, accept, content_type)
            if response.status == 401:
                # New ones are refused too: to get others for every request would help nobody.
                self._hopeless = generation
        return response

    async def _try(
        self,
        method: str,
        path: str,
        body: bytes | None,
        before: Precondition | None,
        peek: OnPrefix | None,
        accept: str,
        content_type: str,
    ) -> tuple[Response, int]:
        """The response, and the generation of the credentials that the request had."""
        headers = await self._headers(accept, [("Content-Type", content_type)] if body is not None else ())
        generation = self.connection.generation
        try:
            response = await self._http.request(
                method, self.server + path, headers=headers, body=body, precondition=before, on_prefix=peek
            )
        except TransportError as error:
            raise ConnectionLostError(str(error)) from None
        self.clock.note(response.date)
        return response, generation

    async def _checked(
        self, response: Response, verb: str, resource: Resource | None, path: str, name: str = ""
    ) -> Response:
        if response.status in (200, 201, 202):
            return response
        raise await self._failure(response, verb, resource, path, name)

    async def _failure(
        self, response: Response, verb: str, resource: Resource | None, path: str, name: str = ""
    ) -> ClusterError:
        absent = response.status == 404 and await self._is_absent(response, resource, name)
        return failure(self.server, response, verb, resource, path, absent=absent)

    async def _is_absent(self, response: Response, resource: Resource | None, name: str) -> bool:
        """Whether a 404 means that there is no such object: by the
        API server's own word, or since it has nothing of the kind.
        """
        if says_not_found(response, name):
            return True
        return resource is not None and says_no_such_path(response) and not await self.discovery.lists(resource)
