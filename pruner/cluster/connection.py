"""Which API server to talk to, and as whom: from the settings to everything that one HTTP client needs.

What the settings say wins over a kubeconfig, and credentials that are set replace all that a kubeconfig has. A
`Connection` is what is left: an address, a TLS context, a way to the proxy, and credentials that renew themselves. It
shows no credential: not in `repr`, not in messages.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Any, Final

from pruner.cluster import kubeconfig
from pruner.cluster.credentials import ClientConfiguration, Source
from pruner.cluster.kubeconfig import KubeconfigError, UnknownContextError
from pruner.cluster.proxy import basic, proxy_of
from pruner.cluster.tls import CertificateError, load_certificate, tls_context
from pruner.errors import ClusterError, Problem, SettingsError
from pruner.settings import BY_NAME, ConnectionSettings, UnfitError
from pruner.settings.files import named
from pruner.settings.shown import shown

_TOKEN: Final = re.compile(r"[\x20-\x7e]+")


class Connection:
    """Everything that the HTTP client needs to talk to one API server.

    `headers` are sent with every request in addition to the credentials; `server_name` is the name in the server's
    certificate, where the kubeconfig gives another one than the address.
    """

    def __init__(
        self, configuration: ClientConfiguration, settings: ConnectionSettings, source: Source | None = None
    ) -> None:
        self.server: str = configuration.host
        self.validates_certificates: bool = configuration.verify_ssl
        self.server_name: str | None = configuration.tls_server_name
        self.ca: str | None = configuration.ssl_ca_cert
        """A path or PEM content."""
        self.tls = _tls(configuration, settings, self)
        """For connections that are made from now on; another one when the client certificate has been renewed."""
        self.headers = _impersonation(settings, source)
        self.proxy = proxy_of(settings, configuration.proxy)
        self.generation = 0
        """Grows when the credentials change."""
        self._configuration = configuration
        self._settings = settings
        self._source = source
        self._token_by_challenge: str | None = None
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Connection({self.server})"

    async def authorization(self) -> str | None:
        """The Authorization header's value, renewed when it has expired; None where a certificate speaks, or nobody."""
        async with self._lock:
            if self._configuration.refresh_api_key_hook is not None:
                # An exec plugin is another program, and runs as long as it likes.
                await asyncio.to_thread(self._renew, self._configuration.refresh_api_key_hook)
        if self._token_by_challenge is not None:
            return f"Bearer {self._token_by_challenge}"
        return self._configured_authorization()

    def _configured_authorization(self) -> str | None:
        scheme, _, credentials = str(self._configuration.api_key.get("BearerToken") or "").strip().partition(" ")
        if credentials.strip() and not _TOKEN.fullmatch(credentials.strip()):
            message = "its token contains a line break or another character that a header cannot carry"
            raise SettingsError([Problem("kubeconfig", message)])
        if credentials:
            # In a pod the package writes the scheme in small letters, and the token with the file's line break.
            return f"{scheme.capitalize()} {credentials.strip()}"
        if self._configuration.username:
            return basic(f"{self._configuration.username}:{self._configuration.password}")
        return None

    @property
    def password(self) -> str | None:
        """Basic authentication, where the credentials are a name
        and a password, which an OAuth server may take for a token.
        """
        authorization = self._configured_authorization() or ""
        return authorization if authorization.startswith("Basic ") else None

    def take_token(self, token: str) -> None:
        """From now on speak with this token (that a challenge has given for a name and a password)."""
        self._token_by_challenge = token
        self.generation += 1

    async def renew_refused(self) -> None:
        """Read or make the credentials again although they have not ended, where they can be: the server refuses them.

        `generation` grows when they have changed. Raises ClusterError.
        """
        if self._source is not None:
            async with self._lock:
                await asyncio.to_thread(self._renew, self._source.renew)

    def _renew(self, renew: Callable[[Any], None]) -> None:
        before = self._configured_authorization(), self._configuration.cert_file
        try:
            renew(self._configuration)
        except (KubeconfigError, OSError, ValueError, KeyError) as error:
            raise ClusterError(
                f"{self.server}: the credentials have expired and could not be renewed ({_why(error)}); log in again"
            ) from None
        if self._configuration.cert_file != before[1]:
            # Connections in which the old certificate was shown are not used again, since they belong to the other
            # context.
            self.tls = _tls(self._configuration, self._settings, self)
        if (self._configured_authorization(), self._configuration.cert_file) != before:
            self.generation += 1

    async def token(self) -> str | None:
        """The bearer token by itself, for the registry; None where there is none."""
        scheme, _, token = (await self.authorization() or "").partition(" ")
        return token if scheme == "Bearer" else None


def connect(settings: ConnectionSettings) -> Connection:
    """Find out whom to ask and as whom. Raises SettingsError when nothing says it.

    Contacts nothing but what a kubeconfig names as the source of credentials.
    """
    configuration = ClientConfiguration()
    source = _load(settings, configuration)
    if settings.host:
        configuration.host = settings.host
    configuration.host = _server(configuration.host)
    if _speaks_itself(settings):
        source = None
        _speak_as_given(settings, configuration)
    configuration.ssl_ca_cert = settings.ca_cert or configuration.ssl_ca_cert
    if settings.validate_certs is not None:
        configuration.verify_ssl = settings.validate_certs
    return Connection(configuration, settings, source)


def _server(address: str) -> str:
    """The API server's address, which a kubeconfig may have put in a way that is not to be used."""
    if not address:
        raise SettingsError([Problem("host", "the kubeconfig's cluster has no server: give host")])
    try:
        server: str = BY_NAME["host"].parse(address)
    except UnfitError as unfit:
        raise SettingsError([Problem("kubeconfig", f"its cluster's server {unfit}")]) from None
    return server


def _speaks_itself(settings: ConnectionSettings) -> bool:
    """Whether the settings say as whom to ask."""
    return bool(settings.api_key or settings.username or settings.client_cert)


def _speak_as_given(settings: ConnectionSettings, configuration: ClientConfiguration) -> None:
    """Credentials of the settings, instead of all that the kubeconfig has.

    An API server that is shown a certificate and a token goes by the certificate: what the kubeconfig has beside must
    not win.
    """
    configuration.refresh_api_key_hook = None
    configuration.api_key = {"BearerToken": f"Bearer {settings.api_key}"} if settings.api_key else {}
    configuration.username, configuration.password = settings.username, settings.password
    configuration.cert_file, configuration.key_file = settings.client_cert, settings.client_key


def _load(settings: ConnectionSettings, configuration: ClientConfiguration) -> Source | None:
    """Load the kubeconfig that the settings name, or the client's own, or what a pod is given."""
    if settings.kubeconfig is None and settings.context is None and settings.host:
        # An address that is given by itself gets no credentials that belong to another one.
        return None
    if settings.kubeconfig is None and settings.context is None and not kubeconfig.default_exists():
        _load_in_cluster(configuration, _speaks_itself(settings))
        return None
    source = settings.kubeconfig if settings.kubeconfig is not None else kubeconfig.default_paths()
    try:
        entries, files = kubeconfig.load(source, settings.context)
        found = Source(entries, files.save_changes if files is not None and settings.persist_config else None)
        found.load(configuration)
    except UnknownContextError as error:
        raise SettingsError([Problem("context", str(error))]) from None
    except (KubeconfigError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SettingsError([Problem("kubeconfig", _why(error))]) from None
    return found


def _why(error: Exception) -> str:
    """What is wrong with a kubeconfig or its credentials.

    Only our own words are shown: those of others may quote credentials.
    """
    if isinstance(error, KubeconfigError):
        return str(error)
    if isinstance(error, OSError):
        return f"refers to {shown(error.filename)}, which cannot be read: {error.strerror}"
    return f"is not a kubeconfig that can be used ({type(error).__name__})"


def _load_in_cluster(configuration: ClientConfiguration, credentials: bool) -> None:
    # In a pod only: the package takes longer to import than a small cluster to read.
    from pruner.cluster.in_cluster import load  # noqa: PLC0415

    try:
        load(configuration)
    except (KubeconfigError, OSError, ValueError):
        what = "credentials are given, and no host" if credentials else "no cluster is given"
        raise SettingsError(
            [
                Problem(
                    "host",
                    f"{what}: give host, or kubeconfig (there is no {kubeconfig.default_paths()}), or run in a pod",
                )
            ]
        ) from None


def _tls(
    configuration: ClientConfiguration, settings: ConnectionSettings, connection: Connection
) -> ssl.SSLContext | None:
    """The TLS context for https; None for http. Raises SettingsError for certificates that cannot be used."""
    if not connection.server.startswith("https://"):
        return None
    try:
        context = tls_context(connection.ca, validates=connection.validates_certificates)
    except CertificateError as error:
        message = f"{named(settings.ca_cert)} cannot be used" if settings.ca_cert else _CA_UNUSABLE
        raise SettingsError([Problem("ca_cert" if settings.ca_cert else "kubeconfig", f"{message}: {error}")]) from None
    if configuration.cert_file:
        try:
            load_certificate(context, configuration.cert_file, configuration.key_file)
        except CertificateError as error:
            given = settings.client_cert
            message = f"{named(given)} cannot be used" if given else "its client certificate cannot be used"
            problem = Problem("client_cert" if given else "kubeconfig", f"{message} with its key: {error}")
            raise SettingsError([problem]) from None
    return context


_CA_UNUSABLE: Final = "its authority's certificate cannot be used"


def _impersonation(settings: ConnectionSettings, source: Source | None) -> list[tuple[str, str]]:
    """As whom to ask: as the settings say, else as the kubeconfig does."""
    if settings.impersonate_user is None:
        return source.impersonation if source is not None else []
    groups = [("Impersonate-Group", group) for group in settings.impersonate_groups]
    return [("Impersonate-User", settings.impersonate_user), *groups]
