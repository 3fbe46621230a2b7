"""The plan: what would be pruned, and why; previews show it, policies judge it, people approve it, apply executes it.

`PrunePlan` is the value, `encode` and `decode` are its file format, and an `Approval` is a plan as a limit.
"""

from pruner.plan.approval import Approval
from pruner.plan.file import (
    UNREADABLE,
    VERSION,
    PlanHeader,
    decode,
    decode_beginning,
    encode,
    encoded_lines,
    find,
    reason,
)
from pruner.plan.prune_plan import (
    DELETED,
    UNVERIFIED,
    DeletedStream,
    Moment,
    PrunedBlob,
    PrunedImage,
    PrunedRevision,
    PrunePlan,
    RetiredImage,
    RetirementEnd,
    StreamChange,
    Summary,
)

__all__ = [
    "DELETED",
    "UNREADABLE",
    "UNVERIFIED",
    "VERSION",
    "Approval",
    "DeletedStream",
    "Moment",
    "PlanHeader",
    "PrunePlan",
    "PrunedBlob",
    "PrunedImage",
    "PrunedRevision",
    "RetiredImage",
    "RetirementEnd",
    "StreamChange",
    "Summary",
    "decode",
    "decode_beginning",
    "encode",
    "encoded_lines",
    "find",
    "reason",
]
