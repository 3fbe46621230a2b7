"""The unlink journal in the Lease of runs: digests removed from image streams, whose links may be left.

The Images that are pruned lead to most links. When the item is removed whose Image is absent, is kept, or was pushed
elsewhere, nothing leads to its links any more. So a run writes such digests into an annotation of its Lease first
(pruner.apply.unlink_journal), and whoever reads the cluster next finds them here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from pruner.cluster.api import Api
from pruner.cluster.resources import LEASES, NAMESPACES
from pruner.errors import ForbiddenError, NotFoundError

LEASE: Final = "pruner"
REGISTRY_NAMESPACE: Final = "openshift-image-registry"
"""Where the Lease is; in a cluster without it, in `default`."""
ANNOTATION: Final = "pruner/unlinked"
"""A JSON object: digests by image stream, `namespace/name`."""

Unlinked = dict[str, frozenset[str]]
"""Digests that were removed from image streams, `namespace/name`, and whose links may be left."""

_STREAM: Final = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9._-]*")
_DIGEST: Final = re.compile(r"[A-Za-z0-9+._-]+:[A-Za-z0-9=_-]+")
"""An algorithm and an encoded part, as the OCI image specification has them."""

_decoder = msgspec.json.Decoder(dict[str, frozenset[str]])


async def lease_namespaces(api: Api) -> tuple[str, ...]:
    """Where the Lease is to be looked for, in this order: in one
    namespace, unless it cannot be seen whether that is there.
    """
    try:
        await api.get(NAMESPACES, dict, name=REGISTRY_NAMESPACE)
    except NotFoundError:
        return ("default",)
    except ForbiddenError:
        return (REGISTRY_NAMESPACE, "default")
    return (REGISTRY_NAMESPACE,)


async def find_unlinked(api: Api) -> Unlinked:
    """What an interrupted run has left; nothing where the Lease does not exist or cannot be read."""
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
    """What a Lease says was unlinked, without what no run can have written: others may write to Leases, too.

    What is ignored costs nothing but a link of 71 bytes; what is taken deletes a link only where the analysis finds
    that nothing needs it.
    """
    text = ((lease.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    try:
        found = _decoder.decode(text) if isinstance(text, str) else {}
    except (msgspec.DecodeError, ValueError):
        return {}
    valid = {stream: frozenset(well_formed(digests)) for stream, digests in found.items() if _STREAM.fullmatch(stream)}
    return {stream: digests for stream, digests in valid.items() if digests}


def well_formed(digests: Iterable[str]) -> Iterable[str]:
    """The digests among these names: of anything else there is no link."""
    return filter(_DIGEST.fullmatch, digests)


def written(unlinked: Mapping[str, Iterable[str]]) -> str:
    """The annotation's text, the same for the same digests; empty for none."""
    sorted_digests = {stream: sorted(digests) for stream, digests in sorted(unlinked.items()) if digests}
    return msgspec.json.encode(sorted_digests).decode() if sorted_digests else ""
