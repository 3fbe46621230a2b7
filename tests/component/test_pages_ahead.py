"""Pages of a list that are asked for before the one that is read
has come: how many, how soon, and what if one is broken off.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.lists import decoder_of_pages
from pruner.cluster.resources import IMAGES
from pruner.errors import ExpiredError
from pruner.http.client import Timeouts
from pruner.settings import read
from tests.component.small_servers import handling

PAGES = 6
AHEAD = 3
LONG = random.Random(1).randbytes(300_000).hex()  # noqa: S311 - it is to be long and hard to compress
"""More than is shown of a body before it is whole, compressed too."""

_dicts = decoder_of_pages(dict)


def body_of(number: int, after: str) -> bytes:
    """A page with one item, and the token of the one after it."""
    head = {"kind": "ImageList", "apiVersion": "image.openshift.io/v1"}
    metadata = {"resourceVersion": "1", "continue": after}
    return json.dumps({**head, "metadata": metadata, "items": [{"number": number, "long": LONG}]}).encode()


def head_of(body: bytes, *more: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def token_in(path: str) -> str:
    return parse_qs(urlsplit(path).query).get("continue", [""])[0]


def api_at(url: str) -> Api:
    settings = read({"host": url, "api_key": "x"}, environ={})
    return Api(connect(settings), timeouts=Timeouts(connect=5, read=5))


async def numbers(api: Api) -> list[int]:
    async with aclosing(api.pages(IMAGES, _dicts, ahead=AHEAD)) as pages:
        return [item["number"] async for page in pages for item in page.items]


@pytest.mark.parametrize("compressed", [False, True])
def test_the_next_page_is_asked_for_while_one_is_on_its_way(compressed: bool) -> None:
    """The rest of a page is held back until the next one is asked for: whoever waits for it whole waits in vain."""
    asked = [asyncio.Event() for _ in range(PAGES)]

    async def handle(path: str, writer: asyncio.StreamWriter) -> None:
        number = int(token_in(path) or 0)
        asked[number].set()
        body = body_of(number, str(number + 1) if number + 1 < PAGES else "")
        sent = gzip.compress(body, mtime=0) if compressed else body
        writer.write(head_of(sent, *(["Content-Encoding: gzip"] if compressed else [])) + sent[:100_000])
        if number + 1 < PAGES:
            await asked[number + 1].wait()
        writer.write(sent[100_000:])

    async def run() -> None:
        async with handling(handle) as url, api_at(url) as api:
            assert await numbers(api) == list(range(PAGES))

    asyncio.run(run())


def test_no_more_pages_are_asked_for_than_are_allowed_ahead() -> None:
    asked: list[str] = []
    enough = asyncio.Event()

    async def handle(path: str, writer: asyncio.StreamWriter) -> None:
        number = int(token_in(path) or 0)
        asked.append(path)
        if len(asked) == 1 + AHEAD:
            enough.set()
        body = body_of(number, str(number + 1) if number + 1 < PAGES else "")
        writer.write(head_of(body) + body)

    async def run() -> None:
        async with (
            handling(handle) as url,
            api_at(url) as api,
            aclosing(api.pages(IMAGES, _dicts, ahead=AHEAD)) as pages,
        ):
            await anext(pages)
            await enough.wait()
            # By the time that another request has been answered, one that is too many would have come.
            await api.read_path("/version", dict[str, Any])
            assert len([path for path in asked if "limit=" in path]) == 1 + AHEAD

    asyncio.run(run())


@pytest.mark.parametrize("again", ["2", "1"])
def test_a_page_that_was_broken_off_and_is_another_one_then_begins_the_list_again_R1(again: str) -> None:
    """What follows the page that was broken off does not follow the one that is given in its place."""
    times = 0

    async def handle(path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal times
        token = token_in(path)
        times += not token
        body = body_of(len(token), (("1" if times == 1 else again) if not token else ""))
        writer.write(head_of(body) + (body[:200_000] if not token and times == 1 else body))

    async def run() -> None:
        async with handling(handle) as url, api_at(url) as api:
            if again == "1":
                assert await numbers(api) == [0, 1]
            else:
                with pytest.raises(ExpiredError, match="interrupted"):
                    await numbers(api)

    asyncio.run(run())
    assert times == 2
