"""What counts as a list (R3): whatever an API server sends, either all objects are read or the run ends."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from pruner.cluster import lists
from pruner.cluster.lists import ListReader, decoder_of_pages
from pruner.cluster.objects import ApiImage, ImageStream
from pruner.cluster.resources import IMAGE_STREAMS, IMAGES, WORKLOADS, Resource
from pruner.cluster.workloads import Workload
from pruner.errors import ClusterError
from pruner.http.body import OnPrefix
from pruner.http.response import Response
from tests.conftest import Tried

PODS = WORKLOADS[0]
FLEETS = Resource("acme.io", "v1", "fleets")
Json = dict[str, Any]


def item(number: int) -> Json:
    metadata = {"name": f"object-{number}", "namespace": "shop", "uid": f"uid-{number}", "resourceVersion": "5"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "shop/web"}]}}


def pages_of(resource: Resource, kind: str, *sizes: int) -> list[Json]:
    """The pages of a list, as an API server writes them: with continue tokens that are their numbers."""
    left, pages = sum(sizes), []
    for number, size in enumerate(sizes):
        begun = sum(sizes[:number])
        left -= size
        rest = {"continue": str(number + 1), "remainingItemCount": left} if left else {}
        head = {"kind": f"{kind}List", "apiVersion": resource.api_version}
        metadata = {"resourceVersion": "100", **rest}
        pages.append({**head, "metadata": metadata, "items": [item(each) for each in range(begun, begun + size)]})
    return pages


def read(resource: Resource, kind: str, pages: list[Any], decoder: Any, ahead: int = 1) -> list[str]:
    """The names of all objects of the list whose pages these are."""

    async def fetch(path: str, peek: OnPrefix) -> Response:
        token = path.partition("continue=")[2]
        body = json.dumps(pages[int(token or 0)] if (token or "0").isdecimal() and int(token or 0) < len(pages) else {})
        peek(body.encode()[:200])
        return Response(200, CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json"})), body.encode())

    async def run() -> list[str]:
        reader = ListReader("http://api", resource, kind, fetch)
        return [each.metadata.name async for page in reader.pages(decoder, ahead) for each in page.items]

    return asyncio.run(run())


def names(number: int) -> list[str]:
    return [f"object-{each}" for each in range(number)]


_images, _streams, _pods = (
    decoder_of_pages(ApiImage),
    decoder_of_pages(ImageStream),
    decoder_of_pages(Workload, "Pod"),
)
KINDS = [(IMAGES, "Image", _images), (IMAGE_STREAMS, "ImageStream", _streams), (PODS, "Pod", _pods)]


@pytest.mark.parametrize(("resource", "kind", "decoder"), KINDS)
@pytest.mark.parametrize("ahead", [1, 3])
def test_all_pages_of_a_list_are_read(resource: Resource, kind: str, decoder: Any, ahead: int) -> None:
    assert read(resource, kind, pages_of(resource, kind, 2, 2, 1), decoder, ahead) == names(5)
    assert read(resource, kind, pages_of(resource, kind, 0), decoder, ahead) == []


NO_LISTS: dict[str, Any] = {
    "empty": {},
    "null": None,
    "an array": [],
    "text": "ok",
    "a Status": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "etcd is away", "code": 500},
    "a Status with metadata and items": {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "1"},
        "items": [],
    },
    "a Table": {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "1"}, "rows": []},
    "an error": {"error": "unauthorized"},
    "another kind": pages_of(PODS, "ConfigMap", 1)[0],
    "another kind without objects": pages_of(PODS, "ConfigMap", 0)[0],
    "another group": {**pages_of(PODS, "Pod", 1)[0], "apiVersion": "metrics.k8s.io/v1beta1"},
    "no kind": {key: value for key, value in pages_of(PODS, "Pod", 1)[0].items() if key != "kind"},
    "no version": {key: value for key, value in pages_of(PODS, "Pod", 1)[0].items() if key != "apiVersion"},
    "no metadata": {key: value for key, value in pages_of(PODS, "Pod", 1)[0].items() if key != "metadata"},
    "no resource version": {**pages_of(PODS, "Pod", 1)[0], "metadata": {}},
    "an empty resource version": {**pages_of(PODS, "Pod", 1)[0], "metadata": {"resourceVersion": ""}},
    "no items": {key: value for key, value in pages_of(PODS, "Pod", 1)[0].items() if key != "items"},
    "null items": {**pages_of(PODS, "Pod", 1)[0], "items": None},
    "items that are a map": {**pages_of(PODS, "Pod", 1)[0], "items": {"0": item(0)}},
    "an item that is null": {**pages_of(PODS, "Pod", 1)[0], "items": [None]},
    "an item without metadata": {**pages_of(PODS, "Pod", 1)[0], "items": [{}]},
    "an item without a name": {**pages_of(PODS, "Pod", 1)[0], "items": [{"metadata": {}}]},
    "an item with an empty name": {**pages_of(PODS, "Pod", 1)[0], "items": [{"metadata": {"name": ""}}]},
    "an item of another kind": {**pages_of(PODS, "Pod", 1)[0], "items": [{"kind": "Secret", **item(0)}]},
    "objects that remain without a token": {
        **pages_of(PODS, "Pod", 1)[0],
        "metadata": {"resourceVersion": "1", "remainingItemCount": 3},
    },
    "no items, and a token": {
        **pages_of(PODS, "Pod", 0)[0],
        "metadata": {"resourceVersion": "1", "continue": "7", "remainingItemCount": 3},
    },
    "a token that is null": {**pages_of(PODS, "Pod", 1)[0], "metadata": {"resourceVersion": "1", "continue": None}},
}


@pytest.mark.parametrize("later", [False, True], ids=["first page", "later page"])
@pytest.mark.parametrize("name", NO_LISTS)
def test_what_is_no_list_ends_the_run_R3(name: str, later: bool) -> None:
    first, second = pages_of(PODS, "Pod", 2, 2)
    with pytest.raises(ClusterError, match=r"^http://api: ") as raised:
        read(PODS, "Pod", [first, NO_LISTS[name]] if later else [NO_LISTS[name], second], _pods)
    assert "\n" not in str(raised.value)


def test_items_may_say_the_kind_that_they_are_of() -> None:
    page = pages_of(PODS, "Pod", 0)[0]
    assert read(PODS, "Pod", [{**page, "items": [{"kind": "Pod", **item(0)}]}], _pods) == names(1)


@pytest.mark.parametrize("field", ["uid", "namespace", "name"])
def test_an_image_stream_without_what_it_is_known_by_is_none_R3(field: str) -> None:
    pages = pages_of(IMAGE_STREAMS, "ImageStream", 2)
    del pages[0]["items"][1]["metadata"][field]
    with pytest.raises(ClusterError, match=field):
        read(IMAGE_STREAMS, "ImageStream", pages, _streams)


def test_the_message_says_what_came_instead() -> None:
    with pytest.raises(ClusterError, match=r"/api/v1/pods .*it is Status of v1, etcd is away, and no PodList of v1"):
        read(PODS, "Pod", [NO_LISTS["a Status"]], _pods)


def test_the_list_of_a_custom_resource_is_called_what_its_definition_says() -> None:
    decoder = decoder_of_pages(Workload)
    page = pages_of(FLEETS, "Fleet", 2)[0]
    assert read(FLEETS, "Fleet", [{**page, "kind": "FleetCollectionList"}], decoder) == names(2)
    with pytest.raises(ClusterError, match=r"it is Status of acme.io/v1, and no FleetList of acme.io/v1"):
        read(FLEETS, "Fleet", [{**page, "kind": "Status"}], decoder)


@pytest.mark.parametrize("following", ["1", "2"])
def test_a_token_that_comes_twice_ends_the_run_R3(following: str) -> None:
    pages = pages_of(PODS, "Pod", 1, 1, 1, 1)
    pages[2]["metadata"]["continue"] = following
    with pytest.raises(ClusterError, match=r"list pods: a continue token came twice"):
        read(PODS, "Pod", pages, _pods, ahead=3)


def test_a_list_without_an_end_names_its_bound_R3(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = pages_of(PODS, "Pod", 1, 1, 1, 1)
    monkeypatch.setattr(lists, "MOST_PAGES", 3)
    with pytest.raises(ClusterError, match=r"list pods: it has more than 3 pages"):
        read(PODS, "Pod", pages, _pods)
    monkeypatch.setattr(lists, "MOST_PAGES", 4)
    assert read(PODS, "Pod", pages, _pods) == names(4)
    monkeypatch.setattr(lists, "MOST_OBJECTS", 3)
    with pytest.raises(ClusterError, match=r"list pods: .* 3 objects, which no cluster has"):
        read(PODS, "Pod", pages, _pods)


# --- any mutation ----------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**65) | st.text(max_size=3) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of a JSON value at which something stands, without the items of lists themselves."""
    found = [path] if path and not isinstance(path[-1], int) else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        found += places(each, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, pages: list[Json]) -> list[Json]:
    """The pages with a value left out or replaced somewhere; no item
    is taken out of an array, which leaves a list as good as any.
    """
    changed = copy.deepcopy(pages)
    page = draw(st.sampled_from(changed))
    *way, last = draw(st.sampled_from(places(page)))
    place: Any = page
    for step in way:
        place = place[step]
    if draw(st.booleans()):
        del place[last]
    else:
        # Items that are an array are a list, whatever is in it.
        place[last] = draw(VALUES.filter(lambda value: last != "items" or not isinstance(value, list)))
    return changed


@pytest.mark.parametrize(("resource", "kind", "decoder"), KINDS)
def test_no_mutation_of_a_list_loses_an_object_R3(resource: Resource, kind: str, decoder: Any, tried: Tried) -> None:
    pages = pages_of(resource, kind, 2, 2, 1)
    count = refused = 0

    @settings(max_examples=300)
    @given(mutated(pages))
    def check(changed: list[Json]) -> None:
        nonlocal count, refused
        count += 1
        try:
            found = read(resource, kind, changed, decoder)
        except ClusterError:
            refused += 1
            return
        # A name is what the server says; that an object is missing would show in the number.
        assert len(found) == len(names(5))

    check()
    assert 0 < refused < count
    tried(count, f"mutations of a list of {kind}s, {refused} refused")
