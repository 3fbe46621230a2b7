"""Retention rules for tags, empty image streams and attached tags, by rule number (R29 to R35)."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from pruner.analysis import find_usage
from pruner.analysis.attached import kept_subjects, subject_of
from pruner.analysis.history_rules import HistoryRules
from pruner.analysis.index_graph import IndexGraph
from pruner.analysis.promotion import Sources, settle
from pruner.analysis.protection import Protection
from pruner.analysis.retention import TagRetention, version_of
from pruner.analysis.usage import TagSource, Usage
from pruner.cluster.objects import TagEvent, TagReference
from pruner.errors import SettingsError, UnsafePlanError
from pruner.plan import Approval, DeletedStream
from pruner.planning import check_size
from pruner.provider.rendering import rendered
from pruner.reasons import (
    AmongNewest,
    AmongNewestTags,
    AttachedToAbsent,
    AttachedToKept,
    AttachedToPruned,
    BeyondNewest,
    CurrentOfReferencedTag,
    EmptyStream,
    Expired,
    ImageAbsent,
    ImportedTag,
    KeptByRule,
    MovedRecently,
    NotApproved,
    OlderRevisionKept,
    Protected,
    ProtectedByLabels,
    Referenced,
    ReferencedInStream,
    RevisionTooYoung,
    StreamTooYoung,
)
from pruner.report import Report
from pruner.report.openmetrics import openmetrics
from pruner.report.wording import headline
from pruner.report.wording import rules as rules_shown
from pruner.settings import EmptyStreams, RetentionRule, read
from tests.builders.objects import (
    HOST,
    NOW,
    OLD,
    A,
    B,
    C,
    D,
    E,
    F,
    analysed,
    at,
    build,
    controller,
    deployment,
    digest,
    from_,
    image,
    image_stream,
    index,
    item,
    revision,
    rule,
    snapshot,
)
from tests.builders.objects import rules as settings_of

IMAGES = [image(name) for name in (A, B, C, D)]
SIG = digest("signature")


def tag_of(name: str, suffix: str = ".sig") -> str:
    return f"sha256-{name[7:]}{suffix}"


def decided(rules: list[RetentionRule], *tags: str, stream: str = "shop/web") -> dict[str, str]:
    """By tag the name of the rule that a tag belongs to."""
    found = TagRetention(rules, NOW).decide(image_stream(stream, {tag: [A] for tag in tags}))
    return {tag: decision.rule.name for tag, decision in found.items()}


def expired(found: dict[str, object]) -> set[str]:
    return {tag for tag, decision in found.items() if isinstance(getattr(decision, "reason", None), Expired)}


# --- R29 --------------------------------------------------------------------------------------------------------------


def test_a_tag_belongs_to_the_first_rule_that_matches_it_R29() -> None:
    rules = [
        rule("previews", tags=["pr-*", "mr-?"], keep_newest=0),
        rule("releases", tags=["v*", "!v0*"], keep_newest=0),
        rule("one", tags=["latest"], keep_newest=0),
        rule("middle", tags=["*-rc-*"], keep_newest=0),
        rule("rest", streams=["shop/*", "!shop/db"], keep_newest=0),
    ]
    tags = ("pr-1", "pr-", "mr-1", "mr-12", "v1", "v0.1", "latest", "latest2", "x-rc-1", "pr-rc-1", "v1-rc-2")
    assert decided(rules, *tags) == {
        "pr-1": "previews",
        "pr-": "previews",
        "mr-1": "previews",
        "mr-12": "rest",
        "v1": "releases",
        "v0.1": "rest",
        "latest": "one",
        "latest2": "rest",
        "x-rc-1": "middle",
        "pr-rc-1": "previews",
        "v1-rc-2": "releases",
    }
    assert decided(rules, "other", "v0.1", stream="shop/db") == {}
    assert decided(rules, "other", "v1", stream="base/os") == {"v1": "releases"}


def test_an_excluded_pattern_excludes_the_whole_name_only_R29() -> None:
    assert decided([rule(tags=["*", "!v1"], keep_newest=0)], "v1", "v11", "av1") == {"v11": "rule", "av1": "rule"}


def test_a_tag_that_no_rule_matches_is_decided_without_them_R29() -> None:
    rules = (rule(tags=["pr-*"], keep_newest=0),)
    found = analysed(*IMAGES, image_stream("shop/web", {"other": [A, B], "pr-1": [C]}), retention=rules, revisions=1)
    assert revision(found, "shop/web:other") == AmongNewest(0, 1)
    assert revision(found, "shop/web:other", 1) == BeyondNewest(1, 1)
    assert revision(found, "shop/web:pr-1") == Expired("rule")


def test_a_rule_that_matches_nothing_is_a_note_and_with_strict_an_error_R29() -> None:
    rules = (rule("idle", tags=["none-*"], keep_newest=1), rule("rest", keep="all"))
    stream = image_stream("shop/web", latest=[A])
    assert analysed(image(A), stream, retention=rules).plan.notes == (
        "retention: rule 'idle' matches no tag in this cluster",
    )
    with pytest.raises(SettingsError, match="rule 'idle' matches no tag"):
        analysed(image(A), stream, retention=rules, strict=True)


# --- R30 --------------------------------------------------------------------------------------------------------------


def test_each_condition_keeps_the_current_revision_with_its_reason_R30() -> None:
    rules = (
        rule("all", tags=["prod"], keep="all"),
        rule("young", tags=["pr-*"], keep_younger_than="1d"),
        rule("newest", tags=["v*"], keep_newest=1),
    )
    tags = {
        "prod": [A],
        "pr-1": [item(A, 1439)],
        "pr-2": [item(A, 1440)],
        "v1": [item(A, 5000)],
        "v2": [item(B, 4000)],
    }
    found = analysed(*IMAGES, image_stream("shop/web", tags), retention=rules, revisions=0)
    assert revision(found, "shop/web:prod") == KeptByRule("all")
    assert revision(found, "shop/web:pr-1") == MovedRecently("young", 1440)
    assert revision(found, "shop/web:pr-2") == Expired("young")
    assert revision(found, "shop/web:v2") == AmongNewestTags("newest", 1, 1)
    assert revision(found, "shop/web:v1") == Expired("newest")


def test_the_newest_tags_are_counted_by_image_stream_and_rule_and_ties_broken_by_name_R30() -> None:
    rules = (rule("previews", tags=["pr-*"], keep_newest=2), rule("rest", keep_newest=1))
    tags = {"pr-3": [A], "pr-1": [A], "pr-2": [A], "b": [item(A, OLD - 1)], "a": [item(A, OLD)]}
    found = analysed(image(A), image_stream("shop/web", tags), image_stream("shop/db", {"pr-9": [A]}), retention=rules)
    assert revision(found, "shop/web:pr-1") == AmongNewestTags("previews", 1, 2)
    assert revision(found, "shop/web:pr-2") == AmongNewestTags("previews", 2, 2)
    assert revision(found, "shop/web:pr-3") == Expired("previews")
    assert revision(found, "shop/db:pr-9") == AmongNewestTags("previews", 1, 2)
    assert revision(found, "shop/web:b") == AmongNewestTags("rest", 1, 1)
    assert revision(found, "shop/web:a") == Expired("rest")


def test_a_tag_without_a_time_or_without_its_zone_has_an_order_R30() -> None:
    """A time without a zone is in UTC, as the API server's are; without a time the tag is older than all others."""
    without_zone = TagEvent(A, at(10).replace(tzinfo=None))
    tags = {"untimed": [item(A, None)], "zoned": [item(A, 20)], "naive": [without_zone], "later": [item(A, 5)]}
    stream = image_stream("shop/web", tags)
    found = TagRetention([rule(keep_newest=2, keep_younger_than=15)], NOW).decide(stream)
    assert {tag: type(decision.reason) for tag, decision in found.items()} == {
        "later": MovedRecently,
        "naive": MovedRecently,
        "zoned": Expired,
        "untimed": Expired,
    }
    by_number = TagRetention([rule(keep_newest=3)], NOW).decide(stream)
    assert [tag for tag, decision in by_number.items() if decision.expired] == ["untimed"]


def test_equal_decisions_in_several_image_streams_are_one_object_R30() -> None:
    retention = TagRetention([rule(keep_newest=2)], NOW)
    first = retention.decide(image_stream("shop/web", {"a": [A]}))
    second = retention.decide(image_stream("shop/db", {"b": [A], "c": [item(A, OLD + 1)], "d": [item(A, OLD + 2)]}))
    third = retention.decide(image_stream("shop/api", {"e": [A], "f": [item(A, OLD + 1)]}))
    assert second["b"] is first["a"]
    assert (third["e"], third["f"]) == (second["b"], second["c"])
    assert third["f"] is second["c"]
    again = retention.decide(image_stream("shop/other", {"g": [A]}))
    assert again["g"] is first["a"]


def test_the_decisions_on_tags_with_one_revision_are_one_object_for_each_decision_of_a_rule_R30() -> None:
    streams = [image_stream(f"shop/{name}", {"pr-1": [A], "v1": [B]}) for name in ("web", "db")]
    retention = (rule("previews", tags=["pr-*"], keep_newest=0), rule("releases", tags=["v*"], keep="all"))
    found = analysed(*IMAGES, *streams, retention=retention)
    db, web = [[tag.decisions for tag in history.tags] for history in found.histories]
    assert [decisions.reasons for decisions in web] == [(Expired("previews"),), (KeptByRule("releases"),)]
    assert (db[0] is web[0], db[1] is web[1]) == (True, True)


def test_the_longest_variant_that_a_version_ends_with_counts_R30() -> None:
    for variants in (["alpine", "a-alpine"], ["a-alpine", "alpine"]):
        rules = [rule(order="semver", keep_newest=1, variants=variants)]
        tags = {tag: [A] for tag in ("2.0.0-alpine", "1.0.0-alpine", "1.0.0-a-alpine", "0.9.0-a-alpine")}
        found = TagRetention(rules, NOW).decide(image_stream("shop/web", tags))
        assert {tag for tag, decision in found.items() if not decision.expired} == {"2.0.0-alpine", "1.0.0-a-alpine"}


def test_an_age_from_before_all_time_keeps_every_tag_that_has_a_time_R30() -> None:
    tags = {"old": [item(A, OLD)], "untimed": [item(A, None)]}
    retention = TagRetention([rule(keep_younger_than=1_000_000_000)], NOW.replace(year=1900))
    found = retention.decide(image_stream("shop/web", tags))
    assert found["old"].reason == MovedRecently("rule", 1_000_000_000)
    assert found["untimed"].expired


def test_of_equal_versions_the_first_name_counts_R30() -> None:
    rules = [rule(order="semver", keep_newest=1)]
    for tags in (["1.0.0", "v1.0.0"], ["v1.0.0", "1.0.0"], ["1.0.0", "1.0.0+b"]):
        found = TagRetention(rules, NOW).decide(image_stream("shop/web", {tag: [A] for tag in tags}))
        assert {tag for tag, decision in found.items() if not decision.expired} == {"1.0.0"}


@pytest.mark.parametrize(
    "lowest_first",
    [
        ["1.1.5", "1.2.0", "1.10.0", "2.0.0"],
        ["1.1.1", "1.1.2", "1.1.10"],
        ["1.0.0-rc.2", "1.0.0-rc.10", "1.0.0"],
        ["1.0.0-9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta"],
    ],
)
def test_every_part_of_a_version_counts_R30(lowest_first: list[str]) -> None:
    rules = [rule(order="semver", keep_newest=1, prereleases=True)]
    for count in range(1, len(lowest_first) + 1):
        tags = {tag: [A] for tag in sorted(lowest_first[:count])}
        found = TagRetention(rules, NOW).decide(image_stream("shop/web", tags))
        assert [tag for tag, decision in found.items() if not decision.expired] == [lowest_first[count - 1]]


TAGS = ["v1.9.0", "1.10.0", "v1.10.1-rc.1", "1.10.0-alpine", "1.9.0-alpine", "2", "v1", "latest", "1.2.3.4", "01.2.3"]


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({}, {"1.10.0"}),
        ({"keep_newest": 3}, {"1.10.0", "v1.9.0"}),
        ({"prereleases": True}, {"v1.10.1-rc.1"}),
        ({"variants": ["alpine"]}, {"1.10.0", "1.10.0-alpine"}),
        ({"variants": ["alpine"], "keep_newest": 2}, {"1.10.0", "v1.9.0", "1.10.0-alpine", "1.9.0-alpine"}),
    ],
)
def test_versions_are_ordered_by_precedence_R30(more: dict[str, object], kept: set[str]) -> None:
    rules = [rule(**{"order": "semver", "keep_newest": 1, **more})]
    # The time says the opposite, and does not count.
    tags = {tag: [item(A, OLD - number)] for number, tag in enumerate(TAGS)}
    found = TagRetention(rules, NOW).decide(image_stream("shop/web", tags))
    assert {tag for tag, decision in found.items() if not decision.expired} == kept


@pytest.mark.parametrize(
    ("tag", "variants", "said"),
    [
        ("1.2.3", (), ("1.2.3", "")),
        ("v1.2.3-rc.1", (), ("1.2.3-rc.1", "")),
        ("1.2.3-alpine", ("alpine",), ("1.2.3", "alpine")),
        ("1.2.3-rc.1-slim-alpine", ("slim-alpine", "alpine"), ("1.2.3-rc.1", "slim-alpine")),
        ("V1.2.3", (), (None, "")),
        ("1.2", (), (None, "")),
        ("1.2.3-01", (), (None, "")),
        ("v-alpine", ("alpine",), (None, "")),
        (f"1.2.{'3' * 124}", (), (f"1.2.{'3' * 124}", "")),
        (f"1.2.{'3' * 125}", (), (None, "")),
        ("\u0661.2.3", (), (None, "")),
    ],
)
def test_a_tag_is_read_as_a_version_R30(tag: str, variants: tuple[str, ...], said: tuple[str | None, str]) -> None:
    version, variant = version_of(tag, variants)
    assert (None if version is None else str(version), variant) == said


# --- R31 --------------------------------------------------------------------------------------------------------------

PREVIEWS = (rule("previews", keep_newest=0),)


def test_an_expired_tag_stays_while_something_refers_to_it_R31() -> None:
    user = deployment("apps/x", f"{HOST}/shop/web:pr-1")
    found = analysed(*IMAGES, image_stream("shop/web", {"pr-1": [A, B]}), user, retention=PREVIEWS, revisions=3)
    assert revision(found, "shop/web:pr-1") == CurrentOfReferencedTag(("Deployment apps/x",))
    assert revision(found, "shop/web:pr-1", 1) == Expired("previews")
    assert found.plan.streams[0].removed_tags == ()


def test_a_used_digest_keeps_the_revision_and_the_tag_in_front_of_it_R31() -> None:
    streams = [image_stream("shop/web", {"pr-1": [A, B, C]}), image_stream("shop/db", {"pr-2": [A, C]})]
    user = deployment("apps/x", f"{HOST}/shop/web@{C}")
    found = analysed(*IMAGES, *streams, user, retention=PREVIEWS)
    assert revision(found, "shop/web:pr-1", 2) == ReferencedInStream(("Deployment apps/x",))
    assert revision(found, "shop/web:pr-1", 1) == Expired("previews")
    assert revision(found, "shop/web:pr-1") == OlderRevisionKept(2)
    # In another image stream the digest counts too (R12).
    assert revision(found, "shop/db:pr-2", 1) == Referenced(("Deployment apps/x",))
    assert revision(found, "shop/db:pr-2") == OlderRevisionKept(1)
    explained = [*found.history_rules.reasons(streams[0], "pr-1", 0, item(A))]
    assert explained == [OlderRevisionKept(2)]


def test_a_tag_that_its_rule_keeps_does_not_move_back_from_an_absent_image_R31() -> None:
    """Otherwise a condition that keeps the tag would prune a revision that is kept where the tag expires."""
    tags = {"pr-1": [item(SIG, 90), item(B, 100)]}
    for asked in ({"keep": "all"}, {"keep_newest": 1}, {"keep_newest": 0, "imported": True}):
        rules = (rule("previews", keep_tag_revisions=2, **asked),)
        used = deployment("shop/run", f"{HOST}/shop/web@{B}")
        found = analysed(*IMAGES, image_stream("shop/web", tags), used, retention=rules, revisions=3)
        assert revision(found, "shop/web:pr-1") == OlderRevisionKept(1)
        assert revision(found, "shop/web:pr-1", 1).kept
        stream = found.histories[0].stream
        assert [
            *found.history_rules.reasons(stream, "pr-1", 0, stream.histories[0].items[0])  # type: ignore[index]
        ] == [OlderRevisionKept(1)]


def test_a_used_member_keeps_an_expired_tag_of_its_index_R31() -> None:
    found = analysed(
        image(A),
        index(B, [A]),
        image_stream("shop/web", {"pr-1": [B]}),
        deployment("apps/x", f"elsewhere@{A}"),
        retention=PREVIEWS,
    )
    assert revision(found, "shop/web:pr-1") == Referenced(("Deployment apps/x",))


def test_age_protection_and_namespace_hold_for_expired_tags_R31() -> None:
    young = analysed(image(A), image_stream("shop/web", {"pr-1": [item(A, 5)]}), retention=PREVIEWS)
    assert revision(young, "shop/web:pr-1") == RevisionTooYoung(60)
    stream = analysed(image(A), image_stream("shop/web", {"pr-1": [A]}, age=5), retention=PREVIEWS)
    assert revision(stream, "shop/web:pr-1") == StreamTooYoung(60)
    protected = analysed(image(A), image_stream("shop/web", {"pr-1": [A]}), retention=PREVIEWS, protect=("shop/web",))
    assert revision(protected, "shop/web:pr-1") == Protected("shop/web")
    elsewhere = analysed(image(A), image_stream("shop/web", {"pr-1": [A]}), retention=PREVIEWS, namespace="base")
    assert not elsewhere.plan.streams


def test_labels_protect_an_image_stream_and_those_of_a_namespace_R18() -> None:
    for name in ("ImageStream shop/web", "Namespace shop"):
        found = analysed(
            image(A),
            image_stream("shop/web", {"pr-1": [A]}),
            image_stream("base/web", {"pr-1": [A]}),
            retention=PREVIEWS,
            protect_selector="keep=true",
            protected=[name],
        )
        assert revision(found, "shop/web:pr-1") == ProtectedByLabels(name, "keep=true")
        assert revision(found, "base/web:pr-1") == Expired("previews")


def test_an_approval_keeps_what_it_does_not_name_R31() -> None:
    stream = image_stream("shop/web", {"pr-1": [A, B]})
    objects = [*IMAGES, stream]
    approved = Approval.of(analysed(*objects, revisions=1).plan)
    found = analysed(*objects, approval=approved, retention=PREVIEWS)
    assert revision(found, "shop/web:pr-1") == NotApproved()
    assert revision(found, "shop/web:pr-1", 1) == Expired("previews")
    first = Approval(frozenset([("shop/web", "pr-1", A, at(OLD))]))
    older = analysed(*objects, approval=first, retention=PREVIEWS)
    assert revision(older, "shop/web:pr-1") == OlderRevisionKept(1)
    assert revision(older, "shop/web:pr-1", 1) == NotApproved()


def test_a_spec_tag_that_is_not_approved_keeps_its_tag_R31() -> None:
    with_entry = image_stream("shop/web", {"pr-1": [A]}, sources={"pr-1": None})
    approved = Approval.of(analysed(image(A), image_stream("shop/web", {"pr-1": [A]}), retention=PREVIEWS).plan)
    found = analysed(image(A), with_entry, approval=approved, retention=PREVIEWS)
    assert revision(found, "shop/web:pr-1") == NotApproved()
    assert found.plan.empty


def test_a_tag_and_its_expired_source_go_together_and_stay_together_R31() -> None:
    """A chain of promotions: prod comes from stage, stage from dev. What uses the last one keeps them all."""
    streams = [
        image_stream("shop/dev", {"pr-1": [A]}),
        image_stream("shop/stage", {"pr-1": [A]}, sources={"pr-1": from_("ImageStreamTag", "dev:pr-1")}),
        image_stream("shop/prod", {"pr-1": [A]}, sources={"pr-1": from_("ImageStreamTag", "stage:pr-1")}),
    ]
    unused = analysed(image(A), *streams, retention=PREVIEWS)
    assert [(each.stream, each.removed_tags, each.removed_spec_tags) for each in unused.plan.streams] == [
        ("shop/dev", ("pr-1",), ()),
        ("shop/prod", ("pr-1",), ("pr-1",)),
        ("shop/stage", ("pr-1",), ("pr-1",)),
    ]
    user = deployment("apps/x", f"{HOST}/shop/prod:pr-1")
    used = analysed(image(A), *streams, user, retention=PREVIEWS)
    assert used.plan.empty
    assert revision(used, "shop/prod:pr-1") == CurrentOfReferencedTag(("Deployment apps/x",))
    assert revision(used, "shop/stage:pr-1") == CurrentOfReferencedTag(("ImageStream shop/prod",))
    assert revision(used, "shop/dev:pr-1") == CurrentOfReferencedTag(("ImageStream shop/stage",))


def test_a_kept_tag_keeps_the_expired_tag_that_it_comes_from_R31() -> None:
    rules = (rule("prod", tags=["prod"], keep="all"), *PREVIEWS)
    source = from_("ImageStreamTag", "pr-1")
    found = analysed(
        image(A), image_stream("shop/web", {"pr-1": [A], "prod": [A]}, sources={"prod": source}), retention=rules
    )
    assert revision(found, "shop/web:pr-1") == CurrentOfReferencedTag(("ImageStream shop/web",))


@pytest.mark.parametrize("named", [B, E], ids=["directly", "in an index"])
def test_an_expired_tag_that_stays_keeps_the_digest_that_it_comes_from_in_other_image_streams_R31(named: str) -> None:
    """So that a tag there stays, and with it the expired tag that this one comes from."""
    streams = [
        image_stream("shop/dev", {"pr-9": [B]}),
        image_stream("shop/prod", {"pr-1": [A]}, sources={"pr-1": from_("ImageStreamImage", f"dev@{B}")}),
        image_stream("shop/stage", {"pr-2": [C, named]}, sources={"pr-2": from_("ImageStreamTag", "base:pr-3")}),
        image_stream("shop/base", {"pr-3": [D]}),
    ]
    images = [*IMAGES, index(E, [B])]
    unused = analysed(*images, *streams, retention=PREVIEWS)
    assert {change.stream for change in unused.plan.streams} == {stream.name for stream in streams}
    used = analysed(*images, *streams, deployment("apps/x", f"{HOST}/shop/prod:pr-1"), retention=PREVIEWS)
    assert revision(used, "shop/dev:pr-9").kept
    assert revision(used, "shop/stage:pr-2") == OlderRevisionKept(1)
    assert revision(used, "shop/base:pr-3") == CurrentOfReferencedTag(("ImageStream shop/stage",))


def test_several_expired_tags_that_stay_keep_what_each_comes_from_R31() -> None:
    names = ("a", "b", "c")
    streams = [image_stream(f"from/{name}", {"pr-1": [A]}) for name in names]
    sources = {name: {"pr-1": from_("ImageStreamTag", f"{name}:pr-1", "from")} for name in names}
    streams += [image_stream(f"to/{name}", {"pr-1": [A]}, sources=sources[name]) for name in names]
    users = [deployment(f"apps/{name}", f"{HOST}/to/{name}:pr-1") for name in names]
    found = analysed(image(A), *streams, *users, retention=PREVIEWS)
    assert found.plan.empty
    for name in names:
        assert revision(found, f"from/{name}:pr-1") == CurrentOfReferencedTag((f"ImageStream to/{name}",))


def test_sources_of_tags_that_a_rule_keeps_or_that_none_matches_count_in_any_case_R31() -> None:
    tags = {"pr-1": [A], "kept": [A], "other": [A]}
    found = [TagSource("shop/web", tag) for tag in tags] + [TagSource("shop/gone", "pr-1")]
    retention = TagRetention([rule("kept", tags=["kept"], keep="all"), rule(tags=["pr-*"], keep_newest=0)], NOW)
    sources = Sources.of(Usage(sources=tuple(found)), [image_stream("shop/web", tags)], retention)
    assert sources == Sources(settled=(found[1], found[2]), of_expired=(found[0],))


def test_only_image_streams_in_which_something_was_added_are_decided_again_R31() -> None:
    streams = [
        image_stream("shop/dev", {"pr-1": [A]}),
        image_stream("shop/prod", {"pr-1": [A]}, sources={"pr-1": from_("ImageStreamTag", "dev:pr-1")}),
        image_stream("shop/other", {"pr-1": [B]}),
    ]
    user = deployment("apps/x", f"{HOST}/shop/prod:pr-1")
    cluster = snapshot(*IMAGES, *streams, user)
    asked = settings_of(retention=PREVIEWS)
    usage, graph = find_usage(cluster, asked, sources_apart=True), IndexGraph(cluster.images)
    decisions = HistoryRules(cluster, asked, usage, graph, Protection(()), None)
    before = {stream.name: decisions.decide(stream) for stream in streams}
    after = dict(before)
    assert settle(after, usage.sources, decisions) == [*usage.sources]
    assert [name for name in after if after[name] is not before[name]] == ["shop/dev"]
    assert [tag.reasons[0] for tag in after["shop/dev"].tags] == [CurrentOfReferencedTag(("ImageStream shop/prod",))]


# --- R32 --------------------------------------------------------------------------------------------------------------


def test_an_expired_tag_goes_as_a_whole_R32() -> None:
    tags = {"pr-1": [A, digest("absent"), "", B], "kept": [C]}
    rules = (rule("previews", tags=["pr-*"], keep_newest=0),)
    found = analysed(*IMAGES, image_stream("shop/web", tags, sources={"pr-1": None}), retention=rules, revisions=5)
    (change,) = found.plan.streams
    assert [each.reason for each in change.revisions] == [Expired("previews")] * 4
    assert (change.removed_tags, change.removed_spec_tags) == (("pr-1",), ("pr-1",))
    assert found.plan.expired_tags == (("shop/web", "pr-1"),)


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize("reference", [False, True])
def test_an_imported_tag_expires_only_with_imported_R32(imported: bool, reference: bool) -> None:
    entry = TagReference("a", from_("DockerImage", "quay.io/a/b:1"), reference)
    found = analysed(
        image(A),
        image_stream("shop/web", a=[A], sources={"a": entry}),
        retention=(rule(keep_newest=0, imported=imported),),
    )
    expected = Expired("rule") if imported or reference else ImportedTag("rule")
    assert revision(found, "shop/web:a") == expected
    assert [change.removed_spec_tags for change in found.plan.streams] == ([] if expected.kept else [("a",)])


def test_an_expired_tag_before_one_that_is_kept_loses_its_entry_R32() -> None:
    stream = image_stream("shop/web", {"pr-1": [A, B], "v1": [C, D]}, sources={"pr-1": None, "v1": None})
    retention = (rule("previews", tags=["pr-*"], keep_newest=0), rule("rest", keep="all"))
    (change,) = analysed(*IMAGES, stream, retention=retention, revisions=1).plan.streams
    assert (change.removed_tags, change.removed_spec_tags) == (("pr-1",), ("pr-1",))


def test_tags_of_spec_alone_and_without_revisions_stay_R32() -> None:
    stream = image_stream("shop/web", {"failed": None, "none": []}, sources={"failed": None, "spec-only": None})
    assert analysed(stream, retention=PREVIEWS).plan.empty


def test_a_tag_that_other_rules_empty_keeps_its_spec_entry_R32() -> None:
    stream = image_stream("shop/web", {"a": [A]}, sources={"a": from_("DockerImage", "quay.io/a/b")})
    (change,) = analysed(image(B), stream, revisions=0).plan.streams
    assert (change.removed_tags, change.removed_spec_tags) == (("a",), ())


# --- R33 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of_rule", "setting", "kept"), [(None, 2, 2), (1, 3, 1), (3, 0, 3), (0, 3, 1)])
def test_older_revisions_of_a_kept_tag_go_by_the_rule_or_else_the_setting_R33(
    of_rule: int | None, setting: int, kept: int
) -> None:
    more = {} if of_rule is None else {"keep_tag_revisions": of_rule}
    stream = image_stream("shop/web", {"prod": [A, B, C, D]})
    found = analysed(*IMAGES, stream, retention=(rule(keep="all", **more),), revisions=setting)
    count = setting if of_rule is None else of_rule
    assert revision(found, "shop/web:prod") == KeptByRule("rule")
    assert [revision(found, "shop/web:prod", number) for number in range(1, 4)] == [
        AmongNewest(number, count) if number < kept else BeyondNewest(number, count) for number in range(1, 4)
    ]


# --- R34 --------------------------------------------------------------------------------------------------------------

EMPTY = EmptyStreams(older_than=timedelta(days=1))


def deleted(*objects: Any, **asked: Any) -> list[str]:
    return [each.stream for each in analysed(*objects, **{"empty_streams": EMPTY, **asked}).plan.empty_streams]


def test_an_empty_image_stream_that_nothing_refers_to_is_deleted_R34() -> None:
    found = analysed(image_stream("shop/old"), empty_streams=EMPTY).plan
    assert found.empty_streams == (DeletedStream("shop", "old", "uid of shop/old", "1", at(OLD), EmptyStream(1440)),)
    assert found.deletions == 1
    assert analysed(image_stream("shop/old")).plan.empty


def test_image_streams_count_for_max_deletions_and_in_its_percentage_R34() -> None:
    objects = (image(A), image_stream("shop/web", latest=[A]), image_stream("shop/old"))
    plan = analysed(*objects, revisions=1, empty_streams=EMPTY).plan
    assert (len(plan.empty_streams), plan.deletions) == (1, 1)
    # Of an image, a revision and two image streams.
    limits = {"empty_streams": {"older_than": "1d"}, "max_deletions": "25%"}
    check_size(plan, snapshot(*objects), read(limits))
    with pytest.raises(UnsafePlanError, match=r"delete 1 images, revisions and image streams, .* is 24%, 0\.96 of 4;"):
        check_size(plan, snapshot(*objects), read({**limits, "max_deletions": "24%"}))


@pytest.mark.parametrize(
    "objects",
    [
        [image_stream("shop/old", latest=[A]), image(A), deployment("apps/x", f"{HOST}/shop/old:latest")],
        [image_stream("shop/old", failed=None)],
        [image_stream("shop/old", sources={"spec-only": None})],
        [image_stream("shop/old", age=1439)],
        [image_stream("shop/old", owners=["operator"])],
        [image_stream("shop/old"), deployment("apps/x", f"{HOST}/shop/old:gone")],
        [image_stream("shop/old"), deployment("apps/x", f"{HOST}/shop/old@{B}")],
        [image_stream("shop/old"), build("apps/x", to=from_("ImageStreamTag", "old:new", "shop"))],
        [image_stream("shop/old"), build("shop/x", kind="BuildConfig", to=from_("ImageStreamTag", "old:new"))],
        [image_stream("shop/old"), build("apps/x", to=from_("DockerImage", f"{HOST}/shop/old"))],
        [image_stream("shop/old"), build("apps/x", changes=[from_("ImageStreamTag", "old:new", "shop")])],
        [
            image_stream("shop/old"),
            controller("DeploymentConfig", "shop/x", changes=[from_("ImageStreamTag", "old:new")]),
        ],
        [image_stream("shop/old"), image_stream("base/x", sources={"a": from_("ImageStreamTag", "old:a", "shop")})],
        [image_stream("shop/old"), image(A, repository="shop/old"), image_stream("base/x", a=[item(A, 1)])],
    ],
)
def test_whatever_refers_to_an_image_stream_keeps_it_R34(objects: list[object]) -> None:
    assert deleted(*objects, revisions=1) == []
    assert deleted(*objects, image_stream("shop/other"), revisions=1) == ["shop/other"]


def test_settings_limit_which_image_streams_are_deleted_R34() -> None:
    streams = [image_stream("shop/old"), image_stream("base/old")]
    assert deleted(*streams) == ["base/old", "shop/old"]
    assert deleted(*streams, namespace="shop") == ["shop/old"]
    assert deleted(*streams, protect=("base/*",)) == ["shop/old"]
    assert deleted(*streams, protected=["Namespace base"], protect_selector="a") == ["shop/old"]
    assert deleted(*streams, minutes=2 * OLD) == []
    assert deleted(*streams, empty_streams=EmptyStreams(older_than=EMPTY.older_than, streams=("shop/*",))) == [
        "shop/old"
    ]
    assert deleted(*streams, approval=Approval(streams=frozenset([("base/old", "uid of base/old")]))) == ["base/old"]
    assert deleted(*streams, approval=Approval(streams=frozenset([("base/old", "another uid")]))) == []


def test_an_image_stream_that_the_plan_empties_is_deleted_with_it_R34() -> None:
    stream = image_stream("shop/web", {"pr-1": [A]}, sources={"pr-1": None})
    assert deleted(image(A, repository="shop/web"), stream, retention=PREVIEWS) == ["shop/web"]


# --- R35 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom", ".x-y_z.1"])
def test_a_tag_named_after_a_digest_is_attached_to_it_R35(suffix: str) -> None:
    assert subject_of(tag_of(A, suffix)) == A


@pytest.mark.parametrize("tag", [
    "latest", "sha256-", f"sha256-{A[7:]}0", f"sha256-{A[7:].upper()}", f"sha256-{A[7:]}-x",
    f"sha256-{A[8:]}", f"sha512-{A[7:]}", f"x{tag_of(A)}", f"{tag_of(A)}\n", f"{tag_of(A, '.')}",
])  # fmt: skip
def test_other_tags_are_not_attached_R35(tag: str) -> None:
    assert subject_of(tag) is None


def test_an_attached_tag_is_kept_with_its_subject_and_goes_with_it_R35() -> None:
    stream = image_stream("shop/web", {tag_of(A): [SIG, C], tag_of(B): [D], "latest": [A, B]})
    found = analysed(*IMAGES, image(SIG), stream, revisions=1)
    assert revision(found, f"shop/web:{tag_of(A)}") == AttachedToKept(A)
    assert revision(found, f"shop/web:{tag_of(A)}", 1) == AttachedToKept(A)
    assert revision(found, f"shop/web:{tag_of(B)}") == AttachedToPruned(B)
    assert {each.name for each in found.plan.images} == {B, D}


def test_the_reason_of_an_attached_tag_is_explained_wherever_its_subject_is_kept_R35() -> None:
    """Found in the same image stream, before it is known which images are kept."""
    stream = image_stream("shop/web", {tag_of(A): [SIG], "latest": [A]})
    found = analysed(image(A), image(SIG), stream, revisions=1)
    assert next(found.history_rules.reasons(stream, tag_of(A), 0, item(SIG))) == AttachedToKept(A)


def test_an_attached_tag_whose_subject_is_absent_goes_by_its_age_R35() -> None:
    stream = image_stream("shop/web", {tag_of(B): [A], tag_of(C): [item(A, 5)]})
    found = analysed(image(A), stream, revisions=9)
    assert revision(found, f"shop/web:{tag_of(B)}") == AttachedToAbsent(B)
    assert revision(found, f"shop/web:{tag_of(C)}") == RevisionTooYoung(60)


def test_an_attached_tag_whose_subject_is_absent_goes_by_its_rule_where_no_age_is_asked_for_R35() -> None:
    stream = image_stream("shop/web", {tag_of(B): [A, digest("absent")]})
    for keep, reasons in (
        ({"keep_newest": 0}, [Expired("sigs"), Expired("sigs")]),
        ({"keep": "all"}, [KeptByRule("sigs"), ImageAbsent()]),
    ):
        found = analysed(image(A), stream, retention=(rule("sigs", tags=["sha256-*"], **keep),), minutes=None)
        assert [revision(found, f"shop/web:{tag_of(B)}", number) for number in (0, 1)] == reasons


def test_an_attached_tag_in_use_is_kept_without_its_subject_R35() -> None:
    stream = image_stream("shop/web", {tag_of(B): [A], tag_of(C): [D]})
    users = [deployment("apps/x", f"{HOST}/shop/web:{tag_of(B)}"), deployment("apps/y", f"elsewhere@{D}")]
    found = analysed(image(A), image(D), stream, *users)
    assert revision(found, f"shop/web:{tag_of(B)}") == CurrentOfReferencedTag(("Deployment apps/x",))
    assert revision(found, f"shop/web:{tag_of(C)}") == Referenced(("Deployment apps/y",))


def test_an_attached_tag_does_not_keep_its_subject_R35() -> None:
    stream = image_stream("shop/web", {tag_of(A): [A], tag_of(B, ""): [C]})
    found = analysed(image(A), image(B), index(C, [B]), stream)
    assert {each.name for each in found.plan.images} == {A, B, C}


def test_signatures_of_signatures_members_and_other_streams_follow_R35() -> None:
    of_sig = digest("signature of the signature")
    streams = [
        image_stream("shop/web", latest=[B]),
        image_stream("shop/sigs", {tag_of(A): [SIG], tag_of(SIG): [of_sig], tag_of(D): [C], tag_of(C): [C]}),
    ]
    found = analysed(image(A), index(B, [A]), image(C), image(D), image(SIG), image(of_sig), *streams, revisions=1)
    assert revision(found, f"shop/sigs:{tag_of(A)}") == AttachedToKept(A)
    assert revision(found, f"shop/sigs:{tag_of(SIG)}") == AttachedToKept(SIG)
    assert {each.name for each in found.plan.images} == {C, D}


@pytest.mark.parametrize(
    "waiting",
    [
        pytest.param({A: [B, A], B: []}, id="one that is reached is passed over"),
        pytest.param({A: [B], B: [B]}, id="one that is attached to itself is looked at once"),
        pytest.param({A: [E], B: []}, id="a member that is absent is passed over"),
        pytest.param({A: [D, B], B: []}, id="one without an Image is passed over"),
        pytest.param({A: [B], B: [A], C: [A, B]}, id="nothing of one that is not kept"),
    ],
)
def test_subjects_are_kept_from_those_that_are_kept_without_any_tag_R35(waiting: dict[str, list[str]]) -> None:
    graph = IndexGraph([image(A), image(B), image(C), index(E, [B, F, B])])
    assert kept_subjects(waiting, {A}, graph) == {A, B}


def test_a_long_chain_of_signatures_is_followed_to_its_end_R35() -> None:
    chain = [digest(f"link {number}") for number in range(2000)]
    tags = {tag_of(subject): [signature] for subject, signature in itertools.pairwise(chain)}
    stream = image_stream("shop/sigs", tags)
    images = [image(name) for name in chain]
    kept = analysed(*images, stream, image_stream("shop/web", latest=[chain[0]]), revisions=1)
    assert kept.plan.empty
    gone = analysed(*images, stream, revisions=1)
    assert len(gone.plan.images) == 2000


def test_an_attached_tag_is_like_any_other_where_that_is_set_R35() -> None:
    stream = image_stream("shop/web", {tag_of(B): [A]})
    for asked in ({"attached": "keep"}, {"references": "oc"}):
        assert revision(analysed(image(A), stream, revisions=1, **asked), f"shop/web:{tag_of(B)}") == AmongNewest(0, 1)


def test_an_attached_tag_with_a_spec_entry_is_kept_with_its_subject_and_otherwise_like_any_other_R35() -> None:
    tags = {tag_of(A): [SIG, C], tag_of(B): [SIG, C], "latest": [A]}
    found = analysed(
        *IMAGES[:1], image(SIG), image(C),
        image_stream("shop/web", tags, sources={tag_of(A): None, tag_of(B): None}),
        revisions=1,
    )  # fmt: skip
    assert [revision(found, f"shop/web:{tag_of(A)}", number) for number in (0, 1)] == [AttachedToKept(A)] * 2
    assert revision(found, f"shop/web:{tag_of(B)}") == AmongNewest(0, 1)
    assert revision(found, f"shop/web:{tag_of(B)}", 1) == BeyondNewest(1, 1)


def test_only_patterns_that_begin_with_sha256_match_attached_tags_R35() -> None:
    tags = (tag_of(A), "latest", "sha256-short")
    assert decided([rule("any", keep_newest=0)], *tags) == {"latest": "any", "sha256-short": "any"}
    assert decided([rule("s", tags=["s*"], keep_newest=0)], *tags) == {"sha256-short": "s"}
    both = [rule("any", tags=["*"], keep_newest=0), rule("sigs", tags=["sha256-*.sig"], keep="all")]
    assert decided(both, *tags) == {"latest": "any", "sha256-short": "any", tag_of(A): "sigs"}


def test_exclusions_narrow_what_matches_attached_tags_and_match_none_by_themselves_R35() -> None:
    signature, attestation = tag_of(SIG), tag_of(SIG, ".att")
    asked = rule("signatures", tags=["sha256-*", "!sha256-*.att"], keep="all")
    assert decided([asked, rule("rest", keep_newest=0)], signature, attestation) == {signature: "signatures"}
    assert decided([rule("rest", tags=["*", "!sha256-*.att"], keep_newest=0)], signature, attestation, "v1") == {
        "v1": "rest"
    }
    declared = image_stream("shop/web", {signature: [A], attestation: [A]}, sources={signature: None})
    assert set(TagRetention([rule("all", tags=["sha256-*"], keep="all")], NOW).decide(declared)) == {attestation}


def test_a_rule_can_keep_an_attached_tag_and_cannot_remove_one_of_a_kept_subject_R35() -> None:
    stream = image_stream("shop/web", {tag_of(A): [SIG], tag_of(B): [C], "latest": [A]})
    cases = (
        ({"keep": "all"}, KeptByRule("sigs"), KeptByRule("sigs")),
        ({"keep_newest": 0}, AttachedToKept(A), AttachedToAbsent(B)),
    )
    for keep, of_a, of_b in cases:
        rules = (rule("sigs", tags=["sha256-*"], **keep),)
        found = analysed(image(A), image(SIG), image(C), stream, retention=rules, revisions=1)
        assert revision(found, f"shop/web:{tag_of(A)}") == of_a
        assert revision(found, f"shop/web:{tag_of(B)}") == of_b


def test_an_attached_tag_stays_with_a_subject_that_is_not_approved_R35() -> None:
    stream = image_stream("shop/web", {tag_of(A): [SIG]})
    objects = [image(A), image(SIG), stream]
    whole = Approval.of(analysed(*objects).plan)
    assert {name for name, _ in whole.images} == {A, SIG}
    without = Approval(
        whole.revisions, frozenset(each for each in whole.images if each[0] != A), whole.blobs, whole.links
    )
    found = analysed(*objects, approval=without)
    assert revision(found, f"shop/web:{tag_of(A)}") == AttachedToKept(A)
    blobs = Approval(whole.revisions, whole.images, whole.blobs - {A}, whole.links)
    found = analysed(*objects, approval=blobs)
    assert revision(found, f"shop/web:{tag_of(A)}") == AttachedToKept(A)
    assert found.plan.images == ()


def test_uses_that_come_up_in_a_run_keep_the_subject_and_what_is_attached_R35() -> None:
    stream = image_stream("shop/web", {tag_of(A): [SIG], "latest": [A]})
    found = analysed(image(A), image(SIG), stream)
    assert revision(found, f"shop/web:{tag_of(A)}") == AttachedToPruned(A)
    found.history_rules.also_used(Usage(tags={("shop/web", "latest"): ("Pod a/b",)}))
    again = found.history_rules.decide(stream)
    assert [tag.reasons[0] for tag in again.tags] == [AttachedToKept(A), CurrentOfReferencedTag(("Pod a/b",))]


def test_an_attached_tag_that_comes_back_in_a_run_is_decided_by_its_rule_too_R35() -> None:
    """Its revision without an Image goes by the rule, as it does in a plan."""
    stream = image_stream("shop/web", {tag_of(A): [SIG, digest("absent")], "latest": [A]})
    retention = (rule("sigs", tags=["sha256-*"], keep_newest=0),)
    found = analysed(image(A), image(SIG), stream, retention=retention)
    assert revision(found, f"shop/web:{tag_of(A)}") == AttachedToPruned(A)
    found.history_rules.also_used(Usage(tags={("shop/web", "latest"): ("Pod a/b",)}))
    attached, _ = found.history_rules.decide(stream).tags
    planned = analysed(image(A), image(SIG), stream, deployment("a/b", f"{HOST}/shop/web:latest"), retention=retention)
    assert attached.reasons == planned.histories[0].tags[0].reasons
    assert attached.reasons[0] == AttachedToKept(A)


def test_an_attached_tag_without_revisions_stays_beside_one_that_is_kept_R35() -> None:
    tags = {tag_of(A): [SIG], tag_of(A, ".att"): None, tag_of(A, ".sbom"): [], "latest": [A]}
    found = analysed(image(A), image(SIG), image_stream("shop/web", tags), revisions=1)
    assert [tag.reasons for tag in found.histories[0].tags] == [(AttachedToKept(A),), (), (), (AmongNewest(0, 1),)]


def test_an_attached_tag_that_loses_nothing_keeps_its_own_reason_R35() -> None:
    stream = image_stream("shop/web", {tag_of(A): [SIG], "latest": [A, B]}, sources={tag_of(A): None})
    found = analysed(image(A), image(B), image(SIG), stream, revisions=1)
    assert revision(found, f"shop/web:{tag_of(A)}") == AmongNewest(0, 1)


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_the_plan_records_the_rules_R29() -> None:
    found = analysed(retention=PREVIEWS, empty_streams=EMPTY).plan.rules
    assert found["retention"] == [{"name": "previews", "keep_newest": 0}]
    assert found["empty_streams"] == {"older_than": 1440}


# --- how plans with them are shown ------------------------------------------------------------------------------------


def test_expired_tags_and_empty_image_streams_are_shown_R32_R34() -> None:
    stream = image_stream("shop/web", {"pr-1": [A], "pr-2": [B]}, sources={"pr-1": None})
    plan = analysed(*IMAGES[:2], stream, image_stream("shop/old"), retention=PREVIEWS, empty_streams=EMPTY).plan
    assert "2 expired tags, 2 empty image streams" in headline(plan)
    shown = rendered(plan)
    assert shown["expired_tags"] == {"shop/web:pr-1": "status and spec", "shop/web:pr-2": "status"}
    assert set(shown["empty_streams"]) == {"shop/old", "shop/web"}
    report = Report(plan=plan)
    values = dict(rules_shown(report))
    assert (values["retention"], values["empty_streams"]) == ("previews", "older_than 1440 minutes")
    assert 'pruner_planned_objects{cluster="test",kind="expired_tags"} 2' in openmetrics(report)
    assert 'pruner_planned_objects{cluster="test",kind="empty_streams"} 2' in openmetrics(report)
