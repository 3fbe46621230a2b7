"""What the provider says to the engine about wrong settings: against the property, unless that would print a secret."""

from typing import Any

import pytest

from pruner.provider.provider import PrunedImagesProvider

SECRET = "planted-secret"


def failures(given: dict[str, Any]) -> list[tuple[str, str]]:
    """Property and reason, as the engine is given them."""
    found = PrunedImagesProvider().check({}, given).failures
    return [(failure.property, failure.reason) for failure in found]


def test_each_problem_is_a_failure_of_its_property() -> None:
    assert failures({"keep_younger_than": -1.0, "registry_url": "https://registry/path"}) == [
        ("keep_younger_than", "must be at least 0, not -1; it is an age in minutes, or such as 36h or 14d"),
        ("registry_url", "takes [scheme://]host[:port] without a path, not 'https://registry/path'"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": f"{SECRET}\n"},
        {"password": SECRET},
        {"proxy_headers": {"basic_auth": SECRET}},
        {"kubeconfig": f"users:\n- token: {SECRET}\n- ["},
        {"apikey": SECRET},
        {"host": f"https://bob:{SECRET}@api"},
        {"proxy": f"http://bob:{SECRET}@proxy"},
        {"registry_url": f"bob:{SECRET}@registry"},
    ],
)
def test_property_whose_value_may_hold_a_secret_is_named_by_the_message_alone(given: dict[str, Any]) -> None:
    """The engine prints the value of a property that is refused, secret or not."""
    ((named, reason),) = failures(given)

    assert named == ""
    assert reason.startswith(f"{next(iter(given))}: ")
    assert SECRET not in reason
