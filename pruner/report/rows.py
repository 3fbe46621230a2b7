"""The rows of a report, one for every digest, and what they sum up to by image stream."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Final

import msgspec

from pruner.plan import PrunedBlob, PrunePlan, StreamChange
from pruner.reasons import Reason, Retiring
from pruner.report.decisions import Decisions, KeptRevision

NO_STREAM: Final = "(no image stream)"


class NamedBy(msgspec.Struct, frozen=True, gc=False):
    """A revision that is pruned and names an image, and the decision on it. Of one that is kept, `KeptRevision` is."""

    stream: str
    tag: str
    revision: int
    created: datetime
    reason: Reason


class ReportedImage(msgspec.Struct, frozen=True, gc=False):
    """One digest, with all that explains the decision on it.

    `home` is the image stream, `namespace/name`, that it is shown under: the one whose revision goes, or else one that
    names it, or else the repository that it was pushed to; empty where none is known. `freed` are the bytes of the
    blobs that go with it; a blob that several of them share counts in each. `size` is what the API says it takes.
    `created` is None for a revision whose Image object is absent.
    """

    digest: str
    reason: Reason
    home: str = ""
    created: datetime | None = None
    size: int | None = None
    freed: int = 0
    unmeasured: int = 0
    reference: str = ""
    named_by: tuple[NamedBy | KeptRevision, ...] = ()
    used_by: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        return self.home.partition("/")[0]

    @property
    def absent(self) -> bool:
        """There is no Image object of this digest, only a revision
        that names it: it counts as a revision, not an image.
        """
        return self.created is None

    @property
    def retiring(self) -> bool:
        """Whether the plan retires it (R36)."""
        return isinstance(self.reason, Retiring)

    @property
    def losing(self) -> tuple[NamedBy | KeptRevision, ...]:
        """The revisions of it that go. Those of an image that stays go too, where something else names it."""
        return tuple(named for named in self.named_by if not named.reason.kept)

    @property
    def name(self) -> str:
        """`namespace/stream:tag`, by the first revision that names it, or else its home."""
        named = next((each for each in self.named_by if each.stream == self.home), None)
        return f"{named.stream}:{named.tag}" if named is not None else self.home


class StreamSum(msgspec.Struct, frozen=True):
    """What is pruned of an image stream. Each blob counts once, in the first stream that loses it."""

    stream: str
    images: int = 0
    revisions: int = 0
    bytes: int = 0

    @property
    def namespace(self) -> str:
        return self.stream.partition("/")[0]


class Rows:
    """Puts images, the revisions that name them, their users and their blobs together."""

    def __init__(self, plan: PrunePlan, decisions: Decisions) -> None:
        self.plan = plan
        self.decisions = decisions
        self.blobs: Mapping[str, PrunedBlob] = {blob.digest: blob for blob in plan.blobs}
        self.sizes = {each.name: each.size for each in decisions.sizes}
        self.users = {each.image: each.by for each in decisions.uses}
        self.changes: defaultdict[str, list[tuple[str, StreamChange]]] = defaultdict(list)
        # In order, so that the revisions of each image are, too.
        for change in sorted(((change.stream, change) for change in plan.streams), key=itemgetter(0)):
            for digest in {item.image for item in change[1].revisions}:
                self.changes[digest].append(change)
        self.kept: defaultdict[str, list[KeptRevision]] = defaultdict(list)
        for kept in decisions.revisions:
            self.kept[kept.image].append(kept)
        self._by_image: dict[str, Mapping[str, Sequence[NamedBy]]] = {}

    def ordered(self) -> list[ReportedImage]:
        """The beginning of each row, in order: without names and users, which `whole` adds."""
        found = [*self._pruned(), *self._retired(), *self._absent(), *self._kept()]
        return sorted(found, key=lambda image: (image.reason.kept, -image.freed, -(image.size or 0), image.digest))

    def whole(self, image: ReportedImage) -> ReportedImage:
        """The row that begins so."""
        return msgspec.structs.replace(
            image,
            home=self.home(image.digest, image.reference),
            named_by=self._named_by(image.digest),
            used_by=self.users.get(image.digest, ()),
        )

    def touched(self, image: ReportedImage) -> bool:
        """Whether the plan deletes it, retires it or takes a revision from it."""
        return not image.reason.kept or image.retiring or image.digest in self.changes

    def home(self, digest: str, reference: str) -> str:
        """`ReportedImage.home`."""
        if digest in self.changes:
            return self.changes[digest][0][0]
        if digest in self.kept:
            return min(self.kept[digest], key=_PLACE).stream
        return _pushed_to(reference)

    def _pruned(self) -> Iterable[ReportedImage]:
        for image in self.plan.images:
            freed, unmeasured = self._measured(image.blobs)
            yield ReportedImage(
                digest=image.name,
                reason=image.reason,
                created=image.created,
                size=self.sizes.get(image.name),
                freed=freed,
                unmeasured=unmeasured,
                reference=image.reference,
            )

    def _measured(self, digests: Iterable[str]) -> tuple[int, int]:
        """The bytes of those blobs that are pruned, and how many of them are of unknown size."""
        freed = unmeasured = 0
        for digest in digests:
            if (blob := self.blobs.get(digest)) is None:
                continue
            if blob.size is None:
                unmeasured += 1
            else:
                freed += blob.size
        return freed, unmeasured

    def _retired(self) -> Iterable[ReportedImage]:
        sizes = {image.name: image.size for image in self.decisions.images} if self.plan.retired else {}
        for image in self.plan.retired:
            yield ReportedImage(
                digest=image.name,
                reason=image.reason,
                created=image.created,
                size=sizes.get(image.name),
                reference=image.reference,
            )

    def _absent(self) -> Iterable[ReportedImage]:
        """What revisions that go name without there being an Image that goes or is known to stay."""
        known = {image.name for image in self.plan.images} | {image.name for image in self.decisions.images}
        known |= {image.name for image in self.plan.retired}
        for digest in sorted(self.changes.keys() - known):
            yield ReportedImage(digest, self._named_by(digest)[0].reason)

    def _kept(self) -> Iterable[ReportedImage]:
        retired = {image.name for image in self.plan.retired}
        for image in self.decisions.images:
            if image.name not in retired:
                yield ReportedImage(
                    digest=image.name,
                    reason=image.reason,
                    created=image.created,
                    size=image.size,
                    reference=image.reference,
                )

    def _named_by(self, digest: str) -> tuple[NamedBy | KeptRevision, ...]:
        """Revisions that go come first."""
        pruned = (self._revisions(*change)[digest] for change in self.changes.get(digest, ()))
        kept = self.kept.get(digest, ())
        return (*chain.from_iterable(pruned), *(kept if len(kept) < 2 else sorted(kept, key=_PLACE)))

    def _revisions(self, stream: str, change: StreamChange) -> Mapping[str, Sequence[NamedBy]]:
        """The revisions that a stream loses, by image."""
        if stream not in self._by_image:
            found: defaultdict[str, list[NamedBy]] = defaultdict(list)
            for item in sorted(change.revisions, key=_PLACE_IN_STREAM):
                found[item.image].append(NamedBy(stream, item.tag, item.revision, item.created, item.reason))
            self._by_image[stream] = found
        return self._by_image[stream]


_PLACE_IN_STREAM: Final = attrgetter("tag", "revision")
_PLACE: Final = attrgetter("stream", "tag", "revision")


def _pushed_to(reference: str) -> str:
    path = reference.partition("@")[0].partition("/")[2]
    return path if path.count("/") == 1 else ""


def stream_sums(plan: PrunePlan) -> tuple[StreamSum, ...]:
    """What is pruned of each image stream, as the report of a plan alone says it, without a row for each image."""
    named: dict[str, str] = {}
    for change in sorted(plan.streams, key=attrgetter("stream")):
        named.update({item.image: change.stream for item in change.revisions if item.image not in named})
    return sums_by_home(
        plan, {image.name: named.get(image.name) or _pushed_to(image.reference) for image in plan.images}
    )


def sums_by_home(plan: PrunePlan, found: Mapping[str, str]) -> tuple[StreamSum, ...]:
    """By the home of each image that is pruned, largest first. The sum of all is what the plan frees."""
    homes = {image.name: found[image.name] or NO_STREAM for image in plan.images}
    numbers = Counter(homes.values())
    revisions = Counter[str]()
    for change in plan.streams:
        revisions[change.stream] += len(change.revisions)
    freed = Counter[str]()
    # Each blob that is left counts in the first stream that loses it.
    left = {blob.digest: blob.size or 0 for blob in plan.blobs}
    if left:
        for home, image in sorted(
            ((homes[image.name], image) for image in plan.images), key=lambda each: (each[0], each[1].name)
        ):
            freed[home] += sum(left.pop(digest, 0) for digest in image.blobs)
        if rest := sum(left.values()):
            freed[NO_STREAM] += rest
    sums = (
        StreamSum(stream, numbers[stream], revisions[stream], freed[stream])
        for stream in dict.fromkeys((*revisions, *numbers, *freed))
    )
    return tuple(sorted(sums, key=lambda each: (-each.bytes, -each.images, each.stream)))
