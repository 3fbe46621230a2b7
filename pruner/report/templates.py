"""The templates of pages, and the parts that a page holds itself: none of them loads anything."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pruner.printable import printable
from pruner.report import wording

_FOLDER: Final = Path(__file__).parent / "page"


def environment() -> Environment:
    """The templates, which escape whatever is put into them."""
    found = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        size=wording.size, clean=printable, time=wording.time, number=_number, removed_from=wording.removed_from
    )
    return found


def part(name: str) -> str:
    """A file of the pages."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def source(content: str) -> str:
    """What a Content-Security-Policy calls this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _number(number: int) -> str:
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
