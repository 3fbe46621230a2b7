"""The run lock: a Lease in the cluster, taken for up, renewed while it goes on, released at its end.

Two runs against one cluster would not lose anything, since every write names what it replaces, but they would work
against each other and report each other's deletions as failures.

No date in a Lease is proof that its holder has died: anybody who may write Leases may write any date, and several API
servers at one address may have several clocks. A Lease that looks expired is therefore observed for as long as it
lasts, measured by this machine, as client-go's leader election does, and taken over if nobody renews it.

Without permission to write Leases the run continues, and says so. The Lease also carries the unlink journal
(pruner.apply.unlink_journal).
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

from pruner.apply.lease_record import Record, holder_of, spec_of
from pruner.apply.unlink_journal import UnlinkJournal, annotated
from pruner.cluster.api import Api
from pruner.cluster.clock import AGREEMENT
from pruner.cluster.resources import LEASES
from pruner.cluster.unlink_journal import ANNOTATION, LEASE, lease_namespaces
from pruner.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError, UnsafePlanError

SECONDS: Final = 60
"""After so long without being renewed a lease has expired."""
_OBSERVATIONS: Final = 12
"""How often an observed Lease is read. A run renews its own three times in that time."""
_TRANSITIONS: Final = 2**31 - 1
"""The largest number that the API has for leaseTransitions (int32)."""
_CONFLICTS: Final = 3


class Clock:
    """Measures time on this machine while a Lease is observed."""

    def now(self) -> float:
        """Seconds, from any beginning on."""
        return _clock()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RunLock:
    """The lock of a run. Use it as an asynchronous context manager; raises UnsafePlanError when another run holds it.

    `on_lost` is called when it could not be renewed in time: then another run may begin, and this one has to stop.
    """

    def __init__(
        self,
        api: Api,
        warn: Callable[[str], None],
        on_lost: Callable[[str], None],
        *,
        seconds: int = SECONDS,
        interrupted: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        self.api = api
        self.clock = clock or Clock()
        self.interrupted = interrupted
        self.seconds = seconds
        self.warn = warn
        self.on_lost = on_lost
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self.journal = UnlinkJournal(warn)
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
            self.journal.resume()
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

    async def about_to_unlink(self, stream: str, digests: Iterable[str], unreachable: Iterable[str]) -> None:
        """Note in the journal that links of these may be left, and write those that are `unreachable` first.

        Raises ClusterError when they cannot be written.
        """
        if not self.journal.note(stream, digests, unreachable if self.held else ()):
            return
        async with self._writing:
            # One write takes along whatever was noted while the one before it was under way.
            if self._lease is None or self.journal.is_in(self._lease):
                return
            try:
                await self._write(self.holder)
            except (UnsafePlanError, NotFoundError):
                self._lost(_TAKEN_OVER)
                raise ConflictError(f"{self.api.server}: {_TAKEN_OVER}") from None

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
                self._lease = await self._take_over(await self._free(found))
            except ConflictError:
                self._lease = await self._own(self.holder)
            return

    async def _found(self) -> dict[str, Any] | None:
        try:
            return await self.api.get(LEASES, dict, namespace=self._namespace, name=LEASE)
        except NotFoundError:
            return None

    async def _make(self) -> dict[str, Any]:
        """A lease that nobody holds.

        It is taken by an update, as it is renewed and released: who may not do that must not hold it.
        """
        metadata = {"name": LEASE, "namespace": self._namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}
        try:
            return await self.api.create(LEASES, body, namespace=self._namespace)
        except ConflictError:
            # Somebody has been faster, or it is this one, and the answer was lost.
            return await self.api.get(LEASES, dict, namespace=self._namespace, name=LEASE)

    async def _free(self, lease: dict[str, Any]) -> dict[str, Any]:
        """The lease when no run holds it. Raises UnsafePlanError when one does."""
        record = Record.of(lease, self.seconds)
        if not record.holder:
            return lease
        age = None if record.renewed is None else self._now() - record.renewed
        if age is not None and record.plausible and -AGREEMENT <= age < timedelta(seconds=record.seconds):
            raise UnsafePlanError(_HELD.format(f"({record}) is at work", self._namespace))
        return await self._observed(lease, record)

    async def _observed(self, lease: dict[str, Any], record: Record) -> dict[str, Any]:
        """The lease when nobody has renewed it for as long as it lasts, by this machine's clock.

        A run changes the spec whenever it renews its Lease. Other changes, such as annotations, are not its word.
        """
        self.warn(
            f"Lease {self._namespace}/{LEASE} of {record} was not released; it is observed for {record.seconds} "
            "seconds and then taken over, unless its holder renews it"
        )
        until = self.clock.now() + record.seconds
        while (left := until - self.clock.now()) > 0:
            if self.interrupted():
                raise UnsafePlanError("interrupted while the Lease of another run was observed; nothing was changed")
            await self.clock.sleep(min(left, record.seconds / _OBSERVATIONS))
            found = await self._found() or await self._make()
            now = Record.of(found, self.seconds)
            if not now.holder:
                return found
            if spec_of(found) != spec_of(lease):
                raise UnsafePlanError(_HELD.format(f"({now}) is at work", self._namespace))
            lease = found
        return lease

    async def _take_over(self, lease: dict[str, Any]) -> dict[str, Any]:
        if not self.journal.read(lease):
            self.warn(
                f"Lease {self._namespace}/{LEASE}: entries of its annotation {ANNOTATION} that no run has written are "
                "ignored and removed"
            )
        return await self._update({**lease, "spec": self._spec(spec_of(lease), self.holder, taken=True)})

    async def _own(self, *holders: str) -> dict[str, Any]:
        """The lease after a conflict, where only an answer was lost. Raises UnsafePlanError where it is another's."""
        found = await self._found() or {}
        if holder_of(found) not in holders:
            raise UnsafePlanError(_HELD.format("has taken the lease in this moment", self._namespace))
        self._renewed()
        return found

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
        """Renew or release it, with what is noted so far. Raises UnsafePlanError when it is another's."""
        assert self._lease is not None  # noqa: S101 - asked by the callers
        text = self.journal.text()
        for _ in range(_CONFLICTS):
            renewed = annotated({**self._lease, "spec": self._spec(spec_of(self._lease), holder)}, text)
            try:
                self._lease = await self._update(renewed)
            except ConflictError:
                # Perhaps by a write of this run whose answer was lost: by this one, or by the one before it.
                self._lease = await self._own(self.holder, holder)
                if holder_of(self._lease):
                    continue
            return
        raise ConflictError(f"{self.api.server}: Lease {self._namespace}/{LEASE} changes all the time")

    async def _update(self, lease: dict[str, Any]) -> dict[str, Any]:
        updated = await self.api.update(LEASES, lease, namespace=self._namespace, name=LEASE)
        self._renewed()
        return updated

    def _renewed(self) -> None:
        self._deadline = self._asked + self.seconds * 2 / 3

    def _spec(self, found: dict[str, Any], holder: str, *, taken: bool = False) -> dict[str, Any]:
        """The spec of a lease that is renewed, released, or taken."""
        self._asked = _clock()
        now = _micro(self._now())
        renewed = {**found, "holderIdentity": holder, "leaseDurationSeconds": self.seconds, "renewTime": now}
        if taken:
            before: Any = found.get("leaseTransitions")
            known = before if type(before) is int and 0 <= before < _TRANSITIONS else 0
            renewed |= {"acquireTime": now, "leaseTransitions": known + bool(found)}
        return renewed

    def _set_clock(self) -> None:
        self._started = (self.api.clock.now_or_here(), _clock())

    def _now(self) -> datetime:
        """The API server's clock: machines that run this one after the other may not agree about the time."""
        server, here = self._started
        return server + timedelta(seconds=_clock() - here)


_TAKEN_OVER: Final = "another run has taken the lease over"
_HELD: Final = (
    "another run against this cluster {}; nothing was changed. Run up again when it has ended, or delete Lease {}/"
    + LEASE
    + " if no run is at work"
)


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _micro(moment: datetime) -> str:
    """A MicroTime of the API."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
