"""How messages name images and numbers, and how options that are bytes are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pruner.errors import PrunerError
from pruner.report.rows import ReportedImage
from pruner.report.wording import short

NAMED: Final = 10
"""Images that a message names."""


def name(image: ReportedImage) -> str:
    of_it = " (a revision of it; the image stays)" if image.reason.kept else ""
    return f"{image.name} {short(image.digest)}".strip() + of_it


def names(images: Iterable[ReportedImage]) -> str:
    """The first few of them, and how many more there are."""
    listed = list(images)
    return ", ".join(name(image) for image in listed[:NAMED]) + rest(listed)


def rest(images: list[ReportedImage]) -> str:
    return f" and {len(images) - NAMED} more" if len(images) > NAMED else ""


def number(value: float) -> str:
    """A number as it was configured; the engine hands out floats."""
    return str(int(value)) if value == int(value) else str(value)


_UNITS: Final = {
    unit: factor
    for power, letter in enumerate("KMGTP", start=1)
    for unit, factor in (
        (f"{letter}B", 1000**power),
        (f"{letter}IB", 1024**power),
        (f"{letter}I", 1024**power),
        (letter, 1000**power),
    )
}


def in_bytes(options: Mapping[str, Any], option: str) -> int | None:
    """An option as bytes: a number, or one with a unit, `500MB` or `2GiB`. Raises PrunerError for what is none."""
    value = options.get(option)
    if value is None:
        return None
    text = str(value).strip().upper()
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit)), "")
    try:
        amount = Decimal(text.removesuffix(unit).strip() or "none") * _UNITS.get(unit, 1)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise PrunerError(f"{option}: takes bytes, a number or one like 500MB or 2GiB, not {value!r}")
    return int(amount)
