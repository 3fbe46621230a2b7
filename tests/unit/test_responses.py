"""What counts as an object, a deletion, an event and an access
review: the API server's word about what was asked for (R3).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from pruner.cluster.access_reviews import allowed_by
from pruner.cluster.resources import IMAGES, LEASES, WORKLOADS
from pruner.cluster.responses import check_deletion, check_object
from pruner.cluster.watches import WatchEvent, read_event
from pruner.errors import ClusterError, ExpiredError
from pruner.http.response import Response

SERVER = "https://api:6443"
PODS = WORKLOADS[0]
Json = dict[str, Any]


def answer(body: object, status: int = 200) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json"})), raw)


def image(**change: Any) -> Json:
    whole = {"kind": "Image", "apiVersion": "image.openshift.io/v1", "metadata": {"name": "sha256:1", "uid": "u"}}
    return {name: value for name, value in {**whole, **change}.items() if value is not ...}


def without(value: Json, *names: str) -> Json:
    return {name: part for name, part in value.items() if name not in names}


# --- objects ----------------------------------------------------------------------------------------------------------

NO_JSON: list[bytes] = [b"", b"<html>", b"{", b"\xff", b"[" * 100_000]
NO_OBJECTS: list[object] = [
    *NO_JSON,
    None,
    [],
    "Image",
    5,
    {},
    {"metadata": {}},
    {"metadata": None},
    {"metadata": []},
    {"error": "unauthorized"},
    {"kind": "Status", "apiVersion": "v1", "status": "Failure"},
    image(kind="ImageStream"),
    image(kind=5),
    image(apiVersion="image.openshift.io/v2"),
    image(apiVersion="v1"),
    image(metadata={"name": "sha256:2", "uid": "u"}),
    image(metadata={"name": "sha256:1", "uid": "v"}),
    image(metadata={"name": "sha256:1"}),
    image(metadata={"name": ["sha256:1"], "uid": "u"}),
]


def checked(body: object) -> None:
    check_object(SERVER, answer(body), IMAGES, "/images/x", name="sha256:1", uid="u")


@pytest.mark.parametrize("body", NO_OBJECTS, ids=lambda body: repr(body)[:40])
def test_what_is_not_the_object_that_was_asked_for_is_an_error(body: object) -> None:
    with pytest.raises(
        ClusterError, match=r"^https://api:6443: the answer to /images/x is not what an API server gives"
    ):
        checked(body)


@pytest.mark.parametrize("left_out", [(), ("kind",), ("apiVersion",), ("kind", "apiVersion")])
def test_the_object_that_was_asked_for_may_leave_out_its_kind(left_out: tuple[str, ...]) -> None:
    checked(without(image(), *left_out))


def test_an_object_of_another_namespace_is_an_error() -> None:
    lease = {"metadata": {"name": "pruner", "namespace": "default"}}
    check_object(SERVER, answer(lease), LEASES, "/leases/pruner", name="pruner", namespace="default")
    with pytest.raises(ClusterError, match="its namespace is 'default', and not 'openshift-image-registry'"):
        check_object(
            SERVER, answer(lease), LEASES, "/leases/pruner", name="pruner", namespace="openshift-image-registry"
        )


# --- deletions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Status", "status": "Success"},
        {"kind": "Status", "status": "Success", "details": {"name": "x"}},
        image(),
    ],
)
def test_a_status_of_success_or_the_object_confirms_a_deletion(body: Json) -> None:
    check_deletion(SERVER, answer(body), IMAGES, "/images/x", "sha256:1")


@pytest.mark.parametrize(
    "body",
    [
        *NO_JSON,
        {},
        {"status": "Success"},
        {"kind": "Status"},
        {"kind": "Status", "status": "Failure", "message": "no"},
        {"kind": "Status", "status": ["Success"]},
        image(metadata={"name": "sha256:2"}),
        image(kind="ImageList"),
    ],
    ids=lambda body: repr(body)[:40],
)
def test_anything_else_confirms_no_deletion(body: object) -> None:
    with pytest.raises(ClusterError):
        check_deletion(SERVER, answer(body), IMAGES, "/images/x", "sha256:1")


# --- events -----------------------------------------------------------------------------------------------------------

POD: Json = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "7"}}


def event(kind: str, content: object) -> WatchEvent:
    return read_event(json.dumps({"type": kind, "object": content}).encode(), SERVER, PODS, "Pod")


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"])
def test_an_event_has_its_object_and_its_version(kind: str) -> None:
    found = event(kind, POD)
    assert (found.type, found.version, json.loads(bytes(found.object))) == (kind, "7", POD)


def test_a_bookmark_needs_no_name() -> None:
    assert event("BOOKMARK", {**POD, "metadata": {"resourceVersion": "9"}}).version == "9"


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
@pytest.mark.parametrize(
    "content",
    [
        {},
        None,
        [],
        "Pod",
        {**POD, "kind": "Secret"},
        {**POD, "apiVersion": "v2"},
        without(POD, "kind"),
        without(POD, "apiVersion"),
        without(POD, "metadata"),
        {**POD, "metadata": {"name": "a"}},
        {**POD, "metadata": {"name": "a", "resourceVersion": ""}},
        {**POD, "metadata": {"name": "a", "resourceVersion": 7}},
        {**POD, "metadata": {"name": "", "resourceVersion": "7"}},
        {**POD, "metadata": {"resourceVersion": "7"}},
        {"kind": "Status", "apiVersion": "v1", "code": 410},
    ],
    ids=lambda content: repr(content)[:50],
)
def test_an_event_without_the_object_of_its_kind_is_an_error(kind: str, content: object) -> None:
    with pytest.raises(ClusterError, match=r"^https://api:6443: watch pods: "):
        event(kind, content)


@pytest.mark.parametrize("line", [*NO_JSON, b"null", b"[]", b"{}", b'{"type":"ADDED"}', b'{"type":"SYNC","object":{}}'])
def test_a_line_that_is_no_event_is_an_error(line: bytes) -> None:
    with pytest.raises(ClusterError, match=r"^https://api:6443: watch pods: "):
        read_event(line, SERVER, PODS, "Pod")


@pytest.mark.parametrize(
    ("status", "expired"),
    [
        ({"code": 410, "message": "too old"}, True),
        ({"code": 500, "message": "etcd is away"}, False),
        ({"code": "410"}, False),
        ({}, False),
        ([], False),
    ],
)
def test_an_event_of_an_error_says_whether_the_version_is_too_old(status: object, expired: bool) -> None:
    with pytest.raises(ClusterError) as raised:
        event("ERROR", status)
    assert isinstance(raised.value, ExpiredError) is expired


# --- access reviews ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [True, False])
def test_an_access_review_says_yes_or_no(allowed: bool) -> None:
    assert allowed_by({"status": {"allowed": allowed, "reason": "RBAC"}}, SERVER) is allowed


@pytest.mark.parametrize(
    "review",
    [
        {},
        {"status": None},
        {"status": {}},
        {"status": []},
        {"status": {"allowed": None}},
        {"status": {"allowed": "true"}},
        {"status": {"allowed": "yes"}},
        {"status": {"allowed": 1}},
        {"status": {"allowed": 0}},
        {"status": {"allowed": []}},
        {"allowed": True},
        {"spec": {"allowed": True}},
    ],
    ids=repr,
)
def test_a_review_that_says_neither_is_an_error_and_no_permission(review: Json) -> None:
    with pytest.raises(ClusterError, match="says neither yes nor no"):
        allowed_by(review, SERVER)
