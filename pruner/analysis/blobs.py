"""Blobs: what of the registry goes with revisions and images, and what is shared with something that stays (R24, R25).

An image's blobs are its layers, its config and its manifest. A blob goes when no remaining Image needs it; a link in a
repository when nothing that remains in that repository needs it.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache, cached_property
from typing import Literal

import msgspec

from pruner.analysis.history import StreamHistory
from pruner.analysis.images import ImageRules
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.pullspec import InvalidPullSpecError, only_digests, parse_pull_spec
from pruner.analysis.retirement import Retirements, is_retained
from pruner.analysis.usage import Usage
from pruner.cluster.objects import Image
from pruner.plan import Approval, PrunedBlob
from pruner.reasons import NamedBy, Reason


def doomed_blobs(graph: IndexGraph, decisions: Mapping[str, Reason], sizes: Mapping[str, int]) -> dict[str, PrunedBlob]:
    """Every blob that only images need which go, by digest.

    Values that are not digests are ignored: whoever creates an Image can write anything there, and it would become
    a path of the registry's API.
    """
    pruned = [graph.images[name] for name, decision in decisions.items() if not decision.kept]
    doomed = set(only_digests({image.name for image in pruned}.union(layers_and_configs(pruned))))
    if not doomed:
        return {}
    for name, decision in decisions.items():
        if decision.kept:
            image = graph.images[name]
            # A member without an Image of its own is a manifest that the index needs all the same.
            doomed.difference_update(image.layers, image.members, (name, image.config))
    # What is more than one of these, in different images, is the last of them, in whatever order the images are listed.
    kinds: tuple[tuple[Literal["layer", "config", "manifest"], Iterable[str]], ...] = (
        ("layer", (layer for image in pruned for layer in image.layers)),
        ("config", (image.config for image in pruned if image.config is not None)),
        ("manifest", (image.name for image in pruned)),
    )
    return {
        digest: PrunedBlob(digest, kind, sizes.get(digest))
        for kind, candidates in kinds
        for digest in candidates
        if digest in doomed
    }


def blobs_of(image: Image) -> set[str]:
    """Its layers, its config and its manifest (R24)."""
    return {image.name, *layers_and_configs([image])}


def layers_and_configs(images: Iterable[Image]) -> set[str]:
    """What is linked in a repository as blobs of these images."""
    blobs: set[str] = set()
    for image in images:
        blobs.update(image.layers)
        if image.config is not None:
            blobs.add(image.config)
    return blobs


class _Needs(msgspec.Struct, frozen=True):
    """What is known of repositories, by `namespace/name`: digests of images.

    `left_behind` are those whose links an interrupted run may have left there, `reachable` those of them that an Image
    leads to; `also_needed` are needed there though the stream does not name them.
    """

    left_behind: dict[str, set[str]]
    reachable: dict[str, frozenset[str]]
    also_needed: dict[str, set[str]]


class Links:
    """Which links of a repository go with a change of its image stream."""

    def __init__(
        self,
        graph: IndexGraph,
        decisions: Mapping[str, Reason],
        histories: Collection[StreamHistory],
        named: Collection[str],
        usage: Usage,
        image_rules: ImageRules,
        unlinked: Mapping[str, Iterable[str]],
        retirements: Retirements,
    ) -> None:
        """`named` are the digests that items name which stay, in any stream."""
        self.graph = graph
        self._decisions = decisions
        self._histories = histories
        self._named = named
        self._usage = usage
        self._image_rules = image_rules
        self._unlinked = unlinked
        self._retirements = retirements

    @cached_property
    def _needs(self) -> _Needs:
        """Found out when it is asked for: it is an eighth of an analysis, and without a registry there are no links."""
        left_behind: defaultdict[str, set[str]] = defaultdict(set)
        also_needed: defaultdict[str, set[str]] = defaultdict(set)
        # Without their digests the references of a repository's images are one text, which is parsed once.
        repository_of = cache(pushed_to)
        images = self.graph.images
        kept: list[tuple[str, Image]] = []
        for name, decision in self._decisions.items():
            image = images[name]
            repository = repository_of(image.location) if image.managed else None
            if repository is None:
                continue
            if decision.kept:
                kept.append((repository, image))
            else:
                # An interrupted run may have left links there.
                left_behind[repository].add(name)
        retained, deleted = self._retirements.by_stream(self._decisions)
        _add(left_behind, deleted)
        reachable = {repository: frozenset(names) for repository, names in left_behind.items()}
        for stream, noted in self._unlinked.items():
            left_behind[stream].update(noted)
        changing = left_behind.keys() | {history.stream.name for history in self._histories if history.changes}
        named = self.graph.with_members(self._named)
        for repository, image in kept:
            if repository in changing and (image.name not in named or self._stays_unnamed(image)):
                also_needed[repository].add(image.name)
        _add(also_needed, retained)
        for stream, digest in self._usage.digests:
            also_needed[stream].add(digest)
        return _Needs(left_behind, reachable, also_needed)

    def _stays_unnamed(self, image: Image) -> bool:
        """Whether an image, or an index above it, would stay if no stream named it.

        Such a one, pushed minutes ago for instance, needs the repository that it was pushed to. Which other streams
        name it must not count here, or links would go because more revisions are kept elsewhere (P4, P6).
        """
        unnamed, graph = self._image_rules.unnamed, self.graph
        if not graph.nested:
            return unnamed(image) is not None
        above = (graph.images.get(each) for each in graph.with_indexes([image.name]))
        return any(unnamed(each) is not None for each in above if each is not None)

    def with_graph(self, graph: IndexGraph) -> Links:
        """The same rules, with more images known."""
        links = copy.copy(self)
        links._needs = self._needs
        links.graph = graph
        return links

    def candidates(self, history: StreamHistory, removed: Iterable[str] = ()) -> set[str]:
        """The images whose links in this stream's repository may go, members included.

        `removed` are digests of items that have been removed from the stream already.
        """
        return self.graph.with_members({*history.pruned(), *removed, *self.left_behind(history.stream.name)})

    def left_behind(self, stream: str) -> set[str]:
        """Images whose links an interrupted run may have left here:
        those that go and were pushed here, and those it has noted.
        """
        return self._needs.left_behind.get(stream, set())

    def unreachable(self, stream: str, removed: Iterable[str]) -> set[str]:
        """Those of the digests that are `removed` whose links nothing would reveal, once no item names them."""
        return set(removed) - self._needs.reachable.get(stream, frozenset())

    def of(
        self, history: StreamHistory, removed: Iterable[str] = (), retired: Collection[str] = ()
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Layer links and manifest links that go, each sorted (R25).
        Those of `retired` images stay, as of all that are retired (R36).
        """
        pruned = self.candidates(history, removed)
        if not pruned:
            return (), ()
        also_needed = self._needs.also_needed.get(history.stream.name, set())
        lost = {*history.pruned(), *removed}
        named = {digest for digest in lost if digest in retired or self.is_retained(digest)}
        kept = self.graph.with_members({*history.remaining(), *also_needed, *named})
        layers = self._blobs(pruned) - self._blobs(kept)
        return tuple(sorted(only_digests(layers))), tuple(sorted(only_digests(pruned - kept)))

    def is_retained(self, digest: str) -> bool:
        """Whether the image is retired or about to be, so that its links stay."""
        decision = self._decisions.get(digest)
        return decision is not None and is_retained(decision)

    def retired_with(self, history: StreamHistory) -> set[str]:
        """The images that lose their last name with the pruned
        revisions of this stream, or are retired anyway (R36).
        """
        if not self._retirements.applies:
            return set()
        prefix = f"{history.stream.name}:"

        def named_only_here(decision: Reason | None) -> bool:
            return isinstance(decision, NamedBy) and all(tag.startswith(prefix) for tag in decision.tags)

        going = history.pruned() - history.remaining()
        return {each for each in going if self.is_retained(each) or named_only_here(self._decisions.get(each))}

    def _blobs(self, digests: Iterable[str]) -> set[str]:
        return layers_and_configs(filter(None, map(self.graph.images.get, digests)))


def _add(known: defaultdict[str, set[str]], more: Mapping[str, set[str]]) -> None:
    for stream, names in more.items():
        known[stream] |= names


def pushed_to(location: str) -> str | None:
    """`namespace/name` of the repository that a managed image at
    this `Image.location` was pushed to; None where it names none.
    """
    try:
        return parse_pull_spec(location.removesuffix("@")).stream
    except InvalidPullSpecError:
        return None


def approved_links(
    approval: Approval | None, stream: str, kind: Literal["layer", "manifest"], digests: tuple[str, ...]
) -> tuple[str, ...]:
    if approval is None:
        return digests
    return tuple(digest for digest in digests if (stream, kind, digest) in approval.links)
