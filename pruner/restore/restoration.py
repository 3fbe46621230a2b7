"""The writes of a restoration (R37), in an order that can be interrupted anywhere.

First each image is marked as restored, which keeps runs from removing it. Then its revisions go back into the image
streams, status before spec, each with the resourceVersion of the stream just read. Its record is removed last. What was
interrupted is finished by the same command, which finds what is there already.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from pruner.apply.retirement import annotate
from pruner.apply.run_lock import Clock, RunLock
from pruner.cluster.api import Api
from pruner.cluster.lists import decoder_of_pages
from pruner.cluster.objects import ApiImage
from pruner.cluster.permissions import Permission
from pruner.cluster.resources import IMAGE_STREAMS, IMAGES
from pruner.cluster.retirement import (
    RESTORED,
    RETIRED,
    VERSION,
    Record,
    RemovedRevision,
    Restoration,
    decoded_record,
    decoded_restoration,
    record_of,
    restoration_of,
    without,
    written,
)
from pruner.cluster.snapshot import Progress, silent
from pruner.errors import ConflictError, ForbiddenError, NotFoundError, PrunerError, UnsafePlanError
from pruner.restore.history import Placed, with_revisions, with_spec_tags
from pruner.restore.selection import Choice, Chosen, Cluster, MarkedImage, choose
from pruner.restore.table import Restored, Row

CONFLICTS: Final = 10
"""How often an object that keeps changing is read and written again."""
_STREAM_GONE: Final = "its image stream was deleted; create it again, then restore"


async def restore(
    api: Api,
    choice: Choice,
    *,
    dry_run: bool = False,
    workers: int = 20,
    progress: Progress = silent,
    warn: Progress = silent,
    clock: Clock | None = None,
) -> Restored:
    """Bring back what was chosen, as far as it can come back.

    Raises NotRetiredError for what is not retired, ForbiddenError where a permission is missing, UnsafePlanError while
    a run is at work; all of them before anything is changed. `clock` measures how long the Lease of a run that was
    killed is observed.
    """
    progress("reading images")
    cluster = await _read(api, choice)
    chosen = choose(choice, cluster)
    work = _Restoration(api, cluster, chosen, workers, progress)
    await work.look()
    if dry_run:
        missing = await work.missing_permissions()
        return work.result(dry_run=True, notes=[f"it would be refused: {each}" for each in missing])
    missing = await work.missing_permissions()
    if missing:
        raise ForbiddenError(f"{api.server}: {'; '.join(missing)}; nothing was changed")
    async with RunLock(api, warn, work.stop, clock=clock):
        await work.write()
    return work.result(dry_run=False)


async def _read(api: Api, choice: Choice) -> Cluster:
    """The images with marks, and what stands in the tags that were named."""
    marked: dict[str, MarkedImage] = {}
    images: set[str] = set()
    async for page in api.pages(IMAGES, decoder_of_pages(ApiImage)):
        for image in page.items:
            name, annotations = image.metadata.name, image.metadata.annotations
            images.add(name)
            if annotations is None or not (annotations.retired or annotations.restored):
                continue
            marked[name] = MarkedImage(
                name=name,
                record=decoded_record(annotations.retired) if annotations.retired else None,
                restoration=decoded_restoration(annotations.restored) if annotations.restored else None,
                members=tuple(member.digest for member in image.docker_image_manifests or ()),
            )
    tags: dict[str, tuple[str, ...] | None] = {}
    for name in choice.names:
        stream, colon, tag = name.rpartition(":")
        namespace, slash, plain = stream.partition("/")
        if colon and slash and namespace and plain and "/" not in plain:
            tags[name] = await _images_of(api, namespace, plain, tag)
    return Cluster(marked=marked, images=frozenset(images), tags=tags)


async def _images_of(api: Api, namespace: str, name: str, tag: str) -> tuple[str, ...] | None:
    """The images that a tag names; None where there is no such image stream."""
    try:
        stream = await api.get(IMAGE_STREAMS, dict, namespace=namespace, name=name)
    except NotFoundError:
        return None
    histories = (stream.get("status") or {}).get("tags") or ()
    return tuple(item["image"] for each in histories if each["tag"] == tag for item in each.get("items") or ())


class _Restoration:
    """One restoration: the rows of its result, and how far each image has come."""

    def __init__(self, api: Api, cluster: Cluster, chosen: Chosen, workers: int, progress: Progress) -> None:
        self.api = api
        self.cluster = cluster
        self.chosen = chosen
        self.progress = progress
        self.stopped: str | None = None
        self.until: datetime | None = None
        self._limit = asyncio.Semaphore(workers)
        self._rows: dict[tuple[str, str, str, str], Row] = {}
        self._others: list[Row] = []
        self._spec_tags = False
        self.by_stream: defaultdict[str, list[tuple[str, RemovedRevision]]] = defaultdict(list)
        for image, revisions in chosen.revisions.items():
            for each in revisions:
                self.by_stream[each.stream].append((image, each))

    def stop(self, why: str) -> None:
        """Begin nothing new: the lock is lost."""
        self.stopped = self.stopped or why

    def result(self, *, dry_run: bool, notes: Iterable[str] = ()) -> Restored:
        rows = [*self._rows.values(), *self._others]
        rows.sort(key=lambda row: (row.tag, -1 if row.position is None else row.position, row.image))
        return Restored(dry_run=dry_run, rows=tuple(rows), until=self.until, notes=tuple(notes))

    def _note(self, image: str, revision: RemovedRevision, row: Row) -> None:
        self._rows[image, *revision.key] = row

    # --- looking ------------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Find out what can come back, without writing anything."""
        nothing = "no revision of it was recorded: nothing named it when it was retired; tag it with `oc tag`"
        self._others += [Row(image=name, outcome="impossible", note=nothing) for name in self.chosen.named]
        self._others += [
            Row(image=name, outcome="present", note="it was restored before") for name in self.chosen.already
        ]
        await self._each(self._look_at, sorted(self.by_stream))
        now = self.api.clock.now_or_here()
        records = [self._record(image) for image in self._coming()]
        self.until = max((_until(now, record) for record in records), default=None)

    def _record(self, image: str) -> Record:
        record = self.cluster.marked[image].record
        assert record is not None  # noqa: S101 - only images with records are chosen
        return record

    def _coming(self) -> list[str]:
        """The images of which a revision can come back, or is back."""
        good = {key[0] for key, row in self._rows.items() if row.outcome in ("restored", "present")}
        return sorted(good)

    async def _look_at(self, stream: str) -> None:
        wanted = self.by_stream[stream]
        namespace, _, name = stream.partition("/")
        try:
            found = await self.api.get(IMAGE_STREAMS, dict, namespace=namespace, name=name)
        except NotFoundError:
            for image, revision in wanted:
                self._note(image, revision, Row.of(image, revision, "impossible", _STREAM_GONE))
            return
        _, placed = with_revisions(found, [revision for _, revision in wanted])
        _, spec_tags = with_spec_tags(found, [revision for _, revision in wanted])
        self._spec_tags |= bool(spec_tags)
        self._note_placed(wanted, placed, spec_tags)

    def _note_placed(
        self, wanted: Iterable[tuple[str, RemovedRevision]], placed: Iterable[Placed], spec_tags: set[str]
    ) -> None:
        images = {revision.key: image for image, revision in wanted}
        for each in placed:
            revision = each.revision
            notes = []
            if each.below_current:
                notes.append("below the current revision, since the tag has moved")
            if revision.tag in spec_tags:
                notes.append("with its entry in spec.tags")
            elif revision.spec_tag is not None:
                notes.append("spec.tags has an entry of this tag, which stays")
            image = images[revision.key]
            self._note(
                image,
                revision,
                Row.of(image, revision, "present" if each.present else "restored", "; ".join(notes), each.position),
            )

    async def missing_permissions(self) -> list[str]:
        """What of it the API server would refuse, by access reviews, which write nothing."""
        needed = [
            Permission("up", "get", IMAGES),
            Permission("up", "patch", IMAGES),
            Permission("up", "get", IMAGE_STREAMS),
            Permission("up", "update", IMAGE_STREAMS, "status"),
            *([Permission("up", "update", IMAGE_STREAMS)] if self._spec_tags else []),
        ]
        return [
            f"no permission to {each.verb} {each.plural}.{each.resource.group} (grant verb {each.verb!r} on resource "
            f"{each.plural!r} of API group {each.resource.group!r})"
            for each in needed
            if not await self.api.allowed(each.verb, each.resource, subresource=each.subresource)
        ]

    # --- writing ------------------------------------------------------------------------------------------------------

    async def write(self) -> None:
        """Bring back what can come back. A failure stands in the row of what it concerns."""
        images = self._coming()
        self.progress(f"restoring {len(images)} images")
        await self._each(self._mark, images)
        await self._each(self._write_stream, sorted(self.by_stream))
        await self._each(self._unmark, self._coming())

    async def _each(self, work: Callable[[str], Any], names: Iterable[str]) -> None:
        async def one(name: str) -> None:
            async with self._limit:
                if self.stopped is None:
                    await work(name)

        await asyncio.gather(*map(one, names))
        if self.stopped is not None:
            raise UnsafePlanError(f"{self.api.server}: {self.stopped}; run the command again to finish it")

    async def _mark(self, image: str) -> None:
        """Keep runs from removing the image, before anything of it is back."""
        try:
            await self._patched(image, self._marks)
        except PrunerError as error:
            self._fail(image, error)

    def _marks(self, image: Mapping[str, Any]) -> dict[str, str | None] | None:
        record, now = record_of(image), self.api.clock.now_or_here().replace(microsecond=0)
        known = restoration_of(image)
        if record is None:
            # Something needed it since it was listed, and a run has forgotten its record: its revisions are known.
            record = self._record(image["metadata"]["name"])
        if known is not None and known.at >= record.at:
            return None
        runs = sorted({each.run for each in record.revisions})
        until = _until(now, record)
        return {RESTORED: written(Restoration(version=VERSION, at=now, until=until, runs=tuple(runs)))}

    async def _write_stream(self, stream: str) -> None:
        wanted = [
            (image, revision)
            for image, revision in self.by_stream[stream]
            if self._rows[image, *revision.key].outcome in ("restored", "present")
        ]
        if not wanted:
            return
        try:
            await self._written(stream, wanted)
        except PrunerError as error:
            for image, revision in wanted:
                self._note(image, revision, Row.of(image, revision, "failed", str(error)))

    async def _written(self, stream: str, wanted: list[tuple[str, RemovedRevision]]) -> None:
        namespace, _, name = stream.partition("/")
        revisions = [revision for _, revision in wanted]
        for _ in range(CONFLICTS):
            try:
                found = await self.api.get(IMAGE_STREAMS, dict, namespace=namespace, name=name)
                whole, placed = with_revisions(found, revisions)
                if whole is not found:
                    whole = await self.api.update(
                        IMAGE_STREAMS, whole, namespace=namespace, name=name, subresource="status"
                    )
                declared, spec_tags = with_spec_tags(whole, revisions)
                if spec_tags:
                    await self.api.update(IMAGE_STREAMS, declared, namespace=namespace, name=name)
            except ConflictError:
                continue
            except NotFoundError:
                for image, revision in wanted:
                    self._note(image, revision, Row.of(image, revision, "impossible", _STREAM_GONE))
                return
            self._note_written(wanted, placed, spec_tags)
            return
        raise ConflictError(f"{self.api.server}: it was changed {CONFLICTS} times meanwhile; run the command again")

    def _note_written(
        self, wanted: Iterable[tuple[str, RemovedRevision]], placed: Iterable[Placed], spec_tags: set[str]
    ) -> None:
        """As noted when it was looked at: what was missing then, and is there now, was restored by this."""
        before = {key: row.outcome for key, row in self._rows.items()}
        self._note_placed(wanted, placed, spec_tags)
        for image, revision in wanted:
            key = (image, *revision.key)
            if before[key] == "restored" and self._rows[key].outcome == "present":
                row = self._rows[key]
                self._rows[key] = Row(
                    image=image, tag=row.tag, position=row.position, outcome="restored", note=row.note
                )

    async def _unmark(self, image: str) -> None:
        """Remove what came back from the record, last of all, and
        before that the records of its members, which are needed again.
        """
        back = [
            revision
            for revision in self.chosen.revisions[image]
            if self._rows[image, *revision.key].outcome in ("restored", "present")
        ]

        def rest(found: Mapping[str, Any]) -> dict[str, str | None] | None:
            record = record_of(found)
            if record is None:
                return None
            left = without(record, back)
            return {RETIRED: written(left) if left is not None else None}

        try:
            for member in self._retired_members(image):
                # A member that is gone has no record.
                with suppress(NotFoundError):
                    await self._patched(member, lambda found: {RETIRED: None} if record_of(found) is not None else None)
            await self._patched(image, rest)
        except PrunerError as error:
            self._fail(image, error)

    def _retired_members(self, image: str) -> list[str]:
        """The members of an index, and theirs, that have a record and no revision that was chosen."""
        found, ahead = set[str](), [image]
        while ahead:
            marked = self.cluster.marked.get(ahead.pop())
            new = set(marked.members) - found if marked is not None else set()
            found |= new
            ahead += new
        return sorted(
            name
            for name in found - self.chosen.revisions.keys()
            if name in self.cluster.marked and self.cluster.marked[name].record is not None
        )

    async def _patched(self, image: str, change: Callable[[Mapping[str, Any]], dict[str, str | None] | None]) -> None:
        for _ in range(CONFLICTS):
            found = await self.api.get(IMAGES, dict, name=image)
            annotations = change(found)
            if annotations is None:
                return
            try:
                await annotate(self.api, found, annotations)
            except ConflictError:
                continue
            return
        raise ConflictError(
            f"{self.api.server}: image {image} was changed {CONFLICTS} times meanwhile; run the command again"
        )

    def _fail(self, image: str, error: PrunerError) -> None:
        gone = isinstance(error, NotFoundError)
        for revision in self.chosen.revisions[image]:
            row = self._rows[image, *revision.key]
            if row.outcome in ("restored", "present"):
                why = "the image is gone" if gone else str(error)
                self._note(image, revision, Row.of(image, revision, "impossible" if gone else "failed", why))


def _until(now: datetime, record: Record) -> datetime:
    try:
        return now + timedelta(minutes=record.grace)
    except OverflowError:
        return now
