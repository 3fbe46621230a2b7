"""Settings of the process that overlapping users change: the last one restores what the first one found."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.interpreter import no_search_for_cycles, short_turns

SETTINGS: dict[str, tuple[Callable[[], AbstractContextManager[None]], Callable[[], object]]] = {
    "garbage collection": (no_search_for_cycles, gc.isenabled),
    "switch interval": (short_turns, sys.getswitchinterval),
}


@pytest.mark.parametrize("setting", SETTINGS)
@given(order=st.permutations([0, 1, 2]))
def test_overlapping_users_restore_in_whatever_order_they_leave(setting: str, order: list[int]) -> None:
    change, current = SETTINGS[setting]
    before = current()
    users = [ExitStack() for _ in order]
    for user in users:
        user.enter_context(change())
        assert current() != before
    for leaving in order[:-1]:
        users[leaving].close()
        assert current() != before
    users[order[-1]].close()
    assert current() == before


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_error_inside_restores(setting: str) -> None:
    change, current = SETTINGS[setting]
    before = current()
    with pytest.raises(KeyError), change():
        raise KeyError
    assert current() == before


def test_garbage_collection_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with no_search_for_cycles():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
