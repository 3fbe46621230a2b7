"""Tokens of an OpenID provider in a kubeconfig: renewed when
they have expired, and written back where that is wished.
"""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.identity import whoami
from pruner.errors import SettingsError
from pruner.settings import read
from tests.component.small_servers import served
from tests.integration.authorities import Authority
from tests.servers import RunningSandbox

Json = dict[str, Any]


def token(life: float) -> str:
    """A JSON web token with an end, in seconds from now."""
    parts = [{"alg": "none"}, {"sub": "jane", "exp": int(time.time() + life)}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode().ljust(48)).decode() for part in parts]
    return ".".join([*(part.rstrip("=") for part in encoded), "signature"])


OLD, NEW = token(-60), token(24 * 3600)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def provider(authority: Authority) -> Iterator[str]:
    """An OpenID provider that gives a new token, and a new refresh token, for the right refresh token."""

    async def metadata(request: Request) -> Response:
        return JSONResponse({"token_endpoint": f"{request.url.scheme}://{request.url.netloc}/token"})

    async def renew(request: Request) -> Response:
        form = (await request.body()).decode()
        if "refresh_token=refresh-one" not in form:
            return JSONResponse({"error": "invalid_grant"}, 400)
        given = {"id_token": NEW, "refresh_token": "refresh-two", "access_token": "x", "token_type": "Bearer"}
        return JSONResponse(given)

    routes = [Route("/.well-known/openid-configuration", metadata), Route("/token", renew, methods=["POST"])]
    with served(Starlette(routes=routes), authority.server()) as url:
        yield url


def kubeconfig(sandbox: RunningSandbox, provider: str, authority: Authority, **config: str) -> Json:
    oidc = {
        "idp-issuer-url": provider,
        "idp-certificate-authority": str(authority.ca),
        "client-id": "pruner",
        "client-secret": "client secret",
        "id-token": OLD,
        "refresh-token": "refresh-one",
        **config,
    }
    return {
        "current-context": "main",
        "clusters": [{"name": "main", "cluster": {"server": sandbox.api_url}}],
        "users": [{"name": "main", "user": {"auth-provider": {"name": "oidc", "config": oidc}}}],
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
    }


@pytest.fixture
def cluster(empty_sandbox: RunningSandbox) -> RunningSandbox:
    """A cluster that knows jane by the provider's new token."""
    empty_sandbox.tokens["jane"] = NEW
    empty_sandbox.put_user("jane", [])
    return empty_sandbox


def saved(path: Path) -> Json:
    config: Json = yaml.safe_load(path.read_text())["users"][0]["user"]["auth-provider"]["config"]
    return config


@pytest.mark.parametrize(("persist", "kept"), [(False, "refresh-one"), (True, "refresh-two")])
async def test_renewed_token_is_written_back_only_with_persist_config(
    cluster: RunningSandbox, provider: str, authority: Authority, tmp_path: Path, persist: bool, kept: str
) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig(cluster, provider, authority)), encoding="utf-8")

    async with Api(connect(read({"kubeconfig": str(path), "persist_config": persist}))) as api:
        assert (await whoami(api)).name == "jane"

    assert saved(path)["refresh-token"] == kept
    assert saved(path)["id-token"] == (NEW if persist else OLD)


def test_token_that_cannot_be_renewed_is_a_problem_of_kubeconfig(
    cluster: RunningSandbox, provider: str, authority: Authority
) -> None:
    config = kubeconfig(cluster, provider, authority, **{"refresh-token": "revoked"})

    with pytest.raises(SettingsError, match="kubeconfig: auth-provider 'oidc': its token cannot be renewed"):
        connect(read({"kubeconfig": config}))


def test_provider_whose_certificate_is_not_trusted_gets_no_refresh_token(
    cluster: RunningSandbox, provider: str, authority: Authority
) -> None:
    config = kubeconfig(cluster, provider, authority)
    del config["users"][0]["user"]["auth-provider"]["config"]["idp-certificate-authority"]

    with pytest.raises(SettingsError, match="its token cannot be renewed"):
        connect(read({"kubeconfig": config}))
