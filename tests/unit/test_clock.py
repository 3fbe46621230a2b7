"""The API server's clock: which dates are believed, and by which of them ages are measured (R2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.cluster.clock import AGREEMENT, AHEAD, BEHIND, ServerClock
from pruner.errors import UnsafePlanError

SECOND = timedelta(seconds=1)
SLACK = 10 * SECOND
"""More than a test takes."""


def told(*ahead: timedelta | None) -> ServerClock:
    """A clock by answers that were so far ahead of this machine's."""
    clock = ServerClock("https://api")
    for each in ahead:
        clock.note(None if each is None else datetime.now(UTC) + each)
    return clock


@given(st.lists(st.timedeltas(min_value=SLACK - BEHIND, max_value=AHEAD - SLACK), min_size=1, max_size=5))
def test_dates_that_agree_are_believed_and_nothing_is_older_than_any_of_them_says_R2(ahead: list[timedelta]) -> None:
    clock = told(*ahead)
    if max(ahead) - min(ahead) > AGREEMENT:
        with pytest.raises(UnsafePlanError, match="its answers disagree about the time"):
            clock.now()
    else:
        assert clock.now() <= datetime.now(UTC) + min(ahead) + SECOND
        assert clock.now() >= datetime.now(UTC) + min(ahead) - SLACK


@given(st.datetimes(timezones=st.just(UTC)))
def test_any_other_date_ends_the_run_with_both_times_R2(date: datetime) -> None:
    clock, here = ServerClock("https://api"), datetime.now(UTC)
    clock.note(date)
    if here - BEHIND + SLACK < date < here + AHEAD - SLACK:
        clock.check()
    elif not here - BEHIND - SLACK < date < here + AHEAD + SLACK:
        for ask in (clock.now, clock.now_or_here, clock.check):
            with pytest.raises(UnsafePlanError, match=r"https://api: its clock says .* and this machine's clock says "):
                ask()


@pytest.mark.parametrize("date", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
def test_the_ends_of_all_dates_are_no_traceback_R2(date: datetime) -> None:
    clock = ServerClock("https://api")
    clock.note(date)
    for _ in range(3):
        with pytest.raises(UnsafePlanError, match="set the clock that is wrong"):
            clock.now()


def test_one_answer_that_differs_is_enough_R2() -> None:
    clock = told(timedelta(), timedelta(), -AGREEMENT - SECOND, timedelta())
    with pytest.raises(UnsafePlanError, match="synchronize the clocks of the API servers"):
        clock.now()


def test_without_any_date_no_age_is_known_R2() -> None:
    clock = told(None, None)
    with pytest.raises(
        UnsafePlanError, match=r"none of its answers has a Date header that can be read, .*or set as_of"
    ):
        clock.now()
    assert abs(clock.now_or_here() - datetime.now(UTC)) < SLACK
    clock.check(datetime.now(UTC))


def test_an_answer_without_a_date_says_nothing_R2() -> None:
    assert abs(told(None, timedelta(), None).now() - datetime.now(UTC)) < SLACK


def test_an_object_may_not_be_newer_than_the_clock_R2() -> None:
    clock = told(timedelta())
    clock.check(datetime.now(UTC) + AGREEMENT - SLACK, "image a")
    with pytest.raises(UnsafePlanError, match=r"its clock says .* UTC, and image a was created at .* UTC"):
        clock.check(datetime.now(UTC) + AGREEMENT + SLACK, "image a")
