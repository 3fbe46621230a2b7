"""The kinds that pruning reads and writes, by group, version and plural name (DECISIONS R1, R10)."""

from __future__ import annotations

from typing import Final

import msgspec


class Resource(msgspec.Struct, frozen=True):
    """A kind of the API. `kind` is empty where it does not matter."""

    group: str
    version: str
    plural: str
    kind: str = ""

    @property
    def root(self) -> str:
        """The path that all of the group's resources stand under."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def name(self) -> str:
        """As the API server names it in messages and roles: `images.image.openshift.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        parts = [self.root, *(["namespaces", namespace] if namespace else []), self.plural, name, subresource]
        return "/".join(part for part in parts if part)


IMAGES: Final = Resource("image.openshift.io", "v1", "images", "Image")
IMAGE_STREAMS: Final = Resource("image.openshift.io", "v1", "imagestreams", "ImageStream")
LIMIT_RANGES: Final = Resource("", "v1", "limitranges", "LimitRange")

WORKLOADS: Final = (
    Resource("", "v1", "pods", "Pod"),
    Resource("", "v1", "replicationcontrollers", "ReplicationController"),
    Resource("apps", "v1", "daemonsets", "DaemonSet"),
    Resource("apps", "v1", "deployments", "Deployment"),
    Resource("apps", "v1", "replicasets", "ReplicaSet"),
    Resource("apps", "v1", "statefulsets", "StatefulSet"),
    Resource("batch", "v1", "jobs", "Job"),
    Resource("batch", "v1", "cronjobs", "CronJob"),
    Resource("apps.openshift.io", "v1", "deploymentconfigs", "DeploymentConfig"),
    Resource("build.openshift.io", "v1", "buildconfigs", "BuildConfig"),
    Resource("build.openshift.io", "v1", "builds", "Build"),
)
"""What uses images (R1)."""

CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
"""What a DaemonSet or StatefulSet would roll back to: with the extended rules only (R10)."""

NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace")
CLUSTER_VERSIONS: Final = Resource("config.openshift.io", "v1", "clusterversions", "ClusterVersion")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
