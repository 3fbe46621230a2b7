"""Deletes image streams without tags (R34), each read again right before."""

from __future__ import annotations

from typing import Any

from pruner.apply.preconditions import NeededError, Preconditions
from pruner.apply.result import Result
from pruner.cluster.api import Api
from pruner.cluster.resources import IMAGE_STREAMS
from pruner.errors import ConflictError, NotFoundError, PrunerError
from pruner.plan import DeletedStream


class EmptyStreamPruner:
    """Deletes single image streams; what happens to each is noted in the result."""

    def __init__(self, api: Api, result: Result) -> None:
        self.api = api
        self.result = result

    async def prune(self, planned: DeletedStream, preconditions: Preconditions) -> None:
        """Delete one image stream by its uid and resourceVersion. A failure is noted in the result.

        Raises StaleViewError where the cluster has to be looked at again first.
        """
        what = f"image stream {planned.stream}"
        try:
            stream = await self.api.get(IMAGE_STREAMS, dict, namespace=planned.namespace, name=planned.name)
            kept = _needed(stream, planned)
            if kept is not None:
                self.result.skip(what, kept)
                return
            await self.api.delete(
                IMAGE_STREAMS,
                namespace=planned.namespace,
                name=planned.name,
                uid=planned.uid,
                resource_version=stream["metadata"]["resourceVersion"],
                before=preconditions.unless(lambda: preconditions.needs.of_stream(planned.stream)),
            )
        except NotFoundError:
            self.result.skip(what, "it is gone")
        except ConflictError:
            self.result.skip(what, "it has changed since it was read")
        except NeededError as needed:
            self.result.skip(what, str(needed))
        except PrunerError as error:
            self.result.failed(what, error)
            preconditions.breaker.failed()
        else:
            self.result.deleted_image_streams.append(planned.stream)
            preconditions.breaker.succeeded()


def _needed(stream: dict[str, Any], planned: DeletedStream) -> str | None:
    """Why the stream that the server has must not be deleted; None where it is still the empty one that was planned."""
    if stream["metadata"].get("uid") != planned.uid:
        return "it was deleted and created again"
    if (stream.get("spec") or {}).get("tags") or (stream.get("status") or {}).get("tags"):
        return "it has a tag now"
    if stream["metadata"].get("ownerReferences"):
        return "it has an owner now"
    return None
