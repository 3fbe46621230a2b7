"""Image streams: one status update each, and then the links of its repository (DECISIONS R28).

What is written is the object that the server has, without the items that go; everything else in it stays as it was (R20). When it has
changed since it was analysed it is decided anew, and never overwritten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from pruner.analysis.blobs import Links
from pruner.analysis.family import Family
from pruner.analysis.history import HistoryRules, StreamHistory
from pruner.apply.pace import Pace
from pruner.apply.result import Result
from pruner.cluster.api import Api
from pruner.cluster.objects import ImageOnTheWire, ImageStream
from pruner.cluster.registry import RegistryClient
from pruner.cluster.resources import IMAGE_STREAMS, IMAGES
from pruner.cluster.snapshot import compact
from pruner.errors import ClusterError, ConflictError, NotFoundError, RegistryError
from pruner.plan import Approval, StreamChange

CONFLICTS: Final = 10
"""How often a stream that changes under one's hands is read and decided anew before it is left to the next run."""


class StreamPruner:
    """Prunes image streams, one after the other or side by side.

    `dropped` are the digests that removed items named, `held` those of images that must stay since links to them are left.
    """

    def __init__(
        self,
        api: Api,
        registry: RegistryClient | None,
        rules: HistoryRules,
        links: Links,
        approval: Approval,
        result: Result,
        pace: Pace,
    ) -> None:
        self.api = api
        self.registry = registry
        self.rules = rules
        self.links = links
        self.approval = approval
        self.result = result
        self.pace = pace
        self.dropped: set[str] = set()
        self.held: set[str] = set()

    async def prune(self, change: StreamChange) -> None:
        """Update one stream and delete its links. A failure is noted in the result; the stream then counts as it is."""
        tried: set[str] = set()
        try:
            updated = await self._update(change, tried)
        except ClusterError as error:
            # Links are left, perhaps of an update whose answer was lost, and only the images know of them.
            self.held |= self.links.family.with_members(tried | self.links.left_behind(change.stream))
            self.result.failed(f"image stream {change.stream}", error)
            self.pace.failed()
            return
        self.pace.succeeded()
        if updated is not None and self.registry is not None:
            await self._delete_links(*updated)

    async def _update(self, change: StreamChange, tried: set[str]) -> tuple[StreamHistory, set[str]] | None:
        """The history as it is decided last, and the digests that the update removed; None when the stream is gone.

        `tried` is filled with the digests that an update was to remove.
        """
        for _ in range(CONFLICTS):
            try:
                raw = await self.api.get(IMAGE_STREAMS, dict, namespace=change.namespace, name=change.name)
            except NotFoundError:
                self.result.left_alone(f"image stream {change.stream}", "it is gone")
                return None
            stream = msgspec.convert(raw, ImageStream)
            if stream.metadata.uid != change.uid:
                self.result.left_alone(f"image stream {change.stream}", "it was deleted and made again")
                return None
            history = await self._with_absences_checked(self.rules.decide(stream))
            going = {(tag.tag, revision) for tag in history.tags for revision, _, _ in tag.pruned()}
            if not going:
                # An update whose answer was lost has been made all the same: the items that it was to remove are gone.
                removed = tried - history.remaining()
                if removed:
                    self._updated(raw, removed, len(removed))
                return history, removed
            tried |= history.pruned()
            try:
                answer = await self.api.update(
                    IMAGE_STREAMS,
                    without_items(raw, going),
                    namespace=change.namespace,
                    name=change.name,
                    subresource="status",
                )
            except ConflictError:
                continue
            except NotFoundError:
                self.result.left_alone(f"image stream {change.stream}", "it is gone")
                return None
            self._updated(answer.json(), history.pruned(), len(going))
            return history, history.pruned()
        raise ConflictError(
            f"{self.api.server}: it was changed {CONFLICTS} times while it was to be updated; the next run tries again"
        )

    def _updated(self, stream: dict[str, Any], digests: set[str], revisions: int) -> None:
        self.result.updated_image_streams.append(stream)
        self.result.removed_revisions += revisions
        self.dropped |= digests

    async def _with_absences_checked(self, history: StreamHistory) -> StreamHistory:
        """R19: an item whose Image was not in the list goes only when a GET of that Image answers 404."""
        present = set()
        for tag in history.tags:
            for _, item, reason in tag.pruned():
                if reason.rule == "R19" and await self._exists(item.image):
                    present.add(item.image)
        if not present:
            return history
        for digest in sorted(present):
            self.result.left_alone(
                f"revision {digest} of {history.stream.name}", "its Image object is there by now (R19)"
            )
        return self.rules.sparing(history, present)

    async def _exists(self, digest: str) -> bool:
        try:
            await self.api.get(IMAGES, dict, name=digest)
        except NotFoundError:
            return False
        return True

    async def _delete_links(self, history: StreamHistory, removed: set[str]) -> None:
        """Delete the links that go. Where one cannot be deleted the images are held: only they know of it."""
        assert self.registry is not None  # noqa: S101 - asked by the caller
        name = history.stream.name
        links = await self._links_of(history)
        layers, manifests = links.of(history, removed)
        for kind, digests, delete in (
            ("layer", layers, self.registry.delete_layer_link),
            ("manifest", manifests, self.registry.delete_manifest_link),
        ):
            for digest in digests:
                if (name, kind, digest) not in self.approval.links:
                    continue
                if self.pace.stopping or not await self._delete_link(kind, name, digest, delete):
                    self.held |= links.going(history, removed)

    async def _delete_link(
        self, kind: str, name: str, digest: str, delete: Callable[[str, str], Awaitable[None]]
    ) -> bool:
        try:
            await delete(name, digest)
        except RegistryError as error:
            self.result.failed(f"{kind} link {digest} of {name}", error)
            self.pace.failed()
            return False
        self.result.deleted_links.append((name, kind, digest))
        self.pace.succeeded()
        return True

    async def _links_of(self, history: StreamHistory) -> Links:
        """The links' rules, with the images that this stream names by now and the analysis has not seen."""
        family = self.links.family
        unseen = history.remaining() - family.images.keys()
        if not unseen:
            return self.links
        found = []
        for digest in sorted(unseen):
            try:
                found.append(await self.api.get(IMAGES, ImageOnTheWire, name=digest))
            except NotFoundError:
                continue
        return self.links.with_family(Family([*family.images.values(), *compact(found, {})]))


def without_items(stream: dict[str, Any], going: set[tuple[str, int]]) -> dict[str, Any]:
    """The stream without these items, named by tag and revision. A tag that loses its last item goes with it (R20)."""
    tags = []
    for tag in stream["status"].get("tags") or ():
        items = tag.get("items") or []
        left = [item for revision, item in enumerate(items) if (tag["tag"], revision) not in going]
        if left or not items:
            tags.append({**tag, "items": left} if len(left) != len(items) else tag)
    return {**stream, "status": {**stream["status"], "tags": tags}}
