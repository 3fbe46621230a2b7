"""Terminals: rich consoles that interpret nothing in what they
print, and a margin that keeps texts off the beginning of lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from pruner.printable import printable

_MARGIN: Final = Segment("| ")


class _Plain(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to whoever ends the process; rich would end it with 1."""
        raise  # noqa: PLE0704 - rich calls this while it handles the error


def plain_console(**options: Any) -> Console:
    """A console that takes text as text: no markup, no emoji codes, no highlighting.

    Options are those of `rich.console.Console`.
    """
    return _Plain(markup=False, emoji=False, highlight=False, **options)


def data(text: str) -> Text:
    """Text of a cluster, made printable."""
    return Text(printable(text))


class Margin:
    """What is rendered with `| ` before every line.

    Long texts are wrapped, and a wrapped line may begin anywhere in them, also with what a CI runner takes for a
    command.
    """

    def __init__(self, content: RenderableType) -> None:
        self.content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        width = max(options.max_width - _MARGIN.cell_length, 1)
        for line in console.render_lines(self.content, options.update(width=width), pad=False):
            yield _MARGIN
            yield from line
            yield Segment.line()
