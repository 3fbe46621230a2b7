"""The Kubernetes objects of a scheduled run as plain values, which tests send to a real API server too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from pruner.cluster.unlink_journal import REGISTRY_NAMESPACE
from pruner.errors import Problem, SettingsError
from pruner.schedule.monitoring import monitoring_binding
from pruner.schedule.other_clusters import OBJECTIONS
from pruner.schedule.permissions import cluster_rules, lease_rules, refers
from pruner.settings import ALIASES, BY_NAME, may_hold_credentials
from pruner.suggestions import did_you_mean

Json = dict[str, Any]

NAME: Final = "pruner"
SERVICE_CA: Final = "/var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt"
"""The CA bundle that is mounted beside a ServiceAccount's token; it signs the integrated registry's certificate."""
SCHEDULE: Final = "0 0 * * *"
"""The default of OpenShift's ImagePruner: midnight, UTC."""
WORK: Final = "/var/lib/pruner"
"""The container's working folder (Containerfile), an emptyDir."""
BACKEND: Final = f"file://{WORK}"
"""The default state backend. Pulumi requires that the folder exists."""
GRACE: Final = 60
"""Seconds that a run has to stop cleanly. The time limit of a cluster is this much below the deadline of its Job."""
PACK: Final = ("/opt/pruner/policies/run", "/etc/pruner/policies.json")
"""The policy pack in the image, and the mounted file that configures it."""

RESOURCES: Final[Json] = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}
"""Of the container, which runs the Pulumi CLI, its language host and the provider."""
FILES: Final = "pruner/files"
"""Annotation on the pods of a single Job: the digest of its files. Pulumi replaces a Job whose pod template changes."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """How pruning is scheduled. Times are in seconds; `settings` maps names of parameters to values.

    `environment` becomes a Secret and the container's environment: credentials of the `backend`, and the values that
    settings refer to as `{"env": NAME}`. The default `backend` needs no passphrase, as its state goes with the pod.
    """

    image: Any
    object_name: str = NAME
    """Of every object. A second schedule in a cluster needs another one, since ClusterRoles are cluster-scoped."""
    schedule: str = SCHEDULE
    settings: Json = {}
    environment: Mapping[str, Any] = {}
    namespace: str = NAME
    create_namespace: bool = True
    suspend: bool | None = None
    """None takes the ImagePruner's value with `take_over`, and false otherwise."""
    backend: str = BACKEND
    starting_deadline: int = 3600
    deadline: int = 4 * 3600
    successful_jobs: int = 3
    failed_jobs: int = 3
    resources: Json = msgspec.field(default_factory=lambda: {**RESOURCES})
    node_selector: Json = {}
    tolerations: tuple[Any, ...] = ()
    affinity: Json = {}
    image_pull_policy: str = "IfNotPresent"
    network_policy: bool = False
    egress_ports: tuple[int, ...] = (443, 6443, 5000)
    labels: Mapping[str, str] = {}
    policies: Json | None = None
    """Configuration of the policy pack (docs/policies.md); `{}` runs it with its defaults, None does not run it."""


# --- the objects ------------------------------------------------------------------------------------------------------


def schedule_objects(schedule: Schedule) -> list[Json]:
    """Every object of a PruneSchedule, in the order of their creation.

    Raises SettingsError for settings that a run would refuse.
    """
    _check(schedule)
    settings = dict(schedule.settings)
    if settings.get("prune_registry", True) and not {"registry_ca_cert", "registry_url"} & settings.keys():
        settings.setdefault("registry_ca_cert", SERVICE_CA)
    limit = schedule.deadline - GRACE
    fleet = {"clusters": [{"name": "cluster", "settings": settings}], "timeout": limit, "concurrency": 1}
    job = _job(schedule, _UP, {"backoffLimit": 0}, token=True)
    return [
        *_namespace(schedule),
        *_account(schedule),
        *_rights(schedule),
        _config_map(schedule, fleet_files(schedule, _json(fleet))),
        _secret(schedule),
        *_network_policy(schedule),
        _cron_job(schedule, job),
    ]


def fleet_job_objects(
    schedule: Schedule,
    fleet: Any,
    shards: int,
    parallelism: int,
    *,
    scheduled: bool,
    wave: str | None = None,
    digest: Any = None,
) -> list[Json]:
    """Every object of an IndexedFleetJob: `shards` workers, each with the share that its completion index selects.

    `scheduled` makes a CronJob, whose Jobs read the files at the time they start. A single Job is replaced, and so runs
    again, when `digest`, that of `fleet_files`, changes; it is computed here unless the content is known only later.
    Raises SettingsError.
    """
    _check(schedule)
    if shards < 1 or not 1 <= parallelism <= shards:
        raise SettingsError(
            [
                Problem(
                    "shards", f"takes at least 1, with a parallelism from 1 to shards, not {shards} and {parallelism}"
                )
            ]
        )
    command = [*_UP, "--shards", str(shards), *(["--wave", wave] if wave else [])]
    # Each cluster of the fleet has its own credentials in fleet.yaml, so the pod needs no token of this cluster.
    job = _job(schedule, command, {"completions": shards, "parallelism": parallelism, **_BY_INDEX}, token=False)
    files = fleet_files(schedule, fleet)
    return [
        *_namespace(schedule),
        *_account(schedule),
        _config_map(schedule, files),
        _secret(schedule),
        *_network_policy(schedule),
        _cron_job(schedule, job) if scheduled else _single_job(schedule, job, digest or files_digest(files)),
    ]


_UP: Final = ("fleet", "up", "--json", "--unreviewed")
_BY_INDEX: Final[Json] = {
    "completionMode": "Indexed",
    # A failing cluster in one share does not stop the other workers.
    "backoffLimitPerIndex": 1,
    "podFailurePolicy": {
        "rules": [
            # A drained node is not a failure of the worker.
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            # Exit code 2 means that the file is wrong, so a retry cannot succeed.
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [2]}},
        ]
    },
}
_FILES: Final = frozenset({"ca_cert", "client_cert", "client_key", "registry_ca_cert", "kubeconfig"})
"""Parameters that name files in the container, which cannot be checked here."""
_OURS: Final = frozenset({"approved_plan", "approved_digest", "report"})
"""Parameters that each run of a fleet sets itself."""


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _check(schedule: Schedule) -> None:
    """Raise SettingsError for unknown or invalid settings, and for secrets, since settings go into a ConfigMap."""
    problems = [
        Problem(name, wrong) for name, value in schedule.settings.items() if (wrong := _wrong(name, value)) is not None
    ]
    if schedule.deadline < 2 * GRACE:
        problems.append(Problem("deadline", f"takes at least {2 * GRACE} seconds, not {schedule.deadline}"))
    if problems:
        raise SettingsError(problems)


def _wrong(name: str, value: Any) -> str | None:
    parameter = BY_NAME.get(ALIASES.get(name, name))
    if parameter is None:
        return f"there is no such parameter{did_you_mean(name, [*BY_NAME, *ALIASES])}"
    if parameter.name in _OURS:
        return "is set by each run itself"
    if refers(value):
        return None
    if parameter.name in OBJECTIONS:
        return OBJECTIONS[parameter.name](value)
    if parameter.secret or (parameter.name in _FILES and may_hold_credentials(value)):
        return 'a secret does not go into a ConfigMap; give {"env": NAME}, and NAME in environment'
    return None if parameter.name in _FILES else parameter.objection(value)


def _selector(schedule: Schedule) -> Json:
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": schedule.object_name}


def _labels(schedule: Schedule) -> Json:
    return {**_selector(schedule), "app.kubernetes.io/managed-by": "pulumi", **schedule.labels}


def _meta(schedule: Schedule, name: str = "", *, namespace: str | None = "") -> Json:
    """Metadata of an object in the schedule's namespace, in another one, or (None) of a cluster-scoped one."""
    where = {} if namespace is None else {"namespace": namespace or schedule.namespace}
    return {"name": name or schedule.object_name, **where, "labels": _labels(schedule)}


def _namespace(schedule: Schedule) -> list[Json]:
    if not schedule.create_namespace:
        return []
    meta = _meta(schedule, schedule.namespace, namespace=None)
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    meta["labels"] = {**meta["labels"], **restricted}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}]


def _account(schedule: Schedule) -> list[Json]:
    meta = _meta(schedule)
    return [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta, "automountServiceAccountToken": False}]


def _rights(schedule: Schedule) -> list[Json]:
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "ServiceAccount", "name": schedule.object_name, "namespace": schedule.namespace}]
    wide, near = _meta(schedule, namespace=None), _meta(schedule, namespace=REGISTRY_NAMESPACE)
    api = f"{group}/v1"
    return [
        *monitoring_binding(
            _meta(schedule, f"{schedule.object_name}-monitoring", namespace=None), schedule.settings, subjects
        ),
        {"apiVersion": api, "kind": "ClusterRole", "metadata": wide, "rules": cluster_rules(schedule.settings)},
        {
            "apiVersion": api,
            "kind": "ClusterRoleBinding",
            "metadata": wide,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": schedule.object_name},
            "subjects": subjects,
        },
        {"apiVersion": api, "kind": "Role", "metadata": near, "rules": lease_rules(schedule.settings)},
        {
            "apiVersion": api,
            "kind": "RoleBinding",
            "metadata": near,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": schedule.object_name},
            "subjects": subjects,
        },
    ]


def fleet_files(schedule: Schedule, fleet: Any) -> Json:
    """The files that are mounted into the container, by name: the fleet and the configuration of the policy pack."""
    return {"fleet.yaml": fleet, **({} if schedule.policies is None else {"policies.json": _json(schedule.policies)})}


def files_digest(files: Json) -> str:
    """The digest of `fleet_files`: a Job whose files have another one runs again."""
    return f"sha256:{hashlib.sha256(msgspec.json.encode(files)).hexdigest()}"


def _config_map(schedule: Schedule, files: Json) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(schedule), "data": files}


def _secret(schedule: Schedule) -> Json:
    values = dict(schedule.environment)
    if schedule.backend == BACKEND:
        values.setdefault("PULUMI_CONFIG_PASSPHRASE", "")
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _meta(schedule), "type": "Opaque", "stringData": values}


def _network_policy(schedule: Schedule) -> list[Json]:
    """No ingress; egress to DNS, the API server and the registry, by port since their addresses are not known here."""
    if not schedule.network_policy:
        return []
    lookups = [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")]
    services = [{"protocol": "TCP", "port": port} for port in schedule.egress_ports]
    spec = {
        "podSelector": {"matchLabels": _selector(schedule)},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [{"ports": lookups}, {"ports": services}],
    }
    meta = _meta(schedule)
    return [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}]


def _cron_job(schedule: Schedule, job: Json) -> Json:
    spec = {
        "schedule": schedule.schedule,
        "suspend": bool(schedule.suspend),
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": schedule.starting_deadline,
        "successfulJobsHistoryLimit": schedule.successful_jobs,
        "failedJobsHistoryLimit": schedule.failed_jobs,
        "jobTemplate": {"metadata": {"labels": _labels(schedule)}, "spec": job},
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": _meta(schedule), "spec": spec}


def _job(schedule: Schedule, command: Sequence[str], more: Json, *, token: bool) -> Json:
    pod = {"metadata": {"labels": _labels(schedule)}, "spec": _pod(schedule, command, token=token)}
    return {"activeDeadlineSeconds": schedule.deadline, **more, "template": pod}


def _single_job(schedule: Schedule, job: Json, digest: Any) -> Json:
    job["template"]["metadata"]["annotations"] = {FILES: digest}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _meta(schedule), "spec": job}


def _pod(schedule: Schedule, command: Sequence[str], *, token: bool) -> Json:
    """A pod that meets the restricted Pod Security Standard and writes to two emptyDirs only."""
    pack = [] if schedule.policies is None else ["--policy-pack", PACK[0], "--policy-pack-config", PACK[1]]
    environment = {
        "HOME": WORK,
        # Pulumi records the user name that holds the stack's lock; the uid that OpenShift assigns has none.
        "USER": NAME,
        "XDG_CACHE_HOME": f"{WORK}/cache",
        "PULUMI_HOME": f"{WORK}/pulumi",
        "PULUMI_BACKEND_URL": schedule.backend,
    }
    container = {
        "name": NAME,
        "image": schedule.image,
        "imagePullPolicy": schedule.image_pull_policy,
        "args": [*command, *pack, "--file", "/etc/pruner/fleet.yaml", "--work", f"{WORK}/fleet"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "envFrom": [{"secretRef": {"name": schedule.object_name}}],
        "resources": schedule.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "fleet", "mountPath": "/etc/pruner", "readOnly": True},
            {"name": "work", "mountPath": WORK},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a folder of the container's own
        ],
    }
    placing = {
        name: value
        for name, value in (
            ("nodeSelector", dict(schedule.node_selector)),
            ("tolerations", list(schedule.tolerations)),
            ("affinity", dict(schedule.affinity)),
        )
        if value
    }
    return {
        "serviceAccountName": schedule.object_name,
        "automountServiceAccountToken": token,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "fleet", "configMap": {"name": schedule.object_name}},
            {"name": "work", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
        **placing,
    }
