"""What was done: the module's two results, with counts, what was skipped and what failed."""

from __future__ import annotations

from typing import Any

import msgspec


class Skipped(msgspec.Struct, frozen=True):
    """Something that was planned and skipped, because of how the cluster has changed."""

    what: str
    why: str


class Failure(msgspec.Struct, frozen=True):
    """Something that could not be done, and the server's words for it."""

    what: str
    why: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of what was done; `bytes` are those of the blobs deleted, as far as their sizes are known."""

    image_streams: int = 0
    revisions: int = 0
    images: int = 0
    blobs: int = 0
    layer_links: int = 0
    manifest_links: int = 0
    bytes: int = 0
    spec_tags: int = 0
    empty_streams: int = 0
    retired_images: int = 0
    needed_again: int = 0


class RegistryRestart(msgspec.Struct, frozen=True):
    """Blobs were deleted, which the registry's replicas may have in their caches: whether they were restarted since.

    So many `replicas` were ready, None where that is not known. `command` restarts them.
    """

    replicas: int | None
    done: bool
    command: str


class Result(msgspec.Struct):
    """The result of a run.

    Objects are whole, as the API gave them: images before they went, streams as they are now.
    """

    deleted_images: list[dict[str, Any]] = []
    updated_image_streams: list[dict[str, Any]] = []
    deleted_blobs: dict[str, int | None] = {}
    deleted_links: list[tuple[str, str, str]] = []
    removed_revisions: int = 0
    removed_spec_tags: int = 0
    deleted_image_streams: list[str] = []
    retired_images: list[str] = []
    needed_again: int = 0
    skipped: list[Skipped] = []
    failures: list[Failure] = []
    registry_restart: RegistryRestart | None = None
    """None where none is needed: no blob was deleted, or the registry has one replica."""

    @property
    def summary(self) -> Summary:
        return Summary(
            image_streams=len(self.updated_image_streams),
            revisions=self.removed_revisions,
            images=len(self.deleted_images),
            blobs=len(self.deleted_blobs),
            layer_links=sum(kind == "layer" for _, kind, _ in self.deleted_links),
            manifest_links=sum(kind == "manifest" for _, kind, _ in self.deleted_links),
            bytes=sum(size or 0 for size in self.deleted_blobs.values()),
            spec_tags=self.removed_spec_tags,
            empty_streams=len(self.deleted_image_streams),
            retired_images=len(self.retired_images),
            needed_again=self.needed_again,
        )

    def failed(self, what: str, error: Exception) -> None:
        self.failures.append(Failure(what, str(error)))

    def skip(self, what: str, why: str) -> None:
        self.skipped.append(Skipped(what, why))
