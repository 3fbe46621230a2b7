"""A run: from an approved plan to a result, against a cluster that lives on.

Nothing is deleted on the word of the plan alone. The cluster is read again, and what the plan names and what may be
pruned now is deleted: first revisions and links, stream by stream; then, after another look at everything that could
need a blob, the images (R28). Each look is a whole analysis, with the plan as its limit, so that one set of rules
decides everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final, TypeVar

import msgspec

from pruner import defects
from pruner.analysis import Analysis, analyse
from pruner.apply.empty_streams import EmptyStreamPruner
from pruner.apply.image_streams import StreamPruner
from pruner.apply.images import ImagePruner
from pruner.apply.preconditions import Preconditions, StaleViewError
from pruner.apply.registry_replicas import RegistryReplicas
from pruner.apply.result import Result
from pruner.apply.retirement import Retirer
from pruner.apply.run_lock import Clock, RunLock
from pruner.apply.skipped import skipped_images, skipped_retirements, skipped_revisions
from pruner.apply.watch import Watcher
from pruner.apply.workers import CircuitBreaker, WorkerPool
from pruner.cluster.api import Api
from pruner.cluster.objects import Snapshot
from pruner.cluster.other_clusters import OtherApi, other_sessions
from pruner.cluster.registry import RegistryClient
from pruner.cluster.snapshot import Progress, silent, take_snapshot
from pruner.cluster.workloads import Referrer
from pruner.errors import ClusterError, ForbiddenError, RegistryError, UnsafePlanError
from pruner.interpreter import no_search_for_cycles
from pruner.plan import Approval, DeletedStream, PrunedImage, PrunePlan, RetiredImage, RetirementEnd, StreamChange
from pruner.planning import check_grace, check_view, history_of, missing_permissions, with_history, with_others
from pruner.settings import Settings, minutes_of

GOOD_FOR: Final = 10.0
"""Seconds for which a look is good where the cluster cannot be watched; as many as it took, where that was longer."""

IDLE: Final = 3
"""Looks in a row that were good for nothing, after which the run gives up."""


async def apply_plan(
    api: Api,
    plan: PrunePlan,
    settings: Settings,
    *,
    progress: Progress = silent,
    warn: Progress = silent,
    wish_to_stop: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> Result:
    """Carry out the plan. Everything that can be done is; what could not be stands in the result's `failures`.

    From the first change on nothing is raised, not even for a defect: the result says what was done, and its `failures`
    what ended the run. Raises ForbiddenError when a permission is missing, UnsafePlanError when the plan is another
    cluster's or another run is at work, and whatever reading the cluster raises; in all these cases before anything is
    changed. `clock` measures how long the Lease of another run is observed.
    """
    breaker = CircuitBreaker(wish_to_stop)
    run = _Run(api, plan, settings, progress, warn, breaker)
    await run.check_permissions()
    try:
        async with AsyncExitStack() as stack:
            run.others = await stack.enter_async_context(other_sessions(settings, api.timeouts))
            registry = None
            if plan.registry is not None and settings.prune_registry:
                registry = await stack.enter_async_context(
                    RegistryClient(plan.registry.url, settings, api.connection, timeouts=api.timeouts)
                )
                await registry.ping()
                await registry.check_credentials()
            lease = await stack.enter_async_context(
                RunLock(api, warn, breaker.stop, interrupted=wish_to_stop, clock=clock)
            )
            await run.prune(registry, lease)
            await run.see_to_replicas(restart=settings.restart_registry)
    except Exception as error:
        # What was deleted has to be reported, whatever ends the run.
        if not run.begun:
            raise
        run.end_by(error)
        await run.see_to_replicas(restart=False)
    return run.result


class _Look(msgspec.Struct, frozen=True):
    """The cluster as it is now: what may be pruned of what is approved, and a watch on changes."""

    analysis: Analysis
    preconditions: Preconditions


class _Run:
    def __init__(
        self, api: Api, plan: PrunePlan, settings: Settings, progress: Progress, warn: Progress, breaker: CircuitBreaker
    ) -> None:
        self.api = api
        self.plan = plan
        self.settings = settings
        self.progress = progress
        self.warn = warn
        self.breaker = breaker
        self.workers = WorkerPool(settings.workers, breaker)
        self.approval = Approval.of(plan)
        self.result = Result()
        # Whether something may have been changed.
        self.begun = False
        self.done: set[str] = set()
        self.history: Referrer | None = None
        self.others: tuple[OtherApi, ...] = ()
        # Why the last look could not be relied on any more; None where it could.
        self.stale: str | None = None

    async def check_permissions(self) -> None:
        """Raise ForbiddenError before anything is changed, where the API server says that it would refuse."""
        check_grace(self.plan, self.settings)
        missing = await missing_permissions(self.api, self.plan, self.settings)
        if missing:
            raise ForbiddenError(f"{self.api.server}: {'; '.join(missing)}; nothing was changed")

    async def prune(self, registry: RegistryClient | None, lease: RunLock) -> None:
        """Streams, then images. What goes wrong once something may have been changed is a failure of the result."""
        retirer = Retirer(
            self.api,
            self.result,
            at=self.api.clock.now_or_here().replace(microsecond=0),
            minutes=minutes_of(self.settings.grace),
            run=self.plan.fingerprint,
        )
        streams = StreamPruner(self.api, registry, self.approval, self.result, lease, retirer)
        async with self._looking(self.approval, lease) as first:
            self.result.skipped += skipped_revisions(first.analysis, self.approval)
            self._note_skipped_images(first.analysis, self.approval)
            self.result.skipped += skipped_retirements(first.analysis, self.approval)
            self.begun, finished = True, False
            with self._stopping_at_faults():
                finished = await self._prune_streams(first, streams, lease)
            images = bool(first.analysis.plan.images or first.analysis.plan.needed_again)
            retiring = {image.name for image in first.analysis.plan.retired}
        with self._stopping_at_faults():
            await self._prune_other_streams(streams, lease, finished=finished)
            if images or retiring - retirer.recorded:
                await self._prune_all_images(streams, registry, lease)
            if self.approval.streams:
                await self._delete_empty_streams(lease)
        if self.breaker.stopping:
            self.end_by(UnsafePlanError(f"not done: {self.breaker.stopped}"))

    def end_by(self, error: Exception) -> None:
        """Note what has ended the run before its plan was done."""
        self.result.failed("the rest of the plan", UnsafePlanError(f"{defects.said(error)}; run up again to go on"))

    async def see_to_replicas(self, *, restart: bool) -> None:
        """Note whether the registry's replicas have to be restarted since blobs were deleted, and do so."""
        if self.result.deleted_blobs and self.result.registry_restart is None:
            replicas = RegistryReplicas(self.api, self.progress, lambda: self.breaker.stopping)
            await replicas.after_deletions(self.result, restart=restart)

    @contextmanager
    def _stopping_at_faults(self) -> Iterator[None]:
        """Something may already have been changed, so the result is reported whatever ends the run."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - what was deleted has to be reported, whatever ends the run
            self.breaker.stop(defects.said(error))

    async def _prune_other_streams(self, streams: StreamPruner, lease: RunLock, *, finished: bool) -> None:
        """The rest of the streams, where the first look was not good for all of them."""
        turns = self._while_it_gets_on()
        while not finished and next(turns):
            approval = msgspec.structs.replace(self.approval, dropped=frozenset(streams.dropped))
            async with self._looking(approval, lease) as look:
                finished = await self._prune_streams(look, streams, lease)

    async def _prune_all_images(self, streams: StreamPruner, registry: RegistryClient | None, lease: RunLock) -> None:
        turns, finished = self._while_it_gets_on(), False
        while not finished and next(turns):
            # No revision may go any more: a stream whose update failed counts with the items that the server has (R28).
            # What was skipped, for whatever reason, stays with all of its blobs.
            images = frozenset(
                it for it in self.approval.images if it[0] not in streams.still_linked and it[0] not in self.done
            )
            approval = msgspec.structs.replace(
                self.approval, revisions=frozenset(), images=images, dropped=frozenset(streams.dropped)
            )
            async with self._looking(approval, lease) as look:
                self._note_skipped_images(look.analysis, approval)
                finished = await self._prune_images(look, registry)
                finished &= await self._finish_retirements(look, streams)

    async def _finish_retirements(self, look: _Look, streams: StreamPruner) -> bool:
        """Retire the images that no revision named, and forget the
        records of those that are needed again; whether all are done.
        """
        plan, preconditions = look.analysis.plan, look.preconditions
        work: list[RetiredImage | RetirementEnd] = [*plan.retired, *plan.needed_again]
        left = [each for each in work if _retirement(each.name) not in self.done]

        async def finish(image: RetiredImage | RetirementEnd) -> None:
            if await preconditions.watcher.is_fresh():
                await streams.finish_retirement(image, preconditions)
                self.done.add(_retirement(image.name))

        await self.workers.run(_until_stale(finish), left)
        return all(_retirement(each.name) in self.done for each in left)

    async def _delete_empty_streams(self, lease: RunLock) -> None:
        """Delete the approved image streams that are still empty
        and that nothing refers to (R34), after everything else.
        """
        turns, finished = self._while_it_gets_on(), False
        empty = EmptyStreamPruner(self.api, self.result)
        while not finished and next(turns):
            approval = msgspec.structs.replace(
                self.approval, revisions=frozenset(), images=frozenset(), blobs=frozenset(), links=frozenset()
            )
            async with self._looking(approval, lease) as look:
                planned = {each.stream for each in look.analysis.plan.empty_streams}
                for name, _ in sorted(self.approval.streams):
                    if name not in planned and _deletion(name) not in self.done:
                        self.done.add(_deletion(name))
                        self.result.skip(f"image stream {name}", "it is gone, or it is needed or not empty now")
                finished = await self._delete_streams(look, empty)

    async def _delete_streams(self, look: _Look, empty: EmptyStreamPruner) -> bool:
        """Delete image streams for as long as the look is good; whether all are done."""
        planned = [each for each in look.analysis.plan.empty_streams if _deletion(each.stream) not in self.done]

        async def delete(stream: DeletedStream) -> None:
            if await look.preconditions.watcher.is_fresh():
                await empty.prune(stream, look.preconditions)
                self.done.add(_deletion(stream.stream))

        await self.workers.run(_until_stale(delete), planned)
        return all(_deletion(each.stream) in self.done for each in planned)

    def _while_it_gets_on(self) -> Iterator[bool]:
        """True, as long as the run is not to stop.

        Raises ClusterError when some looks in a row were good for nothing.
        """
        idle = 0
        while not self.breaker.stopping:
            before = len(self.done)
            yield True
            idle = idle + 1 if len(self.done) == before else 0
            if idle == IDLE:
                why = f" ({self.stale})" if self.stale else ""
                raise ClusterError(f"{self.api.server}: what is seen of it is never fresh enough to delete by it{why}")
        yield False

    @asynccontextmanager
    async def _looking(self, approval: Approval, lease: RunLock) -> AsyncIterator[_Look]:
        """Read the cluster, and keep an eye on it from then on: also while it is being analysed."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        snapshot = await self._snapshot(lease)
        good_for = max(GOOD_FOR, clock() - begun)
        async with Watcher(self.api, self.settings, snapshot, good_for, self.others) as watcher:
            with no_search_for_cycles():
                analysis = await asyncio.to_thread(
                    analyse, snapshot, self.settings.analysis, approval, self.plan.registry
                )
            preconditions = Preconditions(watcher, self.breaker)
            watcher.begin(analysis.graph, analysis.history_rules.also_used)
            yield _Look(analysis, preconditions)
            self.stale = watcher.failure

    async def _snapshot(self, lease: RunLock) -> Snapshot:
        snapshot = await take_snapshot(
            self.api,
            references=self.settings.references,
            extra_referrers=self.settings.extra_referrers,
            protect_selector=self.settings.protect_selector,
            as_of=self.plan.as_of,
            progress=self.progress,
        )
        if snapshot.cluster != self.plan.cluster:
            raise UnsafePlanError(
                f"the plan is of cluster {self.plan.cluster}, and {self.api.server} is {snapshot.cluster}"
            )
        check_view(snapshot, self.settings)
        snapshot = await with_others(snapshot, self.others, self.settings, self.progress)
        if self.history is None:
            # What has run since then is in the snapshot, or is seen by the watch.
            self.history = await history_of(self.api, self.settings, snapshot.as_of, progress=self.progress)
        snapshot = with_history(snapshot, self.history)
        unlinked = {stream: frozenset(digests) for stream, digests in lease.journal.unlinked.items()}
        return msgspec.structs.replace(snapshot, unlinked=unlinked if lease.held else {**snapshot.unlinked, **unlinked})

    async def _prune_streams(self, look: _Look, streams: StreamPruner, lease: RunLock) -> bool:
        """Update the streams and delete their links, for as long as the look is good; whether all are done."""
        analysis, preconditions = look.analysis, look.preconditions
        changes = [change for change in analysis.plan.streams if change.stream not in self.done]
        self.progress(f"updating {len(changes)} image streams")

        async def prune(change: StreamChange) -> None:
            if await preconditions.watcher.is_fresh():
                await streams.prune(change, analysis.history_rules, analysis.links, preconditions)
                self.done.add(change.stream)

        await self.workers.run(_until_stale(prune), changes)
        if streams.registry is not None:
            _forget_what_is_needed(lease, analysis)
            await self._look_for_losses(preconditions.watcher, streams.registry)
        return all(change.stream in self.done for change in changes)

    async def _prune_images(self, look: _Look, registry: RegistryClient | None) -> bool:
        """Delete images for as long as the look is good; whether all are done."""
        plan, preconditions = look.analysis.plan, look.preconditions
        deletes_blobs = registry if plan.registry is not None and plan.registry.deletes_blobs else None
        # The plan was measured; its sizes are those that were promised.
        measured = {blob.digest: blob for blob in self.plan.blobs}
        blobs = {blob.digest: measured.get(blob.digest, blob) for blob in plan.blobs}
        images = ImagePruner(self.api, deletes_blobs, blobs, self.result, preconditions)

        async def prune(image: PrunedImage) -> None:
            if await preconditions.watcher.is_fresh():
                await images.prune(image)
                self.done.add(image.name)
                self.progress(f"deleting images: {len(self.result.deleted_images)} of {len(self.plan.images)}")

        await self.workers.run(_until_stale(prune), plan.images)
        if registry is not None:
            await self._look_for_losses(preconditions.watcher, registry)
        return all(image.name in self.done for image in plan.images)

    def _note_skipped_images(self, analysis: Analysis, approval: Approval) -> None:
        for name, skipped in skipped_images(analysis, approval):
            if name not in self.done:
                self.done.add(name)
                self.result.skipped.append(skipped)

    async def _look_for_losses(self, watcher: Watcher, registry: RegistryClient) -> None:
        """A deletion in flight cannot be called back. If something came to need what it deletes, that is reported."""
        links = {(repository, digest): kind for repository, kind, digest in self.result.deleted_links}
        blobs = {blob.digest: blob.kind for blob in self.plan.blobs if blob.digest in self.result.deleted_blobs}
        for repository, digest, user in watcher.needs.links():
            kind = links.get((repository, digest)) or blobs.get(digest)
            if kind is None:
                continue
            try:
                if await registry.lacks(repository, digest, manifest=kind == "manifest"):
                    why = f"it was deleted before it could be known that {user} needs it; push that image again"
                    self.result.failed(f"{digest} of {repository}", ClusterError(why))
            except RegistryError as error:
                why = f"{user} needs it, and whether it is still there cannot be told: {error}"
                self.result.failed(f"{digest} of {repository}", ClusterError(why))


def _deletion(stream: str) -> str:
    """What `done` remembers of a deleted image stream, of which the update of its tags is remembered by its name."""
    return f"deletion of {stream}"


def _retirement(image: str) -> str:
    """What `done` remembers of an image that is retired, or needed again."""
    return f"retirement of {image}"


T = TypeVar("T")


def _until_stale(work: Callable[[T], Awaitable[None]]) -> Callable[[T], Awaitable[None]]:
    """The work, where a piece that the look is not good for any more is left for the next one."""

    async def piece(what: T) -> None:
        try:
            await work(what)
        except StaleViewError:
            return

    return piece


def _forget_what_is_needed(lease: RunLock, analysis: Analysis) -> None:
    """Of what an earlier run has left: streams that are gone
    have no links to delete, and what is named again is not left.
    """
    remaining = {history.stream.name: history.remaining() for history in analysis.histories}
    for stream, digests in list(lease.journal.unlinked.items()):
        if stream not in remaining or not digests - analysis.graph.with_members(remaining[stream]):
            lease.journal.forget(stream)
