"""What exec plugins print and OAuth servers answer: credentials, or one line that shows nothing of it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.identity import whoami
from pruner.settings import read
from tests.component.small_servers import served
from tests.fuzz.outcomes import PLANTED, anything, fuzzed, outcome
from tests.integration.authorities import Authority

API_VERSION = "client.authentication.k8s.io/v1"
STATUS: dict[str, Any] = {"token": PLANTED}
parts = anything | st.sampled_from(
    [PLANTED, {"token": PLANTED}, {"clientKeyData": PLANTED, "clientCertificateData": PLANTED}]
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": st.just(API_VERSION) | parts,
        "kind": st.just("ExecCredential") | parts,
        "status": st.just(STATUS) | parts,
        PLANTED: parts,
    },
)


def as_json(value: object) -> bytes:
    try:
        return json.dumps(value).encode()
    except ValueError:
        return PLANTED.encode()


printed = documents.map(as_json) | st.binary(max_size=20).map(lambda noise: noise + PLANTED.encode() + noise)


@settings(max_examples=150)
@given(printed, st.sampled_from([0, 0, 0, 1, 255]), st.text(max_size=20))
def test_any_output_of_an_exec_plugin(output: bytes, code: int, hint: str) -> None:
    fuzzed("exec plugins")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "output").write_bytes(output)
        script = 'cat "$0"; cat "$0" >&2; exit "$1"'
        arguments = ["-c", script, str(Path(folder) / "output"), str(code)]
        plugin = {"apiVersion": API_VERSION, "command": "sh", "args": arguments, "installHint": hint}
        kubeconfig = {
            "current-context": "main",
            "clusters": [{"name": "main", "cluster": {"server": "http://127.0.0.1:9"}}],
            "users": [{"name": "main", "user": {"exec": {**plugin, "interactiveMode": "Never"}}}],
            "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
        }
        outcome(lambda: repr(connect(read({"kubeconfig": kubeconfig}))))


class Servers:
    """An API server that names an OAuth server; what both answer is said for each example."""

    def __init__(self) -> None:
        self.metadata: object = {}
        self.answer = Response()

    async def well_known(self, _: Request) -> Response:
        return Response(as_json(self.metadata), media_type="application/json")

    async def authorize(self, _: Request) -> Response:
        return self.answer

    async def refuse(self, _: Request) -> Response:
        return Response(as_json({"kind": "Status", "message": "Unauthorized", "code": 401}), 401)

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/oauth-authorization-server", self.well_known),
                Route("/oauth/authorize", self.authorize),
                Route("/{rest:path}", self.refuse, methods=["GET", "POST"]),
            ]
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def servers() -> Servers:
    return Servers()


@pytest.fixture(scope="module")
def url(servers: Servers, authority: Authority) -> Iterator[str]:
    with served(servers.application(), authority.server()) as address:
        yield address


locations = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://oauth.invalid/implicit", "", "//", "https://[::1", f"https://u:{PLANTED}@h/"]),
    st.sampled_from(["#", "?", "&", ""]),
    st.sampled_from(["access_token=", "error=", "error_description=", "error=access_denied&error_description=", ""]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8).map(lambda text: PLANTED + text)
    | st.sampled_from(["", "%0D%0AX", "%00", "%E2%82%AC", "+"]),
)
endpoints = st.just("{url}/oauth/authorize") | st.sampled_from(
    [
        f"http://u:{PLANTED}@h/",
        f"https://u:{PLANTED}@[::1",
        f"ftp://{PLANTED}@h",
        f"javascript:{PLANTED}",
        "",
        "https://",
    ]
)


@settings(max_examples=80)
@given(endpoints | parts, st.sampled_from([200, 302, 302, 302, 400, 401, 500]), locations, st.binary(max_size=20))
def test_any_answer_of_an_oauth_server(
    servers: Servers, url: str, authority: Authority, endpoint: object, status: int, location: str, body: bytes
) -> None:
    fuzzed("OAuth servers")
    named = endpoint.replace("{url}", url) if isinstance(endpoint, str) else endpoint
    servers.metadata = {"authorization_endpoint": named}
    servers.answer = Response(body + PLANTED.encode(), status, {"Location": location})
    given_settings = read({"host": url, "ca_cert": str(authority.ca), "username": "jane", "password": PLANTED})

    async def ask() -> object:
        async with Api(connect(given_settings)) as api:
            return await whoami(api)

    outcome(lambda: asyncio.run(ask()))
