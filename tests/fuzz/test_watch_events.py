"""Any line of a watch: an event of its kind with a name and a version, or an error of one line."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pruner.cluster.resources import WORKLOADS
from pruner.cluster.watches import WatchEvent, read_event
from pruner.errors import ClusterError
from tests.fuzz.outcomes import anything, fuzzed, outcome

POD: dict[str, Any] = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "7"}}


@st.composite
def any_value(draw: st.DrawFn) -> object:
    """Hypothesis objects to strategies that take long to print, as `anything` does."""
    return draw(anything.filter(lambda each: len(repr(each)) < 20_000))


values = any_value()
contents = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.just("Pod") | values,
        "apiVersion": st.just("v1") | values,
        "metadata": st.just(POD["metadata"])
        | st.fixed_dictionaries({}, optional={"name": st.just("a") | values, "resourceVersion": st.just("7") | values})
        | values,
        "code": st.just(410) | values,
        "message": values,
    },
)
events = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]) | values,
        "object": st.just(POD) | contents | values,
    },
)


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    """An event with some bytes replaced, cut out or doubled."""
    line = json.dumps({"type": "MODIFIED", "object": POD}).encode()
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(line))] * 2)))
    return line[:start] + draw(st.binary(max_size=8) | st.just(line[start:end] * 2)) + line[end:]


def as_line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@settings(max_examples=600)
@given(events.map(as_line) | edited() | st.binary(max_size=60))
def test_any_line_of_a_watch_is_an_event_or_an_error(line: bytes) -> None:
    fuzzed("watch events")
    found = outcome(lambda: read_event(line, "https://api", WORKLOADS[0], "Pod"))
    assert isinstance(found, WatchEvent | ClusterError)
    if isinstance(found, WatchEvent):
        content = json.loads(bytes(found.object))
        assert (content["kind"], content["apiVersion"]) == ("Pod", "v1")
        assert found.version == content["metadata"]["resourceVersion"] != ""
        assert found.type == "BOOKMARK" or content["metadata"]["name"]
