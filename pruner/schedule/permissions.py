"""The permissions that the schedule of a cluster grants to its runs: no more than its settings need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pruner.cluster.further_kinds import sources_of
from pruner.cluster.permissions import Permission, permissions_for, role_rules
from pruner.cluster.unlink_journal import REGISTRY_NAMESPACE
from pruner.settings import BY_NAME, References, RetentionRule

Json = dict[str, Any]


def cluster_rules(settings: Mapping[str, Any] | None = None) -> list[Json]:
    """The smallest rules of a ClusterRole that a run needs with these settings (pruner.cluster.permissions)."""
    return role_rules(_needed(settings or {}))


def lease_rules(settings: Mapping[str, Any] | None = None) -> list[Json]:
    """The rules of a Role in the namespace of the run lock and of the registry."""
    return role_rules(_needed(settings or {}), REGISTRY_NAMESPACE)


def _needed(given: Mapping[str, Any]) -> list[Permission]:
    extra = given.get("extra_referrers")
    references: References = "oc" if given.get("references") == "oc" else "extended"
    return permissions_for(
        references=references,
        prune_registry=bool(given.get("prune_registry", True)),
        sources=sources_of(references, BY_NAME["extra_referrers"].parse(extra) if extra else ()),
        selects=bool(given.get("protect_selector")),
        removes_tags=any(rule.can_expire for rule in _rules(given.get("retention"))),
        deletes_streams=bool(given.get("empty_streams")),
        restarts_registry=bool(given.get("restart_registry")),
        retires=retires(given),
    )


def retires(settings: Mapping[str, Any]) -> bool:
    """Whether these settings, as they are given, retire images before they are deleted (R36)."""
    grace = settings.get("grace")
    return grace not in (None, "") and (refers(grace) or bool(BY_NAME["grace"].parse(grace)))


def _rules(given: Any) -> tuple[RetentionRule, ...]:
    """The retention rules in a setting. A path names a file in the container, not known here: it may have any rule."""
    if isinstance(given, str) and not given.lstrip().startswith(("[", "{")):
        return (RetentionRule(name=given, keep_newest=0),)
    rules: tuple[RetentionRule, ...] = BY_NAME["retention"].parse(given) if given and not refers(given) else ()
    return rules


def refers(value: Any) -> bool:
    """Whether a value, or all parts of it, stand in the environment or in a file of the container."""
    if not isinstance(value, Mapping):
        return False
    return value.keys() <= {"env", "file"} or all(name == "user_agent" or refers(part) for name, part in value.items())
