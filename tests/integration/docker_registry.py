"""
Debian's docker-registry on loopback, with deletion enabled, and pushes to it over plain HTTP requests: real layers with
real digests. Where a test asks for it, it speaks TLS, or wants a password.
"""

import gzip
import hashlib
import http.client
import io
import json
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.integration.authorities import Pair
from tests.integration.processes import answers, free_port, listens, program, started

Json = dict[str, Any]

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer(text: str) -> bytes:
    """A layer with one file; the same text makes the same bytes."""
    buffer = io.BytesIO()
    content = text.encode() * 50
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


@dataclass(frozen=True, slots=True)
class PushedImage:
    """An image in a registry, with everything that its Image object says."""

    repository: str
    digest: str
    config: bytes
    layers: tuple[bytes, ...]
    manifest: bytes

    @property
    def blobs(self) -> list[str]:
        return [*(digest_of(content) for content in self.layers), digest_of(self.config)]

    def object(self, host: str) -> Json:
        """The Image object that OpenShift would have for it, pushed to the registry at `host`."""
        return {
            "metadata": {"name": self.digest, "annotations": {"openshift.io/image.managed": "true"}},
            "dockerImageReference": f"{host}/{self.repository}@{self.digest}",
            "dockerImageManifestMediaType": MANIFEST,
            "dockerImageMetadataVersion": "1.0",
            "dockerImageMetadata": {
                "kind": "DockerImage",
                "apiVersion": "1.0",
                "Id": digest_of(self.config),
                "Size": len(self.config) + sum(len(content) for content in set(self.layers)),
            },
            "dockerImageLayers": [
                {"name": digest_of(content), "size": len(content), "mediaType": LAYER} for content in self.layers
            ],
        }


@dataclass(slots=True)
class DockerRegistry:
    """A docker-registry that is up; its files are in `folder`."""

    host: str
    folder: Path
    tls: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        name, _, port = self.host.partition(":")
        unchecked = ssl._create_unverified_context()  # noqa: S323 - this client is no part of what is tested
        connection = (
            http.client.HTTPSConnection(name, int(port), timeout=30, context=unchecked)
            if self.tls
            else http.client.HTTPConnection(name, int(port), timeout=30)
        )
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def push(self, repository: str, *contents: str, tag: str = "latest") -> PushedImage:
        """Push an image with one layer for each text."""
        layers = tuple(layer(text) for text in contents)
        diffs = [digest_of(gzip.decompress(content)) for content in layers]
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}
        ).encode()
        for content in (config, *layers):
            self._upload(repository, content)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "size": len(config), "digest": digest_of(config)},
                "layers": [
                    {"mediaType": LAYER, "size": len(content), "digest": digest_of(content)} for content in layers
                ],
            }
        ).encode()
        status, _, answer = self.call("PUT", f"/v2/{repository}/manifests/{tag}", manifest, {"Content-Type": MANIFEST})
        assert status == 201, answer
        return PushedImage(repository, digest_of(manifest), config, layers, manifest)

    def _upload(self, repository: str, content: bytes) -> None:
        status, headers, answer = self.call("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202, answer
        place = headers["Location"].partition(self.host)[2]
        status, _, answer = self.call(
            "PUT",
            f"{place}&digest={digest_of(content)}",
            content,
            {"Content-Type": "application/octet-stream"},
        )
        assert status == 201, answer

    def has_manifest(self, repository: str, digest: str) -> bool:
        """Whether skopeo finds the image."""
        return self._skopeo("inspect", "--tls-verify=false", f"docker://{self.host}/{repository}@{digest}") == 0

    def pull(self, repository: str, digest: str, into: Path) -> bool:
        """Whether skopeo can copy the image whole: manifest, config and every layer, digests checked."""
        source = f"docker://{self.host}/{repository}@{digest}"
        return self._skopeo("copy", "--src-tls-verify=false", source, f"dir:{into}") == 0

    def copy_in(self, source: Path, repository: str, tag: str) -> None:
        """Push with skopeo what lies in a `dir:` layout."""
        target = f"docker://{self.host}/{repository}:{tag}"
        assert self._skopeo("copy", "--dest-tls-verify=false", f"dir:{source}", target) == 0

    def collect_garbage(self) -> None:
        """Run its own garbage collector once."""
        command = [program("docker-registry", "docker-registry"), "garbage-collect", str(self.folder / "config.yml")]
        subprocess.run(command, check=True, capture_output=True)

    @staticmethod
    def _skopeo(*arguments: str) -> int:
        command = [program("skopeo", "skopeo"), "--insecure-policy", "--command-timeout", "60s", *arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode


@contextmanager
def running_docker_registry(
    folder: Path, *, tls: Pair | None = None, auth: Json | None = None
) -> Iterator[DockerRegistry]:
    """A docker-registry, empty unless the folder has been used before."""
    path = program("docker-registry", "docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    address: Json = {"addr": f"127.0.0.1:{port}"}
    if tls:
        address["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    configuration = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "files")}, "delete": {"enabled": True}},
        "http": address,
        **({"auth": auth} if auth else {}),
    }
    file = folder / "config.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    registry = DockerRegistry(f"127.0.0.1:{port}", folder, tls is not None)
    command = [path, "serve", str(file)]
    with started(command, folder / "registry.log", lambda: listens(port) and answers(f"{registry.url}/")):
        yield registry
