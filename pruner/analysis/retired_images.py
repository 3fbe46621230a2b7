"""The images that a plan retires, each with the bytes that its deletion will free (R36)."""

from __future__ import annotations

from collections.abc import Mapping

from pruner.analysis.blobs import blobs_of
from pruner.analysis.index_graph import IndexGraph
from pruner.plan import RetiredImage
from pruner.reasons import Reason, Retiring


def retired_images(
    graph: IndexGraph, decisions: Mapping[str, Reason], sizes: Mapping[str, int], *, deletes_blobs: bool
) -> tuple[RetiredImage, ...]:
    """The images that are retired, sorted."""
    found = {name: decision for name, decision in sorted(decisions.items()) if isinstance(decision, Retiring)}
    if not found:
        return ()
    images = graph.images
    later = set[str]().union(*(blobs_of(images[name]) for name in found)) if deletes_blobs else set[str]()
    for name, decision in decisions.items():
        if decision.kept and name not in found:
            image = images[name]
            later.difference_update(image.layers, image.members, (name, image.config or name))
    retired = []
    for name, reason in found.items():
        image = images[name]
        own = blobs_of(image) & later
        later -= own
        retired.append(
            RetiredImage(
                name,
                image.uid,
                image.resource_version,
                image.created,
                image.reference,
                reason,
                sum(sizes.get(blob) or 0 for blob in own),
                len(image.members),
            )
        )
    return tuple(retired)
