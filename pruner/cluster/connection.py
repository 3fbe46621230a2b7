"""Who asks, and how: from the settings to everything that one HTTP client needs.

Kubeconfigs, contexts, exec plugins and in-cluster credentials are read by the `kubernetes` package; what the settings say besides wins
over them, and credentials that are given replace all that a kubeconfig has. A `Connection` is what is left: an address, a TLS context, a
way to the proxy, and credentials that renew themselves. It shows no credential: not in `repr`, not in messages.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import kubernetes.config
import yaml
from kubernetes.client import Configuration
from kubernetes.config.config_exception import ConfigException

from pruner.cluster import kubeconfig
from pruner.errors import ClusterError, Problem, SettingsError
from pruner.settings import Settings


class Proxy:
    """The way through an HTTP proxy: where it is, what to tell it, and what is reached without it."""

    def __init__(self, url: str, headers: Mapping[str, str], no_proxy: str | None) -> None:
        self.url = url
        self.headers = dict(headers)
        self._without = [part.strip().lower() for part in (no_proxy or "").split(",") if part.strip()]

    def __repr__(self) -> str:
        return f"Proxy({urlsplit(self.url).hostname})"

    def applies_to(self, url: str) -> bool:
        """Whether this URL is reached through the proxy: `no_proxy` names hosts, domains, addresses and CIDRs."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        return not any(self._names(entry, host, parts.port) for entry in self._without)

    @staticmethod
    def _names(entry: str, host: str, port: int | None) -> bool:
        if entry == "*" or entry in (host, f"{host}:{port}"):
            return True
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return host.endswith("." + entry.lstrip("*").lstrip("."))


class Connection:
    """Everything that the HTTP client needs to talk to one API server.

    `headers` are sent with every request besides the credentials; `server_name` is the name in the server's certificate,
    where the kubeconfig gives another one than the address.
    """

    def __init__(self, configuration: Any, settings: Settings) -> None:
        self.server: str = configuration.host.rstrip("/")
        self.validates_certificates: bool = configuration.verify_ssl
        self.server_name: str | None = configuration.tls_server_name
        self.ca_file: str | None = configuration.ssl_ca_cert
        self.tls = _tls(configuration)
        self.headers = _impersonation(settings)
        self.proxy = _proxy(configuration, settings)
        self._configuration = configuration
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Connection({self.server})"

    async def authorization(self) -> str | None:
        """The Authorization header's value, renewed when it has expired; None where a certificate speaks, or nobody."""
        async with self._lock:
            if self._configuration.refresh_api_key_hook is not None:
                # An exec plugin is another program, and runs as long as it likes.
                await asyncio.to_thread(self._renew)
        scheme, _, credentials = str(self._configuration.api_key.get("BearerToken") or "").strip().partition(" ")
        if credentials:
            # In a pod the package writes the scheme in small letters, and the token with the file's line break.
            return f"{scheme.capitalize()} {credentials.strip()}"
        if self._configuration.username:
            return basic(f"{self._configuration.username}:{self._configuration.password}")
        return None

    def take_token(self, token: str) -> None:
        """From now on speak with this token (that a challenge has given for a name and a password)."""
        self._configuration.api_key["BearerToken"] = f"Bearer {token}"

    def _renew(self) -> None:
        before = self._configuration.cert_file
        try:
            self._configuration.refresh_api_key_hook(self._configuration)
        except (ConfigException, OSError, ValueError, KeyError) as error:
            raise ClusterError(
                f"{self.server}: the credentials have expired and could not be renewed ({_in_one_line(error)}); log in again"
            ) from None
        if self.tls is not None and self._configuration.cert_file != before:
            _present(self.tls, self._configuration)

    @property
    def has_password(self) -> bool:
        """Whether the credentials are a name and a password, which an OAuth server may take for a token."""
        token = str(self._configuration.api_key.get("BearerToken") or "")
        return token.startswith("Basic ") if token else bool(self._configuration.username)

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
    _load(settings, configuration)
    if settings.host:
        configuration.host = settings.host
    if not configuration.host:
        raise SettingsError([Problem("host", "the kubeconfig's cluster has no server: give host")])
    _speak_as_given(settings, configuration)
    configuration.ssl_ca_cert = settings.ca_cert or configuration.ssl_ca_cert
    if settings.validate_certs is not None:
        configuration.verify_ssl = settings.validate_certs
    return Connection(configuration, settings)


def _speak_as_given(settings: Settings, configuration: Any) -> None:
    """Credentials of the settings, instead of all that the kubeconfig has.

    An API server that is shown a certificate and a token goes by the certificate: what the kubeconfig has beside must not win.
    """
    if not (settings.api_key or settings.username or settings.client_cert):
        return
    configuration.refresh_api_key_hook = None
    configuration.api_key = {"BearerToken": f"Bearer {settings.api_key}"} if settings.api_key else {}
    configuration.username, configuration.password = settings.username, settings.password
    configuration.cert_file, configuration.key_file = settings.client_cert, settings.client_key


def _load(settings: Settings, configuration: Configuration) -> None:
    """Load the kubeconfig that the settings name, or the client's own, or what a pod is given."""
    if settings.kubeconfig is None and settings.context is None and settings.host:
        # An address that is given by itself gets no credentials that belong to another one.
        return
    if settings.kubeconfig is None and settings.context is None and not kubeconfig.default_exists():
        _load_in_cluster(configuration, bool(settings.api_key or settings.username or settings.client_cert))
        return
    source = settings.kubeconfig if settings.kubeconfig is not None else kubeconfig.default_paths()
    try:
        kubeconfig.load(configuration, source, context=settings.context, persist=settings.persist_config)
    except ConfigException as error:
        raise SettingsError([_kubeconfig_problem(settings, _in_one_line(error))]) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
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


def _tls(configuration: Configuration) -> ssl.SSLContext | None:
    """The TLS context for https; None for http. Raises SettingsError for certificates that cannot be used."""
    if not configuration.host.startswith("https://"):
        return None
    try:
        context = tls_context(configuration.ssl_ca_cert, validates=configuration.verify_ssl)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError([Problem("ca_cert", f"{configuration.ssl_ca_cert!r} cannot be used: {error}")]) from None
    if configuration.cert_file:
        _present(context, configuration)
    return context


def _present(context: ssl.SSLContext, configuration: Configuration) -> None:
    """Present the client certificate in connections that are made from now on. Raises SettingsError."""
    try:
        # Without a password for it OpenSSL would ask for one on the terminal.
        context.load_cert_chain(str(configuration.cert_file), configuration.key_file, password="")
    except (ssl.SSLError, OSError) as error:
        message = f"{configuration.cert_file!r} cannot be used with its key: {error}"
        raise SettingsError([Problem("client_cert", message)]) from None


def tls_context(ca_file: str | None, *, validates: bool) -> ssl.SSLContext:
    """A client's TLS context. Without a CA file the system's authorities are trusted."""
    context = ssl.create_default_context(cafile=ca_file)
    if not validates:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _impersonation(settings: Settings) -> list[tuple[str, str]]:
    headers = [("Impersonate-User", settings.impersonate_user)] if settings.impersonate_user else []
    return headers + [("Impersonate-Group", group) for group in settings.impersonate_groups]


def _proxy(configuration: Configuration, settings: Settings) -> Proxy | None:
    """The proxy of the settings, or of the kubeconfig (`proxy-url`); never one of the environment's usual variables."""
    url = settings.proxy or configuration.proxy
    if not url:
        return None
    render: dict[str, tuple[str, Callable[[str], str]]] = {
        "basic_auth": ("Authorization", basic),
        "proxy_basic_auth": ("Proxy-Authorization", basic),
        "user_agent": ("User-Agent", str),
    }
    headers: dict[str, Any] = {
        render[name][0]: render[name][1](value) for name, value in settings.proxy_headers.items()
    }
    return Proxy(url, headers, settings.no_proxy)
