"""The plan as a value and as a file: fingerprint, summary, round trip, and what a reader refuses."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.cluster.objects import Registry
from pruner.errors import UnsafePlanError
from pruner.files import lines_of
from pruner.plan import (
    VERSION,
    Approval,
    DeletedStream,
    PrunedImage,
    PrunedRevision,
    PrunePlan,
    StreamChange,
    decode,
    decode_beginning,
    encode,
)
from pruner.reasons import BeyondNewest, EmptyStream, Expired, ImageAbsent, Unreferenced
from tests.builders.objects import (
    L1,
    L2,
    NOW,
    A,
    B,
    C,
    analysed,
    at,
    image,
    image_stream,
    index,
    item,
)

OBJECTS = [
    image(A, layers=[L1, L2], repository="shop/web"),
    index(B, [A]),
    image(C, age=5),
    image_stream("shop/web", latest=[item(C, 5), B], v1=[item(A, None)]),
]
REGISTRY = Registry("https://registry.example.com", found="setting")


def plan(**other: Any) -> PrunePlan:
    found = analysed(*OBJECTS, registry=REGISTRY, blob_sizes={L1: 10}, protect=("no/thing",)).plan
    return msgspec.structs.replace(found, **{"notes": ("a note",), **other})


def lines(of: PrunePlan | None = None) -> list[bytes]:
    return lines_of(b"".join(encode(of or plan())))


def refused(given: list[bytes]) -> str:
    with pytest.raises(UnsafePlanError) as raised:
        decode(given, "the.plan")
    assert str(raised.value).startswith("the.plan")
    return str(raised.value)


# --- the value -------------------------------------------------------------------------------------------------------


def test_summary_counts_all_that_goes() -> None:
    found = plan().summary
    assert msgspec.to_builtins(found) == {
        "image_streams": 1,
        "revisions": 2,
        "images": 2,
        "blobs": 4,
        "layer_links": 2,
        "manifest_links": 2,
        "bytes": 10,
        "unmeasured": 3,
        "expired_tags": 0,
        "empty_streams": 0,
        "retired_images": 0,
        "retired_bytes": 0,
        "needed_again": 0,
    }
    assert plan().deletions == 4


def test_a_plan_with_anything_in_it_is_not_empty() -> None:
    whole, nothing = plan(), analysed().plan
    assert nothing.empty
    assert not whole.empty
    for part in ("streams", "images", "blobs"):
        assert not msgspec.structs.replace(nothing, **{part: getattr(whole, part)}).empty
    assert msgspec.structs.replace(nothing, notes=("a note",)).empty


@pytest.mark.parametrize(
    "change",
    [
        {"as_of": NOW + timedelta(hours=1)},
        {"notes": ()},
        {"rules": {}},
        {"registry": Registry("https://registry.example.com", found="cluster")},
    ],
)
def test_the_fingerprint_leaves_out_what_deletes_nothing_else(change: dict[str, object]) -> None:
    assert plan(**change).fingerprint == plan().fingerprint


def test_the_fingerprint_leaves_out_reasons_and_resource_versions() -> None:
    whole = plan()
    streams = tuple(
        msgspec.structs.replace(
            stream,
            resource_version="9",
            revisions=tuple(msgspec.structs.replace(each, reason=ImageAbsent()) for each in stream.revisions),
        )
        for stream in whole.streams
    )
    images = tuple(msgspec.structs.replace(each, resource_version="9") for each in whole.images)
    assert plan(streams=streams, images=images).fingerprint == whole.fingerprint


def test_the_fingerprint_covers_all_that_would_be_deleted() -> None:
    whole = plan()
    (stream,) = whole.streams
    first, second = stream.revisions
    changes: list[dict[str, Any]] = [
        {"cluster": "other"},
        {"registry": None},
        {"registry": Registry("https://other")},
        {"images": whole.images[1:]},
        {"images": (msgspec.structs.replace(whole.images[0], uid="other"), whole.images[1])},
        {"blobs": whole.blobs[1:]},
        {"streams": ()},
        {"streams": (msgspec.structs.replace(stream, name="other"),)},
        {"streams": (msgspec.structs.replace(stream, revisions=(first,)),)},
        {
            "streams": (
                msgspec.structs.replace(stream, revisions=(first, msgspec.structs.replace(second, created=NOW))),
            )
        },
        {"streams": (msgspec.structs.replace(stream, layer_links=stream.layer_links[1:]),)},
        {"streams": (msgspec.structs.replace(stream, manifest_links=stream.manifest_links[1:]),)},
        {
            "streams": (
                msgspec.structs.replace(stream, layer_links=stream.manifest_links, manifest_links=stream.layer_links),
            )
        },
    ]
    prints = {plan(**change).fingerprint for change in changes} | {whole.fingerprint}
    assert len(prints) == len(changes) + 1
    assert {(each.partition(":")[0], len(each)) for each in prints} == {("sha256", 71)}


def test_an_approval_holds_all_that_a_plan_names() -> None:
    approval = Approval.of(plan())
    assert approval.revisions == {
        ("shop/web", "latest", B, at(43200)),
        ("shop/web", "v1", A, plan().streams[0].revisions[1].created),
    }
    assert {name for name, _ in approval.images} == {A, B}
    assert approval.blobs == {A, B, L1, L2}
    assert approval.links == {
        ("shop/web", "layer", L1),
        ("shop/web", "layer", L2),
        ("shop/web", "manifest", A),
        ("shop/web", "manifest", B),
    }
    assert approval.dropped == frozenset()


# --- tags and image streams that are removed as a whole ---------------------------------------------------------------

EMPTY = DeletedStream("shop", "old", "uid of shop/old", "7", at(43200), EmptyStream(1440))


def plan_that_removes_tags() -> PrunePlan:
    """A plan in which a retention rule removes one of two tags
    that are removed, with its spec entry, and a stream is deleted.
    """
    (stream,) = plan().streams
    first, second = stream.revisions
    change = msgspec.structs.replace(
        stream,
        revisions=(first, msgspec.structs.replace(second, reason=Expired("previews"))),
        removed_tags=("latest", "v1"),
        removed_spec_tags=("v1",),
    )
    return plan(streams=(change,), empty_streams=(EMPTY,))


def test_expired_tags_and_deleted_streams_are_counted_R32_R34() -> None:
    found = plan_that_removes_tags()
    assert found.expired_tags == (("shop/web", "v1"),)
    assert (found.summary.expired_tags, found.summary.empty_streams) == (1, 1)
    # A tag counts with its revisions, an image stream by itself.
    assert found.deletions == plan().deletions + 1
    assert not msgspec.structs.replace(analysed().plan, empty_streams=(EMPTY,)).empty


def test_the_fingerprint_and_the_approval_cover_spec_tags_and_deleted_streams_R32_R34() -> None:
    whole = plan_that_removes_tags()
    (stream,) = whole.streams
    others = [
        msgspec.structs.replace(whole, empty_streams=()),
        msgspec.structs.replace(whole, empty_streams=(msgspec.structs.replace(EMPTY, uid="other"),)),
        msgspec.structs.replace(whole, empty_streams=(msgspec.structs.replace(EMPTY, name="other"),)),
        msgspec.structs.replace(whole, streams=(msgspec.structs.replace(stream, removed_spec_tags=()),)),
        msgspec.structs.replace(whole, streams=(msgspec.structs.replace(stream, removed_spec_tags=("latest",)),)),
    ]
    assert len({each.fingerprint for each in (whole, *others)}) == len(others) + 1
    approval = Approval.of(whole)
    assert approval.spec_tags == {("shop/web", "v1")}
    assert approval.streams == {("shop/old", "uid of shop/old")}


def test_a_plan_with_spec_tags_and_deleted_streams_comes_back_from_its_file_R32_R34() -> None:
    whole = plan_that_removes_tags()
    assert decode(lines(whole), "the.plan") == whole
    assert json.loads(lines(whole)[-2])["line"] == "empty image stream"
    twice = msgspec.structs.replace(whole, empty_streams=(EMPTY, EMPTY))
    assert "names an empty image stream twice" in refused(lines(twice))


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_plan_comes_back_from_its_file() -> None:
    assert decode(lines(), "the.plan") == plan()
    assert decode(lines(analysed().plan), "the.plan") == analysed().plan


def test_each_line_of_the_file_is_json_and_says_what_it_is() -> None:
    decoded = [json.loads(line) for line in lines()]
    assert [line["line"] for line in decoded] == ["plan", "image stream", "image", "image", *["blob"] * 4, "end"]
    assert decoded[0]["format"] == "pruner plan"
    assert decoded[0]["version"] == VERSION
    assert decoded[0]["summary"]["images"] == 2
    assert decoded[0]["fingerprint"] == plan().fingerprint
    assert decoded[-1]["lines"] == 8
    assert {(line[-1:], line.count(b"\n")) for line in lines()} == {(b"\n", 1)}


def test_equal_plans_are_equal_bytes_P8() -> None:
    assert lines() == lines(plan())


def test_what_follows_the_end_is_not_read() -> None:
    assert decode([*lines(), b'{"line":"result"}\n', b"anything"], "the.plan") == plan()


def test_an_empty_file_is_refused() -> None:
    assert "is empty" in refused([])


@pytest.mark.parametrize("length", range(1, 8))
def test_a_truncated_file_is_refused(length: int) -> None:
    assert "is truncated" in refused(lines()[:length])


def test_a_file_cut_in_a_line_is_refused() -> None:
    whole = lines()
    assert "line 3: is not a line of a plan" in refused([*whole[:2], whole[2][:20]])


@pytest.mark.parametrize(
    "other", [b"\n", b"{}\n", b"apiVersion: v1\n", b'{"format": "other", "version": 1}\n', b"[]\n", b"\xff\n"]
)
def test_another_file_is_refused(other: bytes) -> None:
    assert refused([other]) == "the.plan: is not a plan of pruner"


@pytest.mark.parametrize("version", [0, 1, 2, 3, 99])
def test_a_plan_of_another_version_is_refused(version: int) -> None:
    first, *rest = lines()
    changed = json.dumps({**json.loads(first), "version": version, "new field": 1}).encode() + b"\n"
    assert f"version {version}, this pruner reads version {VERSION}" in refused([changed, *rest])


def _dropped(given: list[bytes]) -> list[bytes]:
    return given[:2] + given[3:]


def _doubled(given: list[bytes]) -> list[bytes]:
    return [*given[:3], given[2], *given[3:]]


def _swapped(given: list[bytes]) -> list[bytes]:
    return [given[0], given[2], given[1], *given[3:]]


def _replaced(given: list[bytes]) -> list[bytes]:
    return [line.replace(L1.encode(), C.encode()) for line in given]


def _spaced(given: list[bytes]) -> list[bytes]:
    return [given[0], given[1].replace(b",", b", ", 1), *given[2:]]


@pytest.mark.parametrize("edit", [_dropped, _doubled, _swapped, _replaced, _spaced])
def test_an_edited_file_is_refused(edit: Callable[[list[bytes]], list[bytes]]) -> None:
    assert "was edited" in refused(edit(lines()))


def test_an_edited_file_with_a_new_checksum_is_refused_by_its_fingerprint() -> None:
    kept = [line for line in lines()[:-1] if b'"line":"blob"' not in line]
    checksum = hashlib.sha256(b"".join(kept)).hexdigest()
    end = json.dumps({"line": "end", "lines": len(kept), "checksum": checksum}).encode() + b"\n"
    assert "its fingerprint is not that of its content" in refused([*kept, end])


def sealed(given: list[bytes]) -> list[bytes]:
    """The lines with an end that fits them."""
    checksum = hashlib.sha256(b"".join(given)).hexdigest()
    return [*given, msgspec.json.encode({"line": "end", "lines": len(given), "checksum": checksum}) + b"\n"]


def _two_keys(line: bytes) -> bytes:
    return line.replace(b'"name":', b'"name":"other","name":')


def _unknown_key(line: bytes) -> bytes:
    return line.replace(b'"line":', b'"unknown":1,"line":')


def _other_zone(line: bytes) -> bytes:
    return re.sub(rb'("created":"[^"]*)Z"', rb'\1+00:00"', line)


def _blanks(line: bytes) -> bytes:
    return line.replace(b",", b", ")


@pytest.mark.parametrize("edit", [_two_keys, _unknown_key, _other_zone, _blanks])
def test_a_file_that_is_not_written_as_preview_writes_it_is_refused_whatever_its_checksum(
    edit: Callable[[bytes], bytes],
) -> None:
    before = lines()[:-1]
    after = [before[0], *map(edit, before[1:])]
    assert after != before
    assert "is not written as preview writes it" in refused(sealed(after))


def _other_order(given: list[bytes]) -> list[bytes]:
    return [given[0], given[2], given[1], *given[3:]]


def _header_again(given: list[bytes]) -> list[bytes]:
    return [*given, given[0]]


def _escaped_end(given: list[bytes]) -> list[bytes]:
    end = lines()[-1].replace(b'"end"', b'"\\u0065nd"')
    return [*given[:3], end, *given[3:]]


@pytest.mark.parametrize("edit", [_other_order, _header_again, _escaped_end])
def test_lines_that_preview_would_not_write_there_are_refused_whatever_their_checksum(
    edit: Callable[[list[bytes]], list[bytes]],
) -> None:
    assert "is not written as preview writes it" in refused(sealed(edit(lines()[:-1])))


def test_two_values_in_a_line_are_refused_also_where_another_line_is_empty() -> None:
    """Each of them is a value of its own to whoever reads the file as a stream of JSON."""
    first, second, third, *rest = lines()[:-1]
    together = [first, second.rstrip(b"\n") + third, b"\n", *rest]
    assert b"".join(together).replace(b"\n", b"") == b"".join(lines()[:-1]).replace(b"\n", b"")
    assert "line 2: is not a line of a plan" in refused(sealed(together))


def test_a_value_over_two_lines_is_refused() -> None:
    first, second, *rest = lines()[:-1]
    before, comma, after = second.partition(b",")
    assert "line 2: is not a line of a plan" in refused(sealed([first, before + comma + b"\n", after, *rest]))


def test_names_that_are_words_of_the_format_come_back() -> None:
    """The end of a plan is looked for by its text."""
    names = ("end", '"end"', '{"line":"end"', "plan", "\n")
    images = tuple(PrunedImage(name, name, "1", NOW, "", Unreferenced()) for name in sorted(names))
    whole = PrunePlan(cluster="end", as_of=NOW, rules={"end": "end"}, images=images, notes=("end",))
    assert decode([*lines(whole), b"more"], "the.plan") == whole


@pytest.mark.parametrize("size", [0, 300, 10**6])
def test_a_plan_is_read_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("pruner.files._BLOCK", size)
    found, rest = decode_beginning([*lines(), b"more\n", b"and more"], "the.plan")
    assert found == plan()
    assert b"".join(rest) == b"more\nand more"


@given(st.lists(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))))
def test_the_fingerprint_has_times_in_iso_format(times: list[datetime]) -> None:
    """Fingerprints that were approved stay what they are."""
    revisions = tuple(PrunedRevision("t", at, "i", time, BeyondNewest(at, 0)) for at, time in enumerate(times))
    streams = (StreamChange("n", "s", "uid", "1", revisions),)
    written = "".join(f"revision n/s:t i {time.isoformat()}\n" for time in times)
    fingerprint = hashlib.sha256(f"cluster c\nregistry \n{written}".encode()).hexdigest()
    assert PrunePlan(cluster="c", as_of=NOW, rules={}, streams=streams).fingerprint == f"sha256:{fingerprint}"


@pytest.mark.parametrize("place", [0, 2])
def test_an_end_that_is_first_or_alone_is_refused(place: int) -> None:
    end = b'{"line":"end","format":"pruner plan","version":4,"lines":0,"checksum":""}\n'
    assert "is" in refused([end, *lines()[1:]][: place or 1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"", b"", None),
        (rb'"as_of":"[^"]*"', b'"as_of":"2026-01-01T00:00:00"', "Expected `datetime` with a timezone component"),
        (rb'"as_of":"[^"]*"', b'"as_of":"9999-12-31T23:59:59-14:00"', "has a time that is not in UTC"),
        (rb'"rules":{', b'"rules":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b",", "is not a plan of pruner"),
        (rb'"rules":{', b'"rules":{"x":NaN,', "is not a plan of pruner"),
        (rb'"rules":{', b'"rules":{"x":1e999,', "is not"),
        (rb'"rules":{', b'"rules":{"x":"\\ud800",', "is not"),
        (rb'"notes":\["a note"\]', b'"notes":[1]', "is not a line of a plan"),
        (rb'"version":4', b'"version":1e999', "is not a plan of pruner"),
    ],
)
def test_a_header_of_anything_else_is_refused_whatever_its_checksum(
    old: bytes, new: bytes, message: str | None
) -> None:
    first, *rest = lines()[:-1]
    changed = sealed([re.sub(old, lambda _: new, first, count=1) if old else first, *rest])
    if message is None:
        assert decode(changed, "the.plan") == plan()
    else:
        assert message in refused(changed)


def test_a_name_with_a_line_break_makes_another_fingerprint() -> None:
    def of(*names: tuple[str, str]) -> str:
        images = (PrunedImage(name, uid, "1", NOW, "", Unreferenced()) for name, uid in names)
        return PrunePlan(cluster="c", as_of=NOW, rules={}, images=tuple(images)).fingerprint

    assert of(("A uA\nimage B", "uB")) != of(("A", "uA"), ("B", "uB"))
    assert of(("A", "u v")) != of(("A u", "v"))


def test_a_colon_in_a_name_makes_another_fingerprint() -> None:
    def of(stream: str, tag: str, **other: tuple[str, ...]) -> str:
        item = PrunedRevision(tag, 0, A, NOW, Unreferenced())
        revisions = () if other else (item,)
        change = StreamChange("shop", stream, "u", "1", revisions, **other)
        return PrunePlan(cluster="c", as_of=NOW, rules={}, streams=(change,)).fingerprint

    assert of("web:a", "b") != of("web", "a:b")
    assert of("web:a", "", removed_spec_tags=("b",)) != of("web", "", removed_spec_tags=("a:b",))
