"""Access reviews: whether whoever makes the requests may do something (SelfSubjectAccessReview)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pruner.cluster.resources import Resource
from pruner.errors import ClusterError

ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")


class _Status(msgspec.Struct, frozen=True):
    allowed: bool


class _Review(msgspec.Struct, frozen=True):
    status: _Status


def review_of(verb: str, resource: Resource, *, subresource: str, namespace: str, name: str) -> dict[str, Any]:
    """The review to create for a verb on a resource."""
    attributes = {
        "verb": verb,
        "group": resource.group,
        "resource": resource.plural,
        "subresource": subresource,
        "namespace": namespace,
        "name": name,
    }
    return {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.kind,
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }


def allowed_by(review: dict[str, Any], server: str) -> bool:
    """What a created review says. Raises ClusterError where it says neither yes nor no."""
    try:
        return msgspec.convert(review, _Review).status.allowed
    except msgspec.ValidationError as error:
        raise ClusterError(
            f"{server}: the answer to a SelfSubjectAccessReview says neither yes nor no ({error}); give the address of "
            "the API as host"
        ) from None
