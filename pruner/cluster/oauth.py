"""A token for a name and a password, by OpenShift's challenge flow.

An OpenShift API server takes no basic authentication. Its OAuth server, which `/.well-known/oauth-authorization-server` names, answers
basic authentication of the client `openshift-challenging-client` with a redirect whose fragment holds a token.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec

from pruner.cluster.connection import Connection
from pruner.cluster.http import Wire, WireError, query
from pruner.errors import ClusterError, UnauthorizedError


class _OAuthServer(msgspec.Struct):
    authorization_endpoint: str


async def token_by_challenge(wire: Wire, connection: Connection) -> str | None:
    """The token; None where the cluster has no OAuth server, and basic authentication is tried as it is.

    Raises UnauthorizedError when name and password are refused, ClusterError when the OAuth server cannot be asked.
    """
    try:
        answer = await wire.repeat("GET", f"{connection.server}/.well-known/oauth-authorization-server")
        if answer.status != 200:
            return None
        try:
            endpoint = msgspec.json.decode(answer.body, type=_OAuthServer).authorization_endpoint
        except msgspec.DecodeError:
            return None
        if urlsplit(endpoint).scheme != "https" and connection.server.startswith("https://"):
            raise ClusterError(
                f"{connection.server}: its OAuth server {endpoint} is not https; the password is not sent there"
            )
        authorization = await connection.authorization()
        url = endpoint + query({"client_id": "openshift-challenging-client", "response_type": "token"})
        headers = [("X-CSRF-Token", "pruner"), ("Authorization", authorization or "")]
        answer = await wire.send("GET", url, headers=headers)
    except WireError as error:
        raise ClusterError(str(error)) from None
    location = answer.headers.get("Location", "")
    token = parse_qs(urlsplit(location).fragment).get("access_token")
    if answer.status == 302 and token:
        return token[0]
    if answer.status == 401:
        raise UnauthorizedError(
            f"{connection.server}: username and password are not accepted by its OAuth server (401)"
        )
    raise ClusterError(
        f"{connection.server}: its OAuth server gives no token (status {answer.status}); give api_key instead"
    )
