"""A run: from an approved plan to a result, against a cluster that lives on.

Nothing is deleted on the word of the plan alone. The cluster is read again, and what the plan names and what may go by now
is what goes: first revisions and links, stream by stream; then, after another look at everything that could need a blob, the images
(DECISIONS R28). Each look is a whole analysis, with the plan as its limit, so that one set of rules decides everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from pruner.analysis import Analysis, analyse
from pruner.apply.image_streams import StreamPruner
from pruner.apply.images import ImagePruner
from pruner.apply.lease import RunLease
from pruner.apply.pace import Pace
from pruner.apply.result import Result
from pruner.apply.watch import Watcher
from pruner.cluster.api import Api
from pruner.cluster.objects import Snapshot
from pruner.cluster.registry import RegistryClient
from pruner.cluster.snapshot import Progress, silent, take_snapshot
from pruner.errors import ForbiddenError, PrunerError, UnsafePlanError
from pruner.plan import Approval, PrunedImage, PrunePlan
from pruner.planning import check_view, missing_permissions
from pruner.settings import Settings, rules

BATCH: Final = 200
"""Images after which the cluster is read again where it cannot be watched."""
_REST: Final = "the rest of the plan"


async def apply_plan(
    api: Api,
    plan: PrunePlan,
    settings: Settings,
    *,
    progress: Progress = silent,
    warn: Progress = silent,
    wish_to_stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Carry out the plan. Everything that can be done is; what could not be stands in the result's `failures`.

    Raises ForbiddenError when a permission is missing, UnsafePlanError when the plan is another cluster's or another run is at work, and
    whatever reading the cluster raises; in all these cases before anything is changed.
    """
    pace = Pace(settings.workers, wish_to_stop)
    run = _Run(api, plan, settings, progress, pace)
    await run.check_permissions()
    async with AsyncExitStack() as stack:
        registry = None
        if plan.registry is not None and settings.prune_registry:
            registry = await stack.enter_async_context(
                RegistryClient(plan.registry.url, settings, api.connection, timeouts=api.timeouts)
            )
            await registry.ping()
            await registry.check_credentials()
        await stack.enter_async_context(RunLease(api, warn, pace.stop))
        await run.prune(registry)
    return run.result


class _Run:
    def __init__(self, api: Api, plan: PrunePlan, settings: Settings, progress: Progress, pace: Pace) -> None:
        self.api = api
        self.plan = plan
        self.settings = settings
        self.progress = progress
        self.pace = pace
        self.approval = Approval.of(plan)
        self.result = Result()
        self.tried: set[str] = set()

    async def check_permissions(self) -> None:
        """Raise ForbiddenError before anything is changed, where the API server says that it would refuse."""
        missing = await missing_permissions(self.api, self.plan)
        if missing:
            raise ForbiddenError(f"{self.api.server}: {'; '.join(missing)}; nothing was changed")

    async def look(self, approval: Approval) -> tuple[Snapshot, Analysis]:
        """What the cluster has, and what may go by now of what is approved."""
        snapshot = await take_snapshot(
            self.api,
            references=self.settings.references,
            extra_referrers=self.settings.extra_referrers,
            as_of=self.plan.as_of,
            progress=self.progress,
        )
        if snapshot.cluster != self.plan.cluster:
            raise UnsafePlanError(
                f"the plan is of cluster {self.plan.cluster}, and {self.api.server} is {snapshot.cluster}"
            )
        check_view(snapshot, self.settings)
        return snapshot, await asyncio.to_thread(analyse, snapshot, rules(self.settings), approval, self.plan.registry)

    async def prune(self, registry: RegistryClient | None) -> None:
        snapshot, first = await self.look(self.approval)
        self._note_skipped(first)
        async with Watcher(self.api, self.settings, snapshot, first.family, first.history_rules.also_used):
            streams = await self._prune_streams(first, registry)
        # No revision may go any more: a stream whose update failed counts with the items that the server has (R28).
        images = frozenset((name, uid) for name, uid in self.approval.images if name not in streams.held)
        approval = msgspec.structs.replace(
            self.approval, revisions=frozenset(), images=images, dropped=frozenset(streams.dropped)
        )
        try:
            while first.plan.images and not self.pace.stopping:
                snapshot, look = await self.look(approval)
                if not await self._prune_images(snapshot, look, registry):
                    break
        except PrunerError as error:
            # Streams have been changed by now: a result that tells of them must not be lost.
            self.result.failed(_REST, error)
        if self.pace.stopping:
            self.result.failed(_REST, UnsafePlanError(f"not done: {self.pace.stopped}; run up again to go on"))

    async def _prune_streams(self, analysis: Analysis, registry: RegistryClient | None) -> StreamPruner:
        """Update the streams and delete their links."""
        streams = StreamPruner(
            self.api, registry, analysis.history_rules, analysis.links, self.approval, self.result, self.pace
        )
        changes = analysis.plan.streams
        self.progress(f"updating {len(changes)} image streams")
        await self.pace.run_all(streams.prune, changes)
        return streams

    async def _prune_images(self, snapshot: Snapshot, analysis: Analysis, registry: RegistryClient | None) -> bool:
        """Delete images for as long as what is known of the cluster is fresh; whether some are left for another look."""
        plan = analysis.plan
        waiting = [image for image in plan.images if image.name not in self.tried]
        deletes_blobs = registry if plan.registry is not None and plan.registry.deletes_blobs else None
        # The plan was measured; its sizes are those that were promised.
        measured = {blob.digest: blob for blob in self.plan.blobs}
        blobs = {blob.digest: measured.get(blob.digest, blob) for blob in plan.blobs}
        async with Watcher(self.api, self.settings, snapshot, analysis.family, lambda _: None) as watcher:
            watcher.guard(plan.images)
            images = ImagePruner(self.api, deletes_blobs, blobs, self.result, self.pace, watcher)
            done = 0

            async def prune(image: PrunedImage) -> None:
                nonlocal done
                if watcher.blind is not None and done >= BATCH:
                    return
                done += 1
                self.tried.add(image.name)
                await images.prune(image)
                self.progress(f"deleting images: {len(self.tried)} of {len(self.plan.images)}")

            await self.pace.run_all(prune, waiting)
        return any(image.name not in self.tried for image in waiting)

    def _note_skipped(self, analysis: Analysis) -> None:
        """What the plan names and what is kept by now, with the reason."""
        going = {image.name for image in analysis.plan.images}
        for image in self.plan.images:
            if image.name not in going:
                decision = analysis.images.get(image.name)
                self.result.left_alone(f"image {image.name}", str(decision) if decision else "it is gone")
        left = Approval.of(analysis.plan).revisions
        decisions = {
            (history.stream.name, tag.tag, item.image): decision
            for history in analysis.histories
            for tag in history.tags
            for item, decision in zip(tag.items, tag.decisions, strict=True)
        }
        for revision in sorted(self.approval.revisions - left):
            stream, tag, digest, _ = revision
            decision = decisions.get((stream, tag, digest))
            self.result.left_alone(f"revision {stream}:{tag} {digest}", str(decision) if decision else "it is gone")
