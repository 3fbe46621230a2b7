"""Image streams: one status update each, and then the links of its repository (DECISIONS R28).

What is written is the object that the server has, without the items that go; everything else in it stays as it was (R20). When it has
changed since it was analysed it is decided anew, and never overwritten.
"""

from __future__ import annotations

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
    """Prunes image streams, one after the other or side by side."""

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

    async def prune(self, change: StreamChange) -> None:
        """Update one stream and delete its links. A failure is noted in the result; the stream then counts as it is."""
        try:
            history = await self._update(change)
        except ClusterError as error:
            self.result.failed(f"image stream {change.stream}", error)
            self.pace.failed()
            return
        self.pace.succeeded()
        if history is not None and self.registry is not None:
            await self._delete_links(history)

    async def _update(self, change: StreamChange) -> StreamHistory | None:
        """The history after which the stream was updated, or need not be; None when it is gone."""
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
                return history
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
            self.result.updated_image_streams.append(msgspec.json.decode(answer.body))
            self.result.removed_revisions += len(going)
            self.dropped |= history.pruned()
            return history
        raise ConflictError(
            f"{self.api.server}: it was changed {CONFLICTS} times while it was to be updated; the next run tries again"
        )

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

    async def _delete_links(self, history: StreamHistory) -> None:
        assert self.registry is not None  # noqa: S101 - asked by the caller
        name = history.stream.name
        layers, manifests = (await self._links_of(history)).of(history)
        for kind, digests, delete in (
            ("layer", layers, self.registry.delete_layer_link),
            ("manifest", manifests, self.registry.delete_manifest_link),
        ):
            for digest in digests:
                if (name, kind, digest) not in self.approval.links or self.pace.stopping:
                    continue
                try:
                    await delete(name, digest)
                except RegistryError as error:
                    self.result.failed(f"{kind} link {digest} of {name}", error)
                    self.pace.failed()
                else:
                    self.result.deleted_links.append((name, kind, digest))
                    self.pace.succeeded()

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
