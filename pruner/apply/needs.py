"""What is needed now: an index of everything that came up in the cluster since a snapshot.

Digests that are named or used, blobs that an image needs, links that a repository needs, image streams that are
referred to, each with what needs it. Nothing here waits or asks a server: a `Watcher` (pruner.apply.watch) adds what it
observes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec

from pruner.analysis import find_usage
from pruner.analysis.blobs import blobs_of, layers_and_configs, pushed_to
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.usage import Usage, local_lookups
from pruner.cluster.objects import Image, ImageStream, OtherCluster, Snapshot
from pruner.cluster.workloads import Referrer
from pruner.plan import PrunedImage
from pruner.settings import AnalysisSettings


class Needs:
    """What has come to need something since a snapshot was taken, made ready for the question before each deletion."""

    def __init__(self, snapshot: Snapshot, settings: AnalysisSettings) -> None:
        self.graph = IndexGraph(())
        self._settings = settings
        self._snapshot = snapshot
        self._on_usage: Callable[[Usage], None] = lambda _: None
        self._local = local_lookups(snapshot)
        self._streams = {stream.name: stream for stream in snapshot.streams}
        self._used: dict[str, str] = {}
        self._needed: dict[str, str] = {}
        self._named: dict[str, dict[str, str]] = {}
        self._linked: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._referred: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def begin(self, graph: IndexGraph, on_usage: Callable[[Usage], None]) -> None:
        """The snapshot is analysed: these are its images. `on_usage` is called with every use that is added."""
        self.graph = graph
        self._on_usage = on_usage

    # --- asked before deletions ---------------------------------------------------------------------------------------

    def of_image(self, image: PrunedImage) -> str | None:
        """Who needs the image, or one of the blobs that would be deleted with it; None when nobody does."""
        user = self._used.get(image.name)
        if user is not None:
            return f"in use now: {user}"
        return next(filter(None, map(self.of_blob, (image.name, *image.blobs))), None)

    def of_blob(self, digest: str) -> str | None:
        """Who needs a blob; None when nobody does."""
        needing = self._needed.get(digest)
        return f"its blob {digest} is needed now: {needing}" if needing else None

    def of_link(self, repository: str, digest: str) -> str | None:
        """Who needs a layer or a manifest in a repository, `namespace/name`; None when nobody does."""
        needing = self._named.get(repository, {}).get(digest) or self._linked[repository].get(digest)
        return f"needed now: {needing}" if needing else None

    def links(self) -> list[tuple[str, str, str]]:
        """Repository, digest and who needs it there, of all that has come up."""
        return [
            (repository, digest, user)
            for repositories in (self._named, self._linked)
            for repository, digests in repositories.items()
            for digest, user in digests.items()
        ]

    def of_stream(self, stream: str) -> str | None:
        """Who refers to an image stream, `namespace/name`, since the snapshot; None when nobody does."""
        user = self._referred.get(stream)
        return f"referred to since it was planned: {user}" if user else None

    # --- added --------------------------------------------------------------------------------------------------------

    def keep(self, image: PrunedImage) -> None:
        """A skipped image keeps its blobs, also those that would be deleted with other images."""
        self._use(image.name, f"image {image.name} is skipped")

    def update(self, stream: ImageStream) -> None:
        """An image stream as this run has just made it: older events about it say nothing any more."""
        self.add_stream(stream)

    def add_image(self, image: Image) -> None:
        known = self.graph.images.get(image.name)
        if known is not None and known.uid == image.uid:
            # Known to the analysis, or about to be deleted; that it has not changed is seen just before it goes.
            return
        for blob in blobs_of(image):
            self._needed.setdefault(blob, f"image {image.name}")
        members = self.graph.with_members(image.members)
        for member in members:
            self._use(member, f"index {image.name}")
        repository = pushed_to(image.location) if image.managed else None
        if repository is not None:
            for blob in {*blobs_of(image), *self._repository_blobs(members)}:
                self._linked[repository].setdefault(blob, f"image {image.name}")

    def add_stream(self, stream: ImageStream) -> None:
        """What the stream names now, instead of what it named before: an update of our own is such an event too."""
        if _is_older(stream.metadata.resource_version, self._versions.get(stream.name)):
            return
        self._versions[stream.name] = stream.metadata.resource_version
        items = (item.image for history in stream.histories for item in history.items or () if item.image)
        named = self.graph.with_members(items)
        user = f"image stream {stream.name}"
        for digest in named:
            self._use(digest, user)
        self._named[stream.name] = dict.fromkeys(self._repository_blobs(named), user)
        if self._settings.references == "extended":
            self._add_usage(msgspec.structs.replace(self._nothing(), streams=(stream,)))

    def add_referrer(self, referrer: Referrer) -> None:
        self._add_usage(msgspec.structs.replace(self._nothing(), referrers=(referrer,)))

    def add_other(self, other: OtherCluster) -> None:
        """What came up in another cluster (R38), with nothing else of it."""
        self._add_usage(msgspec.structs.replace(self._nothing(), others=(other,)))

    def _add_usage(self, found: Snapshot) -> None:
        usage = find_usage(found, self._settings, self._local, self._streams)
        self._on_usage(usage)
        referred = [(stream, users) for (stream, _), users in [*usage.tags.items(), *usage.digests.items()]]
        for stream, users in [*referred, *usage.outputs.items()]:
            self._referred.setdefault(stream, ", ".join(users))
        for digest, users in usage.anywhere.items():
            for reached in self.graph.with_members(self.graph.with_indexes([digest])):
                self._use(reached, ", ".join(users))
        for (stream, digest), users in usage.digests.items():
            for blob in self._repository_blobs(self.graph.with_members([digest])):
                self._linked[stream].setdefault(blob, ", ".join(users))

    def _use(self, digest: str, user: str) -> None:
        """The digest is used, with everything in it."""
        self._used.setdefault(digest, user)
        image = self.graph.images.get(digest)
        for blob in (digest, *(blobs_of(image) if image is not None else ())):
            self._needed.setdefault(blob, user)

    def _repository_blobs(self, digests: Iterable[str]) -> set[str]:
        """What is linked in a repository for these images: the manifests, their layers and configs."""
        found = set(digests)
        return found | layers_and_configs(filter(None, map(self.graph.images.get, found)))

    def _nothing(self) -> Snapshot:
        """The snapshot without objects."""
        return msgspec.structs.replace(self._snapshot, images=(), referrers=(), streams=(), others=())


def _is_older(version: str, known: str | None) -> bool:
    """Whether one resource version came before another; what cannot be compared counts as new."""
    return known is not None and version.isdecimal() and known.isdecimal() and int(version) < int(known)
