"""One run at a time: a Lease in the cluster, taken for up, renewed while it goes on, released at its end.

Two runs against one cluster would not lose anything, since every write names what it replaces, but they would work against each other and
report each other's deletions as failures. A Lease whose holder has died is taken over when it has expired by the API server's clock.

Anybody who may write Leases may write any date into this one. A date that no run at work would have written is not trusted: the Lease is
observed for as long as one lasts, measured by this machine, as client-go's leader election does, and taken over if nobody renews it.

Without permission to write Leases the run continues, and says so. The Lease also keeps what a run is about to unlink, for the one after it
(pruner.cluster.unlink_journal).
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

import msgspec

from pruner.cluster.api import Api
from pruner.cluster.clock import AGREEMENT
from pruner.cluster.metadata import moment
from pruner.cluster.resources import LEASES
from pruner.cluster.unlink_journal import ANNOTATION, LEASE, lease_namespaces, unlinked_in, well_formed, written
from pruner.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError, UnsafePlanError
from pruner.printable import printable

SECONDS: Final = 60
"""After so long without being renewed a lease has expired."""
LONGEST: Final = 300
"""Seconds that a Lease may say that it lasts; runs write SECONDS. Another duration counts as SECONDS."""
RECENT: Final = timedelta(days=1)
"""A Lease that was renewed longer ago is observed before it is taken over: a date that anybody wrote may be any date."""
_OBSERVATIONS: Final = 12
"""How often an observed Lease is read. A run renews its own three times in that time."""
_TRANSITIONS: Final = 2**31 - 1
"""The largest number that the API has for leaseTransitions (int32)."""
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
        new = set(well_formed(untold)) - self._noted.get(stream, set())
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
        """A lease that nobody holds. It is taken by an update, as it is renewed and released: who may not do that must not hold it."""
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
        age = None if record.renewed is None else self._now() - record.renewed
        if not record.holder:
            return lease
        if age is None or not record.plausible or not -AGREEMENT <= age <= RECENT:
            return await self._observed(lease, record)
        if age < timedelta(seconds=record.seconds):
            raise UnsafePlanError(_HELD.format(f"({record}) is at work", self._namespace))
        return lease

    async def _observed(self, lease: dict[str, Any], record: Record) -> dict[str, Any]:
        """The lease when nobody has renewed it for as long as one lasts, by this machine's monotonic clock."""
        self.warn(
            f"Lease {self._namespace}/{LEASE} of {record} cannot have been written by a run at work; it is observed for {self.seconds} "
            "seconds and then taken over, unless its holder renews it"
        )
        until = _clock() + self.seconds
        while (left := until - _clock()) > 0:
            await asyncio.sleep(min(left, self.seconds / _OBSERVATIONS))
            found = await self._found() or await self._make()
            if _version(found) != _version(lease):
                now = Record.of(found, self.seconds)
                if not now.holder:
                    return found
                raise UnsafePlanError(_HELD.format(f"({now}) is at work", self._namespace))
        return lease

    async def _take_over(self, lease: dict[str, Any]) -> dict[str, Any]:
        journal = unlinked_in(lease)
        if written(journal) != _annotation(lease):
            self.warn(
                f"Lease {self._namespace}/{LEASE}: entries of its annotation {ANNOTATION} that no run has written are ignored and removed"
            )
        self._noted = {stream: set(digests) for stream, digests in journal.items()}
        return await self._update({**lease, "spec": self._spec(_spec_of(lease), self.holder, taken=True)})

    async def _own(self, *holders: str) -> dict[str, Any]:
        """The lease after a conflict, where only an answer was lost. Raises UnsafePlanError where it is another's."""
        found = await self._found() or {}
        if _holder(found) not in holders:
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
        text = written(self._noted)
        for _ in range(_CONFLICTS):
            renewed = _annotated({**self._lease, "spec": self._spec(_spec_of(self._lease), holder)}, text)
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


class Record(msgspec.Struct, frozen=True):
    """What a Lease says about its holder, whoever wrote it: every value may be of any type and any size.

    `renewed` is None for what is not a time; `seconds` is how long it lasts; `plausible` is False where its times contradict each other.
    """

    holder: str
    renewed: datetime | None
    written: str
    seconds: int
    plausible: bool

    @classmethod
    def of(cls, lease: dict[str, Any], usual: int) -> Self:
        spec, metadata = _spec_of(lease), lease.get("metadata") or {}
        duration, renewed = spec.get("leaseDurationSeconds"), _time(spec.get("renewTime"))
        before = [_time(metadata.get("creationTimestamp")), _time(spec.get("acquireTime"))]
        return cls(
            holder=_holder(lease),
            renewed=renewed,
            written=printable(str(spec.get("renewTime")), _SHOWN),
            seconds=duration if type(duration) is int and 0 < duration <= LONGEST else usual,
            plausible=renewed is not None and not [it for it in before if it is not None and it - renewed > AGREEMENT],
        )

    def __str__(self) -> str:
        """The holder, and the date of its Lease."""
        holder = printable(self.holder, _SHOWN)
        if self.renewed is None:
            return f"{holder}, renewed at {self.written}, which is not a time"
        return f"{holder}, renewed at {self.renewed:%Y-%m-%d %H:%M:%S} UTC, for {self.seconds} seconds"


_SHOWN: Final = 100
"""Characters of a holder's name in a message."""


def _time(value: object) -> datetime | None:
    """A time of the API (UTC); None for what is not one."""
    try:
        return moment(datetime.fromisoformat(value)).astimezone(UTC) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _spec_of(lease: dict[str, Any]) -> dict[str, Any]:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}


def _holder(lease: dict[str, Any]) -> str:
    holder = _spec_of(lease).get("holderIdentity")
    return holder if isinstance(holder, str) else "" if holder is None else str(holder)


def _version(lease: dict[str, Any]) -> tuple[Any, Any]:
    return (lease.get("metadata") or {}).get("resourceVersion"), lease.get("spec")


def _clock() -> float:
    return asyncio.get_running_loop().time()


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
