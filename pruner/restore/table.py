"""What a restoration brings back and what it cannot, for people and machines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pruner.cluster.retirement import RemovedRevision
from pruner.console import Margin, data
from pruner.printable import printable
from pruner.report.wording import count, short

Outcome = Literal["restored", "present", "impossible", "failed"]
"""`present` is what was there already; `impossible` what cannot come back, `failed` what could not be written."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A revision, or an image without one, and what becomes of it. `tag` is `namespace/stream:tag`."""

    image: str
    tag: str = ""
    position: int | None = None
    outcome: Outcome
    note: str = ""

    @classmethod
    def of(cls, image: str, revision: RemovedRevision, outcome: Outcome, note: str, position: int | None = None) -> Row:
        return cls(image=image, tag=revision.name, position=position, outcome=outcome, note=note)


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `pruner restore`: `dry_run` says that nothing was
    written; `until` is when a run may retire it all again.
    """

    dry_run: bool
    rows: tuple[Row, ...]
    until: datetime | None = None
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is there."""
        return all(row.outcome in ("restored", "present") for row in self.rows)


def show(found: Restored, console: Console) -> None:
    """Write the result to a terminal."""
    table = Table("Revision", "Image", "", "", box=None, pad_edge=False)
    for row in found.rows:
        place = f" revision {row.position}" if row.position is not None and row.tag else ""
        style = "green" if row.outcome in ("restored", "present") else "red"
        said = Text(_said(row, dry_run=found.dry_run), style)
        table.add_row(data(f"{row.tag}{place}"), data(short(row.image)), said, data(row.note))
    console.print(Margin(table))
    for line in _lines(found):
        console.print(Text(printable(line)), soft_wrap=True)


def _said(row: Row, *, dry_run: bool) -> str:
    match row.outcome:
        case "restored":
            return "can come back" if dry_run else "restored"
        case "present":
            return "is there already"
        case "impossible":
            return "cannot come back"
        case "failed":
            return "FAILED"


def _lines(found: Restored) -> Iterator[str]:
    yield from (f"note: {note}" for note in found.notes)
    back = sum(row.outcome == "restored" for row in found.rows)
    rest = sum(row.outcome in ("impossible", "failed") for row in found.rows)
    verb = "can be restored" if found.dry_run else "restored"
    yield f"{count(back, 'revision')} {verb}" + (f", {rest} cannot be" if rest else "")
    if found.until is not None and back:
        until = f"{found.until:%Y-%m-%d %H:%M} UTC"
        yield (
            f"no run removes them before {until}; until then, change the rules that removed them, or protect the images"
        )
    if found.dry_run:
        yield "nothing was changed; run it again without --dry-run"
