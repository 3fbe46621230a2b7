"""Lists, page by page: what counts as one, and how its pages are asked for ahead of the one that is decoded.

A list counts only where it is certain that no object is missing from it. Anything else that an API server, or something
in front of it, sends with status 200 ends the run (R3).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from pruner.cluster.metadata import ListMeta, Page
from pruner.cluster.resources import Resource
from pruner.cluster.responses import not_understood, status_in
from pruner.errors import ClusterError, ExpiredError
from pruner.http.body import OnPrefix
from pruner.http.response import UNDECODABLE, Response, reason_of
from pruner.http.urls import query

T = TypeVar("T")

PAGE_SIZE: int = 500
"""Objects asked for at once, as `oc` does."""

MOST_PAGES: int = 10_000
"""Pages of one list: five million objects. A cluster has 500,000
images at most; a list that goes on further does not end."""

MOST_OBJECTS: int = 5_000_000
"""Objects of one list, in however few pages: ten times as many images as the largest clusters have."""

Fetch = Callable[[str, OnPrefix], Awaitable[Response]]
"""Gets the page at a path; shows the beginning of its body while the rest is on its way."""

_LONGEST_HEAD: Final = 8192
"""Bytes at the beginning of a page in which its items begin, if API servers wrote it."""


class _Head(msgspec.Struct):
    metadata: ListMeta


class _Kind(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""


_head = msgspec.json.Decoder(_Head)


def decoder_of_pages(item: Any, kind: str = "") -> msgspec.json.Decoder[Page[Any]]:
    """A decoder for pages of lists with these items, such as a struct. Items that say another `kind` are refused.

    Where the struct itself is of one kind, which its tag names, that need not be said again.
    """
    if kind:
        item = msgspec.defstruct(kind, [], bases=(item,), frozen=True, gc=False, tag_field="kind", tag=kind)
    page: Any = Page[item]
    decoder: msgspec.json.Decoder[Page[Any]] = msgspec.json.Decoder(page)
    return decoder


def begun_continue(body: bytes | bytearray) -> str | None:
    """The `continue` token of a page of which this is the beginning; None where it is not in it.

    API servers write the metadata of a list before the items, where they are found without going through those.
    """
    items = body.find(b'"items"', 0, _LONGEST_HEAD)
    if items <= 0:
        return None
    try:
        return _head.decode(body[:items].rstrip(b", \r\n\t") + b"}").metadata.continue_
    except UNDECODABLE:
        return None


class ListReader:
    """One reading of a list of `kind` (the kind of its items), from the first page to the last."""

    def __init__(
        self, server: str, resource: Resource, kind: str, fetch: Fetch, selector: str = "", namespace: str = ""
    ) -> None:
        """`selector` is a label selector that the API server evaluates; without a `namespace` all are read."""
        self._server = server
        self._resource = resource
        self._kind = kind
        self._fetch = fetch
        self._path = resource.path(namespace)
        self._selector: dict[str, str | int] = {"labelSelector": selector} if selector else {}
        self._tokens: set[str] = set()
        self._objects = 0

    async def pages(self, decoder: msgspec.json.Decoder[Page[T]], ahead: int) -> AsyncGenerator[Page[T]]:
        """The pages in order. So many `ahead` are on their way, or wait, while one is decoded and used.

        Raises ClusterError for a response that is not a list of these objects or does not end, ExpiredError
        if a page has changed.
        """
        coming: deque[asyncio.Task[tuple[Response, str | None]]] = deque()
        waiting: list[str] = []

        def request(token: str) -> None:
            if len(coming) >= ahead:
                waiting.append(token)
            else:
                coming.append(asyncio.create_task(self._page(token, request)))

        request("")
        try:
            while coming:
                response, following = await coming[0]
                coming.popleft()
                if waiting:
                    request(waiting.pop())
                # Nothing else has its turn while a page is decoded and used: let that be sent, and then what has come
                # be taken.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                page = self._decoded(response, decoder)
                del response
                self._check_end(page)
                if following is None and page.metadata.continue_:
                    request(page.metadata.continue_)
                elif following is not None and following != page.metadata.continue_:
                    raise self._expired()
                yield page
        finally:
            for page_ahead in coming:
                page_ahead.cancel()
            await asyncio.gather(*coming, return_exceptions=True)

    async def _page(self, token: str, request: Callable[[str], None]) -> tuple[Response, str | None]:
        """A page, and the `continue` token in its beginning, whose page is requested as soon as it has come, or None.

        Raises ExpiredError when the page had to be requested again and is another one then.
        """
        following: list[str] = []

        def follow(begun: bytes | bytearray) -> bool:
            after = begun_continue(begun)
            if after is not None and not following:
                following.append(after)
                if after and after not in self._tokens:
                    request(after)
            return bool(following)

        parameters: dict[str, str | int] = {
            "limit": PAGE_SIZE,
            **self._selector,
            **({"continue": token} if token else {}),
        }
        response = await self._fetch(self._path + query(parameters), follow)
        after = begun_continue(response.body)
        if after is not None:
            follow(response.body)
            if following != [after]:
                raise self._expired()
        return response, following[0] if following else None

    def _decoded(self, response: Response, decoder: msgspec.json.Decoder[Page[T]]) -> Page[T]:
        try:
            page = decoder.decode(response.body)
        except UNDECODABLE as error:
            raise self._refused(response, self._other_kind(response) or reason_of(error)) from None
        if self._is_other(page.kind, page.api_version):
            raise self._refused(response, self._other_kind(response))
        return page

    def _is_other(self, kind: str, api_version: str) -> bool:
        """Whether a list is one of other objects. That of a custom resource is called what its definition says."""
        if api_version != self._resource.api_version:
            return True
        return kind != f"{self._kind}List" if self._resource.kind else not kind.endswith("List")

    def _other_kind(self, response: Response) -> str:
        """What a response says that it is, where that is no list of these objects."""
        try:
            found = msgspec.json.decode(response.body, type=_Kind)
        except UNDECODABLE:
            return ""
        if not self._is_other(found.kind, found.api_version):
            return ""
        said = status_in(response).message
        typed = f"{found.kind or 'no kind'} of {found.api_version or 'no version'}{f', {said}' if said else ''}"
        return f"it is {typed}, and no {self._kind}List of {self._resource.api_version}"

    def _check_end(self, page: Page[T]) -> None:
        """Raise ClusterError where a page leaves out what follows it, or nothing shows that the list ends."""
        token, remaining = page.metadata.continue_, page.metadata.remaining_item_count
        if not token and remaining:
            raise self._broken(f"{remaining} objects remain, and there is no continue token for them")
        if token and not page.items:
            raise self._broken("a page without objects is followed by another one")
        if token in self._tokens:
            raise self._broken("a continue token came twice, so the list does not end")
        if token:
            self._tokens.add(token)
        self._objects += len(page.items)
        if len(self._tokens) >= MOST_PAGES or self._objects > MOST_OBJECTS:
            raise self._broken(
                f"it has more than {MOST_PAGES} pages or {MOST_OBJECTS} objects, which no cluster has, and does not end"
            )

    def _broken(self, why: str) -> ClusterError:
        return ClusterError(
            f"{self._server}: list {self._resource.name}: {why}; check what stands between, and try again"
        )

    def _expired(self) -> ExpiredError:
        return ExpiredError(
            f"{self._server}: list {self._resource.name}: it was interrupted, and the list has changed since"
        )

    def _refused(self, response: Response, why: str) -> ClusterError:
        return not_understood(self._server, response, self._path, why)


def check_item(item: Any, resource: Resource, kind: str | None, server: str) -> None:
    """Raise ClusterError for an item of a list that is no object with a name, or says that it is of another kind."""
    metadata = item.get("metadata") if isinstance(item, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        why = "an item has no name"
    elif item.get("kind", kind) != kind:
        why = f"an item is a {item['kind']}, and not a {kind}"
    else:
        return
    raise ClusterError(f"{server}: list {resource.name}: {why}; check what stands between, and try again")
