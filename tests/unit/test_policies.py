"""Every rule of the policy pack: what it objects to, what it lets through, and that it names the images."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from policies.facts import TYPE, Facts, OtherUses, Share, gather, inputs_of
from policies.pack import objections, options, policies, unknown_names
from policies.rules import RULES, Rule
from policies.table import DOCUMENT, rewritten
from policies.windows import parse_window
from pruner.cluster.objects import Registry
from pruner.errors import PrunerError
from pruner.fleet.approval import digest_of
from pruner.plan import UNVERIFIED, DeletedStream, PrunePlan, encode
from pruner.provider.naming import camel
from pruner.provider.rendering import rendered
from pruner.provider.schema import TYPE as NATIVE_TYPE
from pruner.provider.store import KeptPlans
from pruner.reasons import EmptyStream
from pruner.report import Report
from pruner.report.jsonl import encode_report
from pruner.report.wording import short
from pruner.settings import Settings
from tests.builders.objects import (
    L1,
    L2,
    L3,
    NOW,
    A,
    B,
    C,
    D,
    E,
    F,
    analysed,
    digest,
    image,
    image_stream,
    item,
    pod,
)

DAY = 24 * 60
BY_NAME = {rule.name: rule for rule in RULES}


def analysis(**other: Any) -> Any:
    """A and B go from shop/web:latest and v1, which loses its
    last; C from blog/site; D and E stay; F goes from no stream.
    """
    return analysed(
        image(A, layers=[L1], age=40 * DAY),
        image(B, layers=[L2], age=50 * DAY),
        image(C, layers=[L3], age=300 * DAY),
        image(D),
        image(E),
        image(F, age=400 * DAY),
        image_stream("shop/web", latest=[D, item(A, 40 * DAY)], v1=[item(B, 50 * DAY)]),
        image_stream("blog/site", latest=[E, item(C, 300 * DAY)]),
        pod("shop/one", "registry:5000/shop/web:latest"),
        pod("blog/one", "registry:5000/blog/site:latest"),
        registry=Registry("https://registry"),
        blob_sizes={L1: 1000, L2: 200, L3: 30, **dict.fromkeys((A, B, C, F), 1)},
        **other,
    )


def facts(found: Any = None, *, plan: dict[str, Any] | None = None, **other: Any) -> Facts:
    report = Report.of(found or analysis())
    report = other.pop(
        "report", msgspec.structs.replace(report, plan=msgspec.structs.replace(report.plan, **(plan or {})))
    )
    given = {"share": Share.of(report), "settings": Settings(), "approved": None, "now": NOW, "preview": False, **other}
    return Facts(report=report, **given)


def says(name: str, config: dict[str, Any] | None = None, given: Facts | None = None) -> list[str]:
    """The rule's messages. Numbers come as the engine hands them out."""
    rule = BY_NAME[name]
    assert rule.judge is not None
    as_floats = {key: float(value) if type(value) is int else value for key, value in (config or {}).items()}
    return list(rule.judge(given or facts(), options(rule, as_floats)))


def names(message: str) -> set[str]:
    """The images that a message names."""
    return {image for image in (A, B, C, D, E, F) if short(image) in message}


# --- how much --------------------------------------------------------------------------------------------------------


def test_max_images_names_what_is_too_much() -> None:
    (message,) = says("max-images", {"limit": 3})
    assert message.startswith("would delete 4 images, and 3 are allowed: shop/web:latest sha256:")
    assert names(message) == {A, B, C, F}
    assert says("max-images", {"limit": 4}) == []


def test_R36_max_images_limits_what_is_retired_apart_from_what_is_deleted() -> None:
    given = facts(analysis(grace=timedelta(days=7)))
    assert says("max-images", {"limit": 0}, given) == []
    (message,) = says("max-images", {"retired": 3}, given)
    assert message.startswith("would retire 4 images, and 3 are allowed: ")
    assert names(message) == {A, B, C, F}
    assert says("max-images", {"retired": 4}, given) == []
    assert says("max-images", {"retired": 0}) == []


def test_max_images_by_namespace() -> None:
    (message,) = says("max-images", {"per_namespace": 1})
    assert "2 images of namespace shop" in message
    assert names(message) == {A, B}
    assert says("max-images", {"per_namespace": 2}) == []


def test_a_message_names_the_first_ten_and_counts_the_rest() -> None:
    found = analysed(*(image(digest(f"i{number}")) for number in range(25)))
    (message,) = says("max-images", {"limit": 20}, facts(found))
    assert message.count("sha256:") == 10
    assert message.endswith("and 15 more")


def test_an_item_without_an_image_is_no_image() -> None:
    found = analysed(image(D), image_stream("shop/web", latest=[D, A, B]))
    assert [message[:21] for message in says("max-images", {"limit": 0}, facts(found))] == ["would delete 1 images"]


@pytest.mark.parametrize("limit", [1233, "1233", "1.2kB", "1.2 KB", "1Ki"])
def test_max_bytes_takes_numbers_and_units(limit: object) -> None:
    (message,) = says("max-bytes", {"limit": limit})
    assert message.startswith("would free 1.2 kB, and ")
    assert names(message) == {A, B, C, F}


@pytest.mark.parametrize("limit", [1234, "1.3kB", "2KiB", "1GB", "1 TiB"])
def test_max_bytes_lets_through_what_is_below(limit: object) -> None:
    assert says("max-bytes", {"limit": limit}) == []


def test_max_bytes_by_namespace() -> None:
    (message,) = says("max-bytes", {"per_namespace": 500})
    assert "of namespace shop" in message
    assert names(message) == {A, B}


def test_max_bytes_objects_to_layers_whose_size_is_not_known() -> None:
    found = analysed(image(A, layers=[L1]), registry=Registry("https://registry"))
    (message,) = says("max-bytes", {"limit": 10}, facts(found))
    assert "the size of 1 blob is not known, so the limit cannot be checked: " in message
    assert names(message) == {A}
    (message,) = says("max-bytes", {"per_namespace": 10, "refuse_unknown_sizes": True}, facts(found))
    assert "the size of 2 blobs is not known" in message
    assert says("max-bytes", {}, facts(found)) == []


def test_max_bytes_passes_over_manifests_of_unknown_size_unless_configured() -> None:
    found = analysed(image(A, layers=[L1]), registry=Registry("https://registry"), blob_sizes={L1: 5})
    assert says("max-bytes", {"limit": 10}, facts(found)) == []
    assert says("max-bytes", {"limit": 10, "refuse_unknown_sizes": True}, facts(found)) != []


def test_approval_by_bytes_is_needed_for_layers_whose_size_is_not_known() -> None:
    found = analysed(image(A, layers=[L1]), registry=Registry("https://registry"))
    (message,) = says("approval", {"bytes": 10**9}, facts(found))
    assert message.startswith("1 blob of unknown size need an approved plan (approved_plan and approved_digest): ")
    assert names(message) == {A}
    assert says("approval", {"images": 5}, facts(found)) == []
    measured = analysed(image(A, layers=[L1]), registry=Registry("https://registry"), blob_sizes={L1: 5})
    assert says("approval", {"bytes": 10**9}, facts(measured)) == []


def test_a_blob_counts_in_every_namespace_that_loses_an_image_with_it() -> None:
    """Otherwise an image of a namespace that sorts before
    could take the bytes off the sum of the one that owns them.
    """
    found = analysed(
        image(A, layers=[L1], repository="shop/web"),
        image(B, layers=[L1], repository="attacker/copy"),
        image_stream("shop/web", v1=[A]),
        image_stream("attacker/copy", v1=[B]),
        registry=Registry("https://registry"),
        blob_sizes={L1: 1000},
    )
    messages = says("max-bytes", {"per_namespace": 500}, facts(found))
    assert [message.partition(", and")[0] for message in messages] == [
        "would free 1.0 kB of namespace attacker",
        "would free 1.0 kB of namespace shop",
    ]
    assert says("max-bytes", {"limit": 1000}, facts(found)) == []


@pytest.mark.parametrize("limit", ["many", "", "10 apples", "GB", "-1", "NaN", "Infinity"])
def test_bytes_that_are_none_are_refused(limit: str) -> None:
    with pytest.raises(PrunerError, match="takes bytes"):
        says("max-bytes", {"limit": limit})


def test_max_percent_is_of_all_images() -> None:
    (message,) = says("max-percent", {"limit": 66})
    assert message.startswith("would delete 66.7% of the 6 images, and 66% are allowed: ")
    assert names(message) == {A, B, C, F}
    assert says("max-percent", {"limit": 67}) == []


def test_max_percent_by_namespace() -> None:
    messages = says("max-percent", {"per_namespace": 60})
    assert [message.partition(", and")[0] for message in messages] == [
        "would delete 100.0% of the 1 images of namespace (no image stream)",
        "would delete 66.7% of the 3 images of namespace shop",
    ]


def test_max_percent_objects_where_the_whole_is_not_known() -> None:
    alone = facts(report=Report(plan=analysis().plan))
    assert "is not known" in says("max-percent", {"limit": 99}, alone)[0]
    assert says("max-percent", {}, alone) == []


def test_an_image_that_two_namespaces_lose_counts_in_both() -> None:
    found = analysed(image(A), image(B), image_stream("a/one", v1=[A]), image_stream("b/two", v1=[A], v2=[B]))
    (message,) = says("max-images", {"per_namespace": 1}, facts(found))
    assert "2 images of namespace b" in message
    (message,) = says("max-percent", {"per_namespace": 99}, facts(found))[1:]
    assert "would delete 100.0% of the 2 images of namespace b" in message


def other_share(**changed: Any) -> Share:
    """Of a resource that was judged before: three more images of 10,000 bytes in all, of namespace shop."""
    found = analysed(
        *(image(digest(f"other {number}"), layers=[L1], repository="shop/other") for number in range(3)),
        registry=Registry("https://registry"),
        blob_sizes={L1: 10_000, **{digest(f"other {number}"): 0 for number in range(3)}},
    )
    return msgspec.structs.replace(Share.of(Report.of(found)), **changed)


@pytest.mark.parametrize(
    ("rule", "config", "said"),
    [
        ("max-images", {"limit": 6}, "would delete 7 images (with 1 other resource of this run), and 6 are allowed"),
        ("max-images", {"per_namespace": 4}, "would delete 5 images of namespace shop (with 1 other resource"),
        ("max-bytes", {"limit": 10_000}, "would free 10.2 kB (with 1 other resource of this run)"),
        ("max-bytes", {"per_namespace": 10_201}, "would free 10.2 kB of namespace shop (with 1 other resource"),
        ("max-percent", {"limit": 70}, "would delete 77.8% of the 9 images (with 1 other resource of this run)"),
        ("approval", {"images": 6}, "7 images and 10.2 kB (with 1 other resource of this run) need an approved plan"),
    ],
)
def test_what_other_resources_of_the_run_take_counts(rule: str, config: dict[str, Any], said: str) -> None:
    assert any(said in message for message in says(rule, config, facts(others=(other_share(),))))
    assert not [message for message in says(rule, config) if "other resource" in message]


def test_an_image_that_two_resources_name_counts_once() -> None:
    same = Share.of(Report.of(analysis()))
    assert says("max-images", {"limit": 4, "per_namespace": 2}, facts(others=(same,))) == []
    assert says("max-percent", {"limit": 67}, facts(others=(same,))) == []


def test_namespaces_and_shares_are_those_of_one_cluster() -> None:
    elsewhere = facts(others=(other_share(cluster="another"),))
    assert says("max-images", {"per_namespace": 2}, elsewhere) == []
    assert says("max-bytes", {"per_namespace": 1202}, elsewhere) == []
    assert says("max-percent", {"limit": 67}, elsewhere) == []
    assert says("max-images", {"limit": 6}, elsewhere) != []


def test_what_is_approved_elsewhere_in_the_run_needs_no_more_approval() -> None:
    assert says("approval", {"images": 6}, facts(others=(other_share(approved=True),))) == []


# --- what ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "pattern", "named"),
    [
        ("protected-namespaces", "shop", {A, B}),
        ("protected-namespaces", "s*", {A, B}),
        ("protected-namespaces", "blog", {C}),
        ("protected-streams", "shop/web", {A, B}),
        ("protected-streams", "*/site", {C}),
        ("protected-tags", "v*", {B}),
        ("protected-tags", "latest", {A, C}),
        ("protected-tags", "blog/*:latest", {C}),
    ],
)
def test_what_is_protected_is_named(rule: str, pattern: str, named: set[str]) -> None:
    (message,) = says(rule, {"patterns": [pattern]})
    assert message.startswith(f"{pattern} is protected, and these would go: ")
    assert names(message) == named


@pytest.mark.parametrize("registry", [None, Registry("https://registry")])
@pytest.mark.parametrize(
    "streams", [[], [image_stream("dev/copy", v1=[A])], [image_stream("prod/app"), image_stream("dev/copy", v1=[A])]]
)
@pytest.mark.parametrize(
    ("rule", "pattern"),
    [("protected-namespaces", "prod"), ("protected-streams", "prod/app"), ("protected-streams", "prod/*")],
)
def test_an_image_is_protected_where_it_was_pushed_to_whatever_names_it(
    rule: str, pattern: str, streams: list[Any], registry: Registry | None
) -> None:
    found = analysed(image(A, repository="prod/app"), *streams, registry=registry, prune_registry=registry is not None)
    (message,) = says(rule, {"patterns": [pattern]}, facts(found))
    assert message.startswith(f"{pattern} is protected, and these would go: ")
    assert names(message) == {A}
    assert says(rule, {"patterns": ["production", "prod/application"]}, facts(found)) == []


@pytest.mark.parametrize("rule", ["protected-namespaces", "protected-streams", "protected-tags"])
def test_what_no_pattern_matches_may_go(rule: str) -> None:
    assert says(rule, {"patterns": ["other", "other/web", "Latest"]}) == []
    assert says(rule) == []


def test_an_image_that_two_namespaces_name_is_protected_by_either() -> None:
    found = analysed(image(A), image_stream("a/one", v1=[A]), image_stream("b/two", v1=[A]))
    for namespace in ("a", "b"):
        assert names(says("protected-namespaces", {"patterns": [namespace]}, facts(found))[0]) == {A}


def test_links_alone_are_protected_too() -> None:
    found = analysis()
    links = msgspec.structs.replace(found.plan.streams[0], revisions=(), removed_tags=())
    report = Report(plan=PrunePlan(cluster="c", as_of=NOW, rules={}, streams=(links,)))
    assert (
        "links of these image streams would go: blog/site"
        in says("protected-namespaces", {"patterns": ["blog"]}, facts(report=report))[0]
    )


def test_image_streams_that_would_be_deleted_are_protected_too() -> None:
    deleted = DeletedStream("blog", "old", "uid", "1", NOW, EmptyStream(60))
    found = facts(report=Report(plan=PrunePlan(cluster="c", as_of=NOW, rules={}, empty_streams=(deleted,))))
    for name, pattern in (("protected-namespaces", "blog"), ("protected-streams", "blog/*")):
        said = says(name, {"patterns": [pattern]}, found)
        assert said == [f"{pattern} is protected, and these image streams would be deleted: blog/old"]


def revision_alone() -> Facts:
    """B goes from prod/web:v1, which loses its last, and stays itself, since shop/web names it."""
    found = analysed(
        image(B, age=50 * DAY),
        image_stream("prod/web", v1=[item(B, 2 * DAY)]),
        image_stream("shop/web", latest=[item(B, 50 * DAY)]),
        pod("shop/one", "registry:5000/shop/web:latest"),
    )
    assert not found.plan.images
    return facts(found)


@pytest.mark.parametrize(
    ("rule", "config"),
    [
        ("protected-namespaces", {"patterns": ["prod"]}),
        ("protected-streams", {"patterns": ["prod/*"]}),
        ("protected-tags", {"patterns": ["v*"]}),
        ("protected-tags", {"patterns": ["prod/web:v1"]}),
        ("least-age", {"days": 3}),
        ("only-copies", {}),
    ],
)
def test_a_revision_that_goes_counts_although_its_image_stays(rule: str, config: dict[str, Any]) -> None:
    (message,) = says(rule, config, revision_alone())
    assert f"prod/web:v1 {short(B)} (a revision of it; the image stays)" in message


def test_an_image_that_stays_is_young_or_protected_only_where_a_revision_of_it_goes() -> None:
    for rule, config in (("protected-streams", {"patterns": ["blog/site"]}), ("least-age", {"days": 60})):
        assert not names(says(rule, config, facts())[0]) & {D, E}


def test_least_age_names_what_is_younger_and_its_age() -> None:
    (message,) = says("least-age", {"days": 45})
    assert f"shop/web:latest {short(A)} (40 d)" in message
    assert names(message) == {A}
    assert says("least-age", {"days": 40}) == []


def test_least_age_is_that_of_the_revision_too() -> None:
    found = analysed(image(A, age=400 * DAY), image_stream("shop/web", latest=[item(A, 2 * DAY)]))
    assert names(says("least-age", {"days": 3}, facts(found))[0]) == {A}


def test_only_copies_are_those_that_a_tag_goes_with() -> None:
    (message,) = says("only-copies")
    assert message.startswith("these are all that 1 tag had")
    assert names(message) == {B}


def test_only_copies_may_be_allowed() -> None:
    assert says("only-copies", {"allow": ["shop/web:v*"]}) == []


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """A report of ten days ago, when a pod ran A."""
    was = analysed(image(A), image_stream("shop/web", latest=[A]), pod("shop/old", "r:1/shop/web:latest"))
    plan = msgspec.structs.replace(was.plan, as_of=NOW - timedelta(days=10))
    path = tmp_path / "old.jsonl"
    path.write_bytes(b"".join(encode_report(msgspec.structs.replace(was, plan=plan))))
    return path


def test_recently_running_says_by_which_pod_and_when(seen: Path) -> None:
    (message,) = says("recently-running", {"days": 30, "reports": [str(seen.parent / "*.jsonl")]})
    assert f"shop/web:latest {short(A)} (by Pod shop/old, 2025-12-22 12:00 UTC)" in message
    assert names(message) == {A}


def test_what_ran_longer_ago_may_go(seen: Path) -> None:
    newer = analysed(image(A), image_stream("shop/web", latest=[A]))
    (seen.parent / "new.jsonl").write_bytes(b"".join(encode_report(newer)))
    reports = {"reports": [str(seen.parent / "*.jsonl")]}
    assert says("recently-running", {"days": 9, **reports}) == []
    assert says("recently-running", {"days": 11, **reports}) != []


@pytest.mark.parametrize("why", ["too old", "another cluster", "a plan alone"])
def test_reports_that_cannot_tell_are_none(seen: Path, why: str) -> None:
    if why == "a plan alone":
        seen.write_bytes(b"".join(encode(analysis().plan)))
    given = facts(plan={"cluster": "another"}) if why == "another cluster" else facts()
    (message,) = says("recently-running", {"days": 9 if why == "too old" else 30, "reports": [str(seen)]}, given)
    assert message.startswith("none of 1 earlier report tells of this cluster in the last ")
    assert names(message) == {A, B, C, F}


def test_recently_running_objects_where_it_cannot_know(tmp_path: Path) -> None:
    assert "there is no earlier report" in says("recently-running", {"days": 30, "reports": [str(tmp_path / "*")]})[0]
    assert says("recently-running") == []


# --- how it was planned -----------------------------------------------------------------------------------------------


def test_references_of_oc_are_flagged_with_what_goes() -> None:
    (message,) = says("references-oc", given=facts(analysis(references="oc"), settings=Settings(references="oc")))
    assert names(message) >= {A, B, C, F}
    assert says("references-oc") == []


def test_ignored_references_are_flagged_and_listed() -> None:
    found = analysis(ignore_invalid_refs=True)
    notes = ("another note", "ignored: Pod a/b, containers[0]: 'x y'")
    noted = facts(found, notes=notes, settings=Settings(ignore_invalid_refs=True))
    (message,) = says("ignored-references", given=noted)
    assert "Pod a/b" in message
    assert "another" not in message
    assert says("ignored-references") == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(), []),
        (Settings(validate_certs=False), ["validate_certs is false"]),
        (Settings(registry_validate_certs=False), ["registry_validate_certs is false"]),
        (Settings(validate_certs=False, registry_validate_certs=True), ["validate_certs is false"]),
        (Settings(host="http://api"), ["the API server is asked without TLS: http://api"]),
    ],
)
def test_certificates_that_are_not_checked_are_flagged(settings: Settings, said: list[str]) -> None:
    messages = says("certificates", given=facts(settings=settings))
    assert [message.partition(": whoever")[0] for message in messages] == said


def test_a_registry_without_tls_is_flagged() -> None:
    given = facts(plan={"registry": Registry("http://registry:5000")})
    assert says("certificates", given=given) == ["the registry is asked without TLS: http://registry:5000"]


def test_what_the_kubeconfig_leaves_unchecked_is_flagged() -> None:
    note = f"{UNVERIFIED}the kubeconfig says insecure-skip-tls-verify"
    assert says("certificates", given=facts(notes=("another note", note))) == [note]


def test_an_old_approved_plan_is_refused() -> None:
    def approved(hours: float) -> Facts:
        return facts(approved=msgspec.structs.replace(analysis().plan, as_of=NOW - timedelta(hours=hours)))

    (message,) = says("plan-age", given=approved(73))
    assert "the approved plan is of 2025-12-29 11:00 UTC, and may be 72 hours old" in message
    assert names(message) == {A, B, C, F}
    assert says("plan-age", given=approved(71)) == []
    assert says("plan-age", {"hours": 1.5}, approved(2)) != []


def test_a_time_that_has_passed_is_refused() -> None:
    assert "as_of is" in says("plan-age", given=facts(now=NOW + timedelta(days=4)))[0]


ELSEWHERE = [
    {"name": name, "settings": {"host": "https://api.example.org", "api_key": "s"}} for name in ("kiel", "ulm")
]


def test_R38_the_clusters_whose_uses_have_to_be_kept_are_named() -> None:
    given = facts(uses=OtherUses(clusters=("kiel", "edge-1")))
    assert says("uses-from", {"clusters": ["kiel", "edge-*"]}, given) == []
    (message,) = says("uses-from", {"clusters": ["kiel", "ulm", "hub-?"]}, given)
    assert message.startswith("uses_from names no cluster ulm, hub-?, so what is used there may be deleted. ")
    assert names(message) == {A, B, C, F}
    assert says("uses-from", {"clusters": ["*"]}, facts()) != []
    assert says("uses-from") == []
    (message,) = says("uses-from", {"clusters": ["kiel"]}, facts(uses=OtherUses(clusters=None)))
    assert message.startswith("uses_from cannot be read here")
    assert names(message) == {A, B, C, F}


@pytest.mark.parametrize(
    ("uses", "config", "said"),
    [
        (OtherUses(), {"days": 14}, "keep_used_within is not set, and what ran in the last 14 days must stay. "),
        (
            OtherUses(within=timedelta(hours=36)),
            {"days": 14},
            "keep_used_within is 1.5 days, and what ran in the last 14",
        ),
        (OtherUses(within=timedelta(days=14), partial=True), {"days": 14}, "usage_history sets partial_history, so "),
        (OtherUses(within=timedelta(days=14), partial=True), {"days": 14, "partial": True}, ""),
        (OtherUses(within=timedelta(days=14)), {"days": 14}, ""),
        (OtherUses(), {}, ""),
    ],
)
def test_R39_how_long_what_ran_has_to_be_kept(uses: OtherUses, config: dict[str, Any], said: str) -> None:
    messages = says("keep-used-within", config, facts(uses=uses))
    assert len(messages) == bool(said)
    for message in messages:
        assert message.startswith(said)
        assert names(message) == {A, B, C, F}


# --- when, and who has looked -----------------------------------------------------------------------------------------

# NOW is a Thursday, 12:00 UTC.
INSIDE = [
    "thu 12:00-12:01",
    "mon-fri 10:00-14:00",
    "00:00-24:00",
    "wed 13:00-12:30",
    "sat-thu 11:59-13:00",
    "mon,thu 12:00-13:00",
]
OUTSIDE = ["thu 12:01-13:00", "thu 11:00-12:00", "fri-wed 00:00-24:00", "thu 22:00-12:00", "wed 13:00-12:00"]


@pytest.mark.parametrize("window", INSIDE)
def test_inside_of_a_window_all_may_go(window: str) -> None:
    assert says("maintenance-window", {"windows": [window]}) == []


@pytest.mark.parametrize("window", OUTSIDE)
def test_outside_of_all_windows_nothing_goes(window: str) -> None:
    (message,) = says("maintenance-window", {"windows": [window]})
    assert message.startswith(f"it is Thu 12:00 in UTC, outside of the maintenance windows ({window})")
    assert names(message) == {A, B, C, F}


def test_a_window_is_in_its_time_zone() -> None:
    window = {"windows": ["thu 13:00-14:00"]}
    assert says("maintenance-window", window) != []
    assert says("maintenance-window", {**window, "timezone": "Europe/Vienna"}) == []


def test_a_preview_may_be_made_at_any_time_unless_configured() -> None:
    config = {"windows": ["fri 00:00-01:00"]}
    assert says("maintenance-window", config, facts(preview=True)) == []
    assert says("maintenance-window", {**config, "previews": True}, facts(preview=True)) != []


@pytest.mark.parametrize(
    "text", ["always", "mon 25:00-26:00", "mon 10:61-11:00", "moo 10:00-11:00", "mon 24:00-01:00", ""]
)
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PrunerError, match="windows: "):
        parse_window(text)


def test_a_time_zone_that_is_none_is_refused() -> None:
    with pytest.raises(PrunerError, match="there is no time zone 'Nowhere/Else'"):
        says("maintenance-window", {"windows": ["mon 00:00-24:00"], "timezone": "Nowhere/Else"})


def test_what_is_no_window_shows_at_preview_already() -> None:
    for config in ({"windows": ["always"]}, {"windows": ["mon 00:00-24:00"], "timezone": "Nowhere/Else"}):
        with pytest.raises(PrunerError):
            says("maintenance-window", config, facts(preview=True))
    with pytest.raises(PrunerError, match="takes bytes"):
        says("approval", {"bytes": "many"}, facts(preview=True))


@pytest.mark.parametrize("limit", [{"images": 3}, {"bytes": 1233}, {"images": 3, "bytes": "1GB"}])
def test_a_large_change_needs_an_approved_plan(limit: dict[str, Any]) -> None:
    (message,) = says("approval", limit)
    assert "4 images and 1.2 kB need an approved plan" in message
    assert names(message) == {A, B, C, F}
    assert says("approval", limit, facts(approved=analysis().plan)) == []
    assert says("approval", limit, facts(preview=True)) == []
    assert says("approval", {**limit, "previews": True}, facts(preview=True)) != []


def test_a_small_change_needs_no_approval() -> None:
    assert says("approval", {"images": 4, "bytes": 1234}) == []


# --- the pack ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("K8S_AUTH_HOST", "K8S_AUTH_VERIFY_SSL"):
        monkeypatch.delenv(name, raising=False)
    return KeptPlans.of_user().folder


def kept(cache: Path, lines: Any, plan: PrunePlan) -> dict[str, Any]:
    """Inputs of a resource whose plan was kept."""
    KeptPlans.of_user().write(plan.fingerprint, lines)
    return {"plan": rendered(plan), "keep_younger_than": 60.0, "api_key": "secret"}


def test_the_plan_is_read_from_where_it_was_kept(cache: Path) -> None:
    found = analysis()
    inputs = kept(cache, encode(found.plan), found.plan)
    messages = list(objections(BY_NAME["max-images"], inputs, {"limit": 3.0}, preview=True))
    assert names(messages[0]) == {A, B, C, F}


def test_a_plan_that_is_too_large_to_be_listed_is_judged_by_name(cache: Path) -> None:
    found = analysed(*(image(digest(f"large {number}")) for number in range(2500)))
    inputs = kept(cache, encode(found.plan), found.plan)
    assert inputs["plan"]["listed"] is False
    (message,) = objections(BY_NAME["max-images"], inputs, {"limit": 2000.0}, preview=True)
    assert message.startswith("would delete 2500 images, and 2000 are allowed: sha256:")


def test_a_plan_that_cannot_be_read_is_objected_to_by_every_rule(cache: Path) -> None:
    inputs = {"plan": {"fingerprint": "sha256:" + "0" * 64}}
    for rule in RULES:
        if rule.judge is None:
            continue
        (message,) = objections(rule, inputs, {}, preview=False)
        assert message.startswith("cannot judge this plan: the plan sha256:000")


def test_a_file_with_another_plan_is_not_judged(cache: Path) -> None:
    found, other = analysis(), analysed(image(B))
    inputs = kept(cache, encode(other.plan), found.plan)
    assert f"is the plan {other.plan.fingerprint}, not" in next(
        objections(BY_NAME["max-images"], inputs, {}, preview=False)
    )


@pytest.mark.parametrize("preview", [True, False])
def test_where_there_is_nothing_to_do_nothing_is_said(*, preview: bool) -> None:
    assert [list(objections(rule, {"plan": {}}, {}, preview=preview)) for rule in RULES] == [[]] * len(RULES)


NOT_PLANNED = [None, {"summary": "not known before host is known"}]


@pytest.mark.parametrize("plan", NOT_PLANNED)
def test_a_preview_without_a_plan_is_told_of_by_one_rule(plan: dict[str, Any] | None) -> None:
    said = {rule.name: list(objections(rule, {"plan": plan}, {}, preview=True)) for rule in RULES}
    assert [name for name, messages in said.items() if messages] == ["unknown-plan"]
    assert "no rule has judged it" in said["unknown-plan"][0]


@pytest.mark.parametrize("plan", NOT_PLANNED)
def test_an_up_without_a_plan_is_objected_to_by_every_rule(plan: dict[str, Any] | None) -> None:
    objecting = [rule for rule in RULES if list(objections(rule, {"plan": plan}, {}, preview=False))]
    assert objecting == list(RULES) != []


def test_the_pack_counts_the_resources_of_a_run_together(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.pack._seen_in_run", {})
    one, two = analysis(), analysed(image(digest("another")))
    first, second = (kept(cache, encode_report(found), found.plan) for found in (one, two))

    def judged(inputs: dict[str, Any], urn: str, *, preview: bool) -> list[str]:
        return list(objections(BY_NAME["max-images"], inputs, {"limit": 4.0}, preview=preview, urn=urn))

    assert judged(first, "first", preview=True) == judged(first, "first", preview=True) == []
    assert judged(second, "second", preview=False) == []
    (message,) = judged(second, "second", preview=True)
    assert message.startswith("would delete 5 images (with 1 other resource of this run), and 4 are allowed: ")


def test_names_that_the_pack_does_not_have_are_refused() -> None:
    assert unknown_names({"max-images": {"limit", "per_namespace"}, "all": set(), "references-oc": set()}) == []
    assert unknown_names({"max-image": set(), "max-images": {"limits"}, "certificates": {"hours"}}) == [
        "there is no rule max-image (is max-images meant?)",
        "certificates has no option hours",
        "max-images has no option limits (is limit meant?)",
    ]


def test_settings_are_read_by_their_aliases_and_from_the_environment(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = analysis()
    inputs = kept(cache, encode_report(found), found.plan)
    by_alias = gather({**inputs, "verify_ssl": "no"}, preview=True)
    assert by_alias is not None
    assert by_alias.settings.validate_certs is False
    monkeypatch.setenv("K8S_AUTH_VERIFY_SSL", "false")
    by_environment = gather(inputs, preview=True)
    assert by_environment is not None
    assert by_environment.settings.validate_certs is False
    assert by_environment.settings.api_key is None


HISTORY = {"url": "https://thanos.example.org", "ca_cert": "of/another/machine", "partial_history": True}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("form", ["maps", "JSON", "file"])
def test_R38_R39_uses_elsewhere_and_before_are_read_from_the_inputs_of_both_providers(
    cache: Path, tmp_path: Path, form: str, *, native: bool
) -> None:
    found = analysis()
    elsewhere: Any = ELSEWHERE if form == "maps" else json.dumps(ELSEWHERE)
    if form == "file":
        (tmp_path / "clusters.yaml").write_text(elsewhere, encoding="utf-8")
        elsewhere = str(tmp_path / "clusters.yaml")
    history: Any = HISTORY if form == "maps" else json.dumps(HISTORY)
    own = {"uses_from": elsewhere, "keep_used_within": "36h", "usage_history": history}
    inputs = {**kept(cache, encode_report(found), found.plan), **own}
    if native:
        inputs = {camel(name): value for name, value in inputs.items()}
    read = inputs_of(NATIVE_TYPE if native else TYPE, inputs)
    assert read is not None
    given = gather(read, preview=True)
    assert given is not None
    assert given.uses == OtherUses(clusters=("kiel", "ulm"), within=timedelta(hours=36), partial=True)


def test_R38_R39_what_cannot_be_read_of_them_is_objected_to(cache: Path, tmp_path: Path) -> None:
    found = analysis()
    inputs = kept(cache, encode_report(found), found.plan)
    absent = gather({**inputs, "uses_from": str(tmp_path / "absent.yaml")}, preview=True)
    assert absent is not None
    assert absent.uses.clusters is None
    wrong = {**inputs, "keep_used_within": "often"}
    (message,) = objections(BY_NAME["keep-used-within"], wrong, {"days": 1.0}, preview=True)
    assert message.startswith("cannot judge this plan: keep_used_within and usage_history: takes ")


def test_the_approved_plan_is_read(cache: Path, tmp_path: Path) -> None:
    found = analysis()
    file = tmp_path / "approved.jsonl"
    file.write_bytes(b"".join(encode(found.plan)))
    inputs = {**kept(cache, encode(found.plan), found.plan), "approved_plan": str(file)}
    bound = gather({**inputs, "approved_digest": digest_of(file)}, preview=False)
    assert bound is not None
    assert (bound.approved, bound.unbound, bound.share.approved) == (found.plan, False, True)


def test_an_approved_plan_without_its_digest_is_no_approval(cache: Path, tmp_path: Path) -> None:
    found = analysis()
    file = tmp_path / "approved.jsonl"
    file.write_bytes(b"".join(encode(found.plan)))
    given = gather({**kept(cache, encode(found.plan), found.plan), "approved_plan": str(file)}, preview=False)
    assert given is not None
    assert (given.approved, given.unbound, given.share.approved) == (None, True, False)
    assert "need an approved plan (approved_plan and approved_digest)" in says("approval", {"images": 3}, given)[0]
    assert says("plan-age", given=given)[0].startswith("approved_plan is given without approved_digest, so the date")


def test_a_plan_that_is_edited_and_sealed_again_is_refused_by_its_digest(cache: Path, tmp_path: Path) -> None:
    """Its time: neither the fingerprint nor the checksum, which anybody can make again, show that."""
    found = analysis()
    file = tmp_path / "approved.jsonl"
    file.write_bytes(b"".join(encode(found.plan)))
    inputs = {**kept(cache, encode(found.plan), found.plan), "approved_plan": str(file)}
    reviewed = digest_of(file)
    younger = msgspec.structs.replace(found.plan, as_of=NOW + timedelta(hours=1))
    assert younger.fingerprint == found.plan.fingerprint
    file.write_bytes(b"".join(encode(younger)))
    with pytest.raises(PrunerError, match="so it is not the file that was reviewed"):
        gather({**inputs, "approved_digest": reviewed}, preview=False)


def test_without_configuration_only_habits_are_judged() -> None:
    objecting = {rule.name for rule in RULES if rule.judge and list(rule.judge(facts(), options(rule, {})))}
    assert objecting == {"only-copies"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_options_have_valid_schemas_and_defaults_that_fit(rule: Rule) -> None:
    for option in rule.options.values():
        jsonschema.Draft7Validator.check_schema(option.schema)
        if "default" in option.schema:
            jsonschema.validate(option.schema["default"], option.schema)


def test_the_pack_has_every_rule_once() -> None:
    assert [policy.name for policy in policies()] == [rule.name for rule in RULES]
    assert len(BY_NAME) == len(RULES)
    assert TYPE.endswith(":PrunedImages")


def test_the_table_is_that_of_the_rules() -> None:
    """It is written by `python -m policies.table`."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert rewritten(text) == text
