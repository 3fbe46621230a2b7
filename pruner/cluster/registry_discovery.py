"""Where the cluster's registry is, and whether it can be used (R27)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from pruner.cluster.connection import Connection
from pruner.cluster.metadata import moment
from pruner.cluster.objects import ImageStream, ImageStreamStatus, Registry, Snapshot
from pruner.cluster.registry import RegistryClient, UnreachableError
from pruner.errors import RegistryError
from pruner.http.client import Timeouts
from pruner.settings import Settings


def discovered_host(snapshot: Snapshot) -> tuple[str, str] | None:
    """The registry's `host[:port]` and what says so: the newest managed image, or the newest image stream (R27).

    Whoever may push can make an image that names any host, and the token will be sent there; what a stream's status
    says is written by the API server. So an image's host counts only where some stream's status confirms it.
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

    It is pinged before anything depends on it; its `/v2/` is asked too, since a ping proves nothing about credentials
    (R27).

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
                if isinstance(error, UnreachableError) and error.untrusted_certificate:
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
