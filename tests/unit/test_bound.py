"""The bound on concurrent requests, which gives way to a busy server."""

from __future__ import annotations

import asyncio

from pruner.cluster.http import Bound


def test_no_more_than_workers_are_under_way() -> None:
    async def run() -> int:
        bound, under_way, most = Bound(3), 0, 0

        async def request() -> None:
            nonlocal under_way, most
            async with bound:
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0)
                under_way -= 1
                bound.learn(200)

        await asyncio.gather(*(request() for _ in range(20)))
        return most

    assert asyncio.run(run()) == 3


def test_a_busy_server_halves_the_bound_once_for_all_that_is_under_way() -> None:
    async def run() -> Bound:
        bound = Bound(8)

        async def refused() -> None:
            async with bound:
                await asyncio.sleep(0)
                bound.learn(429)

        await asyncio.gather(*(refused() for _ in range(8)))
        return bound

    assert asyncio.run(run()).limit == 4


def test_the_bound_never_falls_below_one_and_comes_back_with_success() -> None:
    bound = Bound(4)
    for _ in range(20):
        bound.learn(503)
    assert bound.limit == 1
    for _ in range(20):
        bound.learn(200)
    assert bound.limit == 4
