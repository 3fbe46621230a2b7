"""The objects that refer to images as reasons name them: `Kind namespace/name`, with the cluster if another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_ELSEWHERE: Final = " in cluster "
"""No kind and no name of an object has a blank in it."""


def in_cluster(user: str, cluster: str) -> str:
    """An object, `Kind namespace/name`, of another cluster."""
    return f"{user}{_ELSEWHERE}{cluster}"


def said(users: Sequence[str], most: int | None = None, verb: str = "referenced by") -> str:
    """`referenced by Pod a/b and used in cluster kiel by Deployment c/d`. At most `most` objects are named."""
    by_cluster: dict[str, list[str]] = {"": []}
    for user in users[:most]:
        name, _, cluster = user.partition(_ELSEWHERE)
        by_cluster.setdefault(cluster, []).append(name)
    own = by_cluster.pop("")
    parts = [f"{verb} {', '.join(own)}"] if own else []
    parts += [f"used in cluster {cluster} by {', '.join(names)}" for cluster, names in by_cluster.items()]
    left_out = len(users) - len(users[:most])
    if left_out:
        parts.append(f"{left_out} more")
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
