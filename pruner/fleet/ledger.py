"""What is known of earlier runs: a file for each cluster in the fleet's work folder, so that workers can share it.

An `up` that is run again goes on where the last one has ended: what was done for the same approved plan is not done
again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from pruner.files import write_file
from pruner.fleet.model import Outcome

_NAME: Final = "state.json"


class _Runs(msgspec.Struct):
    """The last run of each verb."""

    preview: Outcome | None = None
    up: Outcome | None = None


class Ledger:
    """The state of a fleet, in its work folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, cluster: str) -> Path:
        """The cluster's own folder."""
        return self.folder / cluster

    def last(self, cluster: str, verb: str) -> Outcome | None:
        """The result of the last run; None where there was none, or nothing readable is known of it."""
        found: Outcome | None = getattr(self._runs(cluster), verb)
        return found

    def note(self, outcome: Outcome) -> None:
        """Keep the result of the run. Raises PrunerError where that cannot be written."""
        runs = self._runs(outcome.cluster)
        setattr(runs, outcome.verb, outcome)
        write_file(self.of(outcome.cluster) / _NAME, (msgspec.json.encode(runs),))

    def _runs(self, cluster: str) -> _Runs:
        try:
            return msgspec.json.decode((self.of(cluster) / _NAME).read_bytes(), type=_Runs)
        except (OSError, msgspec.MsgspecError):
            # What was done is in the stacks and the clusters; this only saves doing it again.
            return _Runs()
