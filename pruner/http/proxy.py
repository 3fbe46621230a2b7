"""The way through an HTTP proxy, and which hosts are reached without it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict


class Proxy:
    """An HTTP proxy: its URL, the headers for it, and the hosts, domains and CIDRs that are reached directly."""

    def __init__(self, url: str, headers: Mapping[str, str], no_proxy: str | None) -> None:
        self.url = url
        self.headers = dict(headers)
        self._without = [part.strip().lower() for part in (no_proxy or "").split(",") if part.strip()]

    def __repr__(self) -> str:
        return f"Proxy({urlsplit(self.url).hostname})"

    def applies_to(self, url: str) -> bool:
        """Whether this URL is reached through the proxy: `no_proxy` names hosts, domains, addresses and CIDRs."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower().rstrip(".")
        port = parts.port or (80 if parts.scheme == "http" else 443)
        return not any(_names(entry, host, port) for entry in self._without)


def _names(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `no_proxy` names a host: `*`, a host with or without a port, a domain, an address, a CIDR.

    A domain that begins with a dot (or `*.`) is what is below it, one that does not is the host of that name too; the
    addresses of a host's name are not looked up.
    """
    if entry == "*":
        return True
    name, entry_port = _without_port(entry)
    if entry_port not in (None, str(port)):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == name.rstrip(".") or host.endswith("." + name.removeprefix("*").strip("."))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _without_port(entry: str) -> tuple[str, str | None]:
    """`host:port` in its two parts; an IPv6 address with a port stands in brackets."""
    if entry.startswith("["):
        address, _, rest = entry[1:].partition("]")
        # Some write the prefix of a network behind the bracket.
        return (address + rest, None) if rest.startswith("/") else (address, rest.removeprefix(":") or None)
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port or None
    return entry, None


class ProxyAwareConnector(aiohttp.TCPConnector):
    """A pool of connections that sends `Authorization` to a proxy where that is configured.

    aiohttp sends it under the name `Proxy-Authorization`, in place of one that is there already, and offers no public
    way around that; tests/component/test_connection_proxy_headers.py fails when this method is renamed.
    """

    def _update_proxy_auth_header_and_build_proxy_req(self, req: aiohttp.ClientRequest) -> aiohttp.ClientRequest:
        headers = CIMultiDict(req.proxy_headers or {})
        authorization = headers.pop("Authorization", None)
        req.proxy_headers = headers
        proxied = super()._update_proxy_auth_header_and_build_proxy_req(req)
        if authorization is not None:
            proxied.headers["Authorization"] = authorization
        return proxied
