"""Any answer to discovery, in its new and its old form, and to access reviews: all kinds are read, or the run ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruner.analysis import Analysis
from pruner.cluster import discovery
from pruner.errors import PrunerError
from tests.component.small_servers import served
from tests.fuzz.outcomes import anything, fuzzed
from tests.fuzz.test_objects import GROUPS, REVIEWS, Cluster, changed, places, planned, usual

pytestmark = pytest.mark.timeout(900)
"""Requests that fail for a moment are sent again after the pauses of a real run."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    with served(found) as url, pytest.MonkeyPatch.context() as patched:
        patched.setattr(discovery, "PAUSES", (0.0,))
        found.url = url
        yield found


def aggregated(*roots: str) -> dict[str, Any]:
    """All that these groups have in one document, as newer API servers answer."""
    items = []
    for root in roots:
        group, _, version = root.partition("/")[2].rpartition("/")
        resources = [{"resource": name, "responseKind": {"kind": kind}} for name, (kind, _) in GROUPS[root].items()]
        versions = [{"version": version, "resources": resources, "freshness": "Current"}]
        items.append({"metadata": {"name": group}, "versions": versions})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def with_aggregation() -> dict[str, Any]:
    core = [root for root in GROUPS if not root.startswith("apis/")]
    others = [root for root in GROUPS if root.startswith("apis/")]
    return {**usual(), "/api": aggregated(*core), "/apis": aggregated(*others)}


@st.composite
def changed_aggregation(draw: st.DrawFn) -> dict[str, Any]:
    """The documents with any JSON in one place, or with a part missing."""
    answers = with_aggregation()
    path = draw(st.sampled_from(["/api", "/apis"]))
    *before, last = draw(st.sampled_from([way for way in places(answers[path]) if way]))
    place: Any = answers[path]
    for key in before:
        place = place[key]
    if draw(st.booleans()):
        place[last] = draw(anything.filter(lambda each: len(repr(each)) < 20_000))
    else:
        del place[last]
    return answers


def check(cluster: Cluster, answers: dict[str, Any]) -> None:
    """Where there is a plan, everything that protects was read: the Pod that uses `latest` is in it."""
    cluster.answers, cluster.written = answers, []
    found = planned(cluster)
    assert isinstance(found, Analysis | PrunerError)
    assert cluster.written == []
    if isinstance(found, Analysis):
        (history,) = found.histories
        assert history.stream.name == "shop/web"
        assert [reason.kept for tag in history.tags for reason in tag.reasons][:1] == [True]


def test_both_forms_of_discovery_make_a_plan(cluster: Cluster) -> None:
    fuzzed("discovery")
    for answers in (usual(), with_aggregation()):
        cluster.answers = answers
        found = planned(cluster)
        assert isinstance(found, Analysis), found
        check(cluster, answers)


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(answers=changed_aggregation())
def test_any_aggregated_discovery_is_a_plan_or_an_error(cluster: Cluster, answers: dict[str, Any]) -> None:
    fuzzed("discovery")
    check(cluster, answers)


DOCUMENTS = ["/api", "/apis", *(f"/{root}" for root in GROUPS)]


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(answers=changed(DOCUMENTS, ()))
def test_any_discovery_in_parts_is_a_plan_or_an_error(cluster: Cluster, answers: dict[str, Any]) -> None:
    fuzzed("discovery")
    check(cluster, answers)


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(answers=changed([REVIEWS], ()))
def test_any_access_review_is_a_plan_or_an_error(cluster: Cluster, answers: dict[str, Any]) -> None:
    fuzzed("access reviews")
    check(cluster, answers)
