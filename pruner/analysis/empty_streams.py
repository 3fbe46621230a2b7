"""Image streams without tags: which of them are deleted, and what keeps the others (R34)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache, cached_property

import msgspec

from pruner.analysis.blobs import pushed_to
from pruner.analysis.globs import Matches, matcher
from pruner.analysis.history import StreamHistory
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.protection import Protection
from pruner.analysis.retirement import Retirements, is_retained
from pruner.analysis.usage import Usage, Users, age_limit
from pruner.cluster.metadata import moment
from pruner.cluster.objects import ImageStream
from pruner.plan import Approval, DeletedStream
from pruner.reasons import (
    EmptyStream,
    EmptyStreamsOff,
    EmptyStreamTooYoung,
    NotApproved,
    NotMatchedByEmptyStreams,
    OutsideNamespace,
    Owned,
    Protected,
    ProtectedByLabels,
    Reason,
    RepositoryOfKept,
    RestorableInto,
    StreamReason,
    StreamReferenced,
    TagsWithoutImages,
)
from pruner.settings import AnalysisSettings, minutes_of


class EmptyStreamRules(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The conditions of R34. `images` are the decisions on images, `protected` is what `protect_selector` matches."""

    as_of: datetime
    protected: frozenset[str]
    rules: AnalysisSettings
    usage: Usage
    graph: IndexGraph
    images: Mapping[str, Reason]
    protection: Protection
    approval: Approval | None
    retirements: Retirements

    def deleted(self, histories: Iterable[StreamHistory]) -> tuple[DeletedStream, ...]:
        """The image streams that are deleted, in the order of the histories."""
        setting = self.rules.empty_streams
        if setting is None:
            return ()
        reason = EmptyStream(minutes_of(setting.older_than))
        found = []
        for history in histories:
            meta = history.stream.metadata
            if is_empty(history) and next(self.reasons(history), None) is None:
                found.append(
                    DeletedStream(
                        meta.namespace,
                        meta.name,
                        meta.uid,
                        meta.resource_version,
                        moment(meta.creation_timestamp),
                        reason,
                    )
                )
        return tuple(found)

    def reasons(self, history: StreamHistory) -> Iterator[StreamReason]:
        """Everything that keeps an empty image stream, what is quick to see first; nothing for one that is deleted."""
        stream, meta = history.stream, history.stream.metadata
        tags = _tags_left(history)
        if tags:
            yield TagsWithoutImages(tags)
        yield from self._outside_setting(stream)
        if meta.owner_references:
            yield Owned(tuple(sorted(f"{owner.kind} {owner.name}" for owner in meta.owner_references)))
        yield from self._protecting(stream)
        if self.rules.namespace not in (None, meta.namespace):
            yield OutsideNamespace(self.rules.namespace or "")
        if self.approval is not None and (stream.name, meta.uid) not in self.approval.streams:
            yield NotApproved()
        yield from self._needing(history)

    def _needing(self, history: StreamHistory) -> Iterator[StreamReason]:
        """What refers to the image stream, and the images that need it."""
        stream = history.stream
        users = self._users.get(stream.name)
        if users:
            yield StreamReferenced(tuple(sorted({user for each in users for user in each})))
        pushed = self._pushed.get(stream.name)
        if pushed:
            yield RepositoryOfKept(tuple(sorted(pushed)))
        retired = {each for each in history.pruned() if each in self.images and is_retained(self.images[each])}
        retired |= self._restorable.get(stream.name, set())
        if retired:
            yield RestorableInto(tuple(sorted(retired)))

    def _outside_setting(self, stream: ImageStream) -> Iterator[StreamReason]:
        setting = self.rules.empty_streams
        if setting is None:
            yield EmptyStreamsOff()
            return
        age = max(setting.older_than, self.rules.keep_younger_than or timedelta())
        if moment(stream.metadata.creation_timestamp) > age_limit(self.as_of, age):
            yield EmptyStreamTooYoung(minutes_of(age))
        matches = self._matches
        if matches is not None and not matches(stream.name):
            yield NotMatchedByEmptyStreams()

    def _protecting(self, stream: ImageStream) -> Iterator[StreamReason]:
        pattern = self.protection.match_item(stream.name, "")
        if pattern is not None:
            yield Protected(pattern)
        for name in (f"ImageStream {stream.name}", f"Namespace {stream.metadata.namespace}"):
            if name in self.protected:
                yield ProtectedByLabels(name, self.rules.protect_selector or "")

    @cached_property
    def _matches(self) -> Matches | None:
        return matcher(self.rules.empty_streams.streams) if self.rules.empty_streams is not None else None

    @cached_property
    def _users(self) -> dict[str, list[Users]]:
        """What refers to each image stream, whether that has what it names or not."""
        found: defaultdict[str, list[Users]] = defaultdict(list)
        for stream, users in self.usage.outputs.items():
            found[stream].append(users)
        for named in (self.usage.tags, self.usage.digests):
            for (stream, _), users in named.items():
                found[stream].append(users)
        return dict(found)

    @cached_property
    def _pushed(self) -> dict[str, list[str]]:
        """The kept images by the repository that they were pushed to, and from which their manifests are served."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        repository_of = cache(pushed_to)
        for image in self.graph.images.values():
            repository = repository_of(image.location) if image.managed and self.images[image.name].kept else None
            if repository is not None:
                found[repository].append(image.name)
        return dict(found)

    @cached_property
    def _restorable(self) -> dict[str, set[str]]:
        """The retired images by the image streams that they can be restored into."""
        return self.retirements.by_stream(self.images)[0]


def is_empty(history: StreamHistory) -> bool:
    """Whether no revision of the image stream stays."""
    return all(tag.emptied or not tag.items for tag in history.tags)


def _tags_left(history: StreamHistory) -> tuple[str, ...]:
    """The tags of an empty image stream: without revisions, or with an entry in `spec.tags` that stays."""
    failed = {tag.tag for tag in history.tags if not tag.items}
    return tuple(sorted(failed | (history.stream.spec_tags - set(history.removed_spec_tags))))
