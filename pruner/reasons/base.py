"""What all reasons share: a rule, and whether they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import msgspec

if TYPE_CHECKING:
    from pruner.reasons.reason import Reason
    from pruner.reasons.stream_reason import StreamReason


class _Reason(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """What all reasons share.

    `rule` is the number of a rule of docs/rules.md, or `approval` for the limit of an approved plan.
    """

    rule: ClassVar[str]
    kept: ClassVar[bool]

    def __str__(self) -> str:
        from pruner.reasons.wording import sentence  # noqa: PLC0415 - the words match on the types of this module

        return f"{sentence(cast('Reason | StreamReason', self))} ({self.rule})"


class Kept(_Reason, frozen=True, gc=False):
    kept: ClassVar[bool] = True


class Pruned(_Reason, frozen=True, gc=False):
    kept: ClassVar[bool] = False
