"""A run over a fleet, by its commands: what is begun, what is not, and what is said of it.

The engine is one of the test's own.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import stat
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from pruner.cli.fleet import fleet as fleet_command
from pruner.errors import UnsafePlanError
from pruner.fleet import command as commands
from pruner.fleet.approval import digest_of, read_approval
from pruner.planning import read_plan
from tests.fleet_engine import NOW, Engine, plan_of, report, said, violation

WAVES = "waves: [{name: canary, labels: {city: bonn}, MORE}]\n"


class Fleet:
    """Three clusters, `bonn`, `kiel` and `ulm`; each has one image to prune unless the engine is told otherwise."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        self.plans = folder / "plans"
        self.write()
        for name in ("bonn", "kiel", "ulm"):
            engine.plans(name, plan_of(name))
            engine.prunes(name, plan_of(name))

    def write(self, more: str = "", settings: str = "") -> None:
        clusters = "".join(
            f"  - {{name: {name}, labels: {{city: {name}}}, settings: {{host: 'https://{name}:6443'{settings}}}}}\n"
            for name in ("bonn", "kiel", "ulm")
        )
        (self.folder / "fleet.yaml").write_text(f"concurrency: 3\n{more}clusters:\n{clusters}", encoding="utf-8")

    def run(self, verb: str, *arguments: str) -> Result:
        path = f"{self.engine.folder}{os.pathsep}{os.environ['PATH']}"
        options = ["--file", str(self.folder / "fleet.yaml"), *arguments]
        return CliRunner(env={"PATH": path}).invoke(fleet_command, [verb, *options])

    def outcomes(self, verb: str, *arguments: str) -> dict[str, dict[str, Any]]:
        result = self.run(verb, "--json", *arguments)
        clusters = json.loads(result.stdout)["clusters"]
        bad = [each for each in clusters if each["state"] not in ("done", "skipped")]
        assert result.exit_code == (1 if bad else 0), result.output
        return {each["cluster"]: each for each in clusters}

    def states(self, verb: str, *arguments: str) -> list[str]:
        return [each["state"] for _, each in sorted(self.outcomes(verb, *arguments).items())]

    def preview(self, *arguments: str) -> None:
        result = self.run("preview", "--plans", str(self.plans), *arguments)
        assert result.exit_code == 0, result.output

    def up(self, *arguments: str) -> dict[str, dict[str, Any]]:
        return self.outcomes("up", "--plans", str(self.plans), *arguments)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, Engine(tmp_path / "engine"))


# --- what is approved ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--plans", "plans", "--unreviewed"]])
def test_up_wants_plans_or_the_word_that_nobody_has_reviewed_anything(fleet: Fleet, arguments: list[str]) -> None:
    result = fleet.run("up", *arguments)
    assert result.exit_code == 2
    assert "--plans" in result.output
    assert "--unreviewed" in result.output
    assert fleet.engine.calls == []


def test_up_is_given_the_approved_plan_of_each_cluster(fleet: Fleet) -> None:
    fleet.preview()
    assert [each["state"] for each in fleet.up().values()] == ["done"] * 3
    for name in ("bonn", "kiel", "ulm"):
        config = (fleet.folder / ".fleet" / name / f"Pulumi.{name}.yaml").read_text(encoding="utf-8")
        # A copy, which the next preview does not write into while a long run is under way.
        copy = fleet.folder / ".fleet" / name / "approved.jsonl"
        assert f"pruner:approved_plan: {copy}" in config
        assert f"pruner:approved_digest: {digest_of(copy)}" in config
        assert copy.read_bytes() == (fleet.plans / f"{name}.jsonl").read_bytes()


def test_what_was_approved_and_is_in_use_now_is_reported(fleet: Fleet) -> None:
    fleet.engine.plans("kiel", plan_of("kiel", images=9))
    fleet.engine.prunes("kiel", plan_of("kiel", images=7))
    fleet.preview()
    assert {name: each["skipped"] for name, each in fleet.up().items()} == {"bonn": 0, "kiel": 2, "ulm": 0}


def edited(plan: Path) -> None:
    plan.write_text(plan.read_text(encoding="utf-8").replace("shop/web", "shop/api"), encoding="utf-8")


def truncated(plan: Path) -> None:
    plan.write_text(plan.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")


def exchanged(plan: Path) -> None:
    """Whole, of the same cluster, and not what was looked at."""
    plan.write_text(report(plan_of(plan.stem, images=9)), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(edited, "edited"), (truncated, "truncated"), (exchanged, "so nobody has reviewed it; preview again")],
)  # fmt: skip
def test_a_plan_that_is_not_the_reviewed_one_fails_its_cluster_and_holds_up_no_other(
    fleet: Fleet, spoil: Callable[[Path], None], why: str
) -> None:
    fleet.preview()
    spoil(fleet.plans / "kiel.jsonl")
    found = fleet.up()
    assert {name: each["state"] for name, each in found.items()} == {"bonn": "done", "kiel": "failed", "ulm": "done"}
    assert why in found["kiel"]["message"]
    assert "up kiel" not in fleet.engine.runs


def test_a_plan_with_other_reasons_is_not_the_reviewed_one_though_it_deletes_the_same(fleet: Fleet) -> None:
    fleet.preview()
    path = fleet.plans / "kiel.jsonl"
    plan = read_plan(str(path))
    other = msgspec.structs.replace(plan, notes=("nothing to see here",))
    assert other.fingerprint == plan.fingerprint
    path.write_text(report(other), encoding="utf-8")
    found = fleet.up()["kiel"]
    assert found["state"] == "failed"
    assert f"its digest is {digest_of(path)}" in found["message"]


def test_plans_without_their_approval_are_not_carried_out(fleet: Fleet) -> None:
    fleet.preview()
    (fleet.plans / "approval.json").unlink()
    result = fleet.run("up", "--plans", str(fleet.plans))
    assert result.exit_code == 1
    assert (
        "approval.json: cannot be read: No such file or directory; it says which plans were reviewed" in result.output
    )
    assert not [run for run in fleet.engine.runs if run.startswith("up")]


def test_an_approval_may_lie_where_only_those_who_approve_can_write(fleet: Fleet) -> None:
    fleet.preview()
    kept = fleet.folder / "approved.json"
    (fleet.plans / "approval.json").rename(kept)
    exchanged(fleet.plans / "kiel.jsonl")
    (fleet.plans / "approval.json").write_text(
        json.dumps(
            {"version": 1, "plans": {"kiel": {"digest": digest_of(fleet.plans / "kiel.jsonl"), "fingerprint": ""}}}
        )
    )
    found = fleet.up("--approval", str(kept))
    assert {name: each["state"] for name, each in found.items()} == {"bonn": "done", "kiel": "failed", "ulm": "done"}


def test_the_review_page_shows_the_digest_of_each_plan(fleet: Fleet) -> None:
    fleet.preview()
    page = (fleet.plans / "review.md").read_text(encoding="utf-8")
    for name in ("bonn", "kiel", "ulm"):
        assert digest_of(fleet.plans / f"{name}.jsonl") in page


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 1, "plans": {"kiel": "x"}}', '{"version": 2, "plans": {}}', "[" * 100_000]
)
def test_an_approval_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "approval.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UnsafePlanError, match=r"approval\.json: (cannot be read|is of version 2)"):
        read_approval(path)


def test_a_plan_that_changes_while_the_run_is_under_way_is_not_carried_out(fleet: Fleet) -> None:
    fleet.write(WAVES.replace("MORE", "max_failures: 0"))
    fleet.preview()
    changed = fleet.plans / "kiel.jsonl"
    fleet.engine.prunes("bonn", plan_of("bonn"), writes=[str(changed), report(plan_of("kiel", images=9))])
    found = fleet.up()
    assert [each["state"] for each in found.values()] == ["done", "failed", "done"]
    assert "kiel.jsonl: has changed since the run began" in found["kiel"]["message"]


def test_a_plan_of_an_earlier_preview_that_is_on_no_page_any_more_is_not_carried_out(fleet: Fleet) -> None:
    fleet.preview()
    fleet.engine.plans("kiel", plan_of("kiel", images=2))
    fleet.preview("--label", "city=kiel")
    assert [each["state"] for each in fleet.up().values()] == ["failed", "done", "failed"]


def test_what_could_not_be_planned_now_has_no_plan_of_the_last_time(fleet: Fleet) -> None:
    fleet.preview()
    fleet.engine.fails("preview", "kiel", said("it is gone"))
    assert fleet.run("preview", "--plans", str(fleet.plans)).exit_code == 1
    assert sorted(path.name for path in fleet.plans.iterdir()) == [
        "approval.json", "bonn.html", "bonn.jsonl", "review.md", "ulm.html", "ulm.jsonl",
    ]  # fmt: skip
    assert fleet.up()["kiel"]["message"] == "there is no approved plan for it"


def test_two_names_of_one_cluster_are_told(fleet: Fleet) -> None:
    fleet.engine.plans("ulm", plan_of("kiel"))
    result = fleet.run("preview", "--plans", str(fleet.plans))
    assert "kiel, ulm are one and the same cluster, kiel" in result.stderr
    assert "**Warning:** `kiel, ulm are one and the same cluster, kiel`" in (fleet.plans / "review.md").read_text(
        encoding="utf-8"
    )


def test_up_again_goes_on_with_what_was_not_done(fleet: Fleet) -> None:
    fleet.preview()
    fleet.engine.fails("up", "kiel", said("it is gone"))
    fleet.up()
    fleet.engine.prunes("kiel", plan_of("kiel"))
    found = fleet.up()
    assert [each["state"] for each in found.values()] == ["skipped", "done", "skipped"]
    assert "--again does it again" in found["ulm"]["message"]
    assert [each["state"] for each in fleet.up("--again").values()] == ["done"] * 3


def test_the_same_plan_made_and_approved_anew_is_carried_out(fleet: Fleet) -> None:
    fleet.preview()
    fleet.up()
    fleet.engine.plans("kiel", plan_of("kiel", as_of=NOW + timedelta(hours=1)))
    fleet.preview()
    assert [each["state"] for each in fleet.up().values()] == ["skipped", "done", "skipped"]


# --- waves -----------------------------------------------------------------------------------------------------------


def test_failures_up_to_the_limit_of_a_wave_are_passed_over(fleet: Fleet) -> None:
    fleet.write("waves: [{name: all, max_failures: 1}]\n")
    fleet.engine.fails("up", "bonn", said("it is gone"))
    assert fleet.states("up", "--unreviewed") == ["failed", "done", "done"]
    fleet.engine.fails("up", "kiel", said("it is gone"))
    found = fleet.outcomes("up", "--unreviewed", "--concurrency", "1")
    assert found["ulm"]["state"] == "stopped"
    assert found["ulm"]["message"] == "failures in wave all: 2, and its max_failures is 1"


def test_a_wave_that_has_deleted_more_than_it_may_is_the_last_one(fleet: Fleet) -> None:
    fleet.write(WAVES.replace("MORE", "max_deletions: 5"))
    fleet.engine.prunes("bonn", plan_of("bonn", images=4, empty_streams=2))
    found = fleet.outcomes("up", "--unreviewed")
    assert [each["state"] for each in found.values()] == ["done", "stopped", "stopped"]
    said_of = "wave canary has deleted 6 images, revisions and image streams, and its max_deletions is 5"
    assert said_of in found["ulm"]["message"]


@pytest.mark.parametrize(
    ("own", "limits"), [("", ["5", "3"]), (", max_deletions: 4", ["4", "3"]), (", max_deletions: 9%", ["9%"] * 2)]
)
def test_a_cluster_alone_may_not_delete_more_than_its_wave_may_still(fleet: Fleet, own: str, limits: list[str]) -> None:
    fleet.write("waves: [{name: all, max_deletions: 5}]\n", settings=own)
    fleet.engine.prunes("bonn", plan_of("bonn", images=2))
    fleet.states("up", "--unreviewed", "--concurrency", "1", "--label", "city=*")
    configs = [(fleet.folder / f".fleet/{name}/Pulumi.{name}.yaml").read_text("utf-8") for name in ("bonn", "kiel")]
    assert [re.findall(r"pruner:max_deletions: '?([^'\n]+)'?", config) for config in configs] == [
        [each] for each in limits
    ]


def test_R36_a_wave_that_has_retired_more_than_it_may_is_the_last_one(fleet: Fleet) -> None:
    fleet.write(WAVES.replace("MORE", "max_deletions: 5"))
    fleet.engine.prunes("bonn", plan_of("bonn", images=5, retired=6))
    found = fleet.outcomes("up", "--unreviewed")
    assert [each["state"] for each in found.values()] == ["done", "stopped", "stopped"]
    assert found["bonn"]["retired"] == 6
    assert "wave canary has retired 6 images, and its max_deletions is 5" in found["ulm"]["message"]


def test_R36_approved_plans_that_retire_more_than_their_wave_may_are_not_begun(fleet: Fleet) -> None:
    fleet.write(WAVES.replace("MORE", "max_deletions: 5"))
    fleet.engine.plans("bonn", plan_of("bonn", images=5, retired=6))
    fleet.preview()
    page = (fleet.plans / "review.md").read_text(encoding="utf-8")
    told = "wave canary would retire 6 images, and its max_deletions is 5: up would not begin it"
    assert f"**Warning:** `{told}`" in page
    assert "would delete" not in page
    assert [each["state"] for each in fleet.up().values()] == ["stopped"] * 3
    assert [run for run in fleet.engine.runs if run.startswith("up")] == []


def test_R34_R36_what_was_approved_and_neither_retired_nor_deleted_is_counted_as_skipped(fleet: Fleet) -> None:
    fleet.engine.plans("kiel", plan_of("kiel", images=0, retired=3, empty_streams=2))
    fleet.preview()
    fleet.engine.prunes("kiel", plan_of("kiel", images=0, retired=2, empty_streams=1))
    found = fleet.up()["kiel"]
    assert (found["state"], found["retired"], found["empty_streams"], found["skipped"]) == ("done", 2, 1, 2)


def test_what_a_failed_up_has_deleted_counts(fleet: Fleet) -> None:
    fleet.write(WAVES.replace("MORE", "max_deletions: 5, max_failures: 1"))
    fleet.engine.prunes("bonn", plan_of("bonn", images=9), images=6, code=1, events=[said("3 deletions failed")])
    found = fleet.outcomes("up", "--unreviewed")
    assert (found["bonn"]["state"], found["bonn"]["images"]) == ("failed", 6)
    assert "has deleted 6 images" in found["kiel"]["message"]


def test_approved_plans_that_delete_more_than_their_wave_may_are_not_begun(fleet: Fleet) -> None:
    fleet.write(WAVES.replace("MORE", "max_deletions: 5"))
    fleet.engine.plans("bonn", plan_of("bonn", images=6))
    fleet.preview()
    limit = "would delete 6 images, revisions and image streams, and its max_deletions is 5"
    told = f"wave canary {limit}: up would not begin it"
    assert f"**Warning:** `{told}`" in (fleet.plans / "review.md").read_text(encoding="utf-8")
    assert [each["state"] for each in fleet.up().values()] == ["stopped"] * 3
    assert [run for run in fleet.engine.runs if run.startswith("up")] == []


def test_a_canary_without_an_approved_plan_has_shown_nothing(fleet: Fleet) -> None:
    fleet.write(WAVES.replace("MORE", "max_failures: 0"))
    fleet.preview()
    (fleet.plans / "bonn.jsonl").unlink()
    found = fleet.up()
    assert [each["state"] for each in found.values()] == ["skipped", "stopped", "stopped"]
    assert "no cluster of wave canary has an approved plan, so it has shown nothing" in found["kiel"]["message"]
    assert [each["state"] for each in fleet.up("--wave", "rest").values()] == ["done", "done"]


def test_workers_who_do_not_know_of_each_other_keep_no_order_of_waves(fleet: Fleet) -> None:
    fleet.write(WAVES.replace("MORE", "max_failures: 0"))
    result = fleet.run("up", "--unreviewed", "--shard", "0/2")
    assert result.exit_code == 2
    assert "cannot keep the order of its waves (canary, rest)" in result.output.replace("\n", " ")
    assert fleet.states("up", "--unreviewed", "--shard", "0/2", "--wave", "rest") == ["done"]


# --- one cluster and the others --------------------------------------------------------------------------------------


def test_a_refusal_by_a_policy_is_said_as_such_and_counts_as_a_failure(fleet: Fleet) -> None:
    pack = fleet.folder / "pack"
    pack.mkdir()
    (fleet.folder / "pack.json").write_text("{}", encoding="utf-8")
    fleet.write(WAVES.replace("MORE", "max_failures: 0") + "policy_packs: [{pack: pack, config: pack.json}]\n")
    refusal = violation("No run deletes more.\n<{%fg 1%}>would delete 17<{%reset%}> images")
    fleet.engine.fails("up", "bonn", refusal, said("preview failed"))
    found = fleet.outcomes("up", "--unreviewed", "--policy-pack", str(pack))
    assert [each["state"] for each in found.values()] == ["refused", "stopped", "stopped"]
    assert found["bonn"]["message"] == "pruner/max-images: No run deletes more. would delete 17 images"
    words = next(call["words"] for call in fleet.engine.calls if call["words"][0] == "up")
    none = fleet.folder / ".fleet" / "bonn" / "no-policies.json"
    assert [words[at + 1] for at, word in enumerate(words) if word == "--policy-pack"] == [str(pack)] * 2
    assert [words[at + 1] for at, word in enumerate(words) if word == "--policy-pack-config"] == [
        str(fleet.folder / "pack.json"), str(none),
    ]  # fmt: skip
    assert none.read_text(encoding="utf-8") == "{}"


def test_what_a_policy_advises_is_told(fleet: Fleet) -> None:
    fleet.engine.plans("bonn", plan_of("bonn"), events=[violation("think twice", "advisory")])
    assert fleet.outcomes("preview")["bonn"]["notes"] == ["pruner/max-images: think twice"]


@pytest.mark.parametrize(
    ("arguments", "said_"),
    [
        (["--policy-pack", "absent"], "there is no policy pack"),
        (["--policy-pack", ".", "--policy-pack-config", "a", "--policy-pack-config", "b"], "for each --policy-pack"),
    ],
)
def test_a_policy_pack_that_cannot_be_asked_ends_with_2(fleet: Fleet, arguments: list[str], said_: str) -> None:
    result = fleet.run("preview", *arguments)
    assert result.exit_code == 2
    assert said_ in result.output
    assert fleet.engine.runs == []


def test_a_cluster_that_takes_too_long_is_ended_and_the_others_are_done(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "GRACE", 1.0)
    fleet.engine.hangs("up", "bonn", report=report(plan_of("bonn")))
    found = fleet.outcomes("up", "--unreviewed", "--timeout", "1")
    assert [each["state"] for each in found.values()] == ["timed out", "done", "done"]
    assert "not done after 1 seconds, ended during up" in found["bonn"]["message"]
    assert "what it deleted before is not known" in found["bonn"]["message"]
    # The lock of its stack is given back.
    assert any(call["words"][:2] == ["cancel", "--yes"] for call in fleet.engine.calls)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_wish_to_stop_ends_the_cluster_at_work_and_begins_no_other(
    fleet: Fleet, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "GRACE", 1.0)
    fleet.engine.hangs("up", "bonn")
    stopper = threading.Thread(target=_send_when, args=(lambda: "up bonn" in fleet.engine.runs, number))
    stopper.start()
    assert fleet.states("up", "--unreviewed", "--concurrency", "1") == ["stopped"] * 3
    stopper.join()
    assert fleet.engine.runs == ["up bonn"]


def _send_when(true: Callable[[], bool], number: signal.Signals) -> None:
    waiting = threading.Event()
    while not true():
        waiting.wait(0.02)
    os.kill(os.getpid(), number)


def test_two_runs_do_not_write_into_one_folder(fleet: Fleet) -> None:
    folder = fleet.folder / ".fleet" / "bonn"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = fleet.outcomes("up", "--unreviewed")
    assert [each["state"] for each in found.values()] == ["failed", "done", "done"]
    assert "another run is at work in" in found["bonn"]["message"]
    assert "up bonn" not in fleet.engine.runs
    assert fleet.states("up", "--unreviewed", "--label", "city=bonn") == ["done"]


def test_a_preview_that_is_ended_gives_back_no_lock_since_it_has_none(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "GRACE", 1.0)
    fleet.engine.hangs("preview", "bonn")
    assert fleet.states("preview", "--timeout", "1", "--label", "city=bonn") == ["timed out"]
    assert [call for call in fleet.engine.calls if call["words"][0] == "cancel"] == []


def test_a_folder_that_cannot_be_written_fails_its_cluster_alone(fleet: Fleet) -> None:
    (fleet.folder / ".fleet").mkdir()
    (fleet.folder / ".fleet" / "bonn").write_text("in the way", encoding="utf-8")
    found = fleet.outcomes("up", "--unreviewed")
    assert [each["state"] for each in found.values()] == ["failed", "done", "done"]
    assert "File exists" in found["bonn"]["message"]
    assert "cannot be recorded" in found["bonn"]["notes"][0]


def test_an_engine_that_says_nonsense_fails_its_cluster_alone(fleet: Fleet) -> None:
    fleet.engine.plans("bonn", plan_of("bonn"))
    fleet.engine.orders["preview bonn"]["report"] = "no plan\n"
    fleet.engine.prunes("bonn", plan_of("bonn"))
    assert fleet.states("preview") == ["failed", "done", "done"]


def test_a_failure_that_the_engine_does_not_explain_is_told_as_such(fleet: Fleet) -> None:
    fleet.engine.fails("up", "bonn")
    assert fleet.outcomes("up", "--unreviewed")["bonn"]["message"] == "the CLI has failed, and has not said why"


def test_without_an_engine_nothing_is_begun(fleet: Fleet) -> None:
    (fleet.engine.folder / "pulumi").write_text("#!/bin/sh\necho v2.0.0\n", encoding="utf-8")
    result = fleet.run("up", "--unreviewed")
    assert result.exit_code == 1
    assert "the Pulumi CLI cannot be used" in result.output


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_what_comes_from_the_environment_or_a_file_stands_nowhere_in_the_clear(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "sesame-token")
    monkeypatch.setenv("AGENT", "sesame-agent")
    (fleet.folder / "pattern").write_text("sesame/*\n", encoding="utf-8")
    fleet.write(
        settings=", api_key: {env: TOKEN}, protect: {file: pattern}, proxy_headers: {user_agent: {env: AGENT}}, "
        "workers: 3"
    )
    assert fleet.states("preview") == ["done"] * 3
    given = {call["words"][-1]: call["given"] for call in fleet.engine.calls if call["words"][0] == "config"}
    assert given == {
        "pruner:api_key": "sesame-token",
        "pruner:protect": "sesame/*",
        "pruner:proxy_headers.user_agent": "sesame-agent",
    }
    written = [path for path in (fleet.folder / ".fleet").rglob("*") if path.is_file()]
    assert [path for path in written if b"sesame" in path.read_bytes()] == []
    assert "sesame" not in str([call["words"] for call in fleet.engine.calls])
    assert "pruner:workers: '3'" in (fleet.folder / ".fleet/bonn/Pulumi.bonn.yaml").read_text(encoding="utf-8")


def test_a_clusters_folder_is_its_owners(fleet: Fleet) -> None:
    fleet.states("preview")
    assert stat.S_IMODE((fleet.folder / ".fleet" / "bonn").stat().st_mode) == 0o700


def test_the_program_runs_with_the_python_that_pruner_is_installed_for(fleet: Fleet) -> None:
    (fleet.engine.folder / "pulumi").write_text(
        f'#!/bin/sh\necho "$PATH" >> {fleet.folder}/path\n[ "$2" = version ] || [ "$1" = version ] && echo v3.200.0\n',
        encoding="utf-8"
    )  # fmt: skip
    fleet.run("preview", "--label", "city=bonn")
    last = (fleet.folder / "path").read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith(f"{Path(sys.executable).parent}{os.pathsep}")


# --- what is printed -------------------------------------------------------------------------------------------------


def test_up_prints_a_table_and_says_where_the_whole_output_is(fleet: Fleet) -> None:
    fleet.engine.prunes("kiel", plan_of("kiel", images=9), images=7, skipped=2)
    fleet.engine.fails("up", "ulm", said("error: it is gone"))
    result = fleet.run("up", "--unreviewed")
    lines = [line.split("│") for line in result.stdout.splitlines() if line.startswith("│")]
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in lines}
    assert rows["kiel"][:3] == ["rest", "done", "0"]
    assert (rows["kiel"][3], rows["kiel"][-1]) == ("7", "2 skipped: in use now, or gone")
    assert (rows["ulm"][1], rows["ulm"][-1]) == ("failed", "it is gone")
    assert rows["3 clusters"][1:4] == ["2 done, 1 failed", "0", "8"]
    assert f"ulm: the CLI's whole output is in {fleet.folder / '.fleet' / 'ulm' / 'up.log'}" in result.stderr
    assert "kiel: done, 0 revisions, 7 images, 0 blobs, 0 bytes, 2 skipped: in use now, or gone" in result.stderr


def test_status_and_report_show_the_last_runs(fleet: Fleet) -> None:
    fleet.preview()
    fleet.up("--label", "city=kiel")
    assert "fleet preview" in (shown := fleet.run("status").stdout)
    assert "fleet up" in shown
    page = fleet.folder / "page.md"
    assert fleet.run("report", "--output", str(page)).exit_code == 0
    assert "no image stream names it, and nothing refers to it (R22)" in page.read_text(encoding="utf-8")
    assert json.loads(fleet.run("report", "--verb", "preview", "--json").stdout)["totals"]["images"] == 3
    assert fleet.run("report", "--output", str(fleet.folder / "engine" / "pulumi" / "x")).exit_code == 1
