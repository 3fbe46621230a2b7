"""An API server of rendered bytes: it holds a generated cluster as pages and does nothing but send them, and count.

    python -m bench.server IMAGES

It says on one line of JSON when it is ready and how large the cluster is. `/bench/counts` gives requests and bytes since it was asked
last. Lists take `limit` in multiples of 500 and without one are sent whole; single objects, discovery and access reviews are answered as
well. What is written is taken and forgotten, and a watch never says anything. `/bench/set?pace=N&gzip=0` sets how many bytes per second
it sends (0 is no limit), and whether pages are sent compressed to clients that accept it, as API servers send answers of more than 128 KiB.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import sys
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import httptools

from bench.clusters import NOW, Cluster, encoded

PAGE: Final = 500
KINDS: Final = {
    "images": "Image", "imagestreams": "ImageStream", "pods": "Pod", "replicasets": "ReplicaSet", "deployments": "Deployment",
    "builds": "Build", "buildconfigs": "BuildConfig", "deploymentconfigs": "DeploymentConfig", "daemonsets": "DaemonSet",
    "replicationcontrollers": "ReplicationController", "statefulsets": "StatefulSet", "jobs": "Job", "cronjobs": "CronJob",
    "controllerrevisions": "ControllerRevision", "limitranges": "LimitRange",
    "namespaces": "Namespace", "clusterversions": "ClusterVersion",
}  # fmt: skip
GZIP_LEVEL: Final = 1
MANIFEST: Final = 1500
"""Bytes of every manifest in the registry."""
REGISTRY: Final = "Docker-Distribution-Api-Version: registry/2.0\r\n"
"""What the registry says of itself; an API server at the same address may say it too."""


class Rendered:
    """One list: blocks of PAGE objects, joined by commas, and where in them each object is."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.kind = KINDS[path.rpartition("/")[2]]
        self.version = path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
        self.blocks: list[bytes] = []
        self.places: dict[tuple[str, str], tuple[int, int, int]] = {}
        self.count = 0
        self.bytes = 0
        self.compressed: dict[int, bytes] = {}

    def fill(self, objects: Any) -> None:
        parts: list[bytes] = []
        at = 0
        for key, body in encoded(objects):
            self.places[key] = len(self.blocks), at, at + len(body)
            at += len(body) + 1
            parts.append(body)
            if len(parts) == PAGE:
                self.blocks.append(b",".join(parts))
                parts, at = [], 0
            self.count += 1
            self.bytes += len(body)
        if parts:
            self.blocks.append(b",".join(parts))

    def compress(self) -> None:
        for number in range(len(self.blocks)):
            self.compressed[number] = gzip.compress(b"".join(self.page(number, 1)), GZIP_LEVEL, mtime=0)

    def page(self, first: int, blocks: int) -> list[bytes]:
        """The body of an answer, in pieces."""
        last = first + blocks
        more = last < len(self.blocks)
        meta = {"resourceVersion": "900000"}
        rest = {"continue": str(last), "remainingItemCount": self.count - last * PAGE} if more else {}
        head = {"kind": f"{self.kind}List", "apiVersion": self.version, "metadata": {**meta, **rest}}
        pieces = [json.dumps(head, separators=(",", ":"))[:-1].encode() + b',"items":[']
        for number, block in enumerate(self.blocks[first:last]):
            pieces += [b",", block] if number else [block]
        return [*pieces, b"]}\n"]

    def single(self, key: tuple[str, str]) -> bytes | None:
        if key not in self.places:
            return None
        block, start, end = self.places[key]
        head = json.dumps({"kind": self.kind, "apiVersion": self.version}, separators=(",", ":"))[:-1]
        return head.encode() + b"," + self.blocks[block][start + 1 : end]


class World:
    """All that the server serves, and what was asked of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.lists: dict[str, Rendered] = {}
        for path, objects in cluster.lists():
            self.lists[path] = Rendered(path)
            self.lists[path].fill(objects)
        self.pace = self.free_at = 0.0
        self.compressed = False
        self.requests = self.bytes = 0
        self.documents = {path: json.dumps(found).encode() for path, found in self._discovery().items()}

    def counts(self) -> bytes:
        said = json.dumps({"requests": self.requests, "bytes": self.bytes}).encode()
        self.requests = self.bytes = 0
        return said

    def set(self, query: str) -> bytes:
        given = parse_qs(query)
        self.pace = float(given["pace"][0])
        self.compressed = given["gzip"][0] == "1"
        if self.compressed:
            for found in self.lists.values():
                found.compress()
        return b"{}"

    def _discovery(self) -> dict[str, Any]:
        roots: dict[str, list[str]] = {}
        for path in self.lists:
            root, _, plural = path.rpartition("/")
            roots.setdefault(root, []).append(plural)
        found: dict[str, Any] = {
            "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis/config.openshift.io/v1/clusterversions/version": {
                "metadata": {"name": "version"},
                "spec": {"clusterID": "bench"},
            },
        }
        groups = []
        roots["/apis/config.openshift.io/v1"] = ["clusterversions"]
        roots["/api/v1"].append("namespaces")
        for root, plurals in roots.items():
            version = root.removeprefix("/apis/").removeprefix("/api/")
            group = version.rpartition("/")[0]
            if group:
                entry = {"groupVersion": version, "version": "v1"}
                groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
            found[root] = {
                "kind": "APIResourceList",
                "groupVersion": version,
                "resources": [
                    {
                        "name": plural,
                        "kind": KINDS[plural],
                        "singularName": KINDS[plural].lower(),
                        "namespaced": plural != "images",
                        "verbs": ["get", "list", "watch", "update", "delete"],
                    }
                    for plural in plurals
                ],
            }
        # A registry stands at the same address: it is there, and takes whatever token it is given.
        found["/"] = found["/v2/"] = {}
        found["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        return found

    def answer(self, method: str, url: bytes, body: bytes, *, takes_gzip: bool) -> tuple[int, list[bytes], bool]:  # noqa: PLR0911 - a table
        """Status, the pieces of the body, and whether it is compressed."""
        parts = urlsplit(url.decode())
        path = unquote(parts.path)
        if path in self.documents:
            return 200, [self.documents[path]], False
        if path.startswith("/admin/blobs/"):
            return 405, [b"{}"], False
        if method == "POST":
            return 201, [b'{"status":{"allowed":true}}'], False
        if method == "DELETE":
            return 200, [b'{"kind":"Status","status":"Success"}'], False
        if method == "PUT":
            return 200, [body], False
        if path in self.lists:
            query = parse_qs(parts.query)
            found = self.lists[path]
            first = int(query.get("continue", ["0"])[0])
            limit = int(query.get("limit", ["0"])[0])
            if takes_gzip and self.compressed and limit == PAGE and found.blocks:
                return 200, [found.compressed[first]], True
            return 200, found.page(first, limit // PAGE or len(found.blocks)), False
        single = self._single(path)
        return (
            (200, [single], False)
            if single
            else (404, [b'{"kind":"Status","status":"Failure","reason":"NotFound","code":404}'], False)
        )

    def _single(self, path: str) -> bytes | None:
        rest, _, name = path.rpartition("/")
        namespace = ""
        if "/namespaces/" in rest:
            root, _, inside = rest.partition("/namespaces/")
            namespace, _, plural = inside.partition("/")
            rest = f"{root}/{plural}"
        found = self.lists.get(rest)
        return found.single((namespace, name)) if found else None


class Connection(asyncio.Protocol):
    """One connection: requests are answered in their order, bodies are handed to the socket as they lie in memory."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.url = self.body = b""
        self.gzip = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(1 << 22)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"accept-encoding":
            self.gzip = b"gzip" in value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        url, self.url = self.url, b""
        sent, self.body = self.body, b""
        method = self.parser.get_method().decode()
        if url.startswith(b"/bench/"):
            said = self.world.counts() if url == b"/bench/counts" else self.world.set(url.decode().partition("?")[2])
            self._send(200, [said], compressed=False)
            return
        if b"watch=true" in url:
            assert self.transport is not None
            self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            return
        if method == "HEAD":
            # A manifest, of which only the size is asked.
            self.world.requests += 1
            assert self.transport is not None
            self.transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {MANIFEST}\r\n{REGISTRY}\r\n".encode())
            return
        status, pieces, compressed = self.world.answer(method, url, sent, takes_gzip=self.gzip)
        self.world.requests += 1
        size = sum(map(len, pieces))
        self.world.bytes += size
        if self.world.pace and size > 100_000:
            loop = asyncio.get_running_loop()
            self.world.free_at = max(self.world.free_at, loop.time()) + size / self.world.pace
            loop.call_at(self.world.free_at, lambda: self._send(status, pieces, compressed=compressed))
        else:
            self._send(status, pieces, compressed=compressed)

    def _send(self, status: int, pieces: list[bytes], *, compressed: bool) -> None:
        size = sum(map(len, pieces))
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n"
            f"{'Content-Encoding: gzip' + chr(13) + chr(10) if compressed else ''}"
            f"Date: {format_datetime(NOW, usegmt=True)}\r\n{REGISTRY}\r\n"
        )
        assert self.transport is not None
        self.transport.writelines([head.encode(), *pieces])


async def serve(world: World) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(world), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sizes = {path: (found.count, found.bytes) for path, found in world.lists.items()}
    print(json.dumps({"url": f"http://127.0.0.1:{port}", "lists": sizes}), flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=int)
    asyncio.run(serve(World(Cluster(parser.parse_args().images))))


if __name__ == "__main__":
    main()
