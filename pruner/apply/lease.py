"""One run at a time: a Lease in the cluster, taken for up, renewed while it goes on, released at its end.

Two runs against one cluster would not lose anything, since every write names what it replaces, but they would work against each other and
report each other's deletions as failures. A Lease whose holder has died is taken over when it has expired by the API server's clock. Where
Leases may not be written the run goes on, and says so.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from pruner.cluster.api import Api
from pruner.cluster.resources import LEASES, NAMESPACES
from pruner.cluster.rights import LEASE, REGISTRY_NAMESPACE
from pruner.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError, UnsafePlanError

SECONDS: Final = 60
"""After so long without being renewed a lease has expired."""


class RunLease:
    """The lease of a run. Use it as an asynchronous context manager; raises UnsafePlanError when another run holds it.

    `on_lost` is called when it could not be renewed in time: then another run may begin, and this one has to stop.
    """

    def __init__(self, api: Api, warn: Callable[[str], None], on_lost: Callable[[str], None]) -> None:
        self.api = api
        self.warn = warn
        self.on_lost = on_lost
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self._namespace = REGISTRY_NAMESPACE
        self._lease: dict[str, Any] | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            if not await self.api.serves(LEASES):
                return self
            self._lease = await self._take_where_others_do()
        except ForbiddenError as error:
            self.warn(f"runs against this cluster are not kept apart: {error}")
            return self
        self._renewal = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        if self._lease is not None:
            try:
                await self._write({**self._lease["spec"], "holderIdentity": "", "renewTime": _micro(self._now())})
            except ClusterError as problem:
                self.warn(f"the lease could not be released and expires in {SECONDS} seconds: {problem}")

    async def _take_where_others_do(self) -> dict[str, Any]:
        """Take the lease in the registry's namespace, or in `default` where there is no such namespace."""
        try:
            await self.api.get(NAMESPACES, dict, name=REGISTRY_NAMESPACE)
        except NotFoundError:
            self._namespace = "default"
        except ForbiddenError:
            # Whoever may not look at the namespace has to meet the others in it all the same.
            try:
                return await self._take()
            except NotFoundError:
                self._namespace = "default"
        return await self._take()

    async def _take(self) -> dict[str, Any]:
        spec = {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": SECONDS,
            "acquireTime": _micro(self._now()),
            "renewTime": _micro(self._now()),
        }
        try:
            found = await self.api.get(LEASES, dict, namespace=self._namespace, name=LEASE)
        except NotFoundError:
            return await self._create(spec)
        self._refuse_if_held(found)
        self._lease = found
        try:
            return await self._write({**spec, "leaseTransitions": found["spec"].get("leaseTransitions", 0) + 1})
        except ConflictError:
            self._lease = None
            raise UnsafePlanError(_HELD.format("has taken the lease in this moment", self._namespace)) from None

    async def _create(self, spec: dict[str, Any]) -> dict[str, Any]:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": self._namespace},
            "spec": spec,
        }
        try:
            created: dict[str, Any] = (await self.api.create(LEASES, body, namespace=self._namespace)).json()
        except ConflictError:
            raise UnsafePlanError(_HELD.format("has taken the lease in this moment", self._namespace)) from None
        return created

    def _refuse_if_held(self, lease: dict[str, Any]) -> None:
        spec = lease.get("spec") or {}
        holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
        if not holder or not renewed:
            return
        expires = datetime.fromisoformat(renewed) + timedelta(seconds=spec.get("leaseDurationSeconds") or SECONDS)
        if self._now() < expires:
            raise UnsafePlanError(
                _HELD.format(f"({holder}) is at work, its lease ends at {expires:%H:%M:%S} UTC", self._namespace)
            )

    async def _renew(self) -> None:
        renewed = self._now()
        while True:
            await asyncio.sleep(SECONDS / 3)
            assert self._lease is not None  # noqa: S101 - renewed only while it is held
            try:
                self._lease = await self._write({**self._lease["spec"], "renewTime": _micro(self._now())})
                renewed = self._now()
            except ConflictError:
                self.on_lost("another run has taken the lease over")
                self._lease = None
                return
            except ClusterError as error:
                if self._now() - renewed > timedelta(seconds=SECONDS):
                    self.on_lost(f"the lease could not be renewed: {error}")
                    self._lease = None
                    return

    async def _write(self, spec: dict[str, Any]) -> dict[str, Any]:
        assert self._lease is not None  # noqa: S101 - asked by the callers
        body = {**self._lease, "spec": spec}
        updated: dict[str, Any] = (await self.api.update(LEASES, body, namespace=self._namespace, name=LEASE)).json()
        return updated

    def _now(self) -> datetime:
        """The API server's clock: machines that run this one after the other may not agree about the time."""
        return self.api.clock or datetime.now(UTC)


_HELD: Final = (
    "another run against this cluster {}; nothing was changed. Run up again when it has ended (Lease {}/" + LEASE + ")"
)


def _micro(moment: datetime) -> str:
    """A MicroTime of the API."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
