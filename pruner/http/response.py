"""A complete response, and what its headers say."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from multidict import CIMultiDictProxy

from pruner.printable import printable

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a body that is not the expected JSON:
malformed, of other types, not UTF-8, or nested without end."""

_LONGEST_REASON: Final = 200
"""Characters of what a decoder says: it may quote the whole of what a server sent."""


def reason_of(error: Exception) -> str:
    """What a decoder says about a body that it could not read (`UNDECODABLE`), as a short line."""
    return printable(str(error), _LONGEST_REASON)


class Response(msgspec.Struct, frozen=True):
    """A complete response to a request."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes | bytearray

    def json(self) -> Any:
        """The body, decoded. Raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)

    @property
    def media_type(self) -> str:
        """The type of the body without parameters, in lower case: `application/json`."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def date(self) -> datetime | None:
        """The server's clock (UTC) by the `Date` header; None where that is missing or not a date."""
        try:
            return email.utils.parsedate_to_datetime(self.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError, OverflowError):
            return None

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait; None where it does not say so in seconds."""
        value = self.headers.get("Retry-After", "")
        return float(value) if value.isdecimal() else None

    def describe(self) -> str:
        """What a response that is not the expected JSON seems to be, for a message."""
        if b"HTTP request to an HTTPS server" in self.body:
            return f"status {self.status}, it speaks https: write https:// before the address"
        return f"status {self.status}, {self.media_type or 'no content type'}, {len(self.body)} bytes"
