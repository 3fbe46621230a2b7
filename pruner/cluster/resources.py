"""The kinds that pruning reads and writes, by group, version and plural name (R1, R10)."""

from __future__ import annotations

from typing import Final

import msgspec

from pruner.errors import ClusterError
from pruner.http.urls import path_segment


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
    def api_version(self) -> str:
        """As objects and lists say it: `image.openshift.io/v1`, or `v1` of the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """As the API server names it in messages and roles: `images.image.openshift.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL's path of the list, or of the object with this name: names are percent-encoded.

        Raises ClusterError for names that cannot stand in a path.
        """
        parts = [self.root]
        if namespace:
            parts += ["namespaces", self._segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(self._segment(name))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def object_path(self, namespace: str, name: str, subresource: str = "") -> str:
        """The URL's path of an object, in a namespace unless that is empty.

        Raises ClusterError for an empty name, which would address the list, and for others that cannot stand in a path.
        """
        self._segment(name)
        return self.path(namespace, name, subresource)

    def _segment(self, name: str) -> str:
        try:
            return path_segment(name)
        except ValueError as error:
            raise ClusterError(f"{self.name}: {error}, so no request is made with this name") from None


IMAGES: Final = Resource("image.openshift.io", "v1", "images", "Image")
IMAGE_STREAMS: Final = Resource("image.openshift.io", "v1", "imagestreams", "ImageStream")
LIMIT_RANGES: Final = Resource("", "v1", "limitranges", "LimitRange")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")

WORKLOADS: Final = (
    Resource("", "v1", "pods", "Pod"),
    Resource("", "v1", "replicationcontrollers", "ReplicationController"),
    Resource("apps", "v1", "daemonsets", "DaemonSet"),
    DEPLOYMENTS,
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

DIGEST_MIRROR_SETS: Final = Resource("config.openshift.io", "v1", "imagedigestmirrorsets", "ImageDigestMirrorSet")
TAG_MIRROR_SETS: Final = Resource("config.openshift.io", "v1", "imagetagmirrorsets", "ImageTagMirrorSet")
SOURCE_POLICIES: Final = Resource(
    "operator.openshift.io", "v1alpha1", "imagecontentsourcepolicies", "ImageContentSourcePolicy"
)
MIRROR_SETS: Final = (DIGEST_MIRROR_SETS, TAG_MIRROR_SETS, SOURCE_POLICIES)
"""What says that nodes pull an image from elsewhere than its name says (R38)."""

NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace")
CLUSTER_VERSIONS: Final = Resource("config.openshift.io", "v1", "clusterversions", "ClusterVersion")
IMAGE_PRUNERS: Final = Resource("imageregistry.operator.openshift.io", "v1", "imagepruners", "ImagePruner")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
