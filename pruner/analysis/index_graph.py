"""The index graph: which images are members of which manifest
lists and OCI indexes, at any depth, in both directions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from pruner.cluster.objects import Image


class IndexGraph:
    """Images by digest, with the indexes above them and the members below them."""

    def __init__(self, images: Iterable[Image]) -> None:
        self.images: Mapping[str, Image] = {image.name: image for image in images}
        indexes: defaultdict[str, list[str]] = defaultdict(list)
        for image in self.images.values():
            for member in image.members:
                indexes[member].append(image.name)
        self._indexes: Mapping[str, list[str]] = indexes

    @property
    def nested(self) -> bool:
        """Whether there is any index at all."""
        return bool(self._indexes)

    def indexes(self, digest: str) -> tuple[str, ...]:
        """The indexes that name this digest themselves, sorted."""
        return tuple(sorted(self._indexes.get(digest, ())))

    def with_members(self, digests: Iterable[str]) -> set[str]:
        """These digests and all that is reached from them through indexes. A digest without an Image is in it too."""
        if not self._indexes:
            return set(digests)
        return _closure(digests, lambda digest: self.images[digest].members if digest in self.images else ())

    def with_indexes(self, digests: Iterable[str]) -> set[str]:
        """These digests and every index that reaches one of them."""
        if not self._indexes:
            return set(digests)
        return _closure(digests, lambda digest: self._indexes.get(digest, ()))

    def above(self, digest: str) -> set[str]:
        """Every index that reaches this digest."""
        return self.with_indexes([digest]) - {digest}


def _closure(start: Iterable[str], step: Callable[[str], Iterable[str]]) -> set[str]:
    reached = set(start)
    ahead = list(reached)
    while ahead:
        for neighbour in step(ahead.pop()):
            if neighbour not in reached:
                reached.add(neighbour)
                ahead.append(neighbour)
    return reached
