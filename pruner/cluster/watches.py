"""Watches: the events of a kind, as they come in."""

from __future__ import annotations

from typing import Literal

import msgspec

from pruner.cluster.resources import Resource
from pruner.errors import ClusterError, ExpiredError
from pruner.http.response import UNDECODABLE, reason_of

GRACE = 5.0
"""Seconds after which a watch is taken to be dead that should have been ended by the server."""


class WatchEvent(msgspec.Struct, frozen=True):
    """An event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object as bytes of JSON.

    `version` is the resource version that it brings the watcher to.
    """

    type: str
    object: msgspec.Raw
    version: str


class _Event(msgspec.Struct, frozen=True):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    resource_version: str = ""


class _Object(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = ""
    api_version: str = ""
    metadata: _Meta | None = None


class _Status(msgspec.Struct, frozen=True):
    code: int | None = None
    message: str = ""


def read_event(line: bytes, server: str, resource: Resource, kind: str) -> WatchEvent:
    """An event of a watch of this kind.

    Raises ExpiredError for an event that says that the resource version is too old (410), ClusterError for any other
    error, for an event of another kind and for a line that holds none.
    """
    try:
        event = msgspec.json.decode(line, type=_Event)
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object, type=_Status)
            error = ExpiredError if status.code == 410 else ClusterError
            raise error(f"{server}: watch {resource.name}: {status.message}")
        about = msgspec.json.decode(event.object, type=_Object)
    except UNDECODABLE as error:
        raise ClusterError(f"{server}: watch {resource.name}: {reason_of(error)}") from None
    metadata = about.metadata or _Meta()
    if (about.kind, about.api_version) != (kind, resource.api_version):
        found = f"{about.kind or 'no kind'} of {about.api_version or 'no version'}"
        raise ClusterError(
            f"{server}: watch {resource.name}: an event {event.type} with {found}, and not with a {kind}"
        )
    if not metadata.resource_version or (not metadata.name and event.type != "BOOKMARK"):
        raise ClusterError(
            f"{server}: watch {resource.name}: an event {event.type} whose object has no name or no resource version"
        )
    return WatchEvent(event.type, event.object, metadata.resource_version)
