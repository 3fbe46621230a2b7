"""How much of a response is accepted before it is refused, and how slowly it may come.

Each bound is far beyond what a cluster with 500,000 images sends, and small enough that a hostile or broken server
cannot exhaust the memory or the patience of a run.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_LIST_BODY: Final = 256 * MIB
"""Bytes of a page of a list, decompressed.

The largest page that can arise is one of 500 image streams that hold all of 500,000 revisions, of 290 bytes each: 145
MB.
"""

MAX_SMALL_BODY: Final = 4 * MIB
"""Bytes of a response that is no list: a manifest is at most 4 MiB, everything else a few kilobytes."""

MAX_ERROR_BODY: Final = MIB
"""Bytes of a response with a status other than 200, 201 or 202: a Status object or an error page."""

MAX_IN_FLIGHT: Final = 512 * MIB
"""Bytes of all responses of one client together that are being received or decompressed.

About twenty pages are on their way at once, of a few megabytes each; two of the largest fit in.
"""

MAX_RATIO: Final = 250
"""Bytes that each compressed byte may stand for, in a response beyond MAX_UNCHECKED_RATIO.

Lists of images shrink to an eighth, and ten thousand copies of one object to a hundredth; a bomb to a thousandth.
"""

MAX_UNCHECKED_RATIO: Final = 16 * MIB
"""Decompressed bytes up to which any ratio is accepted: a small response may consist of spaces."""

MAX_LINE: Final = 16 * MIB
"""Bytes of one line of a stream: one object, which etcd stores in at most 1.5 MiB, written as JSON."""

MAX_HEADER: Final = 8 * KIB
"""Bytes of the status line and of each header field. API servers and registries send less than 1 KiB."""

MAX_HEADERS: Final = 128
"""Header fields of a response. API servers and registries send about ten, proxies add about as many."""

MIN_PIECES: Final = 4
"""Pieces in which a response must come before it can count as trickling: a long pause alone is a slow server."""

MIN_BYTES: Final = KIB
"""Bytes that must come in `Timeouts.trickle` seconds, once pieces
come. The slowest useful line brings ten times that each second."""


def in_words(size: int) -> str:
    """A bound for a message: `256 MiB`."""
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB" if size >= KIB else f"{size} bytes"
