"""What a plan names and a run does not prune, since the cluster has changed: each with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from pruner.analysis import Analysis
from pruner.analysis.retirement import is_retained
from pruner.apply.result import Skipped
from pruner.plan import Approval
from pruner.reasons import Reason


def skipped_images(analysis: Analysis, approval: Approval) -> Iterator[tuple[str, Skipped]]:
    """Images that were to be deleted and are kept now, by name."""
    pruned = {image.name for image in analysis.plan.images}
    for name, _ in sorted(approval.images):
        if name not in pruned:
            yield name, _skipped(f"image {name}", analysis.images.get(name))


def skipped_retirements(analysis: Analysis, approval: Approval) -> Iterator[Skipped]:
    """Images that were to be retired and are needed now."""
    for name, _ in sorted(approval.retired):
        decision = analysis.images.get(name)
        if decision is None or not is_retained(decision):
            yield _skipped(f"image {name}", decision)


def skipped_revisions(analysis: Analysis, approval: Approval) -> Iterator[Skipped]:
    """Revisions that were to be removed and are kept now."""
    left = Approval.of(analysis.plan).revisions
    decisions = {
        (history.stream.name, tag.tag, item.image): decision
        for history in analysis.histories
        for tag in history.tags
        for item, decision in zip(tag.items, tag.reasons, strict=True)
    }
    for revision in sorted(approval.revisions - left):
        stream, tag, digest, _ = revision
        yield _skipped(f"revision {stream}:{tag} {digest}", decisions.get((stream, tag, digest)))


def _skipped(what: str, decision: Reason | None) -> Skipped:
    return Skipped(what, str(decision) if decision is not None else "it is gone")
