"""Tables and numbers of docs/bench.md."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

MIB: Final = 1024 * 1024

Json = dict[str, Any]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """The slope of the straight line through the points, both axes logarithmic: 1 is linear."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    slope: float = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    return slope


def mib(found: Json) -> str:
    return f"{found['memory'] / MIB:.0f}"
