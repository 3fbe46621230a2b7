"""The collector of cycles, held back where very many objects are made that can have none.

Python looks for cycles among all objects it tracks each time there are a quarter more of them; while a large cluster is read and decided
that is time spent on objects that are values, freed by their counts alone.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Inside, cycles are not looked for. What is freed by its count is freed as always."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
