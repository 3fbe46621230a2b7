"""Decompression of complete gzip bodies, within bounds that the sender cannot talk its way around."""

from __future__ import annotations

import zlib
from typing import Final

import deflate

from pruner.http.bounds import MAX_LIST_BODY, MAX_RATIO, MAX_UNCHECKED_RATIO, in_words
from pruner.http.failures import UnacceptableResponseError

_GZIP: Final = 31
"""zlib's window and format."""

_DENSEST: Final = 1032
"""Bytes that one byte of the deflate format can stand for at most."""

_SIZE: Final = 4
"""Bytes at the end of a gzip body that give the size of the text, modulo 2 to the power of 32."""


class CorruptGzipError(Exception):
    """Data that is not exactly one complete gzip member."""


def claimed_size(raw: bytes) -> int:
    """The size of the text that a gzip body claims to hold, by its trailer."""
    return int.from_bytes(raw[-_SIZE:], "little")


def gunzip(raw: bytes, max_size: int = MAX_LIST_BODY) -> bytearray:
    """Decompress, into a buffer of exactly the size that the body claims.

    Raises CorruptGzipError for data that is damaged, truncated, larger than it claims or followed by something else,
    and UnacceptableResponseError for a claim beyond `max_size` bytes or MAX_RATIO, before anything is decompressed.
    """
    size = claimed_size(raw)
    if size > len(raw) * _DENSEST:
        raise CorruptGzipError("the compressed response is damaged")
    if size > max_size:
        raise UnacceptableResponseError(
            f"the response is larger than {in_words(max_size)} when decompressed, the most that is accepted; "
            "check the address and what stands in between"
        )
    if size > MAX_UNCHECKED_RATIO and size > len(raw) * MAX_RATIO:
        raise UnacceptableResponseError(
            f"the response is compressed more than {MAX_RATIO} times, the most that is accepted beyond "
            f"{in_words(MAX_UNCHECKED_RATIO)}; check the address and what stands in between"
        )
    try:
        # With a buffer that is large enough it runs without a stop, and other threads go on meanwhile. It never writes
        # beyond it.
        text = deflate.gzip_decompress(raw, max(size, 1))
    except deflate.DeflateError as error:
        raise CorruptGzipError(f"the compressed response is damaged or truncated: {error}") from None
    if len(text) != size:
        raise CorruptGzipError("the compressed response is followed by something else")
    return text


class Prefix:
    """The beginning of a body of which the rest is still on its
    way, decompressed where that is needed; at most `size` bytes.
    """

    def __init__(self, *, compressed: bool, size: int) -> None:
        self._decompressor = zlib.decompressobj(wbits=_GZIP) if compressed else None
        self._size = size
        self._text = bytearray()

    def add(self, chunk: bytes) -> bytes:
        """The beginning as far as it is known after this chunk.

        Damaged data adds nothing: that is found when the body is complete.
        """
        missing = self._size - len(self._text)
        if self._decompressor is None:
            self._text += chunk[:missing]
        elif missing:
            try:
                self._text += self._decompressor.decompress(chunk, missing)
            except zlib.error:
                self._size = len(self._text)
        return bytes(self._text)

    @property
    def complete(self) -> bool:
        """Whether nothing more will be added."""
        return len(self._text) >= self._size
