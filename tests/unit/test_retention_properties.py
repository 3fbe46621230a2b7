"""What holds with retention rules, attached tags and empty image streams: P1 to P8 on generated clusters."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.analysis import analyse
from pruner.analysis.attached import subject_of
from pruner.cluster.objects import Snapshot
from pruner.plan import Approval, PrunePlan, encode
from pruner.settings import AnalysisSettings, RetentionRule
from tests.builders import properties
from tests.builders.clusters import (
    PLACES,
    Cluster,
    Use,
    applied,
    deletions,
    members,
    retention_rules,
    retention_settings,
    tagged_clusters,
    uses,
)

pytestmark = pytest.mark.properties


def remaining(cluster: Snapshot, plan: PrunePlan) -> dict[tuple[str, str], list[str]]:
    """Images by stream and tag after the plan."""
    after = applied(cluster, plan)
    return {
        (stream.name, tag.tag): [item.image for item in tag.items or ()]
        for stream in after.streams
        for tag in stream.histories
    }


@given(tagged_clusters(), retention_settings(references="extended"))
def test_use_wins_over_every_rule_P1(cluster: Cluster, rules: AnalysisSettings) -> None:
    rules = dataclasses.replace(rules, keep_younger_than=timedelta(minutes=60))
    plan = analyse(cluster.snapshot, rules).plan
    images = {image.name: image for image in cluster.snapshot.images}
    left = remaining(cluster.snapshot, plan)
    current = {
        (stream.name, tag.tag): tag.items[0].image
        for stream in cluster.snapshot.streams
        for tag in stream.histories
        if tag.items
    }
    for use in cluster.uses:
        key = (use.stream or "", use.tag or "")
        if use.tag and key in current:
            assert left[key][0] == current[key], "the current revision of a used tag"
        if use.digest in images:
            assert not members(images, use.digest) & {image.name for image in plan.images}
    deleted = {each.stream for each in plan.empty_streams}
    assert not deleted & {use.stream for use in cluster.uses}


@given(tagged_clusters(), retention_settings())
def test_a_tag_of_a_rule_never_moves_back_to_an_older_image_R31(cluster: Cluster, rules: AnalysisSettings) -> None:
    found = analyse(cluster.snapshot, rules)
    for history in found.histories:
        decisions = found.history_rules.fates.decisions(history.stream)
        for tag in history.tags:
            if tag.tag in decisions and any(reason.kept for reason in tag.reasons):
                assert tag.reasons[0].kept


@given(tagged_clusters(), retention_settings())
def test_no_surviving_image_loses_a_blob_P2(cluster: Cluster, rules: AnalysisSettings) -> None:
    plan = analyse(cluster.snapshot, rules).plan
    properties.loses_no_blob_of_a_surviving_image(cluster.snapshot, plan)
    named = {digest for digests in remaining(cluster.snapshot, plan).values() for digest in digests}
    assert not named & {image.name for image in plan.images}


@given(tagged_clusters(), retention_settings())
def test_an_expired_tag_goes_from_spec_and_status_or_stays_in_both_R32(
    cluster: Cluster, rules: AnalysisSettings
) -> None:
    plan = analyse(cluster.snapshot, rules).plan
    expired = set(plan.expired_tags)
    for change in plan.streams:
        stream = next(each for each in cluster.snapshot.streams if each.name == change.stream)
        of_it = {tag for name, tag in expired if name == change.stream}
        assert set(change.removed_spec_tags) == of_it & stream.spec_tags
        assert set(change.removed_spec_tags) <= set(change.removed_tags)


@given(tagged_clusters(), retention_settings())
def test_a_plan_applied_leaves_nothing_to_plan_P3(cluster: Cluster, rules: AnalysisSettings) -> None:
    properties.leaves_nothing_to_plan(cluster.snapshot, rules)


@given(tagged_clusters(), retention_settings(), uses, st.sampled_from(PLACES))
def test_more_references_never_delete_more_P4(cluster: Cluster, rules: AnalysisSettings, use: Use, place: str) -> None:
    properties.deletes_no_more_with_a_reference_more(cluster.snapshot, rules, use, place)


@given(tagged_clusters(), retention_settings(), st.integers(1, 3), st.sampled_from([1, 440, 10_000]))
def test_conditions_that_keep_more_never_delete_more_P4(
    cluster: Cluster, rules: AnalysisSettings, more: int, minutes: int
) -> None:
    wider = tuple(
        msgspec.structs.replace(
            rule,
            keep_newest=None if rule.keep_newest is None else rule.keep_newest + more,
            keep_younger_than=rule.keep_younger_than and rule.keep_younger_than + timedelta(minutes=minutes),
        )
        for rule in rules.retention
    )
    larger = dataclasses.replace(rules, retention=wider)
    assert deletions(analyse(cluster.snapshot, larger).plan) <= deletions(analyse(cluster.snapshot, rules).plan)


@given(tagged_clusters(), retention_settings(), st.sampled_from(["Namespace shop", "ImageStream base/web"]))
def test_protection_by_labels_never_deletes_more_P4(cluster: Cluster, rules: AnalysisSettings, name: str) -> None:
    protected = msgspec.structs.replace(cluster.snapshot, protected=frozenset([name]))
    rules = dataclasses.replace(rules, protect_selector="keep=true")
    assert deletions(analyse(protected, rules).plan) <= deletions(analyse(cluster.snapshot, rules).plan)


@given(tagged_clusters(), retention_settings(references="extended"), retention_rules(9), st.booleans())
def test_a_rule_more_never_keeps_less_of_what_is_used_P4(
    cluster: Cluster, rules: AnalysisSettings, rule: RetentionRule, first: bool
) -> None:
    rules = dataclasses.replace(rules, keep_younger_than=timedelta(minutes=60), prune_over_size_limit=False)
    more = (rule, *rules.retention) if first else (*rules.retention, rule)
    plan = analyse(cluster.snapshot, dataclasses.replace(rules, retention=more)).plan
    images = {image.name for image in cluster.snapshot.images}
    used = {use.digest for use in cluster.uses if use.digest in images}
    assert not used & {image.name for image in plan.images}
    left = remaining(cluster.snapshot, plan)
    for key, digests in remaining(cluster.snapshot, analyse(cluster.snapshot, rules).plan).items():
        if any(key == (use.stream, use.tag) for use in cluster.uses) and digests:
            assert left[key][0] == digests[0]


@given(tagged_clusters(), retention_settings(attached="keep", empty_streams=None), st.booleans())
def test_extended_deletes_a_subset_of_oc_without_attached_tags_P5(
    cluster: Cluster, rules: AnalysisSettings, alone: bool
) -> None:
    properties.deletes_a_subset_of_oc(cluster.snapshot, rules, by_size_alone=alone)


@given(tagged_clusters(), retention_settings())
def test_the_plan_of_a_namespace_is_a_subset_of_the_whole_P6(cluster: Cluster, rules: AnalysisSettings) -> None:
    properties.deletes_a_subset_for_each_namespace(cluster.snapshot, rules)


@given(tagged_clusters(), retention_settings(), st.randoms(use_true_random=False))
def test_the_order_of_lists_changes_nothing_P7(cluster: Cluster, rules: AnalysisSettings, random: object) -> None:
    found = cluster.snapshot
    shuffled: dict[str, object] = {}
    for name in ("images", "referrers", "streams"):
        objects = list(getattr(found, name))
        random.shuffle(objects)  # type: ignore[attr-defined]
        shuffled[name] = tuple(objects)
    streams = []
    for stream in shuffled["streams"]:  # type: ignore[attr-defined]
        tags, declared = list(stream.histories), list(stream.spec.tags)
        random.shuffle(tags)  # type: ignore[attr-defined]
        random.shuffle(declared)  # type: ignore[attr-defined]
        streams.append(
            msgspec.structs.replace(
                stream,
                status=msgspec.structs.replace(stream.status, tags=tags),
                spec=msgspec.structs.replace(stream.spec, tags=declared),
            )
        )
    shuffled["streams"] = tuple(streams)
    one = analyse(found, rules).plan
    other = analyse(msgspec.structs.replace(found, **shuffled), rules).plan
    assert list(encode(one)) == list(encode(other))


@given(tagged_clusters(), retention_settings())
def test_a_plan_is_a_function_of_its_inputs_and_comes_back_from_its_file_P8(
    cluster: Cluster, rules: AnalysisSettings
) -> None:
    properties.is_a_function_of_its_inputs(cluster.snapshot, rules)


@given(tagged_clusters(), retention_settings(), st.booleans())
def test_every_decision_on_a_revision_is_the_first_of_its_reasons(
    cluster: Cluster, rules: AnalysisSettings, approved: bool
) -> None:
    properties.decides_by_the_first_of_its_reasons(analyse(cluster.snapshot, rules, Approval() if approved else None))


@given(tagged_clusters(), tagged_clusters(), retention_settings())
def test_nothing_goes_that_was_not_approved(then: Cluster, now: Cluster, rules: AnalysisSettings) -> None:
    properties.deletes_only_what_is_approved(then.snapshot, now.snapshot, rules)


@given(tagged_clusters(), retention_settings(references="extended", attached="follow", retention=()), st.booleans())
def test_attached_tags_follow_their_subject_R35(cluster: Cluster, rules: AnalysisSettings, approved: bool) -> None:
    approval = Approval.of(analyse(cluster.snapshot, rules).plan) if approved else None
    found = analyse(cluster.snapshot, rules, approval)
    surviving = {name for name, reason in found.images.items() if reason.kept}
    for history in found.histories:
        for tag in history.tags:
            subject = subject_of(tag.tag)
            for event, reason in zip(tag.items, tag.reasons, strict=True):
                if subject in surviving and event.image in found.images:
                    assert reason.kept
