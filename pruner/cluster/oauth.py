"""A token for a name and a password, by OpenShift's challenge flow.

An OpenShift API server takes no basic authentication. Its OAuth server, which `/.well-known/oauth-authorization-server`
names, answers basic authentication of the client `openshift-challenging-client` with a redirect whose fragment holds a
token; the redirect is read and not followed. It is another server, behind the cluster's ingress: its certificate is
verified with the API's authorities and the system's, and it gets no client certificate.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from pruner.cluster.connection import Connection
from pruner.cluster.tls import tls_context, trust
from pruner.errors import ClusterError, UnauthorizedError
from pruner.http.bounds import MAX_SMALL_BODY
from pruner.http.client import HTTPClient
from pruner.http.failures import TransportError
from pruner.http.urls import query


class _OAuthServer(msgspec.Struct):
    authorization_endpoint: str


_CODES: Final = frozenset(
    {
        "access_denied",
        "invalid_request",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
"""The error codes of RFC 6749, 4.1.2.1. Other words of the server are not shown: they may quote what it was sent."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
"""A token that a header can carry. OpenShift's have 50 characters."""


_METADATA: Final = "/.well-known/oauth-authorization-server"


async def token_by_challenge(http: HTTPClient, connection: Connection) -> str | None:
    """The token; None where the cluster has no OAuth server, and basic authentication is tried as it is.

    Raises UnauthorizedError when name and password are refused, ClusterError when the OAuth server cannot be asked.
    """
    endpoint = await _endpoint(http, connection)
    if endpoint is None:
        return None
    server = _server(endpoint)
    if not server.startswith("https://"):
        raise ClusterError(
            f"{connection.server}: its OAuth server {server} is not https; the password is not sent there, "
            "give api_key instead"
        )
    url = endpoint + query({"client_id": "openshift-challenging-client", "response_type": "token"})
    headers = [("X-CSRF-Token", "pruner"), ("Authorization", connection.password or "")]
    tls = tls_context(None, validates=connection.validates_certificates)
    if connection.ca is not None:
        trust(tls, connection.ca)
    async with HTTPClient(
        lambda: tls, proxy=connection.proxy, timeouts=http.timeouts, max_body=MAX_SMALL_BODY
    ) as oauth:
        try:
            answer = await oauth.send("GET", url, headers=headers)
        except TransportError as error:
            raise ClusterError(f"the OAuth server of {connection.server}: {error}") from None
    token, code = _redirected(answer.headers.get("Location", ""))
    if answer.status == 302 and token:
        return token
    if answer.status == 401:
        raise UnauthorizedError(
            f"{connection.server}: username and password are not accepted by its OAuth server (401); check both"
        )
    reason = code if code in _CODES else f"status {answer.status}"
    raise ClusterError(f"{connection.server}: its OAuth server gives no token ({reason}); give api_key instead")


def _redirected(location: str) -> tuple[str | None, str]:
    """The token in the address that the server redirects to, and its error code."""
    try:
        parts = urlsplit(location)
        found = {**parse_qs(parts.query), **parse_qs(parts.fragment)}
        tokens = parse_qs(parts.fragment).get("access_token", [])
    except ValueError:
        return None, ""
    return tokens[0] if len(tokens) == 1 and _TOKEN.fullmatch(tokens[0]) else None, found.get("error", [""])[0]


def _server(endpoint: str) -> str:
    """Scheme, host and port of the endpoint: all of it that is shown.

    The API server's word is not trusted to hold no credentials.
    """
    try:
        parts = urlsplit(endpoint)
        port = f":{parts.port}" if parts.port is not None else ""
        if not parts.hostname or parts.username is not None or "@" in endpoint or not endpoint.isprintable():
            return "(an address that is not shown)"
    except ValueError:
        return "(an address that is not shown)"
    return f"{parts.scheme}://{parts.hostname}{port}"


async def _endpoint(http: HTTPClient, connection: Connection) -> str | None:
    """Where the OAuth server authorizes; None where the API server names none, or does not say."""
    try:
        response = await http.request("GET", connection.server + _METADATA)
    except TransportError as error:
        raise ClusterError(str(error)) from None
    if response.status in (401, 403, 404):
        return None
    try:
        endpoint = msgspec.json.decode(response.body, type=_OAuthServer).authorization_endpoint
    except (ValueError, RecursionError):
        endpoint = ""
    if response.status != 200 or not endpoint:
        raise ClusterError(
            f"{connection.server}: {_METADATA} names no OAuth server ({response.describe()}); give the address of the "
            "API as host, or api_key instead of username and password"
        )
    return endpoint
