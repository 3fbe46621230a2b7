"""The proxy of the settings or of a kubeconfig."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from pruner.errors import Problem, SettingsError
from pruner.http.proxy import Proxy
from pruner.settings import ConnectionSettings


def proxy_of(settings: ConnectionSettings, of_kubeconfig: str | None) -> Proxy | None:
    """The proxy of the settings, or of the kubeconfig (`proxy-url`); never one of the environment's usual variables."""
    render: dict[str, tuple[str, Callable[[str], str]]] = {
        "basic_auth": ("Authorization", basic),
        "proxy_basic_auth": ("Proxy-Authorization", basic),
        "user_agent": ("User-Agent", str),
    }
    headers = {render[name][0]: render[name][1](value) for name, value in settings.proxy_headers.items()}
    if settings.proxy:
        return Proxy(settings.proxy, headers, settings.no_proxy)
    if not of_kubeconfig:
        return None
    url, credentials = _without_credentials(of_kubeconfig)
    return Proxy(url, {**credentials, **headers}, settings.no_proxy)


def basic(user_and_password: str) -> str:
    """The value of a header of basic authentication."""
    return "Basic " + base64.b64encode(user_and_password.encode()).decode("ascii")


def _without_credentials(url: str) -> tuple[str, dict[str, str]]:
    """The address of a kubeconfig's proxy without credentials, and the header that these become."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        header = (
            basic(f"{unquote(parts.username)}:{unquote(parts.password or '')}") if parts.username is not None else None
        )
        # With a slash in the password a part of it would be the host, and the rest a path.
        valid = valid and "@" not in parts.path + parts.query + parts.fragment and url.isprintable()
    except ValueError:
        valid, header = False, None
    if not valid:
        raise SettingsError(
            [Problem("kubeconfig", "its proxy-url is not like http://host:port; other proxies are not used")]
        )
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return address, {} if header is None else {"Proxy-Authorization": header}
