"""Why an image, a tag or an image stream is kept or pruned: `pruner explain REF`.

`explain` is given an analysis and a name, and gives an `Explanation`: what the name stands for, what refers to it, the
reason for the decision, and what would have to change for another decision. It is a pure function; the command takes
the analysis from a cluster and writes the explanation as text or as JSON. Nothing is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import msgspec

from pruner.analysis import Analysis, InvalidPullSpecError, PullSpec, parse_pull_spec
from pruner.analysis.empty_streams import is_empty
from pruner.analysis.history import StreamHistory
from pruner.cluster.metadata import moment
from pruner.cluster.objects import Image
from pruner.errors import PrunerError
from pruner.reasons import Decision, MemberOf, Reason, decided, said, time_said
from pruner.report.wording import count
from pruner.suggestions import closest

NEAR: Final = 5
"""So many near names are listed for one that is unknown."""


class UnknownNameError(PrunerError):
    """The name stands for nothing in this cluster, or is no name at all; the message lists near ones."""


class ExplainedRevision(msgspec.Struct, frozen=True):
    """One revision of a tag (`namespace/stream:tag`; 0 is the
    current one), what refers to it, and the decision on it.
    """

    tag: str
    revision: int
    image: str
    created: datetime
    decision: Decision
    used_by: tuple[str, ...] = ()


class MatchedRule(msgspec.Struct, frozen=True):
    """The first retention rule that matches a tag, whether the tag expires by it, and the reason in words."""

    name: str
    expired: bool
    said: str


class ExplainedBlob(msgspec.Struct, frozen=True):
    """A blob, and the images that need it; it is pruned when all of them are."""

    digest: str
    pruned: bool
    needed_by: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about a name.

    `decision` is that on the Image, where the name stands for one, or on an image stream of which no revision stays,
    and which is deleted or kept as a whole (R34). `retention` is what the retention rule decides that a tag belongs to
    (R29). `blobs` is the number of its blobs, `pruned_blobs` are those that are pruned; `indexes` name the image,
    `members` it names.
    """

    reference: str
    what: str
    digest: str | None = None
    decision: Decision | None = None
    retention: MatchedRule | None = None
    revisions: tuple[ExplainedRevision, ...] = ()
    used_by: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    blobs: int = 0
    pruned_blobs: tuple[str, ...] = ()
    blob: ExplainedBlob | None = None


def explain(analysis: Analysis, reference: str) -> Explanation:
    """What this name stands for: a digest, `namespace/stream[:tag|@digest]`, or a pull spec.

    A digest may be cut short where it is unique, and a scheme before it, as in a pod's imageID, is passed over. Raises
    UnknownNameError for malformed names, and for unknown ones.
    """
    text = reference.strip().rpartition("://")[2]
    digest = _digest(analysis, text)
    if digest is not None:
        return _of_digest(analysis, text, digest)
    return _of_pull_spec(analysis, text, pull_spec(reference, text))


def pull_spec(reference: str, text: str) -> PullSpec:
    """What a name that is no digest is read as. Raises UnknownNameError for a malformed one, as `reference`."""
    try:
        return parse_pull_spec(text)
    except InvalidPullSpecError as error:
        raise UnknownNameError(
            f"{reference!r} is none of a digest, namespace/stream, namespace/stream:tag, namespace/stream@digest and a "
            f"pull spec: {error}"
        ) from None


# --- from a name to what it stands for -------------------------------------------------------------------------------


def _digest(analysis: Analysis, text: str) -> str | None:
    """The digest that the text is, or is the beginning of; None where it is a name of another form."""
    if "/" in text or "@" in text:
        return None
    known = _known_digests(analysis)
    whole = f"sha256:{text}" if re.fullmatch("[0-9a-f]{7,64}", text) else text
    if whole in known:
        return whole
    algorithm, colon, _ = whole.partition(":")
    if not colon or algorithm not in {digest.partition(":")[0] for digest in known} | {"sha256", "sha512"}:
        return None
    found = sorted(digest for digest in known if digest.startswith(whole))
    if not found and whole != text:
        return None
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownNameError(f"{text!r} begins {len(found)} digests: {', '.join(found[:NEAR])}")
    users = analysis.usage.anywhere.get(whole)
    used = f"; it is used by {', '.join(users)} all the same, from another registry" if users else ""
    raise UnknownNameError(f"no Image, revision or blob of this cluster is {text!r}{used}{_near(text, known)}")


def _known_digests(analysis: Analysis) -> set[str]:
    images = analysis.graph.images
    named = {item.image for history in analysis.histories for tag in history.tags for item in tag.items}
    blobs = {blob for image in images.values() for blob in _blobs(image)}
    members = {member for image in images.values() for member in image.members}
    return images.keys() | named | blobs | members


def _of_pull_spec(analysis: Analysis, text: str, spec: PullSpec) -> Explanation:
    path = spec.path if spec.path.count("/") == 1 else None
    streams = {history.stream.name: history for history in analysis.histories}
    if path is None or path not in streams:
        # Images may be used by a pull spec of another registry, whose digest is known all the same (R12).
        if spec.digest and (spec.digest in analysis.usage.anywhere or spec.digest in _known_digests(analysis)):
            return _of_digest(analysis, text, _digest(analysis, spec.digest) or spec.digest)
        problem = f"{text!r} names no image stream" if path is None else f"there is no image stream {path}"
        wanted = "; it is named namespace/stream" if path is None else ""
        raise UnknownNameError(f"{problem}{wanted}{_near(path or spec.path, streams)}")
    history = streams[path]
    if spec.digest:
        return _of_stream_digest(analysis, text, history, spec.digest)
    if spec.tag or spec.host:
        return _of_tag(analysis, text, history, spec.tag or "latest")
    return _of_stream(analysis, text, history)


def _of_digest(analysis: Analysis, text: str, digest: str) -> Explanation:
    image = analysis.graph.images.get(digest)
    revisions = tuple(_revisions(analysis, analysis.histories, digest))
    if image is None:
        what = "named by revisions, and its Image object is absent" if revisions else "a blob of images"
        if analysis.graph.indexes(digest) and not revisions:
            what = "a member of indexes, without an Image of its own"
        blob = _blob(analysis, digest)
        return Explanation(
            reference=text,
            what=what,
            digest=digest,
            revisions=revisions,
            used_by=analysis.references.get(digest, ()),
            indexes=analysis.graph.indexes(digest),
            blob=blob,
        )
    pruned = {blob.digest for blob in analysis.plan.blobs}
    blobs = {*_blobs(image), image.name}
    return Explanation(
        reference=text,
        what=_described(image),
        digest=digest,
        decision=_on_image(analysis, image),
        revisions=revisions,
        used_by=analysis.references.get(digest, ()),
        indexes=analysis.graph.indexes(digest),
        members=image.members,
        blobs=len(blobs),
        pruned_blobs=tuple(sorted(blobs & pruned)),
    )


def _of_stream_digest(analysis: Analysis, text: str, history: StreamHistory, digest: str) -> Explanation:
    found = tuple(_revisions(analysis, [history], digest))
    where = f"in image stream {history.stream.name}"
    if not found:
        named = {item.image for tag in history.tags for item in tag.items}
        if digest not in analysis.graph.with_members(named):
            raise UnknownNameError(f"no revision {where} is {digest}{_near(digest, named)}")
        # What runs is named by the digest of an index's member, where the revision names the index.
        where = f"{where} as a member of an index"
    whole = _of_digest(analysis, text, digest)
    return msgspec.structs.replace(whole, what=f"{whole.what}; {where}", revisions=found)


def _of_tag(analysis: Analysis, text: str, history: StreamHistory, tag: str) -> Explanation:
    name = f"{history.stream.name}:{tag}"
    if all(each.tag != tag for each in history.tags):
        raise UnknownNameError(
            f"image stream {history.stream.name} has no tag {tag}{_near(tag, [each.tag for each in history.tags])}"
        )
    revisions = tuple(each for each in _revisions(analysis, [history]) if each.tag == name)
    return Explanation(
        reference=text,
        what=f"a tag with {count(len(revisions), 'revision')}"
        if revisions
        else "a tag without revisions, which is kept",
        revisions=revisions,
        retention=_matched(analysis, history, tag),
        used_by=analysis.usage.tags.get((history.stream.name, tag), ()),
    )


def _matched(analysis: Analysis, history: StreamHistory, tag: str) -> MatchedRule | None:
    decision = analysis.history_rules.fates.decisions(history.stream).get(tag)
    if decision is None:
        return None
    if decision.expired:
        return MatchedRule(decision.rule.name, True, "none of its conditions keeps the tag (R30)")
    return MatchedRule(decision.rule.name, False, str(decision.reason))


def _of_stream(analysis: Analysis, text: str, history: StreamHistory) -> Explanation:
    revisions = tuple(_revisions(analysis, [history]))
    name, usage = history.stream.name, analysis.usage
    users = {
        user
        for named in (usage.tags, usage.digests)
        for (stream, _), found in named.items()
        if stream == name
        for user in found
    }
    users |= {user for revision in revisions for user in revision.used_by}
    users.update(usage.outputs.get(name, ()))
    tags, created = count(len(history.tags), "tag"), moment(history.stream.metadata.creation_timestamp)
    return Explanation(
        reference=text,
        decision=_on_stream(analysis, history, created),
        what=f"an image stream with {tags} and {count(len(revisions), 'revision')}, created at {time_said(created)}",
        revisions=revisions,
        used_by=tuple(sorted(users)),
    )


# --- facts -----------------------------------------------------------------------------------------------------------


def _revisions(
    analysis: Analysis, histories: Iterable[StreamHistory], digest: str | None = None
) -> Iterator[ExplainedRevision]:
    """All revisions of these histories, or those that name a digest."""
    for history in histories:
        for tag in history.tags:
            for number, (item, reason) in enumerate(zip(tag.items, tag.reasons, strict=True)):
                if digest not in (None, item.image):
                    continue
                users = set(analysis.usage.digests.get((history.stream.name, item.image), ()))
                if number == 0:
                    users.update(analysis.usage.tags.get((history.stream.name, tag.tag), ()))
                reasons = analysis.history_rules.reasons(history.stream, tag.tag, number, item)
                created = moment(item.created)
                yield ExplainedRevision(
                    f"{history.stream.name}:{tag.tag}",
                    number,
                    item.image,
                    created,
                    decided(reason, reasons, created, moment(history.stream.metadata.creation_timestamp)),
                    tuple(sorted(users)),
                )


def _blobs(image: Image) -> set[str]:
    return {*image.layers, *([image.config] if image.config else [])}


def _blob(analysis: Analysis, digest: str) -> ExplainedBlob | None:
    images = analysis.graph.images.values()
    needed_by = sorted(image.name for image in images if digest in _blobs(image) or digest in image.members)
    if not needed_by:
        return None
    return ExplainedBlob(digest, any(blob.digest == digest for blob in analysis.plan.blobs), tuple(needed_by))


def _described(image: Image) -> str:
    kind = "an index (manifest list)" if image.members else "an image"
    size = f" of {image.size:,} bytes" if image.size else ""
    origin = "pushed to the cluster's registry" if image.managed else "imported from another registry"
    return f"{kind}{size}, {origin}, created at {time_said(image.created)}"


def _near(name: str, known: Iterable[str]) -> str:
    """The names most like this one; for a digest those that begin alike."""
    names = sorted(set(known))
    short = name.rpartition("/")[2]
    near = [each for each in names if each.rpartition("/")[2] == short or each.startswith(name)]
    near += [each for each in closest(name, names, count=NEAR, cutoff=0.5) if each not in near]
    return f"; near it are {', '.join(near[:NEAR])}" if near else ""


# --- what would have to change ---------------------------------------------------------------------------------------


def _on_image(analysis: Analysis, image: Image) -> Decision:
    reasons: list[Reason] = [*analysis.image_rules.reasons(image)]
    kept_indexes = tuple(each for each in analysis.graph.indexes(image.name) if analysis.images[each].kept)
    if kept_indexes:
        reasons.append(MemberOf(kept_indexes))
    return decided(analysis.images[image.name], reasons, image.created)


def _on_stream(analysis: Analysis, history: StreamHistory, created: datetime) -> Decision | None:
    """The decision on an image stream that is deleted, or of which no revision stays (R34)."""
    deleted = next((each for each in analysis.plan.empty_streams if each.stream == history.stream.name), None)
    if deleted is not None:
        return decided(deleted.reason, [], created)
    reasons = [*analysis.stream_rules.reasons(history)] if is_empty(history) else []
    return decided(reasons[0], reasons, created) if reasons else None


# --- for people ------------------------------------------------------------------------------------------------------


def lines(explanation: Explanation) -> Iterator[str]:
    """The explanation for people."""
    yield from decision_lines(explanation)
    if explanation.used_by:
        yield f"  {said(explanation.used_by)}"
    elif explanation.blob is None:
        yield "  nothing refers to it"
    for name, digests in (("member of", explanation.indexes), ("members", explanation.members)):
        yield from (f"  {name}: {digest}" for digest in digests)
    if explanation.blobs:
        pruned = len(explanation.pruned_blobs)
        yield f"  {count(explanation.blobs, 'blob')}: {pruned} pruned, {explanation.blobs - pruned} kept"
    if explanation.blob is not None:
        yield f"  {'pruned' if explanation.blob.pruned else 'kept'}: needed by {', '.join(explanation.blob.needed_by)}"
    yield from revision_lines(explanation)


def decision_lines(explanation: Explanation) -> Iterator[str]:
    """What the name stands for, and the decision on it."""
    yield explanation.reference
    if explanation.digest is not None and explanation.digest != explanation.reference:
        yield f"  {explanation.digest}"
    yield f"  {explanation.what}"
    if explanation.decision is not None:
        yield f"  {explanation.decision}"
        yield f"  {explanation.decision.to_change}"
    if explanation.retention is not None:
        matched = explanation.retention
        yield f"  retention rule {matched.name} {'lets it expire' if matched.expired else 'keeps it'}: {matched.said}"


def revision_lines(explanation: Explanation) -> Iterator[str]:
    """Each revision, and the decision on it."""
    for each in explanation.revisions:
        yield f"  {each.tag} revision {each.revision}, {each.image}, of {time_said(each.created)}"
        yield f"    {each.decision}"
        yield f"    {each.decision.to_change}"
