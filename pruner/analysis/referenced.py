"""What refers to an image, however it is named: by its digest,
by that of its config, or by a tag whose current revision it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.usage import Usage, Users, current_uses
from pruner.cluster.objects import Image, ImageStream, Snapshot
from pruner.settings import AnalysisSettings


def by_digest(usage: Usage, images: Iterable[Image]) -> Iterator[tuple[str, Users]]:
    """Digests that are referenced in whatever repository (R12), each with its references."""
    yield from usage.anywhere.items()
    if usage.anywhere:
        # A running container can be known by the digest of its image's config.
        for image in images:
            if image.config in usage.anywhere:
                yield image.name, usage.anywhere[image.config]


def used_anywhere(snapshot: Snapshot, rules: AnalysisSettings, usage: Usage, graph: IndexGraph) -> dict[str, Users]:
    """References by digest that keep an image wherever it is named (R12), with the indexes of what is in use."""
    direct: defaultdict[str, set[str]] = defaultdict(set)
    if rules.references == "extended":
        for digest, users in _uses(snapshot, usage, graph):
            for reached in graph.with_indexes([digest]):
                direct[reached].update(users)
    return {digest: tuple(sorted(users)) for digest, users in direct.items()}


def _uses(snapshot: Snapshot, usage: Usage, graph: IndexGraph) -> Iterator[tuple[str, Users]]:
    """Digests of Images that are used by digest, or that are indexes above the current image of a used tag."""
    yield from by_digest(usage, graph.images.values())
    for stream in snapshot.streams if graph.nested else ():
        # The current image itself is kept as one that is named; an index above it may be named by nothing.
        for digest, users in current_uses(stream, usage.tags):
            yield from ((index, users) for index in graph.above(digest))


def all_references(usage: Usage, images: Iterable[Image], streams: Iterable[ImageStream]) -> dict[str, Users]:
    """All references to each digest, sorted, whether they keep its image or not."""
    references: defaultdict[str, set[str]] = defaultdict(set)
    for digest, users in by_digest(usage, images):
        references[digest].update(users)
    for (_, digest), users in usage.digests.items():
        references[digest].update(users)
    for stream in streams:
        for digest, users in current_uses(stream, usage.tags):
            references[digest].update(users)
    return {digest: tuple(sorted(users)) for digest, users in references.items()}
