"""Files: the one place that decides what is replaced, what is written through, and what a failure leaves.

A regular file is replaced in one step, so that whoever is interrupted or finds the disk full leaves what was there
before. Anything else that a path may name (a device, a pipe, `/dev/stdout`, `/dev/fd/3`) is written to, and never
replaced.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pruner.errors import PrunerError

PART: Final = ".pruner-*.part"
"""Pattern of the names of files that are being written. One that is left behind belongs to a run that was killed."""
LINE_LIMIT: Final = 512 * 2**20
"""Bytes of one line of a plan: an image stream with a million revisions takes 300 MB."""
_BLOCK: Final = 1_000_000
"""Bytes that are read at once."""

_OWN_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/(?:self|thread-self|[0-9]+))/fd/([0-9]+)")
_STANDARD: Final = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_LINKS: Final = 40
"""Symbolic links that are followed, as Linux does."""


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file: replace a regular one and keep its mode, make a missing one with its folders, else write through.

    A symbolic link to a device or a pipe is followed, one to a file is refused.
    Raises PrunerError, which names the file, when it cannot be written.
    """
    with _named(path):
        descriptor = _own_descriptor(path)
        if descriptor is not None:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.writelines(chunks)
            return
        existing = _status(path)
        if existing is not None and stat.S_ISDIR(existing.st_mode):
            raise PrunerError(f"{path}: cannot be written: it is a folder; name a file in it")
        if existing is not None and not stat.S_ISREG(existing.st_mode):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb") as file:
                file.writelines(chunks)
            return
        if path.is_symlink():
            # Whoever may create links in a shared folder would otherwise choose the file that is overwritten.
            raise PrunerError(
                f"{path}: cannot be written: it is a symbolic link to {os.path.realpath(path)}; name that file itself"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, chunks, existing)


def replace_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Put a file for its owner only (0600) into its place in one step; a symbolic link is replaced, not followed.

    Raises PrunerError, which names the file, when it cannot be written.
    """
    with _named(path):
        _replace(path, chunks, None, mode=0o600)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """While this file is read. Raises PrunerError, which names the file, where it cannot be."""
    try:
        yield
    except OSError as error:
        raise PrunerError(f"{path}: cannot be read: {error.strerror}") from None


def read_lines(path: str | Path) -> Iterator[bytes]:
    """The lines of a file. Raises OSError, and PrunerError for a line over `LINE_LIMIT`."""
    for block in read_blocks(path):
        yield from lines_of(block)


def read_blocks(path: str | Path) -> Iterator[bytes]:
    """The content of a file in blocks of whole lines. Raises OSError, and PrunerError for a line over `LINE_LIMIT`."""
    with Path(path).open("rb") as file:
        yield from bounded_blocks(file, str(path))


def bounded_blocks(file: BinaryIO, where: str) -> Iterator[bytes]:
    """The content of an open file, in blocks of whole lines. Raises PrunerError for a line over `LINE_LIMIT`."""
    while block := file.read(_BLOCK):
        if not block.endswith(b"\n"):
            block += file.readline(LINE_LIMIT + 1)
        # Only the last line can be longer than what is read at once, which is less than the limit.
        if len(block) - block.rfind(b"\n", 0, -1) - 1 > LINE_LIMIT:
            raise PrunerError(f"{where}: has a line of more than {LINE_LIMIT} bytes, so it is not a plan of pruner")
        yield block


def lines_of(block: bytes) -> list[bytes]:
    """The lines of a block, each with its line break."""
    return io.BytesIO(block).readlines()


def number_of_lines(block: bytes) -> int:
    """How many lines a block has; the last one may lack its line break."""
    return block.count(b"\n") + (block != b"" and not block.endswith(b"\n"))


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, or blocks of them, as blocks of about the size in which a file is read."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= _BLOCK:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def _replace(target: Path, chunks: Iterable[bytes], existing: os.stat_result | None, mode: int = 0o666) -> None:
    # Resources of one program write the same plan side by side, so each has a part of its own.
    part = target.with_name(PART.replace("*", uuid.uuid4().hex))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(part, flags, 0o600 if existing else mode), "wb") as file:
            file.writelines(chunks)
            if existing is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), existing.st_uid, existing.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(existing.st_mode) & 0o777)
        part.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _own_descriptor(path: Path) -> int | None:
    """The descriptor of this process that the path names, also by way of symbolic links; None when it names none."""
    named = os.path.abspath(path)
    for _ in range(_LINKS):
        if named in _STANDARD:
            return _STANDARD[named]
        found = _OWN_DESCRIPTOR.fullmatch(named)
        if found is not None:
            process = named.split("/")[2]
            return None if process.isdigit() and int(process) != os.getpid() else int(found[1])
        try:
            link = os.readlink(named)
        except (OSError, ValueError):
            return None
        named = os.path.normpath(os.path.join(os.path.realpath(os.path.dirname(named)), link))
    return None


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in whatever keeps it from being written."""
    try:
        yield
    except OSError as error:
        raise PrunerError(f"{path}: cannot be written: {error.strerror or error}") from None
    except ValueError as error:
        raise PrunerError(f"{path}: cannot be written: {error}") from None
