"""
The objects that use images, as short as they can be written: each function gives the JSON of one, with the fields
that a pruner reads and those without which it would look wrong. Names are `namespace/name`, images are pull specs as
they stand in a manifest.
"""

from collections.abc import Mapping, Sequence

from sandbox.blobs import digest_of
from sandbox.kinds import BUILT_IN, Resource
from sandbox.status import Json

RESOURCES: dict[str, Resource] = {resource.kind: resource for resource in BUILT_IN}


def metadata(ref: str, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None) -> Json:
    namespace, _, name = ref.rpartition("/")
    content: Json = {"name": name, **({"namespace": namespace} if namespace else {})}
    if labels:
        content["labels"] = dict(labels)
    if annotations:
        content["annotations"] = dict(annotations)
    return content


def pod_spec(images: Sequence[str], init_images: Sequence[str] = ()) -> Json:
    spec: Json = {"containers": [{"name": f"c{at}", "image": image} for at, image in enumerate(images)]}
    if init_images:
        spec["initContainers"] = [{"name": f"i{at}", "image": image} for at, image in enumerate(init_images)]
    return spec


def workload(
    kind: str,
    ref: str,
    images: Sequence[str],
    init_images: Sequence[str] = (),
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    replicas: int = 1,
) -> Json:
    """A controller of any kind that has a pod template, CronJob included."""
    name = ref.rpartition("/")[2]
    template = {"metadata": {"labels": {"app": name}}, "spec": pod_spec(images, init_images)}
    spec: Json = {"template": template}
    if kind == "CronJob":
        spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": spec}}
    elif kind in ("DeploymentConfig", "ReplicationController"):
        spec |= {"replicas": replicas, "selector": {"app": name}}
    elif kind != "Job":
        spec |= {"selector": {"matchLabels": {"app": name}}}
        if kind != "DaemonSet":
            spec["replicas"] = replicas
    return {"metadata": metadata(ref, labels, annotations), "spec": spec}


def pod(
    ref: str, images: Sequence[str], init_images: Sequence[str] = (), *, phase: str, image_ids: Sequence[str] = ()
) -> Json:
    """A pod; `image_ids` are what its containers run, in their order."""
    statuses = [
        {"name": f"c{at}", "image": image, "imageID": image_ids[at] if at < len(image_ids) else ""}
        for at, image in enumerate(images)
    ]
    spec = pod_spec(images, init_images)
    return {"metadata": metadata(ref), "spec": spec, "status": {"phase": phase, "containerStatuses": statuses}}


def build_from(kind: str, name: str, namespace: str | None = None) -> Json:
    """The `from` of a build: kind is `DockerImage`, `ImageStreamTag` or `ImageStreamImage`."""
    return {"kind": kind, "name": name, **({"namespace": namespace} if namespace else {})}


def build(ref: str, source: Json, *, strategy: str = "Docker", output: str = "", config: bool = False) -> Json:
    """A Build, or with `config` a BuildConfig.

    `strategy` is Source, Docker or Custom; `output` is an ImageStreamTag.
    """
    spec: Json = {"strategy": {"type": strategy, f"{strategy.lower()}Strategy": {"from": source}}}
    if output:
        spec["output"] = {"to": {"kind": "ImageStreamTag", "name": output}}
    content: Json = {"metadata": metadata(ref), "spec": spec}
    return content if config else {**content, "status": {"phase": "Complete"}}


def limit_range(ref: str, max_storage: str) -> Json:
    """A LimitRange for images; `max_storage` is a Kubernetes quantity."""
    limits = [{"type": "openshift.io/Image", "max": {"storage": max_storage}}]
    return {"metadata": metadata(ref), "spec": {"limits": limits}}


def failed_import(tag: str, message: str, at: str) -> Json:
    """The status entry of a tag that could not be imported: conditions, and no items."""
    condition = {
        "type": "ImportSuccess",
        "status": "False",
        "reason": "NotFound",
        "message": message,
        "lastTransitionTime": at,
        "generation": 2,
    }
    return {"tag": tag, "items": None, "conditions": [condition]}


def imported_image(digest: str, reference: str, layers: Mapping[str, int]) -> Json:
    """An image of another registry: only metadata, and no annotation that says it is managed. Sizes are bytes."""
    described = [
        {"name": name, "size": size, "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}
        for name, size in layers.items()
    ]
    return {
        "metadata": {"name": digest, "annotations": {"image.openshift.io/dockerLayersOrder": "ascending"}},
        "dockerImageReference": reference,
        "dockerImageLayers": described,
        "dockerImageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "dockerImageMetadataVersion": "1.0",
        "dockerImageMetadata": {
            "kind": "DockerImage",
            "apiVersion": "1.0",
            "Id": digest_of(digest.encode()),
            "Architecture": "amd64",
            "Size": sum(layers.values()),
        },
    }
