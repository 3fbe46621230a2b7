"""What objects of further kinds use: what nodes boot from, presets and kinds of a user's own (R10, R13)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pruner.analysis import find_usage
from pruner.analysis.usage import Usage
from pruner.cluster.further_kinds import at_path, decoded, extra_referrer, sources_of
from pruner.errors import ClusterError, InvalidReferencesError
from pruner.settings import NODE_IMAGES, PRESETS, PodSource
from tests.builders.objects import A, rules, snapshot

WEB = "registry:5000/shop/web"
DIGEST = f"{WEB}@{A}"
SOURCES = {
    source.resource: source for source in (*NODE_IMAGES, *(each for preset in PRESETS.values() for each in preset))
}


def usage(source: PodSource, found: dict[str, Any], namespace: str = "shop", **asked: Any) -> Usage:
    metadata = {"name": "x", **({"namespace": namespace} if namespace else {})}
    return find_usage(snapshot(extra_referrer(source, {"kind": "Kind", "metadata": metadata, **found})), rules(**asked))


def nested(path: str, value: object) -> dict[str, Any]:
    """An object with the value at the path; `*` is a list of one."""
    for step in reversed(path.split(".")):
        value = [value] if step == "*" else {step: value}
    assert isinstance(value, dict)
    return value


BY_DIGEST = [
    ("machineconfigs", "spec.osImageURL"),
    ("machineconfigs", "spec.baseOSExtensionsContainerImage"),
    ("machineosconfigs", "status.currentImagePullSpec"),
    ("machineosconfigs", "status.currentImagePullspec"),
    ("machineosconfigs", "spec.buildInputs.baseOSImagePullspec"),
    ("machineosbuilds", "status.digestedImagePushSpec"),
    ("machineosbuilds", "status.finalImagePullspec"),
    ("machineconfignodes", "spec.configImage.desiredImage"),
    ("machineconfignodes", "status.configImage.currentImage"),
    ("machineconfignodes", "status.configImage.desiredImage"),
    ("pinnedimagesets", "spec.pinnedImages.*.name"),
    ("taskruns", "status.steps.*.imageID"),
    ("taskruns", "status.retriesStatus.*.sidecars.*.imageID"),
    ("tasks", "spec.steps.*.image"),
    ("tasks", "spec.volumes.*.image.reference"),
    ("stepactions", "spec.image"),
    ("clustertasks", "spec.stepTemplate.image"),
    ("pipelines", "spec.tasks.*.taskSpec.sidecars.*.image"),
    ("pipelines", "spec.finally.*.taskSpec.steps.*.image"),
    ("pipelines", "spec.tasks.*.pipelineSpec.tasks.*.pipelineSpec.tasks.*.taskSpec.steps.*.image"),
    ("pipelines", "spec.tasks.*.taskRef.bundle"),
    ("pipelineruns", "spec.pipelineSpec.tasks.*.taskSpec.stepTemplate.image"),
    ("pipelineruns", "status.pipelineSpec.tasks.*.taskSpec.steps.*.image"),
    ("pipelineruns", "status.taskRuns.one.status.steps.*.imageID"),
    ("taskruns", "spec.taskSpec.steps.*.image"),
    ("taskruns", "spec.params.*.value"),
    ("taskruns", "spec.params.*.value.*"),
    ("tasks", "spec.params.*.default"),
    ("inferenceservices", "spec.predictor.model.image"),
    ("inferenceservices", "spec.transformer.containers.*.image"),
    ("inferenceservices", "spec.predictor.model.storageUri"),
    ("servingruntimes", "spec.containers.*.image"),
    ("clusterservingruntimes", "spec.workerSpec.initContainers.*.image"),
    ("virtualmachines", "spec.template.spec.volumes.*.containerDisk.image"),
    ("virtualmachines", "spec.template.spec.domain.firmware.kernelBoot.container.image"),
    ("virtualmachines", "spec.dataVolumeTemplates.*.spec.source.registry.url"),
    ("virtualmachineinstances", "spec.volumes.*.containerDisk.image"),
    ("datavolumes", "spec.source.registry.url"),
    ("dataimportcrons", "spec.template.spec.source.registry.url"),
]


@pytest.mark.parametrize(("resource", "path"), BY_DIGEST)
@pytest.mark.parametrize("transport", ["", "docker://", "oci://"])
def test_a_pull_spec_is_found_wherever_a_kind_has_one_R10_R13(resource: str, path: str, transport: str) -> None:
    found = usage(SOURCES[resource], nested(path, transport + DIGEST))
    assert found.digests == {("shop/web", A): ("Kind shop/x",)}
    assert found.anywhere == {A: ("Kind shop/x",)}
    assert usage(SOURCES[resource], nested(path, transport + DIGEST), references="oc") == Usage()


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("machineosconfigs", "spec.renderedImagePushSpec"),
        ("machineosconfigs", "spec.buildInputs.renderedImagePushspec"),
        ("machineosbuilds", "spec.renderedImagePushSpec"),
    ],
)
def test_what_is_in_no_namespace_is_named_without_one_R10(resource: str, path: str) -> None:
    assert usage(SOURCES[resource], nested(path, f"{WEB}:v1"), "").tags == {("shop/web", "v1"): ("Kind x",)}


@pytest.mark.parametrize(("name", "tag"), [("web", "latest"), ("web:v1", "v1")])
@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("datavolumes", "spec.source.registry.imageStream"),
        ("dataimportcrons", "spec.template.spec.source.registry.imageStream"),
        ("virtualmachines", "spec.dataVolumeTemplates.*.spec.source.registry.imageStream"),
    ],
)
def test_an_image_stream_of_the_own_namespace_is_used_R13(resource: str, path: str, name: str, tag: str) -> None:
    assert list(usage(SOURCES[resource], nested(path, name)).tags) == [("shop/web", tag)]


def test_the_digest_of_an_import_is_used_R13() -> None:
    assert list(usage(SOURCES["dataimportcrons"], nested("status.currentImports.*.Digest", A)).anywhere) == [A]


@pytest.mark.parametrize(
    ("resource", "path", "text"),
    [
        ("inferenceservices", "spec.predictor.model.storageUri", "s3://models/shop/web"),
        ("inferenceservices", "spec.predictor.model.storageUri", "pvc://claim/a/b"),
        ("inferenceservices", "spec.predictor.model.storageUri", "hf://org/model"),
        ("datavolumes", "spec.source.registry.url", "oci-archive://registry/a/b"),
        ("taskruns", "spec.params.*.value", "https://github.com/shop/web"),
        ("taskruns", "spec.params.*.value", "latest"),
        ("taskruns", "spec.params.*.value", "not a pull spec"),
        ("tasks", "spec.steps.*.image", "$(params.image)"),
        ("tasks", "spec.steps.*.image", f"{WEB}:$(params.tag)"),
        ("tasks", "spec.steps.*.image", " "),
        ("taskruns", "spec.params.*.value", "a" * 100_000),
    ],
)
def test_what_names_no_image_is_ignored_R13(resource: str, path: str, text: str) -> None:
    assert usage(SOURCES[resource], nested(path, text)) == Usage()


@pytest.mark.parametrize("value", [5, None, True, {}, [], {"reference": WEB}])
def test_other_values_in_a_known_kind_are_ignored_R13(value: object) -> None:
    assert usage(SOURCES["servingruntimes"], nested("spec.volumes.*.image", value)).warnings == ()


def test_what_does_not_parse_in_an_image_field_is_an_error_R9_R13() -> None:
    with pytest.raises(InvalidReferencesError, match=r"Kind shop/x, status\.currentImagePullSpec: 'a b'"):
        usage(SOURCES["machineosconfigs"], nested("status.currentImagePullSpec", "a b"))


def test_what_nodes_boot_from_is_read_with_the_extended_rules_only_R10() -> None:
    own = PodSource("acme.io", "v1", "fleets", images=("spec.image",))
    assert sources_of("extended", [own, own]) == (*NODE_IMAGES, own)
    assert sources_of("oc", [own]) == (own,)


@pytest.mark.parametrize(
    ("path", "reached"),
    [
        ("a.**.x", [1, 2, 3]),
        ("a.x", [1]),
        ("a.*.x", [2]),
        ("**.y", []),
        ("a.**.b.*.x", [3]),
    ],
)
def test_two_stars_step_over_any_number_of_lists_and_maps_R13(path: str, reached: list[int]) -> None:
    found = {"a": {"x": 1, "c": {"x": 2, "b": [{"x": 3}]}}}
    assert sorted(at_path(found, path)) == reached


def test_an_object_of_any_depth_is_searched_R13() -> None:
    found: dict[str, Any] = {"image": DIGEST}
    for _ in range(50_000):
        found = {"x": [found]}
    assert list(at_path(found, "**.image")) == [DIGEST]


def test_an_object_nested_too_deeply_to_be_read_is_an_error_that_names_the_kind_R13() -> None:
    raw = msgspec.Raw(b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(ClusterError, match=r"tasks\.tekton\.dev is nested too deeply"):
        decoded(raw, SOURCES["tasks"])
