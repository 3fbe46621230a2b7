"""Carrying out a plan: what it names and what may still go, in
an order that loses nothing when it is interrupted anywhere.
"""

from typing import TYPE_CHECKING, Any

from pruner.apply.result import Failure, Result

if TYPE_CHECKING:
    from pruner.apply.executor import apply_plan

__all__ = ["Failure", "Result", "apply_plan"]


def __getattr__(name: str) -> Any:
    # Reports and policies look at results, and need no connection to a cluster.
    if name == "apply_plan":
        from pruner.apply.executor import apply_plan  # noqa: PLC0415

        return apply_plan
    raise AttributeError(name)
