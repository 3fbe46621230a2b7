"""Replicas of the registry after blobs were deleted: each caches which there are, and only one has done the deleting.

The others still answer for blobs that are gone, so pushes that rely on them fail, or leave tags that cannot be pulled.
A rolling restart empties the caches. A run says when one is needed, and with `restart_registry` does it as `oc rollout
restart` does: it sets an annotation on the pod template of the registry's Deployment, and the cluster replaces the pods
one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from pruner import defects
from pruner.apply.result import RegistryRestart, Result
from pruner.cluster.api import Api
from pruner.cluster.lists import decoder_of_pages
from pruner.cluster.permissions import REGISTRY
from pruner.cluster.resources import DEPLOYMENTS
from pruner.cluster.snapshot import Progress
from pruner.cluster.unlink_journal import REGISTRY_NAMESPACE
from pruner.errors import ClusterError, ExpiredError, NotFoundError

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
"""The annotation on the pod template that `oc rollout restart` sets."""
WITHIN: Final = 600.0
"""Seconds after which a rolling restart is no longer waited
for; as long as a Deployment itself takes one to make progress."""
INTERVAL: Final = 2.0
"""Seconds between two looks at it."""
COMMAND: Final = f"oc -n {REGISTRY_NAMESPACE} rollout restart deployment/{REGISTRY}"
STATUS_COMMAND: Final = f"oc -n {REGISTRY_NAMESPACE} rollout status deployment/{REGISTRY}"


class _Meta(msgspec.Struct, frozen=True):
    name: str = ""
    generation: int = 0
    annotations: dict[str, str] | None = None


class _Template(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()


class _Spec(msgspec.Struct, frozen=True):
    replicas: int = 1
    template: _Template = _Template()


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0


class _Deployment(msgspec.Struct, frozen=True):
    metadata: _Meta
    spec: _Spec = _Spec()
    status: _Status = _Status()

    @property
    def restarted_at(self) -> str | None:
        return (self.spec.template.metadata.annotations or {}).get(RESTARTED_AT)

    @property
    def rolled_out(self) -> bool:
        """Whether all replicas are of the current pod template and
        available, and no other is left; as `oc rollout status` has it.
        """
        status = self.status
        return (
            status.observed_generation >= self.metadata.generation
            and status.updated_replicas >= self.spec.replicas
            and status.replicas <= status.updated_replicas <= status.available_replicas
        )


class RegistryReplicas:
    """The registry's Deployment, of which every replica has a cache of its own."""

    def __init__(
        self,
        api: Api,
        progress: Progress,
        stopping: Callable[[], bool],
        *,
        within: float = WITHIN,
        interval: float = INTERVAL,
    ) -> None:
        self.api = api
        self.progress = progress
        self.stopping = stopping
        self.within = within
        self.interval = interval

    async def after_deletions(self, result: Result, *, restart: bool) -> None:
        """Note in the result whether the registry has to be restarted after blobs were deleted; with `restart` do so.

        What goes wrong with it is a failure of the result where a restart was asked for: objects are already deleted,
        so nothing is raised.
        """
        try:
            ready = await self._ready()
        except Exception as error:  # noqa: BLE001 - what was deleted has to be reported, whatever else goes wrong
            result.registry_restart = RegistryRestart(None, done=False, command=COMMAND)
            if restart:
                why = f"it was not restarted: {defects.said(error)}; run {COMMAND}"
                result.failed(f"deployment {REGISTRY}", ClusterError(why))
            return
        if ready > 1:
            result.registry_restart = RegistryRestart(ready, done=False, command=COMMAND)
        if ready > 1 and restart and not self.stopping():
            try:
                await self._restart(ready)
                result.registry_restart = RegistryRestart(ready, done=True, command=COMMAND)
            except Exception as error:  # noqa: BLE001 - as above
                result.failed(f"deployment {REGISTRY}", ClusterError(defects.said(error)))

    async def _ready(self) -> int:
        """Ready replicas; 0 in a cluster without this Deployment, whose registry is another one.

        Raises ClusterError.
        """
        try:
            return (await self._deployment()).status.ready_replicas
        except NotFoundError:
            return 0

    async def _deployment(self) -> _Deployment:
        """The Deployment, from the list of its namespace: previews
        may list Deployments, so that no other permission is needed.
        """
        pages = self.api.pages(DEPLOYMENTS, decoder_of_pages(_Deployment), namespace=REGISTRY_NAMESPACE)
        found: list[_Deployment] = [
            each async for page in pages for each in page.items if each.metadata.name == REGISTRY
        ]
        if not found:
            raise NotFoundError(f"{self.api.server}: there is no deployment {REGISTRY} in {REGISTRY_NAMESPACE}")
        return found[0]

    async def _restart(self, ready: int) -> None:
        """Restart it, and wait until that is done. Raises ClusterError."""
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        template = {"metadata": {"annotations": {RESTARTED_AT: at}}}
        try:
            await self.api.patch(
                DEPLOYMENTS, {"spec": {"template": template}}, namespace=REGISTRY_NAMESPACE, name=REGISTRY
            )
        except ClusterError as error:
            raise ClusterError(f"it was not restarted: {error}; run {COMMAND}") from None
        clock = asyncio.get_running_loop().time
        end = clock() + self.within
        self.progress(f"restarting the registry: 0 of {ready} replicas")
        while not await self._restarted(at):
            if self.stopping() or clock() >= end:
                why = "the run was interrupted" if self.stopping() else f"it takes more than {self.within:g} seconds"
                raise ClusterError(f"its restart has begun, and has not ended: {why}; see {STATUS_COMMAND}")
            await asyncio.sleep(self.interval)

    async def _restarted(self, at: str) -> bool:
        """Whether all replicas have been replaced since this time. Raises ClusterError where somebody has undone it."""
        try:
            found = await self._deployment()
        except ExpiredError:
            return False
        except ClusterError as error:
            raise ClusterError(
                f"its restart has begun, and whether it has ended is not known: {error}; see {STATUS_COMMAND}"
            ) from None
        if (found.restarted_at or "") < at:
            raise ClusterError(f"its restart was undone by somebody who changed its pod template; run {COMMAND}")
        if not found.rolled_out:
            updated = min(found.status.updated_replicas, found.spec.replicas)
            self.progress(f"restarting the registry: {updated} of {found.spec.replicas} replicas")
        return found.rolled_out
