"""Pull specs mean what the corpus says: R6, R7, R9."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pruner.analysis.pullspec import (
    InvalidPullSpecError,
    PullSpec,
    _parse_name,
    _parse_tagged,
    can_name_image,
    is_digest,
    parse_pull_spec,
)
from tests.unit.pull_specs import HEX, INVALID, SHA256, VALID, Meaning


def test_the_corpus_is_large_enough() -> None:
    assert len(VALID) + len(set(INVALID)) >= 150


@pytest.mark.parametrize("text", VALID, ids=lambda text: text[:60])
def test_a_pull_spec_means_what_the_corpus_says_R6(text: str) -> None:
    spec = parse_pull_spec(text)
    assert Meaning(spec.host, spec.path, spec.tag, spec.digest, spec.stream) == VALID[text]


@pytest.mark.parametrize("text", INVALID, ids=lambda text: ascii(text)[:60])
def test_what_is_no_pull_spec_is_refused_R9(text: str) -> None:
    with pytest.raises(InvalidPullSpecError):
        parse_pull_spec(text)


@pytest.mark.parametrize("text", VALID, ids=lambda text: text[:60])
def test_only_a_name_without_host_and_namespace_is_bare_R10(text: str) -> None:
    meaning = VALID[text]
    assert parse_pull_spec(text).bare == (None if meaning.host or "/" in meaning.path else meaning.path)


def test_a_refused_text_is_refused_again_R9() -> None:
    for _ in range(2):
        with pytest.raises(InvalidPullSpecError, match="invalid reference format"):
            parse_pull_spec("host.io/shop/web:")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("host.io/shop/web@sha256:12", "'sha256:12' is not a digest"),
        ("host.io/shop/web@", "'' is not a digest"),
        ("host.io/shop/Web", "repository name must be lowercase"),
        ("", "repository name must have at least one component"),
        ("a" * 256, "repository name must not be more than 255 characters"),
        ("we b", "invalid reference format"),
        (f"host.io/{'a/' * 1000}", "repository name must not be more than 255 characters"),
        ("a" * 4097, "longer than 4096 characters"),
    ],
)
def test_what_is_wrong_is_said_R9(text: str, why: str) -> None:
    with pytest.raises(InvalidPullSpecError) as raised:
        parse_pull_spec(text)
    assert str(raised.value) == why


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SHA256, True),
        (f"sha384:{HEX}{HEX[:32]}", True),
        (f"sha512:{HEX}{HEX}", True),
        (f"blake3:{HEX}", True),
        ("sha1:0123", True),
        ("multihash+base58:QmRZxt2b1FVZPNqd8hsiyk", True),
        ("sha256+b64u:LCa0a2j_xo-5m0U8HTBBNBNCLXBkg7=", True),
        ("", False),
        ("sha256", False),
        ("sha256:", False),
        (":0123", False),
        (HEX, False),
        (f"{SHA256}\n", False),
        (f"{SHA256} ", False),
        (f"sha256:{HEX[1:]}", False),
        (f"sha256:{HEX}0", False),
        (f"sha256:{HEX.upper()}", False),
        (f"SHA256:{HEX}", False),
        ("a++b:0", False),
        ("a+:0", False),
        ("a:b:c", False),
    ],
)
def test_digests_are_told_by_their_form(text: str, expected: bool) -> None:
    assert is_digest(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "a" * 5000 + "!",
        "a-" * 3000 + "!",
        "a." * 3000 + "!",
        "a/" * 3000 + "!",
        "A" * 3000 + "!",
        "[" + ":" * 3000,
        "a:" * 3000,
    ],
    ids=lambda text: text[:3],
)
def test_long_nonsense_is_refused_at_once_R9(text: str) -> None:
    with pytest.raises(InvalidPullSpecError):
        parse_pull_spec(text)


def test_a_value_shows_its_parts() -> None:
    assert parse_pull_spec("host.io/shop/web:v1") == PullSpec("host.io", "shop/web", "v1", None)


def parsed(parse: Callable[[str], tuple[str, str, str | None]], text: str) -> tuple[str, str, str | None] | str:
    try:
        return parse(text)
    except InvalidPullSpecError as error:
        return str(error)


@given(
    st.lists(st.sampled_from(["a", "B", "0", ".", "-", "_", "__", "/", ":", ":5000", "localhost", "\u00e9", " ", "\n"]))
)
@example(["a"] * 256 + [":v1"])
@example(["a:", "b" * 129])
@example(["a:b", ":c"])
def test_a_name_parsed_apart_from_its_tag_is_what_the_library_makes_of_both_R6(parts: list[str]) -> None:
    text = "".join(parts)
    assert parsed(_parse_tagged, text) == parsed(_parse_name.__wrapped__, text)


@pytest.mark.parametrize("text", [SHA256, "a", "...", "a.b", "sha256:", "A b", "~"])
def test_any_segment_of_a_path_can_be_the_name_of_an_image_R19(text: str) -> None:
    assert can_name_image(text)


@pytest.mark.parametrize("text", ["", ".", "..", "/", "a/b", "%", "a%2Fb"])
def test_what_is_no_segment_of_a_path_can_name_no_image_R19(text: str) -> None:
    assert not can_name_image(text)
