"""R38: what other clusters use of this registry is kept, and a cluster that cannot be read ends the run."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pruner.apply import Result
from pruner.cli import main
from pruner.cluster.session import session
from pruner.doctor import examine
from pruner.errors import InvalidReferencesError, PrunerError
from pruner.plan import PrunePlan
from pruner.settings import Settings
from tests.pruning import applied, broken_images, plan, prune, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox

OLD = "blog/old-theme:v1"
"""A tag that nothing refers to, which the rule below lets expire."""
RULES = [{"name": "old", "tags": ["*"], "keep_younger_than": "1d"}]
CONFIG, OPERATOR = "/apis/config.openshift.io/v1", "/apis/operator.openshift.io/v1alpha1"
MIRROR_SETS = [
    ("ImageDigestMirrorSet", CONFIG, "imagedigestmirrorsets", "imageDigestMirrors"),
    ("ImageTagMirrorSet", CONFIG, "imagetagmirrorsets", "imageTagMirrors"),
    ("ImageContentSourcePolicy", OPERATOR, "imagecontentsourcepolicies", "repositoryDigestMirrors"),
]


@pytest.fixture(scope="module")
def kiel_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningSandbox, Path]]:
    within = tmp_path_factory.mktemp("kiel")
    with running_sandbox(within / "cluster") as running:
        running.save()
        yield running, copied(within / "cluster", within / "saved")


@pytest.fixture
def kiel(kiel_for_all: tuple[RunningSandbox, Path]) -> RunningSandbox:
    """Another cluster, which has no workloads."""
    running, empty = kiel_for_all
    running.clear_faults()
    running.set_discovery()
    running.restore(empty)
    return running


@pytest.fixture(scope="module")
def hub_for_all(demo_folders: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(copied(demo_folders(), tmp_path_factory.mktemp("hub") / "cluster")) as running:
        yield running


@pytest.fixture
def hub(hub_for_all: RunningSandbox, demo_folder: Path) -> RunningSandbox:
    """The demo cluster, whose registry others pull from, as it was filled."""
    hub_for_all.clear_faults()
    hub_for_all.restore(demo_folder)
    return hub_for_all


def deploy(cluster: RunningSandbox, image: str, name: str = "web", **more: Any) -> None:
    template = {"metadata": {}, "spec": {"containers": [{"name": "app", "image": image}], **more}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"template": template}}
    answer = cluster.call("POST", "/apis/apps/v1/namespaces/default/deployments", body)
    assert answer.status == 201, answer.body


def mirror(cluster: RunningSandbox, kind: str, source: str, *mirrors: str) -> None:
    ((_, group, plural, field),) = [each for each in MIRROR_SETS if each[0] == kind]
    spec = {field: [{"source": source, "mirrors": list(mirrors)}]}
    version = group.removeprefix("/apis/")
    body = {"apiVersion": version, "kind": kind, "metadata": {"name": "mirrors"}, "spec": spec}
    answer = cluster.call("POST", f"{group}/{plural}", body)
    assert answer.status == 201, answer.body


def used_by(hub: RunningSandbox, *clusters: RunningSandbox, user: str = "admin", **more: Any) -> Settings:
    """Settings with these clusters, kiel and bonn, as users of the hub."""
    others = [
        {"name": name, "settings": {"host": cluster.api_url, "api_key": cluster.tokens[user]}}
        for name, cluster in zip(("kiel", "bonn"), clusters, strict=False)
    ]
    return settings_for(hub, retention=RULES, uses_from=others, **more)


def prunes(found: PrunePlan, tag: str = OLD) -> bool:
    stream, _, name = tag.partition(":")
    return any(change.stream == stream and name in change.removed_tags for change in found.streams)


def explained(settings: Settings, hub: RunningSandbox, kiel: RunningSandbox, *arguments: str) -> str:
    environment = {"K8S_AUTH_HOST": hub.api_url, "K8S_AUTH_API_KEY": hub.tokens["admin"]}
    others = [{"name": "kiel", "settings": {"host": kiel.api_url, "api_key": kiel.tokens["admin"]}}]
    options = ["--retention", json.dumps(RULES), "--uses-from", json.dumps(others)]
    result = CliRunner().invoke(main, ["explain", *arguments, *options], env=environment)
    assert result.exit_code == 0, result.output
    assert kiel.tokens["admin"] not in result.output
    return result.stdout


def test_R38_what_another_cluster_uses_is_kept_and_explained(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    assert prunes(plan(used_by(hub, kiel)))
    deploy(kiel, f"{hub.registry_host}/{OLD}")
    found = plan(used_by(hub, kiel))
    assert not prunes(found)
    assert found.streams, "other tags go all the same"
    assert "used in cluster kiel by Deployment default/web" in explained(used_by(hub, kiel), hub, kiel, OLD)
    result = prune(used_by(hub, kiel))
    assert result.failures == []
    assert hub.history(OLD)
    assert broken_images(hub) == []


def test_R38_of_two_clusters_each_counts(hub: RunningSandbox, kiel: RunningSandbox, sandbox_with: Any) -> None:
    """Bonn is a Kubernetes without OpenShift's kinds, of which discovery says so."""
    groups = ("apps", "build", "image", "config", "operator")
    bonn = sandbox_with(*(word for group in groups for word in ("--without-group", f"{group}.openshift.io")))
    deploy(kiel, f"{hub.registry_host}/{OLD}")
    deploy(bonn, f"{hub.registry_host}/blog/old-theme:v2")
    settings = used_by(hub, kiel, bonn)
    found = plan(settings)
    assert not prunes(found)
    assert not prunes(found, "blog/old-theme:v2")
    assert prunes(plan(used_by(hub, kiel)), "blog/old-theme:v2")


@pytest.mark.parametrize("kind", [each[0] for each in MIRROR_SETS])
def test_R38_a_pull_spec_counts_through_a_mirror_set(hub: RunningSandbox, kiel: RunningSandbox, kind: str) -> None:
    deploy(kiel, "quay.example.org/theme/old-theme:v1")
    assert prunes(plan(used_by(hub, kiel))), "another host does not count"
    mirror(kiel, kind, "quay.example.org/theme", "other.example.org/blog", f"{hub.registry_host}/blog")
    assert not prunes(plan(used_by(hub, kiel)))


def test_R38_a_host_of_registry_hosts_counts_and_names_without_a_host_do_not(
    hub: RunningSandbox, kiel: RunningSandbox
) -> None:
    deploy(kiel, f"Hub.Example.ORG:443/{OLD}", "by-host")
    deploy(kiel, "old-theme:v2", "bare")
    assert prunes(plan(used_by(hub, kiel)))
    found = plan(used_by(hub, kiel, registry_hosts=["hub.example.org"]))
    assert not prunes(found)
    assert prunes(found, "blog/old-theme:v2")


def test_R38_a_digest_counts_whichever_registry_it_is_pulled_from(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    digest = hub.history(OLD)[0]
    deploy(kiel, f"elsewhere.example.org/copy/theme@{digest}")
    found = plan(used_by(hub, kiel))
    assert not prunes(found)
    assert digest not in {image.name for image in found.images}


def test_R38_a_reference_that_does_not_parse_ends_the_run_and_names_the_cluster(
    hub: RunningSandbox, kiel: RunningSandbox
) -> None:
    deploy(kiel, "Not A Pull Spec")
    with pytest.raises(InvalidReferencesError, match=r"Deployment default/web in cluster kiel, container 'app'"):
        plan(used_by(hub, kiel))
    assert plan(used_by(hub, kiel, ignore_invalid_refs=True)).streams


# --- a cluster that cannot be read -----------------------------------------------------------------------------------


def ends(hub: RunningSandbox, settings: Settings, wanted: PrunePlan, message: str) -> None:
    """Preview and up end with one line, and nothing is changed."""
    hub.forget_requests()
    for run in (lambda: plan(settings), lambda: asyncio.run(applied(settings, wanted))):
        with pytest.raises(PrunerError) as raised:
            run()
        assert re.fullmatch(message, str(raised.value)), str(raised.value)
    writes = [each for each in hub.requests() if each["method"] not in ("GET", "HEAD")]
    assert {each["path"].rpartition("/")[2] for each in writes} <= {"selfsubjectaccessreviews", "leases", "pruner"}
    assert hub.history(OLD)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 401}, "the credentials are not accepted"),
        ({"status": 403}, "no permission to list deployments.apps .*grant verb 'list' on resource 'deployments'"),
        ({"status": 404}, "."),
        ({"status": 200, "body": "{"}, "is not what an API server gives"),
    ],
)
def test_R3_a_cluster_that_cannot_be_read_ends_the_run(
    hub: RunningSandbox, kiel: RunningSandbox, fault: dict[str, Any], said: str
) -> None:
    settings = used_by(hub, kiel)
    wanted = plan(settings)
    rule = kiel.add_fault(fault, path="/apis/apps/v1/deployments")
    ends(hub, settings, wanted, f"uses_from: cluster kiel: .*{said}.*; until it can be read, nothing is pruned")
    assert kiel.fired(rule)


def test_R3_a_cluster_that_is_not_there_or_refuses_ends_the_run(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    wanted = plan(used_by(hub, kiel))
    gone = {"name": "bonn", "settings": {"host": "http://127.0.0.1:9", "api_key": "x"}}
    settings = settings_for(hub, retention=RULES, uses_from=[gone])
    ends(hub, settings, wanted, "uses_from: cluster bonn: http://127.0.0.1:9: cannot connect .* until it .* is pruned")
    nobody = used_by(hub, kiel, user="nobody")
    ends(hub, nobody, wanted, "uses_from: cluster kiel: .*no permission to list .*; until it can be read, .*")
    kubeconfig = {"name": "ulm", "settings": {"kubeconfig": {"apiVersion": "v1", "kind": "Config"}}}
    settings = settings_for(hub, retention=RULES, uses_from=[kubeconfig])
    ends(hub, settings, wanted, "uses_from: cluster ulm: kubeconfig: .*")


def test_R3_a_stale_group_of_another_cluster_ends_the_run(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    wanted = plan(used_by(hub, kiel))
    kiel.set_discovery(stale=["config.openshift.io"])
    ends(hub, used_by(hub, kiel), wanted, "uses_from: cluster kiel: .* config.openshift.io/v1 as stale, .*")


# --- between plan and deletion ---------------------------------------------------------------------------------------


def during(hub: RunningSandbox, settings: Settings, wanted: PrunePlan, happening: Any, **match: Any) -> Result:
    """Run, and let something happen while the first request that matches is held."""

    async def run() -> Result:
        rule = hub.add_fault({"hold": True}, last=1, **match)
        running = asyncio.create_task(applied(settings, wanted))
        assert await asyncio.to_thread(hub.has_fired, rule)
        await asyncio.to_thread(happening)
        await asyncio.to_thread(hub.clear_faults)
        return await running

    return asyncio.run(run())


def test_R38_what_another_cluster_uses_since_the_plan_is_skipped(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    settings = used_by(hub, kiel)
    wanted = plan(settings)
    assert prunes(wanted)
    deploy(kiel, f"{hub.registry_host}/{OLD}")
    result = asyncio.run(applied(settings, wanted))
    assert any("used in cluster kiel by Deployment default/web" in each.why for each in result.skipped)
    assert result.deleted_images
    assert hub.history(OLD)
    assert broken_images(hub) == []


def test_R38_what_comes_up_elsewhere_during_the_run_is_watched(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    """The deletion of an image that another cluster begins to use is not sent, although the run has begun."""
    settings = used_by(hub, kiel, workers=1)
    wanted = plan(settings)
    used = wanted.images[-1]

    def come_up() -> None:
        deploy(kiel, f"elsewhere.example.org/a/b@{used.name}")
        kiel.get("/apis/apps/v1/namespaces/default/deployments/web")

    result = during(hub, settings, wanted, come_up, method="DELETE", path="^/admin/blobs/", server="registry")
    assert result.failures == []
    assert used.name not in {image["metadata"]["name"] for image in result.deleted_images}
    assert len(result.deleted_images) == len(wanted.images) - 1
    assert [each.what for each in result.skipped] == [f"image {used.name}"]
    assert "Deployment default/web in cluster kiel" in result.skipped[0].why
    assert used.name in hub.images()


def test_R38_a_mirror_set_that_comes_up_during_the_run_counts(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    deploy(kiel, "quay.example.org/theme/old-theme:v1")
    settings = used_by(hub, kiel, workers=1)
    wanted = plan(settings)
    (change,) = [change for change in wanted.streams if change.stream == "blog/old-theme"]

    def come_up() -> None:
        mirror(kiel, "ImageTagMirrorSet", "quay.example.org/theme", f"{hub.registry_host}/blog")
        kiel.get(f"{CONFIG}/imagetagmirrorsets/mirrors")

    result = during(hub, settings, wanted, come_up, method="GET", path="/imagestreams/old-theme$")
    assert change.revisions
    assert hub.history(OLD)
    assert result.failures == []
    assert broken_images(hub) == []


def test_R38_a_cluster_that_goes_away_stops_the_run_before_the_next_deletion(
    hub: RunningSandbox, tmp_path: Path
) -> None:
    with running_sandbox(tmp_path / "bonn") as bonn:
        settings = used_by(hub, bonn, workers=1)
        wanted = plan(settings)
        result = during(hub, settings, wanted, bonn.stop, method="DELETE", path="^/admin/blobs/", server="registry")
    assert len(result.deleted_blobs) == 1
    assert result.deleted_images == []
    (failure,) = result.failures
    assert failure.what == "the rest of the plan"
    assert re.match("not done: uses_from: cluster kiel: .*cannot connect", failure.why)
    assert broken_images(hub) == []


def test_a_cluster_whose_watches_are_refused_is_read_again(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    rule = kiel.add_fault({"status": 403}, path="watch=true")
    result = prune(used_by(hub, kiel))
    assert kiel.fired(rule)
    assert result.failures == []
    assert result.deleted_images


def test_a_cluster_that_is_the_pruned_one_is_a_note(hub: RunningSandbox) -> None:
    found = plan(used_by(hub, hub))
    assert "uses_from: cluster kiel is the cluster that is pruned, by its ID; check how it is reached" in found.notes


# --- doctor ----------------------------------------------------------------------------------------------------------


def doctor(hub: RunningSandbox, host: str, token: str) -> tuple[int, str]:
    """The exit code and what is shown, of settings that do not ask the registry."""
    environment = {"K8S_AUTH_HOST": hub.api_url, "K8S_AUTH_API_KEY": hub.tokens["admin"]}
    others = json.dumps([{"name": "kiel", "settings": {"host": host, "api_key": token}}])
    result = CliRunner().invoke(main, ["doctor", "--no-prune-registry", "--uses-from", others], env=environment)
    assert token not in result.output
    return result.exit_code, " ".join(result.output.split())


def test_R38_doctor_says_whether_other_clusters_can_be_read(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    code, shown = doctor(hub, kiel.api_url, kiel.tokens["admin"])
    assert (code, f"cluster kiel {kiel.api_url}, as admin" in shown) == (0, True), shown
    code, shown = doctor(hub, kiel.api_url, kiel.tokens["nobody"])
    assert code == 1
    assert "cluster kiel cannot be read: no permission to list imagedigestmirrorsets.config.openshift.io" in shown
    assert "The smallest ClusterRole that suffices in cluster kiel:" in shown
    code, shown = doctor(hub, "http://127.0.0.1:9", "sesame")
    assert code == 1
    assert "uses_from: cluster kiel: http://127.0.0.1:9: cannot connect" in shown


def test_R38_the_role_that_doctor_prints_suffices_for_plan_and_run(hub: RunningSandbox, kiel: RunningSandbox) -> None:
    settings = used_by(hub, kiel)

    async def examined() -> list[dict[str, Any]]:
        async with session(settings) as api:
            (found,) = (await examine(api, settings)).other_clusters
            rules: list[dict[str, Any]] = found.cluster_role["rules"]
            return rules

    rules = asyncio.run(examined())
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    granted = [{"verbs": each["verbs"], "resources": each["resources"], "groups": each["apiGroups"]} for each in rules]
    kiel.put_user("reader", granted)
    kiel.forget_requests()
    result = prune(used_by(hub, kiel, user="reader"))
    assert result.failures == []
    refused = [each for each in kiel.requests() if each["user"] == "reader" and each["status"] not in (200, 404, None)]
    assert refused == []
    assert [each for each in kiel.requests() if "watch=true" in each["path"]]
