"""ControllerRevisions: what DaemonSets and StatefulSets would roll back to (R10)."""

from __future__ import annotations

import msgspec

from pruner.cluster.resources import CONTROLLER_REVISIONS
from pruner.cluster.workloads import ControllerRevision, Referrer, RevisionData, Workload


def revision_referrer(revision: ControllerRevision) -> Referrer:
    """What a DaemonSet or StatefulSet would roll back to (R10)."""
    try:
        data = msgspec.json.decode(revision.data, type=RevisionData | None)
    except msgspec.ValidationError:
        # Another controller's, such as a virtual machine's preferences, in which the same names mean other things.
        # Those of DaemonSets and StatefulSets are always understood.
        data = None
    return Referrer(CONTROLLER_REVISIONS.kind, Workload(revision.metadata, data=data))
