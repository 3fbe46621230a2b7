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


def test_places_are_given_in_order_and_none_is_lost_by_who_is_cancelled() -> None:
    async def run() -> list[int]:
        bound, served = Bound(1), list[int]()

        async def request(number: int) -> None:
            async with bound:
                served.append(number)

        await bound.__aenter__()
        tasks = [asyncio.create_task(request(number)) for number in range(5)]
        await asyncio.sleep(0)
        # The first is cancelled when it has been given its place, the third while it waits.
        tasks[2].cancel()
        await bound.__aexit__(None, None, None)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait_for(request(5), 1)
        return served

    assert asyncio.run(run()) == [1, 3, 4, 5]


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
