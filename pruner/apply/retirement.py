"""Writes and removes the records of retired images (R36).

A record is written before the revisions that it describes are removed, and only onto the very object that was read: so
whatever interrupts a run, no image is without a name and without its record.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from pruner.apply.preconditions import NeededError
from pruner.apply.result import Result
from pruner.cluster.api import Api
from pruner.cluster.resources import IMAGES
from pruner.cluster.retirement import (
    RESTORED,
    RETIRED,
    Record,
    RemovedRevision,
    merged,
    record_of,
    room_for_record,
    written,
)
from pruner.errors import ConflictError, NotFoundError, PrunerError
from pruner.http.client import Precondition
from pruner.plan import RetirementEnd

CONFLICTS: Final = 10
"""How often an Image that keeps changing is read and patched again."""


class Retirer:
    """Retires images of one run, with `minutes` of grace from the time `at`; `run` is the fingerprint of its plan.

    `recorded` are the images that have a record of this run.
    """

    def __init__(self, api: Api, result: Result, *, at: datetime, minutes: int, run: str) -> None:
        self.api = api
        self.result = result
        self.at = at
        self.minutes = minutes
        self.run = run
        self.recorded: set[str] = set()
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def removed_from(
        self, stream: Mapping[str, Any], going: Iterable[tuple[str, int]], spec_tags: Iterable[str]
    ) -> dict[str, list[RemovedRevision]]:
        """The revisions of a stream that go, by tag and number, as records keep them: by image."""
        meta, declared = stream["metadata"], set(spec_tags)
        name = f"{meta['namespace']}/{meta['name']}"
        in_spec = {tag["name"]: tag for tag in (stream.get("spec") or {}).get("tags") or () if tag["name"] in declared}
        items = {tag["tag"]: tag.get("items") or [] for tag in stream["status"].get("tags") or ()}
        found: defaultdict[str, list[RemovedRevision]] = defaultdict(list)
        for tag, position in sorted(going):
            item = items[tag][position]
            found[item["image"]].append(
                RemovedRevision(
                    stream=name,
                    tag=tag,
                    position=position,
                    item=item,
                    at=self.at,
                    run=self.run,
                    spec_tag=in_spec.get(tag),
                )
            )
        return found

    async def record(self, image: str, removed: Iterable[RemovedRevision], before: Precondition) -> None:
        """Write the record of an image, with the revisions that are about to be removed added to those that it has.

        An Image that is gone needs none. Raises ClusterError where the record cannot be written.
        """
        removed = tuple(removed)
        async with self._writing[image]:
            for _ in range(CONFLICTS):
                try:
                    found = await self.api.get(IMAGES, dict, name=image)
                    known = record_of(found)
                    if known is None or known.at != self.at or not {each.key for each in removed} <= _keys(known):
                        record = merged(known, removed, at=self.at, grace=self.minutes, room=room_for_record(found))
                        self._note_omitted(image, known, record)
                        await annotate(self.api, found, {RETIRED: written(record), RESTORED: None}, before)
                except ConflictError:
                    continue
                except NotFoundError:
                    return
                self.recorded.add(image)
                return
        raise ConflictError(
            f"{self.api.server}: image {image} was changed {CONFLICTS} times while it was to be retired; the next run "
            "tries again"
        )

    def _note_omitted(self, image: str, known: Record | None, record: Record) -> None:
        before = known.omitted if known is not None else 0
        if record.omitted > before:
            self.result.skip(
                f"record of image {image}",
                f"{record.omitted - before} of its revisions have no room in the annotation, so they cannot be "
                "restored",
            )

    async def forget(self, ended: RetirementEnd, before: Precondition) -> None:
        """Remove the record of an image that is needed again. A failure is noted in the result."""
        what = f"record of image {ended.name}"
        try:
            found = await self.api.get(IMAGES, dict, name=ended.name)
            if found["metadata"].get("uid") != ended.uid:
                self.result.skip(what, "the image was deleted and created again")
                return
            await annotate(self.api, found, {RETIRED: None}, before)
        except NotFoundError:
            self.result.skip(what, "the image is gone")
        except (ConflictError, NeededError):
            self.result.skip(what, "the image has changed since it was read")
        except PrunerError as error:
            self.result.failed(what, error)
        else:
            self.result.needed_again += 1


def _keys(record: Record) -> set[tuple[str, str, str]]:
    return {each.key for each in record.revisions}


async def annotate(
    api: Api, image: Mapping[str, Any], annotations: Mapping[str, str | None], before: Precondition | None = None
) -> dict[str, Any]:
    """Set annotations of this very Image, as it was read; None removes one.

    Raises ConflictError when it has changed since.
    """
    meta = image["metadata"]
    precise = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    body = {"metadata": {**precise, "annotations": dict(annotations)}}
    return await api.patch(IMAGES, body, name=meta["name"], before=before)
