"""JSON that is nested without end is no answer, whatever asks for it: one error, and no RecursionError."""

from __future__ import annotations

import asyncio

import pytest

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.resources import IMAGES, WORKLOADS
from pruner.cluster.snapshot import take_snapshot
from pruner.cluster.watches import read_event
from pruner.errors import ClusterError
from pruner.settings import read
from tests.component.small_servers import handling

DEPTH = 100_000
LIST = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[%s]}'
OBJECTS = b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
ARRAYS = b"[" * DEPTH + b"]" * DEPTH
ANSWERS = {
    "objects": OBJECTS,
    "arrays": ARRAYS,
    "in an item": LIST % (b'{"metadata":{"name":"a"},"spec":' + OBJECTS + b"}"),
    "in a field that nobody reads": LIST % (b'{"metadata":{"name":"a"},"x":' + ARRAYS + b"}"),
}


@pytest.mark.parametrize("status", [200, 403, 404, 422])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_deep_answer_is_a_ClusterError(answer: str, status: int) -> None:
    body = ANSWERS[answer]

    async def handle(_path: str, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    async with handling(handle) as url, Api(connect(read({"host": url, "api_key": "t"}))) as api:
        with pytest.raises(ClusterError):
            await api.get(IMAGES, dict, name="a")
        with pytest.raises(ClusterError):
            await take_snapshot(api)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_deep_event_is_a_ClusterError(answer: str) -> None:
    line = b'{"type":"ADDED","object":' + ANSWERS[answer] + b"}"
    with pytest.raises(ClusterError):
        read_event(line, "https://api:6443", WORKLOADS[0], "Pod")
