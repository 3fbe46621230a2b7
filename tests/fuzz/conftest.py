"""Counts the examples of fuzz tests; the end of the test run
says how many there were of each target (tests/conftest.py).
"""

from collections.abc import Iterator

import pytest

from tests.fuzz import outcomes


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    outcomes.EXAMPLES.clear()
    yield
    assert outcomes.EXAMPLES, "a fuzz test counts its examples: outcomes.fuzzed(TARGET)"
    item.user_properties.extend(("fuzzed", (examples, target)) for target, examples in outcomes.EXAMPLES.items())
