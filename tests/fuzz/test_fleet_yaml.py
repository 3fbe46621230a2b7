"""Any fleet.yaml: a fleet, or problems of one line each."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruner.errors import SettingsError
from pruner.fleet.model import Fleet
from pruner.fleet.reading import read_fleet
from pruner.settings import BY_NAME
from tests.fuzz.outcomes import anything, fuzzed, outcome

EXAMPLE = (Path(__file__).parent.parent.parent / "examples" / "fleet" / "fleet.yaml").read_text(encoding="utf-8")
LINES = EXAMPLE.splitlines(keepends=True)
PIECES = [
    *LINES, "- ", "  ", "\t", "{", "}", "[", "]", ": ", "&a ", "*a", "<<: *a\n", "!!python/object:os.system x\n", "!x ",
    "? ", "|\n", ">\n",
    "'",
    '"', "#", "%YAML 1.1\n", "---\n", "...\n", "\0", "\ufeff", "\x85", "0x", "1_000", "12:30:45", ".nan", "2026-02-30",
    "~", "on", "=",
]  # fmt: skip

texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=10), max_size=40).map("".join)


@st.composite
def edited(draw: st.DrawFn) -> str:
    """The example with a part replaced, cut out or doubled."""
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(EXAMPLE))] * 2)))
    return EXAMPLE[:start] + draw(texts | st.just("") | st.just(EXAMPLE[start:end] * 2)) + EXAMPLE[end:]


values = st.dictionaries(
    st.sampled_from(["clusters", "contexts", "defaults", "groups", "waves", "concurrency", "backend", "policy_packs"])
    | st.text(max_size=5),
    st.lists(
        st.dictionaries(
            st.sampled_from(["name", "labels", "settings", "pattern", "pack", "max_failures"]),
            st.dictionaries(st.sampled_from([*BY_NAME, "env", "file"]), anything, max_size=4) | anything,
            max_size=4,
        ),
        max_size=3,
    )
    | anything,
    max_size=5,
)


def as_text(value: object) -> str:
    """The value in JSON, or in YAML where JSON has no word for it."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return "clusters: " + yaml.safe_dump(repr(value)[:1000])


@settings(suppress_health_check=list(HealthCheck))
@given(text=texts | edited() | values.map(as_text))
def test_any_text_is_a_fleet_or_problems_of_one_line(tmp_path: Path, text: str) -> None:
    fuzzed("fleet.yaml")
    path = tmp_path / "fleet.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = outcome(lambda: read_fleet(path))
    assert isinstance(found, Fleet | SettingsError)
    if isinstance(found, Fleet):
        assert found.clusters


@settings(suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_fleet_or_problems_of_one_line(tmp_path: Path, content: bytes) -> None:
    fuzzed("fleet.yaml")
    path = tmp_path / "fleet.yaml"
    path.write_bytes(content)
    assert isinstance(outcome(lambda: read_fleet(path)), Fleet | SettingsError)
