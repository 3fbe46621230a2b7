"""Image streams without tags that are deleted (R34)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cache

from pruner.analysis.blobs import pushed_to
from pruner.analysis.globs import matcher
from pruner.analysis.history import StreamHistory
from pruner.analysis.protection import Protection
from pruner.analysis.retirement import Retirements, is_retained
from pruner.analysis.usage import Usage, age_limit
from pruner.cluster.metadata import moment
from pruner.cluster.objects import Image, Snapshot
from pruner.plan import Approval, DeletedStream
from pruner.reasons import EmptyStream, Reason
from pruner.settings import AnalysisSettings


def empty_streams(
    snapshot: Snapshot,
    rules: AnalysisSettings,
    histories: Iterable[StreamHistory],
    usage: Usage,
    images: Mapping[str, Reason],
    protection: Protection,
    approval: Approval | None,
    retirements: Retirements,
) -> tuple[DeletedStream, ...]:
    """The image streams that have no tag left after the plan, sorted.

    The repository of an image that is kept is kept too.
    """
    setting = rules.empty_streams
    if setting is None:
        return ()
    limit = age_limit(snapshot.as_of, max(setting.older_than, rules.keep_younger_than or timedelta()))
    matches = matcher(setting.streams)
    reason = EmptyStream(int(setting.older_than.total_seconds() // 60))
    found = []
    for history in histories:
        stream, meta = history.stream, history.stream.metadata
        if (
            all(tag.emptied for tag in history.tags)
            and not any(digest in images and is_retained(images[digest]) for digest in history.pruned())
            and moment(meta.creation_timestamp) <= limit
            and stream.spec_tags == frozenset(history.removed_spec_tags)
            and not meta.owner_references
            and (matches is None or matches(stream.name))
            and rules.namespace in (None, meta.namespace)
            and protection.match_item(stream.name, "") is None
            and not {f"ImageStream {stream.name}", f"Namespace {meta.namespace}"} & snapshot.protected
            and (approval is None or (stream.name, meta.uid) in approval.streams)
        ):
            found.append(
                DeletedStream(
                    meta.namespace,
                    meta.name,
                    meta.uid,
                    meta.resource_version,
                    moment(meta.creation_timestamp),
                    reason,
                )
            )
    if not found:
        return ()
    # Retired images are restored into these.
    restorable = retirements.by_stream(images)[0].keys()
    needed = _referenced(usage) | _repositories(snapshot.images, images) | restorable
    return tuple(each for each in found if each.stream not in needed)


def _referenced(usage: Usage) -> set[str]:
    """The image streams that something refers to, whether they have what it names or not."""
    return {*usage.outputs, *(stream for stream, _ in usage.tags), *(stream for stream, _ in usage.digests)}


def _repositories(images: Iterable[Image], decisions: Mapping[str, Reason]) -> set[str]:
    """The repositories that kept images were pushed to: the registry serves their manifests from there."""
    repository_of = cache(pushed_to)
    found = {repository_of(image.location) for image in images if image.managed and decisions[image.name].kept}
    return {repository for repository in found if repository is not None}
