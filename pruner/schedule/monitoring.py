"""What a scheduled run needs to ask the cluster's own monitoring what ran (R39)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pruner.settings import BY_NAME, HISTORY, is_secret

Json = dict[str, Any]


def monitoring_binding(meta: Json, settings: Mapping[str, Any], subjects: list[Json]) -> list[Json]:
    """The ClusterRoleBinding that lets the ServiceAccount query it; none where a token is given, or nobody asks."""
    history = settings.get(HISTORY)
    if not isinstance(history, Mapping) or history.get("token") is not None:
        return []
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-monitoring-view"}
    binding = {"kind": "ClusterRoleBinding", "metadata": meta, "roleRef": role, "subjects": subjects}
    return [{"apiVersion": f"{group}/v1", **binding}]


def history_objection(value: Any) -> str | None:
    """What is wrong with `usage_history` in a schedule's settings, which go into a ConfigMap; None if nothing is.

    What refers to the environment, or is a file in the container, is not known here.
    """
    if isinstance(value, Mapping):
        value = {key: part for key, part in value.items() if key != "ca_cert" and not isinstance(part, Mapping)}
    if is_secret(HISTORY, value):
        return 'a token does not go into a ConfigMap; give {"env": NAME} as token, and NAME in environment'
    return BY_NAME[HISTORY].objection(value)
