"""The analysis as a whole: snapshot and rules in, plan and decisions out.

Deciding goes from use to storage: revisions of tags, then images, then blobs and links. Each step is given what the one
before has decided, so that keeping a revision, for whatever reason, keeps its image, its members and its blobs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import cast

import msgspec

from pruner.analysis.attached import by_subject, kept_subjects
from pruner.analysis.blobs import Links, approved_links, blobs_of, doomed_blobs
from pruner.analysis.empty_streams import EmptyStreamRules
from pruner.analysis.history import StreamHistory, attached_and_pruned, attached_to_kept
from pruner.analysis.history_rules import HistoryRules
from pruner.analysis.images import ImageRules, names
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.promotion import Sources, settle
from pruner.analysis.protection import Protection
from pruner.analysis.referenced import all_references, used_anywhere
from pruner.analysis.retention import TagRetention
from pruner.analysis.retired_images import retired_images
from pruner.analysis.retirement import Retirements, is_retained
from pruner.analysis.usage import Usage, Users, find_usage
from pruner.cluster.metadata import moment
from pruner.cluster.objects import Registry, Snapshot
from pruner.errors import Problem, SettingsError
from pruner.plan import Approval, PrunedBlob, PrunedImage, PrunedRevision, PrunePlan, StreamChange
from pruner.reasons import BlobNotApproved, PruneReason, Reason
from pruner.settings import AnalysisSettings, minutes_of
from pruner.settings.retention import written


class Analysis(msgspec.Struct, frozen=True):
    """The plan, and the decision on everything that it does not contain as well.

    `history_rules` and `links` decide again on an image stream that has changed in the meantime; they, `image_rules`
    and `stream_rules` know all reasons for keeping something, where a decision gives the first one.
    """

    plan: PrunePlan
    usage: Usage
    graph: IndexGraph
    histories: tuple[StreamHistory, ...]
    images: dict[str, Reason]
    history_rules: HistoryRules
    image_rules: ImageRules
    links: Links
    stream_rules: EmptyStreamRules

    @property
    def references(self) -> dict[str, Users]:
        """All references to each digest, sorted: objects as `Kind namespace/name`."""
        streams = (history.stream for history in self.histories)
        return all_references(self.usage, self.graph.images.values(), streams)

    def __repr__(self) -> str:
        # asyncio writes the result of a program's main task into a message that it throws away: hundreds of megabytes,
        # seconds.
        return f"Analysis({self.plan.summary})"


def analyse(
    snapshot: Snapshot,
    rules: AnalysisSettings,
    approval: Approval | None = None,
    registry: Registry | None = None,
    usage: Usage | None = None,
) -> Analysis:
    """Decide everything. With an approval nothing goes that it does not name.

    `usage` is what `find_usage` has found in the snapshot, where that has been done already; the snapshot's workloads
    are then not asked for.

    Raises InvalidReferencesError (R9), and SettingsError for a pattern that matches nothing, when that is asked for.
    """
    decided = decide(snapshot, rules, approval, registry, usage)
    usage, graph, histories, images = decided.usage, decided.graph, decided.histories, decided.images
    retirements = decided.image_rules.retirements
    links = Links(graph, images, histories, decided.named, usage, decided.image_rules, snapshot.unlinked, retirements)
    blobs, deletes_blobs = decided.blobs, _deletes_blobs(rules, registry)
    stream_rules = EmptyStreamRules(
        as_of=snapshot.as_of,
        protected=snapshot.protected,
        rules=rules,
        usage=usage,
        graph=graph,
        images=images,
        protection=decided.protection,
        approval=approval,
        retirements=retirements,
    )
    plan = PrunePlan(
        cluster=snapshot.cluster,
        as_of=snapshot.as_of,
        rules=_described(rules),
        registry=registry,
        streams=_changes(histories, links, rules, approval),
        images=_pruned_images(graph, images, blobs, deletes_blobs=deletes_blobs),
        blobs=tuple(blobs[digest] for digest in sorted(blobs)),
        empty_streams=stream_rules.deleted(histories),
        retired=retired_images(graph, images, snapshot.blob_sizes, deletes_blobs=deletes_blobs),
        needed_again=retirements.ended(images),
        notes=(*usage.warnings, *map(str, decided.idle)),
    )
    return Analysis(
        plan, usage, graph, histories, images, decided.history_rules, decided.image_rules, links, stream_rules
    )


class Decided(msgspec.Struct, frozen=True):
    """The decisions on revisions, images and blobs: an analysis without its plan.

    `named` are the digests that items name which stay, `idle` the patterns and retention rules that match nothing.
    """

    usage: Usage
    graph: IndexGraph
    histories: tuple[StreamHistory, ...]
    images: dict[str, Reason]
    blobs: dict[str, PrunedBlob]
    named: frozenset[str]
    history_rules: HistoryRules
    image_rules: ImageRules
    protection: Protection
    idle: tuple[Problem, ...]


def decide(
    snapshot: Snapshot,
    rules: AnalysisSettings,
    approval: Approval | None = None,
    registry: Registry | None = None,
    usage: Usage | None = None,
) -> Decided:
    """What `analyse` decides, and raises, without what makes a plan of it."""
    usage = usage or find_usage(snapshot, rules, sources_apart=bool(rules.retention))
    graph = IndexGraph(snapshot.images)
    protection = Protection(rules.protect)
    usage, used, history_rules, histories = _decided_revisions(snapshot, rules, usage, graph, protection, approval)
    retirements = Retirements(snapshot, rules, graph, approval)
    idle = _idle(snapshot, graph, protection, history_rules)
    if rules.strict and idle:
        raise SettingsError(idle)
    deletes_blobs = _deletes_blobs(rules, registry)
    subjects: frozenset[str] = frozenset()
    while True:
        by_tags, dropped = names(histories)
        image_rules = ImageRules(snapshot, rules, used, graph, dropped, protection, approval, retirements)
        images = image_rules.decide(by_tags)
        # A list for each image that stays, of which the decisions have taken what they say.
        named = frozenset(by_tags)
        del by_tags
        blobs = doomed_blobs(graph, images, snapshot.blob_sizes) if deletes_blobs else {}
        if approval is not None and not approval.blobs.issuperset(blobs):
            blobs = _keep_unapproved(approval, images, blobs, graph, snapshot)
        kept = _kept_subjects(histories, images, graph) if history_rules.fates.follows else subjects
        if kept <= subjects:
            break
        subjects |= kept
        history_rules = history_rules.with_kept_subjects(subjects)
        histories = tuple(history_rules.decide(each.stream) if each.whole else each for each in histories)
    return Decided(usage, graph, histories, images, blobs, named, history_rules, image_rules, protection, tuple(idle))


def _deletes_blobs(rules: AnalysisSettings, registry: Registry | None) -> bool:
    return rules.prune_registry and (registry is None or registry.deletes_blobs)


def _decided_revisions(
    snapshot: Snapshot,
    rules: AnalysisSettings,
    usage: Usage,
    graph: IndexGraph,
    protection: Protection,
    approval: Approval | None,
) -> tuple[Usage, dict[str, Users], HistoryRules, tuple[StreamHistory, ...]]:
    """The usage, what of it counts in every image stream, and the
    decisions on revisions, as if every attached tag went (R35).
    """
    streams = sorted(snapshot.streams, key=lambda stream: (stream.metadata.namespace, stream.metadata.name))
    retention = TagRetention(rules.retention, snapshot.as_of) if rules.retention else None
    sources = Sources.of(usage, streams, retention) if retention is not None and usage.sources else Sources()
    usage = usage.with_sources(sources.settled, own=True) if sources.settled else usage
    used = used_anywhere(snapshot, rules, usage, graph)
    history_rules = HistoryRules(snapshot, rules, usage, graph, protection, approval, used)
    histories = tuple(history_rules.decide(stream) for stream in streams)
    if sources.of_expired:
        by_name = {history.stream.name: history for history in histories}
        counted = settle(by_name, sources.of_expired, history_rules)
        if counted:
            usage = usage.with_sources(counted, own=False)
            used = used_anywhere(snapshot, rules, usage, graph)
            history_rules = HistoryRules(snapshot, rules, usage, graph, protection, approval, used)
            histories = tuple(history_rules.decide(history.stream) for history in histories)
    return usage, used, history_rules, histories


def _kept_subjects(
    histories: Iterable[StreamHistory], images: Mapping[str, Reason], graph: IndexGraph
) -> frozenset[str]:
    """The kept images that tags are attached to which lose
    revisions, or which are kept for this reason already (R35).
    """
    attached = [history for history in histories if history.whole]
    waiting = by_subject(each for history in attached for each in attached_and_pruned(history.tags))
    found = {subject for history in attached for subject in attached_to_kept(history.tags)}
    if waiting:
        staying = {name for name, reason in images.items() if reason.kept and not is_retained(reason)}
        found |= kept_subjects(waiting, staying, graph)
    return frozenset(found)


def _idle(snapshot: Snapshot, graph: IndexGraph, protection: Protection, history_rules: HistoryRules) -> list[Problem]:
    """The patterns of protect and the retention rules that match nothing."""
    patterns = protection.idle(snapshot.streams, graph.images)
    retention = history_rules.fates.retention
    rules = retention.idle() if retention is not None else []
    return [
        *(Problem("protect", f"{pattern!r} matches nothing in this cluster") for pattern in patterns),
        *(Problem("retention", f"rule {name!r} matches no tag in this cluster") for name in rules),
    ]


def _keep_unapproved(
    approval: Approval, images: dict[str, Reason], blobs: dict[str, PrunedBlob], graph: IndexGraph, snapshot: Snapshot
) -> dict[str, PrunedBlob]:
    """Keep the images that would take a blob with them which was
    not approved: something shared it when the plan was made.
    """
    unapproved = blobs.keys() - approval.blobs
    kept = {
        name
        for name, decision in images.items()
        if not decision.kept and (name in unapproved or not unapproved.isdisjoint(blobs_of(graph.images[name])))
    }
    for name in graph.with_members(kept):
        if name in images and not images[name].kept:
            images[name] = BlobNotApproved()
    return doomed_blobs(graph, images, snapshot.blob_sizes)


def _changes(
    histories: tuple[StreamHistory, ...], links: Links, rules: AnalysisSettings, approval: Approval | None
) -> tuple[StreamChange, ...]:
    changes = []
    for history in histories:
        meta = history.stream.metadata
        if rules.namespace is not None and meta.namespace != rules.namespace:
            continue
        revisions = tuple(
            [
                PrunedRevision(tag.tag, revision, item.image, moment(item.created), reason)
                for tag in sorted(history.tags, key=_name_of_tag)
                for revision, item, reason in tag.pruned()
            ]
        )
        layers, manifests = links.of(history) if rules.prune_registry else ((), ())
        layers = approved_links(approval, history.stream.name, "layer", layers)
        manifests = approved_links(approval, history.stream.name, "manifest", manifests)
        if revisions or layers or manifests:
            emptied = (tag.tag for tag in history.tags if tag.emptied)
            changes.append(
                StreamChange(
                    meta.namespace,
                    meta.name,
                    meta.uid,
                    meta.resource_version,
                    revisions,
                    tuple(sorted(emptied)),
                    layers,
                    manifests,
                    history.removed_spec_tags,
                )
            )
    return tuple(changes)


_name_of_tag = attrgetter("tag")


def _pruned_images(
    graph: IndexGraph, images: dict[str, Reason], blobs: dict[str, PrunedBlob], *, deletes_blobs: bool
) -> tuple[PrunedImage, ...]:
    pruned = []
    reasons = {name: cast(PruneReason, reason) for name, reason in images.items() if not reason.kept}
    for name in sorted(reasons):
        image = graph.images[name]
        whole = blobs_of(image) if deletes_blobs else set()
        deleted = tuple(sorted(filter(blobs.__contains__, whole)))
        pruned.append(
            PrunedImage(
                name,
                image.uid,
                image.resource_version,
                image.created,
                image.reference,
                reasons[name],
                deleted,
                len(whole) - len(deleted),
                len(image.members),
            )
        )
    return tuple(pruned)


def _described(rules: AnalysisSettings) -> dict[str, object]:
    """The rules as a plan records them: plain values as its file gives them back, minutes for ages."""
    age = rules.keep_younger_than
    replaced = {
        "protect": list(rules.protect),
        "keep_younger_than": None if age is None else minutes_of(age),
        "grace": minutes_of(rules.grace),
        "retention": [written(rule) for rule in rules.retention],
        "empty_streams": None if rules.empty_streams is None else written(rules.empty_streams),
    }
    fields = dataclasses.fields(rules)
    return {field.name: replaced.get(field.name, getattr(rules, field.name)) for field in fields}
