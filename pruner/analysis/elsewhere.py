"""What the references of another cluster name here (R38).

Here the host of a pull spec counts: only what names this registry, directly or through a mirror set of that cluster,
refers to image streams. Names of image streams are the other cluster's own. Digests count wherever they are named
(R12).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final, TypeVar

from pruner.analysis.pullspec import InvalidPullSpecError, is_digest, parse_pull_spec, split_transport
from pruner.analysis.references import Form, Reference
from pruner.analysis.targets import Target, UselessReferenceError, target_of, target_of_image_id, target_of_tag
from pruner.cluster.objects import ImageStreamStatus, Mirror, OtherCluster, Snapshot

T = TypeVar("T")

_CACHED: Final = 16384
"""Texts of a cluster whose meaning is remembered: some 6 MB at most."""
_HOSTS: Final = 256
"""Hosts whose form is remembered: a cluster names a few, again and again."""
_DEFAULT_PORTS: Final = (":443", ":80")


def hosts_of(snapshot: Snapshot, further: Iterable[str]) -> frozenset[str]:
    """The hosts by which a cluster's registry is known: as its image streams say, and `further` ones."""
    hosts = set(map(_host, further))
    for stream in snapshot.streams:
        status = stream.status or ImageStreamStatus()
        for repository in (status.docker_image_repository, status.public_docker_image_repository):
            if "/" in repository:
                hosts.add(_host(repository.partition("/")[0]))
    return frozenset(hosts - {""})


@lru_cache(maxsize=_HOSTS)
def _host(text: str) -> str:
    """A host, `host[:port]`, in the form in which hosts are compared."""
    host = text.rpartition("://")[2].lower()
    return next((host.removesuffix(port) for port in _DEFAULT_PORTS if host.endswith(port)), host)


class NamedHere:
    """What the references of one other cluster name in this one."""

    def __init__(self, other: OtherCluster) -> None:
        self._hosts = other.hosts
        self._mirrors = [mirror for mirror in other.mirrors if _host(mirror.mirror.partition("/")[0]) in other.hosts]

    def once(self, make: Callable[[list[Target]], T]) -> Callable[[Reference], T]:
        """Give for a reference what is made of its targets; for equal texts, which are many, that is made once."""

        @lru_cache(maxsize=_CACHED)
        def known(form: Form, text: str, pulled: bool) -> T:
            return make(self.targets(Reference(form, text, "", "", pulled=pulled)))

        return lambda reference: known(reference.form, reference.text, reference.pulled)

    def targets(self, reference: Reference) -> list[Target]:
        """What a reference names here; nothing where it names something of the other cluster's own, or of elsewhere.

        Raises InvalidPullSpecError.
        """
        match reference.form:
            case "pull spec" | "DockerImage":
                return self._of_pull_spec(reference.text)
            case "image id":
                return self._of_image_id(reference.text)
            case "ImageStreamTag" | "image stream":
                target_of_tag(reference)
                return []
            case "ImageStreamImage":
                digest = reference.text.partition("@")[2]
                return [_anywhere(digest)] if is_digest(digest) else []
            case "value":
                try:
                    return self._of_pull_spec(reference.text)
                except InvalidPullSpecError:
                    return []
            case "unknown":
                raise UselessReferenceError("neither DockerImage nor ImageStreamTag nor ImageStreamImage")

    def _of_image_id(self, text: str) -> list[Target]:
        """R11: the digest, and the image stream that the pull spec before it names here."""
        digest = target_of_image_id(text).digest
        _, image_id = split_transport(text.rpartition("://")[2])
        if digest and "/" in image_id:
            return self._of_pull_spec(image_id)
        return [_anywhere(digest)] if digest else []

    def _of_pull_spec(self, text: str) -> list[Target]:
        if "/" not in split_transport(text)[1]:
            digest = target_of(text).digest
            return [_anywhere(digest)] if digest else []
        spec = parse_pull_spec(text)
        found = [Target(stream, None, spec.tag, spec.digest) for stream in self._streams(spec.host, spec.path)]
        return found or ([_anywhere(spec.digest)] if spec.digest else [])

    def _streams(self, host: str, path: str) -> Iterator[str]:
        """The image streams, `namespace/name`, that a host and a path name here."""
        if not host:
            return
        paths = [path] if _host(host) in self._hosts else []
        paths += [mirrored for mirror in self._mirrors if (mirrored := _mirrored(mirror, host, path)) is not None]
        yield from dict.fromkeys(path for path in paths if path.count("/") == 1)


def _anywhere(digest: str) -> Target:
    return Target(None, None, None, digest)


def _mirrored(mirror: Mirror, host: str, path: str) -> str | None:
    """The path in the mirror of what stands at a path of a host; None where the mirror is not for it."""
    source_host, _, source_path = mirror.source.strip("/").partition("/")
    own = mirror.mirror.strip("/").partition("/")[2]
    if source_host.startswith("*."):
        if not host.lower().endswith(source_host[1:].lower()):
            return None
    elif _host(source_host) != _host(host):
        return None
    if not source_path:
        rest = path
    elif path == source_path:
        rest = ""
    elif path.startswith(f"{source_path}/"):
        rest = path.removeprefix(f"{source_path}/")
    else:
        return None
    return "/".join(filter(None, (own, rest)))
