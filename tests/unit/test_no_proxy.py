"""What `no_proxy` names: hosts, domains, addresses and CIDRs,
with a port or without, whichever way they are written.
"""

import pytest

from pruner.http.proxy import Proxy


def direct(no_proxy: str, url: str) -> bool:
    return not Proxy("http://proxy:3128", {}, no_proxy).applies_to(url)


API, API_443, BELOW = "https://api.example.org:6443", "https://api.example.org", "https://a.api.example.org"
V4, V6 = "https://10.1.2.3:6443", "https://[fd00::1]:6443"


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("api.example.org", API),
        ("API.Example.Org", "https://API.example.org:6443"),
        ("api.example.org", "https://api.example.org.:6443"),
        ("api.example.org.", API),
        ("api.example.org", BELOW),
        ("example.org", API),
        (".example.org", API),
        ("*.example.org", API),
        ("api.example.org:6443", API),
        (".example.org:6443", API),
        ("api.example.org:443", API_443),
        ("api.example.org:80", "http://api.example.org"),
        ("10.1.2.3", V4),
        ("10.1.2.3:6443", V4),
        ("10.0.0.0/8", V4),
        ("10.1.2.3/8", V4),
        ("fd00::1", V6),
        ("fd00:0:0::1", V6),
        ("[fd00::1]", V6),
        ("[fd00::1]:6443", V6),
        ("fd00::/8", V6),
        ("[fd00::]/8", V6),
        (" localhost , .example.org ", API),
        ("*", API),
        ("localhost,.local,.example.com,127.0.0.1,127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16", V4),
    ],
)
def test_what_is_named_is_reached_directly(no_proxy: str, url: str) -> None:
    assert direct(no_proxy, url)


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("ample.org", "https://example.org"),
        (".example.org", "https://example.org"),
        ("*.example.org", "https://example.org"),
        ("a.api.example.org", API),
        ("api.example.org:443", API),
        (".example.org:443", API),
        ("10.1.2.3:443", V4),
        ("10.1.2.0/30", "https://10.1.2.4"),
        ("2.3", V4),
        ("10.0.0.0/8", API),
        ("fe80::/10", V6),
        ("[fd00::1]:443", V6),
        ("[fd00::1", V4),
        ("10.0.0.0/99", V4),
        ("", API),
        (",", API),
        (".", API),
    ],
)
def test_what_is_not_named_is_reached_through_the_proxy(no_proxy: str, url: str) -> None:
    assert not direct(no_proxy, url)
