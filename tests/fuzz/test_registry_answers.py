"""Any answer of what may be a registry: its own confirmation, or an error of one line.

Nothing else counts as deleted, absent or a size.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from pruner.cluster.connection import connect
from pruner.cluster.registry import RegistryClient
from pruner.errors import RegistryError
from pruner.settings import read
from tests.component.small_servers import served
from tests.fuzz.outcomes import PLANTED, anything, fuzzed, outcome

DIGEST = "sha256:" + "a" * 64
OWN = (b"docker-distribution-api-version", b"registry/2.0")
Headers = list[tuple[bytes, bytes]]


class Registry:
    """Answers everything with the same status, headers and body."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: Headers = []
        self.body = b""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def url(registry: Registry) -> Iterator[str]:
    with served(registry) as address:
        yield address


visible = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(
    lambda text: text.strip().encode()
)
challenges = st.builds(
    "{}{}{}".format,
    st.sampled_from(["Bearer ", "Basic ", "Bearer", "bearer  ", "Negotiate ", ""]),
    st.sampled_from(['realm="{url}/token"', 'realm="http://[::1"', 'realm="https://u:p@h/"', 'realm="', "realm=", ""]),
    st.sampled_from([',service="x"', ',scope="repository:a:pull"', ',,,"', ', Basic realm="x"', ""]),
)


@st.composite
def any_value(draw: st.DrawFn) -> object:
    """Hypothesis objects to strategies that take long to print, as `anything` does."""
    return draw(anything.filter(lambda each: len(repr(each)) < 20_000))


codes = st.sampled_from(["BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "DENIED"]) | any_value()
errors = st.lists(st.fixed_dictionaries({}, optional={"code": codes}), max_size=3)
documents = st.fixed_dictionaries({"errors": errors | any_value()}) | any_value()
bodies = st.binary(max_size=30) | documents.map(
    lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
)


@st.composite
def headers(draw: st.DrawFn) -> Headers:
    found: Headers = [OWN] if draw(st.booleans()) else []
    for name, values in (
        (b"docker-distribution-api-version", visible),
        (
            b"content-type",
            st.sampled_from([b"application/json", b"text/html", b"application/json; charset=x"]) | visible,
        ),
        (b"docker-content-digest", st.just(DIGEST.encode()) | visible),
        (b"www-authenticate", challenges.map(str.encode) | visible),
        (b"location", visible),
    ):
        if draw(st.booleans()):
            found.append((name, draw(values)))
    return found


STATUSES = [200, 201, 202, 204, 206, 301, 307, 400, 401, 401, 403, 404, 404, 404, 405, 410, 416, 418, 501]
"""Not those that are tried again after a pause."""

Ask = Callable[[RegistryClient], Awaitable[Any]]
ASKS: dict[str, Ask] = {
    "credentials": lambda client: client.check_credentials(),
    "admin": lambda client: client.deletes_blobs(),
    "manifest size": lambda client: client.manifest_size("shop/web", DIGEST),
    "blob size": lambda client: client.blob_size(["shop/web"], DIGEST),
    "lacks": lambda client: client.lacks("shop/web", DIGEST, manifest=True),
    "layer link": lambda client: client.delete_layer_link("shop/web", DIGEST),
    "manifest link": lambda client: client.delete_manifest_link("shop/web", DIGEST),
    "blob": lambda client: client.delete_blob(DIGEST),
}
CONFIRMING = {"layer link": {202, 404}, "manifest link": {202, 404}, "blob": {204}}
UNKNOWN = {"layer link": {"BLOB_UNKNOWN", "NAME_UNKNOWN"}, "manifest link": {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}}


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    what=st.sampled_from(sorted(ASKS)),
    status=st.sampled_from(STATUSES),
    sent=headers(),
    body=bodies,
    bare=st.booleans(),
)
def test_any_answer_of_a_registry_is_its_own_word_or_an_error(
    registry: Registry, url: str, what: str, status: int, sent: Headers, body: bytes, bare: bool
) -> None:
    fuzzed("registries")
    registry.status = status
    registry.headers = [(name, value.replace(b"{url}", url.encode())) for name, value in sent]
    registry.body = b"" if bare or status == 204 else body
    asked = read({"host": "http://127.0.0.1:9", "api_key": PLANTED, "registry_url": url})

    async def ask() -> Any:
        async with RegistryClient(url, asked, connect(asked)) as client:
            return await ASKS[what](client)

    found = outcome(lambda: asyncio.run(ask()))
    if isinstance(found, RegistryError):
        return
    # Its own is what says so by its header; of a deletion also the status, or an error in its words.
    assert OWN in registry.headers
    if what in CONFIRMING:
        assert status in CONFIRMING[what]
    if what in UNKNOWN and status == 404:
        named = {error["code"] for error in json.loads(registry.body)["errors"]}
        assert named
        assert named <= UNKNOWN[what]
    if what == "lacks":
        assert found is (status == 404)
