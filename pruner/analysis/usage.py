"""Who uses what: from the references of all objects to the tags and digests that they protect.

`find_usage` is given a snapshot and the rules and gives a `Usage`. A reference that cannot be understood is an error,
all of them listed together, since what it uses would go unprotected (R9); with `ignore_invalid_refs` each is a warning.
References that OpenShift itself ignores are warnings in any case: what a tenant writes must not keep a cluster from
being pruned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, TypeVar

import msgspec

from pruner.analysis.elsewhere import NamedHere
from pruner.analysis.pullspec import InvalidPullSpecError, is_digest
from pruner.analysis.references import Reference, output_of, references_of, references_of_stream, resolves_names
from pruner.analysis.targets import (
    Target,
    UselessReferenceError,
    target_of,
    target_of_image_id,
    target_of_tag,
    targets_of_value,
)
from pruner.cluster.metadata import BEGINNING, moment
from pruner.cluster.objects import ImageStream, OtherCluster, Snapshot
from pruner.cluster.workloads import Referrer
from pruner.errors import InvalidReferencesError
from pruner.reasons import in_cluster
from pruner.settings import DEFAULT_KEEP_YOUNGER_THAN, AnalysisSettings

_NOTED: Final = 100
"""References that are quoted in warnings; tenants decide how many there are."""

_QUOTED: Final = 200
"""Characters of a text that a message quotes: a pull spec fits, a page of JSON does not."""

Users = tuple[str, ...]
"""Names of objects, `Kind namespace/name`, sorted."""

UsersOf = Callable[[Reference], list[list[str]]]
"""Where the users of what a reference names are noted."""


class TagSource(msgspec.Struct, frozen=True):
    """What a tag of an image stream comes from by `spec.tags[].from` (R10), in the forms of `Usage`.

    Where `exists` says that the cluster has it the tag itself is in use too, and `own_digests` are in its image stream.
    """

    stream: str
    tag: str
    tags: tuple[tuple[str, str], ...] = ()
    digests: tuple[tuple[str | None, str], ...] = ()
    own_digests: tuple[str, ...] = ()
    exists: bool = False

    @property
    def user(self) -> str:
        return f"ImageStream {self.stream}"


class Usage(msgspec.Struct, frozen=True):
    """What is in use, and by whom.

    `tags` by (`namespace/name`, tag); `digests` by (`namespace/name`, digest); `anywhere` by digest, whichever
    repository was named (R12): it protects only with `references: extended`, and is empty otherwise. `outputs` are the
    image streams that builds push to, which keep a stream and none of its revisions (R34). `sources` are those that
    were asked for apart, and are in none of the others.
    """

    tags: dict[tuple[str, str], Users] = {}
    digests: dict[tuple[str, str], Users] = {}
    anywhere: dict[str, Users] = {}
    warnings: tuple[str, ...] = ()
    outputs: dict[str, Users] = {}
    sources: tuple[TagSource, ...] = ()

    def with_sources(self, sources: Iterable[TagSource], *, own: bool) -> Usage:
        """The usage with what tags come from; with `own` the tags are
        in use as well, as those that share the fate of their source.
        """
        tags: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        digests: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        anywhere: defaultdict[str, set[str]] = defaultdict(set)
        for source in sources:
            for tag in source.tags:
                tags[tag].add(source.user)
            for stream, digest in source.digests:
                anywhere[digest].add(source.user)
                if stream is not None:
                    digests[stream, digest].add(source.user)
            if own and source.exists:
                tags[source.stream, source.tag].add(source.user)
                for digest in source.own_digests:
                    digests[source.stream, digest].add(source.user)
        return msgspec.structs.replace(
            self,
            tags=_merged(self.tags, tags),
            digests=_merged(self.digests, digests),
            anywhere=_merged(self.anywhere, anywhere),
        )


K = TypeVar("K")


def _merged(users: Mapping[K, Users], more: Mapping[K, set[str]]) -> dict[K, Users]:
    return {**users, **{key: tuple(sorted({*users.get(key, ()), *names})) for key, names in more.items()}}


def age_limit(as_of: datetime, keep_younger_than: timedelta) -> datetime:
    """What was created after it is young. An age that goes back before all time keeps everything."""
    try:
        return as_of - keep_younger_than
    except OverflowError:
        return BEGINNING


def find_usage(
    snapshot: Snapshot,
    rules: AnalysisSettings,
    local_streams: frozenset[str] | None = None,
    known_streams: Mapping[str, ImageStream] | None = None,
    *,
    sources_apart: bool = False,
) -> Usage:
    """Every use in the snapshot. Raises InvalidReferencesError (R9) unless `ignore_invalid_refs`.

    With `sources_apart` the references in image streams are left to `Usage.with_sources`.

    `local_streams` replaces those that the snapshot's own image streams say bare names may refer to (R10),
    `known_streams`, by `namespace/name`, the image streams that tags and abbreviated digests are looked up in.
    """
    local = local_lookups(snapshot) if local_streams is None else local_streams
    return _Collector(snapshot, rules, local, known_streams).collect(sources_apart=sources_apart)


def current_uses(stream: ImageStream, tags: Mapping[tuple[str, str], Users]) -> Iterator[tuple[str, Users]]:
    """The digests that are current in used `tags` of a stream, each with who uses the tag."""
    name = stream.name
    for history in stream.histories:
        users = tags.get((name, history.tag))
        if users and history.items and history.items[0].image:
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

    def __init__(
        self,
        snapshot: Snapshot,
        rules: AnalysisSettings,
        local_streams: frozenset[str],
        known_streams: Mapping[str, ImageStream] | None,
    ) -> None:
        self.snapshot = snapshot
        self.rules = rules
        self.extended = rules.references == "extended"
        # Lists, in which a user may stand twice: most have one member, for which a set takes more than twice the room.
        self.tags: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.digests: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.anywhere: defaultdict[str, list[str]] = defaultdict(list)
        self.outputs: defaultdict[str, list[str]] = defaultdict(list)
        self.invalid: set[str] = set()
        self.ignored: set[str] = set()
        self.local_streams = local_streams
        self._known_streams = known_streams

    def collect(self, *, sources_apart: bool) -> Usage:
        limit = self._pod_age_limit(self.snapshot.as_of)
        for referrer in self.snapshot.referrers:
            if referrer.kind == "Pod" and not counts(referrer, limit):
                continue
            user = referrer.name
            for reference in references_of(referrer, extended=self.extended):
                self._add(user, reference, referrer)
            self._add_output(user, referrer, None)
        for other in self.snapshot.others:
            self._add_other(other)
        sources: list[TagSource] = []
        if self.extended:
            for stream in self.snapshot.streams:
                sources += self._sources(stream)
        if self.invalid and not self.rules.ignore_invalid_refs:
            raise InvalidReferencesError(sorted(self.invalid))
        usage = Usage(
            tags={key: tuple(sorted(set(users))) for key, users in self.tags.items()},
            digests={key: tuple(sorted(set(users))) for key, users in self.digests.items()},
            anywhere={key: tuple(sorted(set(users))) for key, users in self.anywhere.items()},
            warnings=_warnings(sorted(self.invalid | self.ignored)),
            outputs={key: tuple(sorted(set(users))) for key, users in self.outputs.items()},
            sources=tuple(sources) if sources_apart else (),
        )
        return usage if sources_apart or not sources else usage.with_sources(sources, own=True)

    def _pod_age_limit(self, as_of: datetime) -> datetime:
        age = self.rules.keep_younger_than
        if age is None:
            # prune_over_size_limit alone: oc then has no age limit for pods; the extended rules keep to the default.
            age = timedelta(minutes=DEFAULT_KEEP_YOUNGER_THAN if self.extended else 0)
        return age_limit(as_of, age)

    def _add(self, user: str, reference: Reference, referrer: Referrer) -> None:
        """Note what the reference uses as used by `user`."""
        for target in self._understood(user, reference):
            self._add_target(user, target, reference.namespace, referrer)

    def _add_other(self, other: OtherCluster) -> None:
        """Note what another cluster uses of this one (R38). Its pods have the age that they have by its own clock."""
        named = NamedHere(other)
        users_of = named.once(lambda targets: [users for it in targets for users in self._users_of(it, it.stream)])
        limit = self._pod_age_limit(min(self.snapshot.as_of, other.as_of))
        for referrer in other.referrers:
            if referrer.kind != "Pod" or counts(referrer, limit):
                user = in_cluster(referrer.name, other.name)
                self._add_named(user, references_of(referrer, extended=self.extended), users_of)
                self._add_output(user, referrer, named)
        for stream in other.streams:
            user = in_cluster(f"ImageStream {stream.name}", other.name)
            self._add_named(user, references_of_stream(stream), users_of)

    def _add_named(self, user: str, references: Iterable[Reference], users_of: UsersOf) -> None:
        """Note what references of another cluster's object use here."""
        for reference in references:
            try:
                found = users_of(reference)
            except InvalidPullSpecError as error:
                self._note(user, reference, error)
                continue
            for users in found:
                users.append(user)

    def _understood(self, user: str, reference: Reference) -> list[Target]:
        """What the reference uses; nothing where that cannot be understood, which is noted."""
        try:
            return self._targets(reference)
        except InvalidPullSpecError as error:
            self._note(user, reference, error)
            return []

    def _note(self, user: str, reference: Reference, error: InvalidPullSpecError) -> None:
        known = self.invalid if reference.pulled and not isinstance(error, UselessReferenceError) else self.ignored
        known.add(f"{user}, {_cut(reference.where)}: {_quoted(reference.text)}: {error}")

    def _targets(self, reference: Reference) -> list[Target]:
        """What a reference refers to. Raises InvalidPullSpecError."""
        match reference.form:
            case "pull spec" | "DockerImage":
                return [target_of(reference.text)]
            case "image id":
                digest = target_of_image_id(reference.text)
                return [digest] if digest.digest else []
            case "ImageStreamTag" | "image stream":
                return [target_of_tag(reference)]
            case "ImageStreamImage":
                return list(self._targets_of_image(reference))
            case "value":
                return targets_of_value(reference.text)
            case "unknown":
                raise UselessReferenceError("neither DockerImage nor ImageStreamTag nor ImageStreamImage")

    def _targets_of_image(self, reference: Reference) -> Iterator[Target]:
        """The revisions that `name@digest` refers to; OpenShift takes the beginning of a digest as well."""
        name, at, digest = reference.text.partition("@")
        if not name or not at or not digest or "@" in digest:
            raise InvalidPullSpecError("an ImageStreamImage is written name@digest")
        if "/" in name or ":" in name:
            raise UselessReferenceError("no image stream has such a name; an ImageStreamImage is written name@digest")
        stream = f"{reference.namespace}/{name}"
        if is_digest(digest) or not self.extended:
            yield Target(stream, None, None, digest)
            return
        begun = self._revisions_that_begin(stream, digest)
        if not begun:
            raise UselessReferenceError("neither a digest nor the beginning of one in that image stream")
        for whole in sorted(begun):
            yield Target(stream, None, None, whole)

    def _revisions_that_begin(self, name: str, text: str) -> set[str]:
        """The digests in an image stream that begin so, with or without their algorithm."""
        stream = self._streams.get(name)
        return {
            item.image
            for history in (stream.histories if stream is not None else ())
            for item in history.items or ()
            if item.image.startswith(text) or item.image.partition(":")[2].startswith(text)
        }

    def _sources(self, stream: ImageStream) -> Iterator[TagSource]:
        """Where the tags of a stream come from. A tag and what it comes from stay together (R10).

        The source is used by the tag, so the tag must not go while the source stays for it.
        """
        user, namespace = f"ImageStream {stream.name}", stream.metadata.namespace
        for reference in references_of_stream(stream):
            targets = self._understood(user, reference)
            used = [(self._stream_of(target, namespace, None), target) for target in targets]
            there = [target for target in targets if self._is_there(target)]
            yield TagSource(
                stream.name,
                reference.named or "",
                tuple((name, target.tag or "latest") for name, target in used if name and not target.digest),
                tuple((name, target.digest) for name, target in used if target.digest),
                tuple(target.digest for target in there if target.digest),
                bool(there),
            )

    def _add_output(self, user: str, referrer: Referrer, named: NamedHere | None) -> None:
        """The image stream that a build pushes to, one of another cluster where that says what it has `named` here."""
        for reference in output_of(referrer):
            try:
                targets = self._targets(reference) if named is None else named.targets(reference)
            except InvalidPullSpecError:
                continue
            for target in targets:
                stream = self._stream_of(target, reference.namespace, referrer)
                if stream is not None:
                    self.outputs[stream].append(user)

    def _is_there(self, target: Target) -> bool:
        """Whether the cluster has what a tag comes from: the Image, or the tag with a revision."""
        if target.digest is not None:
            return target.digest in self._images
        stream = self._streams.get(target.stream) if target.stream is not None else None
        tag = target.tag or "latest"
        return stream is not None and any(history.tag == tag and history.items for history in stream.histories)

    @cached_property
    def _images(self) -> frozenset[str]:
        return frozenset(image.name for image in self.snapshot.images)

    @cached_property
    def _streams(self) -> Mapping[str, ImageStream]:
        known = self._known_streams
        return {stream.name: stream for stream in self.snapshot.streams} if known is None else known

    def _stream_of(self, target: Target, namespace: str, referrer: Referrer | None) -> str | None:
        """The image stream that the target is in, where it is in one."""
        stream = target.stream
        if stream is None and target.bare and self.extended:
            own = f"{namespace}/{target.bare}"
            if own in self.local_streams or (referrer is not None and resolves_names(referrer)):
                stream = own
        return stream

    def _add_target(self, user: str, target: Target, namespace: str, referrer: Referrer) -> None:
        for users in self._users_of(target, self._stream_of(target, namespace, referrer)):
            users.append(user)

    def _users_of(self, target: Target, stream: str | None) -> Iterator[list[str]]:
        """Where users of a target are noted, which is in an image stream or in none."""
        if not target.digest:
            if stream is not None:
                yield self.tags[stream, target.tag or "latest"]
            return
        if stream is not None:
            yield self.digests[stream, target.digest]
        if self.extended:
            yield self.anywhere[target.digest]


def _warnings(ignored: list[str]) -> tuple[str, ...]:
    """A warning for each reference that is ignored, up to a bound."""
    warnings = [f"ignored: {reference}" for reference in ignored[:_NOTED]]
    if len(ignored) > _NOTED:
        warnings.append(f"ignored: {len(ignored) - _NOTED} more references that cannot be understood")
    return tuple(warnings)


def _quoted(text: str) -> str:
    """A text of a cluster in a message: on one line, and cut where it is long."""
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}... ({len(text) - _QUOTED} more characters)"


def counts(pod: Referrer, limit: datetime) -> bool:
    """Whether a pod's references count: it runs, is about to, or is not older than the age limit (R5)."""
    status = pod.workload.status
    if status is not None and status.phase in ("Running", "Pending"):
        return True
    return moment(pod.workload.metadata.creation_timestamp) >= limit
