"""Who makes the requests, as the API server sees it, and which cluster answers them."""

from __future__ import annotations

from typing import Final

import msgspec

from pruner.cluster.api import Api
from pruner.cluster.metadata import Stated
from pruner.cluster.resources import CLUSTER_VERSIONS, NAMESPACES, Resource
from pruner.errors import ClusterError, ForbiddenError, NotFoundError

REVIEWS: Final = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
USERS: Final = Resource("user.openshift.io", "v1", "users", "User")


class Identity(msgspec.Struct, frozen=True):
    """A user's name and groups."""

    name: str
    groups: tuple[str, ...] = ()


class _UserInfo(msgspec.Struct, frozen=True):
    username: Stated
    groups: tuple[str, ...] | None = None


class _ReviewStatus(msgspec.Struct, frozen=True, rename="camel"):
    user_info: _UserInfo


class _Review(msgspec.Struct, frozen=True):
    status: _ReviewStatus


class _User(msgspec.Struct, frozen=True):
    class Metadata(msgspec.Struct, frozen=True):
        name: Stated

    metadata: Metadata
    groups: tuple[str, ...] | None = None


async def whoami(api: Api) -> Identity:
    """Who asks: by a SelfSubjectReview, or as OpenShift before 4.15 says it, by the user `~`.

    Raises ClusterError; UnauthorizedError where the credentials are nobody's.
    """
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": REVIEWS.kind}
    try:
        answer = await api.create(REVIEWS, body)
    except (NotFoundError, ForbiddenError):
        user = await api.get(USERS, _User, name="~")
        return Identity(user.metadata.name, user.groups or ())
    try:
        info = msgspec.convert(answer, _Review).status.user_info
    except msgspec.ValidationError as error:
        raise ClusterError(f"{api.server}: its SelfSubjectReview cannot be read: {error}") from None
    return Identity(info.username, info.groups or ())


class _Named(msgspec.Struct):
    class Metadata(msgspec.Struct, frozen=True):
        uid: str = ""

    class Spec(msgspec.Struct, frozen=True, rename={"cluster_id": "clusterID"}):
        cluster_id: str = ""

    metadata: Metadata = Metadata()
    spec: Spec = Spec()


async def identify(api: Api) -> str:
    """What a cluster is known by, whatever address it is reached at.

    OpenShift's cluster ID; else the uid of the namespace kube-system; else, where neither may be read, the server's
    address.
    """
    for resource, name in ((CLUSTER_VERSIONS, "version"), (NAMESPACES, "kube-system")):
        if resource == CLUSTER_VERSIONS and not await api.serves(resource):
            continue
        try:
            found = await api.get(resource, _Named, name=name)
        except (NotFoundError, ForbiddenError):
            continue
        identity = found.spec.cluster_id or found.metadata.uid
        if identity:
            return identity
    return api.server
