"""
The record of every request, so that a test can say what was asked of the cluster and in which order, and not only what
became of it. Credentials are not in it: neither headers nor bodies are kept.
"""

import msgspec


class Entry(msgspec.Struct):
    """A request; `status` is None while there is no answer, or when there never was one. `user` is empty if unknown."""

    number: int
    server: str
    method: str
    path: str
    user: str = ""
    status: int | None = None


class Journal:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._number = 0

    def begin(self, server: str, method: str, path: str) -> Entry:
        self._number += 1
        entry = Entry(self._number, server, method, path)
        self.entries.append(entry)
        return entry

    def clear(self) -> None:
        self.entries.clear()
