"""What commands read: files of other commands, named on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pruner.errors import PrunerError


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """While this file is read. Raises PrunerError, with the file's name, where it cannot be."""
    try:
        yield
    except OSError as error:
        raise PrunerError(f"{file}: cannot be read: {error.strerror}") from None
