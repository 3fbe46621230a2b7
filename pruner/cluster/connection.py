"""Who asks, and how: from the settings to everything that one HTTP client needs.

Kubeconfigs, contexts, exec plugins and in-cluster credentials are read by the `kubernetes` package; what the settings say besides wins
over them, and credentials that are given replace all that a kubeconfig has. A `Connection` is what is left: an address, a TLS context, a
way to the proxy, and credentials that renew themselves. It shows no credential: not in `repr`, not in messages.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import kubernetes.config
import yaml
from kubernetes.client import Configuration
from kubernetes.config.config_exception import ConfigException

from pruner.cluster import kubeconfig
from pruner.errors import ClusterError, Problem, SettingsError
from pruner.http.proxy import Proxy
from pruner.settings import BY_NAME, Settings, UnfitError

_CONTROL = re.compile(r"[\x00-\x1f]")


class Connection:
    """Everything that the HTTP client needs to talk to one API server.

    `headers` are sent with every request besides the credentials; `server_name` is the name in the server's certificate,
    where the kubeconfig gives another one than the address.
    """

    def __init__(self, configuration: Any, settings: Settings, source: kubeconfig.Source | None = None) -> None:
        self.server: str = configuration.host
        self.validates_certificates: bool = configuration.verify_ssl
        self.server_name: str | None = configuration.tls_server_name
        self.ca_file: str | None = configuration.ssl_ca_cert
        self.tls = _tls(configuration, settings, self)
        """For connections that are made from now on; another one when the client certificate has been renewed."""
        self.headers = _impersonation(settings, source)
        self.proxy = _proxy(configuration, settings)
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
        if _CONTROL.search(credentials.strip()):
            message = "its token contains a line break or another control character, which a header cannot carry"
            raise SettingsError([Problem("kubeconfig", message)])
        if credentials:
            # In a pod the package writes the scheme in small letters, and the token with the file's line break.
            return f"{scheme.capitalize()} {credentials.strip()}"
        if self._configuration.username:
            return basic(f"{self._configuration.username}:{self._configuration.password}")
        return None

    @property
    def password(self) -> str | None:
        """Basic authentication, where the credentials are a name and a password, which an OAuth server may take for a token."""
        authorization = self._configured_authorization() or ""
        return authorization if authorization.startswith("Basic ") else None

    def take_token(self, token: str) -> None:
        """From now on speak with this token (that a challenge has given for a name and a password)."""
        self._token_by_challenge = token
        self.generation += 1

    async def renew_refused(self) -> None:
        """Read or make the credentials again although they have not ended, where they can be: the server refuses them.

        `generation` grows when others have come of it. Raises ClusterError.
        """
        if self._source is not None:
            async with self._lock:
                await asyncio.to_thread(self._renew, self._source.renew)

    def _renew(self, renew: Callable[[Any], None]) -> None:
        before = self._configured_authorization(), self._configuration.cert_file
        try:
            renew(self._configuration)
        except (ConfigException, OSError, ValueError, KeyError) as error:
            raise ClusterError(
                f"{self.server}: the credentials have expired and could not be renewed ({_in_one_line(error)}); log in again"
            ) from None
        if self._configuration.cert_file != before[1]:
            # Connections in which the old certificate was shown are not used again, since they belong to the other context.
            self.tls = _tls(self._configuration, self._settings, self)
        if (self._configured_authorization(), self._configuration.cert_file) != before:
            self.generation += 1

    async def token(self) -> str | None:
        """The bearer token by itself, for the registry; None where there is none."""
        scheme, _, token = (await self.authorization() or "").partition(" ")
        return token if scheme == "Bearer" else None


def basic(user_and_password: str) -> str:
    """The value of a header of basic authentication."""
    return "Basic " + base64.b64encode(user_and_password.encode()).decode("ascii")


def connect(settings: Settings) -> Connection:
    """Find out whom to ask and as whom. Raises SettingsError when nothing says it.

    Contacts nothing but what a kubeconfig names as the source of credentials.
    """
    # The package would take a proxy from the environment's usual variables.
    configuration: Any = Configuration(proxy="", no_proxy="")
    configuration.host = ""
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


def _speaks_itself(settings: Settings) -> bool:
    """Whether the settings say as whom to ask."""
    return bool(settings.api_key or settings.username or settings.client_cert)


def _speak_as_given(settings: Settings, configuration: Any) -> None:
    """Credentials of the settings, instead of all that the kubeconfig has.

    An API server that is shown a certificate and a token goes by the certificate: what the kubeconfig has beside must not win.
    """
    configuration.refresh_api_key_hook = None
    configuration.api_key = {"BearerToken": f"Bearer {settings.api_key}"} if settings.api_key else {}
    configuration.username, configuration.password = settings.username, settings.password
    configuration.cert_file, configuration.key_file = settings.client_cert, settings.client_key


def _load(settings: Settings, configuration: Configuration) -> kubeconfig.Source | None:
    """Load the kubeconfig that the settings name, or the client's own, or what a pod is given."""
    if settings.kubeconfig is None and settings.context is None and settings.host:
        # An address that is given by itself gets no credentials that belong to another one.
        return None
    if settings.kubeconfig is None and settings.context is None and not kubeconfig.default_exists():
        _load_in_cluster(configuration, _speaks_itself(settings))
        return None
    source = settings.kubeconfig if settings.kubeconfig is not None else kubeconfig.default_paths()
    try:
        return kubeconfig.load(configuration, source, context=settings.context, persist=settings.persist_config)
    except ConfigException as error:
        raise SettingsError([_kubeconfig_problem(settings, _in_one_line(error))]) from None
    except OSError as error:
        message = f"names {error.filename!r}, which cannot be read: {error.strerror}"
        raise SettingsError([_kubeconfig_problem(settings, message)]) from None
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        # What PyYAML and the loader raise for files that are no kubeconfig at all.
        raise SettingsError([_kubeconfig_problem(settings, f"is not a kubeconfig: {type(error).__name__}")]) from None


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def _kubeconfig_problem(settings: Settings, message: str) -> Problem:
    if settings.context is not None and f"name {settings.context} " in message:
        return Problem("context", f"the kubeconfig has no context {settings.context!r}")
    return Problem("kubeconfig", message.replace("kube-config", "kubeconfig"))


def _load_in_cluster(configuration: Configuration, credentials: bool) -> None:
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
    except ConfigException:
        what = "credentials are given, and no host" if credentials else "no cluster is given"
        raise SettingsError(
            [
                Problem(
                    "host",
                    f"{what}: give host, or kubeconfig (there is no {kubeconfig.default_paths()}), or run in a pod",
                )
            ]
        ) from None


def _tls(configuration: Configuration, settings: Settings, connection: Connection) -> ssl.SSLContext | None:
    """The TLS context for https; None for http. Raises SettingsError for certificates that cannot be used."""
    if not connection.server.startswith("https://"):
        return None
    try:
        context = tls_context(connection.ca_file, validates=connection.validates_certificates)
    except (ssl.SSLError, OSError) as error:
        message = (
            f"{settings.ca_cert!r} cannot be used" if settings.ca_cert else "its authority's certificate cannot be used"
        )
        raise SettingsError([Problem("ca_cert" if settings.ca_cert else "kubeconfig", f"{message}: {error}")]) from None
    if configuration.cert_file:
        try:
            # Without a password for it OpenSSL would ask for one on the terminal.
            context.load_cert_chain(str(configuration.cert_file), configuration.key_file, password="")
        except (ssl.SSLError, OSError) as error:
            given = settings.client_cert
            message = f"{given!r} cannot be used" if given else "its client certificate cannot be used"
            problem = Problem("client_cert" if given else "kubeconfig", f"{message} with its key: {error}")
            raise SettingsError([problem]) from None
        finally:
            kubeconfig.discard(configuration.key_file)
    return context


def tls_context(ca_file: str | None, *, validates: bool) -> ssl.SSLContext:
    """A client's TLS context. Without a CA file the system's authorities are trusted."""
    context = ssl.create_default_context(cafile=ca_file)
    if not validates:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _impersonation(settings: Settings, source: kubeconfig.Source | None) -> list[tuple[str, str]]:
    """As whom to ask: as the settings say, else as the kubeconfig does."""
    if settings.impersonate_user is None:
        return source.impersonation if source is not None else []
    groups = [("Impersonate-Group", group) for group in settings.impersonate_groups]
    return [("Impersonate-User", settings.impersonate_user), *groups]


def _proxy(configuration: Configuration, settings: Settings) -> Proxy | None:
    """The proxy of the settings, or of the kubeconfig (`proxy-url`); never one of the environment's usual variables."""
    render: dict[str, tuple[str, Callable[[str], str]]] = {
        "basic_auth": ("Authorization", basic),
        "proxy_basic_auth": ("Proxy-Authorization", basic),
        "user_agent": ("User-Agent", str),
    }
    headers = {render[name][0]: render[name][1](value) for name, value in settings.proxy_headers.items()}
    if settings.proxy:
        return Proxy(settings.proxy, headers, settings.no_proxy)
    if not configuration.proxy:
        return None
    url, credentials = _proxy_of_kubeconfig(configuration.proxy)
    return Proxy(url, {**credentials, **headers}, settings.no_proxy)


def _proxy_of_kubeconfig(url: str) -> tuple[str, dict[str, str]]:
    """The address without credentials, and the header that these become."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError(
            [Problem("kubeconfig", "its proxy-url is not like http://host:port; other proxies are not used")]
        )
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.username is None:
        return address, {}
    return address, {"Proxy-Authorization": basic(f"{unquote(parts.username)}:{unquote(parts.password or '')}")}
