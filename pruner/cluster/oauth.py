"""A token for a name and a password, by OpenShift's challenge flow.

An OpenShift API server takes no basic authentication. Its OAuth server, which `/.well-known/oauth-authorization-server` names, answers
basic authentication of the client `openshift-challenging-client` with a redirect whose fragment holds a token. It is another server,
behind the cluster's ingress: its certificate is verified with the API's authorities and the system's, and it gets no client certificate.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec

from pruner.cluster.connection import Connection, tls_context
from pruner.errors import ClusterError, UnauthorizedError
from pruner.http.client import HTTPClient
from pruner.http.failures import TransportError
from pruner.http.urls import query


class _OAuthServer(msgspec.Struct):
    authorization_endpoint: str


async def token_by_challenge(http: HTTPClient, connection: Connection) -> str | None:
    """The token; None where the cluster has no OAuth server, and basic authentication is tried as it is.

    Raises UnauthorizedError when name and password are refused, ClusterError when the OAuth server cannot be asked.
    """
    endpoint = await _endpoint(http, connection)
    if endpoint is None:
        return None
    if urlsplit(endpoint).scheme != "https":
        raise ClusterError(
            f"{connection.server}: its OAuth server {endpoint} is not https; the password is not sent there, "
            "give api_key instead"
        )
    url = endpoint + query({"client_id": "openshift-challenging-client", "response_type": "token"})
    headers = [("X-CSRF-Token", "pruner"), ("Authorization", connection.password or "")]
    tls = tls_context(None, validates=connection.validates_certificates)
    if connection.ca_file is not None:
        tls.load_verify_locations(connection.ca_file)
    async with HTTPClient(lambda: tls, proxy=connection.proxy, timeouts=http.timeouts) as oauth:
        try:
            answer = await oauth.send("GET", url, headers=headers)
        except TransportError as error:
            raise ClusterError(f"the OAuth server of {connection.server}: {error}") from None
    location = urlsplit(answer.headers.get("Location", ""))
    token = parse_qs(location.fragment).get("access_token")
    if answer.status == 302 and token:
        return token[0]
    if answer.status == 401:
        raise UnauthorizedError(
            f"{connection.server}: username and password are not accepted by its OAuth server (401); check both"
        )
    refusal = {**parse_qs(location.query), **parse_qs(location.fragment)}
    reason = (refusal.get("error_description") or refusal.get("error") or [f"status {answer.status}"])[0]
    raise ClusterError(f"{connection.server}: its OAuth server gives no token ({reason}); give api_key instead")


async def _endpoint(http: HTTPClient, connection: Connection) -> str | None:
    """Where the OAuth server authorizes; None where the API server names none."""
    try:
        answer = await http.request("GET", f"{connection.server}/.well-known/oauth-authorization-server")
    except TransportError as error:
        raise ClusterError(str(error)) from None
    if answer.status != 200:
        return None
    try:
        return msgspec.json.decode(answer.body, type=_OAuthServer).authorization_endpoint
    except msgspec.DecodeError:
        return None
