"""Event loops for programs that run on Pulumi's mocks, and caches that are empty when a test begins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pruner.analysis import pullspec, targets


@pytest.fixture(autouse=True)
def nothing_parsed_before() -> None:
    """What one test has had parsed must not hide a defect from the next one."""
    for remembered in (targets.target_of, targets.target_of_image_id, pullspec._parse_name):
        remembered.cache_clear()


@pytest.fixture
def event_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pulumi's mocks want the thread's event loop, make further ones, and leave them all open."""
    loops = [asyncio.new_event_loop()]
    asyncio.set_event_loop(loops[0])
    make = asyncio.new_event_loop

    def recorded() -> asyncio.AbstractEventLoop:
        loops.append(make())
        return loops[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", recorded)
    yield
    asyncio.set_event_loop(None)
    for loop in loops:
        loop.close()
