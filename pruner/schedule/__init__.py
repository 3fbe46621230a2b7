"""Pruning on a schedule, from inside a cluster (docs/schedule.md). The components need the extra `schedule`."""

from typing import TYPE_CHECKING, Any

from pruner.schedule.manifests import Schedule, schedule_objects

if TYPE_CHECKING:
    from pruner.schedule.components import IndexedFleetJob, PruneSchedule

__all__ = ["IndexedFleetJob", "PruneSchedule", "Schedule", "schedule_objects"]


def __getattr__(name: str) -> Any:
    # The manifests are plain values; only the components need Pulumi's Kubernetes SDK.
    if name in ("IndexedFleetJob", "PruneSchedule"):
        try:
            from pruner.schedule import components  # noqa: PLC0415
        except ModuleNotFoundError as error:
            if error.name != "pulumi_kubernetes":
                raise
            raise ModuleNotFoundError(
                f"{name} needs pulumi-kubernetes: pip install 'pulumi-pruner[schedule]'", name=error.name
            ) from None
        return getattr(components, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
