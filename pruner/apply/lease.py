"""One run at a time: a Lease in the cluster, taken for up, renewed while it goes on, released at its end.

Two runs against one cluster would not lose anything, since every write names what it replaces, but they would work against each other and
report each other's deletions as failures. A Lease whose holder has died is taken over when it has expired by the API server's clock. Where
Leases may not be written the run goes on, and says so. The Lease also keeps what a run is about to unlink, for the one after it
(pruner.cluster.leftovers).
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from pruner.cluster.api import Api
from pruner.cluster.leftovers import ANNOTATION, LEASE, lease_namespaces, unlinked_in, written
from pruner.cluster.objects import moment
from pruner.cluster.resources import LEASES
from pruner.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError, UnsafePlanError

SECONDS: Final = 60
"""After so long without being renewed a lease has expired."""
_CONFLICTS: Final = 3
_ROOM: Final = 200_000
"""Bytes for the annotation; an object may have 256 KiB of them."""


class RunLease:
    """The lease of a run. Use it as an asynchronous context manager; raises UnsafePlanError when another run holds it.

    `on_lost` is called when it could not be renewed in time: then another run may begin, and this one has to stop. `unlinked` are digests
    whose items were removed from image streams, by name of the stream, and whose links may be left.
    """

    def __init__(
        self, api: Api, warn: Callable[[str], None], on_lost: Callable[[str], None], *, seconds: int = SECONDS
    ) -> None:
        self.api = api
        self.seconds = seconds
        self.warn = warn
        self.on_lost = on_lost
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self.unlinked: dict[str, set[str]] = {}
        self._noted: dict[str, set[str]] = {}
        self._namespace = ""
        self._lease: dict[str, Any] | None = None
        self._writing = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None
        self._started = (datetime.now(UTC), 0.0)
        self._asked = self._deadline = 0.0

    async def __aenter__(self) -> Self:
        try:
            if await self.api.serves(LEASES):
                await self._take()
        except ForbiddenError as error:
            self.warn(f"runs against this cluster are not kept apart: {error}")
        if self._lease is not None:
            self.unlinked = {stream: set(digests) for stream, digests in self._noted.items()}
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
                await self._write("")
            except (ClusterError, UnsafePlanError) as problem:
                self.warn(f"the lease could not be released and expires in {self.seconds} seconds: {problem}")

    @property
    def held(self) -> bool:
        return self._lease is not None

    # --- what is about to be unlinked ---------------------------------------------------------------------------------

    async def about_to_unlink(self, stream: str, digests: Iterable[str], untold: Iterable[str]) -> None:
        """Keep that links of these may be left. Of those that are `untold` nothing else tells, so they are written down first.

        Raises ClusterError when they cannot be.
        """
        self.unlinked.setdefault(stream, set()).update(digests)
        new = set(untold) - self._noted.get(stream, set())
        if not new or self._lease is None:
            return
        if len(written(self._noted)) + sum(map(len, new)) > _ROOM:
            self.warn(f"{stream}: too much to be written down; should this run be killed now, links of it may be left")
            return
        self._noted.setdefault(stream, set()).update(new)
        async with self._writing:
            # One write takes along whatever was noted while the one before it was under way.
            if self._lease is None or written(self._noted) == _annotation(self._lease):
                return
            try:
                await self._write(self.holder)
            except (UnsafePlanError, NotFoundError):
                self._lost(_TAKEN_OVER)
                raise ConflictError(f"{self.api.server}: {_TAKEN_OVER}") from None

    def unlinked_all(self, stream: str) -> None:
        """No link of the stream is left. This is written with whatever is written next."""
        self.unlinked.pop(stream, None)
        self._noted.pop(stream, None)

    # --- the lease ----------------------------------------------------------------------------------------------------

    async def _take(self) -> None:
        for namespace in await lease_namespaces(self.api):
            self._namespace = namespace
            try:
                found = await self._found() or await self._make()
            except NotFoundError:
                # There is no such namespace.
                continue
            self._set_clock()
            try:
                self._lease = await self._take_over(found)
            except ConflictError:
                self._lease = await self._own(self.holder)
            return

    async def _found(self) -> dict[str, Any] | None:
        try:
            return await self.api.get(LEASES, dict, namespace=self._namespace, name=LEASE)
        except NotFoundError:
            return None

    async def _make(self) -> dict[str, Any]:
        """A lease that nobody holds. It is taken by an update, as it is renewed and released: who may not do that must not hold it."""
        metadata = {"name": LEASE, "namespace": self._namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}
        try:
            return await self.api.create(LEASES, body, namespace=self._namespace)
        except ConflictError:
            # Somebody has been faster, or it is this one, and the answer was lost.
            return await self.api.get(LEASES, dict, namespace=self._namespace, name=LEASE)

    async def _take_over(self, lease: dict[str, Any]) -> dict[str, Any]:
        self._refuse_if_held(lease)
        self._noted = {stream: set(digests) for stream, digests in unlinked_in(lease).items()}
        return await self._update({**lease, "spec": self._spec(lease.get("spec"), self.holder, taken=True)})

    async def _own(self, *holders: str) -> dict[str, Any]:
        """The lease after a conflict, where only an answer was lost. Raises UnsafePlanError where it is another's."""
        found = await self._found() or {}
        if _holder(found) not in holders:
            raise UnsafePlanError(_HELD.format("has taken the lease in this moment", self._namespace))
        self._renewed()
        return found

    def _refuse_if_held(self, lease: dict[str, Any]) -> None:
        spec = lease.get("spec") or {}
        holder, renewed = _holder(lease), spec.get("renewTime")
        if not holder or not renewed:
            return
        try:
            since = moment(datetime.fromisoformat(renewed))
        except ValueError:
            raise UnsafePlanError(
                f"Lease {self._namespace}/{LEASE}: its renewTime {renewed!r} is no time; delete it when no run is at work"
            ) from None
        expires = since + timedelta(seconds=spec.get("leaseDurationSeconds") or SECONDS)
        if self._now() < expires:
            raise UnsafePlanError(
                _HELD.format(f"({holder}) is at work, its lease ends at {expires:%H:%M:%S} UTC", self._namespace)
            )

    async def _renew(self) -> None:
        """Renew it, again and again, and stop the run well before another one may take it over.

        Time is measured here: an API that is away tells none.
        """
        pause = self.seconds / 3
        while True:
            await asyncio.sleep(min(pause, max(0.0, self._deadline - _clock())))
            pause = self.seconds / 3
            try:
                async with asyncio.timeout_at(self._deadline), self._writing:
                    if self._lease is None:
                        return None
                    await self._write(self.holder)
            except (UnsafePlanError, NotFoundError):
                return self._lost(_TAKEN_OVER)
            except (ClusterError, TimeoutError) as error:
                if _clock() >= self._deadline:
                    return self._lost(f"the lease could not be renewed: {str(error) or 'no answer in time'}")
                pause = self.seconds / 60

    def _lost(self, why: str) -> None:
        self._lease = None
        self.on_lost(why)

    async def _write(self, holder: str) -> None:
        """Renew or release it, with what is noted by now. Raises UnsafePlanError when it is another's."""
        assert self._lease is not None  # noqa: S101 - asked by the callers
        text = written(self._noted)
        for _ in range(_CONFLICTS):
            renewed = _annotated({**self._lease, "spec": self._spec(self._lease["spec"], holder)}, text)
            try:
                self._lease = await self._update(renewed)
            except ConflictError:
                # Perhaps by a write of this run whose answer was lost: by this one, or by the one before it.
                self._lease = await self._own(self.holder, holder)
                if _holder(self._lease):
                    continue
            return
        raise ConflictError(f"{self.api.server}: Lease {self._namespace}/{LEASE} changes all the time")

    async def _update(self, lease: dict[str, Any]) -> dict[str, Any]:
        updated = await self.api.update(LEASES, lease, namespace=self._namespace, name=LEASE)
        self._renewed()
        return updated

    def _renewed(self) -> None:
        self._deadline = self._asked + self.seconds * 2 / 3

    def _spec(self, spec: dict[str, Any] | None, holder: str, *, taken: bool = False) -> dict[str, Any]:
        """The spec of a lease that is renewed, released, or taken."""
        self._asked = _clock()
        now = _micro(self._now())
        found = spec or {}
        renewed = {**found, "holderIdentity": holder, "leaseDurationSeconds": self.seconds, "renewTime": now}
        if taken:
            renewed |= {"acquireTime": now, "leaseTransitions": (found.get("leaseTransitions") or 0) + bool(found)}
        return renewed

    def _set_clock(self) -> None:
        self._started = (self.api.clock or datetime.now(UTC), _clock())

    def _now(self) -> datetime:
        """The API server's clock: machines that run this one after the other may not agree about the time."""
        server, here = self._started
        return server + timedelta(seconds=_clock() - here)


def _clock() -> float:
    return asyncio.get_running_loop().time()


_TAKEN_OVER: Final = "another run has taken the lease over"
_HELD: Final = (
    "another run against this cluster {}; nothing was changed. Run up again when it has ended (Lease {}/" + LEASE + ")"
)


def _holder(lease: dict[str, Any]) -> str:
    return (lease.get("spec") or {}).get("holderIdentity") or ""


def _annotation(lease: dict[str, Any]) -> str:
    return str((lease["metadata"].get("annotations") or {}).get(ANNOTATION, ""))


def _annotated(lease: dict[str, Any], text: str) -> dict[str, Any]:
    """The lease with this text as its annotation; without the annotation for an empty one."""
    metadata = lease["metadata"]
    others = {name: value for name, value in (metadata.get("annotations") or {}).items() if name != ANNOTATION}
    return {**lease, "metadata": {**metadata, "annotations": {**others, ANNOTATION: text} if text else others}}


def _micro(moment: datetime) -> str:
    """A MicroTime of the API."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
