"""A name and a password: basic authentication where the server takes it, else a token by OpenShift's challenge."""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.identity import Identity, whoami
from pruner.errors import ClusterError, UnauthorizedError
from pruner.settings import read
from tests.component.small_servers import hearing, served
from tests.integration.authorities import Authority
from tests.servers import running_sandbox

TOKEN = "sha256~token-by-challenge"
PASSWORD = "secret of jane"


async def who(**given: Any) -> Identity:
    async with Api(connect(read(given))) as api:
        return await whoami(api)


# --- basic authentication ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def basic_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a file of users and passwords."""
    folder = tmp_path_factory.mktemp("basic")
    users = folder / "users.yaml"
    users.write_text("users: [{name: jane, password: 'secret of jane', groups: [admins]}]", encoding="utf-8")
    with running_sandbox(folder / "cluster", "--users", str(users)) as running:
        yield running.api_url


async def test_name_and_password_where_the_server_takes_them(basic_cluster: str) -> None:
    found = await who(host=basic_cluster, username="jane", password=PASSWORD)

    assert found.name == "jane"
    assert "admins" in found.groups


async def test_wrong_password_is_said(basic_cluster: str) -> None:
    with pytest.raises(UnauthorizedError, match=r"not accepted \(401"):
        await who(host=basic_cluster, username="jane", password="wrong")


async def test_name_and_password_of_a_kubeconfig(basic_cluster: str) -> None:
    kubeconfig = {
        "current-context": "main",
        "clusters": [{"name": "main", "cluster": {"server": basic_cluster}}],
        "users": [{"name": "main", "user": {"username": "jane", "password": PASSWORD}}],
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
    }

    assert (await who(kubeconfig=kubeconfig)).name == "jane"


async def test_password_is_no_token_for_the_registry(basic_cluster: str) -> None:
    assert await connect(read({"host": basic_cluster, "username": "jane", "password": PASSWORD})).token() is None


# --- OpenShift's challenge --------------------------------------------------------------------------------------------


class OAuthServer:
    """Answers basic authentication of the challenging client with a token in the fragment of a redirect."""

    def __init__(self, token: str = TOKEN) -> None:
        self.requests: list[Request] = []
        self.token = token
        self.refusal = ""

    async def authorize(self, request: Request) -> Response:
        self.requests.append(request)
        expected = "Basic " + base64.b64encode(f"jane:{PASSWORD}".encode()).decode()
        asked = (request.query_params.get("client_id"), request.query_params.get("response_type"))
        if asked != ("openshift-challenging-client", "token") or "x-csrf-token" not in request.headers:
            return Response("no challenge without X-CSRF-Token", 400)
        if request.headers.get("authorization") != expected:
            return Response(status_code=401, headers={"WWW-Authenticate": 'Basic realm="openshift"'})
        if self.refusal:
            return Response(
                status_code=302, headers={"Location": f"https://oauth.invalid/oauth/token/implicit{self.refusal}"}
            )
        fragment = f"access_token={self.token}&expires_in=86400&scope=user%3Afull&token_type=Bearer"
        return Response(status_code=302, headers={"Location": f"https://oauth.invalid/oauth/token/implicit#{fragment}"})

    def application(self) -> Starlette:
        return Starlette(routes=[Route("/oauth/authorize", self.authorize)])


def api_server(oauth_url: str, oauth: OAuthServer) -> Starlette:
    """An API server that takes the OAuth server's tokens only, and names that."""

    async def metadata(_: Request) -> Response:
        return JSONResponse({"issuer": oauth_url, "authorization_endpoint": f"{oauth_url}/oauth/authorize"})

    async def review(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {oauth.token}":
            return JSONResponse({"kind": "Status", "message": "Unauthorized", "code": 401}, 401)
        return JSONResponse({"status": {"userInfo": {"username": "jane", "groups": ["system:authenticated"]}}}, 201)

    return Starlette(
        routes=[
            Route("/.well-known/oauth-authorization-server", metadata),
            Route("/apis/authentication.k8s.io/v1/selfsubjectreviews", review, methods=["POST"]),
        ]
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def oauth() -> OAuthServer:
    return OAuthServer()


@contextmanager
def openshift(oauth: OAuthServer, authority: Authority) -> Iterator[str]:
    """An API server, and its OAuth server beside it, each with a certificate of its own."""
    with (
        served(oauth.application(), authority.server("oauth")) as oauth_url,
        served(api_server(oauth_url, oauth), authority.server("api")) as api_url,
    ):
        yield api_url


async def test_token_is_obtained_by_the_challenge(oauth: OAuthServer, authority: Authority) -> None:
    with openshift(oauth, authority) as url:
        found = await who(host=url, ca_cert=str(authority.ca), username="jane", password=PASSWORD)

    assert found.name == "jane"
    assert len(oauth.requests) == 1


async def test_token_of_the_challenge_is_one_for_the_registry(oauth: OAuthServer, authority: Authority) -> None:
    with openshift(oauth, authority) as url:
        connection = connect(
            read({"host": url, "ca_cert": str(authority.ca), "username": "jane", "password": PASSWORD})
        )
        async with Api(connection):
            assert await connection.token() == TOKEN


async def test_name_and_password_of_a_kubeconfig_get_a_token_too(oauth: OAuthServer, authority: Authority) -> None:
    with openshift(oauth, authority) as url:
        kubeconfig = {
            "current-context": "main",
            "clusters": [{"name": "main", "cluster": {"server": url, "certificate-authority": str(authority.ca)}}],
            "users": [{"name": "main", "user": {"username": "jane", "password": PASSWORD}}],
            "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
        }
        found = await who(kubeconfig=kubeconfig)

    assert found.name == "jane"


async def test_impersonation_is_no_matter_of_the_oauth_server(oauth: OAuthServer, authority: Authority) -> None:
    with openshift(oauth, authority) as url:
        await who(host=url, ca_cert=str(authority.ca), username="jane", password=PASSWORD, impersonate_user="alice")

    assert "impersonate-user" not in oauth.requests[0].headers


async def test_wrong_password_is_refused_once_and_not_tried_again(oauth: OAuthServer, authority: Authority) -> None:
    refused = pytest.raises(UnauthorizedError, match="username and password are not accepted")
    with openshift(oauth, authority) as url, refused:
        await who(host=url, ca_cert=str(authority.ca), username="jane", password="wrong")

    assert len(oauth.requests) == 1


async def test_token_that_has_expired_in_mid_run_is_obtained_anew(oauth: OAuthServer, authority: Authority) -> None:
    with openshift(oauth, authority) as url:
        settings = read({"host": url, "ca_cert": str(authority.ca), "username": "jane", "password": PASSWORD})
        async with Api(connect(settings)) as api:
            await whoami(api)
            oauth.token = "sha256~another"
            found = await asyncio.gather(*(whoami(api) for _ in range(5)))

            assert {identity.name for identity in found} == {"jane"}
            assert await api.connection.token() == oauth.token

    assert len(oauth.requests) == 2


async def test_new_token_that_is_refused_too_is_not_obtained_again_and_again(
    oauth: OAuthServer, authority: Authority
) -> None:
    with (
        served(oauth.application(), authority.server("oauth")) as oauth_url,
        served(api_server(oauth_url, OAuthServer("sha256~never")), authority.server("api")) as url,
    ):
        settings = read({"host": url, "ca_cert": str(authority.ca), "username": "jane", "password": PASSWORD})
        async with Api(connect(settings)) as api:
            for _ in range(3):
                with pytest.raises(UnauthorizedError):
                    await whoami(api)

    assert len(oauth.requests) == 2


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ("#error=access_denied&error_description=hush", "access_denied"),
        ("?error=invalid_scope&error_description=hush", "invalid_scope"),
        ("#error=hush", "status 302"),
        ("#access_token=hush%0Ahush", "status 302"),
        ("#access_token=", "status 302"),
        ("#access_token=hush&access_token=hush2", "status 302"),
        ("#access_token=hush%20hush", "status 302"),
        ("?access_token=hush", "status 302"),
        ("", "status 302"),
    ],
)
async def test_refusal_is_shown_by_its_code_and_not_by_the_servers_words(
    oauth: OAuthServer, authority: Authority, refusal: str, reason: str
) -> None:
    """A description may quote what the server was sent, and a token that cannot be used is one all the same."""
    oauth.refusal = refusal or "/"
    with openshift(oauth, authority) as url, pytest.raises(ClusterError) as raised:
        await who(host=url, ca_cert=str(authority.ca), username="jane", password=PASSWORD)

    assert str(raised.value) == f"{url}: its OAuth server gives no token ({reason}); give api_key instead"


@pytest.mark.parametrize(
    "metadata",
    [b"<html>", b"{}", b"[]", b"{" * 5000, b'{"authorization_endpoint": 1}', b'{"authorization_endpoint": ""}',
     b'{"authorization_endpoint": "https://[/x"}', b'{"authorization_endpoint": "https:///x"}', b"\xff"],
)  # fmt: skip
async def test_metadata_that_names_no_oauth_server_is_an_error_and_the_password_goes_nowhere(metadata: bytes) -> None:
    heard: list[bytes] = []
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(metadata)}\r\n\r\n"
    async with hearing(head.encode() + metadata, heard) as url:
        with pytest.raises(ClusterError, match=r"names no OAuth server|is not https"):
            await who(host=url, username="jane", password=PASSWORD)
    assert len(heard) == 1
    assert b"\r\nauthorization:" not in heard[0].lower()


async def test_password_goes_to_no_oauth_server_that_is_not_trusted(
    oauth: OAuthServer, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger")
    with (
        served(oauth.application(), stranger.server()) as oauth_url,
        served(api_server(oauth_url, oauth), authority.server("api")) as url,
        pytest.raises(ClusterError, match=r"the OAuth server of .*: the certificate is not trusted"),
    ):
        await who(host=url, ca_cert=str(authority.ca), username="jane", password=PASSWORD)

    assert not oauth.requests
