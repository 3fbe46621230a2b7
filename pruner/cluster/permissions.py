"""The permissions that pruning needs, each with what it is for, and the rules of a role that has them.

One list for everything: the doctor asks for each by an access review and prints the roles that are missing, and a
schedule's ServiceAccount gets these and no others. A test on a real kube-apiserver takes away one after the other and
expects a run to fail without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from pruner.cluster.resources import (
    CLUSTER_VERSIONS,
    DEPLOYMENTS,
    IMAGE_PRUNERS,
    IMAGE_STREAMS,
    IMAGES,
    LEASES,
    LIMIT_RANGES,
    MIRROR_SETS,
    NAMESPACES,
    Resource,
)
from pruner.cluster.snapshot import kinds_of
from pruner.cluster.unlink_journal import LEASE, REGISTRY_NAMESPACE
from pruner.settings import PodSource, References

REGISTRY: Final = "image-registry"
"""The Deployment of OpenShift's registry, in REGISTRY_NAMESPACE."""

Purpose = Literal["preview", "up", "advised"]
"""What fails without a permission; `advised` is what a run goes on without, and says so."""


class Permission(msgspec.Struct, frozen=True):
    """A verb on a resource, of all namespaces where none is named, and of all objects where none is."""

    purpose: Purpose
    verb: str
    resource: Resource
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def plural(self) -> str:
        """As roles name it, `imagestreams/status` with its subresource."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


RESTART: Final = Permission("up", "patch", DEPLOYMENTS, namespace=REGISTRY_NAMESPACE, name=REGISTRY)
"""What a rolling restart of the registry needs."""


def permissions_for(
    *,
    references: References,
    prune_registry: bool,
    sources: Iterable[PodSource],
    selects: bool = False,
    removes_tags: bool = False,
    deletes_streams: bool = False,
    restarts_registry: bool = False,
    retires: bool = False,
) -> list[Permission]:
    """All permissions for a preview and an up of these settings (R1, R3, R28). `sources` are the further kinds read.

    `selects` says that `protect_selector` is set (R18), `removes_tags` that a retention rule can remove an entry of
    `spec.tags` (R32), `deletes_streams` that empty image streams are deleted (R34), `restarts_registry` that
    `restart_registry` is set, `retires` that images are retired before they are deleted (R36).
    """
    extra = (Resource(source.group, source.version, source.resource) for source in sources)
    users = tuple(dict.fromkeys((*kinds_of(references), *extra)))
    layers = [Permission("advised", "get", IMAGE_STREAMS, "layers")] if prune_registry else []
    return [
        *(Permission("preview", "list", kind) for kind in (IMAGES, IMAGE_STREAMS, LIMIT_RANGES, *users)),
        *([Permission("preview", "list", NAMESPACES)] if selects else []),
        *(Permission("up", verb, IMAGES) for verb in ("get", "delete", *(["patch"] if retires else []))),
        Permission("up", "get", IMAGE_STREAMS),
        Permission("up", "update", IMAGE_STREAMS, "status"),
        *([Permission("up", "update", IMAGE_STREAMS)] if removes_tags else []),
        *([Permission("up", "delete", IMAGE_STREAMS)] if deletes_streams else []),
        *([RESTART] if restarts_registry and prune_registry else []),
        *(Permission("advised", "watch", kind) for kind in (IMAGES, IMAGE_STREAMS, *users)),
        *layers,
        *([Permission("advised", "get", IMAGE_PRUNERS, name="cluster")] if retires else []),
        Permission("advised", "get", CLUSTER_VERSIONS, name="version"),
        *(Permission("advised", "get", NAMESPACES, name=name) for name in ("kube-system", REGISTRY_NAMESPACE)),
        # A name cannot limit `create`, which is refused for one that is there.
        Permission("advised", "create", LEASES, namespace=REGISTRY_NAMESPACE),
        *(Permission("advised", verb, LEASES, namespace=REGISTRY_NAMESPACE, name=LEASE) for verb in ("get", "update")),
    ]


def permissions_elsewhere(*, references: References, sources: Iterable[PodSource]) -> list[Permission]:
    """The permissions in a cluster of `uses_from`, which is only read (R38). `sources` are the further kinds read."""
    extra = (Resource(source.group, source.version, source.resource) for source in sources)
    kinds = tuple(dict.fromkeys((*MIRROR_SETS, IMAGE_STREAMS, *kinds_of(references), *extra)))
    return [
        *(Permission("preview", "list", kind) for kind in kinds),
        *(Permission("advised", "watch", kind) for kind in kinds),
        Permission("advised", "get", CLUSTER_VERSIONS, name="version"),
        Permission("advised", "get", NAMESPACES, name="kube-system"),
    ]


def role_rules(permissions: Iterable[Permission], namespace: str = "") -> list[dict[str, Any]]:
    """The rules of a ClusterRole with the permissions in all namespaces, or of a Role with those in this one.

    Resources of a group that have the same verbs share a rule.
    """
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for permission in permissions:
        if permission.namespace == namespace:
            verbs.setdefault((permission.resource.group, permission.plural, permission.name), []).append(
                permission.verb
            )
    names: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, plural, name), of_it in verbs.items():
        names.setdefault((group, plural, tuple(dict.fromkeys(of_it))), []).append(name)
    resources: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, plural, of_them), called in names.items():
        resources.setdefault((group, of_them, tuple(filter(None, called))), []).append(plural)
    return [
        {
            "apiGroups": [group],
            "resources": plurals,
            "verbs": list(of_them),
            **({"resourceNames": list(called)} if called else {}),
        }
        for (group, of_them, called), plurals in resources.items()
    ]
