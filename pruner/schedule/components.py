"""Pulumi components that run pruner in a cluster: `PruneSchedule` for its own cluster, `IndexedFleetJob` for many."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, Final

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.apiextensions import CustomResourcePatch

from pruner.schedule.image_pruner import (
    IMAGE_PRUNER,
    SUSPENDED_BEFORE,
    TakenOver,
    original_spec,
    taken_over,
    takeover_message,
)
from pruner.schedule.manifests import Json, Schedule, files_digest, fleet_files, fleet_job_objects, schedule_objects
from pruner.schedule.permissions import retires

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
NOT_SUSPENDED: Final = (
    "grace is set, and the ImagePruner deletes retired images at once unless it is suspended; "
    "set take_over=True, or suspend it"
)


class PruneSchedule(pulumi.ComponentResource):
    """A CronJob that prunes the cluster it runs in, with its ServiceAccount, permissions and configuration.

    Args:
        image: the container image (see the Containerfile). take_over: suspend OpenShift's ImagePruner and use its
        settings for those not set here. True reads it from the cluster; a mapping
            is its spec. If the ImagePruner was already suspended, so is the CronJob, unless `suspend` says otherwise.
        options: the other fields of `Schedule`.

    Raises SettingsError for unknown or invalid settings, and for secrets in them.

    """

    message: pulumi.Output[str]
    """What was taken over and how to undo it; empty without `take_over`."""

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
        schedule = Schedule(image=image, **options)
        if take_over is False:
            _create(self, name, schedule_objects(schedule))
            self.message = pulumi.Output.from_input("")
            if retires(schedule.settings):
                pulumi.log.warn(NOT_SUSPENDED, resource=self)
        else:
            spec = _spec_of_image_pruner(self, name) if take_over is True else pulumi.Output.from_input(take_over)
            takeover = spec.apply(taken_over)
            # Kinds and names do not depend on the ImagePruner; the rest is known once it has been read.
            objects = takeover.apply(lambda it: schedule_objects(it.applied_to(schedule)))
            resources = _create(self, name, schedule_objects(schedule), objects)
            _suspend(self, name, resources, takeover)
            self.message = takeover.apply(lambda it: takeover_message(it, it.applied_to(schedule)))
            self.message.apply(lambda text: pulumi.log.info(text, resource=self))
        self.register_outputs({"message": self.message})


class IndexedFleetJob(pulumi.ComponentResource):
    """A Job whose workers prune a fleet together, each the share that its completion index selects.

    Args:
        image: the container image. fleet: the content of fleet.yaml. Its secrets are `{env: NAME}` with NAME in
        `environment`. The Job is replaced, and runs again,
            when `fleet` or `policies` change.
        shards: the number of workers. parallelism: how many of them run at the same time. wave: prune this wave of the
        fleet only. Workers do not know of each other, so a fleet with waves needs one Job per wave, ordered
            with `depends_on`; without `wave` its workers refuse to start.
        options: the other fields of `Schedule`; `schedule` makes it a CronJob.

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
        schedule = Schedule(image=image, **options)
        scheduled = "schedule" in options
        digest = pulumi.Output.from_input(fleet_files(schedule, fleet)).apply(files_digest)
        objects = fleet_job_objects(
            schedule, fleet, shards, parallelism or shards, scheduled=scheduled, wave=wave, digest=digest
        )
        _create(self, name, objects)
        self.register_outputs({})


class _ImagePruner(pulumi.CustomResource):
    """The cluster's ImagePruner, read only. `CustomResource.get` of pulumi-kubernetes returns no fields in Python."""

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
    """The spec of the cluster's ImagePruner, with the `suspend` that it had before this component suspended it."""
    read = _ImagePruner(f"{name}-imagepruner-read", pulumi.ResourceOptions(parent=component))
    return pulumi.Output.all(read.spec, read.metadata).apply(lambda it: original_spec(*it))


def _create(
    component: pulumi.ComponentResource,
    name: str,
    objects: Sequence[Json],
    resolved: pulumi.Output[list[Json]] | None = None,
) -> list[pulumi.Resource]:
    """A resource for each object; later ones depend on the namespace and the account.

    The last object is the one that runs, so it depends on all others. With `resolved`, everything except metadata comes
    from there.
    """
    resources: list[pulumi.Resource] = []
    for position, each in enumerate(objects):
        arguments = {
            _snake(key): value if resolved is None or key == "metadata" else _part(resolved, position, key)
            for key, value in each.items()
            if key not in ("apiVersion", "kind")
        }
        runs = position == len(objects) - 1
        opts = pulumi.ResourceOptions(parent=component, depends_on=[*resources] if runs else resources[:2])
        resources.append(_KINDS[each["kind"]](f"{name}-{_dashed(each['kind'])}", opts=opts, **arguments))
    return resources


def _part(objects: pulumi.Output[list[Json]], position: int, key: str) -> pulumi.Output[Any]:
    return objects.apply(lambda each: each[position][key])


def _suspend(
    component: pulumi.ComponentResource,
    name: str,
    resources: Sequence[pulumi.Resource],
    takeover: pulumi.Output[TakenOver],
) -> None:
    """Suspend the ImagePruner once the CronJob exists.

    Destroying the patch gives up the field. Unless somebody else has set it too, the API server removes it, and the
    ImagePruner resumes.
    """
    version, kind, called = IMAGE_PRUNER
    before = takeover.apply(lambda it: str(bool(it.options.get("suspend"))).lower())
    meta = {"name": called, "annotations": {"pulumi.com/patchForce": "true", SUSPENDED_BEFORE: before}}
    opts = pulumi.ResourceOptions(parent=component, depends_on=list(resources))
    CustomResourcePatch(f"{name}-imagepruner", version, kind, spec={"suspend": True}, metadata=meta, opts=opts)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _dashed(name: str) -> str:
    return _snake(name).replace("_", "-")
