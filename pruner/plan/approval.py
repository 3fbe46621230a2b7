"""A plan as a limit of what may be deleted: everything that it does not name is kept."""

from __future__ import annotations

from datetime import datetime

import msgspec

from pruner.plan.prune_plan import PrunePlan


class Approval(msgspec.Struct, frozen=True):
    """The names in a plan, as the limit of what may be deleted.

    `spec_tags` are tags whose spec entries may be removed, as (`namespace/name`, tag), `streams` image streams that may
    be deleted, as (`namespace/name`, uid). `retired` are images, as (name, uid), that may be retired, `needed_again`
    those that may lose their record. `dropped` are digests that revisions named which have been removed already: those
    of an analysis in mid-run.
    """

    revisions: frozenset[tuple[str, str, str, datetime]] = frozenset()
    images: frozenset[tuple[str, str]] = frozenset()
    blobs: frozenset[str] = frozenset()
    links: frozenset[tuple[str, str, str]] = frozenset()
    dropped: frozenset[str] = frozenset()
    spec_tags: frozenset[tuple[str, str]] = frozenset()
    streams: frozenset[tuple[str, str]] = frozenset()
    retired: frozenset[tuple[str, str]] = frozenset()
    needed_again: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, plan: PrunePlan) -> Approval:
        return cls(
            revisions=frozenset(
                (change.stream, item.tag, item.image, item.created)
                for change in plan.streams
                for item in change.revisions
            ),
            images=frozenset((image.name, image.uid) for image in plan.images),
            blobs=frozenset(blob.digest for blob in plan.blobs),
            links=frozenset(
                (change.stream, kind, digest)
                for change in plan.streams
                for kind, digests in (("layer", change.layer_links), ("manifest", change.manifest_links))
                for digest in digests
            ),
            spec_tags=frozenset((change.stream, tag) for change in plan.streams for tag in change.removed_spec_tags),
            streams=frozenset((deleted.stream, deleted.uid) for deleted in plan.empty_streams),
            retired=frozenset((image.name, image.uid) for image in plan.retired),
            needed_again=frozenset((image.name, image.uid) for image in plan.needed_again),
        )
