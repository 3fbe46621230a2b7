"""
The process: both servers in one event loop, the folder they keep their things in, and the way they start and stop.
Everything that a client needs to reach the sandbox (addresses, tokens, a kubeconfig) is made here.
"""

import asyncio
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import yaml
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from sandbox.api import Api
from sandbox.blobs import Blobs
from sandbox.clock import Clock
from sandbox.control import Control
from sandbox.descriptors import Descriptors
from sandbox.discovery import Situation
from sandbox.edge import Edge, Protocol, Surroundings
from sandbox.faults import Faults
from sandbox.identity import Users
from sandbox.images import ImageStreams
from sandbox.journal import Journal
from sandbox.kinds import CLUSTER_VERSIONS, NAMESPACES, Catalogue, Resource
from sandbox.registry import Registry, RegistryOptions
from sandbox.rollout import Rollout
from sandbox.status import Json
from sandbox.store import Store

LOOPBACK = "127.0.0.1"
OBJECTS_FILE = "objects.json"
KUBECONFIG_FILE = "kubeconfig"
GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate and key in PEM files; `authority` is what clients are to trust, None for no check."""

    certificate: Path
    key: Path
    authority: Path | None = None

    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate, self.key)
        return made


@dataclass(frozen=True, slots=True)
class Options:
    """How a sandbox is to be. Ports of 0 are chosen by the system."""

    folder: Path
    port: int = 0
    registry_port: int = 0
    registry_host: str = ""
    tls: Tls | None = None
    registry_tls: bool = True
    registry_replicas: int = 1
    without_groups: tuple[str, ...] = ()
    resources: tuple[Resource, ...] = ()
    users: Users = field(default_factory=Users)
    registry: RegistryOptions = field(default_factory=RegistryOptions)


class SavedHost(msgspec.Struct):
    """The part of the file that is needed before the rest can be read."""

    registry_host: str


class Saved(SavedHost):
    """What the file of a saved sandbox holds."""

    version: int
    objects: dict[str, list[dict[str, Any]]]


class Listener:
    """One server on one socket, bound when it is made, so that its address is known before it answers."""

    def __init__(self, port: int, tls: Tls | None) -> None:
        # named TCP, since asyncio turns Nagle's delay off only for sockets that say so
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((LOOPBACK, port))
        self.tls = tls
        self.address = f"{LOOPBACK}:{self.socket.getsockname()[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        self.state = ServerState()

    async def start(self, application: ASGIApp) -> asyncio.Server:
        # A client that tries https first is a client like any other, and no news.
        config = Config(
            application,
            date_header=False,
            server_header=False,
            log_config=None,
            log_level="error",
            timeout_keep_alive=90,
        )
        config.load()
        context = self.tls.context() if self.tls else None
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: Protocol(config, server_state=self.state, app_state={}), sock=self.socket, ssl=context, backlog=512
        )

    def abort(self) -> None:
        """Cuts every connection."""
        for connection in list(self.state.connections):
            connection.transport.abort()

    async def drain(self) -> None:
        """Closes idle connections, lets running requests end, and cuts what has not ended after a while."""
        for connection in list(self.state.connections):
            connection.shutdown()
        if self.state.tasks:
            await asyncio.wait(list(self.state.tasks), timeout=GRACE_SECONDS)
        self.abort()
        if self.state.tasks:
            await asyncio.wait(list(self.state.tasks), timeout=GRACE_SECONDS)


class Sandbox:
    """A sandbox that is listening from `start` to `close`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.stopping = asyncio.Event()
        self.api = Listener(options.port, options.tls)
        registry_tls = options.tls if options.registry_tls else None
        self.registry = Listener(options.registry_port, registry_tls)
        self.replicas = [self.registry, *(Listener(0, registry_tls) for _ in range(1, options.registry_replicas))]
        self.registry_host = options.registry_host or self.registry.address
        self.clock = Clock()
        self.store = Store(self.clock)
        self.catalogue = Catalogue(options.without_groups, options.resources)
        self.situation = Situation()
        self.blobs = Blobs(options.folder)
        self.streams = ImageStreams(self.store, self.registry_host)
        self.journal = Journal()
        self._servers: list[asyncio.Server] = []
        self._following: asyncio.Task[None] | None = None

    @property
    def objects_file(self) -> Path:
        return self.options.folder / OBJECTS_FILE

    def state(self) -> Json:
        """Where and how to reach the sandbox; the line that is printed when it is ready."""
        clusters = [item.content["spec"]["clusterID"] for item in self.store.items(CLUSTER_VERSIONS)]
        return {
            "api": self.api.url,
            "registry": self.registry.url,
            "registry_replicas": [replica.url for replica in self.replicas],
            "registry_host": self.registry_host,
            "tokens": self.options.users.tokens(),
            "kubeconfig": str(self.options.folder.absolute() / KUBECONFIG_FILE),
            "uid": clusters[0] if clusters else None,
        }

    async def start(self) -> None:
        self.options.folder.mkdir(parents=True, exist_ok=True)
        if self.objects_file.is_file():
            self.load()
        else:
            self._found()
        self._write_kubeconfig()
        around = Surroundings(self.clock, self.journal, Faults(), self.stopping, self.kill)
        control = Control(
            self.store,
            self.catalogue,
            self.situation,
            self.options.users,
            self.blobs,
            around,
            self.state,
            self.save,
            self.load,
        ).application()
        api = Api(self.store, self.catalogue, self.options.users, self.streams, self.situation, self.stopping)
        self._servers = [
            await self.api.start(Edge(_beside(control, api), "api", around)),
            *[
                await replica.start(Edge(registry, "registry", around))
                for replica, registry in zip(self.replicas, self._registries(), strict=True)
            ],
        ]

    def _registries(self) -> list[Registry]:
        """The registry's replicas: several have memories of their own and a deployment, one has neither."""
        several = len(self.replicas) > 1
        memories = [Descriptors(remembering=several) for _ in self.replicas]
        if several:
            rollout = Rollout(self.store, memories)
            rollout.ensure()
            self._following = asyncio.create_task(rollout.follow())
        given = (self.blobs, self.streams, self.options.users, self.options.registry)
        return [Registry(*given, memory) for memory in memories]

    def kill(self) -> None:
        """Ends the sandbox at once: connections are cut, not closed."""
        for listener in (self.api, *self.replicas):
            listener.abort()
        self.stopping.set()

    async def close(self) -> None:
        """Stops listening, and saves: like a cluster, the sandbox finds its objects again."""
        if self._following is not None:
            self._following.cancel()
        for server in self._servers:
            server.close()
        await asyncio.gather(*(listener.drain() for listener in (self.api, *self.replicas)))
        self.save()

    def save(self) -> None:
        """Writes all objects beside the registry's files, so that the folder can be copied and started again."""
        objects: dict[str, list[dict[str, Any]]] = {}
        for item in self.store:
            objects.setdefault(item.resource.key, []).append(item.content)
        saved = Saved(self.registry_host, self.store.version, objects)
        draft = self.objects_file.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(saved))
        draft.replace(self.objects_file)

    def load(self) -> None:
        """Reads the saved objects in place of those there are;
        what named the registry's old address names the new one.
        """
        raw = self.objects_file.read_bytes()
        old = msgspec.json.decode(raw, type=SavedHost).registry_host
        saved = msgspec.json.decode(raw.replace(old.encode(), self.registry_host.encode()), type=Saved)
        self.store.clear()
        for resource in self.catalogue:
            self.store.load(resource, saved.objects.get(resource.key, []))
        self.store.version = self.store.oldest_event = saved.version

    def _found(self) -> None:
        """A new cluster: the namespaces that each has, and its identity."""
        for name in ("default", "kube-system", "openshift"):
            self.store.create(NAMESPACES, "", {"metadata": {"name": name}, "status": {"phase": "Active"}})
        version = {"metadata": {"name": "version"}, "spec": {"clusterID": str(uuid4()), "channel": "sandbox"}}
        self.store.create(CLUSTER_VERSIONS, "", version)

    def _write_kubeconfig(self) -> None:
        tokens = self.options.users.tokens()
        tls = self.options.tls
        trust: Json = {}
        if tls:
            trust = {"certificate-authority": str(tls.authority.absolute())} if tls.authority else {}
            trust = trust or {"insecure-skip-tls-verify": True}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "admin",
            "clusters": [{"name": "sandbox", "cluster": {"server": self.api.url, **trust}}],
            "users": [{"name": name, "user": {"token": token}} for name, token in tokens.items()],
            "contexts": [
                {"name": name, "context": {"cluster": "sandbox", "user": name, "namespace": "default"}}
                for name in tokens
            ],
        }
        path = self.options.folder / KUBECONFIG_FILE
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _beside(control: ASGIApp, api: ASGIApp) -> ASGIApp:
    """The API, with the control interface on the same port."""

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        inner = control if scope["path"].startswith("/sandbox/") else api
        await inner(scope, receive, send)

    return either


def stop_on(signals: Iterable[signal.Signals], stopping: asyncio.Event) -> None:
    """Ends the sandbox on these signals."""
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, stopping.set)


def stop_with_parent(stopping: asyncio.Event) -> None:
    """Ends the sandbox when its standard input ends, which it does when whoever started it is gone."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):  # unbuffered: a lock of the buffer would be held at exit
            pass
        loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=watch, daemon=True).start()
