"""Lets one resource of a program at a time prune a cluster; the engine runs those that each prune a part together.

The run lock in the cluster refuses a second run, as it should where another program has it. Runs of one program do not
have to be refused: they wait for each other here.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pruner.errors import UnsafePlanError

_LOOK: Final = 0.5
"""Seconds between two looks at the wish to stop."""

_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def process_lock(cluster: str, *, progress: Callable[[str], None], wish_to_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold the one lock that this process has for a cluster.

    Raises UnsafePlanError when the wish to stop comes first.
    """
    lock = _locks[cluster]
    while not lock.acquire(timeout=_LOOK):
        if wish_to_stop():
            raise UnsafePlanError("interrupted while another resource of this program was at work; run up again")
        progress("waiting for another resource of this program, which is at work on the same cluster")
    try:
        yield
    finally:
        lock.release()
