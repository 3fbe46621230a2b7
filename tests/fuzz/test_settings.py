"""Any value of any parameter, from a program, a configuration or the environment."""

from __future__ import annotations

import base64
import json
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from pruner.errors import SettingsError
from pruner.provider.provider import PrunedImagesProvider
from pruner.settings import ALIASES, BY_NAME, PROXY_HEADERS, SECRETS, read
from tests.fuzz.outcomes import PLANTED, anything, fuzzed, outcome, texts

CONFIG = {
    "apiVersion": "v1",
    "clusters": [{"name": "k", "cluster": {"server": f"https://u:{PLANTED}@api.example.org:6443"}}],
    "users": [{"name": "u", "user": {"token": PLANTED, "client-key-data": PLANTED}}],
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    "current-context": "c",
}
TEXT = json.dumps(CONFIG)
YAML = f"users:\n- name: u\n  user:\n    token: {PLANTED}\n"
BODY = base64.b64encode(PLANTED.encode() * 20).decode()
KEY = f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n{BODY}\n-----END PRIVATE KEY-----\n"
JWT = f"eyJhbGciOiJIUzI1NiJ9.{PLANTED}.{BODY[:30]}"
ENCODED = [base64.b64encode(text.encode()).decode() for text in (TEXT, YAML, KEY)]
CONTENT = [
    *(
        TEXT,
        YAML,
        KEY,
        JWT,
        *ENCODED,
        json.dumps(TEXT),
        json.dumps([CONFIG]),
        json.dumps(KEY),
        KEY.replace("\n", "\\n"),
    ),
    *(f"data:text/plain;base64,{encoded}" for encoded in ENCODED),
    *(f"sha256~{PLANTED}", f"Bearer {PLANTED}", f"Basic {BODY}"),
]
SECRET_TEXTS = [*ENCODED, BODY]
VARIABLES = sorted({*(str(each.environment) for each in BY_NAME.values() if each.environment), *PROXY_HEADERS.values()})


@st.composite
def content(draw: st.DrawFn) -> str:
    """What belongs into a file or a secret store, whole or cut off, with something before and after it."""
    whole = draw(st.sampled_from(CONTENT))
    cut = draw(st.integers(min_value=len(whole) // 2, max_value=len(whole)))
    before, after = draw(st.tuples(*[st.sampled_from(["", " ", "\n", "\ufeff", '"', "'", "\t"])] * 2))
    return f"{before}{whole[:cut]}{after}"


@st.composite
def address(draw: st.DrawFn) -> str:
    """A URL with credentials of any characters, and what is left of one after a slip."""
    scheme = draw(
        st.sampled_from(["http://", "https://", "htp://", "http:/", "http:\\\\", "//", "", "HTTP://", "http//"])
    )
    odd = st.text(st.characters(min_codepoint=32, max_codepoint=0x2100) | st.sampled_from("/?#@:[]\\%"), max_size=4)
    password = draw(odd) + PLANTED + draw(odd)
    host = draw(st.sampled_from(["127.0.0.1:3128", "h:99999", "[::1", "[::1]:1", "h", "", "h:x", "a..b", "℀.example"]))
    user = draw(st.sampled_from(["bob", "", "b:b", "b/b"]))
    forms = [f"{scheme}{user}:{password}@{host}", f"{scheme}{password}@{host}", f"{scheme}bob@{host}:{password}"]
    # Without a scheme and without a colon before the @ it is a text like any other.
    return draw(st.sampled_from(forms if scheme else forms[:1]))


shapes = content() | address()
values = (
    shapes
    | st.lists(shapes, max_size=2)
    | st.dictionaries(st.sampled_from(["token", *PROXY_HEADERS]), shapes, max_size=2)
)
names = st.sampled_from([*BY_NAME, *ALIASES])


@settings(max_examples=600)
@given(st.dictionaries(names | texts, anything, max_size=4))
def test_any_value_of_any_parameter(given_values: dict[str, object]) -> None:
    fuzzed("settings")
    outcome(lambda: read(given_values))


@settings(max_examples=1200)
@given(names, values)
def test_secret_in_the_place_of_any_value(name: str, value: object) -> None:
    fuzzed("settings")
    outcome(lambda: read({name: value}), SECRET_TEXTS)


@settings(max_examples=300)
@given(names, values)
def test_failure_of_the_resource_shows_no_secret(name: str, value: object) -> None:
    """Beside the failure of a property the engine prints its value."""
    fuzzed("settings")
    try:
        read({"host": "http://127.0.0.1:9", name: value}, environ=os.environ)
    except SettingsError:
        failures = PrunedImagesProvider().check({}, {"host": "http://127.0.0.1:9", name: value}).failures
        assert failures
        assert not [failure for failure in failures if failure.property and PLANTED in str(value)]
        assert PLANTED not in "".join(failure.reason for failure in failures)


@settings(max_examples=300)
@given(st.sampled_from(sorted(SECRETS - {"kubeconfig"})), st.text(max_size=5), st.text(max_size=5))
def test_secret_with_any_characters_around_it(name: str, before: str, after: str) -> None:
    fuzzed("settings")
    outcome(lambda: read({name: f"{before}{PLANTED}{after}", "host": "https://h"}) and None)


@settings(max_examples=600)
@given(st.dictionaries(st.sampled_from(VARIABLES), shapes | texts, max_size=4))
def test_any_text_of_the_environment(environ: dict[str, str]) -> None:
    fuzzed("environment")
    outcome(lambda: read({}, environ), SECRET_TEXTS)


@settings(max_examples=300)
@given(texts | shapes)
def test_any_name_that_is_no_parameter(name: str) -> None:
    fuzzed("settings")
    outcome(lambda: read({name: PLANTED}) and None, SECRET_TEXTS)
