"""Sizes of blobs (bytes) as images claim them: what is plausible of each claim, and the largest where claims differ.

The maker of an Image writes these numbers, and the API server validates none of them. A claim that cannot be true is
ignored, so its blob counts as unmeasured. Where claims differ the largest counts, so that no image can make what
another one frees look smaller, and the order in which images are listed changes nothing (P7).
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from pruner.cluster.objects import ImageLayer

LARGEST: Final = 5 * 2**40
"""Bytes that a blob can have: 5 TiB, the largest object that
S3 stores, which is what most registries store blobs in."""

LARGEST_CONFIG: Final = 4 * 2**20
"""Bytes that a config can have: containers/image, with which nodes pull, refuses larger ones."""


def plausible(claim: object) -> int | None:
    """The size of a blob or an image that a JSON value gives; None for what cannot be one.

    Go's zero value says nothing.
    """
    return claim if type(claim) is int and 0 < claim <= LARGEST else None


def plausible_json(claim: msgspec.Raw) -> int | None:
    """The same, of a value as it stands in JSON: numbers that no decoder takes are possible there."""
    text = bytes(claim)
    return plausible(int(text)) if text.isdigit() and len(text) <= len(str(LARGEST)) else None


class SizeClaims:
    """What images claim about the sizes of their blobs."""

    def __init__(self) -> None:
        self._largest: dict[str, int] = {}
        self._contested: set[str] = set()
        self._incomplete: list[tuple[str, int, tuple[str, ...]]] = []

    def layers(self, layers: list[ImageLayer] | None) -> tuple[tuple[str, ...], int | None]:
        """The layers of an image in their order, each once, and their size together; None where one is unmeasured."""
        if not layers:
            return (), 0
        intern, largest = sys.intern, self._largest
        measured = {intern(layer.name): layer.size for layer in layers if layer.name}
        if len(measured) != len(layers):
            return self._doubtful_layers(layers)
        for name, size in measured.items():
            known = largest.get(name)
            if known is None and type(size) is int and 0 < size <= LARGEST:
                largest[name] = size
            elif known != size or known is None:
                if plausible(size) is None:
                    return self._doubtful_layers(layers)
                self.claim(name, size)
        return tuple(measured), sum(measured.values())

    def _doubtful_layers(self, layers: list[ImageLayer]) -> tuple[tuple[str, ...], int | None]:
        """The same, where a layer stands more than once, or a size is missing or implausible."""
        found: dict[str, int] = {}
        for layer in layers:
            if layer.name:
                name, size = sys.intern(layer.name), plausible(layer.size)
                if size is not None:
                    self.claim(name, size)
                found[name] = max(found.get(name, 0), size or 0)
        return tuple(found), sum(found.values()) if all(found.values()) else None

    def claim(self, digest: str, claim: object) -> None:
        """Take in what an image says about the size of a blob."""
        size = plausible(claim)
        if size is None:
            return
        known = self._largest.setdefault(digest, size)
        if known != size:
            self._contested.add(digest)
            self._largest[digest] = max(known, size)

    def config(self, digest: str, image: int | None, layers: tuple[str, ...], measured: int | None) -> None:
        """Take in the size of a config: what the layers leave of the image's.

        The API counts the config and every layer once.
        """
        if image is None:
            return
        if measured is None:
            self._incomplete.append((digest, image, layers))
        elif image - measured <= LARGEST_CONFIG:
            self.claim(digest, image - measured)

    def settled(self) -> tuple[dict[str, int], frozenset[str]]:
        """The sizes by digest, when all images have been read, and the digests about which claims differ."""
        known = dict(self._largest)
        for digest, image, layers in self._incomplete:
            # A layer that one image does not measure may have been measured by another.
            measured = [known.get(layer) for layer in layers]
            left = None if None in measured else image - sum(size or 0 for size in measured)
            if left is not None and left <= LARGEST_CONFIG:
                self.claim(digest, left)
        self._incomplete.clear()
        return self._largest, frozenset(self._contested)
