"""Expired tags and what they come from: a tag that goes takes its reference to another tag with it (R10, R31).

A tag that `spec.tags[].from` takes from another one keeps that one in use for as long as the tag itself stays. Whether
an expired tag stays can depend on such a reference of another expired tag, and so on. At first none of these references
counts. Those of tags that turn out to stay are added until there are no more. An image stream is decided again only
when something in it was added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from pruner.analysis.history import StreamHistory
from pruner.analysis.history_rules import HistoryRules
from pruner.analysis.retention import TagRetention
from pruner.analysis.usage import TagSource, Usage
from pruner.cluster.objects import ImageStream


class Sources(msgspec.Struct, frozen=True):
    """The sources of tags: those that count in any case, and those of expired tags, which count while the tag stays."""

    settled: tuple[TagSource, ...] = ()
    of_expired: tuple[TagSource, ...] = ()

    @classmethod
    def of(cls, usage: Usage, streams: Iterable[ImageStream], retention: TagRetention) -> Sources:
        by_stream: defaultdict[str, list[TagSource]] = defaultdict(list)
        for source in usage.sources:
            by_stream[source.stream].append(source)
        settled: list[TagSource] = []
        of_expired: list[TagSource] = []
        for stream in streams:
            sources = by_stream.pop(stream.name, [])
            decisions = retention.decide(stream) if sources else {}
            for source in sources:
                decision = decisions.get(source.tag)
                (of_expired if decision is not None and decision.expired else settled).append(source)
        return cls(tuple(settled), tuple(of_expired))


def settle(histories: dict[str, StreamHistory], sources: Iterable[TagSource], rules: HistoryRules) -> list[TagSource]:
    """Decide again, in `histories` by `namespace/name`, what the sources of expired tags that stay keep.

    Gives these sources.
    """
    waiting: defaultdict[str, list[TagSource]] = defaultdict(list)
    for source in sources:
        waiting[source.stream].append(source)
    counted: list[TagSource] = []
    naming: dict[str, set[str]] | None = None
    ahead = set(waiting)
    while ahead:
        awake: list[TagSource] = []
        for name in ahead & waiting.keys():
            staying = {tag.tag for tag in histories[name].tags if tag.items and not tag.emptied}
            found = waiting.pop(name)
            awake += [source for source in found if source.tag in staying]
            rest = [source for source in found if source.tag not in staying]
            if rest:
                waiting[name] = rest
        if not awake:
            break
        counted += awake
        added = Usage().with_sources(awake, own=False)
        rules.also_used(added)
        ahead = {stream for stream, _ in added.tags} | {stream for stream, _ in added.digests}
        if added.anywhere:
            if naming is None:
                naming = _naming(histories.values())
            for digest in rules.graph.with_indexes(added.anywhere):
                ahead |= naming.get(digest, set())
        ahead &= histories.keys()
        for name in ahead:
            histories[name] = rules.decide(histories[name].stream)
    return counted


def _naming(histories: Iterable[StreamHistory]) -> dict[str, set[str]]:
    """By digest the image streams with tags that go as a whole and name it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for history in histories:
        if history.whole:
            for tag in history.tags:
                for item in tag.items:
                    found[item.image].add(history.stream.name)
    return found
