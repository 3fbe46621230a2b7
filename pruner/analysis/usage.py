"""Who uses what: from the references of all objects to the tags and digests that they protect.

`find_usage` is given a snapshot and the rules and gives a `Usage`. A reference that cannot be understood is an error, all of
them listed together, since what it uses would go unprotected (R9); with `ignore_invalid_refs` each is a warning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from pruner.analysis.pullspec import InvalidPullSpecError, is_digest, is_registered_digest, parse_pull_spec
from pruner.analysis.references import Reference, references_of, references_of_stream, resolves_names
from pruner.cluster.objects import BEGINNING, ImageStream, Referrer, Snapshot, moment
from pruner.errors import InvalidReferencesError
from pruner.settings import DEFAULT_KEEP_YOUNGER_THAN, Rules

_CACHED: Final = 2048
"""Pull specs and image IDs whose meaning is remembered. Equal ones stand close together: objects are listed by namespace."""

Users = tuple[str, ...]
"""Names of objects, `Kind namespace/name`, sorted."""


class Usage(msgspec.Struct, frozen=True):
    """What is in use, and by whom.

    `tags` by (`namespace/name`, tag); `digests` by (`namespace/name`, digest); `anywhere` by digest, whichever repository was
    named (R12): it protects only with `references: extended`, and is empty otherwise.
    """

    tags: dict[tuple[str, str], Users] = {}
    digests: dict[tuple[str, str], Users] = {}
    anywhere: dict[str, Users] = {}
    warnings: tuple[str, ...] = ()


def age_limit(as_of: datetime, keep_younger_than: timedelta) -> datetime:
    """What was created after it is young. An age that goes back before all time keeps everything."""
    try:
        return as_of - keep_younger_than
    except OverflowError:
        return BEGINNING


def find_usage(snapshot: Snapshot, rules: Rules, local_streams: frozenset[str] | None = None) -> Usage:
    """Every use in the snapshot. Raises InvalidReferencesError (R9) unless `ignore_invalid_refs`.

    `local_streams` replaces those that the snapshot's own image streams say bare names may refer to (R10).
    """
    return _Collector(snapshot, rules, local_lookups(snapshot) if local_streams is None else local_streams).collect()


def current_uses(stream: ImageStream, usage: Usage) -> Iterator[tuple[str, Users]]:
    """The digests that are current in used tags of a stream, each with who uses the tag."""
    name = stream.name
    for history in stream.histories:
        users = usage.tags.get((name, history.tag))
        if users and history.items:
            yield history.items[0].image, users


def local_lookups(snapshot: Snapshot) -> frozenset[str]:
    """The image streams, `namespace/name`, that bare names of their namespace refer to."""
    return frozenset(
        stream.name
        for stream in snapshot.streams
        if stream.spec and stream.spec.lookup_policy and stream.spec.lookup_policy.local
    )


class _Collector:
    """Gathers users by what they use; one pass over the referrers."""

    def __init__(self, snapshot: Snapshot, rules: Rules, local_streams: frozenset[str]) -> None:
        self.snapshot = snapshot
        self.rules = rules
        self.extended = rules.references == "extended"
        # Lists, in which a user may stand twice: most have one member, for which a set takes more than twice the room.
        self.tags: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.digests: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.anywhere: defaultdict[str, list[str]] = defaultdict(list)
        self.invalid: set[str] = set()
        self.local_streams = local_streams

    def collect(self) -> Usage:
        limit = self._pod_age_limit()
        for referrer in self.snapshot.referrers:
            if referrer.kind == "Pod" and not counts(referrer, limit):
                continue
            meta = referrer.workload.metadata
            user = f"{referrer.kind} {meta.namespace}/{meta.name}"
            self._add(user, references_of(referrer, extended=self.extended), referrer)
        if self.extended:
            for stream in self.snapshot.streams:
                self._add(f"ImageStream {stream.name}", references_of_stream(stream))
        if self.invalid and not self.rules.ignore_invalid_refs:
            raise InvalidReferencesError(sorted(self.invalid))
        return Usage(
            tags={key: tuple(sorted(set(users))) for key, users in self.tags.items()},
            digests={key: tuple(sorted(set(users))) for key, users in self.digests.items()},
            anywhere={key: tuple(sorted(set(users))) for key, users in self.anywhere.items()},
            warnings=tuple(f"ignored: {reference}" for reference in sorted(self.invalid)),
        )

    def _pod_age_limit(self) -> datetime:
        age = self.rules.keep_younger_than
        if age is None:
            # prune_over_size_limit alone: oc then has no age limit for pods; the extended rules keep to the default.
            age = timedelta(minutes=DEFAULT_KEEP_YOUNGER_THAN if self.extended else 0)
        return age_limit(self.snapshot.as_of, age)

    def _add(self, user: str, references: Iterable[Reference], referrer: Referrer | None = None) -> None:
        for reference in references:
            try:
                self._add_one(user, reference, referrer)
            except InvalidPullSpecError as error:
                self.invalid.add(f"{user}, {reference.where}: {reference.text!r}: {error}")

    def _add_one(self, user: str, reference: Reference, referrer: Referrer | None) -> None:
        match reference.form:
            case "pull spec" | "DockerImage":
                self._add_target(user, _target(reference.text), reference.namespace, referrer)
            case "image id":
                target = _target_of_image_id(reference.text)
                if target.digest:
                    self._add_digest(user, target.stream, target.digest)
            case "ImageStreamTag":
                name, colon, tag = reference.text.partition(":")
                if not name or not colon or not tag or ":" in tag or "/" in reference.text or "@" in reference.text:
                    raise InvalidPullSpecError("an ImageStreamTag is written name:tag")
                self.tags[f"{reference.namespace}/{name}", tag].append(user)
            case "ImageStreamImage":
                name, _, digest = reference.text.partition("@")
                if not name or "/" in name or ":" in name or not is_digest(digest):
                    raise InvalidPullSpecError("an ImageStreamImage is written name@digest")
                self._add_digest(user, f"{reference.namespace}/{name}", digest)
            case "unknown":
                raise InvalidPullSpecError("neither DockerImage nor ImageStreamTag nor ImageStreamImage")

    def _add_target(self, user: str, target: _Target, namespace: str, referrer: Referrer | None) -> None:
        stream = target.stream
        if stream is None and target.bare and self.extended:
            own = f"{namespace}/{target.bare}"
            if own in self.local_streams or (referrer is not None and resolves_names(referrer)):
                stream = own
        if target.digest:
            self._add_digest(user, stream, target.digest)
        elif stream is not None:
            self.tags[stream, target.tag or "latest"].append(user)

    def _add_digest(self, user: str, stream: str | None, digest: str) -> None:
        if stream is not None:
            self.digests[stream, digest].append(user)
        if self.extended:
            self.anywhere[digest].append(user)


class _Target(msgspec.Struct, frozen=True):
    """What a pull spec or an image ID refers to: an image stream's tag or digest, a bare name, or a digest in whatever repository."""

    stream: str | None
    bare: str | None
    tag: str | None
    digest: str | None


@lru_cache(maxsize=_CACHED)
def _target(text: str) -> _Target:
    """What a pull spec refers to: its digest, or else its tag (R7). Raises InvalidPullSpecError."""
    if is_registered_digest(text):
        # An image ID instead of a name, which container runtimes take as well: it reads as a pull spec `sha256` with a tag.
        return _Target(None, None, None, text)
    spec = parse_pull_spec(text)
    return _Target(spec.stream, spec.bare, spec.tag, spec.digest)


@lru_cache(maxsize=_CACHED)
def _target_of_image_id(text: str) -> _Target:
    """R11: `[scheme://]pull spec`, a digest alone, or 64 digits that are a sha256. Raises InvalidPullSpecError."""
    image_id = text.rpartition("://")[2]
    digest = image_id if ":" in image_id else f"sha256:{image_id}"
    if is_digest(digest):
        return _Target(None, None, None, digest)
    return _target(image_id)


def counts(pod: Referrer, limit: datetime) -> bool:
    """Whether a pod's references count: it runs, is about to, or is not older than the age limit (R5)."""
    status = pod.workload.status
    if status is not None and status.phase in ("Running", "Pending"):
        return True
    return moment(pod.workload.metadata.creation_timestamp) >= limit
