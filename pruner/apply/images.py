"""Images: their blobs first, the Image object last, and only when every blob of it is gone (R28).

A blob that several images share which all go is deleted once. So whatever interrupts a run, an Image object still tells
the next one which blobs there are to delete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from pruner.apply.preconditions import NeededError, Preconditions, WithdrawnError
from pruner.apply.result import Result
from pruner.cluster.api import Api
from pruner.cluster.registry import RegistryClient
from pruner.cluster.resources import IMAGES
from pruner.errors import ClusterError, ConflictError, NotFoundError, RegistryError
from pruner.http.client import Precondition
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
        preconditions: Preconditions,
    ) -> None:
        self.api = api
        self.registry = registry
        self.blobs = blobs
        self.result = result
        self.preconditions = preconditions
        self.needs = preconditions.needs
        self._deletions: dict[str, asyncio.Task[RegistryError | WithdrawnError | None]] = {}

    async def prune(self, image: PrunedImage) -> None:
        """Delete one image. A failure is noted in the result.

        Raises StaleViewError where the cluster has to be looked at again before this can be finished.
        """
        unused = self.preconditions.unless(lambda: self.needs.of_image(image))
        try:
            whole = await self.api.get(IMAGES, dict, name=image.name)
            await unused()
            if self._has_changed(image, whole):
                self._leave(image, CHANGED)
            elif await self._delete_blobs(image):
                await self._delete_object(image, unused)
                self.result.deleted_images.append(whole)
                self.preconditions.breaker.succeeded()
        except NeededError as needed:
            self._leave(image, str(needed))
        except NotFoundError:
            self.result.skip(f"image {image.name}", "it is gone")
        except ConflictError:
            self._leave(image, CHANGED)
        except ClusterError as error:
            self.result.failed(f"image {image.name}", error)
            self.preconditions.breaker.failed()

    def _leave(self, image: PrunedImage, why: str) -> None:
        self.needs.keep(image)
        self.result.skip(f"image {image.name}", why)

    @staticmethod
    def _has_changed(image: PrunedImage, whole: dict[str, Any]) -> bool:
        meta = whole.get("metadata") or {}
        return (meta.get("uid"), meta.get("resourceVersion")) != (image.uid, image.resource_version)

    async def _delete_object(self, image: PrunedImage, unused: Precondition) -> None:
        try:
            await self.api.delete(
                IMAGES, name=image.name, uid=image.uid, resource_version=image.resource_version, before=unused
            )
        except NotFoundError:
            # A deletion that was repeated since its answer was lost: it is gone.
            return

    async def _delete_blobs(self, image: PrunedImage) -> bool:
        """Whether all of them are gone."""
        if self.registry is None:
            return True
        wanted = [digest for digest in image.blobs if digest in self.blobs]
        errors = [error for error in await asyncio.gather(*map(self._deletion, wanted)) if error is not None]
        for withdrawn in errors:
            if isinstance(withdrawn, WithdrawnError):
                raise withdrawn
        if errors:
            self.result.failed(
                f"image {image.name}", ClusterError(f"kept, since {len(errors)} of its blobs could not be deleted")
            )
        return not errors

    def _deletion(self, digest: str) -> asyncio.Task[RegistryError | WithdrawnError | None]:
        """The deletion of a blob: one, however many images go that have it."""
        if digest not in self._deletions:
            self._deletions[digest] = asyncio.create_task(self._delete_blob_once(digest))
        return self._deletions[digest]

    async def _delete_blob_once(self, digest: str) -> RegistryError | WithdrawnError | None:
        assert self.registry is not None  # noqa: S101 - asked by the caller
        try:
            await self.registry.delete_blob(digest, self.preconditions.unless(lambda: self.needs.of_blob(digest)))
        except WithdrawnError as withdrawn:
            return withdrawn
        except RegistryError as error:
            self.result.failed(f"blob {digest}", error)
            self.preconditions.breaker.failed()
            return error
        self.preconditions.breaker.succeeded()
        self.result.deleted_blobs[digest] = self.blobs[digest].size
        return None
