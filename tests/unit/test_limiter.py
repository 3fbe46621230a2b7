"""The limiter on concurrent requests, which gives way to a busy server."""

from __future__ import annotations

import asyncio

from pruner.http.limiter import Limiter


def test_no_more_than_workers_are_in_flight() -> None:
    async def run() -> int:
        limiter, in_flight, most = Limiter(3), 0, 0

        async def request() -> None:
            nonlocal in_flight, most
            async with limiter:
                in_flight += 1
                most = max(most, in_flight)
                await asyncio.sleep(0)
                in_flight -= 1
                limiter.observe(200)

        await asyncio.gather(*(request() for _ in range(20)))
        return most

    assert asyncio.run(run()) == 3


def test_places_are_given_in_order_and_none_is_lost_by_who_is_cancelled() -> None:
    async def run() -> list[int]:
        limiter, served = Limiter(1), list[int]()

        async def request(number: int) -> None:
            async with limiter:
                served.append(number)

        await limiter.__aenter__()
        tasks = [asyncio.create_task(request(number)) for number in range(5)]
        await asyncio.sleep(0)
        # The first is cancelled when it has been given its place, the third while it waits.
        tasks[2].cancel()
        await limiter.__aexit__(None, None, None)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait_for(request(5), 1)
        return served

    assert asyncio.run(run()) == [1, 3, 4, 5]


def test_a_busy_server_halves_the_bound_once_for_all_that_is_in_flight() -> None:
    async def run() -> Limiter:
        limiter = Limiter(8)

        async def refused() -> None:
            async with limiter:
                await asyncio.sleep(0)
                limiter.observe(429)

        await asyncio.gather(*(refused() for _ in range(8)))
        return limiter

    assert asyncio.run(run()).limit == 4


def test_the_bound_never_falls_below_one_and_comes_back_with_success() -> None:
    limiter = Limiter(4)
    for _ in range(20):
        limiter.observe(503)
    assert limiter.limit == 1
    for _ in range(20):
        limiter.observe(200)
    assert limiter.limit == 4
