"""Progress and summary of a fleet: a table that is redrawn on a terminal, a line for every change anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pruner.console import data
from pruner.fleet.model import BAD, Outcome, counted
from pruner.printable import printable

STYLES: Final = {
    "waiting": "dim",
    "running": "cyan",
    "done": "green",
    "failed": "bold red",
    "refused": "bold red",
    "timed out": "bold red",
    "skipped": "dim",
    "stopped": "yellow",
}
"""A style for each state; the words alone say the same."""
_ROWS: Final = 30
"""Clusters that the table on a terminal shows while they run; of
a larger fleet those at work first, then those that are not well."""


class Progress:
    """Shows what is told to it; use it as a context manager. It may be told from several threads."""

    def __init__(self, console: Console, verb: str) -> None:
        self.console = console
        self.verb = verb
        self.known: dict[str, Outcome] = {}
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()
        self._live = Live(get_renderable=self._shown, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def __call__(self, outcome: Outcome) -> None:
        with self._lock:
            before = self.known.get(outcome.cluster)
            self.known[outcome.cluster] = outcome
            if outcome.state == "running":
                self._since.setdefault(outcome.cluster, time.monotonic())
            # Out of a terminal each state once: what is read at the moment would fill a pipeline's log.
            new = outcome.state != "waiting" and (before is None or before.state != outcome.state)
            if new and not self.console.is_terminal:
                self.console.print(line(outcome), highlight=False, markup=False, soft_wrap=True)

    def _shown(self) -> Table:
        with self._lock:
            outcomes = list(self.known.values())
            now = time.monotonic()
            seconds = {name: now - since for name, since in self._since.items()}
        return table(outcomes, self.verb, seconds, most=_ROWS)


def line(outcome: Outcome) -> str:
    """One cluster in one line."""
    parts = [f"{outcome.cluster}: {outcome.state}"]
    if _counted(outcome):
        parts.append(amounts(outcome))
    if outcome.skipped:
        parts.append(_skipped(outcome))
    if outcome.message:
        parts.append(outcome.message)
    if outcome.seconds:
        parts.append(f"{outcome.seconds:.1f} s")
    # Lines of a message are told apart by their `- `.
    return printable(" ".join(", ".join(parts).splitlines()), again=True)


def _counted(outcome: Outcome) -> bool:
    """Whether its numbers say something: an up that has failed may have deleted some of it."""
    return outcome.state == "done" or bool(outcome.deletions or outcome.retired or outcome.blobs)


def _skipped(outcome: Outcome) -> str:
    return f"{outcome.skipped} skipped: in use now, or gone"


def amounts(outcome: Outcome) -> str:
    return ", ".join(
        [*(f"{getattr(outcome, name)} {head}" for name, head in counted([outcome]).items()), decimal(outcome.bytes)]
    )


def table(
    outcomes: Iterable[Outcome], verb: str, running: dict[str, float] | None = None, most: int | None = None
) -> Table:
    """Clusters, at most so many, with the sums of all. `running` says for how many seconds those at work have been."""
    shown = Table(title=f"fleet {verb}", title_justify="left", expand=False)
    shown.add_column("cluster", no_wrap=True)
    shown.add_column("wave", no_wrap=True)
    shown.add_column("state", no_wrap=True)
    listed = list(outcomes)
    columns = counted(listed)
    for name in (*columns.values(), "freed" if verb == "up" else "to free", "seconds"):
        shown.add_column(name, justify="right", no_wrap=True)
    picked = listed if most is None or len(listed) <= most else sorted(listed, key=_urgency)[:most]
    rows = [[*_row(outcome, columns, (running or {}).get(outcome.cluster, 0.0))] for outcome in picked]
    told = any(str(row[-1]) for row in rows)
    if told:
        shown.add_column("", overflow="fold")
    for row in rows:
        shown.add_row(*(row if told else row[:-1]))
    shown.add_section()
    shown.add_row(
        f"{len(listed)} cluster{'' if len(listed) == 1 else 's'}", "", Text(_states(listed)),
        *(f"{sum(getattr(outcome, name) for outcome in listed)}" for name in columns),
        decimal(sum(outcome.bytes for outcome in listed)), style="bold",
    )  # fmt: skip
    return shown


def _urgency(outcome: Outcome) -> int:
    if outcome.state == "running":
        return 0
    return 1 if outcome.state in BAD else 3 if outcome.state == "waiting" else 2


def _row(outcome: Outcome, columns: Iterable[str], running: float) -> Iterable[str | Text]:
    known = _counted(outcome)
    seconds = outcome.seconds or (running if outcome.state == "running" else 0.0)
    yield data(outcome.cluster)
    yield data(outcome.wave)
    yield Text(outcome.state, style=STYLES[outcome.state])
    yield from (str(getattr(outcome, name)) if known else "" for name in columns)
    yield decimal(outcome.bytes) if known else ""
    yield f"{seconds:.1f}" if seconds else ""
    told = [
        *([_skipped(outcome)] if outcome.skipped else []),
        *([outcome.message] if outcome.message else outcome.notes),
    ]
    yield Text(printable(" ".join("; ".join(told).splitlines()), again=True))


def _states(outcomes: list[Outcome]) -> str:
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in STYLES}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)
