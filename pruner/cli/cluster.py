"""What commands ask a cluster, with progress on a terminal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pruner.analysis import Analysis
from pruner.cli.output import console
from pruner.cluster.api import Api
from pruner.cluster.session import session
from pruner.cluster.snapshot import Progress, silent
from pruner.console import data
from pruner.planning import make_plan
from pruner.settings import Settings

T = TypeVar("T")


async def with_api(settings: Settings, work: Callable[[Api, Progress], Awaitable[T]]) -> T:
    """What the work with the cluster's API gives.

    What it tells of its progress is shown on standard error, on a terminal only.
    """
    shown = console(stderr=True)
    async with session(settings) as api:
        if not shown.is_terminal:
            return await work(api, silent)
        with shown.status("reading the cluster") as status:
            return await work(api, lambda message: status.update(data(message)))


async def analysis_of(settings: Settings) -> Analysis:
    """The plan for what the cluster has now, and what is known of the rest."""
    return await with_api(settings, lambda api, progress: make_plan(api, settings, progress=progress))
