"""Deciding, from a snapshot and the rules, what is pruned and why: values in, values out, no I/O, no clock.

`usage` finds what uses what, `history` decides revisions of tags, `images` decides images, `blobs` what of the registry
goes with them, and `analyse` puts the four together into an `Analysis`, whose `plan` is handed on.
"""

from pruner.analysis.prune import Analysis, analyse
from pruner.analysis.pullspec import InvalidPullSpecError, PullSpec, parse_pull_spec
from pruner.analysis.usage import Usage, find_usage

__all__ = ["Analysis", "InvalidPullSpecError", "PullSpec", "Usage", "analyse", "find_usage", "parse_pull_spec"]
