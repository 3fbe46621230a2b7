"""Images: their blobs first, the Image object last, and only when every blob of it is gone (DECISIONS R28).

A blob that several images share which all go is deleted once. So whatever interrupts a run, an Image object still tells the next one
which blobs there are to delete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from pruner.apply.pace import Pace
from pruner.apply.result import Result
from pruner.apply.watch import Watcher
from pruner.cluster.api import Api
from pruner.cluster.registry import RegistryClient
from pruner.cluster.resources import IMAGES
from pruner.errors import ClusterError, ConflictError, NotFoundError, RegistryError
from pruner.plan import PrunedBlob, PrunedImage

CHANGED: Final = "it has changed since it was looked at"


class ImagePruner:
    """Deletes images with what belongs to them."""

    def __init__(
        self,
        api: Api,
        registry: RegistryClient | None,
        blobs: Mapping[str, PrunedBlob],
        result: Result,
        pace: Pace,
        watcher: Watcher,
    ) -> None:
        self.api = api
        self.registry = registry
        self.blobs = blobs
        self.result = result
        self.pace = pace
        self.watcher = watcher
        self._deletions: dict[str, asyncio.Task[RegistryError | None]] = {}

    async def prune(self, image: PrunedImage) -> None:
        """Delete one image. A failure is noted in the result."""
        try:
            whole = await self.api.get(IMAGES, dict, name=image.name)
            use = self._changed(image, whole) or self.watcher.new_use(image)
            if use is not None:
                self._leave(image, use)
            elif await self._delete_blobs(image):
                await self._delete_object(image)
                self.result.deleted_images.append(whole)
                self.pace.succeeded()
        except NotFoundError:
            self.result.left_alone(f"image {image.name}", "it is gone")
        except ConflictError:
            self._leave(image, CHANGED)
        except ClusterError as error:
            self.result.failed(f"image {image.name}", error)
            self.pace.failed()

    def _leave(self, image: PrunedImage, why: str) -> None:
        self.watcher.spare(image)
        self.result.left_alone(f"image {image.name}", why)

    @staticmethod
    def _changed(image: PrunedImage, whole: dict[str, Any]) -> str | None:
        meta = whole["metadata"]
        same = (meta.get("uid"), meta.get("resourceVersion")) == (image.uid, image.resource_version)
        return None if same else CHANGED

    async def _delete_object(self, image: PrunedImage) -> None:
        try:
            await self.api.delete(IMAGES, name=image.name, uid=image.uid, resource_version=image.resource_version)
        except NotFoundError:
            # A deletion that was repeated since its answer was lost: it is gone.
            return

    async def _delete_blobs(self, image: PrunedImage) -> bool:
        """Whether all of them are gone."""
        if self.registry is None:
            return True
        wanted = [digest for digest in image.blobs if digest in self.blobs]
        errors = [error for error in await asyncio.gather(*map(self._delete_blob, wanted)) if error is not None]
        if errors:
            self.result.failed(
                f"image {image.name}", ClusterError(f"kept, since {len(errors)} of its blobs could not be deleted")
            )
        return not errors

    async def _delete_blob(self, digest: str) -> RegistryError | None:
        if digest not in self._deletions:
            self._deletions[digest] = asyncio.ensure_future(self._delete_blob_once(digest))
        return await self._deletions[digest]

    async def _delete_blob_once(self, digest: str) -> RegistryError | None:
        assert self.registry is not None  # noqa: S101 - asked by the caller
        try:
            await self.registry.delete_blob(digest)
        except RegistryError as error:
            self.result.failed(f"blob {digest}", error)
            self.pace.failed()
            return error
        self.pace.succeeded()
        self.result.deleted_blobs[digest] = self.blobs[digest].size
        return None
