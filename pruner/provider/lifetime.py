"""The end of the provider's process when its engine is gone.

An engine that is killed leaves the processes of its providers behind. Nobody waits for their answer then, and nobody
would see what they do, so they end by themselves: a run is asked to stop, as at Ctrl-C, and the process ends a few
seconds later in any case.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Final

_BETWEEN: Final = 1.0
"""Seconds between two looks."""
_REFUSED: Final = 2
"""Refused connections in a row after which the engine is gone."""
_GRACE: Final = 5.0
"""Seconds that requests under way get to end."""

_watched: Final[set[str]] = set()
_lock: Final = threading.Lock()


def end_with_engine(address: str, stop: threading.Event) -> None:
    """Watch the engine at this address from now on; sets `stop`
    and ends the process when nobody listens there any more.
    """
    with _lock:
        if address in _watched:
            return
        _watched.add(address)
    threading.Thread(target=_watch, args=(address, stop), name="end with engine", daemon=True).start()


def _watch(address: str, stop: threading.Event) -> None:
    refused = 0
    while refused < _REFUSED:
        time.sleep(_BETWEEN)
        refused = refused + 1 if _is_gone(address) else 0
    stop.set()
    time.sleep(_GRACE)
    # The interpreter would wait for the threads of calls that have no end.
    os._exit(1)


def _is_gone(address: str) -> bool:
    """Whether nobody listens there. An engine that is merely slow still accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_BETWEEN):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
