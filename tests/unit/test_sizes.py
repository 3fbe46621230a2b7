"""Sizes of blobs are claims: what is plausible counts, the
largest of it, in whatever order images are listed (R24, P7).
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.cluster.images import compact
from pruner.cluster.metadata import Page
from pruner.cluster.objects import ApiImage
from pruner.cluster.sizes import LARGEST, LARGEST_CONFIG, SizeClaims
from pruner.errors import UnsafePlanError
from pruner.plan import decode, encode
from tests.builders.objects import L1, L2, SCHEMA_2, A, B, C, analysed, digest, image

CONFIG = digest("config")
IMPLAUSIBLE = [
    None,
    True,
    "5",
    "",
    [5],
    {"size": 5},
    5.0,
    1.5,
    1e30,
    -1,
    0,
    -(10**15),
    LARGEST + 1,
    2**63 - 1,
    2**64,
    10**30,
]

claims = st.one_of(
    st.sampled_from([1, 5, LARGEST, *IMPLAUSIBLE]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)
layers = st.lists(st.tuples(st.sampled_from([L1, L2, CONFIG, A]), claims), max_size=4)
images = st.fixed_dictionaries(
    {
        "layers": layers,
        "size": claims,
        "config": st.sampled_from([CONFIG, L1]),
        "members": st.lists(st.tuples(st.sampled_from([B, C, L1]), claims), max_size=2),
    }
)


def wire(name: str, found: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            "metadata": {"name": name, "uid": f"uid of {name}"},
            "dockerImageManifestMediaType": SCHEMA_2,
            "dockerImageMetadata": {"Id": found.get("config", CONFIG), "Size": found.get("size")},
            "dockerImageLayers": [{"name": layer, "size": size} for layer, size in found.get("layers", ())],
            "dockerImageManifests": [{"digest": it, "manifestSize": size} for it, size in found.get("members", ())],
        }
    ).encode()


def sizes_of(*found: dict[str, Any]) -> tuple[dict[str, int], frozenset[str]]:
    body = b",".join(wire(digest(f"image {number}"), each) for number, each in enumerate(found))
    head = b'{"kind":"ImageList","apiVersion":"image.openshift.io/v1","metadata":{"resourceVersion":"1"},"items":['
    page = msgspec.json.decode(head + body + b"]}", type=Page[ApiImage])
    settled = SizeClaims()
    assert len(list(compact(page.items, settled))) == len(found)
    return settled.settled()


@given(
    st.lists(images, min_size=1, max_size=4).flatmap(lambda found: st.tuples(st.just(found), st.permutations(found)))
)
def test_the_order_in_which_images_are_listed_changes_no_size_P7(orders: tuple[list[Any], list[Any]]) -> None:
    listed, otherwise = orders
    sizes, contested = sizes_of(*listed)
    assert sizes_of(*otherwise) == (sizes, contested)
    assert not {size for size in sizes.values() if not 0 < size <= LARGEST}
    assert contested <= sizes.keys()


@given(images, images)
def test_no_image_makes_the_layers_of_another_one_smaller_R24(honest: dict[str, Any], other: dict[str, Any]) -> None:
    alone = {name: size for name, size in sizes_of({**honest, "members": []})[0].items() if name in (L2, A)}
    assert [name for name, size in alone.items() if sizes_of(honest, other)[0][name] < size] == []


@pytest.mark.parametrize("claim", IMPLAUSIBLE)
def test_an_implausible_size_measures_nothing_R24(claim: object) -> None:
    assert sizes_of({"layers": [(L1, claim), (L2, 7)], "size": claim, "members": [(B, claim)]}) == (
        {L2: 7},
        frozenset(),
    )
    # What another image says of the same blob counts, on either side.
    for order in (1, -1):
        found = [{"layers": [(L1, claim)]}, {"layers": [(L1, 5)], "size": 8}][::order]
        assert sizes_of(*found) == ({L1: 5, CONFIG: 3}, frozenset())


@pytest.mark.parametrize("number", ["1e400", "1" + "0" * 5000, "-0", "5.0"])
def test_a_size_that_no_decoder_takes_is_that_of_an_image_of_unknown_size_R24(number: str) -> None:
    body = wire(A, {"layers": [(L1, 5)], "size": "NUMBER"}).replace(b'"NUMBER"', number.encode())
    (read,) = compact([msgspec.json.decode(body, type=ApiImage)], SizeClaims())
    assert read.size is None


@pytest.mark.parametrize("layer_sizes", [(5, 9), (9, 5)])
def test_the_largest_claim_counts_and_the_blob_is_contested_R24(layer_sizes: tuple[int, int]) -> None:
    one, other = ({"layers": [(L1, size)]} for size in layer_sizes)
    assert sizes_of(one, other) == ({L1: 9}, frozenset({L1}))
    assert sizes_of({"layers": [(L1, size) for size in layer_sizes]}) == ({L1: 9}, frozenset({L1}))


@pytest.mark.parametrize(
    ("size", "config"),
    [(105, 5), (100, None), (99, None), (100 + LARGEST_CONFIG, LARGEST_CONFIG), (101 + LARGEST_CONFIG, None)],
)
def test_a_config_is_what_plausibly_remains_of_its_image_R24(size: int, config: int | None) -> None:
    assert sizes_of({"layers": [(L1, 100)], "size": size})[0].get(CONFIG) == config


@pytest.mark.parametrize("size", [-1, LARGEST + 1, 10**30, "5", 1.5])
def test_a_plan_file_with_a_size_that_cannot_be_is_no_plan(size: object) -> None:
    found = analysed(image(A, layers=[L1]), blob_sizes={L1: 77}).plan
    lines = [line.replace(b'"size":77', b'"size":' + json.dumps(size).encode()) for line in encode(found)]
    assert lines != list(encode(found))
    with pytest.raises(UnsafePlanError, match="is not a line of a plan"):
        decode(lines, "plan.jsonl")
