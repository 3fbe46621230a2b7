"""`WWW-Authenticate` headers: every challenge is read, and nothing is read into what is not one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.http.challenges import Challenge, challenges

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+.^_`|~-", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
CHALLENGES = st.builds(Challenge, TOKENS, st.dictionaries(TOKENS, VALUES, min_size=1, max_size=4))


def written(challenge: Challenge) -> str:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{challenge.scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in challenge.parameters.items())


@given(st.lists(CHALLENGES, max_size=4), st.booleans())
def test_what_a_server_writes_is_read(offered: list[Challenge], in_one_header: bool) -> None:
    headers = [written(challenge) for challenge in offered]
    assert challenges([", ".join(headers)] if in_one_header else headers) == offered


@given(st.lists(st.text(), max_size=3))
def test_whatever_is_sent_is_read_without_an_error(headers: list[str]) -> None:
    for challenge in challenges(headers):
        assert challenge.scheme


@pytest.mark.parametrize(
    ("header", "offered"),
    [
        ('Basic realm=openshift,error="access, denied"',
         [("basic", {"realm": "openshift", "error": "access, denied"})]),
        ('Bearer realm="http://a/b",scope="repository:a/b:pull,push"',
         [("bearer", {"realm": "http://a/b", "scope": "repository:a/b:pull,push"})]),
        ("Negotiate, Basic", [("negotiate", {}), ("basic", {})]),
        ('Negotiate YWJj==, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('BEARER REALM = "a"', [("bearer", {"realm": "a"})]),
        ("", []),
        (" , ,", []),
        ('Bearer realm="not ended', []),
        ('Bearer realm="a", realm="b"', []),
        ('Basic realm="a", Bearer realm="b" "c"', [("basic", {"realm": "a"})]),
    ],
)  # fmt: skip
def test_forms_of_challenges(header: str, offered: list[tuple[str, dict[str, str]]]) -> None:
    assert challenges([header]) == [Challenge(scheme, parameters) for scheme, parameters in offered]
