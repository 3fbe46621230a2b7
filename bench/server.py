"""An API server of rendered bytes: it holds a generated cluster as pages and does nothing but send them, and count.

    python -m bench.server IMAGES [--removed] [--recorded]

It says on one line of JSON when it is ready and how large the cluster is. `/bench/counts` gives requests and bytes
since it was asked last. Lists take `limit` in multiples of 500 and without one are sent whole; single objects,
discovery and access reviews are answered as well. What is written is taken and forgotten, and a watch never says
anything. `/bench/set?pace=N&gzip=0` sets how many bytes per second it sends (0 is no limit), and whether pages are sent
compressed to clients that accept it, as API servers send answers of more than 128 KiB.

Its clock is this machine's, so the same cluster grows older from day to day; everything in it is past every age limit
that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import sys
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import httptools
import msgspec

from bench.clusters import Cluster, encoded

PAGE: Final = 500
KINDS: Final = {
    "images": "Image", "imagestreams": "ImageStream", "pods": "Pod", "replicasets": "ReplicaSet",
    "deployments": "Deployment", "builds": "Build", "buildconfigs": "BuildConfig",
    "deploymentconfigs": "DeploymentConfig", "daemonsets": "DaemonSet",
    "replicationcontrollers": "ReplicationController", "statefulsets": "StatefulSet",
    "jobs": "Job", "cronjobs": "CronJob",
    "controllerrevisions": "ControllerRevision", "limitranges": "LimitRange",
    "namespaces": "Namespace", "clusterversions": "ClusterVersion", "leases": "Lease",
}  # fmt: skip
CLUSTER_SCOPED: Final = frozenset({"images", "namespaces", "clusterversions"})
AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
JSON: Final = "application/json"
GZIP_LEVEL: Final = 1
MANIFEST: Final = 1500
"""Bytes of every manifest in the registry."""
REGISTRY: Final = "Docker-Distribution-Api-Version: registry/2.0\r\n"
REGISTRY_PATHS: Final = ("/v2/", "/admin/")
"""What the registry answers, which stands at the same address."""


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    query: dict[str, list[str]]
    accept: str
    takes_gzip: bool
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    """The body is in pieces, as they lie in memory."""

    status: int
    pieces: list[bytes]
    media_type: str = JSON
    compressed: bool = False


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
        self.roots: dict[str, list[str]] = {
            "/apis/config.openshift.io/v1": ["clusterversions"],
            "/api/v1": ["namespaces"],
            "/apis/coordination.k8s.io/v1": ["leases"],
        }
        for path in self.lists:
            root, _, plural = path.rpartition("/")
            self.roots.setdefault(root, []).append(plural)
        self.pace = self.free_at = 0.0
        self.compressed = False
        self.requests = self.bytes = 0
        self.documents = {path: json.dumps(found).encode() for path, found in self._discovery().items()}
        self.aggregated = {
            path: json.dumps(self._aggregated(core=path == "/api")).encode() for path in ("/api", "/apis")
        }

    def counts(self) -> bytes:
        said = json.dumps({"requests": self.requests, "bytes": self.bytes}).encode()
        self.requests = self.bytes = 0
        return said

    def set(self, given: dict[str, list[str]]) -> bytes:
        self.pace = float(given["pace"][0])
        self.compressed = given["gzip"][0] == "1"
        if self.compressed:
            for found in self.lists.values():
                found.compress()
        return b"{}"

    def _discovery(self) -> dict[str, Any]:
        """The documents at fixed paths; those of discovery in the form for clients that take no aggregated one."""
        found: dict[str, Any] = {
            "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis/config.openshift.io/v1/clusterversions/version": {
                "kind": "ClusterVersion",
                "apiVersion": "config.openshift.io/v1",
                "metadata": {"name": "version"},
                "spec": {"clusterID": "bench"},
            },
            # The registry's: it is there, and takes whatever token it is given.
            "/": {},
            "/v2/": {},
        }
        groups = []
        for root, plurals in self.roots.items():
            version = root.removeprefix("/apis/").removeprefix("/api/")
            group = version.rpartition("/")[0]
            if group:
                entry = {"groupVersion": version, "version": "v1"}
                groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
            found[root] = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": version,
                "resources": [
                    {
                        "name": plural,
                        "kind": KINDS[plural],
                        "singularName": KINDS[plural].lower(),
                        "namespaced": plural not in CLUSTER_SCOPED,
                        "verbs": ["get", "list", "watch", "update", "delete"],
                    }
                    for plural in plurals
                ],
            }
        found["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        return found

    def _aggregated(self, *, core: bool) -> dict[str, Any]:
        """All groups with all their kinds in one document, as API servers since Kubernetes 1.30 give it."""
        items = []
        for root, plurals in self.roots.items():
            group = root.removeprefix("/apis/").partition("/")[0] if root.startswith("/apis/") else ""
            if core != (group == ""):
                continue
            resources = [
                {
                    "resource": plural,
                    "responseKind": {"group": group, "version": "v1", "kind": KINDS[plural]},
                    "scope": "Cluster" if plural in CLUSTER_SCOPED else "Namespaced",
                    "singularResource": KINDS[plural].lower(),
                    "verbs": ["get", "list", "watch", "update", "delete"],
                }
                for plural in plurals
            ]
            version = {"version": "v1", "freshness": "Current", "resources": resources}
            items.append({"metadata": {"name": group} if group else {}, "versions": [version]})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }

    def answer(self, asked: Request) -> Answer:  # noqa: PLR0911 - a table
        if asked.path in self.aggregated and AGGREGATED in asked.accept:
            return Answer(200, [self.aggregated[asked.path]], AGGREGATED)
        if asked.path in self.documents:
            return Answer(200, [self.documents[asked.path]])
        if asked.path.startswith(REGISTRY_PATHS):
            return self._of_registry(asked)
        if asked.method == "POST":
            return Answer(201, [_reviewed(asked.body)])
        if asked.method == "PUT":
            return Answer(200, [asked.body])
        if asked.path in self.lists and asked.method == "GET":
            return self._list(asked)
        return self._object(asked)

    @staticmethod
    def _of_registry(asked: Request) -> Answer:
        if asked.path.startswith("/admin/blobs/"):
            return Answer(204, []) if asked.method == "DELETE" else Answer(405, [_errors("UNSUPPORTED")])
        return Answer(202, []) if asked.method == "DELETE" else Answer(404, [_errors("MANIFEST_UNKNOWN")])

    def _list(self, asked: Request) -> Answer:
        found = self.lists[asked.path]
        first = int(asked.query.get("continue", ["0"])[0])
        limit = int(asked.query.get("limit", ["0"])[0])
        if asked.takes_gzip and self.compressed and limit == PAGE and found.blocks:
            return Answer(200, [found.compressed[first]], compressed=True)
        return Answer(200, found.page(first, limit // PAGE or len(found.blocks)))

    def _object(self, asked: Request) -> Answer:
        single = self._single(asked.path)
        if single is None:
            return self._absent(asked.path)
        if asked.method == "DELETE":
            return Answer(200, [b'{"kind":"Status","apiVersion":"v1","status":"Success"}'])
        return Answer(200, [single])

    def _absent(self, path: str) -> Answer:
        """In plain text for a group that there is none of, a Status for an object."""
        if not any(path.startswith(f"{root}/") for root in self.roots):
            return Answer(404, [b"404 page not found\n"], "text/plain; charset=utf-8")
        rest, _, name = path.rpartition("/")
        details = {"name": name, "kind": rest.rpartition("/")[2]}
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        return Answer(404, [json.dumps({**status, "details": details}).encode()])

    def _single(self, path: str) -> bytes | None:
        rest, _, name = path.rpartition("/")
        namespace = ""
        if "/namespaces/" in rest:
            root, _, inside = rest.partition("/namespaces/")
            namespace, _, plural = inside.partition("/")
            rest = f"{root}/{plural}"
        found = self.lists.get(rest)
        return found.single((namespace, name)) if found else None


def _reviewed(body: bytes) -> bytes:
    """A review that was created: everything is allowed."""
    return json.dumps({**json.loads(body), "status": {"allowed": True}}).encode()


def _errors(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()


class Connection(asyncio.Protocol):
    """One connection: requests are answered in their order, bodies are handed to the socket as they lie in memory."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.url = self.body = b""
        self.accept = ""
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
        lowered = name.lower()
        if lowered == b"accept-encoding":
            self.gzip = b"gzip" in value
        elif lowered == b"accept":
            self.accept = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        parts = urlsplit(self.url.decode())
        method = self.parser.get_method().decode()
        asked = Request(method, unquote(parts.path), parse_qs(parts.query), self.accept, self.gzip, self.body)
        self.url = self.body = b""
        if asked.path.startswith("/bench/"):
            said = self.world.counts() if asked.path == "/bench/counts" else self.world.set(asked.query)
            self._send(asked, Answer(200, [said]))
            return
        self.world.requests += 1
        if asked.query.get("watch") == ["true"]:
            assert self.transport is not None
            head = (
                f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: {JSON}\r\n"
                "Transfer-Encoding: chunked\r\n\r\n"
            )
            self.transport.write(head.encode())
            return
        if method == "HEAD":
            # A manifest, of which only the size is asked.
            assert self.transport is not None
            head = f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nContent-Length: {MANIFEST}\r\n{REGISTRY}\r\n"
            self.transport.write(head.encode())
            return
        answer = self.world.answer(asked)
        size = sum(map(len, answer.pieces))
        self.world.bytes += size
        if self.world.pace and size > 100_000:
            loop = asyncio.get_running_loop()
            self.world.free_at = max(self.world.free_at, loop.time()) + size / self.world.pace
            loop.call_at(self.world.free_at, lambda: self._send(asked, answer))
        else:
            self._send(asked, answer)

    def _send(self, asked: Request, answer: Answer) -> None:
        size = sum(map(len, answer.pieces))
        encoding = "Content-Encoding: gzip\r\n" if answer.compressed else ""
        registry = REGISTRY if asked.path.startswith(REGISTRY_PATHS) else ""
        length = "" if answer.status == 204 else f"Content-Length: {size}\r\n"
        head = (
            f"HTTP/1.1 {answer.status} X\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: {answer.media_type}\r\n"
            f"{length}{encoding}{registry}\r\n"
        )
        assert self.transport is not None
        self.transport.writelines([head.encode(), *answer.pieces])


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
    parser.add_argument("--removed", action="store_true", help="a run has removed the older revisions of each tag")
    parser.add_argument("--recorded", action="store_true", help="their images are retired")
    given = parser.parse_args()
    asyncio.run(serve(World(Cluster(given.images, removed=given.removed, recorded=given.recorded))))


if __name__ == "__main__":
    main()
