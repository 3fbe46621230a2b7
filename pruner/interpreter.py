"""How the process runs while a large cluster is read and decided: no cyclic garbage collection, short thread turns.

These are settings of the whole process. Several users may overlap, in any order and in several threads: what was there
before the first one came is restored when the last one leaves.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_SWITCH_INTERVAL: Final = 0.0005
"""Seconds that a thread computes before another one has its turn."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""

_KEPT: Final = 64 * 1024 * 1024
"""Bytes of freed memory that are kept for what comes next: several pages of a list, as they come and decompressed."""


class _Shared(Generic[T]):
    """A setting of the process that is another one while anybody wants it: `change` returns what was there before."""

    def __init__(self, change: Callable[[], T], restore: Callable[[T], None]) -> None:
        self._change = change
        self._restore = restore
        self._lock = threading.Lock()
        self._before: list[T] = []
        self._users = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._before.append(self._change())
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._restore(self._before.pop())


def _stop_collecting() -> bool:
    enabled = gc.isenabled()
    gc.disable()
    return enabled


def _collect_again(enabled: bool) -> None:
    if enabled:
        gc.enable()


def _shorten() -> float:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    return before


no_search_for_cycles: Final = _Shared(_stop_collecting, _collect_again)
"""Inside, cycles are not looked for among very many objects without any. Reference counts free objects as always.

Python looks for them among all objects it tracks each time there are a quarter more; while hundreds of thousands of
values are made that is time spent for nothing.
"""

short_turns: Final = _Shared(_shorten, sys.setswitchinterval)
"""Inside, a thread that has something to do waits ten times shorter for its turn than Python lets it.

A page of a list is decompressed in less time than that, and while it waits nothing is done that the next page could be
decoded from.
"""


def keep_freed_memory() -> None:
    """Have the C library keep what a page of a list took for the next one, from now on and where it is glibc.

    It gives large pieces back to the system as they are freed and gets new ones, of which every 4 KB are made ready by
    the system when they are first written to: of the time that it takes to read a large cluster that is an eighth, and
    all threads wait meanwhile.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _KEPT // 2)
