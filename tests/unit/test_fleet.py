"""Selecting, sharding, waves, the ledger, the review page and what is printed: a fleet without clusters."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from pulumi.automation import PulumiCommand
from rich.console import Console

from pruner.cli.fleet import fleet as fleet_command
from pruner.fleet import command as commands
from pruner.fleet import review
from pruner.fleet.command import Command, StoppedError, TimeLimitError
from pruner.fleet.ledger import Ledger
from pruner.fleet.model import (
    REST,
    Cluster,
    Fleet,
    Outcome,
    Wave,
    has_labels,
    selected,
    shard,
    stack_name,
    waves_with_clusters,
)
from pruner.fleet.table import Progress, line, table
from pruner.plan import PrunedImage, PrunePlan, RetirementEnd
from pruner.reasons import NamedBy, Unreferenced
from pruner.report.wording import short
from tests.builders.objects import digest
from tests.fleet_engine import plan_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
names = st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12), unique=True, max_size=60)


def fleet_of(clusters: list[str]) -> Fleet:
    return Fleet(clusters=tuple(Cluster(name=name) for name in sorted(clusters)))


# --- which clusters --------------------------------------------------------------------------------------------------


@given(names, st.integers(1, 70))
def test_shards_cover_the_fleet_exactly_once(clusters: list[str], count: int) -> None:
    whole = fleet_of(clusters)
    shares = [shard(whole, index, count).clusters for index in range(count)]
    assert sorted(cluster.name for share in shares for cluster in share) == sorted(clusters)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(names, st.integers(1, 9), st.randoms())
def test_a_shard_is_the_same_in_whatever_order_the_file_has_the_clusters(
    clusters: list[str], count: int, order: Any
) -> None:
    shuffled = list(clusters)
    order.shuffle(shuffled)
    assert shard(fleet_of(shuffled), 0, count) == shard(fleet_of(clusters), 0, count)


@given(names, st.integers(1, 9), st.integers(0, 50), st.data())
def test_workers_together_keep_to_what_a_wave_may(clusters: list[str], count: int, limit: int, data: Any) -> None:
    wave = Wave(name="canary", max_failures=limit, max_deletions=limit)
    members = tuple(
        Cluster(name=name, wave=data.draw(st.sampled_from(["canary", "rest"]))) for name in sorted(clusters)
    )
    shares = [shard(Fleet(clusters=members, waves=(wave, REST)), index, count) for index in range(count)]
    inside = [share.waves[0] for share in shares if waves_with_clusters(share)[:1] == ["canary"]]
    assert sum(it.max_deletions or 0 for it in inside) <= limit
    assert sum(it.max_failures or 0 for it in inside) <= limit
    if len(inside) == 1:
        assert inside == [wave]


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_a_shard_that_is_none_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="there is no shard"):
        shard(fleet_of(["a"]), index, 3)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [({}, True), ({"a": "1"}, True), ({"a": "2"}, False), ({"a": "*"}, True), ({"c": "*"}, False),
     ({"a": "1", "b": "1"}, False)],
)  # fmt: skip
def test_labels_fit_when_all_of_them_do(wanted: dict[str, str], fits: bool) -> None:
    assert has_labels({"a": "1", "b": "2"}, wanted) is fits


def test_selection_is_by_labels_and_wave() -> None:
    clusters = (
        Cluster(name="a", labels={"x": "1"}, wave="first"),
        Cluster(name="b", labels={"x": "1"}, wave="rest"),
        Cluster(name="c", wave="rest"),
    )
    whole = Fleet(clusters=clusters)
    assert [cluster.name for cluster in selected(whole, {"x": "1"}).clusters] == ["a", "b"]
    assert [cluster.name for cluster in selected(whole, {"x": "1"}, "rest").clusters] == ["b"]


@given(st.text(min_size=1, max_size=200))
def test_names_of_stacks_are_such_as_the_engine_takes(text: str) -> None:
    assert set(stack_name(text)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert len(stack_name(text)) <= 100
    assert not stack_name(text).startswith((".", "-"))


# --- the time limit --------------------------------------------------------------------------------------------------


def running(script: str, folder: Path, limit: float, stop: threading.Event | None = None) -> Command:
    """A command that runs this program of Python instead of the CLI."""
    program = folder / "pulumi"
    # A path with a space in it can't stand after #!, so a shell hands this file on, as pip's own scripts have it.
    start = f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" \"$@\"\n' '''\n"
    program.write_text(start + script, encoding="utf-8")
    program.chmod(0o700)
    found = PulumiCommand.__new__(PulumiCommand)
    found.command, found.version = str(program), None
    return Command(found, limit, stop or threading.Event(), io.StringIO())


ORPHAN = """
import os, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(300)"],
    process_group=0)
open("child", "w").write(str(child.pid))
time.sleep(300)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return state != "Z"


def test_a_command_past_its_limit_is_ended_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "GRACE", 1.0)
    began = time.monotonic()
    with pytest.raises(TimeLimitError, match="not done after 1 seconds, ended during up"):
        running(ORPHAN, tmp_path, 1).run(["up"], str(tmp_path), {})
    assert time.monotonic() - began < 10
    assert not alive(int((tmp_path / "child").read_text(encoding="utf-8")))


def test_the_wish_to_stop_interrupts_a_command(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(StoppedError, match="was stopped during preview"):
        running("import time; time.sleep(300)", tmp_path, 60, stop).run(["preview"], str(tmp_path), {})


def test_nothing_is_begun_after_the_wish_to_stop(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        running("open('ran', 'w')", tmp_path, 60, stop).run(["preview"], str(tmp_path), {})
    assert not (tmp_path / "ran").exists()


def test_credentials_of_the_environment_are_not_sent_to_a_whole_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8S_AUTH_API_KEY", "sesame")
    script = "import os, json; print(json.dumps(dict(os.environ)))"
    answer = running(script, tmp_path, 60).run(["preview"], str(tmp_path), {"MORE": "1"})
    seen = json.loads(answer.stdout)
    assert "K8S_AUTH_API_KEY" not in seen
    assert seen["MORE"] == "1"


def test_a_secret_is_given_on_standard_input_and_stands_in_no_log(tmp_path: Path) -> None:
    made = running("import sys; print(sys.stdin.read() == 'sesame', 'sesame' in sys.argv)", tmp_path, 60)
    assert made.run_with("sesame", ["config", "set"], str(tmp_path), {}).stdout == "True False"
    assert isinstance(made.log, io.StringIO)
    assert "sesame" not in made.log.getvalue()


# --- what is kept ----------------------------------------------------------------------------------------------------


def outcome(cluster: str = "kiel", **more: Any) -> Outcome:
    return Outcome(**{"cluster": cluster, "verb": "up", "state": "done", "ended": NOW, **more})


def test_ledger_gives_back_the_last_run_of_each_verb(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.last("kiel", "up") is None
    for each in (outcome(images=1), outcome(images=2), outcome(verb="preview", state="failed")):
        ledger.note(each)
    assert ledger.last("kiel", "up") == outcome(images=2)
    assert ledger.last("kiel", "preview") == outcome(verb="preview", state="failed")


def test_a_ledger_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "kiel").mkdir()
    (tmp_path / "kiel" / "state.json").write_text("{", encoding="utf-8")
    assert Ledger(tmp_path).last("kiel", "up") is None


# --- what is shown ---------------------------------------------------------------------------------------------------


def printed(thing: Any) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_table_has_a_row_for_each_cluster_and_the_sums() -> None:
    text = printed(
        table(
            [outcome(images=2, bytes=1000), outcome("ulm", images=3, bytes=500), outcome("bonn", state="failed")], "up"
        )
    )
    last = text.splitlines()[-2]
    assert "3 clusters" in last
    assert "2 done, 1 failed" in last
    assert "1.5 kB" in last


def test_a_message_is_no_markup() -> None:
    assert "[/bold] no such thing" in printed(table([outcome(state="failed", message="[/bold] no such thing")], "up"))


def test_progress_out_of_a_terminal_is_a_line_for_each_change() -> None:
    console = Console(file=io.StringIO(), width=40)
    with Progress(console, "up") as progress:
        for state in ("waiting", "running", "running", "done"):
            progress(outcome(state=state))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines == ["kiel: running", "kiel: done, 0 revisions, 0 images, 0 blobs, 0 bytes"]


def test_progress_on_a_terminal_is_a_table_that_is_redrawn() -> None:
    console = Console(file=io.StringIO(), width=140, force_terminal=True)
    with Progress(console, "up") as progress:
        progress(outcome(state="running", message="looking for the registry"))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "looking for the registry" in text
    assert "\x1b[1A" in text


def test_of_a_large_fleet_those_at_work_and_not_well_are_shown_with_the_sums_of_all() -> None:
    fleet = [outcome(f"done-{number}", images=1) for number in range(40)]
    text = printed(table([*fleet, outcome("bonn", state="failed"), outcome("kiel", state="running")], "up", most=5))
    assert [line.split()[1] for line in text.splitlines() if line.startswith("│")] == [
        "kiel", "bonn", "done-0", "done-1", "done-2", "42",
    ]  # fmt: skip
    assert "1 running, 40 done, 1 failed" in text


def plan_with(reference: str) -> PrunePlan:
    reason = Unreferenced()
    image = PrunedImage(f"sha256:{'a' * 64}", "u", "1", NOW, reference, reason)
    return PrunePlan(cluster="c", as_of=NOW, rules={}, images=(image,))


def test_review_page_has_fingerprints_and_reasons() -> None:
    plan = plan_with("registry/shop/web@sha256:1")
    page = "\n".join(review.page("Plans", [outcome(verb="preview", images=1, plan=plan.fingerprint)], {"kiel": plan}))
    assert page.count(plan.fingerprint) == 2
    assert "no image stream names it, and nothing refers to it (R22)" in page


def test_R36_review_page_and_tables_have_what_is_retired_where_anything_is() -> None:
    plan = plan_of("kiel", images=0, retired=2)
    plan = msgspec.structs.replace(plan, needed_again=(RetirementEnd(digest("again"), "u", NamedBy(("shop/web:v1",))),))
    outcomes = [outcome(verb="preview", retired=2), outcome("bonn", verb="preview", images=1)]
    page = "\n".join(review.page("Plans", outcomes, {"kiel": plan, "bonn": plan_of("bonn")}))
    assert "| cluster | wave | state | revisions | images | retired | blobs | bytes | plan |" in page
    assert "| **2 clusters** |  | 2 done | 0 | 1 | 2 | 0 | 0 bytes |  |" in page
    assert "2 images retired, 1 image needed again" in page
    for shown in plan.retired:
        assert (
            f"| `{short(shown.name)}` `registry/shop/web` | {shown.created:%Y-%m-%d} | 2.0 kB | `{shown.reason}` |"
            in page
        )
    assert f"| `{short(digest('again'))}` | `{plan.needed_again[0].reason}` |" in page
    text = printed(table(outcomes, "preview"))
    assert "retired" in text
    assert line(outcomes[0]) == "kiel: done, 0 revisions, 0 images, 2 retired, 0 blobs, 0 bytes"
    assert "retired" not in printed(table(outcomes[1:], "preview")) + line(outcomes[1])


def test_R34_tables_have_deleted_image_streams_where_there_are_any() -> None:
    outcomes = [outcome(verb="preview", empty_streams=3), outcome("bonn", verb="preview", images=1)]
    assert outcomes[0].deletions == 3
    page = "\n".join(review.page("Plans", outcomes, {"kiel": plan_of("kiel"), "bonn": plan_of("bonn")}))
    assert "| cluster | wave | state | revisions | images | empty streams | blobs | bytes | plan |" in page
    assert "empty streams" in printed(table(outcomes, "preview"))
    assert line(outcomes[0]) == "kiel: done, 0 revisions, 0 images, 3 empty streams, 0 blobs, 0 bytes"
    assert "empty streams" not in printed(table(outcomes[1:], "preview")) + line(outcomes[1])


def test_a_name_from_a_cluster_cannot_break_out_of_its_cell() -> None:
    page = "\n".join(review.page("Plans", [outcome()], {"kiel": plan_with("a|b<script>`x`\n# c")}))
    assert "| `sha256:aaaaaaaaaaaa` `a\N{BROKEN BAR}b<script>'x'\\u{a}# c` |" in page


def test_review_page_says_why_there_is_no_plan() -> None:
    page = "\n".join(
        review.page("Plans", [outcome(state="failed", message="refused\nby it")], {"kiel": "refused\nby it"})
    )
    assert "**failed**" in page
    assert "- `refused`\n- `by it`" in page


# --- the command -----------------------------------------------------------------------------------------------------


def run(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner(env=environment).invoke(fleet_command, arguments)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "clusters: [{name: kiel, labels: {stage: prod}, settings: {host: 'https://kiel:6443'}},"
        " {name: ulm, settings: {host: 'https://ulm:6443'}}]\n",
        encoding="utf-8",
    )
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label", "stage"], "takes k=v"),
        (["--label", "stage=test"], "none of the 2 clusters"),
        (["--wave", "first"], "there is no wave 'first'; there are rest"),
        (["--shard", "2/2"], "INDEX/COUNT with INDEX from 0"),
        (["--shard", "0/2", "--shards", "2"], "--shard and --shards are both given"),
        (["--shards", "2"], "JOB_COMPLETION_INDEX and --shards"),
    ],
)
def test_options_that_are_wrong_end_with_2(file: str, arguments: list[str], said: str) -> None:
    result = run("status", "--file", file, *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_file_that_is_wrong_ends_with_2_and_its_lines(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("clusters: [{nam: a}]\n", encoding="utf-8")
    result = run("preview", "--file", str(tmp_path / "fleet.yaml"))
    assert result.exit_code == 2
    assert "fleet.yaml:1:13: there is no 'nam', did you mean 'name'?" in result.output


def test_settings_that_are_wrong_end_with_2_before_anything_is_run(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("clusters: [{name: a, settings: {api_key: {env: NOT_SET_AT_ALL}}}]\n", encoding="utf-8")
    result = run("up", "--unreviewed", "--file", str(path))
    assert result.exit_code == 2
    assert "the environment has no NOT_SET_AT_ALL" in result.output
    assert not (tmp_path / ".fleet").exists()


def test_status_says_what_was_never_run(file: str) -> None:
    result = run("status", "--file", file)
    assert (result.exit_code, result.output) == (0, "never run: kiel, ulm\n")


def test_status_of_a_worker_is_that_of_its_share(file: str) -> None:
    result = run("status", "--file", file, "--shards", "2", environment={"JOB_COMPLETION_INDEX": "1"})
    assert result.output == "never run: ulm\n"


def test_a_worker_without_a_share_is_done(file: str) -> None:
    assert run("status", "--file", file, "--shard", "2/3").exit_code == 0


def test_status_as_json_has_sums(file: str) -> None:
    Ledger(Path(file).parent / ".fleet").note(outcome(images=4))
    found = json.loads(run("status", "--file", file, "--json").output)
    assert found["totals"]["images"] == 4
    assert msgspec.convert(found["clusters"][0], Outcome) == outcome(images=4)


def test_report_without_a_run_says_so(file: str) -> None:
    result = run("report", "--file", file)
    assert result.exit_code == 1
    assert "none of these clusters has had a fleet up yet" in result.output


def test_up_with_a_folder_that_holds_no_plan_ends_with_1(file: str, tmp_path: Path) -> None:
    result = run("up", "--file", file, "--plans", str(tmp_path))
    assert result.exit_code == 1
    assert "holds no plan of any of these 2 clusters" in result.output
