"""Why an image, a tag or an image stream is kept or goes: `python -m pruner explain REF`.

`explain` is given an analysis and a name, and gives an `Explanation`: what the name stands for, where it is used and by whom, the rule
that decides, and what would have to change for another decision. It is a pure function; the command takes the analysis from a cluster
and writes the explanation as text or as JSON. Nothing is changed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import click
import msgspec

from pruner.analysis import Analysis, InvalidPullSpecError, PullSpec, parse_pull_spec
from pruner.analysis.history import StreamHistory
from pruner.cli import settings_options
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.objects import BEGINNING, Image, moment
from pruner.errors import PrunerError
from pruner.plan import Decision, keep
from pruner.planning import make_plan
from pruner.report.wording import count
from pruner.settings import Settings
from pruner.suggestions import closest

NEAR: Final = 5
"""So many near names are listed for one that is unknown."""


class UnknownNameError(PrunerError):
    """The name stands for nothing in this cluster, or is no name at all; the message lists near ones."""


class Verdict(msgspec.Struct, frozen=True):
    """A decision, and what would have to change for the other one."""

    kept: bool
    rule: str
    why: str
    causes: tuple[str, ...]
    to_change: str

    def __str__(self) -> str:
        return f"{'kept' if self.kept else 'goes'}: {Decision(self.kept, self.rule, self.why, self.causes)}"


class RevisionVerdict(msgspec.Struct, frozen=True):
    """One revision of a tag (`namespace/stream:tag`; 0 is the current one), who uses it, and what becomes of it."""

    tag: str
    revision: int
    image: str
    created: datetime
    verdict: Verdict
    used_by: tuple[str, ...] = ()


class BlobVerdict(msgspec.Struct, frozen=True):
    """A blob, and the images that need it; it goes when all of them do."""

    digest: str
    goes: bool
    needed_by: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about a name.

    `verdict` is that on the Image, where the name stands for one; `blobs` are counted with those that go in
    `blobs_that_go`; `indexes` name the image, `members` it names.
    """

    reference: str
    what: str
    digest: str | None = None
    verdict: Verdict | None = None
    revisions: tuple[RevisionVerdict, ...] = ()
    used_by: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    blobs: int = 0
    blobs_that_go: tuple[str, ...] = ()
    blob: BlobVerdict | None = None


def explain(analysis: Analysis, reference: str) -> Explanation:
    """What this name stands for: a digest, `namespace/stream[:tag|@digest]`, or a pull spec.

    A digest may be cut short where it is unique, and a scheme before it, as in a pod's imageID, is passed over. Raises UnknownNameError for
    what is no name, and for unknown ones.
    """
    text = reference.strip().rpartition("://")[2]
    digest = _digest(analysis, text)
    if digest is not None:
        return _of_digest(analysis, text, digest)
    try:
        spec = parse_pull_spec(text)
    except InvalidPullSpecError as error:
        raise UnknownNameError(
            f"{reference!r} is none of a digest, namespace/stream, namespace/stream:tag, namespace/stream@digest and a pull "
            f"spec: {error}"
        ) from None
    return _of_pull_spec(analysis, text, spec)


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
    images = analysis.family.images
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
    image = analysis.family.images.get(digest)
    revisions = tuple(_revisions(analysis, analysis.histories, digest))
    if image is None:
        what = "named by revisions, and its Image object is absent" if revisions else "a blob of images"
        if analysis.family.indexes(digest) and not revisions:
            what = "a member of indexes, without an Image of its own"
        blob = _blob(analysis, digest)
        users = {*analysis.usage.anywhere.get(digest, ()), *(user for each in revisions for user in each.used_by)}
        return Explanation(
            reference=text,
            what=what,
            digest=digest,
            revisions=revisions,
            used_by=tuple(sorted(users)),
            indexes=analysis.family.indexes(digest),
            blob=blob,
        )
    going = {blob.digest for blob in analysis.plan.blobs}
    blobs = {*_blobs(image), image.name}
    return Explanation(
        reference=text,
        what=_described(image),
        digest=digest,
        verdict=_verdict(analysis, analysis.images[digest], _reasons(analysis, image), image.created),
        revisions=revisions,
        used_by=tuple(sorted({*_users(analysis, image), *(user for each in revisions for user in each.used_by)})),
        indexes=analysis.family.indexes(digest),
        members=image.members,
        blobs=len(blobs),
        blobs_that_go=tuple(sorted(blobs & going)),
    )


def _of_stream_digest(analysis: Analysis, text: str, history: StreamHistory, digest: str) -> Explanation:
    found = tuple(_revisions(analysis, [history], digest))
    where = f"in image stream {history.stream.name}"
    if not found:
        named = {item.image for tag in history.tags for item in tag.items}
        if digest not in analysis.family.with_members(named):
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
        what=f"a tag with {count(len(revisions), 'revision')}" if revisions else "a tag without revisions, which stays",
        revisions=revisions,
        used_by=analysis.usage.tags.get((history.stream.name, tag), ()),
    )


def _of_stream(analysis: Analysis, text: str, history: StreamHistory) -> Explanation:
    revisions = tuple(_revisions(analysis, [history]))
    users = {
        user for (stream, _), found in analysis.usage.tags.items() if stream == history.stream.name for user in found
    }
    users |= {user for revision in revisions for user in revision.used_by}
    tags, created = count(len(history.tags), "tag"), _time(moment(history.stream.metadata.creation_timestamp))
    return Explanation(
        reference=text,
        what=f"an image stream with {tags} and {count(len(revisions), 'revision')}, created at {created}",
        revisions=revisions,
        used_by=tuple(sorted(users)),
    )


# --- facts -----------------------------------------------------------------------------------------------------------


def _revisions(
    analysis: Analysis, histories: Iterable[StreamHistory], digest: str | None = None
) -> Iterator[RevisionVerdict]:
    """All revisions of these histories, or those that name a digest."""
    for history in histories:
        for tag in history.tags:
            for number, (item, decision) in enumerate(zip(tag.items, tag.decisions, strict=True)):
                if digest not in (None, item.image):
                    continue
                users = set(analysis.usage.digests.get((history.stream.name, item.image), ()))
                if number == 0:
                    users.update(analysis.usage.tags.get((history.stream.name, tag.tag), ()))
                created = max(moment(item.created), moment(history.stream.metadata.creation_timestamp))
                yield RevisionVerdict(
                    f"{history.stream.name}:{tag.tag}",
                    number,
                    item.image,
                    moment(item.created),
                    _verdict(
                        analysis,
                        decision,
                        analysis.history_rules.reasons(history.stream, tag.tag, number),
                        created,
                        revision=number,
                    ),
                    tuple(sorted(users)),
                )


def _users(analysis: Analysis, image: Image) -> set[str]:
    """Who uses the image by its digest, in whatever repository, or runs it by the digest of its config."""
    users = {*analysis.usage.anywhere.get(image.name, ()), *analysis.usage.anywhere.get(image.config or "", ())}
    for (_, digest), found in analysis.usage.digests.items():
        if digest == image.name:
            users.update(found)
    return users


def _blobs(image: Image) -> set[str]:
    return {*image.layers, *([image.config] if image.config else [])}


def _blob(analysis: Analysis, digest: str) -> BlobVerdict | None:
    images = analysis.family.images.values()
    needed_by = sorted(image.name for image in images if digest in _blobs(image) or digest in image.members)
    if not needed_by:
        return None
    return BlobVerdict(digest, any(blob.digest == digest for blob in analysis.plan.blobs), tuple(needed_by))


def _described(image: Image) -> str:
    kind = "an index (manifest list)" if image.members else "an image"
    size = f" of {image.size:,} bytes" if image.size else ""
    origin = "pushed to the cluster's registry" if image.managed else "imported from another registry"
    return f"{kind}{size}, {origin}, created at {_time(image.created)}"


def _time(time: datetime) -> str:
    return "an unknown time" if time == BEGINNING else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _near(name: str, known: Iterable[str]) -> str:
    """The names most like this one; for a digest those that begin alike."""
    names = sorted(set(known))
    short = name.rpartition("/")[2]
    near = [each for each in names if each.rpartition("/")[2] == short or each.startswith(name)]
    near += [each for each in closest(name, names, count=NEAR, cutoff=0.5) if each not in near]
    return f"; near it are {', '.join(near[:NEAR])}" if near else ""


# --- what would have to change ---------------------------------------------------------------------------------------

TO_PRUNE: Final = {
    "R12": "nothing uses it any more",
    "R15": "nothing uses the tag any more, or a newer revision takes its place",
    "R17": "nothing uses its digest in this image stream any more",
    "R18": "the pattern is taken out of protect",
    "R21": "the plan is made for that namespace, or for all of them",
    "R23": "a revision that names it is pruned in that namespace, or the plan is made for all namespaces",
    "approval": "a new plan is made and approved that names it",
}
"""By rule: what would let go what is kept by it."""

_TO_PRUNE_BY_REASON: Final = {
    "its Image object is there": "the Image object is absent when the cluster is read again",
    "it names a pull spec": "the tag were deleted with `oc tag -d`",
    "named by": "none of these tags names it any more (see what keeps their revisions)",
    "a member of": "every index that names it goes",
    "imported from": "all_images is true",
    "no revision over": "a limit makes a revision that names it too large, or an age is given with prune_over_size_limit",
    "not larger than": "a limit for images (LimitRange) of the namespace is smaller than the image",
}
"""By the beginning of the reason, where a rule has several."""


def _verdict(
    analysis: Analysis,
    decision: Decision,
    reasons: Iterable[Decision],
    created: datetime,
    *,
    revision: int | None = None,
) -> Verdict:
    if decision.kept:
        # What an approval or a look of a run keeps is no rule's, and comes after the rules.
        change = _to_prune(analysis, {decision.why: decision} | {each.why: each for each in reasons}, created, revision)
    else:
        change = _to_keep(analysis, decision, revision)
    return Verdict(decision.kept, decision.rule, decision.why, decision.causes, change)


def _reasons(analysis: Analysis, image: Image) -> Iterator[Decision]:
    """All that keeps an Image besides the revisions that name it."""
    yield from analysis.image_rules.reasons(image)
    above = tuple(each for each in analysis.family.indexes(image.name) if analysis.images[each].kept)
    if above:
        yield keep("R22", "a member of", above)


def _to_prune(analysis: Analysis, reasons: dict[str, Decision], created: datetime, revision: int | None) -> str:
    """What all would have to change, since any one of the reasons is enough to keep it."""
    age = analysis.history_rules.rules.keep_younger_than
    young = [why for why in reasons if "younger" in why]
    conditions = [_condition(decision, revision) for why, decision in reasons.items() if why not in young]
    change = f"It would go if {'; and if '.join(conditions)}" if conditions else "It may go"
    if young and age is not None:
        until = _later(created, age)
        change += f"{',' if conditions else ''} once keep_younger_than has passed, at {until}"
    return f"{change}."


def _condition(decision: Decision, revision: int | None) -> str:
    if decision.rule in TO_PRUNE:
        return TO_PRUNE[decision.rule]
    for beginning, change in _TO_PRUNE_BY_REASON.items():
        if decision.why.startswith(beginning):
            return change
    return f"keep_tag_revisions were {revision} or less, or as many newer revisions came"


def _later(time: datetime, age: timedelta) -> str:
    try:
        return _time(time + age)
    except OverflowError:
        return "no time that a calendar has"


def _to_keep(analysis: Analysis, decision: Decision, revision: int | None) -> str:
    if decision.rule == "R19":
        return "It would stay if the image were there: push or import it again."
    ways = ["it were used", "protect named it"]
    rules = analysis.history_rules.rules
    if revision is None:
        ways.insert(0, "a tag named it")
    elif rules.prune_over_size_limit and decision.causes:
        ways.append("the limit were raised")
    if revision is not None and (rules.keep_tag_revisions is not None or not rules.prune_over_size_limit):
        ways.append(f"keep_tag_revisions were at least {revision + 1}")
    return f"It would stay if {', or '.join(ways)}."


# --- the command -----------------------------------------------------------------------------------------------------


def lines(explanation: Explanation) -> Iterator[str]:
    """The explanation for people."""
    yield explanation.reference
    if explanation.digest is not None and explanation.digest != explanation.reference:
        yield f"  {explanation.digest}"
    yield f"  {explanation.what}"
    if explanation.verdict is not None:
        yield f"  {explanation.verdict}"
        yield f"  {explanation.verdict.to_change}"
    if explanation.used_by:
        yield f"  used by {', '.join(explanation.used_by)}"
    elif explanation.blob is None:
        yield "  used by nothing"
    for name, digests in (("member of", explanation.indexes), ("members", explanation.members)):
        yield from (f"  {name}: {digest}" for digest in digests)
    if explanation.blobs:
        stay = explanation.blobs - len(explanation.blobs_that_go)
        yield f"  {count(explanation.blobs, 'blob')}: {len(explanation.blobs_that_go)} would go, {stay} would stay"
    if explanation.blob is not None:
        yield f"  {'goes' if explanation.blob.goes else 'kept'}: needed by {', '.join(explanation.blob.needed_by)}"
    for each in explanation.revisions:
        yield f"  {each.tag} revision {each.revision}, {each.image}, of {_time(each.created)}"
        yield f"    {each.verdict}"
        yield f"    {each.verdict.to_change}"


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--json", "as_json", is_flag=True, help="write it as JSON")
@settings_options
def command(settings: Settings, reference: str, as_json: bool) -> None:
    """Say what REF is, who uses it, which rule keeps or deletes it, and what would have to change.

    REF is a digest, namespace/stream, namespace/stream:tag, namespace/stream@digest, or a pull spec.
    """
    explanation = explain(asyncio.run(_analysis(settings)), reference)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(explanation), indent=2))
        return
    for line in lines(explanation):
        click.echo(line)


async def _analysis(settings: Settings) -> Analysis:
    async with Api(connect(settings), workers=settings.workers) as api:
        return await make_plan(api, settings)
