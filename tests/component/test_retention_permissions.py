"""Permissions that retention needs are asked for only where a setting
needs them; the server evaluates `protect_selector` (R18, R32).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pruner.errors import PrunerError
from pruner.schedule.permissions import cluster_rules
from pruner.settings import read
from sandbox.kinds import IMAGE_STREAMS, NAMESPACES, Resource
from tests.component.conftest import SavedCluster
from tests.component.test_connection_doctor import as_json
from tests.pruning import analysed, plan, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox
from tests.small_clusters import settings_of

SELECTOR = "pruner.example.com/keep=true"
RULES = '[{"tags": ["pr-*"], "keep_newest": 1}]'
NEEDED: list[tuple[dict[str, str], set[str]]] = [
    ({}, set()),
    ({"retention": '[{"keep": "all"}]'}, set()),
    ({"retention": RULES}, {"update imagestreams"}),
    ({"empty_streams": '{"older_than": "30d"}'}, {"delete imagestreams"}),
    ({"protect_selector": SELECTOR}, {"list namespaces"}),
    (
        {"retention": RULES, "empty_streams": '{"older_than": "30d"}', "protect_selector": SELECTOR},
        {"update imagestreams", "delete imagestreams", "list namespaces"},
    ),
]
"""Settings, and the permissions that they need in addition."""
IN_ADDITION = {"update imagestreams", "delete imagestreams", "list namespaces"}


@pytest.fixture
def cluster(saved_cluster: SavedCluster, tmp_path: Path) -> Iterator[RunningSandbox]:
    with running_sandbox(copied(saved_cluster("retention").folder, tmp_path / "cluster")) as sandbox:
        yield sandbox


async def labelled(sandbox: RunningSandbox, resource: Resource, ref: str) -> None:
    async with sandbox.builder() as builder:
        found = await builder.get(resource, ref)
        key, _, value = SELECTOR.partition("=")
        found["metadata"].setdefault("labels", {})[key] = value
        namespace, _, name = ref.rpartition("/")
        await builder.request("PUT", builder.url(resource, namespace, name), found)


@pytest.mark.parametrize(("settings", "needed"), NEEDED, ids=[", ".join(each) or "none" for each, _ in NEEDED])
def test_doctor_asks_for_a_permission_only_where_a_setting_needs_it_R32_R34(
    cluster: RunningSandbox, settings: dict[str, str], needed: set[str]
) -> None:
    options = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    permissions = as_json(cluster, "admin", *options)["permissions"]
    asked = {f"{each['verb']} {each['resource'].partition('.')[0]}" for each in permissions}
    assert "list images" in asked
    assert asked & IN_ADDITION == needed


@pytest.mark.parametrize(("settings", "needed"), NEEDED, ids=[", ".join(each) or "none" for each, _ in NEEDED])
def test_a_schedule_grants_a_permission_only_where_a_setting_needs_it_R32_R34(
    settings: dict[str, str], needed: set[str]
) -> None:
    granted = {
        f"{verb} {resource}"
        for each in cluster_rules(settings)
        for verb in each["verbs"]
        for resource in each["resources"]
    }
    assert "list images" in granted
    assert granted & IN_ADDITION == needed


def test_rules_in_a_file_of_the_container_may_remove_tags_so_the_permission_is_granted_R32() -> None:
    rules = cluster_rules({"retention": "/etc/pruner/rules.yaml"})
    assert any("imagestreams" in each["resources"] and "update" in each["verbs"] for each in rules)


@pytest.mark.parametrize(
    ("resource", "ref", "protected"),
    [(IMAGE_STREAMS, "shop/app", {"shop/app"}), (NAMESPACES, "shop", {"shop/app", "shop/empty"})],
)
async def test_labels_protect_image_streams_and_the_server_selects_them_R18(
    cluster: RunningSandbox, resource: Resource, ref: str, protected: set[str]
) -> None:
    settings = settings_for(cluster, **settings_of("retention"))
    before = (await analysed(settings)).plan
    assert {change.stream for change in before.streams} | {each.stream for each in before.empty_streams} == {
        "shop/app",
        "shop/empty",
    }
    await labelled(cluster, resource, ref)
    cluster.forget_requests()
    found = (await analysed(settings_for(cluster, protect_selector=SELECTOR, **settings_of("retention")))).plan
    assert {change.stream for change in found.streams} | {each.stream for each in found.empty_streams} == (
        {"shop/app", "shop/empty"} - protected
    )
    selected = [
        urlsplit(it["path"]).path.rpartition("/")[2]
        for it in cluster.requests()
        if parse_qs(urlsplit(it["path"]).query).get("labelSelector") == [SELECTOR]
    ]
    assert sorted(selected) == ["imagestreams", "namespaces"]


async def test_without_a_selector_no_labels_are_asked_for_R18(cluster: RunningSandbox) -> None:
    cluster.forget_requests()
    await analysed(settings_for(cluster, **settings_of("retention")))
    paths = [it["path"] for it in cluster.requests()]
    assert paths
    assert not [path for path in paths if "labelSelector" in path or "/namespaces?" in path]


def test_a_selector_that_cannot_be_evaluated_ends_the_plan_R3(cluster: RunningSandbox) -> None:
    cluster.add_fault({"status": 400}, method="GET", path="labelSelector")
    with pytest.raises(PrunerError, match="400"):
        plan(settings_for(cluster, protect_selector=SELECTOR, **settings_of("retention")))


def test_a_rule_that_matches_no_tag_is_a_note_and_with_strict_an_error_R29(cluster: RunningSandbox) -> None:
    rules = [{"name": "idle", "tags": ["none-*"], "keep_newest": 1}]
    found = plan(settings_for(cluster, retention=rules))
    assert "retention: rule 'idle' matches no tag in this cluster" in found.notes
    with pytest.raises(PrunerError, match="retention: rule 'idle' matches no tag in this cluster"):
        plan(settings_for(cluster, retention=rules, strict=True))


def test_the_rules_of_a_setting_are_read_from_json_as_well_R29() -> None:
    assert [rule.tags for rule in read({"host": "http://x", "retention": RULES}).retention] == [("pr-*",)]
    assert json.loads(RULES)
