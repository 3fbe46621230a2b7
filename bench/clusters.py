"""Clusters of any size, as the bytes that an API server would send.

Of 10 images in an image stream five are the history of its even tags and five that of its odd ones, so that n images
have n tags and 5n revisions. An image has 8 layers, of which 70 % are shared, and takes 4 to 20 KB, most of it labels
and environment that no rule reads. What is revision 3 or 4 goes unless one of the workloads runs it. The same number of
images makes the same cluster.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from pruner.cluster.retirement import RETIRED, VERSION, Record, RemovedRevision, written

NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOST: Final = "image-registry.openshift-image-registry.svc:5000"
IMAGES_IN_STREAM: Final = 10
REVISIONS: Final = 5
KEPT: Final = 3
"""Revisions of a tag that a run keeps, where one has been at work."""
GRACE: Final = 3650 * 24 * 60
"""Minutes that images stay retired: the cluster stands still, and the server's clock goes on."""
LAYERS: Final = 8
BASES: Final = 40
"""Sets of shared layers."""

Json = dict[str, Any]


class Cluster:
    """`lists` gives every kind, by the path of its list, and
    the objects of it as JSON, in the order of an API server.

    With `removed`, a run has removed the older revisions of each tag; with `recorded`, their images have a record of it
    (R36), and without they are images that nothing names.
    """

    def __init__(self, images: int, *, removed: bool = False, recorded: bool = False) -> None:
        self.kept = KEPT if removed else REVISIONS
        self.recorded = recorded
        self.random = random.Random(images)  # noqa: S311 - contents of a benchmark
        self.streams = max(images // IMAGES_IN_STREAM, 1)
        self.images = self.streams * IMAGES_IN_STREAM
        self.digests = [self._digest() for _ in range(self.images)]
        self.bases = [[(self._digest(), self.random.randrange(10**6, 10**8)) for _ in range(6)] for _ in range(BASES)]
        words = [f"{self.random.getrandbits(32):x}" for _ in range(3000)]
        self._prose = " ".join(self.random.choices(words, k=60_000))
        self._version = 1000

    def _digest(self) -> str:
        return f"sha256:{self.random.getrandbits(256):064x}"

    def _text(self, length: int) -> str:
        start = int(self.random.random() * (len(self._prose) - length))
        return self._prose[start : start + length]

    def _time(self, days: float) -> str:
        return f"{NOW - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"

    def _meta(self, name: str, namespace: str = "", days: float = 300.0, **more: Any) -> Json:
        self._version += 1
        bits = f"{self.random.getrandbits(128):032x}"
        uid = f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}"
        named = {"name": name, **({"namespace": namespace} if namespace else {})}
        return {
            **named,
            "uid": uid,
            "resourceVersion": str(self._version),
            "creationTimestamp": self._time(days),
            **more,
        }

    @staticmethod
    def stream_name(number: int) -> tuple[str, str]:
        return f"team-{number // 20:04}", f"app-{number:05}"

    def lists(self) -> Iterator[tuple[str, Iterator[Json]]]:
        none: Iterator[Json] = iter(())
        yield "/apis/image.openshift.io/v1/images", self._sorted_images()
        yield "/apis/image.openshift.io/v1/imagestreams", map(self._stream, range(self.streams))
        yield "/api/v1/pods", map(self._pod, range(self.streams * 2))
        yield "/apis/apps/v1/replicasets", map(self._replica_set, range(self.streams * 3 // 2))
        yield "/apis/apps/v1/deployments", map(self._deployment, range(self.streams // 2))
        yield "/apis/build.openshift.io/v1/builds", map(self._build, range(self.streams // 2))
        yield "/apis/build.openshift.io/v1/buildconfigs", map(self._build_config, range(self.streams // 4))
        yield "/apis/apps.openshift.io/v1/deploymentconfigs", map(self._deployment_config, range(self.streams // 5))
        yield "/api/v1/replicationcontrollers", map(self._controller, range(self.streams // 5))
        for path in (
            "/apis/apps/v1/daemonsets",
            "/apis/apps/v1/statefulsets",
            "/apis/apps/v1/controllerrevisions",
            "/apis/batch/v1/jobs",
            "/apis/batch/v1/cronjobs",
            "/api/v1/limitranges",
        ):
            yield path, none

    # --- images and streams -------------------------------------------------------------------------------------------

    def _sorted_images(self) -> Iterator[Json]:
        """Images have no namespace: their order is that of their digests."""
        return (self._image(number) for number in sorted(range(self.images), key=self.digests.__getitem__))

    def _image(self, number: int) -> Json:
        namespace, name = self.stream_name(number // IMAGES_IN_STREAM)
        choose = self.random
        shared = self.bases[(number // IMAGES_IN_STREAM) % BASES][: 6 if choose.random() < 0.6 else 5]
        own = [(self._digest(), choose.randrange(10**3, 10**7)) for _ in range(LAYERS - len(shared))]
        layers = [*shared, *own]
        length = min(max(int(choose.lognormvariate(8.2, 0.5)), 1500), 17000)
        labels = {f"io.example.label.{at}": self._text(120) for at in range(length // 160)}
        environment = [f"VARIABLE_{at}={self._text(60)}" for at in range(length // 300)]
        config = {"Hostname": "", "Env": environment, "Cmd": ["/usr/libexec/run"], "Labels": labels, "User": "1001"}
        layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        return {
            "metadata": self._meta(
                self.digests[number],
                days=30 + number % IMAGES_IN_STREAM,
                annotations={
                    "image.openshift.io/dockerLayersOrder": "ascending",
                    "image.openshift.io/manifestBlobStored": "true",
                    "openshift.io/image.managed": "true",
                    **({RETIRED: self._record(number)} if self.retired(number) else {}),
                },
            ),
            "dockerImageReference": f"{HOST}/{namespace}/{name}@{self.digests[number]}",
            "dockerImageMetadata": {
                "kind": "DockerImage",
                "apiVersion": "1.0",
                "Id": self._digest(),
                "Created": self._time(40),
                "ContainerConfig": {},
                "DockerVersion": "1.13.1",
                "Config": config,
                "Architecture": "amd64",
                "Size": sum(size for _, size in layers) + 5000,
            },
            "dockerImageMetadataVersion": "1.0",
            "dockerImageLayers": [
                {"name": digest, "size": size, "mediaType": layer_type} for digest, size in layers
            ],
            "dockerImageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
        }  # fmt: skip

    def retired(self, number: int) -> bool:
        """Whether an image has a record of its retirement."""
        return self.recorded and number % REVISIONS >= self.kept

    def _record(self, number: int) -> str:
        """What a run writes: every revision that named the image, as it was."""
        stream, position = number // IMAGES_IN_STREAM, number % REVISIONS
        namespace, name = self.stream_name(stream)
        return written(
            Record(
                version=VERSION,
                at=NOW,
                grace=GRACE,
                revisions=tuple(
                    RemovedRevision(
                        stream=f"{namespace}/{name}",
                        tag=f"v{tag}",
                        position=position,
                        item=self._item(f"{HOST}/{namespace}/{name}", self.digests[number], position),
                        at=NOW,
                        run=f"sha256:{0:064x}",
                    )
                    for tag in range(number % IMAGES_IN_STREAM // REVISIONS, IMAGES_IN_STREAM, 2)
                ),
            )
        )

    def _item(self, repository: str, digest: str, revision: int) -> Json:
        return {
            "created": self._time(30 + revision),
            "dockerImageReference": f"{repository}@{digest}",
            "image": digest,
            "generation": REVISIONS - revision,
        }

    def images_of(self, stream: int, tag: int) -> list[str]:
        """The history of a tag, newest first."""
        first = stream * IMAGES_IN_STREAM + tag % 2 * REVISIONS
        return self.digests[first : first + REVISIONS]

    def _stream(self, number: int) -> Json:
        namespace, name = self.stream_name(number)
        repository = f"{HOST}/{namespace}/{name}"
        tags = [
            {
                "tag": f"v{tag}",
                "items": [
                    self._item(repository, digest, revision)
                    for revision, digest in enumerate(self.images_of(number, tag)[: self.kept])
                ],
            }
            for tag in range(IMAGES_IN_STREAM)
        ]
        return {
            "metadata": self._meta(name, namespace, generation=2, annotations=self._managed(2)),
            "spec": {"lookupPolicy": {"local": False}},
            "status": {"dockerImageRepository": repository, "tags": tags},
        }

    # --- what uses them -----------------------------------------------------------------------------------------------

    def _managed(self, times: int) -> Json:
        return {f"example.com/last-applied-{at}": self._text(400) for at in range(times)}

    def _pull_spec(self, number: int) -> str:
        """Every second one by digest, of a revision that would go otherwise, every fifth from another registry."""
        stream = number % self.streams
        namespace, name = self.stream_name(stream)
        if number % 5 == 0:
            return f"quay.io/upstream/tool-{number % 50}:v1"
        if number % 2:
            return f"{HOST}/{namespace}/{name}@{self.images_of(stream, 0)[number % REVISIONS]}"
        return f"{HOST}/{namespace}/{name}:v{number % IMAGES_IN_STREAM}"

    def _pod_spec(self, number: int) -> Json:
        containers = [
            {
                "name": name,
                "image": self._pull_spec(number + at),
                "env": [{"name": f"VARIABLE_{at}", "value": self._text(60)} for at in range(12)],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
                "terminationMessagePath": "/dev/termination-log",
                "imagePullPolicy": "IfNotPresent",
            }
            for at, name in enumerate(("app", "sidecar"))
        ]
        return {
            "volumes": [
                {"name": f"volume-{at}", "secret": {"secretName": self._text(20), "defaultMode": 420}}
                for at in range(4)
            ],
            "containers": containers,
            "restartPolicy": "Always",
            "serviceAccountName": "default",
        }  # fmt: skip

    def _named(self, number: int, kind: str) -> tuple[str, str]:
        namespace, name = self.stream_name(number % self.streams)
        return namespace, f"{name}-{kind}-{number:06}"

    def _template(self, number: int) -> Json:
        return {"metadata": {"labels": {"app": self._text(20)}}, "spec": self._pod_spec(number)}

    def _pod(self, number: int) -> Json:
        namespace, name = self._named(number, "pod")
        spec = self._pod_spec(number)
        statuses = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": f"{HOST}/{namespace}/x@{self.digests[(number * 7) % self.images]}"
                if number % 3 == 0
                else "quay.io/upstream/tool@" + self.bases[0][0][0],
                "ready": True,
            }
            for container in spec["containers"]
        ]
        return {
            "metadata": self._meta(name, namespace, 20, annotations=self._managed(3)),
            "spec": spec,
            "status": {"phase": "Running", "containerStatuses": statuses, "podIP": "10.0.0.1"},
        }

    def _replica_set(self, number: int) -> Json:
        namespace, name = self._named(number, "rs")
        return {
            "metadata": self._meta(name, namespace, 60, annotations=self._managed(3)),
            "spec": {"replicas": number % 2, "template": self._template(number)},
        }

    def _deployment(self, number: int) -> Json:
        namespace, name = self._named(number, "deployment")
        return {
            "metadata": self._meta(name, namespace, 90, annotations=self._managed(3)),
            "spec": {"replicas": 1, "strategy": {"type": "RollingUpdate"}, "template": self._template(number)},
        }

    def _controller(self, number: int) -> Json:
        namespace, name = self._named(number, "rc")
        return {
            "metadata": self._meta(name, namespace, 90, annotations=self._managed(3)),
            "spec": {"replicas": 0, "template": self._template(number)},
        }

    def _deployment_config(self, number: int) -> Json:
        namespace, name = self._named(number, "dc")
        return {
            "metadata": self._meta(name, namespace, 90, annotations=self._managed(3)),
            "spec": {"replicas": 1, "triggers": [{"type": "ConfigChange"}], "template": self._template(number)},
        }

    def _build_config(self, number: int) -> Json:
        namespace, name = self._named(number, "bc")
        return {
            "metadata": self._meta(name, namespace, 90, annotations=self._managed(8)),
            "spec": {"strategy": self._strategy(number), "source": {"type": "Git"}},
        }

    def _build(self, number: int) -> Json:
        namespace, name = self._named(number, "build")
        return {
            "metadata": self._meta(name, namespace, 90, annotations=self._managed(9)),
            "spec": {"strategy": self._strategy(number), "source": {"type": "Git"}},
            "status": {"phase": "Complete"},
        }

    def _strategy(self, number: int) -> Json:
        source = {"kind": "DockerImage", "name": self._pull_spec(number)}
        return {"type": "Source", "sourceStrategy": {"from": source}}


def encoded(objects: Iterator[Json]) -> Iterator[tuple[tuple[str, str], bytes]]:
    """Namespace and name, and the object as it stands in a list."""
    for found in objects:
        meta = found["metadata"]
        yield (meta.get("namespace", ""), meta["name"]), msgspec.json.encode(found)
