"""The schedule's objects, and the components with Pulumi's mocks."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

from pruner.errors import SettingsError
from pruner.resource.schedule import (
    IndexedFleetJob,
    PruneSchedule,
    Schedule,
    cluster_rules,
    fleet_job_objects,
    schedule_objects,
    taken_over,
)

IMAGE = "registry.example.com/pruner:0.1.0"
LIVE_SPEC = {"schedule": "30 2 * * 1", "suspend": True, "keepTagRevisions": 5, "keepYoungerThanDuration": "2h30m"}


class Recording(mocks.Mocks):
    """Keeps what is registered, by kind."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        if args.resource_id:
            return args.resource_id, {"spec": LIVE_SPEC}
        self.made[kind] = args.inputs
        return f"{args.name}-id", dict(args.inputs)

    def call(self, _args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        return {}, None


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


def test_rights_cover_what_was_asked_for_and_no_more() -> None:
    def resources(settings: dict[str, Any]) -> set[str]:
        return {name for rule in cluster_rules(settings) for name in rule["resources"]}

    whole = resources({})
    assert whole - resources({"references": "oc"}) == {"controllerrevisions"}
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
    assert found.notes == ("logLevel has no counterpart and is left out", "newField is not known and is left out")


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
    with pytest.raises(SettingsError, match="'tomorrow' is no duration"):
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


def test_a_suspension_that_is_our_own_is_not_taken_over(recording: Recording) -> None:
    registered(lambda: PruneSchedule("prune", IMAGE, take_over=True))
    assert recording.made["CronJob"]["spec"]["suspend"] is False


def test_component_says_what_it_has_taken_over(recording: Recording) -> None:
    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> pulumi.Output[None]:
        made = PruneSchedule("prune", IMAGE, take_over={"keepTagRevisions": 5, "suspend": True})

        def check(message: str) -> None:
            assert "imagepruners.imageregistry.operator.openshift.io/cluster is suspended" in message
            assert "keep_tag_revisions=5" in message
            assert "it was suspended before, and so is the CronJob" in message

        return made.message.apply(check)

    program()


def test_fleet_job_gives_each_worker_its_index(recording: Recording) -> None:
    registered(lambda: IndexedFleetJob("fleet", IMAGE, "clusters: []", shards=8, parallelism=3))
    spec = recording.made["Job"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 8, 3)
    pod = spec["template"]["spec"]
    assert pod["containers"][0]["args"][:5] == ["fleet", "up", "--json", "--shards", "8"]
    assert pod["automountServiceAccountToken"] is False
    assert "ClusterRole" not in recording.made


def test_fleet_job_with_a_schedule_is_a_cron_job() -> None:
    objects = fleet_job_objects(Schedule(image=IMAGE), "clusters: []", 2, 2, scheduled=True)
    assert objects[-1]["kind"] == "CronJob"
    assert objects[-1]["spec"]["jobTemplate"]["spec"]["completionMode"] == "Indexed"
