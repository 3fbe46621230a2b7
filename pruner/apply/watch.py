"""Follows the clusters during a run, so that everything that comes to need an object is known before it is deleted.

A `Watcher` follows images, image streams and all workloads from the resource versions of a snapshot, and adds what it
observes to `Needs`; of the clusters of `uses_from` it follows what uses images (R38). What comes up while the snapshot
is still being analysed is kept until the analysis is there. A run asks just before every deletion whether the view
`is_fresh`: while a watch is down deletions wait, and where a cluster cannot be watched the run reads it again instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import msgspec

from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.usage import Usage
from pruner.apply.cluster_watch import Add, ClusterWatch, Kinds
from pruner.apply.needs import Needs
from pruner.cluster.api import Api
from pruner.cluster.controller_revisions import revision_referrer
from pruner.cluster.further_kinds import decoded, extra_referrer
from pruner.cluster.images import compact
from pruner.cluster.objects import ApiImage, ImageStream, OtherCluster, Snapshot
from pruner.cluster.other_clusters import OtherApi, mirrors_in, watched_kinds
from pruner.cluster.resources import CONTROLLER_REVISIONS, IMAGE_STREAMS, IMAGES, MIRROR_SETS, Resource
from pruner.cluster.sizes import SizeClaims
from pruner.cluster.snapshot import kinds_of
from pruner.cluster.workloads import ControllerRevision, Referrer, Workload
from pruner.errors import ClusterError
from pruner.settings import PodSource, Settings


class Watcher:
    """Watches on everything that a snapshot has read. Use it as an asynchronous context manager.

    `good_for` are the seconds for which the snapshot is fresh where a cluster cannot be watched; `others` are sessions
    with the other clusters of the snapshot.
    """

    def __init__(
        self, api: Api, settings: Settings, snapshot: Snapshot, good_for: float, others: Iterable[OtherApi] = ()
    ) -> None:
        self.settings = settings
        self.snapshot = snapshot
        self.needs = Needs(snapshot, settings.analysis)
        self._watches = [ClusterWatch(api, self._kinds(), snapshot.resource_versions, self._add, good_for)]
        apis = {other.name: other.api for other in others}
        for other in snapshot.others:
            kinds = watched_kinds(other, settings.references)
            self._watches.append(
                ClusterWatch(
                    apis[other.name], kinds, other.resource_versions, self._adding(other), good_for, must_answer=True
                )
            )

    async def __aenter__(self) -> Self:
        for watch in self._watches:
            watch.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for watch in self._watches:
            await watch.stop()

    @property
    def failure(self) -> str | None:
        """Why a cluster cannot be watched."""
        return next((watch.failure for watch in self._watches if watch.failure is not None), None)

    def begin(self, graph: IndexGraph, on_usage: Callable[[Usage], None]) -> None:
        """The snapshot is analysed: what came up meanwhile is added to the needs.

        `on_usage` is called with every use from now on.
        """
        self.needs.begin(graph, on_usage)
        for watch in self._watches:
            watch.begin()

    async def is_fresh(self) -> bool:
        """Whether what is known is fresh enough to delete by it. Waits while a watch is being reconnected."""
        while not all(watch.is_settled for watch in self._watches):
            for watch in self._watches:
                await watch.settled()
        return all(watch.is_fresh for watch in self._watches)

    def _kinds(self) -> Kinds:
        kinds = [(resource, None) for resource in (IMAGES, IMAGE_STREAMS, *kinds_of(self.settings.references))]
        extra = [(Resource(it.group, it.version, it.resource), it) for it in self.snapshot.sources]
        return [(kind, source) for kind, source in [*kinds, *extra] if kind.name in self.snapshot.resource_versions]

    def _add(self, resource: Resource, source: PodSource | None, raw: msgspec.Raw) -> None:
        if resource == IMAGES:
            self.needs.add_image(next(iter(compact([msgspec.json.decode(raw, type=ApiImage)], SizeClaims()))))
        elif resource == IMAGE_STREAMS:
            self.needs.add_stream(msgspec.json.decode(raw, type=ImageStream))
        else:
            self.needs.add_referrer(_referrer(resource, source, raw))

    def _adding(self, other: OtherCluster) -> Add:
        """Takes in what comes up in another cluster."""
        nothing = msgspec.structs.replace(other, streams=(), referrers=())

        def add(resource: Resource, source: PodSource | None, raw: msgspec.Raw) -> None:
            if resource in MIRROR_SETS:
                if not set(mirrors_in(raw)) <= set(other.mirrors):
                    raise ClusterError(f"cluster {other.name} pulls by other names since it was read")
            elif resource == IMAGE_STREAMS:
                stream = msgspec.structs.replace(msgspec.json.decode(raw, type=ImageStream), status=None)
                self.needs.add_other(msgspec.structs.replace(nothing, streams=(stream,)))
            else:
                found = _referrer(resource, source, raw)
                self.needs.add_other(msgspec.structs.replace(nothing, referrers=(found,)))

        return add


def _referrer(resource: Resource, source: PodSource | None, raw: msgspec.Raw) -> Referrer:
    if source is not None:
        return extra_referrer(source, decoded(raw, source))
    if resource == CONTROLLER_REVISIONS:
        return revision_referrer(msgspec.json.decode(raw, type=ControllerRevision))
    return Referrer(resource.kind, msgspec.json.decode(raw, type=Workload))
