"""How the interpreter runs while a large cluster is read and decided: without a search for cycles, and with short turns of its threads."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_TURN: Final = 0.0005
"""Seconds that a thread computes before another one has its turn."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""

_KEPT: Final = 64 * 1024 * 1024
"""Bytes of freed memory that are kept for what comes next: several pages of a list, as they come and decompressed."""


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Inside, cycles are not looked for, among very many objects that can have none. What is freed by its count is freed as always.

    Python looks for them among all objects it tracks each time there are a quarter more; while hundreds of thousands of
    values are made that is time spent for nothing.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def short_turns() -> Iterator[None]:
    """Inside, a thread that has something to do waits ten times shorter for its turn than Python lets it.

    A page of a list is decompressed in less time than that, and while it waits nothing is done that the next page could be decoded from.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def keep_freed_memory() -> None:
    """Have the C library keep what a page of a list took for the next one, from now on and where it is glibc.

    It gives large pieces back to the system as they are freed and gets new ones, of which every 4 KB are made ready by the system when they
    are first written to: of the time that it takes to read a large cluster that is an eighth, and all threads wait meanwhile.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _KEPT // 2)
