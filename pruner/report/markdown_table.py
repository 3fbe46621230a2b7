"""Tables in Markdown, and cells that are inert whatever they contain."""

from __future__ import annotations

from pruner.printable import printable


def heading(*columns: str) -> str:
    """The two lines above the rows.

    A column whose name ends with a colon holds numbers, and is aligned to the right.
    """
    names = row(*(column.removesuffix(":") for column in columns))
    return f"{names}\n|{'|'.join('---:' if column.endswith(':') else '---' for column in columns)}|"


def row(*cells: object) -> str:
    """One row. Cells are Markdown: texts of a cluster go through `code` first."""
    return f"| {' | '.join(map(str, cells))} |"


def code(text: str) -> str:
    """The text as a code span, inert whatever it contains, also in a table; empty for an empty text.

    A pipe ends a cell even in a code span, and a backslash before it is undone by one before that: so it is replaced
    like a backtick.
    """
    clean = printable(text).replace("`", "'").replace("|", "\N{BROKEN BAR}").strip()
    return f"`{clean}`" if clean else ""
