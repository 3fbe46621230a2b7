"""The schedule's objects, and the components with Pulumi's mocks."""

from __future__ import annotations

import json
import re
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

from pruner.errors import SettingsError
from pruner.fleet import command as commands
from pruner.fleet import stack
from pruner.schedule.components import IndexedFleetJob, PruneSchedule
from pruner.schedule.image_pruner import SUSPENDED_BEFORE, taken_over, takeover_message
from pruner.schedule.manifests import GRACE, PACK, Schedule, fleet_job_objects, schedule_objects
from pruner.schedule.permissions import cluster_rules
from pruner.settings import NODE_IMAGES

IMAGE = "registry.example.com/pruner:0.1.0"
LIVE_SPEC = {"schedule": "30 2 * * 1", "suspend": True, "keepTagRevisions": 5, "keepYoungerThanDuration": "2h30m"}
"""Suspended, by whomever."""


class Recording(mocks.Mocks):
    """Keeps what is registered, by kind."""

    def __init__(self, annotations: dict[str, str] | None = None) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.live = {"spec": LIVE_SPEC, "metadata": {"name": "cluster", "annotations": annotations}}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        if args.resource_id:
            return args.resource_id, self.live
        self.made[kind] = args.inputs
        return f"{args.name}-id", dict(args.inputs)

    def call(self, _args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        return {}, None


class Dependencies(mocks.MockMonitor):
    """Keeps what each kind depends on, by kind."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self.of: dict[str, set[str]] = {}

    def RegisterResource(self, request: Any) -> Any:
        depends = {urn.split("::")[-2].rpartition(":")[2] for urn in request.dependencies}
        self.of[request.type.rpartition(":")[2]] = depends
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


@pytest.fixture
def recording(event_loops: None) -> Recording:
    found = Recording()
    pulumi.runtime.set_mocks(found, preview=False)
    return found


def registered(make: Any) -> Any:
    """Run a program against the mocks, to its end."""

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> pulumi.Output[Any]:
        component = make()
        return pulumi.Output.from_input(getattr(component, "message", ""))

    return program()


def test_a_schedule_is_made_of_these_objects() -> None:
    kinds = [each["kind"] for each in schedule_objects(Schedule(image=IMAGE, network_policy=True))]
    assert kinds == [
        "Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap",
        "Secret", "NetworkPolicy", "CronJob",
    ]  # fmt: skip


def cron_job(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = schedule_objects(Schedule(image=IMAGE, **options))[-1]["spec"]
    return found


def test_cron_job_runs_one_at_a_time_and_ends_in_time() -> None:
    spec = cron_job(deadline=900, starting_deadline=120, successful_jobs=1, failed_jobs=2)
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] == 120
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (1, 2)
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 900


def test_pod_writes_into_its_own_folders_only() -> None:
    pod = cron_job()["jobTemplate"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    assert writable == ["/var/lib/pruner", "/tmp"]  # noqa: S108 - the container's
    assert empty == {"work", "tmp"}
    assert {entry["value"] for entry in container["env"] if entry["name"] == "HOME"} == {"/var/lib/pruner"}


def test_settings_stand_in_the_config_map_as_a_fleet_of_one() -> None:
    objects = schedule_objects(
        Schedule(image=IMAGE, settings={"keep_tag_revisions": 7, "registry_url": "registry.local"})
    )
    config = next(each for each in objects if each["kind"] == "ConfigMap")["data"]["fleet.yaml"]
    assert '"keep_tag_revisions": 7' in config
    assert "service-ca.crt" not in config


def test_a_secret_among_the_settings_is_refused() -> None:
    with pytest.raises(SettingsError, match="api_key: a secret does not go into a ConfigMap"):
        schedule_objects(Schedule(image=IMAGE, settings={"api_key": "sesame"}))


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="did you mean 'keep_tag_revisions'"):
        schedule_objects(Schedule(image=IMAGE, settings={"keep_tag_revision": 3}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": {"keep_younger_than": "soon"}}, "keep_younger_than: takes a whole number, not 'soon'"),
        ({"settings": {"max_deletions": "200%"}}, "max_deletions: "),
        ({"settings": {"report": "here.jsonl"}}, "report: is set by each run itself"),
        ({"settings": {"approved_plan": "plan.jsonl"}}, "approved_plan: is set by each run itself"),
        (
            {"settings": {"proxy_headers": {"basic_auth": "a:b"}}},
            "proxy_headers: a secret does not go into a ConfigMap",
        ),
        ({"deadline": 90}, "deadline: takes at least 120 seconds, not 90"),
    ],
)
def test_what_a_run_at_night_would_refuse_is_refused_now(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        schedule_objects(Schedule(image=IMAGE, **options))


def test_a_run_has_time_to_end_before_its_job_is_ended() -> None:
    objects = {each["kind"]: each for each in schedule_objects(Schedule(image=IMAGE, deadline=600))}
    limit = json.loads(objects["ConfigMap"]["data"]["fleet.yaml"])["timeout"]
    job = objects["CronJob"]["spec"]["jobTemplate"]["spec"]
    assert limit + GRACE == job["activeDeadlineSeconds"]
    # Interrupted, a run has that long until it is killed, and it takes its own time limits of that.
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] >= commands.GRACE + stack.RELEASE


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({}, {"PULUMI_CONFIG_PASSPHRASE": ""}),
        ({"environment": {"TOKEN": "x"}}, {"PULUMI_CONFIG_PASSPHRASE": "", "TOKEN": "x"}),
        # What is kept somewhere is not encrypted with nothing.
        ({"backend": "s3://states", "environment": {"TOKEN": "x"}}, {"TOKEN": "x"}),
    ],
)
def test_passphrase_may_be_left_out_where_the_state_goes_with_the_pod(
    options: dict[str, Any], values: dict[str, str]
) -> None:
    secret = next(each for each in schedule_objects(Schedule(image=IMAGE, **options)) if each["kind"] == "Secret")
    assert secret["stringData"] == values


def test_policies_judge_a_scheduled_run_where_they_are_configured() -> None:
    objects = {
        each["kind"]: each for each in schedule_objects(Schedule(image=IMAGE, policies={"max-images": {"limit": 5}}))
    }
    assert json.loads(objects["ConfigMap"]["data"]["policies.json"]) == {"max-images": {"limit": 5}}
    arguments = objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--policy-pack") + 1 :][:3] == [
        PACK[0],
        "--policy-pack-config",
        "/etc/pruner/policies.json",
    ]
    assert "--policy-pack" not in str(schedule_objects(Schedule(image=IMAGE)))


def test_rights_cover_what_was_asked_for_and_no_more() -> None:
    def resources(settings: dict[str, Any]) -> set[str]:
        return {name for rule in cluster_rules(settings) for name in rule["resources"]}

    whole = resources({})
    assert whole - resources({"references": "oc"}) == {
        "controllerrevisions",
        *(source.resource for source in NODE_IMAGES),
    }
    assert whole - resources({"prune_registry": False}) == {"imagestreams/layers"}
    assert resources({"extra_referrers": ["argo-rollouts"]}) - whole == {"rollouts"}
    assert not [rule for rule in cluster_rules() if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]]


# --- OpenShift's own --------------------------------------------------------------------------------------------------


def test_spec_of_an_image_pruner_becomes_settings_and_schedule() -> None:
    found = taken_over(
        {
            "schedule": "0 1 * * *",
            "suspend": True,
            "keepTagRevisions": 4,
            "keepYoungerThanDuration": "60m",
            "ignoreInvalidImageReferences": True,
            "successfulJobsHistoryLimit": 2,
            "failedJobsHistoryLimit": 1,
            "nodeSelector": {"node-role.kubernetes.io/infra": ""},
            "tolerations": [{"operator": "Exists"}],
            "logLevel": "Debug",
            "newField": 1,
        }
    )
    assert found.settings == {"keep_tag_revisions": 4, "keep_younger_than": 60, "ignore_invalid_refs": True}
    asked = found.applied_to(Schedule(image=IMAGE))
    assert (asked.schedule, asked.suspend, asked.successful_jobs, asked.failed_jobs) == ("0 1 * * *", True, 2, 1)
    assert asked.node_selector == {"node-role.kubernetes.io/infra": ""}
    assert asked.tolerations == ({"operator": "Exists"},)
    assert found.notes == ("logLevel has no counterpart and is ignored", "newField is unknown and is ignored")


@pytest.mark.parametrize(
    ("spec", "minutes"),
    [
        ({"keepYoungerThanDuration": "1h30m"}, 90),
        ({"keepYoungerThanDuration": "90s"}, 2),
        ({"keepYoungerThanDuration": "1.5h"}, 90),
        ({"keepYoungerThanDuration": "0"}, 0),
        ({"keepYoungerThan": 3_600_000_000_000}, 60),
        ({"keepYoungerThan": 1}, 1),
    ],
)
def test_ages_are_minutes_rounded_up(spec: dict[str, Any], minutes: int) -> None:
    assert taken_over(spec).settings["keep_younger_than"] == minutes


def test_a_duration_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="'tomorrow' is not a duration"):
        taken_over({"keepYoungerThanDuration": "tomorrow"})


def test_what_is_given_wins_over_what_is_taken_over() -> None:
    asked = taken_over({"schedule": "0 1 * * *", "keepTagRevisions": 4}).applied_to(
        Schedule(image=IMAGE, schedule="15 3 * * *", settings={"keep_tag_revisions": 9})
    )
    assert (asked.schedule, asked.settings["keep_tag_revisions"]) == ("15 3 * * *", 9)


# --- the components ---------------------------------------------------------------------------------------------------


def test_component_registers_the_objects_under_itself(recording: Recording) -> None:
    registered(lambda: PruneSchedule("prune", IMAGE, settings={"keep_tag_revisions": 2}))
    cron = recording.made["CronJob"]["spec"]
    assert cron["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert recording.made["ClusterRole"]["rules"] == cluster_rules()
    assert recording.made["ServiceAccount"]["automountServiceAccountToken"] is False
    assert "ImagePrunerPatch" not in recording.made
    assert "NetworkPolicy" not in recording.made


def test_component_takes_the_settings_of_the_image_pruner_and_suspends_it(recording: Recording) -> None:
    registered(lambda: PruneSchedule("prune", IMAGE, take_over=True))
    assert recording.made["ImagePrunerPatch"]["spec"] == {"suspend": True}
    assert recording.made["ImagePrunerPatch"]["metadata"]["name"] == "cluster"
    assert recording.made["CronJob"]["spec"]["schedule"] == "30 2 * * 1"
    config = recording.made["ConfigMap"]["data"]["fleet.yaml"]
    assert '"keep_tag_revisions": 5' in config
    assert '"keep_younger_than": 150' in config


@pytest.mark.parametrize(
    ("annotations", "options", "suspended"),
    [
        # Whoever had suspended it did not want images to be pruned.
        (None, {}, True),
        ({SUSPENDED_BEFORE: "true"}, {}, True),
        # It is this component that has.
        ({SUSPENDED_BEFORE: "false"}, {}, False),
        (None, {"suspend": False}, False),
    ],
)
def test_a_suspension_is_taken_over_unless_it_is_our_own(
    event_loops: None, annotations: dict[str, str] | None, options: dict[str, Any], suspended: bool
) -> None:
    recording = Recording(annotations)
    pulumi.runtime.set_mocks(recording, preview=False)
    registered(lambda: PruneSchedule("prune", IMAGE, take_over=True, **options))
    assert recording.made["CronJob"]["spec"]["suspend"] is suspended
    before = "false" if annotations == {SUSPENDED_BEFORE: "false"} else "true"
    assert recording.made["ImagePrunerPatch"]["metadata"]["annotations"][SUSPENDED_BEFORE] == before


@pytest.mark.parametrize(
    ("suspended", "said"),
    [(True, "leaves the ImagePruner suspended"), (False, "resumes the ImagePruner")],
)
def test_message_says_what_a_destroy_does_to_the_image_pruner(suspended: bool, said: str) -> None:
    takeover = taken_over({"suspend": suspended})
    message = takeover_message(takeover, takeover.applied_to(Schedule(image=IMAGE)))
    assert message.endswith(f"; destroying this component {said}")


def test_component_says_what_it_has_taken_over(recording: Recording) -> None:
    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> pulumi.Output[None]:
        made = PruneSchedule("prune", IMAGE, take_over={"keepTagRevisions": 5, "suspend": True})

        def check(message: str) -> None:
            assert "imagepruners.imageregistry.operator.openshift.io/cluster is suspended" in message
            assert "keep_tag_revisions=5" in message
            assert "it was already suspended, and so is the CronJob" in message

        return made.message.apply(check)

    program()


def test_fleet_job_gives_each_worker_its_index(recording: Recording) -> None:
    registered(lambda: IndexedFleetJob("fleet", IMAGE, "clusters: []", shards=8, parallelism=3))
    spec = recording.made["Job"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 8, 3)
    pod = spec["template"]["spec"]
    assert pod["containers"][0]["args"][:6] == ["fleet", "up", "--json", "--unreviewed", "--shards", "8"]
    assert pod["automountServiceAccountToken"] is False
    assert "ClusterRole" not in recording.made


def test_a_second_schedule_in_a_cluster_has_objects_of_another_name(recording: Recording) -> None:
    registered(lambda: PruneSchedule("prune", IMAGE, object_name="weekly", create_namespace=False))
    assert {made["metadata"]["name"] for kind, made in recording.made.items() if "metadata" in made} == {"weekly"}
    assert "Namespace" not in recording.made


def test_fleet_job_of_a_wave_prunes_that_wave(recording: Recording) -> None:
    registered(lambda: IndexedFleetJob("fleet", IMAGE, "clusters: []", shards=2, wave="canary"))
    arguments = recording.made["Job"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--wave") + 1] == "canary"


def job_template(recording: Recording, fleet: Any, policies: Any = None) -> Any:
    registered(lambda: IndexedFleetJob("fleet", IMAGE, fleet, shards=2, policies=policies))
    return recording.made["Job"]["spec"]["template"]


@pytest.mark.parametrize(
    ("fleet", "policies"), [("clusters: [b]", {}), ("clusters: [a]", {"max-images": {"limit": 5}})]
)
def test_fleet_job_is_another_one_when_its_files_change(recording: Recording, fleet: str, policies: Any) -> None:
    """Kubernetes takes no other pod template for a Job that is there, so pulumi-kubernetes replaces it."""
    assert job_template(recording, fleet, policies) != job_template(recording, "clusters: [a]", {})


def test_fleet_job_stays_while_its_files_do(recording: Recording) -> None:
    given = pulumi.Output.from_input("clusters: []")
    assert job_template(recording, given) == job_template(recording, "clusters: []")


def test_jobs_of_a_schedule_need_no_other_template_to_read_other_files() -> None:
    one, other = (
        fleet_job_objects(Schedule(image=IMAGE), fleet, 2, 2, scheduled=True) for fleet in ("clusters: []", "{}")
    )
    assert one[-1] == other[-1]


@pytest.mark.parametrize("create_namespace", [True, False])
def test_fleet_job_begins_when_all_that_it_reads_is_there(event_loops: None, create_namespace: bool) -> None:
    found = Recording()
    monitor = Dependencies(found)
    pulumi.runtime.set_mocks(found, preview=False, monitor=monitor)
    registered(lambda: IndexedFleetJob("fleet", IMAGE, "{}", shards=2, create_namespace=create_namespace))
    assert {"ServiceAccount", "ConfigMap", "Secret"} <= monitor.of["Job"]
    assert "Secret" not in monitor.of["ConfigMap"]


def test_worker_is_tried_again_unless_its_file_is_wrong_or_its_node_was_drained() -> None:
    spec = fleet_job_objects(Schedule(image=IMAGE), "clusters: []", 4, 2, scheduled=False)[-1]["spec"]
    assert spec["backoffLimitPerIndex"] == 1
    ignored, failed = spec["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (failed["action"], failed["onExitCodes"]["values"]) == ("FailIndex", [2])


@pytest.mark.parametrize(("shards", "parallelism"), [(0, 1), (2, 0), (2, 3)])
def test_workers_that_cannot_be_are_refused(shards: int, parallelism: int) -> None:
    with pytest.raises(SettingsError, match="shards: takes at least 1"):
        fleet_job_objects(Schedule(image=IMAGE), "clusters: []", shards, parallelism, scheduled=False)


def test_fleet_job_with_a_schedule_is_a_cron_job() -> None:
    objects = fleet_job_objects(Schedule(image=IMAGE), "clusters: []", 2, 2, scheduled=True)
    assert objects[-1]["kind"] == "CronJob"
    assert objects[-1]["spec"]["jobTemplate"]["spec"]["completionMode"] == "Indexed"


def test_only_a_schedule_that_restarts_the_registry_may_patch_its_deployment() -> None:
    def patched(settings: dict[str, Any]) -> list[dict[str, Any]]:
        found = schedule_objects(Schedule(image="pruner:1", settings=settings))
        roles = [each for each in found if each["kind"] in ("Role", "ClusterRole")]
        return [rule | {"of": role["kind"]} for role in roles for rule in role["rules"] if "patch" in rule["verbs"]]

    assert patched({}) == []
    assert patched({"restart_registry": True, "prune_registry": False}) == []
    assert patched({"restart_registry": True}) == [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments"],
            "verbs": ["patch"],
            "resourceNames": ["image-registry"],
            "of": "Role",
        }
    ]


def test_R39_only_a_schedule_that_asks_what_ran_may_ask_the_monitoring() -> None:
    def bound(**history: Any) -> list[str]:
        settings = {"keep_used_within": "30d", "usage_history": {"url": "https://thanos", **history}} if history else {}
        found = schedule_objects(Schedule(image="pruner:1", settings=settings))
        return [each["roleRef"]["name"] for each in found if each["kind"] == "ClusterRoleBinding"]

    assert bound() == ["pruner"]
    assert bound(ca_cert="/var/run/secrets/service-ca.crt") == ["cluster-monitoring-view", "pruner"]
    assert bound(partial_history=True) == ["cluster-monitoring-view", "pruner"]
    assert bound(token={"env": "THANOS"}) == ["pruner"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "https://kiel", "api_key": "planted"}, "a secret does not go into a ConfigMap"),
        ({"context": "kiel", "kubeconfig": {"users": ["planted"]}}, "a secret does not go into a ConfigMap"),
        ({"context": "kiel", "proxy_headers": {"basic_auth": "a:planted"}}, "a secret does not go into a ConfigMap"),
        ({"kubeconfig": "/etc/pruner/kubeconfig", "contxt": "kiel"}, "'contxt' does not say how to reach a cluster"),
        ({"api_key": {"env": "KIEL"}}, "settings do not say where it is"),
    ],
)
def test_R38_settings_of_another_cluster_are_checked_and_its_secrets_do_not_go_into_a_config_map(
    settings: dict[str, Any], said: str
) -> None:
    def made(**settings: Any) -> list[Any]:
        others = [{"name": "kiel", "settings": settings}]
        return schedule_objects(Schedule(image="pruner:1", settings={"uses_from": others}))

    with pytest.raises(SettingsError) as raised:
        made(**settings)
    assert said in str(raised.value)
    assert "planted" not in str(raised.value)
    assert made(host="https://kiel", username="bob", password={"env": "KIEL"}, ca_cert="/etc/ca.pem")


def test_R39_a_token_of_the_monitoring_does_not_go_into_a_config_map() -> None:
    history = {"url": "https://thanos", "token": "planted"}
    with pytest.raises(SettingsError) as raised:
        schedule_objects(Schedule(image="pruner:1", settings={"keep_used_within": "30d", "usage_history": history}))
    assert "a token does not go into a ConfigMap" in str(raised.value)
    assert "planted" not in str(raised.value)
