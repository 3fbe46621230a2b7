"""Pull specs: `[transport://][host[:port]/][namespace/]name[:tag][@digest]`, parsed once, at the edge, into a value.

The grammar of names and tags is docker-image-py's. Three things are decided here. The first component: Docker takes it
for a host when it contains a dot or a colon, is `localhost` or has capitals, while the library's raw parser takes any
first component; Docker's rule applies, as it does in `oc`, and so a host may contain an underscore. The digest: the
library knows three algorithms, OCI registers more and allows others. And the length: a pull spec is somebody's text,
and the library's time grows with its square.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

import msgspec
from docker_image.digest import InvalidDigest
from docker_image.reference import InvalidReference, Reference

_CACHED = 16384
"""Names that are remembered, which every kind's objects go through again: some 6 MB at most."""

_HEXADECIMAL = {"sha256": 64, "sha384": 96, "sha512": 128, "blake3": 64}
"""Algorithms whose encoding is fixed: lower case hexadecimal digits, so many of them."""
_DIGEST = re.compile(
    "|".join(f"{algorithm}:[0-9a-f]{{{digits}}}" for algorithm, digits in _HEXADECIMAL.items())
    + rf"|(?!(?:{'|'.join(_HEXADECIMAL)}):)[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+"
)

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")

_TRANSPORTS: Final = ("docker", "docker-pullable", "oci", "containerd", "cri-o")
"""Schemes that say how an image is fetched, or which runtime speaks of it; a pull spec or an image ID follows."""
_TRANSPORT = re.compile(rf"(?:{'|'.join(_TRANSPORTS)})://", re.IGNORECASE)

_LONGEST: Final = 4096
"""Characters of the longest pull spec: 255 of a name, 128 of a tag and the longest digests leave room for any host."""
_SHOWN: Final = 150
"""Characters of a digest that a message shows: a sha512 has 135."""
_LONGEST_NAMED: Final = 255 + 1 + 128
"""Characters of the longest name with a tag."""


class InvalidPullSpecError(ValueError):
    """The text is no pull spec; the message says why."""


class PullSpec(msgspec.Struct, frozen=True):
    """A parsed pull spec. `path` is everything between host and tag; `host` is empty where there is none."""

    host: str
    path: str
    tag: str | None
    digest: str | None

    @property
    def stream(self) -> str | None:
        """`namespace/name` of the image stream that it refers to; None when to none (R6)."""
        return self.path if self.host and self.path.count("/") == 1 else None

    @property
    def bare(self) -> str | None:
        """The name alone, when there is neither host nor namespace:
        possibly a stream of the object's own namespace (R10).
        """
        return self.path if not self.host and "/" not in self.path else None


def only_digests(texts: Iterable[str]) -> Iterator[str]:
    """Those of the texts that are digests by OCI's grammar."""
    return filter(_DIGEST.fullmatch, texts)


def is_digest(text: str) -> bool:
    """Whether this is a digest by OCI's grammar, of a registered algorithm or of another one."""
    return _DIGEST.fullmatch(text) is not None


def is_registered_digest(text: str) -> bool:
    """Whether this is a digest of an algorithm that is known, and so no name with a tag."""
    return text.partition(":")[0] in _HEXADECIMAL and is_digest(text)


def split_transport(text: str) -> tuple[str, str]:
    """The transport of a pull spec, `docker://` for instance, or nothing, and what follows it, without blanks around.

    Raises InvalidPullSpecError for a text that is too long for a pull spec.
    """
    if len(text) > _LONGEST:
        raise InvalidPullSpecError(f"longer than {_LONGEST} characters")
    stripped = text.strip()
    found = _TRANSPORT.match(stripped)
    return (found[0], stripped[found.end() :]) if found else ("", stripped)


def can_name_image(text: str) -> bool:
    """Whether an Image can have this name: the API server lets any text be one that is a segment of a path."""
    return text not in ("", ".", "..") and "/" not in text and "%" not in text


def parse_pull_spec(text: str) -> PullSpec:
    """Parse. Raises InvalidPullSpecError."""
    _, spec = split_transport(text)
    named, at, digest = spec.partition("@")
    if at and not is_digest(digest):
        raise InvalidPullSpecError(f"{digest[:_SHOWN]!r} is not a digest")
    host, path, tag = _parse_tagged(named)
    return PullSpec(host, path, tag, digest or None)


def _parse_tagged(named: str) -> tuple[str, str, str | None]:
    """Host, path and tag of what stands before the digest.

    An image stream's tags have its name in common, so that is parsed apart from them, once for all. A text that cannot
    be taken apart so is left to the library, with its tag, to say what is wrong.
    """
    name, colon, tag = named.rpartition(":")
    if colon and _TAG.fullmatch(tag):
        try:
            host, path, inner = _parse_name(name)
        except InvalidPullSpecError:
            inner = name
        if inner is None:
            return host, path, tag
    return _parse_name(named)


@lru_cache(maxsize=_CACHED)
def _parse_name(named: str) -> tuple[str, str, str | None]:
    """Host, path and tag of a pull spec without a digest."""
    first, slash, rest = named.partition("/")
    host = first if slash and _is_host(first) else ""
    if len(rest if host else named) > _LONGEST_NAMED:
        raise InvalidPullSpecError("repository name must not be more than 255 characters")
    # `oc` and Docker take a host with an underscore, which the library does not.
    known = named.replace(host, host.replace("_", "-"), 1) if "_" in host else named
    try:
        # The end of the library's pattern lets a line break pass.
        if known != known.strip():
            raise InvalidReference("invalid reference format")
        parsed = Reference.parse(known)
    except (InvalidReference, InvalidDigest) as error:
        raise InvalidPullSpecError(str(error)) from None
    name = str(parsed["name"])
    if host:
        return host, name.partition("/")[2], parsed.get("tag")
    return "", name, parsed.get("tag")


def _is_host(component: str) -> bool:
    """Whether the first component of a name is a host, by Docker's rule."""
    return component == "localhost" or "." in component or ":" in component or component != component.lower()
