"""Credentials for the registry, in the form that its challenges ask for.

Basic has the token as password; Bearer has one of the registry's token endpoint, which must be the registry's own
server: the token is sent to no host that was neither given as registry_url nor confirmed by the cluster.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import urldefrag, urlsplit

import msgspec

from pruner.cluster.connection import Connection
from pruner.cluster.proxy import basic
from pruner.errors import RegistryError
from pruner.http.challenges import challenges
from pruner.http.client import HTTPClient
from pruner.http.failures import TransportError, server_of
from pruner.http.response import UNDECODABLE, Response
from pruner.http.urls import query

_TOKEN: Final = re.compile(r"[!-~]{1,16384}")
"""A token that a header can carry: visible ASCII. The longest that identity providers make have a few kilobytes."""


class _Token(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None


class RegistryLogin:
    """The Authorization header for each repository, which changes when the registry refuses it."""

    def __init__(self, http: HTTPClient, url: str, connection: Connection) -> None:
        self._http = http
        self._url = url
        self._connection = connection
        self._authorizations: dict[str, str] = {}
        self._authenticating = asyncio.Lock()

    def authorization(self, repository: str) -> str | None:
        """The header's value for requests about a repository; None before the registry has asked for one."""
        return self._authorizations.get(repository) or self._authorizations.get("")

    async def answer(self, response: Response, repository: str, used: str | None) -> bool:
        """Get what the challenges of a 401 ask for; whether there is anything else to try than what was `used`.

        One request at a time does so: the others that were refused meanwhile find its result. Raises RegistryError.
        """
        async with self._authenticating:
            known = self.authorization(repository)
            if known is not None and known != used:
                return True
            token = await self._connection.token()
            if token is None:
                return False
            offered = {it.scheme: it for it in reversed(challenges(response.headers.getall("WWW-Authenticate", [])))}
            bearer = offered.get("bearer")
            parameters = bearer.parameters if bearer is not None else {}
            if "realm" in parameters:
                authorization = f"Bearer {await self._fetch_token(parameters, token)}"
            elif bearer is None and "basic" in offered:
                authorization = basic(f"pruner:{token}")
            else:
                authorization = f"Bearer {token}"
            # A token without a scope is good for every repository.
            self._authorizations[repository if "scope" in parameters else ""] = authorization
            return authorization != used

    async def _fetch_token(self, parameters: dict[str, str], token: str) -> str:
        realm = urldefrag(parameters["realm"]).url if all(origin(parameters["realm"])) else parameters["realm"]
        if origin(realm) != origin(self._url):
            where = server_of(realm) if all(origin(realm)) else "a malformed address"
            raise RegistryError(
                f"registry {self._url}: wants the token to be sent to {where}, which neither the settings nor the "
                "cluster have named; give that address as registry_url, or set prune_registry to false"
            )
        asked = query({name: parameters[name] for name in ("service", "scope") if name in parameters})
        endpoint = realm + (asked.replace("?", "&", 1) if "?" in realm else asked)
        try:
            response = await self._http.request("GET", endpoint, headers=[("Authorization", basic(f"pruner:{token}"))])
        except TransportError as error:
            raise RegistryError(f"registry {error}") from None
        if response.status in (401, 403):
            raise refused(self._url, "have a token for its API")
        issued = _token_in(response)
        if issued is None:
            raise RegistryError(
                f"registry {self._url}: its token endpoint does not return a usable token ({response.describe()}); "
                "check the registry, or set prune_registry to false",
                response.status,
            )
        return issued


def _token_in(response: Response) -> str | None:
    """The token that a token endpoint has issued; None for whatever is not one that a header can carry."""
    if response.status != 200:
        return None
    try:
        issued = msgspec.json.decode(response.body, type=_Token)
    except UNDECODABLE:
        return None
    tokens = {token for token in (issued.token, issued.access_token) if token is not None}
    if len(tokens) != 1:
        return None
    token = tokens.pop()
    return token if _TOKEN.fullmatch(token) else None


def refused(url: str, what: str) -> RegistryError:
    """The registry at this URL does not accept the credentials for a purpose."""
    return RegistryError(
        f"registry {url}: the credentials may not {what} (401); it needs the token (api_key) of somebody who may "
        "delete images.image.openshift.io cluster-wide, or set prune_registry to false",
        401,
    )


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what a token is sent to. All are empty for a text that is not a URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None
