"""Any arguments and any environment: an exit code of the table, and no traceback.

No address but one of this machine is ever asked.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruner.cli import main
from pruner.cli.entry import VERBS, Exit
from pruner.settings import BY_NAME
from tests.fuzz.outcomes import fuzzed

NOBODY = "http://127.0.0.1:1"
ADDRESSES = ("host", "proxy", "registry_url")
"""Parameters that a request could go to: only malformed addresses, or nobody's."""
NAMES = [name for name, parameter in BY_NAME.items() if not parameter.secret]
OPTIONS = [
    "--json", "--format", "--limit", "--all", "--out", "--output", "--file", "--work", "--label", "--wave", "--shard",
    "--shards", "--verb", "-h", "--version", "--", "-", "", "--nope",
]  # fmt: skip

words = st.sampled_from(
    ["", " ", "true", "0", "-1", "1e999", "9" * 5000, "x" * 300, "/dev/null", "/nonexistent/x", "\udcff", "\x1b[2J",
     "[/]", "{", "- [", "a/b:c",
     "sha256:" + "0" * 64, "sha256:x", "text", "html", "1/2", "k=v", "a\nb"]
) | st.text(max_size=10)  # fmt: skip
addresses = st.sampled_from(["", " ", NOBODY, "://", "http://[", "http://", "a b", "\udcff", "http://127.0.0.1:99999"])


@st.composite
def option(draw: st.DrawFn) -> list[str]:
    name = draw(st.sampled_from(NAMES))
    if name in ("report", "approved_plan", "persist_config"):
        return []
    return ["--" + name.replace("_", "-"), draw(addresses if name in ADDRESSES else words)]


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    verb = draw(
        st.sampled_from(
            [[name] for name in VERBS] + [["fleet", "status"], ["fleet", "report"], ["fleet", "up"], ["nope"], []]
        )
    )
    rest = draw(
        st.lists(
            option() | st.sampled_from(OPTIONS).map(lambda each: [each]) | words.map(lambda word: [word]), max_size=6
        )
    )
    # The last one wins: nothing is asked for elsewhere.
    last = ["--host", NOBODY] if verb and verb[0] in ("plan", "doctor", "explain") else []
    return [*verb, *(word for part in rest for word in part), *last]


environments = st.dictionaries(
    st.sampled_from([each.environment for name, each in BY_NAME.items()
                     if each.environment and name not in (*ADDRESSES, "proxy_headers")]
        + ["HOME", "KUBECONFIG", "XDG_CACHE_HOME", "COLUMNS", "TERM", "NO_COLOR", "PRUNER_NOTHING"]),
    words.filter(lambda word: "\0" not in word), max_size=4,
)  # fmt: skip


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(given_arguments=arguments(), environment=environments)
def test_any_arguments_end_with_a_code_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_arguments: list[str], environment: dict[str, str]
) -> None:
    fuzzed("command lines")
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    result = CliRunner(env={"HOME": str(tmp_path), "KUBECONFIG": "", **environment}).invoke(main, given_arguments)
    assert isinstance(result.exception, SystemExit | None)
    assert result.exit_code in {Exit.OK, Exit.FAILED, Exit.USAGE, Exit.ONLY_PREVIEW_WORKS}, (
        given_arguments,
        result.stderr,
    )
    assert "Traceback" not in result.output
    assert result.exit_code == Exit.OK or result.stderr
