"""Objects as the API writes them: JSON through the decoders, up to a decision."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from pruner.cluster.images import compact
from pruner.cluster.limits import image_limits
from pruner.cluster.lists import decoder_of_pages
from pruner.cluster.metadata import BEGINNING
from pruner.cluster.objects import ApiImage, Image, ImageStream, LimitRange
from pruner.cluster.sizes import SizeClaims
from pruner.cluster.workloads import Referrer, Workload
from pruner.errors import ClusterError
from tests.builders.objects import (
    L1,
    L2,
    MANIFEST_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA_1,
    SCHEMA_2,
    A,
    B,
    C,
    analysed,
    digest,
    image_stream,
    item,
    kept_by,
    revision,
)

CONFIG = digest("config")


def decoded(kind: Any, found: dict[str, Any]) -> Any:
    """What the decoder of a list's pages gives for this object, with what the API server adds to each."""
    item = {**found, "metadata": {"namespace": "shop", "uid": "u", **found["metadata"]}}
    head = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}}
    items: list[Any] = decoder_of_pages(kind).decode(msgspec.json.encode({**head, "items": [item]})).items
    (only,) = items
    return only


def image(found: dict[str, Any], sizes: dict[str, int] | None = None) -> Image:
    """The image; fills `sizes` with what is known of its blobs."""
    wire = decoded(ApiImage, {"metadata": {"name": A}, **found})
    claims = SizeClaims()
    for name, size in (sizes or {}).items():
        claims.claim(name, size)
    (only,) = compact([wire], claims)
    if sizes is not None:
        sizes.update(claims.settled()[0])
    return only


# --- images ----------------------------------------------------------------------------------------------------------


def test_an_image_is_read_whole_R24() -> None:
    sizes: dict[str, int] = {}
    found = image(
        {
            "apiVersion": "image.openshift.io/v1",
            "kind": "Image",
            "metadata": {
                "name": A,
                "uid": "u",
                "resourceVersion": "5",
                "creationTimestamp": "2025-01-01T00:00:00Z",
                "annotations": {
                    "openshift.io/image.managed": "true",
                    "image.openshift.io/dockerLayersOrder": "ascending",
                },
            },
            "dockerImageReference": f"registry/shop/web@{A}",
            "dockerImageMetadata": {"kind": "DockerImage", "Id": CONFIG, "Size": 130, "Config": {"Env": ["A=1"]}},
            "dockerImageManifestMediaType": SCHEMA_2,
            "dockerImageLayers": [{"name": L1, "size": 100, "mediaType": "x"}, {"name": L2, "size": 20}],
        },
        sizes,
    )
    assert found == Image(
        A,
        "u",
        "5",
        datetime(2025, 1, 1, tzinfo=UTC),
        True,
        "registry/shop/web@",
        SCHEMA_2,
        130,
        CONFIG,
        (L1, L2),
        (),
    )
    assert found.reference == f"registry/shop/web@{A}"
    assert sizes == {L1: 100, L2: 20, CONFIG: 10}


@pytest.mark.parametrize(
    ("media_type", "has_config"),
    [
        (SCHEMA_2, True),
        (OCI_MANIFEST, True),
        (SCHEMA_1, False),
        (MANIFEST_LIST, False),
        (OCI_INDEX, False),
        ("", False),
    ],
)
def test_only_schema_2_and_oci_manifests_have_a_config_R24(media_type: str, has_config: bool) -> None:
    found = image({"dockerImageMetadata": {"Id": CONFIG}, "dockerImageManifestMediaType": media_type})
    assert found.config == (CONFIG if has_config else None)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"dockerImageMetadata": None, "dockerImageLayers": None, "dockerImageManifests": None},
        {"metadata": {"name": A, "annotations": None, "creationTimestamp": None}},
        {"metadata": {"name": A, "annotations": {}}, "dockerImageMetadata": {}},
        {"dockerImageMetadata": {"Id": "", "Size": 0}, "dockerImageManifestMediaType": SCHEMA_2},
    ],
)
def test_an_image_without_metadata_is_an_old_one_without_blobs_but_its_own_R24(found: dict[str, Any]) -> None:
    read = image(found)
    assert (read.created, read.managed, read.size, read.config, read.layers, read.members) == (
        BEGINNING,
        False,
        None,
        None,
        (),
        (),
    )
    assert [blob.digest for blob in analysed(read).plan.blobs] == [A]


@pytest.mark.parametrize(
    ("value", "managed"), [("true", True), ("True", False), ("yes", False), ("1", False), ("", False), ("false", False)]
)
def test_only_true_is_managed_R22(value: str, managed: bool) -> None:
    read = image({"metadata": {"name": A, "annotations": {"openshift.io/image.managed": value}}})
    assert read.managed is managed
    assert (kept_by(analysed(read, all_images=False).images[A]) is None) is managed


def test_a_schema_1_image_has_its_layers_once_and_no_config_R24() -> None:
    found = image(
        {
            "dockerImageManifestMediaType": SCHEMA_1,
            "dockerImageMetadata": {"Id": CONFIG, "Size": 0},
            "dockerImageLayers": [{"name": L1}, {"name": L1, "size": 5}, {"name": L2}],
        }
    )
    assert {blob.digest for blob in analysed(found).plan.blobs} == {A, L1, L2}


@pytest.mark.parametrize("said", [[None, 5], [5, None], [5, 5]])
def test_a_layer_whose_size_is_said_once_has_it_R24(said: list[int | None]) -> None:
    """The config takes what the layers leave of the image's size."""
    sizes: dict[str, int] = {}
    layers = [{"name": L1, "size": size} for size in said]
    found = image(
        {
            "dockerImageManifestMediaType": OCI_MANIFEST,
            "dockerImageMetadata": {"Id": CONFIG, "Size": 12},
            "dockerImageLayers": [*layers, {"name": L2, "size": 4}],
        },
        sizes,
    )
    assert found.layers == (L1, L2)
    assert sizes == {L1: 5, L2: 4, CONFIG: 3}


def test_a_layer_that_another_image_has_measured_counts_R24() -> None:
    sizes = {L1: 5}
    image(
        {
            "dockerImageManifestMediaType": OCI_MANIFEST,
            "dockerImageMetadata": {"Id": CONFIG, "Size": 12},
            "dockerImageLayers": [{"name": L1}, {"name": L2, "size": 4}],
        },
        sizes,
    )
    assert sizes == {L1: 5, L2: 4, CONFIG: 3}


def test_an_oci_index_with_an_attestation_names_its_members_R22() -> None:
    sizes: dict[str, int] = {}
    found = image(
        {
            "dockerImageManifestMediaType": OCI_INDEX,
            "dockerImageManifests": [
                {"digest": B, "mediaType": OCI_MANIFEST, "manifestSize": 500, "architecture": "amd64", "os": "linux"},
                {
                    "digest": C,
                    "mediaType": OCI_MANIFEST,
                    "manifestSize": 300,
                    "architecture": "unknown",
                    "os": "unknown",
                },
            ],
        },
        sizes,
    )
    assert (found.members, found.config) == ((B, C), None)
    assert sizes == {B: 500, C: 300}


def test_a_config_is_not_measured_where_the_sizes_disagree_R24() -> None:
    sizes: dict[str, int] = {}
    image(
        {
            "dockerImageManifestMediaType": SCHEMA_2,
            "dockerImageMetadata": {"Id": CONFIG, "Size": 50},
            "dockerImageLayers": [{"name": L1, "size": 100}],
        },
        sizes,
    )
    assert CONFIG not in sizes


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("2026-01-01T11:00:00Z", None),
        ("2026-01-01T11:00:01Z", "R14"),
        ("2026-01-01T10:59:59Z", None),
        ("2026-01-01T11:00:00.000001Z", "R14"),
        ("2026-01-01T10:59:59.999999Z", None),
        ("2026-01-01T11:00:00.123456789Z", "R14"),
        ("2026-01-01T12:00:00+01:00", None),
        ("2026-01-01T12:00:01+01:00", "R14"),
        ("2026-01-01T06:00:00.5-05:00", "R14"),
        ("2026-01-01T16:30:00+05:30", None),
        ("2026-01-01T11:00:00", None),
        ("2026-01-01T11:00:01", "R14"),
        (None, None),
    ],
)
def test_times_are_read_with_fractions_and_offsets_R14(written: str | None, rule: str | None) -> None:
    stream = decoded(
        ImageStream,
        {
            "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "2020-01-01T00:00:00Z"},
            "status": {"tags": [{"tag": "latest", "items": [{"created": written, "image": A, "generation": 1}]}]},
        },
    )
    found = analysed(stream, image({"metadata": {"name": A, "creationTimestamp": written}}))
    assert kept_by(revision(found, "shop/web:latest")) == rule


@pytest.mark.parametrize(("written", "young"), [("2026-01-01T11:00:00Z", False), ("2026-01-01T11:00:00.1Z", True)])
def test_the_age_of_an_image_is_exact_R22(written: str, young: bool) -> None:
    found = analysed(image({"metadata": {"name": A, "creationTimestamp": written}}))
    assert found.images[A].kept is young


@pytest.mark.parametrize(("written", "rule"), [("2026-01-01T11:00:00Z", None), ("2026-01-01T11:00:00.000001Z", "R14")])
def test_the_age_of_a_stream_is_exact_R14(written: str, rule: str | None) -> None:
    stream = decoded(
        ImageStream,
        {
            "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": written},
            "status": {"tags": [{"tag": "latest", "items": [{"created": "2020-01-01T00:00:00Z", "image": A}]}]},
        },
    )
    assert kept_by(revision(analysed(stream, image({})), "shop/web:latest")) == rule


# --- image streams ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"dockerImageRepository": ""},
        {"tags": None},
        {"tags": []},
        {"tags": [{"tag": "latest", "items": None, "conditions": [{"type": "ImportSuccess", "status": "False"}]}]},
        {"tags": [{"tag": "latest", "items": []}]},
        {"tags": [{"tag": "latest", "conditions": [{"type": "ImportSuccess", "status": "False"}]}]},
    ],
)
def test_streams_without_revisions_are_kept_R20(status: object) -> None:
    found = analysed(decoded(ImageStream, {"metadata": {"name": "web", "namespace": "shop"}, "status": status}))
    assert found.plan.empty


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "storage"),
    [
        ("1K", Decimal(1000)),
        ("1k", Decimal(1000)),
        ("1Ki", Decimal(1024)),
        ("0010Mi", Decimal(10 << 20)),
        ("3Gi", Decimal(3 << 30)),
        ("4Ti", Decimal(4 << 40)),
        ("999999999999999999", Decimal(10**18 - 1)),
        ("999999999999999999Ti", Decimal(2**63 - 1)),
        ("1000000000000000000", Decimal(10**18)),
        ("1.5Gi", Decimal(3 << 29)),
        ("1e9", Decimal(10**9)),
        ("1E9", Decimal(10**9)),
        ("500m", Decimal("0.5")),
        ("+5", Decimal(5)),
        ("10", Decimal(10)),
        (10, Decimal(10)),
        ("0.5Ki", Decimal(512)),
        ("1E", Decimal(10**18)),
        ("1Ei", Decimal(1 << 60)),
        ("1u", Decimal("0.000001")),
        ("1n", Decimal("0.000000001")),
        # As the API server stores what is beyond its range.
        ("1e999", Decimal(2**63 - 1)),
        ("-1e999", Decimal(1 - 2**63)),
        ("8Ei", Decimal(2**63 - 1)),
        ("1e-999", Decimal("0.000000001")),
        ("-1e-10", Decimal("-0.000000001")),
        ("1.0000000001", Decimal("1.000000001")),
        ("0e-999", Decimal(0)),
        ("0e999", Decimal(0)),
    ],
)
def test_quantities_are_read_exactly_R16(written: object, storage: Decimal) -> None:
    found = decoded(
        LimitRange,
        {
            "metadata": {"name": "limits", "namespace": "shop"},
            "spec": {
                "limits": [
                    {"type": "Container", "max": {"cpu": "1", "storage": "3"}},
                    {"type": "openshift.io/Image", "max": {"storage": written}},
                    {"type": "openshift.io/Image", "max": None},
                    {"type": "openshift.io/Image", "max": {}},
                    {"type": "openshift.io/ImageStream", "max": {"openshift.io/images": "3"}},
                ]
            },
        },
    )
    (limit,) = image_limits(found, "https://api")
    assert (limit.namespace, limit.name, limit.storage) == ("shop", "limits", storage)


@pytest.mark.parametrize(
    "written",
    [
        "1Kib",
        "",
        "ten",
        "1.2.3",
        "--1",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "1e9999999999999999999",
        True,
        [5],
        {"a": 1},
    ],
)
def test_what_is_no_quantity_ends_the_run_R3(written: object) -> None:
    found = decoded(
        LimitRange,
        {
            "metadata": {"name": "limits", "namespace": "shop"},
            "spec": {"limits": [{"type": "openshift.io/Image", "max": {"storage": written}}]},
        },
    )
    with pytest.raises(ClusterError, match=r"LimitRange shop/limits: max\.storage .* is not a quantity"):
        list(image_limits(found, "https://api"))


@pytest.mark.parametrize("spec", [None, {}, {"limits": None}, {"limits": []}])
def test_a_limit_range_without_limits_limits_nothing_R16(spec: object) -> None:
    assert list(image_limits(decoded(LimitRange, {"metadata": {"name": "x"}, "spec": spec}), "https://api")) == []


# --- workloads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("Pod", {"spec": {"containers": [{"image": "r/shop/web:v1"}]}, "status": {"phase": "Running"}}),
        (
            "CronJob",
            {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"image": "r:1/shop/web:v1"}]}}}}}},
        ),
        (
            "Deployment",
            {
                "spec": {
                    "strategy": {"type": "Recreate"},
                    "template": {"spec": {"initContainers": [{"image": "r:1/shop/web:v1"}]}},
                }
            },
        ),
        (
            "DeploymentConfig",
            {
                "spec": {
                    "triggers": [
                        {"type": "ConfigChange"},
                        {
                            "type": "ImageChange",
                            "imageChangeParams": {"from": {"kind": "ImageStreamTag", "name": "web:v1"}},
                        },
                    ]
                }
            },
        ),
        (
            "BuildConfig",
            {
                "spec": {
                    "strategy": {
                        "type": "Docker",
                        "dockerStrategy": {"from": {"kind": "ImageStreamTag", "name": "web:v1"}},
                    }
                }
            },
        ),
        (
            "BuildConfig",
            {
                "spec": {
                    "triggers": [
                        {"type": "ImageChange", "imageChange": {"from": {"kind": "ImageStreamTag", "name": "web:v1"}}}
                    ]
                }
            },
        ),
        (
            "Build",
            {"spec": {"source": {"images": [{"from": {"kind": "ImageStreamTag", "name": "web:v1"}, "paths": []}]}}},
        ),
        (
            "ControllerRevision",
            {
                "data": {
                    "spec": {"template": {"$patch": "replace", "spec": {"containers": [{"image": "r:1/shop/web:v1"}]}}}
                }
            },
        ),
        (
            "Pod",
            {
                "spec": {"volumes": [{"name": "v", "image": {"reference": "r:1/shop/web:v1"}}]},
                "status": {"phase": "Pending"},
            },
        ),
        (
            "Job",
            {
                "metadata": {
                    "name": "x",
                    "namespace": "shop",
                    "annotations": {
                        "image.openshift.io/triggers": '[{"from":{"kind":"ImageStreamTag","name":"web:v1"}}]'
                    },
                }
            },
        ),
    ],
)
def test_workloads_are_read_as_the_api_writes_them_R4_R10(kind: str, found: dict[str, Any]) -> None:
    workload = decoded(Workload, {"metadata": {"name": "x", "namespace": "shop"}, **found})
    stream = image_stream("shop/web", v1=[item(A)])
    decision = revision(analysed(image({}), stream, Referrer(kind, workload)), "shop/web:v1")
    # A host needs a dot or a colon to be one.
    assert kept_by(decision) == (None if '"r/' in msgspec.json.encode(found).decode() else "R15")


@pytest.mark.parametrize(
    "spec",
    [None, {}, {"containers": None, "initContainers": None, "volumes": None}, {"template": None}, {"triggers": None}],
)
def test_null_lists_of_a_workload_are_empty_R4(spec: object) -> None:
    workload = decoded(Workload, {"metadata": {"name": "x", "namespace": "shop"}, "spec": spec})
    assert analysed(Referrer("Deployment", workload)).usage.tags == {}
