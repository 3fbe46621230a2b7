"""What is said of an exception that nobody has caught, by the command line and by the provider."""

from __future__ import annotations

import errno
import os
from typing import Final

from pruner.errors import PrunerError
from pruner.printable import printable

VARIABLE: Final = "PRUNER_TRACEBACK"
"""Environment variable that asks for tracebacks."""


def traceback_wanted() -> bool:
    return os.environ.get(VARIABLE, "") not in ("", "0", "false")


def said(error: BaseException) -> str:
    """`one_line`, after the traceback on standard error where that is asked for."""
    if traceback_wanted():
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    return one_line(error)


def one_line(error: BaseException) -> str:
    """What has happened and what to do, without a traceback.

    Of an exception that nobody has foreseen only its type and place are given: what it says may hold a secret.
    """
    if isinstance(error, BaseExceptionGroup):
        # Of workers side by side; they end for the same reason, and the first one began it.
        return one_line(error.exceptions[0])
    if isinstance(error, PrunerError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory; give the process more, or prune a namespace at a time (namespace)"
    if isinstance(error, OSError) and error.strerror:
        return printable(_of_system(error))
    return (
        f"this is a defect of pruner: {type(error).__name__}{_place(error)}; "
        f"run it again with {VARIABLE}=1 for the traceback, and report it"
    )


def _of_system(error: OSError) -> str:
    subject = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    way_out = {
        errno.EMFILE: "; raise the limit of open files (ulimit -n), or set fewer workers",
        errno.ENFILE: "; the machine has too many open files",
        errno.ENOSPC: "; make space on the disk",
    }.get(error.errno or 0, "")
    return f"{subject}{error.strerror}{way_out}"


def _place(error: BaseException) -> str:
    # Most runs need neither.
    import traceback  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    folder = Path(__file__).parent
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)] or frames
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno}"
