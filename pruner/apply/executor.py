"""A run: from an approved plan to a result, against a cluster that lives on.

Nothing is deleted on the word of the plan alone. The cluster is read again, and what the plan names and what may go by now
is what goes: first revisions and links, stream by stream; then, after another look at everything that could need a blob, the images
(DECISIONS R28). Each look is a whole analysis, with the plan as its limit, so that one set of rules decides everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec

from pruner.analysis import Analysis, analyse
from pruner.apply.image_streams import StreamPruner
from pruner.apply.images import ImagePruner
from pruner.apply.pace import Pace
from pruner.apply.result import Result
from pruner.cluster.api import Api
from pruner.cluster.registry import RegistryClient
from pruner.cluster.resources import IMAGE_STREAMS, IMAGES
from pruner.cluster.snapshot import Progress, silent, take_snapshot
from pruner.errors import ForbiddenError, UnsafePlanError
from pruner.plan import Approval, PrunePlan
from pruner.settings import Settings, rules


async def apply_plan(
    api: Api,
    plan: PrunePlan,
    settings: Settings,
    *,
    progress: Progress = silent,
    wish_to_stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Carry out the plan. Everything that can be done is; what could not be stands in the result's `failures`.

    Raises ForbiddenError when a permission is missing, UnsafePlanError when the plan is another cluster's, and whatever reading the
    cluster raises; in all these cases before anything is changed, or with nothing half done.
    """
    run = _Run(api, plan, settings, progress, Pace(settings.workers, wish_to_stop))
    await run.check_permissions()
    async with AsyncExitStack() as stack:
        registry = None
        if plan.registry is not None and settings.prune_registry:
            registry = await stack.enter_async_context(RegistryClient(plan.registry.url, settings, api.connection))
            await registry.ping()
            await registry.check_credentials()
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

    async def check_permissions(self) -> None:
        """Raise ForbiddenError before anything is changed, where the API server says that it would refuse."""
        needed = []
        if any(change.revisions for change in self.plan.streams):
            needed.append(("update", IMAGE_STREAMS, "status"))
        if self.plan.images:
            needed.append(("delete", IMAGES, ""))
        for verb, resource, subresource in needed:
            if not await self.api.allowed(verb, resource, subresource=subresource):
                what = f"{resource.plural}/{subresource}" if subresource else resource.plural
                raise ForbiddenError(
                    f"{self.api.server}: no permission to {verb} {what}.{resource.group}; nothing was changed; "
                    f"grant verb {verb!r} on resource {what!r} of API group {resource.group!r}"
                )

    async def look(self, approval: Approval) -> Analysis:
        """What may go by now, of what is approved."""
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
        return analyse(snapshot, rules(self.settings), approval, self.plan.registry)

    async def prune(self, registry: RegistryClient | None) -> None:
        first = await self.look(self.approval)
        self._note_skipped(first)
        dropped = await self._prune_streams(first, registry)
        if self.pace.stopping or not first.plan.images:
            self._note_stop()
            return
        # No revision may go any more: a stream whose update failed counts with the items that the server has (R28).
        second = await self.look(msgspec.structs.replace(self.approval, revisions=frozenset(), dropped=dropped))
        await self._prune_images(second, registry)
        self._note_stop()

    async def _prune_streams(self, analysis: Analysis, registry: RegistryClient | None) -> frozenset[str]:
        """Update the streams; the digests that their pruned revisions named."""
        streams = StreamPruner(
            self.api, registry, analysis.history_rules, analysis.links, self.approval, self.result, self.pace
        )
        changes = analysis.plan.streams
        self.progress(f"updating {len(changes)} image streams")
        await self.pace.run_all(streams.prune, changes)
        return frozenset(streams.dropped)

    async def _prune_images(self, analysis: Analysis, registry: RegistryClient | None) -> None:
        plan = analysis.plan
        deletes_blobs = registry if plan.registry is not None and plan.registry.deletes_blobs else None
        # The plan was measured; its sizes are those that were promised.
        measured = {blob.digest: blob for blob in self.plan.blobs}
        blobs = {blob.digest: measured.get(blob.digest, blob) for blob in plan.blobs}
        images = ImagePruner(self.api, deletes_blobs, blobs, self.result, self.pace)
        self.progress(f"deleting {len(plan.images)} images")
        await self.pace.run_all(images.prune, plan.images)

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

    def _note_stop(self) -> None:
        if self.pace.stopping:
            self.result.failed(
                "the rest of the plan", UnsafePlanError(f"not done: {self.pace.stopped}; run up again to go on")
            )
