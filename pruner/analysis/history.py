"""The history of tags as it was decided: for each revision of a tag the reason that keeps or prunes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress
from typing import cast

import msgspec

from pruner.analysis.attached import PREFIX, subject_of
from pruner.cluster.objects import ImageStream, TagEvent
from pruner.reasons import AttachedToKept, Expired, ImageAbsent, PruneReason, Reason


class TagDecisions(msgspec.Struct, frozen=True, gc=False):
    """The reason for the decision on each revision of a tag, whether each is kept, and the numbers of those that go.

    Most tags of a cluster have one of a few dozen in common.
    """

    reasons: tuple[Reason, ...]
    kept: tuple[bool, ...]
    pruned: tuple[int, ...]

    @classmethod
    def of(cls, reasons: Iterable[Reason]) -> TagDecisions:
        reasons = tuple(reasons)
        pruned = tuple([revision for revision, reason in enumerate(reasons) if not reason.kept])
        return cls(reasons, tuple([reason.kept for reason in reasons]), pruned)


class TagHistory(msgspec.Struct, frozen=True, gc=False):
    """The items of a tag, newest first, and the decision on each."""

    tag: str
    items: tuple[TagEvent, ...]
    decisions: TagDecisions

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return self.decisions.reasons

    def decided(self) -> Iterator[tuple[TagEvent, Reason]]:
        """Each item with its reason."""
        return zip(self.items, self.decisions.reasons, strict=True)

    def remaining(self) -> Iterable[TagEvent]:
        return compress(self.items, self.decisions.kept) if self.decisions.pruned else self.items

    def pruned(self) -> list[tuple[int, TagEvent, PruneReason]]:
        """Revision, item and reason of what is pruned."""
        items, reasons = self.items, cast(tuple[PruneReason, ...], self.decisions.reasons)
        return [(revision, items[revision], reasons[revision]) for revision in self.decisions.pruned]

    @property
    def emptied(self) -> bool:
        """Whether its last item is pruned."""
        return bool(self.items) and len(self.decisions.pruned) == len(self.items)


class StreamHistory(msgspec.Struct, frozen=True, gc=False):
    """An image stream and the histories of its tags.

    `whole` says whether there is any tag that goes as a whole unless something keeps it: an expired one, or an attached
    one.
    """

    stream: ImageStream
    tags: tuple[TagHistory, ...]
    whole: bool = False

    @property
    def changes(self) -> bool:
        """Whether any item is pruned."""
        return any(tag.decisions.pruned for tag in self.tags)

    @property
    def removed_spec_tags(self) -> tuple[str, ...]:
        """The expired tags that lose their last item and have an entry in `spec.tags`, which goes too (R32), sorted."""
        if not self.whole:
            return ()
        expired = {tag.tag for tag in self.tags if tag.emptied and isinstance(tag.reasons[0], Expired)}
        return tuple(sorted(expired & self.stream.spec_tags)) if expired else ()

    def remaining(self) -> set[str]:
        """The images that kept items name."""
        return {item.image for tag in self.tags for item in tag.remaining() if item.image}

    def pruned(self) -> set[str]:
        return {tag.items[revision].image for tag in self.tags for revision in tag.decisions.pruned}


def attached_and_pruned(tags: Iterable[TagHistory]) -> Iterator[tuple[str, list[str]]]:
    """The attached tags that lose revisions: the subject, and the images that these revisions name (R35)."""
    for tag in tags:
        subject = subject_of(tag.tag) if tag.tag[:7] == PREFIX and tag.decisions.pruned else None
        if subject is not None:
            yield subject, [item.image for _, item, reason in tag.pruned() if not isinstance(reason, ImageAbsent)]


def attached_to_kept(tags: Iterable[TagHistory]) -> Iterator[str]:
    """The subjects of the tags that are kept with them."""
    for tag in tags:
        if tag.tag[:7] == PREFIX:
            yield from (reason.subject for reason in tag.reasons if isinstance(reason, AttachedToKept))
