"""What was reviewed: a file of digests beside the review page, which up holds the plans against.

A plan's fingerprint covers what would be deleted. The digest here covers every byte of the plan's file: also reasons,
sizes and ages, which whoever approves has read. It is not a signature: whoever can write the file can approve
(docs/approval.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from pruner.errors import UnsafePlanError
from pruner.files import write_file
from pruner.plan import UNREADABLE

NAME: Final = "approval.json"
VERSION: Final = 1


class Reviewed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan of one cluster: `digest` is that of its whole file, `fingerprint` that of what it would delete."""

    digest: str
    fingerprint: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    plans: dict[str, Reviewed]


def digest_of(file: Path) -> str:
    """`sha256:...` of all bytes of a file, as `sha256sum` prints it. Raises OSError."""
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def write_approval(path: Path, plans: Mapping[str, Reviewed]) -> None:
    """Write what stands on the review page. Raises PrunerError when it cannot be written."""
    content = msgspec.json.encode(_File(VERSION, dict(sorted(plans.items()))))
    write_file(path, (msgspec.json.format(content, indent=2), b"\n"))


def read_approval(path: Path) -> Mapping[str, Reviewed]:
    """What was reviewed, by cluster. Raises UnsafePlanError for a file that is absent or is none."""
    way_out = "it says which plans were reviewed; take the one that preview has written beside the review page"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, *UNREADABLE) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnsafePlanError(f"{path}: cannot be read: {reason}; {way_out}") from None
    if found.version != VERSION:
        raise UnsafePlanError(
            f"{path}: is of version {found.version}, this pruner reads version {VERSION}; preview again"
        )
    return found.plans
