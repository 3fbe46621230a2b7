"""
The kinds the sandbox serves: one table of group, version, plural, kind and scope, from which discovery, routing and
storage follow. A group can be left out and a resource added when the sandbox starts, since a cluster without
DeploymentConfigs or with Argo Rollouts is as ordinary as one without.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as discovery names it. The core group is the empty text."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    custom: bool = False
    verbs: tuple[str, ...] = VERBS

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The name in messages: `images.image.openshift.io`, but `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def key(self) -> str:
        """Names the resource in the saved file: `image.openshift.io/v1/images`, `v1/pods`."""
        return f"{self.api_version}/{self.plural}"


def _core(plural: str, kind: str, *, namespaced: bool = True, has_status: bool = False) -> Resource:
    return Resource("", "v1", plural, kind, namespaced, has_status)


def _image(plural: str, kind: str, *verbs: str) -> Resource:
    return Resource("image.openshift.io", "v1", plural, kind, verbs=verbs)


NAMESPACES = _core("namespaces", "Namespace", namespaced=False, has_status=True)
IMAGES = Resource("image.openshift.io", "v1", "images", "Image", namespaced=False)
IMAGE_STREAMS = Resource("image.openshift.io", "v1", "imagestreams", "ImageStream", has_status=True)
MAPPINGS = _image("imagestreammappings", "ImageStreamMapping", "create")
STREAM_IMAGES = _image("imagestreamimages", "ImageStreamImage", "get")
STREAM_TAGS = _image("imagestreamtags", "ImageStreamTag", "get")
CLUSTER_VERSIONS = Resource("config.openshift.io", "v1", "clusterversions", "ClusterVersion", False, has_status=True)
SELF_REVIEWS = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=("create",)
)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=("create",)
)
USERS = Resource("user.openshift.io", "v1", "users", "User", False, verbs=("get",))

VIRTUAL = (MAPPINGS, STREAM_IMAGES, STREAM_TAGS, SELF_REVIEWS, ACCESS_REVIEWS, USERS)
"""Resources that are computed, not stored."""

BUILT_IN: tuple[Resource, ...] = (
    NAMESPACES,
    _core("pods", "Pod", has_status=True),
    _core("replicationcontrollers", "ReplicationController", has_status=True),
    _core("limitranges", "LimitRange"),
    _core("configmaps", "ConfigMap"),
    _core("secrets", "Secret"),
    Resource("apps", "v1", "deployments", "Deployment", has_status=True),
    Resource("apps", "v1", "daemonsets", "DaemonSet", has_status=True),
    Resource("apps", "v1", "replicasets", "ReplicaSet", has_status=True),
    Resource("apps", "v1", "statefulsets", "StatefulSet", has_status=True),
    Resource("apps", "v1", "controllerrevisions", "ControllerRevision"),
    Resource("batch", "v1", "jobs", "Job", has_status=True),
    Resource("batch", "v1", "cronjobs", "CronJob", has_status=True),
    Resource("coordination.k8s.io", "v1", "leases", "Lease"),
    Resource("apps.openshift.io", "v1", "deploymentconfigs", "DeploymentConfig", has_status=True),
    Resource("build.openshift.io", "v1", "buildconfigs", "BuildConfig"),
    Resource("build.openshift.io", "v1", "builds", "Build"),
    IMAGES,
    IMAGE_STREAMS,
    CLUSTER_VERSIONS,
    Resource("config.openshift.io", "v1", "imagedigestmirrorsets", "ImageDigestMirrorSet", False, has_status=True),
    Resource("config.openshift.io", "v1", "imagetagmirrorsets", "ImageTagMirrorSet", False, has_status=True),
    Resource("operator.openshift.io", "v1alpha1", "imagecontentsourcepolicies", "ImageContentSourcePolicy", False),
    *VIRTUAL,
)


def parse_resource(text: str) -> Resource:
    """
    A further resource, written `GROUP/VERSION/PLURAL/KIND` (`argoproj.io/v1alpha1/rollouts/Rollout`); a `!` before it
    makes it cluster-scoped. ValueError for anything else.
    """
    parts = text.removeprefix("!").split("/")
    if len(parts) != 4 or not all(parts):
        raise ValueError(f"{text!r} is not GROUP/VERSION/PLURAL/KIND")
    group, version, plural, kind = parts
    return Resource(group, version, plural, kind, not text.startswith("!"), has_status=True, custom=True)


class Catalogue:
    """The resources that this sandbox has."""

    def __init__(self, without_groups: Iterable[str] = (), further: Iterable[Resource] = ()) -> None:
        left_out = set(without_groups)
        served = [resource for resource in (*BUILT_IN, *further) if resource.group not in left_out]
        self._by_path = {(resource.group, resource.version, resource.plural): resource for resource in served}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_path.get((group, version, plural))

    def named(self, group: str, plural: str) -> Resource | None:
        """The resource of any version."""
        return next((resource for resource in self if (resource.group, resource.plural) == (group, plural)), None)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_path.values())

    def groups(self) -> dict[str, list[str]]:
        """Versions by group, the core group left out."""
        found: dict[str, list[str]] = {}
        for resource in self:
            if resource.group and resource.version not in found.setdefault(resource.group, []):
                found[resource.group].append(resource.version)
        return found
