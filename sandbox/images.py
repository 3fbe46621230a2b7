"""
What OpenShift's image API does in addition to storing: an image stream's tags get a history, a mapping makes an Image
and a history item in one step, and a stream's images can be looked up by tag and by digest. The registry writes through
here when something is pushed, the API when something is imported.
"""

from collections.abc import Iterator
from typing import Any

from sandbox import status
from sandbox.kinds import IMAGE_STREAMS, IMAGES, MAPPINGS, STREAM_IMAGES, STREAM_TAGS
from sandbox.status import Json
from sandbox.store import Store, Stored, metadata_of


def tag_events(stream: Json) -> Iterator[Json]:
    """All history items of all tags."""
    for tag in (stream.get("status") or {}).get("tags") or []:
        yield from tag.get("items") or []


def with_event(stream: Json, tag: str, event: Json) -> Json:
    """The stream with the item at the head of the tag's history; unchanged when its image is the current one."""
    content = dict(stream)
    tags = list((content.get("status") or {}).get("tags") or [])
    at = next((index for index, entry in enumerate(tags) if entry["tag"] == tag), len(tags))
    items: list[Any] = (tags[at].get("items") or []) if at < len(tags) else []
    if items and items[0]["image"] == event["image"]:
        return stream
    tags[at : at + 1] = [{"tag": tag, "items": [event, *items]}]
    content["status"] = {**(content.get("status") or {}), "tags": tags}
    return content


class ImageStreams:
    """Image streams and their images, on top of the store."""

    def __init__(self, store: Store, registry_host: str) -> None:
        self.store = store
        self.registry_host = registry_host

    def repository(self, namespace: str, name: str) -> str:
        return f"{self.registry_host}/{namespace}/{name}"

    def prepare(self, content: Json, namespace: str) -> Json:
        """A new stream as the server makes it: whatever status came with it is dropped."""
        repository = self.repository(namespace, metadata_of(content).get("name", ""))
        lookup = {"lookupPolicy": {"local": False}, **(content.get("spec") or {})}
        return {**content, "spec": lookup, "status": {"dockerImageRepository": repository}}

    def ensure(self, namespace: str, name: str) -> Stored:
        """The stream, made when it is absent, as the registry does on a push."""
        found = self.store.find(IMAGE_STREAMS, namespace, name)
        content = {"metadata": {"name": name}}
        return found or self.store.create(IMAGE_STREAMS, namespace, self.prepare(content, namespace))

    def add(self, stream: Stored, image: Json, tag: str) -> None:
        """Stores the image unless it is there, and makes it the current one of the tag, unless the tag is empty."""
        digest = image["metadata"]["name"]
        found = self.store.find(IMAGES, "", digest)
        stored = found or self.store.create(IMAGES, "", image)
        if not tag:
            return
        event = {
            "created": self.store.clock.timestamp(),
            "dockerImageReference": image.get("dockerImageReference") or stored.content.get("dockerImageReference", ""),
            "image": digest,
            "generation": stream.metadata.get("generation", 1),
        }
        content = with_event(stream.content, tag, event)
        if content is not stream.content:
            self.store.rewrite(stream, content)

    def map(self, namespace: str, mapping: Json) -> None:
        """Does what an ImageStreamMapping says. 404 without the stream, 422 without an image."""
        name = str(metadata_of(mapping).get("name", ""))
        image = mapping.get("image") or {}
        if not metadata_of(image).get("name"):
            raise status.invalid(MAPPINGS, name, "image.metadata.name: Required value")
        stream = self.store.get(IMAGE_STREAMS, namespace, name)
        whole = {key: value for key, value in image.items() if key not in ("kind", "apiVersion")}
        self.add(stream, whole, str(mapping.get("tag", "")))

    def current(self, namespace: str, name: str, tag: str) -> Json | None:
        """The current item of a tag."""
        stream = self.store.find(IMAGE_STREAMS, namespace, name)
        for entry in (stream.content.get("status") or {}).get("tags") or [] if stream else []:
            if entry["tag"] == tag and entry.get("items"):
                item: Json = entry["items"][0]
                return item
        return None

    def tags(self, namespace: str, name: str) -> list[str] | None:
        """Tags that have a current item, sorted; None when there is no such stream."""
        stream = self.store.find(IMAGE_STREAMS, namespace, name)
        if stream is None:
            return None
        entries = (stream.content.get("status") or {}).get("tags") or []
        return sorted(entry["tag"] for entry in entries if entry.get("items"))

    def named(self, namespace: str, name: str) -> set[str]:
        """Digests that a stream names: those of its items, and whatever their indexes reach."""
        stream = self.store.find(IMAGE_STREAMS, namespace, name)
        waiting = [event["image"] for event in tag_events(stream.content)] if stream else []
        found: set[str] = set()
        while waiting:
            digest = waiting.pop()
            if digest in found:
                continue
            found.add(digest)
            image = self.store.find(IMAGES, "", digest)
            members = image.content.get("dockerImageManifests") if image else None
            waiting.extend(member["digest"] for member in members or [])
        return found

    def stream_tag(self, namespace: str, name: str) -> Json:
        """The ImageStreamTag `stream:tag`."""
        stream_name, _, tag = name.partition(":")
        item = self.current(namespace, stream_name, tag)
        if item is None:
            raise status.not_found(STREAM_TAGS, name)
        return {"tag": {"name": tag}, "generation": item["generation"], **self._of(namespace, name, item)}

    def stream_image(self, namespace: str, name: str) -> Json:
        """The ImageStreamImage `stream@digest`."""
        stream_name, _, digest = name.partition("@")
        stream = self.store.find(IMAGE_STREAMS, namespace, stream_name)
        events = tag_events(stream.content) if stream else iter(())
        item = next((event for event in events if event["image"] == digest), None)
        if item is None:
            raise status.not_found(STREAM_IMAGES, name)
        return self._of(namespace, name, item)

    def _of(self, namespace: str, name: str, item: Json) -> Json:
        image = self.store.get(IMAGES, "", item["image"])
        metadata = {"name": name, "namespace": namespace, "creationTimestamp": item["created"]}
        return {"metadata": metadata, "image": image.content}
