"""What a proxy is told: each of `proxy_headers` under its own
name, in a tunnel's request and in one that the proxy reads itself.
"""

import base64
from typing import Any

import pytest

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.identity import whoami
from pruner.errors import ClusterError
from pruner.settings import read
from tests.component.small_servers import hearing, page

NAMES = ("authorization", "proxy-authorization", "user-agent")


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


async def told(host: str, **given: Any) -> dict[str, str]:
    """What the proxy hears of these headers, on the way to this host."""
    heard: list[bytes] = []
    refused = pytest.raises(ClusterError, match="the proxy refuses: 407")
    async with hearing(page("", status="407 Proxy Authentication Required"), heard) as proxy:
        settings = read({"host": host, "api_key": "token", "proxy": proxy, **given})
        async with Api(connect(settings)) as api:
            with refused:
                await whoami(api)
    lines = (line.decode().partition(": ") for line in heard[0].split(b"\r\n"))
    return {name.lower(): value for name, _, value in lines if name.lower() in NAMES}


HEADERS = {"basic_auth": "eve:one", "proxy_basic_auth": "bob:two", "user_agent": "foo/1.0"}


async def test_tunnel_is_asked_for_with_all_three_and_without_the_token() -> None:
    assert await told("https://127.0.0.1:9", proxy_headers=HEADERS) == {
        "authorization": basic("eve:one"),
        "proxy-authorization": basic("bob:two"),
        "user-agent": "foo/1.0",
    }


async def test_token_is_the_authorization_of_a_request_that_the_proxy_reads_itself() -> None:
    assert await told("http://127.0.0.1:9", proxy_headers=HEADERS) == {
        "authorization": "Bearer token",
        "proxy-authorization": basic("bob:two"),
        "user-agent": "foo/1.0",
    }


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("basic_auth", "authorization", basic("eve:one")),
        ("proxy_basic_auth", "proxy-authorization", basic("bob:two")),
        ("user_agent", "user-agent", "foo/1.0"),
    ],
)
async def test_each_header_by_itself(name: str, header: str, value: str) -> None:
    heard = await told("https://127.0.0.1:9", proxy_headers={name: HEADERS[name]})

    assert heard[header] == value
    assert heard.keys() <= {header, "user-agent"}
