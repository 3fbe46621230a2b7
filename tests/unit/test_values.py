"""Content of a cluster as values of Pulumi: the engine finds nothing of its own in it, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pulumi.runtime import rpc

from pruner.apply import Result
from pruner.apply.result import Failure, Skipped
from pruner.provider.lifecycle import LARGEST, _outputs
from pruner.provider.provider import OUTPUTS, PrunedImagesProvider
from pruner.provider.rendering import ROWS, backlog, rendered, table
from pruner.provider.values import value_of
from tests.hostile import assert_inert, hostile_texts
from tests.unit.test_printable import original
from tests.unit.test_report_formats import hostile, many

SIGNATURE = rpc._special_sig_key
RESERVED = (SIGNATURE, rpc.UNKNOWN, "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2")

_texts = hostile_texts() | st.sampled_from([*RESERVED, f"a{SIGNATURE}", "__provider", "__"])
_contents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | _texts,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(_texts, parts, max_size=3),
    max_leaves=12,
)


def texts_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, part in value.items():
                yield key
                yield from texts_in(part)
        case list():
            for part in value:
                yield from texts_in(part)


def original_of(value: Any) -> Any:
    """What `value_of` was given, as long as it was not deep, and had no large numbers."""
    match value:
        case str():
            return original(value)
        case dict():
            return {original(key): original_of(part) for key, part in value.items()}
        case list():
            return [original_of(part) for part in value]
    return value


def small_numbers(content: Any) -> Any:
    match content:
        case dict():
            return {key: small_numbers(part) for key, part in content.items()}
        case list():
            return [small_numbers(part) for part in content]
        case bool():
            return content
        case int():
            return content if abs(content) <= 2**53 else str(content)
    return content


@given(_contents)
@example({SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "path": "/etc/passwd"})
@example({"metadata": {"annotations": {"note": rpc.UNKNOWN}}})
def test_the_engine_finds_nothing_of_its_own_and_nothing_is_lost(content: Any) -> None:
    value = value_of(content)
    for text in texts_in(value):
        assert text not in RESERVED
        assert_inert(text)
        text.encode()
    assert original_of(value) == small_numbers(content)
    assert value_of(value, again=True) == value


@given(_contents)
def test_the_sdk_gives_the_engine_the_same_maps(content: Any) -> None:
    value = value_of({"content": content})
    struct = asyncio.run(rpc.serialize_properties(value, {}))
    there_and_back = rpc.deserialize_properties(struct, keep_unknowns=True)
    assert json.dumps(without_nulls(there_and_back), sort_keys=True) == json.dumps(without_nulls(value), sort_keys=True)


def without_nulls(value: Any) -> Any:
    """The SDK leaves out what is null in maps; numbers are floats."""
    match value:
        case dict():
            return {key: without_nulls(part) for key, part in value.items() if part is not None}
        case list():
            return [without_nulls(part) for part in value]
        case bool():
            return value
        case int() | float():
            return int(value) if float(value).is_integer() else value
    return value


@pytest.mark.parametrize("levels", [19, 20, 21, 200, 5000])
def test_what_is_too_deep_for_the_engine_stands_as_text(levels: int) -> None:
    content: Any = "leaf"
    for _ in range(levels):
        content = {"a": content}
    value = value_of(content)
    depth = 0
    while isinstance(value, dict):
        (value,) = value.values()
        depth += 1
    assert depth == min(levels, 20)
    assert isinstance(value, str)


def test_keys_of_the_engine_keep_their_text() -> None:
    assert value_of({SIGNATURE: "x", "__defaults": []}) == {
        f"\\u{{34}}{SIGNATURE[1:]}": "x",
        "\\u{5f}_defaults": [],
    }


# --- inputs and outputs of the resource -------------------------------------------------------------------------------


# Lone surrogates are not valid JSON for msgspec, so that no plan has one.
@given(_texts.filter(lambda text: text == text.encode(errors="ignore").decode()))
def test_inputs_hold_no_line_or_value_that_the_engine_would_obey(text: str) -> None:
    plan = hostile(text).plan
    for found in (*texts_in(rendered(plan)), *texts_in(backlog(plan))):
        assert found not in RESERVED
        assert_inert(found)
    lines = list(table(plan))
    assert lines
    for line in lines:
        assert_inert(f"| {line}")


def test_a_preview_lists_so_many_image_streams_and_sums_up_the_rest() -> None:
    head, *rows, rest = table(many(ROWS + 5).plan)
    assert head.split() == ["image", "stream", "revisions", "images", "frees"]
    assert len(rows) == ROWS
    assert rest.split()[:8] == ["and", "5", "more", "image", "streams", "5", "5", "0"]


def test_a_refresh_shows_so_many_image_streams_and_sums_up_the_rest() -> None:
    shown = backlog(many(ROWS + 5).plan)
    assert shown["summary"] == rendered(many(ROWS + 5).plan)["summary"]
    assert len(shown["image_streams"]) == ROWS + 1
    assert shown["image_streams"]["(others)"].startswith("5 image streams, 5 revisions, 5 images")
    assert sorted(shown) == ["image_streams", "summary"]


@given(_texts)
def test_outputs_hold_whole_objects_and_no_value_that_the_engine_would_obey(text: str) -> None:
    image = {
        "metadata": {"name": text, "annotations": {text: text}},
        "dockerImageMetadata": {"Config": {"Labels": {text: text}}},
    }
    outputs = _outputs(Result(deleted_images=[image], skipped=[Skipped(text, text)], failures=[Failure(text, text)]))
    assert original_of(outputs["deleted_images"]) == [image]
    assert original_of(outputs["skipped"]) == [{"what": text, "why": text}]
    for found in texts_in(outputs):
        assert found not in RESERVED
        assert_inert(found)


def test_objects_that_are_large_together_stand_by_name() -> None:
    images = [{"metadata": {"name": f"sha256:{at}", "labels": {"a": "x" * (LARGEST // 4)}}} for at in range(5)]
    assert _outputs(Result(deleted_images=images))["deleted_images"] == [f"sha256:{at}" for at in range(5)]


class Asset:
    """What the SDK makes of an asset in the state."""


def test_state_of_an_earlier_version_is_read_as_of_this_one() -> None:
    old = [
        {"metadata": {"name": "a\x1b[31m", "annotations": {"__x": "\u202e", "note": rpc.UNKNOWN}}, "labels": Asset()}
    ]
    properties: dict[str, Any] = {
        "host": "http://127.0.0.1:9",
        "plan": {},
        "__provider": "p",
        **dict.fromkeys(OUTPUTS),
        "deleted_images": old,
    }
    result = PrunedImagesProvider().read("id", properties)
    safe = [
        {
            "metadata": {
                "name": "a\\u{1b}[31m",
                "annotations": {"\\u{5f}_x": "\\u{202e}", "note": "\\u{30}" + rpc.UNKNOWN[1:]},
            },
            "labels": "Asset",
        }
    ]
    assert result.outs is not None
    assert result.outs["deleted_images"] == safe
    assert "__provider" not in result.outs
    # Reading again, and whether there is something to do, don't change with it.
    again = PrunedImagesProvider().read("id", {**result.outs, "__provider": "p"})
    assert again.outs == result.outs
    assert not PrunedImagesProvider().diff("id", properties, {"host": "http://127.0.0.1:9", "plan": {}}).changes
