"""Parts of URLs: any name stays one segment of a path, or is refused."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pruner.cluster.resources import IMAGE_STREAMS, IMAGES
from pruner.errors import ClusterError
from pruner.http.urls import path_segment

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
NAMES = UNICODE.filter(lambda name: name not in {".", ".."})


@given(NAMES)
def test_a_name_stays_one_segment_and_is_the_name_that_the_server_reads(name: str) -> None:
    url = urlsplit(f"https://api:6443/apis/{path_segment(name)}/status?limit=1")
    assert url.netloc == "api:6443"
    assert [unquote(part) for part in url.path.split("/")] == ["", "apis", name, "status"]
    assert url.query == "limit=1"
    assert not url.fragment


@given(NAMES)
def test_the_client_sends_a_segment_as_the_same_name(name: str) -> None:
    """The URL class under aiohttp may write fewer characters encoded; it must not resolve or split a segment."""
    sent = URL(f"https://api:6443/apis/{path_segment(name)}").raw_path
    assert [unquote(part) for part in sent.split("/")] == ["", "apis", name]


@pytest.mark.parametrize("name", ["sha256:" + "0" * 64, "web", "shop-1.2_3~x", "system:image-pruner"])
def test_ordinary_names_are_not_changed(name: str) -> None:
    assert path_segment(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800", "a\udfffb"])
def test_what_cannot_be_a_segment_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a segment of a URL's path"):
        path_segment(name)


@pytest.mark.parametrize("name", ["a?b", "a#b", "a/b", "a%2fb", "a\nb", "../x", "[x]", "é"])
def test_paths_of_odd_names_stay_below_their_kind(name: str) -> None:
    path = IMAGES.object_path("", name)
    assert path.startswith("/apis/image.openshift.io/v1/images/")
    assert path.count("/") == IMAGES.path().count("/") + 1
    assert unquote(path.rpartition("/")[2]) == name


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_the_path_of_an_object_is_never_that_of_another_one(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot be a segment"):
        IMAGES.object_path("", name)
    with pytest.raises(ClusterError, match="cannot be a segment"):
        IMAGE_STREAMS.object_path("shop", name)


def test_paths_of_lists_and_objects() -> None:
    assert IMAGE_STREAMS.path() == "/apis/image.openshift.io/v1/imagestreams"
    assert IMAGE_STREAMS.path("shop") == "/apis/image.openshift.io/v1/namespaces/shop/imagestreams"
    assert IMAGE_STREAMS.object_path("shop", "web", "status").endswith("/namespaces/shop/imagestreams/web/status")
