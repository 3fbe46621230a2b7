"""Discovery: which groups, versions and kinds an API server has.

Only a server that answers completely can show that a kind is absent. So a version that is listed and stale, or whose
own document is missing, empty or something else, is an error after some attempts, and never a kind without objects
(R3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from pruner.cluster.resources import Resource
from pruner.errors import ClusterError
from pruner.http.response import UNDECODABLE, Response, reason_of

T = TypeVar("T")

ACCEPT: Final = ",".join(
    [
        *(
            f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            for version in ("v2", "v2beta1")
        ),
        "application/json",
    ]
)
"""Aggregated discovery, all groups in one document: v2 since
Kubernetes 1.30, v2beta1 since 1.26; older servers list names."""

PAUSES: Final = (0.2, 0.4, 0.8, 1.6)
"""Seconds before each further attempt to get a whole document: an API server that starts has one after a moment."""

EVERYWHERE: Final = frozenset({"", "apps", "batch"})
"""Groups that every API server has, with all kinds of theirs that are asked for."""

Fetch = Callable[[str, str], Awaitable[Response]]
"""A GET of a path with this `Accept` header; raises ClusterError for a refusal or a server that stays busy."""


class _IncompleteError(Exception):
    """A document that does not show what there is; another attempt may."""


class _Kind(msgspec.Struct, frozen=True):
    kind: str = ""


class _AggregatedResource(msgspec.Struct, frozen=True, rename="camel"):
    resource: str
    response_kind: _Kind = _Kind()


class _AggregatedVersion(msgspec.Struct, frozen=True):
    version: str
    resources: tuple[_AggregatedResource, ...] = ()
    freshness: str = "Current"


class _GroupMeta(msgspec.Struct, frozen=True):
    name: str = ""


class _AggregatedGroup(msgspec.Struct, frozen=True):
    metadata: _GroupMeta = _GroupMeta()
    versions: tuple[_AggregatedVersion, ...] = ()


class _AggregatedGroups(msgspec.Struct, frozen=True, tag_field="kind", tag="APIGroupDiscoveryList"):
    items: tuple[_AggregatedGroup, ...]


class _NamedVersion(msgspec.Struct, frozen=True):
    version: str


class _NamedGroup(msgspec.Struct, frozen=True):
    name: str
    versions: tuple[_NamedVersion, ...]


class _NamedGroups(msgspec.Struct, frozen=True, tag_field="kind", tag="APIGroupList"):
    groups: tuple[_NamedGroup, ...]


class _CoreVersions(msgspec.Struct, frozen=True, tag_field="kind", tag="APIVersions"):
    versions: tuple[str, ...]


class _ApiResource(msgspec.Struct, frozen=True):
    name: str
    kind: str


class _ApiResources(msgspec.Struct, frozen=True, tag_field="kind", tag="APIResourceList", rename="camel"):
    group_version: str
    resources: tuple[_ApiResource, ...]


_Kinds = dict[str, str]
"""Kind by plural name."""
_Groups = dict[str, dict[str, _Kinds | None]]
"""Kinds by group and version; None where they have yet to be read from the version's own document."""

_decoder = msgspec.json.Decoder(_AggregatedGroups | _NamedGroups | _CoreVersions)


class Discovery:
    """What an API server has; read once, when it is first needed."""

    def __init__(self, server: str, fetch: Fetch) -> None:
        self._server = server
        self._fetch = fetch
        self._documents: dict[str, _Groups] = {}
        self._stale: set[tuple[str, str]] = set()
        self._reading = asyncio.Lock()

    async def kind_of(self, resource: Resource) -> str | None:
        """The kind of a resource; None where this API server does not have it in this version.

        Raises ClusterError where that is not certain, or where it is a kind that every API server has.
        """
        versions = await self._attempt(lambda: self._versions(resource.group))
        kind = None
        if resource.version in versions:
            kinds = await self._attempt(lambda: self._kinds(resource.group, resource.version))
            kind = kinds.get(resource.plural)
        if kind is None and resource.group in EVERYWHERE and not await self.other_versions(resource):
            raise ClusterError(
                f"{self._server}: discovery shows no {resource.name} of {resource.api_version}, which every cluster "
                "has; check what answers at this address, and try again"
            )
        return kind

    async def other_versions(self, resource: Resource) -> list[str]:
        """The versions other than the resource's own in which the kind is served.

        Raises ClusterError where that is not certain.
        """
        served = []
        for version in await self._attempt(lambda: self._versions(resource.group)):
            if version != resource.version:
                kinds = await self._attempt(
                    lambda version=version: self._kinds(resource.group, version)  # type: ignore[misc]
                )
                if resource.plural in kinds:
                    served.append(version)
        return served

    async def lists(self, resource: Resource) -> bool:
        """Whether the version of the resource's group is listed, whatever it has.

        Raises ClusterError where that is not certain.
        """
        return resource.version in await self._attempt(lambda: self._versions(resource.group))

    async def _attempt(self, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` returns, which gets several attempts at a complete document."""
        # The kinds are listed side by side, and each document is read once.
        async with self._reading:
            for pause in PAUSES:
                try:
                    return await read()
                except _IncompleteError:
                    await asyncio.sleep(pause)
            try:
                return await read()
            except _IncompleteError as error:
                raise ClusterError(f"{self._server}: {error}") from None

    async def _versions(self, group: str) -> dict[str, _Kinds | None]:
        root = "/apis" if group else "/api"
        if root not in self._documents:
            self._documents[root] = await self._read_groups(root)
        return self._documents[root].get(group, {})

    async def _kinds(self, group: str, version: str) -> _Kinds:
        if (group, version) in self._stale:
            del self._documents["/apis" if group else "/api"]
        versions = await self._versions(group)
        if version not in versions:
            raise _IncompleteError(
                f"discovery lists {_named(group, version)} at one time and not at another; try again later"
            )
        if (group, version) in self._stale:
            raise _IncompleteError(
                f"discovery lists {_named(group, version)} as stale, so it is not known which kinds it has; "
                "see what `oc get apiservices` shows as unavailable, and try again"
            )
        kinds = versions[version]
        if kinds is None:
            kinds = versions[version] = await self._read_version(group, version)
        return kinds

    async def _read_groups(self, root: str) -> _Groups:
        """The document at `/api` or `/apis`."""
        response = await self._fetch(root, ACCEPT)
        try:
            if response.status != 200:
                raise _IncompleteError(self._unusable(root, response, "no document of discovery"))
            document = _decoder.decode(response.body)
        except UNDECODABLE as error:
            raise _IncompleteError(self._unusable(root, response, reason_of(error))) from None
        match document:
            case _CoreVersions() if root == "/api":
                return {"": dict.fromkeys(document.versions)}
            case _NamedGroups() if root == "/apis":
                return {group.name: {it.version: None for it in group.versions} for group in document.groups}
            case _AggregatedGroups():
                return self._aggregated(document)
        raise _IncompleteError(self._unusable(root, response, "another document"))

    def _aggregated(self, document: _AggregatedGroups) -> _Groups:
        groups: _Groups = {}
        for group in document.items:
            name = group.metadata.name
            for version in group.versions:
                place = (name, version.version)
                # One that is current and empty is as little to be believed as a stale one: no group is without kinds.
                if version.freshness == "Current" and version.resources:
                    self._stale.discard(place)
                else:
                    self._stale.add(place)
                kinds: _Kinds = {it.resource: it.response_kind.kind for it in version.resources}
                groups.setdefault(name, {})[version.version] = kinds
        return groups

    async def _read_version(self, group: str, version: str) -> _Kinds:
        """A version's own document, of servers without aggregated discovery."""
        named = _named(group, version)
        path = f"/apis/{named}" if group else f"/api/{version}"
        response = await self._fetch(path, "application/json")
        try:
            if response.status != 200:
                raise _IncompleteError(self._unusable(path, response, f"{named} is listed"))
            document = msgspec.json.decode(response.body, type=_ApiResources)
        except UNDECODABLE as error:
            raise _IncompleteError(self._unusable(path, response, reason_of(error))) from None
        if document.group_version != named or not document.resources:
            found = f"{len(document.resources)} kinds of {document.group_version!r}"
            raise _IncompleteError(self._unusable(path, response, found))
        return {it.name: it.kind for it in document.resources}

    @staticmethod
    def _unusable(path: str, response: Response, why: str) -> str:
        return (
            f"the answer to {path} is not what an API server gives ({response.describe()}: {why}), so it is not known "
            "which kinds there are; give the address of the API as host, or try again when the API server is up"
        )


def _named(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version
