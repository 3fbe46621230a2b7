"""Retries: which failures, how often, and how long is waited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from pruner.http.failures import TransportError
from pruner.http.response import Response
from pruner.http.retry import TRANSIENT_STATUSES, RetryPolicy

AT_ONCE = RetryPolicy(first_wait=0)


def response(status: int, **headers: str) -> Response:
    return Response(
        status, CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): headers[name] for name in headers})), b""
    )


class Server:
    """Gives the outcomes one after the other, and the last one for ever."""

    def __init__(self, *outcomes: Response | Exception) -> None:
        self.outcomes = list(outcomes)
        self.requests = 0

    async def send(self) -> Response:
        self.requests += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.mark.parametrize("status", sorted(TRANSIENT_STATUSES))
async def test_a_busy_server_is_asked_five_times_and_its_last_response_is_returned(status: int) -> None:
    server = Server(response(status))
    assert (await AT_ONCE.run(server.send)).status == status
    assert server.requests == 5


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 403, 404, 409, 410, 501])
async def test_other_responses_are_final(status: int) -> None:
    server = Server(response(status))
    assert (await AT_ONCE.run(server.send)).status == status
    assert server.requests == 1


async def test_a_transient_failure_is_retried_and_may_pass() -> None:
    server = Server(TransportError("reset", transient=True), response(503), response(200))
    assert (await AT_ONCE.run(server.send)).status == 200
    assert server.requests == 3


@pytest.mark.parametrize(("transient", "requests"), [(True, 5), (False, 1)])
async def test_a_failure_that_stays_is_raised(transient: bool, requests: int) -> None:
    server = Server(TransportError("broken", transient=transient))
    with pytest.raises(TransportError, match="broken"):
        await AT_ONCE.run(server.send)
    assert server.requests == requests


async def test_whatever_else_is_raised_is_not_retried() -> None:
    server = Server(KeyError("withdrawn"))
    with pytest.raises(KeyError):
        await AT_ONCE.run(server.send)
    assert server.requests == 1


@given(st.integers(1, 1000), st.none() | st.floats(0, allow_nan=False))
def test_waits_are_bounded_whatever_the_server_asks(attempt: int, retry_after: float | None) -> None:
    assert 0 <= RetryPolicy().wait(attempt, retry_after) <= 30


def test_retry_after_is_obeyed_up_to_the_bound() -> None:
    policy = RetryPolicy()
    assert policy.wait(1, response(429, Retry_After="7").retry_after) == 7
    assert policy.wait(1, response(429, Retry_After="9" * 400).retry_after) == 30
    assert response(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT").retry_after is None
