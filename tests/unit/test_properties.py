"""What holds on every input: P1 to P8, on generated clusters."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.analysis import analyse
from pruner.plan import Approval, encode
from pruner.reasons import MemberOf, NamedBy, Unreferenced
from pruner.report import Report
from pruner.report.rows import stream_sums
from pruner.settings import AnalysisSettings
from tests.builders import properties
from tests.builders.clusters import (
    PLACES,
    Cluster,
    Use,
    any_settings,
    applied,
    blobs_of,
    clusters,
    deletions,
    members,
    settings,
    uses,
)

pytestmark = pytest.mark.properties


def counts(use: Use, rules: AnalysisSettings) -> bool:
    return rules.references == "extended" or not use.extended


@given(clusters(), settings())
def test_no_used_revision_is_deleted_P1(cluster: Cluster, rules: AnalysisSettings) -> None:
    if rules.keep_younger_than != timedelta(minutes=60):
        rules = dataclasses.replace(rules, keep_younger_than=timedelta(minutes=60))  # what finished pods count by
    plan = analyse(cluster.snapshot, rules).plan
    present = {image.name for image in cluster.snapshot.images}
    for change in plan.streams:
        for each in change.revisions:
            for use in cluster.uses:
                if use.stream == change.stream and counts(use, rules):
                    assert not (use.tag == each.tag and each.revision == 0), "the current revision of a used tag"
                    assert not (use.digest == each.image and each.image in present), "a digest used in this stream"


@given(clusters(), settings(references="extended", minutes=60))
def test_no_used_image_and_none_of_its_blobs_is_deleted_P1(cluster: Cluster, rules: AnalysisSettings) -> None:
    plan = analyse(cluster.snapshot, rules).plan
    images = {image.name: image for image in cluster.snapshot.images}
    used = {use.digest for use in cluster.uses if use.digest}
    current = {
        (stream.name, tag.tag): tag.items[0].image
        for stream in cluster.snapshot.streams
        for tag in stream.histories
        if tag.items
    }
    used |= {
        current[use.stream, use.tag]
        for use in cluster.uses
        if use.stream and use.tag and (use.stream, use.tag) in current
    }
    used |= {name for name in images if used & members(images, name)}
    needed = {below for name in used & images.keys() for below in members(images, name)}
    assert not needed & {image.name for image in plan.images}
    assert not (needed | blobs_of(images, needed)) & {blob.digest for blob in plan.blobs}


@given(clusters(), any_settings())
def test_no_surviving_image_loses_a_blob_P2(cluster: Cluster, rules: AnalysisSettings) -> None:
    properties.loses_no_blob_of_a_surviving_image(cluster.snapshot, analyse(cluster.snapshot, rules).plan)


@given(clusters(), any_settings())
def test_no_remaining_revision_loses_a_link_P2(cluster: Cluster, rules: AnalysisSettings) -> None:
    plan = analyse(cluster.snapshot, rules).plan
    after = applied(cluster.snapshot, plan)
    images = {image.name: image for image in cluster.snapshot.images}
    remaining = {
        stream.name: {
            below for tag in stream.histories for each in tag.items or () for below in members(images, each.image)
        }
        for stream in after.streams
    }
    in_streams = set().union(*remaining.values())
    for image in after.images:
        stream = image.reference.partition("/")[2].partition("@")[0]
        if image.managed and stream in remaining and image.name not in in_streams:
            # In no stream: the repository that it was pushed to is the only one it has.
            remaining[stream] |= members(images, image.name)
    for change in plan.streams:
        needed = remaining[change.stream]
        assert not set(change.manifest_links) & needed
        assert not set(change.layer_links) & blobs_of(images, needed)


@given(clusters(), any_settings())
def test_everything_that_goes_was_there_and_is_named_once_P2(cluster: Cluster, rules: AnalysisSettings) -> None:
    plan = analyse(cluster.snapshot, rules).plan
    images = {image.name: image for image in cluster.snapshot.images}
    going = [image.name for image in plan.images]
    assert going == sorted(set(going))
    assert images.keys() >= set(going)
    named = {change.stream for change in plan.streams}
    assert named <= {stream.name for stream in cluster.snapshot.streams}
    blobs = [blob.digest for blob in plan.blobs]
    assert blobs == sorted(set(blobs))
    assert set(blobs) == {blob for image in plan.images for blob in image.blobs}
    assert set(blobs) <= set(going) | blobs_of(images, going)


@given(clusters(), any_settings())
def test_a_plan_applied_leaves_nothing_to_plan_P3(cluster: Cluster, rules: AnalysisSettings) -> None:
    properties.leaves_nothing_to_plan(cluster.snapshot, rules)


@given(clusters(), any_settings(), st.booleans())
def test_every_decision_on_a_revision_is_the_first_of_its_reasons(
    cluster: Cluster, rules: AnalysisSettings, approved: bool
) -> None:
    properties.decides_by_the_first_of_its_reasons(analyse(cluster.snapshot, rules, Approval() if approved else None))


@given(clusters(), any_settings())
def test_every_decision_on_an_image_is_the_first_of_its_reasons(cluster: Cluster, rules: AnalysisSettings) -> None:
    found = analyse(cluster.snapshot, rules)
    for image in cluster.snapshot.images:
        decided = found.images[image.name]
        if not isinstance(decided, NamedBy | MemberOf | Unreferenced):
            assert next(found.image_rules.reasons(image)) == decided
        elif not isinstance(decided, NamedBy):
            assert next(found.image_rules.reasons(image), None) is None


@given(clusters(), settings(), st.integers(0, 2), st.sampled_from([0, 1, 440, 10_000]))
def test_larger_keep_values_never_delete_more_P4(
    cluster: Cluster, rules: AnalysisSettings, more: int, minutes: int
) -> None:
    assert rules.keep_younger_than is not None
    assert rules.keep_tag_revisions is not None
    larger = dataclasses.replace(
        rules,
        keep_younger_than=rules.keep_younger_than + timedelta(minutes=minutes),
        keep_tag_revisions=rules.keep_tag_revisions + more,
    )
    assert deletions(analyse(cluster.snapshot, larger).plan) <= deletions(analyse(cluster.snapshot, rules).plan)


@given(clusters(), settings(), uses, st.sampled_from(PLACES))
def test_more_references_never_delete_more_P4(cluster: Cluster, rules: AnalysisSettings, use: Use, place: str) -> None:
    properties.deletes_no_more_with_a_reference_more(cluster.snapshot, rules, use, place)


@given(clusters(), any_settings(), uses, st.sampled_from(PLACES))
def test_one_more_cluster_never_deletes_more_P4_R38(
    cluster: Cluster, rules: AnalysisSettings, use: Use, place: str
) -> None:
    properties.deletes_no_more_with_a_cluster_more(cluster.snapshot, rules, use, place)


@given(clusters(), settings(), st.sampled_from(["shop/*", "base/web:v1", "sha256:*a"]))
def test_more_protection_never_deletes_more_P4(cluster: Cluster, rules: AnalysisSettings, pattern: str) -> None:
    protected = dataclasses.replace(rules, protect=(*rules.protect, pattern))
    assert deletions(analyse(cluster.snapshot, protected).plan) <= deletions(analyse(cluster.snapshot, rules).plan)


@given(clusters(), settings(), st.booleans())
def test_extended_deletes_a_subset_of_oc_P5(cluster: Cluster, rules: AnalysisSettings, alone: bool) -> None:
    properties.deletes_a_subset_of_oc(cluster.snapshot, rules, by_size_alone=alone)


@given(clusters(), any_settings())
def test_the_plan_of_a_namespace_is_a_subset_of_the_whole_P6(cluster: Cluster, rules: AnalysisSettings) -> None:
    properties.deletes_a_subset_for_each_namespace(cluster.snapshot, rules)


@given(clusters(), settings(), st.randoms(use_true_random=False))
def test_the_order_of_lists_changes_nothing_P7(cluster: Cluster, rules: AnalysisSettings, random: object) -> None:
    found = cluster.snapshot
    shuffled = {}
    for name in ("images", "streams", "limits", "referrers"):
        objects = list(getattr(found, name))
        random.shuffle(objects)  # type: ignore[attr-defined]
        shuffled[name] = tuple(objects)
    one = analyse(found, rules).plan
    other = analyse(msgspec.structs.replace(found, **shuffled), rules).plan
    assert list(encode(one)) == list(encode(other))


@given(clusters(), any_settings())
def test_sums_of_image_streams_are_those_of_the_report_of_the_plan(cluster: Cluster, rules: AnalysisSettings) -> None:
    plan = analyse(cluster.snapshot, rules).plan
    assert stream_sums(plan) == Report(plan=plan).streams


@given(clusters(), any_settings())
def test_a_plan_is_a_function_of_its_inputs_and_comes_back_from_its_file_P8(
    cluster: Cluster, rules: AnalysisSettings
) -> None:
    properties.is_a_function_of_its_inputs(cluster.snapshot, rules)


@given(clusters(), clusters(), settings())
def test_nothing_goes_that_was_not_approved(then: Cluster, now: Cluster, rules: AnalysisSettings) -> None:
    properties.deletes_only_what_is_approved(then.snapshot, now.snapshot, rules)
