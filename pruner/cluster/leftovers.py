"""The Lease of runs, and what it tells of an interrupted one: items were removed from image streams, and links may be left.

Of most links the Images tell that are to go. Of an item whose Image is absent, or whose Image stays or was pushed elsewhere, nothing tells
any more once it is removed. So a run writes such digests into an annotation of its Lease before it removes them (pruner.apply.lease), and
whoever reads the cluster next finds them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from pruner.cluster.api import Api
from pruner.cluster.resources import LEASES, NAMESPACES
from pruner.errors import ClusterError, ForbiddenError, NotFoundError

LEASE: Final = "pruner"
REGISTRY_NAMESPACE: Final = "openshift-image-registry"
"""Where the Lease is; in a cluster without it, in `default`."""
ANNOTATION: Final = "pruner/unlinked"
"""A JSON object: digests by image stream, `namespace/name`."""

Unlinked = dict[str, frozenset[str]]
"""Digests that were removed from image streams, `namespace/name`, and whose links may be left."""

_decoder = msgspec.json.Decoder(dict[str, frozenset[str]])


async def lease_namespaces(api: Api) -> tuple[str, ...]:
    """Where the Lease is to be looked for, in this order: in one namespace, unless it cannot be seen whether that is there."""
    try:
        await api.get(NAMESPACES, dict, name=REGISTRY_NAMESPACE)
    except NotFoundError:
        return ("default",)
    except ForbiddenError:
        return (REGISTRY_NAMESPACE, "default")
    return (REGISTRY_NAMESPACE,)


async def find_unlinked(api: Api) -> Unlinked:
    """What an interrupted run has left; nothing where the Lease is not there or may not be read."""
    for namespace in await lease_namespaces(api):
        try:
            lease = await api.get(LEASES, dict, namespace=namespace, name=LEASE)
        except NotFoundError:
            continue
        except ForbiddenError:
            return {}
        return unlinked_in(lease)
    return {}


def unlinked_in(lease: Mapping[str, Any]) -> Unlinked:
    """What stands in a Lease. Raises ClusterError when it was not written by a run."""
    text = ((lease.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    if not text:
        return {}
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise ClusterError(
            f"Lease {LEASE}: its annotation {ANNOTATION} cannot be read ({error}); remove the annotation"
        ) from None


def written(unlinked: Mapping[str, Iterable[str]]) -> str:
    """The annotation's text, the same for the same digests; empty for none."""
    sorted_digests = {stream: sorted(digests) for stream, digests in sorted(unlinked.items()) if digests}
    return msgspec.json.encode(sorted_digests).decode() if sorted_digests else ""
