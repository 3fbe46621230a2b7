"""
Where objects live, as etcd and the API server keep them together: one counter of resource versions, writes that are
refused when they are based on an old one, snapshots behind `continue` tokens, and the log that watches follow. Each
object's JSON is made once and kept, so that a page of a list is a join of bytes.
"""

import asyncio
import base64
import secrets
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import msgspec

from sandbox import status
from sandbox.clock import Clock
from sandbox.kinds import IMAGE_STREAMS, IMAGES, Resource
from sandbox.status import Json

SNAPSHOTS_KEPT = 256
EVENTS_KEPT = 20_000
_VERSION_REQUIRED = {IMAGES, IMAGE_STREAMS}


def metadata_of(content: Json) -> Json:
    """The metadata of what a client sent, empty when there is none."""
    found = content.get("metadata")
    return found if isinstance(found, dict) else {}


class Stored:
    """One version of an object. `content` has neither kind nor apiVersion, and nobody changes it."""

    __slots__ = ("_body", "content", "resource")

    def __init__(self, resource: Resource, content: Json) -> None:
        self.resource = resource
        self.content = content
        self._body: bytes | None = None

    @property
    def metadata(self) -> Json:
        found: Json = self.content["metadata"]
        return found

    @property
    def key(self) -> tuple[str, str]:
        return self.metadata.get("namespace", ""), self.metadata["name"]

    @property
    def version(self) -> int:
        return int(self.metadata["resourceVersion"])

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = msgspec.json.encode(self.content)
        return self._body

    def whole(self) -> bytes:
        """The object as a GET gives it, with kind and apiVersion."""
        head = f'{{"kind":"{self.resource.kind}","apiVersion":"{self.resource.api_version}",'
        return head.encode() + self.body[1:]

    def listed(self) -> bytes:
        """The object as an item of a list: typed lists leave out kind and apiVersion, those of custom kinds do not."""
        return self.whole() if self.resource.custom else self.body

    def metadata_only(self) -> bytes:
        return msgspec.json.encode(
            {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": self.metadata}
        )

    def copy(self) -> Json:
        """The content, for changing."""
        copied: Json = msgspec.json.decode(self.body)
        return copied


@dataclass(frozen=True, slots=True)
class Event:
    version: int
    type: str
    item: Stored


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Stored]
    version: int
    token: str
    remaining: int


Selector = Callable[[Stored], bool]


class Snapshots:
    """The lists that `continue` tokens point into.

    `place` says which list it is: a token is of no use for another one.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[str, int, list[Stored]]] = OrderedDict()

    def page(self, place: str, items: list[Stored], version: int, limit: int) -> Page:
        if not 0 < limit < len(items):
            return Page(items, version, "", 0)
        snapshot = secrets.token_hex(8)
        self._kept[snapshot] = place, version, items
        if len(self._kept) > SNAPSHOTS_KEPT:
            self._kept.popitem(last=False)
        return self._cut(snapshot, 0, limit)

    def next_page(self, place: str, token: str, limit: int) -> Page:
        """StatusError 400 for a token of another list, 410 for one that has expired."""
        try:
            text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            found = msgspec.json.decode(text, type=dict[str, str | int])
            snapshot, offset = str(found["snapshot"]), int(found["offset"])
        except (ValueError, KeyError, msgspec.DecodeError) as error:
            raise status.bad_request(f"continue key is not valid: {error}") from error
        if snapshot not in self._kept:
            raise status.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            )
        if self._kept[snapshot][0] != place:
            raise status.bad_request("continue key is not valid: it is of another list")
        return self._cut(snapshot, offset, limit)

    def expire(self) -> None:
        self._kept.clear()

    def _cut(self, snapshot: str, offset: int, limit: int) -> Page:
        _, version, items = self._kept[snapshot]
        end = offset + limit if limit > 0 else len(items)
        remaining = max(0, len(items) - end)
        place = {"v": "meta.k8s.io/v1", "rv": version, "snapshot": snapshot, "offset": end}
        token = base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=") if remaining else ""
        return Page(items[offset:end], version, token, remaining)


class Store:
    """All objects of the cluster, in memory. Errors are StatusError, as the API would answer."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.version = 1
        self.oldest_event = 1
        self.snapshots = Snapshots()
        self._shelves: dict[Resource, dict[tuple[str, str], Stored]] = {}
        self._sorted: dict[Resource, list[tuple[str, str]]] = {}
        self._events: dict[Resource, list[Event]] = {}
        self._changed = asyncio.Event()

    # -- reading

    def find(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        return self._shelves.get(resource, {}).get((namespace, name))

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        found = self.find(resource, namespace, name)
        if found is None:
            raise status.not_found(resource, name)
        return found

    def items(self, resource: Resource, namespace: str = "") -> list[Stored]:
        """All objects of a resource, or those of a namespace, in etcd's order: by namespace, then by name."""
        shelf = self._shelves.get(resource, {})
        keys = self._sorted.get(resource)
        if keys is None:
            keys = self._sorted[resource] = sorted(shelf)
        if namespace:
            keys = keys[bisect_left(keys, (namespace, "")) : bisect_left(keys, (namespace + "\0", ""))]
        return [shelf[key] for key in keys]

    def first_page(self, resource: Resource, namespace: str, selector: Selector | None, limit: int) -> Page:
        found = self.items(resource, namespace)
        if selector:
            found = [item for item in found if selector(item)]
        return self.snapshots.page(f"{resource.key} {namespace}", found, self.version, limit)

    def next_page(self, resource: Resource, namespace: str, token: str, limit: int) -> Page:
        """The page behind a `continue` token, of the list that gave it."""
        return self.snapshots.next_page(f"{resource.key} {namespace}", token, limit)

    def __iter__(self) -> Iterator[Stored]:
        for shelf in self._shelves.values():
            yield from shelf.values()

    # -- writing

    def create(self, resource: Resource, namespace: str, content: Json, *, dry_run: bool = False) -> Stored:
        """Stores a new object with the server's own metadata. 409 when there is one of that name."""
        metadata = dict(metadata_of(content))
        if metadata.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        name = metadata.get("name")
        if not name:
            raise status.invalid(resource, "", "name: Required value: name or generateName is required")
        if self.find(resource, namespace, name):
            raise status.already_exists(resource, name)
        metadata |= {"uid": str(uuid4()), "creationTimestamp": self.clock.timestamp()}
        if namespace:
            metadata["namespace"] = namespace
        if "spec" in content:
            metadata["generation"] = 1
        return self._write(resource, "ADDED", {**content, "metadata": metadata}, dry_run=dry_run)

    def replace(
        self, resource: Resource, namespace: str, content: Json, *, only_status: bool = False, dry_run: bool = False
    ) -> Stored:
        """
        Stores a new version of an object; with `only_status`, everything but its status stays. 404 when there is none,
        409 when it is based on an old version or on another object of that name.
        """
        given = metadata_of(content)
        name = str(given.get("name", ""))
        current = self.get(resource, namespace, name)
        self._check_base(current, given)
        if only_status:
            fresh = {**current.content, "status": content.get("status") or {}}
        else:
            fresh = dict(content)
            if resource == IMAGE_STREAMS:
                fresh["status"] = current.content.get("status", {})
        kept: Json = {key: current.metadata[key] for key in ("uid", "creationTimestamp") if key in current.metadata}
        metadata: Json = {**(current.metadata if only_status else given), **kept}
        if namespace:
            metadata["namespace"] = namespace
        if "generation" in current.metadata:
            changed = fresh.get("spec") != current.content.get("spec")
            metadata["generation"] = current.metadata["generation"] + changed
        metadata["resourceVersion"] = current.metadata["resourceVersion"]
        fresh["metadata"] = metadata
        if fresh == current.content:
            return current
        return self._write(resource, "MODIFIED", fresh, dry_run=dry_run)

    def rewrite(self, current: Stored, content: Json) -> Stored:
        """Stores a new version without any check: for what the cluster itself does, and for the control interface."""
        return self._write(current.resource, "MODIFIED", content)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        version: str | None = None,
        dry_run: bool = False,
    ) -> Stored:
        """Removes an object. 404 when there is none, 409 when it is not the one that the preconditions name."""
        current = self.get(resource, namespace, name)
        for what, wanted, key in (("UID", uid, "uid"), ("ResourceVersion", version, "resourceVersion")):
            if wanted is not None and wanted != current.metadata[key]:
                found = current.metadata[key]
                why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                raise status.conflict(resource, name, why)
        if not dry_run:
            del self._shelves[resource][current.key]
            self._sorted.pop(resource, None)
            self.version += 1
            metadata = {**current.metadata, "resourceVersion": str(self.version)}
            self._log("DELETED", Stored(resource, {**current.content, "metadata": metadata}))
        return current

    def clear(self) -> None:
        """Forgets everything."""
        self.snapshots.expire()
        for everything in (self._shelves, self._sorted, self._events):
            everything.clear()

    def load(self, resource: Resource, contents: Iterable[Json]) -> None:
        """Puts saved objects back as they were."""
        for content in contents:
            item = Stored(resource, content)
            self._shelves.setdefault(resource, {})[item.key] = item

    def expire(self) -> None:
        """Forgets the snapshots of all lists and the past of all watches: both answer 410 from now on."""
        self.snapshots.expire()
        self._events.clear()
        self.version += 1
        self.oldest_event = self.version

    # -- watching

    def events_since(self, resource: Resource, version: int) -> Iterable[Event]:
        if version < self.oldest_event:
            raise status.expired(f"too old resource version: {version} ({self.oldest_event})")
        events = self._events.get(resource, [])
        return events[bisect_right(events, version, key=lambda event: event.version) :]

    async def changed(self) -> None:
        """Returns after the next write."""
        await self._changed.wait()

    # -- inside

    def _check_base(self, current: Stored, given: Json) -> None:
        resource, name = current.resource, current.metadata["name"]
        version = given.get("resourceVersion")
        if not version and resource in _VERSION_REQUIRED:
            why = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
            raise status.invalid(resource, name, why)
        if given.get("uid") and given["uid"] != current.metadata["uid"]:
            found = current.metadata["uid"]
            why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {found}"
            raise status.conflict(resource, name, why)
        if version and version != current.metadata["resourceVersion"]:
            raise status.conflict(resource, name)

    def _write(self, resource: Resource, event: str, content: Json, *, dry_run: bool = False) -> Stored:
        if dry_run:
            return Stored(resource, content)
        self.version += 1
        metadata = {**content["metadata"], "resourceVersion": str(self.version)}
        item = Stored(resource, {**content, "metadata": metadata})
        shelf = self._shelves.setdefault(resource, {})
        if item.key not in shelf:
            self._sorted.pop(resource, None)
        shelf[item.key] = item
        self._log(event, item)
        return item

    def _log(self, event: str, item: Stored) -> None:
        events = self._events.setdefault(item.resource, [])
        events.append(Event(self.version, event, item))
        if len(events) > EVENTS_KEPT:
            self.oldest_event = max(self.oldest_event, events[EVENTS_KEPT // 2].version)
            del events[: EVENTS_KEPT // 2]
        self._changed.set()
        self._changed = asyncio.Event()
