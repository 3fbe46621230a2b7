"""Carrying out a plan: what it names and what may still go, in an order that loses nothing when it is interrupted anywhere."""

from pruner.apply.executor import apply_plan
from pruner.apply.result import Failure, Result

__all__ = ["Failure", "Result", "apply_plan"]
