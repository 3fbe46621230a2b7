"""What holds on every input, as assertions on one cluster and one choice of settings (P1 to P8, docs/rules.md)."""

from __future__ import annotations

import dataclasses

import msgspec

from pruner.analysis import Analysis, analyse
from pruner.cluster.objects import Mirror, OtherCluster, Snapshot
from pruner.plan import Approval, PrunePlan, decode, encode
from pruner.settings import AnalysisSettings
from tests.builders.clusters import NAMESPACES, Use, applied, blobs_of, deletions, members, rendered
from tests.builders.objects import HOST


def loses_no_blob_of_a_surviving_image(cluster: Snapshot, plan: PrunePlan) -> None:
    """P2."""
    images = {image.name: image for image in cluster.images}
    surviving = images.keys() - {image.name for image in plan.images}
    manifests = {below for name in surviving for below in members(images, name)}
    assert not {blob.digest for blob in plan.blobs} & (manifests | blobs_of(images, manifests))


def leaves_nothing_to_plan(cluster: Snapshot, settings: AnalysisSettings) -> None:
    """P3."""
    plan = analyse(cluster, settings).plan
    assert analyse(applied(cluster, plan), settings).plan.empty


def deletes_no_more_with_a_reference_more(cluster: Snapshot, settings: AnalysisSettings, use: Use, place: str) -> None:
    """P4."""
    user, _ = rendered(use, place, 99)
    more = msgspec.structs.replace(cluster, referrers=(*cluster.referrers, user))
    assert deletions(analyse(more, settings).plan) <= deletions(analyse(cluster, settings).plan)


def deletes_no_more_with_a_cluster_more(cluster: Snapshot, settings: AnalysisSettings, use: Use, place: str) -> None:
    """P4: what another cluster uses (R38) never makes anything go."""
    user, _ = rendered(use, place, 99)
    other = OtherCluster(
        name="kiel",
        cluster="another",
        as_of=cluster.as_of,
        hosts=frozenset({HOST}),
        mirrors=(Mirror("example.org", HOST),),
        streams=cluster.streams,
        referrers=(user,),
    )
    more = msgspec.structs.replace(cluster, others=(other,))
    assert deletions(analyse(more, settings).plan) <= deletions(analyse(cluster, settings).plan)


def deletes_a_subset_of_oc(cluster: Snapshot, settings: AnalysisSettings, *, by_size_alone: bool) -> None:
    """P5."""
    if by_size_alone:
        settings = dataclasses.replace(
            settings, keep_younger_than=None, keep_tag_revisions=None, prune_over_size_limit=True
        )
    extended = dataclasses.replace(settings, references="extended")
    oc = dataclasses.replace(settings, references="oc")
    assert deletions(analyse(cluster, extended).plan) <= deletions(analyse(cluster, oc).plan)


def deletes_a_subset_for_each_namespace(cluster: Snapshot, settings: AnalysisSettings) -> None:
    """P6."""
    whole = analyse(cluster, dataclasses.replace(settings, namespace=None)).plan
    for namespace in NAMESPACES:
        part = analyse(cluster, dataclasses.replace(settings, namespace=namespace)).plan
        assert {change.namespace for change in part.streams} <= {namespace}
        assert {each.namespace for each in part.empty_streams} <= {namespace}
        assert deletions(part) <= deletions(whole)


def is_a_function_of_its_inputs(cluster: Snapshot, settings: AnalysisSettings) -> None:
    """P8: equal bytes, which make an equal plan."""
    one, other = analyse(cluster, settings).plan, analyse(cluster, settings).plan
    assert list(encode(one)) == list(encode(other))
    assert one.fingerprint == other.fingerprint
    assert decode(encode(one), "plan") == one


def decides_by_the_first_of_its_reasons(found: Analysis) -> None:
    """`decide`, which is written for speed, does what `reasons` says."""
    for history in found.histories:
        for tag in history.tags:
            for number, (event, decided) in enumerate(zip(tag.items, tag.reasons, strict=True)):
                reasons = [*found.history_rules.reasons(history.stream, tag.tag, number, event)]
                assert reasons[0] == decided
                assert [reason.kept for reason in reasons] == ([True] * len(reasons) if decided.kept else [False])


def deletes_only_what_is_approved(then: Snapshot, now: Snapshot, settings: AnalysisSettings) -> None:
    """Nothing of a plan of `now` is missing in the approved
    plan, which is of `then`, nor in the plan without approval.
    """
    allowed = Approval.of(analyse(then, settings).plan)
    found = analyse(now, settings, allowed).plan
    assert deletions(found) <= deletions(analyse(now, settings).plan)
    asked = Approval.of(found)
    assert asked.revisions <= allowed.revisions
    assert asked.images <= allowed.images
    assert asked.blobs <= allowed.blobs
    assert asked.links <= allowed.links
    assert asked.spec_tags <= allowed.spec_tags
    assert asked.streams <= allowed.streams
