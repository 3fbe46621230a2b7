"""Files that are either whole or not there: reports, kept plans, and what a fleet notes of its runs.

Whoever is interrupted, or finds the disk full, leaves what was there before.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable
from pathlib import Path

from pruner.errors import PrunerError


def write_whole(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file, and the folders that it is in, with the permissions that the process's umask leaves.

    Raises PrunerError, which names the file, where that cannot be done.
    """
    # Resources of one program write the same kept plan side by side.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                file.writelines(lines)
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PrunerError(f"{path}: cannot be written: {error.strerror}") from None
