"""Pruning on a schedule, inside the cluster: `PruneSchedule`, a component on pulumi-kubernetes, and `IndexedFleetJob` for many clusters.

The objects are made as plain values by `schedule_objects` and `fleet_job_objects`, which do no I/O, so that tests send the very
same ones to a real API server. The rights are the smallest with which a run can do all of its work: each one has a test that
fails without it. OpenShift's own ImagePruner can be taken over: `taken_over` maps its spec to settings and objects, and the
component suspends it and says so.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from importlib import metadata
from typing import Any, Final

import msgspec
import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.apiextensions import CustomResourcePatch

from pruner.cluster.leftovers import REGISTRY_NAMESPACE
from pruner.cluster.rights import Right, rights, rules
from pruner.errors import Problem, SettingsError
from pruner.settings import ALIASES, BY_NAME, may_hold_credentials
from pruner.suggestions import did_you_mean

Json = dict[str, Any]

NAME: Final = "pruner"
SERVICE_CA: Final = "/var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt"
"""What OpenShift puts beside a ServiceAccount's token: the authority of the integrated registry's certificate."""
SCHEDULE: Final = "0 0 * * *"
"""As OpenShift's ImagePruner has it: at midnight, UTC."""
WORK: Final = "/var/lib/pruner"
"""The folder that the container works in (Containerfile); an emptyDir."""
BACKEND: Final = f"file://{WORK}"
"""A folder that is there, as the engine demands."""
GRACE: Final = 60
"""Seconds that a run which is told to stop has to end cleanly. The time limit of a cluster is so much below that of its Job."""
PACK: Final = ("/opt/pruner/policies/run", "/etc/pruner/policies.json")
"""The policy pack in the image, and where its configuration is mounted."""

RESOURCES: Final[Json] = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}
"""Of the container: the CLI, its language host and the provider."""
SUSPENDED_BEFORE: Final = "pruner/suspended-before"
"""Annotation of the ImagePruner: whether somebody else had suspended it when it was taken over."""
FILES: Final = "pruner/files"
"""Annotation of the pods of a Job that is not scheduled: the digest of what they read. A Job with another pod template is another Job."""
IMAGE_PRUNER: Final = ("imageregistry.operator.openshift.io/v1", "ImagePruner", "cluster")
"""OpenShift's own: https://docs.openshift.com/container-platform/latest/applications/pruning-objects.html"""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """How pruning is scheduled. Times are seconds, `settings` are parameters of pruner.settings by name.

    `environment` becomes a Secret whose values are the container's environment: what `backend` needs, and what settings
    refer to as `{"env": NAME}`. With the default `backend` the passphrase may be left out: what it encrypts goes with the pod.
    """

    image: Any
    object_name: str = NAME
    """Of every object; another one for a second schedule in a cluster, since roles are the cluster's."""
    schedule: str = SCHEDULE
    settings: Json = {}
    environment: Mapping[str, Any] = {}
    namespace: str = NAME
    create_namespace: bool = True
    suspend: bool | None = None
    """None is what is taken over, or else false."""
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
    """Configuration of the policy pack, which judges every run where it is given, `{}` included (docs/policies.md)."""


# --- the rights --------------------------------------------------------------------------------------------------------


def cluster_rules(settings: Mapping[str, Any] | None = None) -> list[Json]:
    """The smallest rules of a ClusterRole with which pruning can do all of its work (pruner.cluster.rights)."""
    return rules(_needed(settings or {}))


def lease_rules() -> list[Json]:
    """The rules of a Role in the lease's namespace."""
    return rules(_needed({}), REGISTRY_NAMESPACE)


def _needed(given: Mapping[str, Any]) -> list[Right]:
    extra = given.get("extra_referrers")
    return rights(
        references=given.get("references") or "extended",
        prune_registry=bool(given.get("prune_registry", True)),
        extra_referrers=BY_NAME["extra_referrers"].parse(extra) if extra else (),
    )


# --- the objects -------------------------------------------------------------------------------------------------------


def schedule_objects(asked: Schedule) -> list[Json]:
    """Every object of a PruneSchedule, in the order in which they are made. Raises SettingsError for what would fail at night."""
    _check(asked)
    settings = dict(asked.settings)
    if settings.get("prune_registry", True) and not {"registry_ca_cert", "registry_url"} & settings.keys():
        settings.setdefault("registry_ca_cert", SERVICE_CA)
    limit = asked.deadline - GRACE
    fleet = {"clusters": [{"name": "cluster", "settings": settings}], "timeout": limit, "concurrency": 1}
    job = _job(asked, _UP, {"backoffLimit": 0}, token=True)
    return [
        *_namespace(asked),
        *_account(asked),
        *_rights(asked),
        _config_map(asked, _json(fleet)),
        _secret(asked),
        *_network_policy(asked),
        _cron_job(asked, job),
    ]


def fleet_job_objects(
    asked: Schedule, fleet: Any, shards: int, parallelism: int, *, scheduled: bool, wave: str | None = None
) -> list[Json]:
    """Every object of an IndexedFleetJob: `shards` workers, of which each takes its share of the fleet by its index.

    Jobs of a CronJob read the files as they are by then. A single Job has run, and is made anew where they change.
    """
    _check(asked)
    if shards < 1 or not 1 <= parallelism <= shards:
        raise SettingsError(
            [Problem("shards", f"takes at least 1, and 1 to as many at once, not {shards} and {parallelism}")]
        )
    command = [*_UP, "--shards", str(shards), *(["--wave", wave] if wave else [])]
    # Its clusters are others, each with its own credentials in fleet.yaml: it needs no token of this one.
    job = _job(asked, command, {"completions": shards, "parallelism": parallelism, **_BY_INDEX}, token=False)
    files = _config_map(asked, fleet)
    return [
        *_namespace(asked),
        *_account(asked),
        files,
        _secret(asked),
        *_network_policy(asked),
        _cron_job(asked, job) if scheduled else _single_job(asked, job, files["data"]),
    ]


_UP: Final = ("fleet", "up", "--json", "--unreviewed")
_BY_INDEX: Final[Json] = {
    "completionMode": "Indexed",
    # A worker whose share has a failing cluster does not end the others.
    "backoffLimitPerIndex": 1,
    "podFailurePolicy": {
        "rules": [
            # A node that is drained is no failure of the worker's.
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            # What is wrong in the file is so the second time.
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [2]}},
        ]
    },
}
_FILES: Final = frozenset({"ca_cert", "client_cert", "client_key", "registry_ca_cert", "kubeconfig"})
"""Parameters whose files are the container's."""
_OURS: Final = frozenset({"approved_plan", "report"})
"""Parameters that a fleet sets itself."""


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _check(asked: Schedule) -> None:
    """What a run would refuse: names and values of settings, and secrets among what goes into a ConfigMap."""
    problems = [
        Problem(name, wrong) for name, value in asked.settings.items() if (wrong := _wrong(name, value)) is not None
    ]
    if asked.deadline < 2 * GRACE:
        problems.append(Problem("deadline", f"takes at least {2 * GRACE} seconds, not {asked.deadline}"))
    if problems:
        raise SettingsError(problems)


def _wrong(name: str, value: Any) -> str | None:
    parameter = BY_NAME.get(ALIASES.get(name, name))
    if parameter is None:
        return f"there is no such parameter{did_you_mean(name, [*BY_NAME, *ALIASES])}"
    if parameter.name in _OURS:
        return "is set by each run itself"
    if _refers(value):
        return None
    if parameter.secret or (parameter.name in _FILES and may_hold_credentials(value)):
        return 'a secret does not go into a ConfigMap; give {"env": NAME}, and NAME in environment'
    return None if parameter.name in _FILES else parameter.objection(value)


def _refers(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return value.keys() <= {"env", "file"} or all(name == "user_agent" or _refers(part) for name, part in value.items())


def _selector(asked: Schedule) -> Json:
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": asked.object_name}


def _labels(asked: Schedule) -> Json:
    return {**_selector(asked), "app.kubernetes.io/managed-by": "pulumi", **asked.labels}


def _meta(asked: Schedule, name: str = "", *, namespace: str | None = "") -> Json:
    """Metadata of an object in the schedule's namespace, in another one, or (None) in none."""
    where = {} if namespace is None else {"namespace": namespace or asked.namespace}
    return {"name": name or asked.object_name, **where, "labels": _labels(asked)}


def _namespace(asked: Schedule) -> list[Json]:
    if not asked.create_namespace:
        return []
    meta = _meta(asked, asked.namespace, namespace=None)
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    meta["labels"] = {**meta["labels"], **restricted}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}]


def _account(asked: Schedule) -> list[Json]:
    meta = _meta(asked)
    return [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta, "automountServiceAccountToken": False}]


def _rights(asked: Schedule) -> list[Json]:
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "ServiceAccount", "name": asked.object_name, "namespace": asked.namespace}]
    wide, near = _meta(asked, namespace=None), _meta(asked, namespace=REGISTRY_NAMESPACE)
    api = f"{group}/v1"
    return [
        {"apiVersion": api, "kind": "ClusterRole", "metadata": wide, "rules": cluster_rules(asked.settings)},
        {
            "apiVersion": api,
            "kind": "ClusterRoleBinding",
            "metadata": wide,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": asked.object_name},
            "subjects": subjects,
        },
        {"apiVersion": api, "kind": "Role", "metadata": near, "rules": lease_rules()},
        {
            "apiVersion": api,
            "kind": "RoleBinding",
            "metadata": near,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": asked.object_name},
            "subjects": subjects,
        },
    ]


def _config_map(asked: Schedule, fleet: Any) -> Json:
    files = {"fleet.yaml": fleet, **({} if asked.policies is None else {"policies.json": _json(asked.policies)})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(asked), "data": files}


def _secret(asked: Schedule) -> Json:
    values = dict(asked.environment)
    if asked.backend == BACKEND:
        values.setdefault("PULUMI_CONFIG_PASSPHRASE", "")
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _meta(asked), "type": "Opaque", "stringData": values}


def _network_policy(asked: Schedule) -> list[Json]:
    """Nothing comes in; names are looked up, and the API server and the registry reached, by port, since addresses are not known."""
    if not asked.network_policy:
        return []
    lookups = [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")]
    services = [{"protocol": "TCP", "port": port} for port in asked.egress_ports]
    spec = {
        "podSelector": {"matchLabels": _selector(asked)},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [{"ports": lookups}, {"ports": services}],
    }
    meta = _meta(asked)
    return [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}]


def _cron_job(asked: Schedule, job: Json) -> Json:
    spec = {
        "schedule": asked.schedule,
        "suspend": bool(asked.suspend),
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": asked.starting_deadline,
        "successfulJobsHistoryLimit": asked.successful_jobs,
        "failedJobsHistoryLimit": asked.failed_jobs,
        "jobTemplate": {"metadata": {"labels": _labels(asked)}, "spec": job},
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": _meta(asked), "spec": spec}


def _job(asked: Schedule, command: Sequence[str], more: Json, *, token: bool) -> Json:
    pod = {"metadata": {"labels": _labels(asked)}, "spec": _pod(asked, command, token=token)}
    return {"activeDeadlineSeconds": asked.deadline, **more, "template": pod}


def _single_job(asked: Schedule, job: Json, files: Json) -> Json:
    """A Job with the digest of its files, which is an output where one of their contents is."""
    plain = all(isinstance(content, str) for content in files.values())
    job["template"]["metadata"]["annotations"] = {
        FILES: _digest_of(files) if plain else pulumi.Output.from_input(files).apply(_digest_of)
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _meta(asked), "spec": job}


def _digest_of(files: Json) -> str:
    return f"sha256:{hashlib.sha256(msgspec.json.encode(files)).hexdigest()}"


def _pod(asked: Schedule, command: Sequence[str], *, token: bool) -> Json:
    """Restricted by the Pod Security Standards; all that it writes is in two emptyDirs and goes with it."""
    pack = [] if asked.policies is None else ["--policy-pack", PACK[0], "--policy-pack-config", PACK[1]]
    environment = {
        "HOME": WORK,
        # The engine wants a name for whoever holds the stack's lock, and a number that OpenShift has chosen has none.
        "USER": NAME,
        "XDG_CACHE_HOME": f"{WORK}/cache",
        "PULUMI_HOME": f"{WORK}/pulumi",
        "PULUMI_BACKEND_URL": asked.backend,
    }
    container = {
        "name": NAME,
        "image": asked.image,
        "imagePullPolicy": asked.image_pull_policy,
        "args": [*command, *pack, "--file", "/etc/pruner/fleet.yaml", "--work", f"{WORK}/fleet"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "envFrom": [{"secretRef": {"name": asked.object_name}}],
        "resources": asked.resources,
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
            ("nodeSelector", dict(asked.node_selector)),
            ("tolerations", list(asked.tolerations)),
            ("affinity", dict(asked.affinity)),
        )
        if value
    }
    return {
        "serviceAccountName": asked.object_name,
        "automountServiceAccountToken": token,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "fleet", "configMap": {"name": asked.object_name}},
            {"name": "work", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
        **placing,
    }


# --- OpenShift's own ----------------------------------------------------------------------------------------------------


class TakenOver(msgspec.Struct, frozen=True):
    """What an ImagePruner asks for, in our terms. `notes` say what has no counterpart."""

    settings: Json
    schedule: Json
    notes: tuple[str, ...] = ()

    def applied_to(self, asked: Schedule) -> Schedule:
        """The schedule, with what the ImagePruner says for whatever it leaves open."""
        open_ = {name: value for name, value in self.schedule.items() if getattr(asked, name) == _default(name)}
        return msgspec.structs.replace(asked, settings={**self.settings, **asked.settings}, **open_)


def _default(name: str) -> Any:
    return getattr(Schedule(image=""), name)


def taken_over(spec: Mapping[str, Any]) -> TakenOver:
    """Map the spec of an `imagepruners.imageregistry.operator.openshift.io`. Raises SettingsError for a duration that is none."""
    settings: Json = {}
    notes: list[str] = []
    if spec.get("keepTagRevisions") is not None:
        settings["keep_tag_revisions"] = int(spec["keepTagRevisions"])
    if spec.get("keepYoungerThanDuration"):
        settings["keep_younger_than"] = _minutes(str(spec["keepYoungerThanDuration"]))
    elif spec.get("keepYoungerThan"):
        # Nanoseconds, as Go counts; deprecated there.
        settings["keep_younger_than"] = math.ceil(float(spec["keepYoungerThan"]) / 60e9)
    if spec.get("ignoreInvalidImageReferences"):
        settings["ignore_invalid_refs"] = True
    schedule = {
        ours: spec[theirs] for theirs, ours in _COUNTERPARTS.items() if spec.get(theirs) not in (None, "", {}, [])
    }
    for name in ("successful_jobs", "failed_jobs"):
        if name in schedule:
            schedule[name] = int(schedule[name])
    if "tolerations" in schedule:
        schedule["tolerations"] = tuple(schedule["tolerations"])
    notes.extend(
        f"{name} has no counterpart and is left out"
        for name in ("logLevel",)
        if spec.get(name) not in (None, "", "Normal")
    )
    unknown = sorted(spec.keys() - _COUNTERPARTS.keys() - _MAPPED)
    notes.extend(f"{name} is not known and is left out" for name in unknown)
    return TakenOver(settings, schedule, tuple(notes))


_COUNTERPARTS: Final = {
    "schedule": "schedule",
    "suspend": "suspend",
    "successfulJobsHistoryLimit": "successful_jobs",
    "failedJobsHistoryLimit": "failed_jobs",
    "nodeSelector": "node_selector",
    "tolerations": "tolerations",
    "affinity": "affinity",
    "resources": "resources",
}
_MAPPED: Final = frozenset(
    {"keepTagRevisions", "keepYoungerThan", "keepYoungerThanDuration", "ignoreInvalidImageReferences", "logLevel"}
)
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _minutes(duration: str) -> int:
    """A duration of Go, such as `1h30m`, in minutes, rounded up: rather a minute too careful."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|h|m|s)", duration)
    if duration == "0":
        return 0
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise SettingsError([Problem("keepYoungerThanDuration", f"{duration!r} is no duration like 60m or 1h30m")])
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return math.ceil(round(timedelta(seconds=seconds).total_seconds() / 60, 6))


# --- the components -----------------------------------------------------------------------------------------------------

_KINDS: Final[Mapping[str, Callable[..., pulumi.CustomResource]]] = {
    "Namespace": kubernetes.core.v1.Namespace,
    "ServiceAccount": kubernetes.core.v1.ServiceAccount,
    "ConfigMap": kubernetes.core.v1.ConfigMap,
    "Secret": kubernetes.core.v1.Secret,
    "ClusterRole": kubernetes.rbac.v1.ClusterRole,
    "ClusterRoleBinding": kubernetes.rbac.v1.ClusterRoleBinding,
    "Role": kubernetes.rbac.v1.Role,
    "RoleBinding": kubernetes.rbac.v1.RoleBinding,
    "NetworkPolicy": kubernetes.networking.v1.NetworkPolicy,
    "CronJob": kubernetes.batch.v1.CronJob,
    "Job": kubernetes.batch.v1.Job,
}


class PruneSchedule(pulumi.ComponentResource):
    """A CronJob that prunes the cluster it runs in, with everything that it needs.

    Given:
        image: the container image (see the Containerfile).
        take_over: suspend OpenShift's ImagePruner, and use its settings where none are given here. True reads them from the cluster; a
            mapping is its spec, as somebody has read it. Where it was suspended before, so is the CronJob, unless `suspend` says otherwise.
        options: the other fields of `Schedule`.

    Raises SettingsError for settings that are none, and for secrets among them.
    """

    message: pulumi.Output[str]
    """What was taken over, and how to go back; empty where nothing was."""

    def __init__(
        self,
        name: str,
        image: pulumi.Input[str],
        *,
        take_over: bool | Mapping[str, Any] = False,
        opts: pulumi.ResourceOptions | None = None,
        **options: Any,
    ) -> None:
        super().__init__("pruner:index:PruneSchedule", name, {}, opts)
        asked = Schedule(image=image, **options)
        if take_over is False:
            _make(self, name, schedule_objects(asked))
            self.message = pulumi.Output.from_input("")
        else:
            spec = _spec_of_image_pruner(self, name) if take_over is True else pulumi.Output.from_input(take_over)
            found = spec.apply(taken_over)
            # Kinds and names are the same whatever the ImagePruner says; the rest is known when it has been read.
            known = found.apply(lambda it: schedule_objects(it.applied_to(asked)))
            made = _make(self, name, schedule_objects(asked), known)
            _suspend(self, name, made, found)
            self.message = found.apply(lambda it: _told(it, it.applied_to(asked)))
            self.message.apply(lambda text: pulumi.log.info(text, resource=self))
        self.register_outputs({"message": self.message})


class IndexedFleetJob(pulumi.ComponentResource):
    """A Job whose workers prune a fleet together, each the share that its completion index says.

    Given:
        image: the container image.
        fleet: the content of fleet.yaml. Its secrets are `{env: NAME}` with NAME in `environment`. When it changes, or `policies` do, the
            Job is made anew, and prunes again.
        shards: workers; parallelism: of these at once.
        wave: prune this wave of the fleet only. Workers do not know of each other: a fleet with waves takes a Job for each, in their order
            by `depends_on`, and without a wave its workers refuse to begin.
        options: the other fields of `Schedule`; with `schedule` it is a CronJob that makes such Jobs.
    """

    def __init__(
        self,
        name: str,
        image: pulumi.Input[str],
        fleet: pulumi.Input[str],
        *,
        shards: int,
        parallelism: int | None = None,
        wave: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
        **options: Any,
    ) -> None:
        super().__init__("pruner:index:IndexedFleetJob", name, {}, opts)
        asked = Schedule(image=image, **options)
        scheduled = "schedule" in options
        objects = fleet_job_objects(asked, fleet, shards, parallelism or shards, scheduled=scheduled, wave=wave)
        _make(self, name, objects)
        self.register_outputs({})


class _ImagePruner(pulumi.CustomResource):
    """The cluster's, as it is. `CustomResource.get` of pulumi-kubernetes gives no fields in Python."""

    spec: pulumi.Output[Any]
    metadata: pulumi.Output[Any]

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        version, kind, found = IMAGE_PRUNER
        read = pulumi.ResourceOptions(id=found, version=metadata.version("pulumi-kubernetes"))
        super().__init__(
            f"kubernetes:{version}:{kind}",
            name,
            {"spec": None, "metadata": None},
            pulumi.ResourceOptions.merge(opts, read),
        )


def _spec_of_image_pruner(component: pulumi.ComponentResource, name: str) -> pulumi.Output[Json]:
    """What the cluster's ImagePruner asks for; whether it is suspended is that of before it was this component that did it."""
    read = _ImagePruner(f"{name}-imagepruner-read", pulumi.ResourceOptions(parent=component))
    return pulumi.Output.all(read.spec, read.metadata).apply(lambda it: _as_it_was(*it))


def _as_it_was(spec: Json | None, metadata: Json | None) -> Json:
    before = ((metadata or {}).get("annotations") or {}).get(SUSPENDED_BEFORE)
    suspended = (spec or {}).get("suspend") if before is None else before == "true"
    return {**(spec or {}), "suspend": bool(suspended)}


def _make(
    component: pulumi.ComponentResource,
    name: str,
    objects: Sequence[Json],
    known_later: pulumi.Output[list[Json]] | None = None,
) -> list[pulumi.Resource]:
    """A resource for each object; those that come later depend on the namespace and the account, where these are made.

    What runs, the last one, depends on all others: it begins with the files and the rights that they have by then. With `known_later`
    everything but metadata is taken from there.
    """
    made: list[pulumi.Resource] = []
    for position, each in enumerate(objects):
        arguments = {
            _snake(key): value if known_later is None or key == "metadata" else _part(known_later, position, key)
            for key, value in each.items()
            if key not in ("apiVersion", "kind")
        }
        runs = position == len(objects) - 1
        opts = pulumi.ResourceOptions(parent=component, depends_on=[*made] if runs else made[:2])
        made.append(_KINDS[each["kind"]](f"{name}-{_dashed(each['kind'])}", opts=opts, **arguments))
    return made


def _part(objects: pulumi.Output[list[Json]], position: int, key: str) -> pulumi.Output[Any]:
    return objects.apply(lambda known: known[position][key])


def _suspend(
    component: pulumi.ComponentResource, name: str, made: Sequence[pulumi.Resource], found: pulumi.Output[TakenOver]
) -> None:
    """Suspend the ImagePruner once ours is there. Destroyed, the patch gives the field back, and it goes on."""
    version, kind, called = IMAGE_PRUNER
    before = found.apply(lambda it: str(bool(it.schedule.get("suspend"))).lower())
    meta = {"name": called, "annotations": {"pulumi.com/patchForce": "true", SUSPENDED_BEFORE: before}}
    opts = pulumi.ResourceOptions(parent=component, depends_on=list(made))
    CustomResourcePatch(f"{name}-imagepruner", version, kind, spec={"suspend": True}, metadata=meta, opts=opts)


def _told(found: TakenOver, asked: Schedule) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in sorted(found.settings.items())) or "its defaults"
    parts = [
        f"imagepruners.imageregistry.operator.openshift.io/{IMAGE_PRUNER[2]} is suspended, and CronJob "
        f"{asked.namespace}/{asked.object_name} prunes in its place, at {asked.schedule!r} with {settings}",
    ]
    if asked.suspend:
        parts.append("it was suspended before, and so is the CronJob; suspend=False has it prune")
    parts.extend(found.notes)
    return "; ".join(parts) + ". Destroying this component hands back to it."


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _dashed(name: str) -> str:
    return _snake(name).replace("_", "-")
