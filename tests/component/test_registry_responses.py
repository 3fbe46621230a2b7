"""What counts as the registry's word: its own responses, with the statuses and errors that each call can have (R26)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from pruner.cluster.connection import connect
from pruner.cluster.registry import RegistryClient
from pruner.errors import RegistryError
from pruner.http.bounds import MAX_SMALL_BODY
from pruner.settings import read
from tests.component.small_servers import hearing, served
from tests.servers import RunningSandbox

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
OWN = {"Docker-Distribution-Api-Version": "registry/2.0"}
NO_ERRORS: tuple[Any, ...] = ([], {"errors": {}}, {"errors": [1]})
API_KEY = "sha256~the-token-of-the-cluster"

Ask = Callable[[RegistryClient], Awaitable[Any]]


async def layer_link(client: RegistryClient) -> None:
    await client.delete_layer_link("shop/web", DIGEST)


async def manifest_link(client: RegistryClient) -> None:
    await client.delete_manifest_link("shop/web", DIGEST)


async def blob(client: RegistryClient) -> None:
    await client.delete_blob(DIGEST)


async def size(client: RegistryClient) -> int | None:
    return await client.manifest_size("shop/web", DIGEST)


async def lacks_layer(client: RegistryClient) -> bool:
    return await client.lacks("shop/web", DIGEST, manifest=False)


async def lacks_manifest(client: RegistryClient) -> bool:
    return await client.lacks("shop/web", DIGEST, manifest=True)


async def admin(client: RegistryClient) -> bool:
    return await client.deletes_blobs()


DELETIONS = {"layer link": layer_link, "manifest link": manifest_link, "blob": blob}
QUESTIONS = {"size": size, "lacks layer": lacks_layer, "lacks manifest": lacks_manifest, "admin": admin}


@asynccontextmanager
async def client_of(response: Response) -> AsyncIterator[tuple[RegistryClient, list[bytes]]]:
    """A client of a server that gives this response to every request, and the heads of the requests."""
    head = b"HTTP/1.1 %d X\r\n" % response.status_code
    head += b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    requests: list[bytes] = []
    async with hearing(head + b"Connection: close\r\n\r\n" + bytes(response.body), requests) as url:
        settings = read({"host": "http://127.0.0.1:9", "api_key": API_KEY, "registry_url": url})
        async with RegistryClient(url, settings, connect(settings)) as client:
            yield client, requests


def errors(*codes: str, status: int = 404, headers: dict[str, str] = OWN) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": "m", "detail": None} for code in codes]}, status, headers)


async def failure(ask: Ask, response: Response) -> str:
    async with client_of(response) as (client, requests):
        with pytest.raises(RegistryError) as raised:
            await ask(client)
    assert len(requests) == 1
    assert "\n" not in str(raised.value)
    return str(raised.value)


# --- deletions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "response"),
    [
        ("layer link", Response(status_code=202, headers=OWN)),
        ("layer link", errors("BLOB_UNKNOWN")),
        ("layer link", errors("NAME_UNKNOWN")),
        ("manifest link", Response(status_code=202, headers=OWN)),
        ("manifest link", errors("MANIFEST_UNKNOWN")),
        ("manifest link", errors("NAME_UNKNOWN")),
        ("blob", Response(status_code=204, headers=OWN)),
    ],
)
async def test_deletion_that_the_registry_confirms_is_a_success(what: str, response: Response) -> None:
    async with client_of(response) as (client, requests):
        await DELETIONS[what](client)
    assert len(requests) == 1


@pytest.mark.parametrize("what", DELETIONS)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 404, 410])
@pytest.mark.parametrize("headers", [{}, {"Docker-Distribution-Api-Version": "registry/1.0"}])
async def test_a_response_that_is_not_the_registrys_own_deletes_nothing(
    what: str, status: int, headers: dict[str, str]
) -> None:
    body = b"" if status == 204 else b"<html>not found</html>"
    said = await failure(DELETIONS[what], Response(body, status, headers, "text/html"))
    assert "is answered by something else" in said


@pytest.mark.parametrize("codes", [["BLOB_UNKNOWN"], ["MANIFEST_UNKNOWN"], ["NAME_UNKNOWN"]])
async def test_errors_in_the_registrys_words_without_its_header_are_not_its_own(codes: list[str]) -> None:
    for ask in DELETIONS.values():
        assert "is answered by something else" in await failure(ask, errors(*codes, headers={}))


@pytest.mark.parametrize(
    ("what", "response"),
    [
        *((what, Response(status_code=200, headers=OWN)) for what in DELETIONS),
        ("layer link", Response(status_code=204, headers=OWN)),
        ("manifest link", Response(status_code=204, headers=OWN)),
        ("blob", Response(status_code=202, headers=OWN)),
        *((what, Response(status_code=307, headers={**OWN, "Location": "http://127.0.0.1:9/"})) for what in DELETIONS),
        *((what, errors("UNKNOWN")) for what in DELETIONS),
        *((what, errors()) for what in DELETIONS),
        *((what, errors("BLOB_UNKNOWN", "UNKNOWN")) for what in DELETIONS),
        *((what, Response("404 page not found\n", 404, OWN, "text/plain")) for what in DELETIONS),
        *((what, Response("<html>", 404, OWN, "text/html")) for what in DELETIONS),
        *((what, Response("[" * 100_000, 404, OWN, "application/json")) for what in DELETIONS),
        *((what, JSONResponse(body, 404, OWN)) for what in DELETIONS for body in NO_ERRORS),
        ("layer link", errors("MANIFEST_UNKNOWN")),
        ("manifest link", errors("BLOB_UNKNOWN")),
        # It says 204 also where there was nothing.
        ("blob", errors("BLOB_UNKNOWN")),
        ("blob", errors("NAME_UNKNOWN")),
    ],
)
async def test_a_status_or_error_that_the_call_cannot_have_is_a_failure(what: str, response: Response) -> None:
    said = await failure(DELETIONS[what], response)
    assert f"cannot delete {what}" in said
    assert f"it answers {response.status_code}" in said


# --- questions -------------------------------------------------------------------------------------------------------


def to_head(status: int = 200, **headers: str) -> Response:
    """A response to HEAD: the headers of a body that does not come."""
    said = {**OWN, "Docker-Content-Digest": DIGEST, **{name.replace("_", "-"): headers[name] for name in headers}}
    response = Response(status_code=status)
    response.raw_headers = [(name.lower().encode(), value.encode()) for name, value in said.items() if value]
    return response


@pytest.mark.parametrize("what", ["size", "lacks layer", "lacks manifest"])
@pytest.mark.parametrize(
    "response",
    [
        Response(status_code=404),
        Response("<html>", 404, {}, "text/html"),
        Response("<html>", 404, OWN, "text/html"),
        Response("404 page not found\n", 404, OWN, "text/plain"),
        errors("BLOB_UNKNOWN", headers={}),
        Response(status_code=200),
        JSONResponse({}, 200),
    ],
)
async def test_an_answer_that_is_not_the_registrys_own_is_no_knowledge(what: str, response: Response) -> None:
    assert "is answered by something else" in await failure(QUESTIONS[what], response)


@pytest.mark.parametrize("what", ["size", "lacks layer", "lacks manifest"])
@pytest.mark.parametrize("digest", [OTHER, "sha256:", "nonsense"])
async def test_another_digest_than_the_one_asked_for_is_a_contradiction(what: str, digest: str) -> None:
    response = to_head(Docker_Content_Digest=digest, Content_Length="5")
    assert f"a Docker-Content-Digest of {digest!r}, which cannot be" in await failure(QUESTIONS[what], response)


@pytest.mark.parametrize("length", ["0", str(MAX_SMALL_BODY + 1), "9" * 15])
async def test_a_length_that_no_manifest_has_is_a_contradiction(length: str) -> None:
    said = await failure(size, to_head(Content_Length=length))
    assert f"a Content-Length of {length!r}" in said


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (to_head(Content_Length="1500"), 1500),
        (to_head(Content_Length="1500", Docker_Content_Digest=""), 1500),
        (errors("MANIFEST_UNKNOWN"), 0),
        (errors("DENIED", status=403), None),
    ],
)
async def test_size_of_a_manifest(response: Response, expected: int | None) -> None:
    async with client_of(response) as (client, _):
        assert await size(client) == expected


async def test_size_is_not_known_where_the_registry_stays_busy(sandbox: RunningSandbox) -> None:
    rule = sandbox.add_fault({"status": 503, "headers": {"Retry-After": "0"}}, method="HEAD", server="registry")
    try:
        settings = read({"kubeconfig": str(sandbox.kubeconfig), "registry_url": sandbox.registry_url})
        async with RegistryClient(sandbox.registry_url, settings, connect(settings)) as client:
            assert await size(client) is None
        assert sandbox.has_fired(rule)
    finally:
        sandbox.remove_fault(rule)


@pytest.mark.parametrize(
    ("what", "response", "expected"),
    [
        ("lacks layer", to_head(Content_Length="50000000000"), False),
        # Storage that serves blobs itself: it is asked only for what is there.
        ("lacks layer", to_head(307, Location="https://s3.example.org/blob"), False),
        ("lacks layer", errors("BLOB_UNKNOWN"), True),
        ("lacks layer", errors("DENIED", status=403), False),
        ("lacks manifest", to_head(Content_Length="5"), False),
        ("lacks manifest", errors("MANIFEST_UNKNOWN"), True),
        ("admin", errors("UNSUPPORTED", status=405), True),
        ("admin", errors("DENIED", status=403), True),
        ("admin", Response("404 page not found\n", 404, OWN, "text/plain"), False),
    ],
)
async def test_answers_to_questions(what: str, response: Response, expected: bool) -> None:
    async with client_of(response) as (client, _):
        assert await QUESTIONS[what](client) is expected


@pytest.mark.parametrize(
    ("what", "response"),
    [
        ("admin", Response(status_code=200, headers=OWN)),
        ("admin", Response(status_code=404)),
        ("admin", Response("<html>", 404, {}, "text/html")),
        ("lacks layer", Response(status_code=202, headers=OWN)),
        ("lacks manifest", to_head(307, Location="https://s3.example.org/blob")),
    ],
)
async def test_a_question_whose_answer_says_nothing_is_a_failure(what: str, response: Response) -> None:
    await failure(QUESTIONS[what], response)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repository", ["shop/", "/web", "shop//web", "../admin", "shop/..", "", "shop/."])
async def test_no_request_is_made_with_a_name_that_is_no_part_of_a_path(repository: str) -> None:
    async with client_of(Response(status_code=202, headers=OWN)) as (client, requests):
        for ask in (client.delete_layer_link, client.delete_manifest_link, client.manifest_size):
            with pytest.raises(RegistryError, match="so no request is made with this name"):
                await ask(repository, DIGEST)
        for digest in ("", ".."):
            with pytest.raises(RegistryError, match="so no request is made with this name"):
                await client.delete_blob(digest)
    assert not requests


@pytest.mark.parametrize("digest", ["a?b", "a#b", "a/b", "a%2fb", "a\nb"])
async def test_odd_names_are_sent_as_what_they_are(digest: str) -> None:
    async with client_of(Response(status_code=204, headers=OWN)) as (client, requests):
        await client.delete_blob(digest)
    path = requests[0].split()[1].decode("ascii")
    assert path.startswith("/admin/blobs/")
    assert path.count("/") == 3
    assert unquote(path) == f"/admin/blobs/{digest}"


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_challenge_that_is_not_the_registrys_own_gets_no_token() -> None:
    response = JSONResponse({}, 401, {"WWW-Authenticate": 'Basic realm="x"'})
    async with client_of(response) as (client, requests):
        with pytest.raises(RegistryError, match="is answered by something else"):
            await client.delete_blob(DIGEST)
    assert len(requests) == 1
    assert b"\r\nauthorization:" not in requests[0].lower()


@pytest.mark.parametrize(
    "issued",
    [
        (200, b"{}"),
        (200, b'{"token": ""}'),
        (200, b'{"token": null, "access_token": null}'),
        (200, b'{"token": 5}'),
        (200, b'{"token": "a b"}'),
        (200, b'{"token": "a\\r\\nX-Evil: b"}'),
        (200, '{"token": "ä"}'.encode()),
        (200, b'{"token": "a", "access_token": "b"}'),
        (200, json.dumps({"token": "a" * 20_000}).encode()),
        (200, b"<html>"),
        (200, b"[" * 100_000),
        (201, b'{"token": "a"}'),
        (302, b'{"token": "a"}'),
        (404, b'{"token": "a"}'),
    ],
    ids=lambda issued: f"{issued[0]} {issued[1][:30]!r}",
)
async def test_what_a_token_endpoint_must_not_issue(issued: tuple[int, bytes]) -> None:
    sent: list[str | None] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        sent.append(request.headers.get("authorization"))
        realm = f"{request.url.scheme}://{request.url.netloc}/token"
        response = JSONResponse({}, 401, {**OWN, "WWW-Authenticate": f'Bearer realm="{realm}",service="r"'})
        await (Response(issued[1], issued[0]) if request.url.path == "/token" else response)(scope, receive, send)

    with served(application) as url:
        settings = read({"host": "http://127.0.0.1:9", "api_key": API_KEY, "registry_url": url})
        async with RegistryClient(url, settings, connect(settings)) as client:
            with pytest.raises(RegistryError, match="does not return a usable token") as raised:
                await client.delete_blob(DIGEST)
    assert len(sent) == 2
    assert API_KEY not in str(raised.value)


# --- the sandbox is a registry of this kind ---------------------------------------------------------------------------


async def test_the_sandbox_answers_as_a_registry(sandbox: RunningSandbox) -> None:
    settings = read({"kubeconfig": str(sandbox.kubeconfig), "registry_url": sandbox.registry_url})
    async with RegistryClient(sandbox.registry_url, settings, connect(settings)) as client:
        await client.check_credentials()
        assert await client.deletes_blobs()
        assert await size(client) == 0
        assert await lacks_layer(client)
        assert await lacks_manifest(client)
        for delete in DELETIONS.values():
            await delete(client)
