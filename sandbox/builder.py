"""
Fills a sandbox the way a cluster is filled: images are pushed through the registry, layer by layer, everything else is
created through the API. It takes the age of what it makes, turns the sandbox's clock back for that long, and lets go of
it afterwards. Tests build their clusters with it, and so does the demo.
"""

import gzip
import io
import random
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from types import TracebackType
from typing import Literal, Self

import aiohttp
import msgspec

from sandbox import objects
from sandbox.blobs import digest_of
from sandbox.clock import timestamp
from sandbox.kinds import IMAGE_STREAMS, IMAGES, MAPPINGS, NAMESPACES, Resource
from sandbox.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from sandbox.status import Json

Flavour = Literal["docker", "oci"]
Images = str | Sequence[str]

_CREATED = "2024-01-01T00:00:00Z"  # of every config, so that digests do not depend on when they were made
_MEDIA_TYPES = {
    "docker": (
        DOCKER_MANIFEST,
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        DOCKER_LIST,
    ),
    "oci": (
        OCI_MANIFEST,
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        OCI_INDEX,
    ),
}


class BuilderError(Exception):
    """A request of the builder was refused; the message says which, and how."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it is pushed, and the digest of what is in it."""

    blob: bytes
    diff_id: str

    @property
    def digest(self) -> str:
        return digest_of(self.blob)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest that was pushed, as an index describes it. Size is that of the manifest, in bytes."""

    digest: str
    media_type: str
    size: int
    architecture: str
    variant: str


@lru_cache(maxsize=256)
def layer(content: bytes) -> Layer:
    """A gzip'd tar with one file. The same content makes the same layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    raw = buffer.getvalue()
    return Layer(gzip.compress(raw, 1, mtime=0), digest_of(raw))


def noise(seed: str, size: int) -> bytes:
    """So many bytes that do not compress; the same seed makes the same bytes."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - contents of a demo


def split(ref: str) -> tuple[str, str, str]:
    """Namespace, name and tag of `namespace/name:tag`; the tag is empty when there is none."""
    repository, _, tag = ref.partition(":")
    namespace, _, name = repository.partition("/")
    return namespace, name, tag


def _several(images: Images) -> Sequence[str]:
    return [images] if isinstance(images, str) else images


class Builder:
    """Use it as an asynchronous context manager. Namespaces are made when something is put into them."""

    def __init__(self, api_url: str, registry_url: str, token: str) -> None:
        self.api_url = api_url
        self.registry_url = registry_url
        self.registry_host = ""
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._namespaces: set[str] = set()
        self._pushed: dict[str, Pushed] = {}

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._token}"}
        self._session = aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=False))
        self.registry_host = (await self.request("GET", f"{self.api_url}/sandbox/state"))["registry_host"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def request(
        self, method: str, url: str, body: Json | bytes | None = None, *, media_type: str = "application/json"
    ) -> Json:
        """One request, and the JSON of its answer. BuilderError unless it succeeds."""
        if self._session is None:
            raise BuilderError("the builder is used outside of its `async with`")
        raw = msgspec.json.encode(body) if isinstance(body, dict) else body
        headers = {"Content-Type": media_type}
        async with self._session.request(method, url, data=raw, headers=headers) as response:
            text = await response.read()
            if response.status >= 400:
                raise BuilderError(f"{method} {url} answered {response.status}: {text.decode(errors='replace')}")
            answer: Json = msgspec.json.decode(text) if text.startswith(b"{") else {}
            return answer

    # -- time

    async def now(self) -> datetime:
        """The sandbox's time, UTC."""
        clock = await self.request("GET", f"{self.api_url}/sandbox/clock")
        return datetime.fromisoformat(clock["now"])

    @asynccontextmanager
    async def days_ago(self, days: float) -> AsyncIterator[None]:
        """What is done inside happens so many days before the sandbox's time. Nothing else may go on meanwhile."""
        if not days:
            yield
            return
        url = f"{self.api_url}/sandbox/clock"
        await self.request("PUT", url, {"days_ago": days})
        try:
            yield
        finally:
            await self.request("PUT", url, {"days_ago": 0})

    # -- objects

    def url(self, resource: Resource, namespace: str = "", name: str = "") -> str:
        root = f"{self.api_url}/apis/{resource.api_version}" if resource.group else f"{self.api_url}/api/v1"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{inside}/{resource.plural}" + (f"/{name}" if name else "")

    async def namespace(self, name: str, *, age_days: float = 400) -> None:
        """Makes the namespace unless it is there."""
        if name in self._namespaces:
            return
        self._namespaces.add(name)
        async with self.days_ago(age_days):
            try:
                await self.request("POST", self.url(NAMESPACES), {"metadata": {"name": name}})
            except BuilderError as error:
                if "AlreadyExists" not in str(error):
                    raise

    async def create(self, resource: Resource, content: Json, *, age_days: float = 0) -> Json:
        """Creates any object, and returns it as the server made it."""
        namespace = content["metadata"].get("namespace", "")
        if namespace:
            await self.namespace(namespace)
        async with self.days_ago(age_days):
            return await self.request("POST", self.url(resource, namespace), content)

    async def get(self, resource: Resource, ref: str) -> Json:
        namespace, _, name = ref.rpartition("/")
        return await self.request("GET", self.url(resource, namespace, name))

    async def delete(self, resource: Resource, ref: str) -> None:
        namespace, _, name = ref.rpartition("/")
        await self.request("DELETE", self.url(resource, namespace, name))

    # -- images

    def pull_spec(self, ref: str) -> str:
        """`namespace/name:tag` or `namespace/name@digest` with the registry's host before it."""
        return f"{self.registry_host}/{ref}"

    async def push(
        self,
        ref: str,
        *,
        layers: Sequence[bytes],
        age_days: float = 0,
        architecture: str = "amd64",
        variant: str = "",
        labels: Mapping[str, str] | None = None,
        flavour: Flavour = "docker",
    ) -> str:
        """
        Pushes an image and returns its digest. `ref` is `namespace/name:tag`; without a tag it is pushed by digest only
        and no stream names it. A layer is given by its content, and may be pushed many times.
        """
        namespace, name, tag = split(ref)
        await self.namespace(namespace)
        manifest_type, config_type, layer_type, _ = _MEDIA_TYPES[flavour]
        made = [layer(content) for content in layers]
        config = msgspec.json.encode(
            {
                "created": _CREATED,
                "architecture": architecture,
                "os": "linux",
                "config": {"Labels": {"ref": f"{namespace}/{name}", **(labels or {})}, "Cmd": ["/content"]},
                "rootfs": {"type": "layers", "diff_ids": [entry.diff_id for entry in made]},
            }
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": {"mediaType": config_type, "size": len(config), "digest": digest_of(config)},
            "layers": [{"mediaType": layer_type, "size": len(entry.blob), "digest": entry.digest} for entry in made],
        }
        repository = f"{namespace}/{name}"
        async with self.days_ago(age_days):
            for blob in [config, *(entry.blob for entry in made)]:
                await self._push_blob(repository, blob)
            pushed = await self._push_manifest(repository, tag, manifest_type, manifest)
        self._pushed[pushed[0]] = Pushed(pushed[0], manifest_type, pushed[1], architecture, variant)
        return pushed[0]

    async def push_index(
        self, ref: str, members: Sequence[str], *, age_days: float = 0, flavour: Flavour = "docker"
    ) -> str:
        """
        Pushes a manifest list (or OCI index) of images that this builder has pushed to the same repository, and
        returns its digest.
        """
        namespace, name, tag = split(ref)
        media_type = _MEDIA_TYPES[flavour][3]
        index = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [_described(self._pushed[member]) for member in members],
        }
        async with self.days_ago(age_days):
            digest, size = await self._push_manifest(f"{namespace}/{name}", tag, media_type, index)
        self._pushed[digest] = Pushed(digest, media_type, size, "", "")
        return digest

    async def _push_blob(self, repository: str, blob: bytes) -> None:
        uploads = f"{self.registry_url}/v2/{repository}/blobs/uploads/?digest={digest_of(blob)}"
        await self.request("POST", uploads, blob, media_type="application/octet-stream")

    async def _push_manifest(self, repository: str, tag: str, media_type: str, content: Json) -> tuple[str, int]:
        raw = msgspec.json.encode(content)
        digest = digest_of(raw)
        url = f"{self.registry_url}/v2/{repository}/manifests/{tag or digest}"
        await self.request("PUT", url, raw, media_type=media_type)
        return digest, len(raw)

    async def import_image(
        self, ref: str, digest: str, *, source: str, layers: Mapping[str, int] | None = None, age_days: float = 0
    ) -> str:
        """
        What importing an image of another registry leaves behind: an Image that is not managed, and with a tag in `ref`
        an item of it. `source` is the pull spec it came from, `layers` are digests and their sizes in bytes.
        """
        namespace, name, tag = split(ref)
        image = objects.imported_image(digest, source, layers or {})
        await self.image_stream(f"{namespace}/{name}", age_days=age_days)
        mapping = {"metadata": {"name": name, "namespace": namespace}, "image": image, "tag": tag}
        async with self.days_ago(age_days):
            await self.request("POST", self.url(MAPPINGS, namespace), mapping)
        return digest

    async def image(self, content: Json, *, age_days: float = 0) -> Json:
        """Creates an Image object directly: nothing is in the registry, and no stream names it."""
        return await self.create(IMAGES, content, age_days=age_days)

    async def delete_image(self, digest: str) -> None:
        """Deletes only the Image object. Items that name it stay, as do its blobs."""
        await self.delete(IMAGES, digest)

    async def image_stream(
        self,
        ref: str,
        *,
        spec_tags: Sequence[Json] = (),
        local_lookup: bool = False,
        annotations: Mapping[str, str] | None = None,
        age_days: float = 0,
    ) -> None:
        """Creates an image stream unless it is there."""
        spec: Json = {"lookupPolicy": {"local": local_lookup}}
        if spec_tags:
            spec["tags"] = list(spec_tags)
        content = {"metadata": objects.metadata(ref, annotations=annotations), "spec": spec}
        try:
            await self.create(IMAGE_STREAMS, content, age_days=age_days)
        except BuilderError as error:
            if "AlreadyExists" not in str(error):
                raise

    async def failed_import(self, ref: str, *, message: str = "not found", age_days: float = 0) -> None:
        """Adds a tag that could not be imported: conditions, and no items."""
        namespace, name, tag = split(ref)
        await self.image_stream(f"{namespace}/{name}", age_days=age_days)
        stream = await self.get(IMAGE_STREAMS, f"{namespace}/{name}")
        at = timestamp(await self.now() - timedelta(days=age_days))
        stream["status"].setdefault("tags", []).append(objects.failed_import(tag, message, at))
        await self.request("PUT", self.url(IMAGE_STREAMS, namespace, name) + "/status", stream)

    # -- what uses images

    async def workload(
        self,
        kind: str,
        ref: str,
        images: Images,
        *,
        init_images: Images = (),
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        replicas: int = 1,
        age_days: float = 0,
    ) -> Json:
        """Creates a Deployment, DaemonSet, StatefulSet, ReplicaSet, Job, CronJob, DeploymentConfig or RC."""
        content = objects.workload(
            kind,
            ref,
            _several(images),
            _several(init_images),
            labels=labels,
            annotations=annotations,
            replicas=replicas,
        )
        return await self.create(objects.RESOURCES[kind], content, age_days=age_days)

    async def deployment(self, ref: str, images: Images, *, age_days: float = 0) -> Json:
        return await self.workload("Deployment", ref, images, age_days=age_days)

    async def pod(
        self,
        ref: str,
        images: Images,
        *,
        init_images: Images = (),
        phase: str = "Running",
        image_ids: Sequence[str] = (),
        age_days: float = 0,
    ) -> Json:
        content = objects.pod(ref, _several(images), _several(init_images), phase=phase, image_ids=image_ids)
        return await self.create(objects.RESOURCES["Pod"], content, age_days=age_days)

    async def build_config(
        self, ref: str, source: Json, *, strategy: str = "Docker", output: str = "", age_days: float = 0
    ) -> Json:
        """`source` is made by `objects.build_from`."""
        content = objects.build(ref, source, strategy=strategy, output=output, config=True)
        return await self.create(objects.RESOURCES["BuildConfig"], content, age_days=age_days)

    async def build(
        self, ref: str, source: Json, *, strategy: str = "Docker", output: str = "", age_days: float = 0
    ) -> Json:
        content = objects.build(ref, source, strategy=strategy, output=output)
        return await self.create(objects.RESOURCES["Build"], content, age_days=age_days)

    async def limit_range(self, ref: str, max_storage: str, *, age_days: float = 0) -> Json:
        return await self.create(
            objects.RESOURCES["LimitRange"], objects.limit_range(ref, max_storage), age_days=age_days
        )


def _described(member: Pushed) -> Json:
    platform = {"architecture": member.architecture or "unknown", "os": "linux"}
    if member.variant:
        platform["variant"] = member.variant
    return {"mediaType": member.media_type, "size": member.size, "digest": member.digest, "platform": platform}
