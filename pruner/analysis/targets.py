"""What a reference names: an image stream's tag or digest, or a digest in any repository (R7, R10, R11)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from pruner.analysis.pullspec import (
    InvalidPullSpecError,
    is_digest,
    is_registered_digest,
    parse_pull_spec,
    split_transport,
)
from pruner.analysis.references import Reference

_CACHED: Final = 2048
"""Pull specs and image IDs whose meaning is remembered. Equal
ones stand close together: objects are listed by namespace."""


class UselessReferenceError(InvalidPullSpecError):
    """The reference names nothing that OpenShift or a builder could find, whatever the cluster has."""


class Target(msgspec.Struct, frozen=True):
    """What a pull spec or an image ID refers to: an image stream's
    tag or digest, a bare name, or a digest in whatever repository.
    """

    stream: str | None
    bare: str | None
    tag: str | None
    digest: str | None


@lru_cache(maxsize=_CACHED)
def target_of(text: str) -> Target:
    """What a pull spec refers to: its digest, or else its tag (R7). Raises InvalidPullSpecError."""
    transport, bare = split_transport(text)
    if is_registered_digest(bare):
        # An image ID instead of a name, which container runtimes take as well: it reads as a pull spec `sha256` with a
        # tag.
        return Target(None, None, None, bare)
    if transport and is_digest(f"sha256:{bare}"):
        return Target(None, None, None, f"sha256:{bare}")
    spec = parse_pull_spec(text)
    return Target(spec.stream, spec.bare, spec.tag, spec.digest)


@lru_cache(maxsize=_CACHED)
def target_of_image_id(text: str) -> Target:
    """R11: `[scheme://]pull spec`, a digest alone, or 64 digits that are a sha256. Raises InvalidPullSpecError."""
    _, image_id = split_transport(text.rpartition("://")[2])
    digest = image_id if ":" in image_id else f"sha256:{image_id}"
    if is_digest(digest):
        return Target(None, None, None, digest)
    return target_of(image_id)


def target_of_tag(reference: Reference) -> Target:
    """Of an ImageStreamTag. Raises InvalidPullSpecError."""
    name, colon, tag = reference.text.strip().partition(":")
    if not tag and (reference.form == "image stream" or (colon and not reference.pulled)):
        # So do OpenShift's triggers read a name with a colon and no tag; its builders do not.
        tag = "latest"
    if not name or not tag or ":" in tag or "@" in reference.text:
        raise InvalidPullSpecError("an ImageStreamTag is written name:tag")
    if "/" in reference.text:
        raise UselessReferenceError("no image stream has such a name; an ImageStreamTag is written name:tag")
    return Target(f"{reference.namespace}/{name}", None, tag, None)


def targets_of_value(text: str) -> list[Target]:
    """Of a value that may be anything. What names no image stream and no digest uses nothing."""
    try:
        target = target_of(text)
    except InvalidPullSpecError:
        return []
    return [target] if target.stream is not None or target.digest is not None else []
