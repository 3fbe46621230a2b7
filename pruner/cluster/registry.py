"""The cluster's registry: where it is, whether it is the one, how to speak with it.

It is found as DECISIONS R27 says and pinged before anything depends on it. A ping proves nothing about credentials, so
`find_registry` also asks its `/v2/`, and whether it has the admin endpoint that deletes blobs (R26). `RegistryClient` authenticates the
way the registry asks for: Basic with the token as password, or Bearer through its token endpoint, renewed when it is refused. The token
is sent to no host that was not given as registry_url or confirmed by the cluster.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from pruner.cluster.connection import Connection
from pruner.cluster.objects import ImageStream, ImageStreamStatus, Registry, Snapshot, moment
from pruner.cluster.proxy import basic
from pruner.cluster.sizes import plausible
from pruner.cluster.tls import CertificateError, tls_context, trust
from pruner.errors import Problem, RegistryError, SettingsError
from pruner.http.client import HTTPClient, Precondition, Timeouts
from pruner.http.failures import TransportError, server_of
from pruner.http.response import Response
from pruner.http.retry import RetryPolicy
from pruner.http.urls import query
from pruner.settings import Settings
from pruner.settings.files import named

GONE: Final = frozenset({202, 204, 404})
"""Answers to a deletion after which the thing is not there (R26)."""

_DIGITS: Final = 20
"""Digits from which on a Content-Length is larger than anything."""

_NO_SUCH_BLOB: Final = "sha256:" + "0" * 64
_MANIFEST_TYPES: Final = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    )
)


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class _UnreachableError(RegistryError):
    """No answer at all. `distrusted`: it speaks TLS, and its certificate is what is wrong."""

    def __init__(self, message: str, *, distrusted: bool) -> None:
        super().__init__(message)
        self.distrusted = distrusted


class RegistryClient:
    """A client of one registry, at a URL that has been chosen. Use it as an asynchronous context manager."""

    def __init__(
        self, url: str, settings: Settings, connection: Connection, *, timeouts: Timeouts | None = None
    ) -> None:
        self.url = url
        self._connection = connection
        self._authorizations: dict[str, str] = {}
        self._authenticating = asyncio.Lock()
        tls = registry_tls(settings, connection) if url.startswith("https://") else None
        proxy = connection.proxy
        self._http = HTTPClient(
            lambda: tls,
            proxy=proxy,
            trust="registry_ca_cert",
            workers=settings.workers,
            timeouts=timeouts or Timeouts(),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    # --- asking -------------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Raise RegistryError unless `/` or `/healthz` answers 200, without credentials (R27)."""
        for path in ("/", "/healthz"):
            try:
                answer = await self._http.request("GET", self.url + path, retry=RetryPolicy(attempts=2))
            except TransportError as error:
                raise _UnreachableError(f"registry {error}", distrusted=error.untrusted_certificate) from None
            if answer.status == 200:
                return
        raise RegistryError(
            f"registry {self.url}: does not answer as a registry ({answer.describe()} to /healthz); check the address"
        )

    async def check_credentials(self) -> None:
        """Raise RegistryError unless the registry's API can be used with the credentials there are."""
        answer = await self._send("GET", "/v2/", "")
        if answer.status == 401 and await self._connection.token() is None:
            raise RegistryError(
                f"registry {self.url}: wants a token, and there is none: a certificate, or a name and a password, are no "
                "credentials for it; give api_key (oc whoami --show-token prints one), or set prune_registry to false",
                401,
            )
        if answer.status == 401:
            raise self._refused("use its API")
        if answer.status != 200 or "json" not in answer.headers.get("Content-Type", ""):
            raise RegistryError(
                f"registry {self.url}: /v2/ is not the API of a registry ({answer.describe()}); give its address as "
                "registry_url, or set prune_registry to false"
            )

    async def deletes_blobs(self) -> bool:
        """Whether it has the admin endpoint: asked with GET, which deletes nothing and that endpoint does not take (R26)."""
        return (await self._send("GET", f"/admin/blobs/{_NO_SUCH_BLOB}", "")).status != 404

    async def manifest_size(self, repository: str, digest: str) -> int | None:
        """Bytes of a manifest; 0 where there is none, None where it may not be asked."""
        path = f"/v2/{repository}/manifests/{digest}"
        try:
            answer = await self._send("HEAD", path, repository, accept=_MANIFEST_TYPES)
        except RegistryError:
            # A size is a courtesy of the plan: without it the plan says that it is not known.
            return None
        if answer.status == 404:
            return 0
        return _length(answer)

    async def blob_size(self, repositories: Iterable[str], digest: str) -> int | None:
        """Bytes of a layer or a config, by the first of these repositories that has it; None where that cannot be known."""
        for repository in repositories:
            try:
                answer = await self._send("HEAD", f"/v2/{repository}/blobs/{digest}", repository, accept="*/*")
            except RegistryError:
                return None
            if (size := _length(answer)) is not None:
                return size
        return None

    async def lacks(self, repository: str, digest: str, *, manifest: bool) -> bool:
        """Whether a manifest, or a layer, cannot be had from a repository; False too where that may not be asked."""
        path = f"/v2/{repository}/{'manifests' if manifest else 'blobs'}/{digest}"
        return (await self._send("HEAD", path, repository, accept=_MANIFEST_TYPES if manifest else "*/*")).status == 404

    # --- deleting -----------------------------------------------------------------------------------------------------

    async def delete_layer_link(self, repository: str, digest: str, before: Precondition | None = None) -> None:
        what = f"layer link {digest} of {repository}"
        await self._delete(f"/v2/{repository}/blobs/{digest}", repository, what, before)

    async def delete_manifest_link(self, repository: str, digest: str, before: Precondition | None = None) -> None:
        what = f"manifest link {digest} of {repository}"
        await self._delete(f"/v2/{repository}/manifests/{digest}", repository, what, before)

    async def delete_blob(self, digest: str, before: Precondition | None = None) -> None:
        await self._delete(f"/admin/blobs/{digest}", "", f"blob {digest}", before)

    async def _delete(self, path: str, repository: str, what: str, before: Precondition | None) -> None:
        answer = await self._send("DELETE", path, repository, before=before)
        if answer.status in GONE:
            return
        if answer.status == 401:
            raise self._refused(f"delete {what}")
        if answer.status == 405:
            raise RegistryError(
                f"registry {self.url}: does not let {what} be deleted (405): read-only, or still named", 405
            )
        said = answer.describe()
        raise RegistryError(
            f"registry {self.url}: {what} is not deleted, it answers {answer.status} ({said})", answer.status
        )

    # --- underneath ---------------------------------------------------------------------------------------------------

    async def _send(
        self,
        method: str,
        path: str,
        repository: str,
        *,
        accept: str = "application/json",
        before: Precondition | None = None,
    ) -> Response:
        """One request, with a second attempt after the registry has said how it wants to be authenticated.

        All that is sent may be repeated: deleting what is gone is a success.
        """
        answer, used = await self._try(method, path, repository, accept, before)
        if answer.status == 401 and await self._authenticate(answer, repository, used):
            answer, _ = await self._try(method, path, repository, accept, before)
        return answer

    async def _try(
        self, method: str, path: str, repository: str, accept: str, before: Precondition | None
    ) -> tuple[Response, str | None]:
        """The answer, and the Authorization that the request had."""
        headers = [("Accept", accept)]
        authorization = self._authorization(repository)
        if authorization is not None:
            headers.append(("Authorization", authorization))
        try:
            return await self._http.request(
                method, self.url + path, headers=headers, precondition=before
            ), authorization
        except TransportError as error:
            raise RegistryError(f"registry {error}") from None

    def _authorization(self, repository: str) -> str | None:
        return self._authorizations.get(repository) or self._authorizations.get("")

    async def _authenticate(self, answer: Response, repository: str, used: str | None) -> bool:
        """Get what the registry asks for in its challenge; whether there is something else to try than what was `used`.

        One request at a time does so: the others that were refused meanwhile find what it has got.
        """
        async with self._authenticating:
            known = self._authorization(repository)
            if known is not None and known != used:
                return True
            token = await self._connection.token()
            if token is None:
                return False
            scheme, parameters = _challenge(answer.headers.getall("WWW-Authenticate", []))
            if scheme == "bearer" and "realm" in parameters:
                authorization = f"Bearer {await self._fetch_token(parameters, token)}"
            elif scheme == "basic":
                authorization = basic(f"pruner:{token}")
            else:
                authorization = f"Bearer {token}"
            # A token without a scope is good for every repository.
            self._authorizations[repository if "scope" in parameters else ""] = authorization
            return authorization != used

    async def _fetch_token(self, parameters: dict[str, str], token: str) -> str:
        realm = parameters["realm"]
        if _origin(realm) != _origin(self.url):
            where = server_of(realm) if all(_origin(realm)) else "what is no address"
            raise RegistryError(
                f"registry {self.url}: wants the token to be sent to {where}, which neither the settings nor the "
                "cluster have named; give that address as registry_url, or set prune_registry to false"
            )
        asked: dict[str, str | int] = {name: parameters[name] for name in ("service", "scope") if name in parameters}
        try:
            answer = await self._http.request(
                "GET", realm + query(asked), headers=[("Authorization", basic(f"pruner:{token}"))]
            )
        except TransportError as error:
            raise RegistryError(f"registry {error}") from None
        if answer.status in (401, 403):
            raise self._refused("have a token for its API")
        try:
            given = msgspec.json.decode(answer.body, type=_Token)
        except msgspec.DecodeError:
            given = _Token()
        if not (given.token or given.access_token):
            raise RegistryError(
                f"registry {self.url}: its token endpoint gives none ({answer.describe()})", answer.status
            )
        return given.token or given.access_token

    def _refused(self, what: str) -> RegistryError:
        return RegistryError(
            f"registry {self.url}: the credentials may not {what} (401); it needs the token (api_key) of somebody who may "
            "delete images.image.openshift.io cluster-wide, or set prune_registry to false",
            401,
        )


def _length(answer: Response) -> int | None:
    """The plausible size that the answer to a HEAD gives."""
    length = answer.headers.get("Content-Length", "")
    return plausible(int(length)) if answer.status == 200 and length.isdecimal() and len(length) < _DIGITS else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what a token is sent to. Nothing of these for what is no URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None


def _challenge(headers: list[str]) -> tuple[str, dict[str, str]]:
    """Scheme and parameters of the challenge to be met; Bearer where both are offered."""
    offered = {}
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        offered[scheme.lower()] = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    for scheme in ("bearer", "basic"):
        if scheme in offered:
            return scheme, offered[scheme]
    return "", {}


# --- finding it -------------------------------------------------------------------------------------------------------


def discovered_host(snapshot: Snapshot) -> tuple[str, str] | None:
    """The registry's `host[:port]` and what says so: the newest managed image, or the newest image stream (R27).

    Whoever may push can make an image that names any host, and the token will be sent there; what a stream's status says is
    written by the API server. So an image's host counts only where some stream's status confirms it.
    """
    streams = [stream for stream in snapshot.streams if stream.status and "/" in stream.status.docker_image_repository]
    confirmed = {host for stream in streams for host in _hosts(stream)}
    managed = [image for image in snapshot.images if image.managed and _host(image.reference) in confirmed]
    if managed:
        newest = max(managed, key=lambda image: (image.created, image.name))
        return _host(newest.reference), f"image {newest.name}"
    if streams:
        newest_stream = max(streams, key=lambda stream: (moment(stream.metadata.creation_timestamp), stream.name))
        assert newest_stream.status is not None  # noqa: S101 - chosen by it
        return _host(newest_stream.status.docker_image_repository), f"image stream {newest_stream.name}"
    return None


def _hosts(stream: ImageStream) -> set[str]:
    """The hosts at which the API server says that this stream's images are."""
    status = stream.status or ImageStreamStatus()
    return {
        _host(repository) for repository in (status.docker_image_repository, status.public_docker_image_repository)
    } - {""}


def _host(pull_spec: str) -> str:
    """`host[:port]` of a pull spec that has one, else nothing."""
    host, slash, _ = pull_spec.partition("/")
    return host if slash else ""


async def find_registry(
    settings: Settings, connection: Connection, snapshot: Snapshot, *, timeouts: Timeouts | None = None
) -> Registry | None:
    """Find the registry, ping it, and see what it can do; None where nothing names one, as in a cluster without images.

    Raises RegistryError when there is one and it cannot be used, with the ways out.
    """
    if settings.registry_url:
        host, found = settings.registry_url, "registry_url"
    else:
        named = discovered_host(snapshot)
        if named is None:
            return None
        host, found = named
    failures = []
    for url in await _candidates(host, settings):
        async with RegistryClient(url, settings, connection, timeouts=timeouts) as client:
            try:
                await client.ping()
            except RegistryError as error:
                failures.append(str(error))
                if isinstance(error, _UnreachableError) and error.distrusted:
                    # It speaks TLS: what is said without it would not be for this server.
                    break
                continue
            await client.check_credentials()
            return Registry(url, await client.deletes_blobs(), found)
    hint = (
        "" if settings.registry_url
        else f"; the address was taken from {found}: where it cannot be reached from here, give a route as registry_url"
    )  # fmt: skip
    raise RegistryError("; ".join(failures) + hint + ", or set prune_registry to false")


async def _candidates(host: str, settings: Settings) -> list[str]:
    """The URLs to try: https; http only where certificates are not validated or the address is private (R27)."""
    if "://" in host:
        return [host]
    urls = [f"https://{host}"]
    if settings.registry_ca_cert:
        return urls
    if not settings.registry_certs_validated or await _is_private(host):
        urls.append(f"http://{host}")
    return urls


async def _is_private(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(entry[4][0]).is_private for entry in found)


def registry_tls(settings: Settings, connection: Connection) -> ssl.SSLContext:
    """The TLS context for the registry: its own CA where one is given, else the system's and the API server's.

    Raises SettingsError for a registry_ca_cert that TLS cannot use.
    """
    try:
        context = tls_context(settings.registry_ca_cert, validates=settings.registry_certs_validated)
    except CertificateError as error:
        message = f"{named(settings.registry_ca_cert or '')} cannot be used: {error}"
        raise SettingsError([Problem("registry_ca_cert", message)]) from None
    if settings.registry_ca_cert is None and connection.ca is not None:
        trust(context, connection.ca)
    return context
