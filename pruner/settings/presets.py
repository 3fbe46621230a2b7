"""Further kinds that refer to images: presets by name, and what one may write oneself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pruner.documents.values import DocumentError, check_bounds, from_json
from pruner.settings.shown import may_hold_credentials, shown
from pruner.settings.values import UnfitError, texts
from pruner.suggestions import did_you_mean


class PodSource(msgspec.Struct, frozen=True):
    """Where a further kind says which images it uses (R13).

    `template` is the dotted path of a pod template or pod spec inside the object, `images` are dotted paths of fields
    that are pull specs themselves; `values` of fields that may hold a pull spec or something else, which is ignored;
    `streams` of fields that name an image stream of the object's own namespace, `name` or `name:tag`. `*` steps over
    the members of a list or the values of a map, `**` over any number of them. `other_versions` are tried in their
    order where `version` is not served.
    """

    group: str
    version: str
    resource: str
    template: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    other_versions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.resource}.{self.group}"


_MACHINE_CONFIG: Final = "machineconfiguration.openshift.io"

NODE_IMAGES: Final = (
    PodSource(
        _MACHINE_CONFIG, "v1", "machineconfigs", images=("spec.osImageURL", "spec.baseOSExtensionsContainerImage")
    ),
    PodSource(
        _MACHINE_CONFIG,
        "v1",
        "machineosconfigs",
        images=(
            "spec.renderedImagePushSpec",
            "spec.buildInputs.baseOSImagePullspec",
            "spec.buildInputs.baseOSExtensionsImagePullspec",
            "spec.buildInputs.renderedImagePushspec",
            "status.currentImagePullSpec",
            "status.currentImagePullspec",
        ),
        other_versions=("v1alpha1",),
    ),
    PodSource(
        _MACHINE_CONFIG,
        "v1",
        "machineosbuilds",
        images=(
            "spec.renderedImagePushSpec",
            "spec.renderedImagePushspec",
            "status.digestedImagePushSpec",
            "status.finalImagePullspec",
        ),
        other_versions=("v1alpha1",),
    ),
    PodSource(
        _MACHINE_CONFIG,
        "v1",
        "machineconfignodes",
        images=("spec.configImage.desiredImage", "status.configImage.currentImage", "status.configImage.desiredImage"),
        other_versions=("v1alpha1",),
    ),
    PodSource(
        _MACHINE_CONFIG, "v1", "pinnedimagesets", images=("spec.pinnedImages.*.name",), other_versions=("v1alpha1",)
    ),
)
"""What nodes boot from, or keep on their disks (R10):
MachineConfigs, and on-cluster layering's configurations and builds."""

_TEKTON_IMAGES: Final = tuple(
    f"{part}.**.{field}"
    for part in ("spec", "status")
    for field in (
        "steps.*.image",
        "sidecars.*.image",
        "stepTemplate.image",
        "volumes.*.image.reference",
        "taskRef.bundle",
        "pipelineRef.bundle",
        "imageID",
    )
)
_TEKTON_VALUES: Final = tuple(f"spec.**.params.*.{field}" for field in ("default", "default.*", "value", "value.*"))


def _tekton(resource: str, version: str = "v1", *others: str) -> PodSource:
    """A kind of Tekton: specs of tasks and pipelines are embedded in each other."""
    images = ("spec.image", *_TEKTON_IMAGES) if resource == "stepactions" else _TEKTON_IMAGES
    return PodSource("tekton.dev", version, resource, images=images, values=_TEKTON_VALUES, other_versions=others)


def _kserve(resource: str, version: str) -> PodSource:
    """A kind of KServe: a pod spec with some more fields in it, and models at URIs."""
    return PodSource(
        "serving.kserve.io",
        version,
        resource,
        images=("spec.**.image", "spec.**.volumes.*.image.reference"),
        values=("spec.**.storageUri", "spec.**.storageUris.*.uri"),
    )


_DISKS: Final = ("spec.**.containerDisk.image", "spec.**.kernelBoot.container.image")
_DISK_URLS: Final = ("spec.**.source.registry.url",)
_DISK_STREAMS: Final = ("spec.**.source.registry.imageStream",)

PRESETS: Final[Mapping[str, tuple[PodSource, ...]]] = {
    "argo-rollouts": (PodSource("argoproj.io", "v1alpha1", "rollouts", template=("spec.template",)),),
    "knative": (
        PodSource("serving.knative.dev", "v1", "services", template=("spec.template",)),
        PodSource(
            "serving.knative.dev",
            "v1",
            "revisions",
            template=("spec",),
            images=("status.containerStatuses.*.imageDigest",),
        ),
    ),
    "kserve": (
        _kserve("inferenceservices", "v1beta1"),
        _kserve("servingruntimes", "v1alpha1"),
        _kserve("clusterservingruntimes", "v1alpha1"),
    ),
    "kubevirt": (
        PodSource("kubevirt.io", "v1", "virtualmachines", images=_DISKS, values=_DISK_URLS, streams=_DISK_STREAMS),
        PodSource("kubevirt.io", "v1", "virtualmachineinstances", images=_DISKS),
        PodSource("cdi.kubevirt.io", "v1beta1", "datavolumes", values=_DISK_URLS, streams=_DISK_STREAMS),
        PodSource(
            "cdi.kubevirt.io",
            "v1beta1",
            "dataimportcrons",
            values=(*_DISK_URLS, "status.currentImports.*.Digest"),
            streams=_DISK_STREAMS,
        ),
    ),
    "tekton": (
        _tekton("tasks", "v1", "v1beta1"),
        _tekton("pipelines", "v1", "v1beta1"),
        _tekton("taskruns", "v1", "v1beta1"),
        _tekton("pipelineruns", "v1", "v1beta1"),
        _tekton("stepactions", "v1beta1", "v1", "v1alpha1"),
        _tekton("clustertasks", "v1beta1"),
    ),
}
"""Presets of `extra_referrers`: Argo Rollouts, Knative Serving,
KServe, KubeVirt with its data importer, Tekton Pipelines."""


def extra_referrers(value: object) -> tuple[PodSource, ...]:
    """Presets by name and kinds by their fields; each may be written as JSON."""
    entries = value
    if isinstance(value, str):
        entries = _json(value) if value.lstrip().startswith("[") else list(texts(value))
    if not isinstance(entries, list | tuple):
        raise UnfitError("takes a list")
    found: list[PodSource] = []
    for entry in entries:
        written = _json(entry) if isinstance(entry, str) and entry.lstrip().startswith("{") else entry
        if not isinstance(written, str):
            found.append(_pod_source(written))
        elif written in PRESETS:
            found.extend(PRESETS[written])
        else:
            known = ", ".join(PRESETS)
            # Of an address that is cut at the commas in its password each part looks harmless.
            name = "of this name" if may_hold_credentials(value) else shown(written)
            raise UnfitError(f"knows no preset {name}{did_you_mean(written, PRESETS)}; there are {known}")
    return tuple(found)


def _json(text: str) -> object:
    try:
        return from_json(text)
    except DocumentError as error:
        raise UnfitError(f"looks like JSON and {error}") from None


def _pod_source(entry: object) -> PodSource:
    if not isinstance(entry, Mapping):
        raise UnfitError(
            "takes presets by name, or maps of group, version, resource, and template, images, values or streams"
        )
    for name in entry:
        if name not in PodSource.__struct_fields__:
            raise UnfitError(f"does not know {shown(name)}{did_you_mean(str(name), PodSource.__struct_fields__)}")
    paths = {
        name: (entry[name],) if isinstance(entry.get(name), str) else entry.get(name, ())
        for name in ("template", "images", "values", "streams", "other_versions")
    }
    try:
        check_bounds({**entry, **paths})
        source = msgspec.convert({**entry, **paths}, PodSource)
    except (msgspec.ValidationError, DocumentError) as error:
        raise UnfitError(f"takes group, version, resource, and template, images, values or streams: {error}") from None
    if not (source.template or source.images or source.values or source.streams):
        raise UnfitError(f"{shown(source.name)}: give the path of its pod template, or the paths of its image fields")
    return source
