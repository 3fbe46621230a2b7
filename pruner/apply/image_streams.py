"""Image streams: an update of spec where tags expire, one of status, and then the links of the repository (R28, R32).

What is written is the object that the server has, without the items that go; everything else in it stays as it was
(R20). When it has changed since it was analysed it is decided again, and never overwritten. Before the update it is
noted which links will be left without anything that tells of them, so that the next run can finish this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from pruner.analysis.blobs import Links
from pruner.analysis.history import StreamHistory
from pruner.analysis.history_rules import HistoryRules
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.pullspec import can_name_image
from pruner.apply.preconditions import NeededError, Preconditions
from pruner.apply.result import Result
from pruner.apply.retirement import Retirer
from pruner.apply.run_lock import RunLock
from pruner.cluster.api import Api
from pruner.cluster.images import compact
from pruner.cluster.objects import ApiImage, ImageStream
from pruner.cluster.registry import RegistryClient
from pruner.cluster.resources import IMAGE_STREAMS, IMAGES
from pruner.cluster.sizes import SizeClaims
from pruner.errors import ClusterError, ConflictError, NotFoundError, PrunerError, RegistryError
from pruner.http.client import Precondition
from pruner.plan import Approval, RetiredImage, RetirementEnd, StreamChange
from pruner.reasons import ImageAbsent

CONFLICTS: Final = 10
"""How often a stream that keeps changing is read and decided again before it is left to the next run."""


class StreamPruner:
    """Prunes image streams, one after the other or side by side.

    `dropped` are the digests that removed items named, `still_linked` those of images that are kept, since links to
    them are left, `retired` those that were retired before that, whose links stay (R36).
    """

    def __init__(
        self,
        api: Api,
        registry: RegistryClient | None,
        approval: Approval,
        result: Result,
        lease: RunLock,
        retirer: Retirer,
    ) -> None:
        self.api = api
        self.registry = registry
        self.approval = approval
        self.result = result
        self.lease = lease
        self.retirer = retirer
        self.dropped: set[str] = set()
        self.still_linked: set[str] = set()
        self.retired: set[str] = set()
        self._unnamed: set[str] = set()

    async def prune(
        self, change: StreamChange, rules: HistoryRules, links: Links, preconditions: Preconditions
    ) -> None:
        """Update one stream and delete its links. A failure is noted in the result; the stream then counts as it is.

        Raises StaleViewError where the cluster has to be looked at again before this can be finished.
        """
        tried: set[str] = set()
        try:
            updated = await self._update(change, tried, rules, links, preconditions)
            if updated is None:
                # The stream was replaced or deleted: what it needs of the repository is not known.
                self.still_linked |= links.graph.with_members(links.left_behind(change.stream))
            elif self.registry is not None:
                await self._delete_links(*updated, self.registry, links, preconditions)
        except PrunerError as error:
            # Links are left, perhaps of an update whose answer was lost, and only the images know of them.
            self.still_linked |= links.graph.with_members(tried | links.left_behind(change.stream))
            self.result.failed(f"image stream {change.stream}", error)
            preconditions.breaker.failed()

    async def finish_retirement(self, image: RetiredImage | RetirementEnd, preconditions: Preconditions) -> None:
        """Retire an image that no revision names, or forget the record of one that is needed again. A failure is noted
        in the result.

        Raises StaleViewError where the cluster has to be looked at again first.
        """
        fresh = preconditions.unless(lambda: None)
        if isinstance(image, RetirementEnd):
            await self.retirer.forget(image, fresh)
            return
        try:
            await self.retirer.record(image.name, (), fresh)
        except PrunerError as error:
            self.result.failed(f"image {image.name}", error)
            preconditions.breaker.failed()
        else:
            self._note_retired({image.name} & self.retirer.recorded)

    async def _update(
        self, change: StreamChange, tried: set[str], rules: HistoryRules, links: Links, preconditions: Preconditions
    ) -> tuple[StreamHistory, set[str]] | None:
        """The history as it is decided last, and the digests that the update removed; None when the stream is gone.

        `tried` is filled with the digests that an update was to remove.
        """
        for _ in range(CONFLICTS):
            try:
                raw = await self.api.get(IMAGE_STREAMS, dict, namespace=change.namespace, name=change.name)
            except NotFoundError:
                self.result.skip(f"image stream {change.stream}", "it is gone")
                return None
            stream = self._stream_in(raw)
            if stream.metadata.uid != change.uid:
                self.result.skip(f"image stream {change.stream}", "it was deleted and made again")
                return None
            decided = rules.decide(stream)
            history = await self._with_absences_checked(decided, rules)
            pruned = {(tag.tag, revision) for tag in history.tags for revision, _, _ in tag.pruned()}
            if not pruned:
                # An update whose answer was lost has been made all the same: the items that it was to remove are gone.
                removed = tried - history.remaining()
                if removed:
                    self._updated(raw, removed, len(removed), preconditions)
                self._note_kept(change, history)
                return history, removed
            tried |= history.pruned()
            retired = links.retired_with(history)
            if self.registry is not None:
                unlinked = tried - retired - self.retired
                await self.lease.about_to_unlink(stream.name, unlinked, links.unreachable(stream.name, unlinked))
            precondition = preconditions.unless(_decided_otherwise(stream, decided, rules))
            try:
                await self._record(raw, pruned, history, retired, precondition)
                current = await self._without_spec_tags(raw, history.removed_spec_tags, precondition)
                answer = await self.api.update(
                    IMAGE_STREAMS,
                    without_items(current, pruned),
                    namespace=change.namespace,
                    name=change.name,
                    subresource="status",
                    before=precondition,
                )
            except (ConflictError, NeededError):
                continue
            except NotFoundError:
                self.result.skip(f"image stream {change.stream}", "it is gone")
                return None
            preconditions.breaker.succeeded()
            self._updated(answer, history.pruned(), len(pruned), preconditions)
            self._note_kept(change, history)
            return history, history.pruned()
        raise ConflictError(
            f"{self.api.server}: it was changed {CONFLICTS} times while it was to be updated; the next run tries again"
        )

    async def _record(
        self,
        stream: dict[str, Any],
        going: set[tuple[str, int]],
        history: StreamHistory,
        retired: set[str],
        precondition: Precondition,
    ) -> None:
        """Write the records of the images that are retired with this update, before it (R36)."""
        if not retired:
            return
        removed = self.retirer.removed_from(stream, going, history.removed_spec_tags)
        work = (self.retirer.record(image, removed[image], precondition) for image in sorted(retired))
        for failure in await asyncio.gather(*work, return_exceptions=True):
            if failure is not None:
                raise failure
        self.retired |= retired & self.retirer.recorded

    async def _without_spec_tags(
        self, stream: dict[str, Any], tags: Sequence[str], precondition: Precondition
    ) -> dict[str, Any]:
        """The stream after these entries of `spec.tags` were removed, which would bring the tags back (R32).

        Spec comes before status: where a run dies in between, the tags are in status only, and the next run finishes
        them. An update of spec leaves status as it is, and what came up in status meanwhile is a conflict of the update
        that follows.
        """
        if not tags:
            return stream
        metadata = stream["metadata"]
        updated = await self.api.update(
            IMAGE_STREAMS,
            without_spec_tags(stream, frozenset(tags)),
            namespace=metadata["namespace"],
            name=metadata["name"],
            before=precondition,
        )
        self.result.removed_spec_tags += len(tags)
        if updated.get("status") != stream.get("status"):
            raise ConflictError(f"{self.api.server}: its status has changed while its spec was updated")
        return updated

    def _stream_in(self, raw: dict[str, Any]) -> ImageStream:
        try:
            return msgspec.convert(raw, ImageStream)
        except msgspec.ValidationError as error:
            raise ClusterError(f"{self.api.server}: what it gives is no image stream: {error}") from None

    def _updated(self, stream: dict[str, Any], digests: set[str], revisions: int, preconditions: Preconditions) -> None:
        self.result.updated_image_streams.append(stream)
        self.result.removed_revisions += revisions
        self.dropped |= digests
        self._note_retired(digests & self.retired)
        preconditions.needs.update(self._stream_in(stream))

    def _note_retired(self, images: set[str]) -> None:
        """These have their record, and no revision that this run removes names them any more."""
        self.result.retired_images += sorted(images - self._unnamed)
        self._unnamed |= images

    def _note_kept(self, change: StreamChange, history: StreamHistory) -> None:
        """Revisions that were to go and stay by the latest decision, with its reason."""
        kept = {
            (tag.tag, item.image): decision
            for tag in history.tags
            for item, decision in zip(tag.items, tag.reasons, strict=True)
            if decision.kept
        }
        for revision in change.revisions:
            decision = kept.get((revision.tag, revision.image))
            if decision is not None:
                self.result.skip(f"revision {change.stream}:{revision.tag} {revision.image}", str(decision))

    async def _with_absences_checked(self, history: StreamHistory, rules: HistoryRules) -> StreamHistory:
        """R19: an item whose Image was not in the list goes only when a GET of that Image answers 404."""
        present = set()
        for tag in history.tags:
            for _, item, reason in tag.pruned():
                if isinstance(reason, ImageAbsent) and await self._exists(item.image):
                    present.add(item.image)
        return rules.keeping_images(history, present) if present else history

    async def _exists(self, digest: str) -> bool:
        try:
            await self.api.get(IMAGES, dict, name=digest)
        except NotFoundError:
            return False
        return True

    async def _delete_links(
        self,
        history: StreamHistory,
        removed: set[str],
        registry: RegistryClient,
        links: Links,
        preconditions: Preconditions,
    ) -> None:
        """Delete the links that go. Where one stays that should go the images are kept: only they know of it."""
        name = history.stream.name
        links = await self._links_with_new_images(links, history)
        layers, manifests = links.of(history, removed, self.retired)
        left = False
        for kind, digests, delete in (
            ("layer", layers, registry.delete_layer_link),
            ("manifest", manifests, registry.delete_manifest_link),
        ):
            for digest in digests:
                approved = (name, kind, digest) in self.approval.links
                left |= not approved or not await self._delete_link(kind, name, digest, delete, preconditions)
        if left:
            self.still_linked |= links.candidates(history, removed)
        else:
            self.lease.journal.forget(name)

    async def _delete_link(
        self,
        kind: str,
        name: str,
        digest: str,
        delete: Callable[[str, str, Precondition], Awaitable[None]],
        preconditions: Preconditions,
    ) -> bool:
        """Whether it is gone."""
        try:
            await delete(name, digest, preconditions.unless(lambda: preconditions.needs.of_link(name, digest)))
        except NeededError as needed:
            self.result.skip(f"{kind} link {digest} of {name}", str(needed))
            return False
        except RegistryError as error:
            self.result.failed(f"{kind} link {digest} of {name}", error)
            preconditions.breaker.failed()
            return False
        self.result.deleted_links.append((name, kind, digest))
        preconditions.breaker.succeeded()
        return True

    async def _links_with_new_images(self, links: Links, history: StreamHistory) -> Links:
        """The links' rules, with the images that this stream names now and the analysis has not seen."""
        graph = links.graph
        unseen = set(filter(can_name_image, history.remaining() - graph.images.keys()))
        if not unseen:
            return links
        found = []
        for digest in sorted(unseen):
            try:
                found.append(await self.api.get(IMAGES, ApiImage, name=digest))
            except NotFoundError:
                continue
        return links.with_graph(IndexGraph([*graph.images.values(), *compact(found, SizeClaims())]))


def _decided_otherwise(stream: ImageStream, decided: StreamHistory, rules: HistoryRules) -> Callable[[], str | None]:
    """Whether what has come up since would have the stream decided otherwise."""
    return lambda: None if rules.decide(stream) == decided else f"{stream.name} has other references now"


def without_spec_tags(stream: dict[str, Any], tags: frozenset[str]) -> dict[str, Any]:
    """The stream without the entries of these tags in `spec.tags`; everything else in it stays as it is."""
    spec = stream["spec"]
    return {**stream, "spec": {**spec, "tags": [tag for tag in spec.get("tags") or () if tag["name"] not in tags]}}


def without_items(stream: dict[str, Any], pruned: set[tuple[str, int]]) -> dict[str, Any]:
    """The stream without these items, named by tag and revision. A tag that loses its last item goes with it (R20)."""
    tags = []
    for tag in stream["status"].get("tags") or ():
        items = tag.get("items") or []
        left = [item for revision, item in enumerate(items) if (tag["tag"], revision) not in pruned]
        if left or not items:
            tags.append({**tag, "items": left} if len(left) != len(items) else tag)
    return {**stream, "status": {**stream["status"], "tags": tags}}
