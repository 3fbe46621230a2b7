"""What all objects of a cluster have: metadata, times, and the envelope of lists."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

import msgspec

T = TypeVar("T")

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""The age of what has no time: the API's zero time, older than any limit, as the API server's own types have it."""


def moment(value: datetime | None) -> datetime:
    """A time of the API, in UTC; one without an offset is UTC already, as the API writes no other."""
    if value is None:
        return BEGINNING
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


Stated = Annotated[str, msgspec.Meta(min_length=1)]
"""What an API server never leaves out or empty. An answer without it is none of its own (R3)."""


class ListMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    resource_version: Stated
    continue_: str = msgspec.field(name="continue", default="")
    remaining_item_count: int | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """One page of a list.

    Everything is required: API servers write it for empty lists too, whose `items` are `[]` and never null.
    """

    kind: str
    api_version: str
    metadata: ListMeta
    items: list[T]


class OwnerReference(msgspec.Struct, frozen=True, gc=False):
    kind: str = ""
    name: str = ""


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    name: Stated
    namespace: Stated
    uid: Stated
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    owner_references: list[OwnerReference] | None = None


class ObjectReference(msgspec.Struct, frozen=True, gc=False):
    """`from` of builds, tags and triggers."""

    name: str = ""
    kind: str = ""
    namespace: str | None = None
