"""The unlink journal: which links a run is about to delete, so that the next run can finish an interrupted one.

Most links are found again by the Images that are pruned. Where none would lead to a link, it is written into the run
lock's Lease before the item that names it is removed (pruner.cluster.unlink_journal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from pruner.cluster.unlink_journal import ANNOTATION, unlinked_in, well_formed, written

_ROOM: Final = 200_000
"""Bytes for the annotation; an object may have 256 KiB of them."""


class UnlinkJournal:
    """What the Lease records, and what is known in addition.

    `unlinked` are digests whose items were removed from image streams, by name of the stream, and whose links may be
    left.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.unlinked: dict[str, set[str]] = {}
        self._warn = warn
        self._noted: dict[str, set[str]] = {}

    def read(self, lease: dict[str, Any]) -> bool:
        """Take over what an earlier run has recorded; whether nothing had to be ignored."""
        recorded = unlinked_in(lease)
        self._noted = {stream: set(digests) for stream, digests in recorded.items()}
        return written(recorded) == _annotation(lease)

    def resume(self) -> None:
        """The run lock is taken: what was read is this run's to finish."""
        self.unlinked = {stream: set(digests) for stream, digests in self._noted.items()}

    def note(self, stream: str, digests: Iterable[str], unreachable: Iterable[str]) -> bool:
        """Keep that links of these may be left; whether the Lease has to be written before they are.

        It has to for those that are `unreachable`: no Image leads to their links.
        """
        self.unlinked.setdefault(stream, set()).update(digests)
        new = set(well_formed(unreachable)) - self._noted.get(stream, set())
        if not new:
            return False
        if len(written(self._noted)) + sum(map(len, new)) > _ROOM:
            self._warn(
                f"{stream}: too many links to be recorded; if this run is killed now, links of it may be left in the "
                "registry"
            )
            return False
        self._noted.setdefault(stream, set()).update(new)
        return True

    def forget(self, stream: str) -> None:
        """No link of the stream is left. This is written with whatever is written next."""
        self.unlinked.pop(stream, None)
        self._noted.pop(stream, None)

    def is_in(self, lease: dict[str, Any]) -> bool:
        """Whether the Lease has everything that has to be in it."""
        return written(self._noted) == _annotation(lease)

    def text(self) -> str:
        """The annotation of the Lease; empty where nothing is recorded."""
        return written(self._noted)


def _annotation(lease: dict[str, Any]) -> str:
    return str((lease["metadata"].get("annotations") or {}).get(ANNOTATION, ""))


def annotated(lease: dict[str, Any], text: str) -> dict[str, Any]:
    """The lease with this text as its annotation; without the annotation for an empty one."""
    metadata = lease["metadata"]
    others = {name: value for name, value in (metadata.get("annotations") or {}).items() if name != ANNOTATION}
    return {**lease, "metadata": {**metadata, "annotations": {**others, ANNOTATION: text} if text else others}}
