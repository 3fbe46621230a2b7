"""What a plan's file says about an image, a blob, a tag or an image stream: `pruner explain REF --plan FILE`.

The file is read once and not kept: only lines that mention the name are decoded. That the file is whole and unedited is
checked by its count of lines and its checksum. What shows an edit that fits both (the fingerprint, and that each line
is as preview writes it) is checked where a plan is carried out or a report is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.cluster.metadata import BEGINNING
from pruner.explain import (
    NEAR,
    ExplainedBlob,
    ExplainedRevision,
    Explanation,
    UnknownNameError,
    decision_lines,
    pull_spec,
    revision_lines,
)
from pruner.plan import DeletedStream, PlanHeader, PrunedBlob, PrunedImage, RetiredImage, RetirementEnd, StreamChange
from pruner.reasons import Decision, Reason, decided, said
from pruner.report.decisions import ImageSize, InUse, KeptImage, KeptRevision
from pruner.report.jsonl import Counts, find
from pruner.report.wording import count, time

_ALGORITHMS: Final = ("sha256:", "sha512:")
_KINDS: Final = {
    PrunedImage: "an Image that the plan deletes",
    RetiredImage: "an Image that the plan retires",
    RetirementEnd: "a retired Image that is needed again",
    KeptImage: "an Image that is kept",
}
AnImage = PrunedImage | RetiredImage | RetirementEnd | KeptImage


class PlanExplanation(Explanation, frozen=True, kw_only=True):
    """What a plan says about a name.

    `plan` is its fingerprint; `complete` says whether the file also holds what is kept, as `pruner plan --out` and a
    preview's `report` write it.
    """

    cluster: str
    as_of: datetime
    plan: str
    complete: bool


class _Target(msgspec.Struct, frozen=True):
    """What is looked for: a digest, which may be the beginning of one, or an image stream and a tag of it."""

    digest: str = ""
    stream: str = ""
    tag: str = ""

    def needles(self) -> tuple[bytes, ...]:
        """What lines contain that mention it."""
        if self.digest:
            return (_inside(self.digest),)
        namespace, _, name = self.stream.partition("/")
        return (
            b'"namespace":"%b","name":"%b"' % (_inside(namespace), _inside(name)),
            b'"stream":"%b"' % _inside(self.stream),
            b'{"line":"in use"',
        )


class _Found:
    """The lines of a file that mention a name, by their kinds."""

    def __init__(self, values: Iterator[Any]) -> None:
        self.header: PlanHeader = next(values)
        self.complete = False
        self.images: list[AnImage] = []
        self.blobs: list[PrunedBlob] = []
        self.sizes: dict[str, int] = {}
        self.users: dict[str, tuple[str, ...]] = {}
        self.deleted: list[DeletedStream] = []
        self.revisions: list[KeptRevision] = []
        for value in values:
            self._add(value)

    def _add(self, value: Any) -> None:
        match value:
            case Counts():
                self.complete = True
            case StreamChange():
                self.revisions += (
                    KeptRevision(value.stream, item.tag, item.revision, item.image, item.created, item.reason)
                    for item in value.revisions
                )
            case KeptRevision():
                self.revisions.append(value)
            case PrunedImage() | RetiredImage() | RetirementEnd() | KeptImage():
                self.images.append(value)
            case PrunedBlob():
                self.blobs.append(value)
            case DeletedStream():
                self.deleted.append(value)
            case InUse():
                self.users[value.image] = value.by
            case ImageSize():
                self.sizes[value.name] = value.size

    def digests(self) -> set[str]:
        """All that the lines decide about."""
        blobs = {blob for image in self.images if isinstance(image, PrunedImage) for blob in image.blobs}
        names = {image.name for image in self.images} | {item.image for item in self.revisions}
        return names | blobs | {blob.digest for blob in self.blobs}


def explain_plan(path: Path, reference: str) -> PlanExplanation:
    """What the plan in this file says about a name, of the forms that `pruner.explain.explain` takes.

    Raises UnknownNameError for a name of another form, and for one that the plan has no decision about; OSError; and
    UnsafePlanError for a file that is not a plan, is truncated or was edited.
    """
    text = reference.strip().rpartition("://")[2]
    target = _target(reference, text)
    found = _Found(find(path, target.needles()))
    header = found.header
    facts = _of_digest(found, target) if target.digest else _of_stream(found, target)
    if facts is None:
        used = f", which is {said(found.users[target.digest])}" if target.digest in found.users else ""
        rest = "" if found.complete else ", and the file does not hold what is kept"
        raise UnknownNameError(
            f"{path}: the plan has no decision about {text!r}{used}{rest}; to ask a cluster, run "
            f"`pruner explain {text}` without --plan"
        )
    return PlanExplanation(
        reference=text,
        cluster=header.cluster,
        as_of=header.as_of,
        plan=header.fingerprint,
        complete=found.complete,
        **facts,
    )


def _inside(text: str) -> bytes:
    """The text as it stands between the quotes of JSON."""
    return msgspec.json.encode(text)[1:-1]


def _target(reference: str, text: str) -> _Target:
    if text and "/" not in text and "@" not in text:
        return _Target(digest=f"sha256:{text}" if re.fullmatch("[0-9a-f]{7,64}", text) else text)
    spec = pull_spec(reference, text)
    stream = spec.path if spec.path.count("/") == 1 else ""
    if spec.digest:
        return _Target(digest=spec.digest, stream=stream)
    if not stream:
        raise UnknownNameError(f"{text!r} names no image stream; it is named namespace/stream")
    return _Target(stream=stream, tag=spec.tag or ("latest" if spec.host else ""))


def _of_digest(found: _Found, target: _Target) -> dict[str, Any] | None:
    digest = _whole(found, target.digest)
    if digest is None:
        return None
    image = next((each for each in found.images if each.name == digest), None)
    named = [item for item in found.revisions if item.image == digest]
    # A pull spec may have a path of another registry, whose digest is known all the same (R12).
    here = [item for item in named if item.stream == target.stream] or named
    what = _KINDS[type(image)] if image is not None else "named by revisions, and its Image object is absent"
    blob = None
    if image is None and not named:
        needed_by = [each.name for each in found.images if isinstance(each, PrunedImage) and digest in each.blobs]
        blob = ExplainedBlob(digest, any(each.digest == digest for each in found.blobs), tuple(needed_by))
        what = "a blob that the plan deletes" if blob.pruned else "a blob of images that the plan deletes"
    size = found.sizes.get(digest) or (image.size if isinstance(image, KeptImage) else None)
    return {
        "what": f"{what}, of {size:,} bytes" if size else what,
        "digest": digest,
        "decision": _on(image) if image is not None else None,
        "revisions": _explained(found, here),
        "used_by": found.users.get(digest, ()),
        "pruned_blobs": image.blobs if isinstance(image, PrunedImage) else (),
        "blob": blob,
    }


def _whole(found: _Found, text: str) -> str | None:
    """The digest that the text is, or is the beginning of; None where the plan decides about no such one."""
    known = found.digests()
    if text in known:
        return text
    digests = sorted(digest for digest in known if digest.startswith(text)) if text.startswith(_ALGORITHMS) else []
    if len(digests) > 1:
        raise UnknownNameError(f"{text!r} begins {len(digests)} digests: {', '.join(digests[:NEAR])}")
    return digests[0] if digests else None


def _on(image: AnImage) -> Decision:
    # The time of an Image that is needed again is not in the plan.
    return decided(image.reason, [], BEGINNING if isinstance(image, RetirementEnd) else image.created)


def _of_stream(found: _Found, target: _Target) -> dict[str, Any] | None:
    of_stream = [item for item in found.revisions if item.stream == target.stream]
    deleted = next((each for each in found.deleted if each.stream == target.stream), None)
    here = [item for item in of_stream if target.tag in ("", item.tag)]
    if not here and (target.tag or deleted is None):
        return None
    tags, number = len({item.tag for item in here}), count(len(here), "revision")
    users = {user for item in here for user in found.users.get(item.image, ())}
    return {
        "what": f"a tag with {number}" if target.tag else f"an image stream with {count(tags, 'tag')} and {number}",
        "decision": decided(deleted.reason, [], deleted.created) if deleted and not target.tag else None,
        "revisions": _explained(found, here),
        "used_by": tuple(sorted(users)),
    }


def _explained(found: _Found, revisions: Iterable[KeptRevision]) -> tuple[ExplainedRevision, ...]:
    def decision(created: datetime, reason: Reason) -> Decision:
        return decided(reason, [], created)

    ordered = sorted(revisions, key=lambda item: (item.stream, item.tag, item.revision))
    return tuple(
        ExplainedRevision(
            f"{item.stream}:{item.tag}",
            item.revision,
            item.image,
            item.created,
            decision(item.created, item.reason),
            found.users.get(item.image, ()),
        )
        for item in ordered
    )


def lines(explanation: PlanExplanation) -> Iterator[str]:
    """The explanation for people."""
    yield from decision_lines(explanation)
    if explanation.used_by:
        images = "its images are " if explanation.digest is None else ""
        yield f"  {images}{said(explanation.used_by)}"
    if explanation.pruned_blobs:
        yield f"  {count(len(explanation.pruned_blobs), 'blob')} deleted with it"
    if explanation.blob is not None:
        yield f"  {'pruned' if explanation.blob.pruned else 'kept'}: needed by {', '.join(explanation.blob.needed_by)}"
    yield from revision_lines(explanation)
    kept = "" if explanation.complete else "; the file does not hold what is kept"
    yield f"  by the plan of cluster {explanation.cluster} as of {time(explanation.as_of)}, {explanation.plan}{kept}"
    yield f"  a plan has one reason for each decision; for all of them, run `pruner explain {explanation.reference}`"
