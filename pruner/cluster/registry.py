"""A client of the cluster's registry: what pruning asks it and deletes in it (R26).

A response counts only if it is the registry's own, which says so in `Docker-Distribution-Api-Version`, and only with a
status that is documented for the call. A load balancer's 404 is a failure and never taken for "gone". Redirects are not
followed.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

import msgspec

from pruner.cluster.connection import Connection
from pruner.cluster.registry_login import RegistryLogin, refused
from pruner.cluster.sizes import plausible
from pruner.cluster.tls import CertificateError, tls_context, trust
from pruner.errors import Problem, RegistryError, SettingsError
from pruner.http.bounds import MAX_SMALL_BODY
from pruner.http.client import HTTPClient, Precondition, Timeouts
from pruner.http.failures import TransportError
from pruner.http.response import UNDECODABLE, Response
from pruner.http.retry import TRANSIENT_STATUSES, RetryPolicy
from pruner.http.urls import path_segment
from pruner.settings import Settings
from pruner.settings.files import named

API_VERSION: Final = "registry/2.0"
"""What the registry says in `Docker-Distribution-Api-Version`, with every response of its API."""

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


class _ErrorCode(msgspec.Struct):
    code: str


class _Errors(msgspec.Struct):
    errors: list[_ErrorCode]


class UnreachableError(RegistryError):
    """There is no response. `untrusted_certificate`: it speaks TLS, and its certificate is what is wrong."""

    def __init__(self, message: str, *, untrusted_certificate: bool) -> None:
        super().__init__(message)
        self.untrusted_certificate = untrusted_certificate


class RegistryClient:
    """A client of one registry, at a URL that has been chosen. Use it as an asynchronous context manager."""

    def __init__(
        self, url: str, settings: Settings, connection: Connection, *, timeouts: Timeouts | None = None
    ) -> None:
        self.url = url
        self._connection = connection
        tls = registry_tls(settings, connection) if url.startswith("https://") else None
        self._http = HTTPClient(
            lambda: tls,
            proxy=connection.proxy,
            trust="registry_ca_cert",
            workers=settings.workers,
            timeouts=timeouts or Timeouts(),
            max_body=MAX_SMALL_BODY,
        )
        self._login = RegistryLogin(self._http, url, connection)

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
                response = await self._http.request("GET", self.url + path, retry=RetryPolicy(attempts=2))
            except TransportError as error:
                raise UnreachableError(f"registry {error}", untrusted_certificate=error.untrusted_certificate) from None
            if response.status == 200:
                return
        raise RegistryError(
            f"registry {self.url}: does not answer as a registry ({response.describe()} to /healthz); check the address"
        )

    async def check_credentials(self) -> None:
        """Raise RegistryError unless the registry's API can be used with the credentials there are."""
        response = await self._send("GET", "/v2/", "")
        if _is_own(response) and response.status == 401:
            if await self._connection.token() is None:
                raise RegistryError(
                    f"registry {self.url}: wants a token, and there is none: a certificate, or a name and a password, "
                    "are no credentials for it; give api_key (oc whoami --show-token prints one), or set "
                    "prune_registry to false",
                    401,
                )
            raise refused(self.url, "use its API")
        if response.status != 200 or not _is_own(response):
            version = "" if _is_own(response) else f", no Docker-Distribution-Api-Version: {API_VERSION}"
            raise RegistryError(
                f"registry {self.url}: /v2/ is not the API of a registry ({response.describe()}{version}); give its "
                "address as registry_url, or set prune_registry to false"
            )

    async def deletes_blobs(self) -> bool:
        """Whether it has the admin endpoint, which does not accept this GET, and would delete nothing by it (R26)."""
        response = await self._own("GET", f"/admin/blobs/{_NO_SUCH_BLOB}", "")
        if response.status == 404:
            return False
        if response.status in (401, 403, 405):
            return True
        raise self._unexpected("look for its admin endpoint", response)

    async def manifest_size(self, repository: str, digest: str) -> int | None:
        """Bytes of a manifest; 0 where there is none, None where that cannot be told.

        Raises RegistryError when something else answers instead of the registry, or the response contradicts itself.
        """
        what = f"manifest {digest} of {repository}"
        try:
            response = await self._head(repository, "manifests", digest, what)
        except UnreachableError:
            return None
        if response.status == 404:
            return 0
        return self._length(response, what, MAX_SMALL_BODY)

    async def blob_size(self, repositories: Iterable[str], digest: str) -> int | None:
        """Bytes of a layer or a config, by the first of these repositories that has it; None where that cannot be told.

        Raises RegistryError when something else answers instead of the registry, or the response contradicts itself.
        """
        for repository in repositories:
            what = f"blob {digest} of {repository}"
            try:
                response = await self._head(repository, "blobs", digest, what)
            except UnreachableError:
                return None
            if (size := self._length(response, what)) is not None:
                return size
        return None

    def _length(self, response: Response, what: str, max_size: int | None = None) -> int | None:
        """The size that the response to a HEAD gives; None where
        it gives none, or the object is not served from here.
        """
        length = response.headers.get("Content-Length")
        if response.status != 200 or length is None:
            return None
        if max_size is None and length == "0":
            # Go's zero value says nothing.
            return None
        size = plausible(int(length)) if length.isascii() and length.isdecimal() and len(length) < _DIGITS else None
        if not size or (max_size is not None and size > max_size):
            raise self._contradiction(what, f"a Content-Length of {length[:40]!r}")
        return size

    async def lacks(self, repository: str, digest: str, *, manifest: bool) -> bool:
        """Whether a manifest or a layer is missing in a repository; False where the credentials do not suffice to ask.

        Raises RegistryError where that cannot be told.
        """
        kind = "manifests" if manifest else "blobs"
        response = await self._head(repository, kind, digest, f"{kind[:-1]} {digest} of {repository}")
        if response.status in (200, 401, 403):
            return False
        if response.status == 307 and not manifest:
            # It is in the storage, and served from there.
            return False
        if response.status == 404:
            return True
        raise self._unexpected(f"look for {kind[:-1]} {digest} of {repository}", response)

    async def _head(self, repository: str, kind: str, digest: str, what: str) -> Response:
        """The registry's response to HEAD: 404 only in its own words, 200 only for what was asked for."""
        path = f"{self._repository(repository)}/{kind}/{self._segment(digest)}"
        response = await self._own("HEAD", path, repository, accept=_MANIFEST_TYPES if kind == "manifests" else "*/*")
        # A response to HEAD has no body, but the headers of one: the registry's errors are JSON.
        if response.status == 404 and response.media_type != "application/json":
            raise self._not_own("HEAD", path, response)
        names = set(response.headers.getall("Docker-Content-Digest", []))
        if response.status == 200 and not names <= {digest}:
            raise self._contradiction(what, f"a Docker-Content-Digest of {', '.join(sorted(names))[:200]!r}")
        return response

    # --- deleting -----------------------------------------------------------------------------------------------------

    async def delete_layer_link(self, repository: str, digest: str, precondition: Precondition | None = None) -> None:
        """Delete a layer link; one that is not there is a success."""
        path = f"{self._repository(repository)}/blobs/{self._segment(digest)}"
        what = f"layer link {digest} of {repository}"
        await self._delete(path, repository, what, precondition, status=202, absent={"BLOB_UNKNOWN", "NAME_UNKNOWN"})

    async def delete_manifest_link(
        self, repository: str, digest: str, precondition: Precondition | None = None
    ) -> None:
        """Delete a manifest link; one that is not there is a success."""
        path = f"{self._repository(repository)}/manifests/{self._segment(digest)}"
        what = f"manifest link {digest} of {repository}"
        await self._delete(
            path, repository, what, precondition, status=202, absent={"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}
        )

    async def delete_blob(self, digest: str, precondition: Precondition | None = None) -> None:
        """Delete a blob. The registry answers 204 also when there is none, so a 404 is never its own."""
        path = f"/admin/blobs/{self._segment(digest)}"
        await self._delete(path, "", f"blob {digest}", precondition, status=204, absent=set())

    async def _delete(
        self,
        path: str,
        repository: str,
        what: str,
        precondition: Precondition | None,
        *,
        status: int,
        absent: set[str],
    ) -> None:
        response = await self._own("DELETE", path, repository, precondition=precondition)
        if response.status == status or (
            response.status == 404 and _errors(response) & absent == _errors(response) != set()
        ):
            return
        if response.status == 401:
            raise refused(self.url, f"delete {what}")
        if response.status == 405:
            raise RegistryError(
                f"registry {self.url}: does not let {what} be deleted (405): read-only, or still named", 405
            )
        raise self._unexpected(f"delete {what}", response)

    # --- underneath ---------------------------------------------------------------------------------------------------

    async def _own(
        self,
        method: str,
        path: str,
        repository: str,
        *,
        accept: str = "application/json",
        precondition: Precondition | None = None,
    ) -> Response:
        """The registry's own response. Raises RegistryError for one of anything else."""
        response = await self._send(method, path, repository, accept=accept, precondition=precondition)
        if response.status in TRANSIENT_STATUSES:
            raise UnreachableError(
                f"registry {self.url}: {method} {path}: the server answers {response.status} ({response.describe()}); "
                "it stays busy, try again later",
                untrusted_certificate=False,
            )
        if not _is_own(response):
            raise self._not_own(method, path, response)
        return response

    async def _send(
        self,
        method: str,
        path: str,
        repository: str,
        *,
        accept: str = "application/json",
        precondition: Precondition | None = None,
    ) -> Response:
        """One request, with a second attempt after the registry has said how it wants to be authenticated.

        All that is sent may be repeated: deleting what is gone is a success.
        """
        response, used = await self._try(method, path, repository, accept, precondition)
        if response.status == 401 and _is_own(response) and await self._login.answer(response, repository, used):
            response, _ = await self._try(method, path, repository, accept, precondition)
        return response

    async def _try(
        self, method: str, path: str, repository: str, accept: str, precondition: Precondition | None
    ) -> tuple[Response, str | None]:
        """The response, and the Authorization that the request had."""
        headers = [("Accept", accept)]
        authorization = self._login.authorization(repository)
        if authorization is not None:
            headers.append(("Authorization", authorization))
        try:
            response = await self._http.request(method, self.url + path, headers=headers, precondition=precondition)
        except TransportError as error:
            raise UnreachableError(f"registry {error}", untrusted_certificate=error.untrusted_certificate) from None
        return response, authorization

    def _repository(self, repository: str) -> str:
        """The path of a repository, of which each part of the name is a segment."""
        return "/v2/" + "/".join(self._segment(part) for part in repository.split("/"))

    def _segment(self, name: str) -> str:
        try:
            return path_segment(name)
        except ValueError as error:
            raise RegistryError(f"registry {self.url}: {error}, so no request is made with this name") from None

    def _not_own(self, method: str, path: str, response: Response) -> RegistryError:
        return RegistryError(
            f"registry {self.url}: {method} {path} is answered by something else ({response.describe()}, without the "
            f"registry's headers); check what stands in between, or set prune_registry to false",
            response.status,
        )

    def _contradiction(self, what: str, claim: str) -> RegistryError:
        return RegistryError(
            f"registry {self.url}: {what} is answered with {claim}, which cannot be; check the registry and what "
            "stands in between, or set prune_registry to false"
        )

    def _unexpected(self, what: str, response: Response) -> RegistryError:
        codes = ", ".join(sorted(_errors(response)))[:200]
        return RegistryError(
            f"registry {self.url}: cannot {what}: it answers {response.status} ({codes or response.describe()})",
            response.status,
        )


def _is_own(response: Response) -> bool:
    """Whether it is a response of a registry's API, and not of something in between."""
    return API_VERSION in response.headers.getall("Docker-Distribution-Api-Version", [])


def _errors(response: Response) -> set[str]:
    """The codes of the errors that the registry names, such as BLOB_UNKNOWN; none of what does not have their form."""
    if response.media_type != "application/json":
        return set()
    try:
        return {error.code for error in msgspec.json.decode(response.body, type=_Errors).errors}
    except UNDECODABLE:
        return set()


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
