"""Compressed answers: whole ones are read, and what is damaged or cut off is never taken for a whole one."""

from __future__ import annotations

import gzip

import pytest

from pruner.http.decompression import CorruptGzipError, gunzip

TEXT = b'{"items": [1, 2, 3]}' * 10_000
WHOLE = gzip.compress(TEXT, mtime=0)


def test_what_is_compressed_is_read() -> None:
    assert gunzip(WHOLE) == TEXT


@pytest.mark.parametrize("left", [0, 9, 40, len(WHOLE) // 2, len(WHOLE) - 9, len(WHOLE) - 1])
def test_what_is_cut_off_is_refused(left: int) -> None:
    with pytest.raises(CorruptGzipError):
        gunzip(WHOLE[:left])


@pytest.mark.parametrize("at", [0, 1, len(WHOLE) - 1, len(WHOLE) - 5, len(WHOLE) - 8])
def test_what_is_damaged_is_refused(at: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= 0xFF
    with pytest.raises(CorruptGzipError):
        gunzip(bytes(damaged))


@pytest.mark.parametrize("more", [b"\0", gzip.compress(b"", mtime=0), gzip.compress(b"x", mtime=0)])
def test_what_is_followed_by_something_is_refused(more: bytes) -> None:
    with pytest.raises(CorruptGzipError):
        gunzip(WHOLE + more)


def test_no_more_memory_is_taken_than_the_text_can_fill() -> None:
    """The size that stands at its end is whatever the sender has written there."""
    with pytest.raises(CorruptGzipError, match="damaged"):
        gunzip(WHOLE[:-4] + b"\xff" * 4)
