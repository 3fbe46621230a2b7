"""Any plan file: the plan that was written, or an error of one line."""

from __future__ import annotations

import hashlib
import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pruner.errors import PrunerError
from pruner.plan import PrunePlan, decode, encode
from pruner.report.jsonl import decode_report, encode_report
from pruner.report.model import Report
from tests.builders.objects import L1, L2, A, B, C, analysed, image, image_stream, index, item
from tests.fuzz.outcomes import anything, fuzzed, outcome

ANALYSIS = analysed(
    image(A, layers=[L1, L2], repository="shop/web"),
    index(B, [A]),
    image(C, age=5),
    image_stream("shop/web", latest=[item(C, 5), B], v1=[item(A, None)]),
)
LINES = b"".join(encode(ANALYSIS.plan)).splitlines(keepends=True)
REPORT = list(encode_report(ANALYSIS))


def sealed(lines: list[bytes]) -> list[bytes]:
    """The lines with an end that fits them."""
    checksum = hashlib.sha256(b"".join(lines)).hexdigest()
    return [*lines, msgspec.json.encode({"line": "end", "lines": len(lines), "checksum": checksum}) + b"\n"]


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    """The file with a few bytes replaced, cut out, doubled or put elsewhere."""
    content = b"".join(REPORT)
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        content = content[:start] + draw(st.binary(max_size=8) | st.just(content[start:end] * 2)) + content[end:]
    return content


@settings(max_examples=300)
@given(content=edited() | st.binary(max_size=100))
def test_an_edited_file_is_the_plan_or_an_error(content: bytes) -> None:
    fuzzed("plan files")
    lines = content.splitlines(keepends=True)
    plan = outcome(lambda: decode(lines, "the.plan"))
    assert isinstance(plan, PrunerError) or plan == ANALYSIS.plan
    report = outcome(lambda: decode_report(lines, "the.plan"))
    assert isinstance(report, PrunerError | Report)


@st.composite
def with_anything(draw: st.DrawFn) -> list[bytes]:
    """The plan's lines with any JSON in one place, and an end that fits them."""
    lines = [json.loads(line) for line in LINES[:-1]]
    place = lines[draw(st.integers(0, len(lines) - 1))]
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and draw(st.booleans()):
            place = inner
            continue
        break
    # Hypothesis objects to arguments that take long to print.
    value = draw(anything.filter(lambda each: len(repr(each)) < 20_000))
    if draw(st.booleans()) or not isinstance(place, dict):
        place[key] = value
    else:
        place[str(value)[:20]] = value
    return sealed(
        [
            json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            for line in lines
        ]
    )


@settings(max_examples=300)
@given(lines=with_anything())
def test_any_content_with_a_checksum_that_fits_is_a_plan_as_preview_writes_it_or_an_error(lines: list[bytes]) -> None:
    fuzzed("plan files")
    plan = outcome(lambda: decode(lines, "the.plan"))
    if isinstance(plan, PrunePlan):
        assert b"".join(encode(plan)) == b"".join(lines)
