"""Attached tags: signatures, attestations and SBOMs that are tags named after the image they belong to (R35).

cosign, oras and others push them into the image stream of their subject as `sha256-<64 hex>.sig`, or with another
suffix; without one the tag's index lists the referrers of the subject (OCI 1.1).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Final

from pruner.analysis.index_graph import IndexGraph

PREFIX: Final = "sha256-"
_ATTACHED: Final = re.compile(r"sha256-([0-9a-f]{64})(\.[A-Za-z0-9_.-]+)?")


def may_be_attached(tag: str) -> bool:
    """Whether `subject_of` has to be asked: it says no for nearly all tags."""
    return tag.startswith(PREFIX)


def subject_of(tag: str) -> str | None:
    """The digest of the image that a tag is attached to; None for every other tag."""
    found = _ATTACHED.fullmatch(tag)
    return f"sha256:{found[1]}" if found is not None else None


def kept_subjects(waiting: Mapping[str, Iterable[str]], kept: Set[str], graph: IndexGraph) -> frozenset[str]:
    """The subjects that are kept, when tags attached to kept ones are kept with their images.

    `waiting` are, by subject, the images that tags attached to it name and that are kept only if the subject is; `kept`
    are the images that are kept without any of these tags. It begins with nothing attached being kept, so that no tag
    protects its own subject. Each image is looked at once.
    """
    reached = set(kept)
    found = {subject for subject in waiting if subject in reached}
    ahead = list(found)
    while ahead:
        below = [digest for digest in waiting[ahead.pop()] if digest in graph.images]
        while below:
            digest = below.pop()
            if digest in reached:
                continue
            reached.add(digest)
            if digest not in graph.images:
                continue
            if digest in waiting:
                found.add(digest)
                ahead.append(digest)
            below.extend(graph.images[digest].members)
    return frozenset(found)


def by_subject(tags: Iterable[tuple[str, Iterable[str]]]) -> dict[str, list[str]]:
    """Images by the subject that the tags which name them are attached to."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for subject, digests in tags:
        found[subject].extend(digests)
    return found
