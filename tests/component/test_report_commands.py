"""`pruner plan` and `pruner report` as processes, on the demo cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruner.planning import read_plan
from tests.servers import ROOT, RunningSandbox

READS = {"GET", "HEAD"}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def pruner(*arguments: str | Path, token: str = "") -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "pruner", *map(str, arguments)],
        cwd=ROOT,
        env={**kept, "HOME": "/nonexistent", "K8S_AUTH_API_KEY": token, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def planned(sandbox: RunningSandbox, *arguments: str | Path) -> str:
    done = pruner("plan", "--host", sandbox.api_url, *arguments, token=sandbox.tokens["admin"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_plan_shows_the_plan_and_changes_nothing(sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()
    shown = planned(sandbox)
    assert "13 revisions of 7 image streams" in shown
    assert "shop/web:latest" in shown
    assert "What keeps the rest" in shown
    writes = [entry for entry in sandbox.requests() if entry["method"] not in READS and entry["path"] != REVIEWS]
    assert writes == []


def test_plan_writes_a_file_to_approve(sandbox: RunningSandbox, tmp_path: Path) -> None:
    file, now = tmp_path / "plan.jsonl", sandbox.clock()
    printed = planned(sandbox, "--out", file, "--json", "--as-of", now)
    assert file.read_text(encoding="utf-8") == printed
    approved = read_plan(str(file))
    assert approved.deletions > 0
    again = json.loads(planned(sandbox, "--approved-plan", file, "--json", "--as-of", now).partition("\n")[0])
    assert again["fingerprint"] == approved.fingerprint


@pytest.mark.parametrize(
    ("form", "begins", "says"),
    [
        ("text", "| 13 revisions", "What is pruned, and why"),
        (
            "markdown",
            "### pruner: 13 revisions",
            "<details><summary>What is pruned, and why (17 images, 1 digest of which only revisions)</summary>",
        ),
        ("jsonl", '{"line":"plan"', '{"line":"kept revision"'),
        ("html", "<!DOCTYPE html>", "<code>pruner storage</code>"),
        ("openmetrics", "# TYPE pruner_plan_timestamp_seconds gauge", "# EOF"),
    ],
)
def test_report_writes_every_form_to_standard_output_and_to_a_file(
    sandbox: RunningSandbox, tmp_path: Path, form: str, begins: str, says: str
) -> None:
    file, output = tmp_path / "plan.jsonl", tmp_path / "made" / "report"
    planned(sandbox, "--out", file)
    printed = pruner("report", file, "--format", form)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.startswith(begins)
    assert says in printed.stdout
    assert pruner("report", file, "--format", form, "--output", output).stdout == ""
    assert output.read_text(encoding="utf-8") == printed.stdout


def test_markdown_keeps_to_its_limit(sandbox: RunningSandbox, tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    planned(sandbox, "--out", file)
    shown = pruner("report", file, "--format", "markdown", "--limit", "2000").stdout
    assert 0 < len(shown) <= 2000
    assert "do not fit in here" in shown


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file"), ("{}", "is not a plan of pruner"), ("", "is empty")],
)
def test_what_is_no_plan_is_refused_in_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    for verb in (("report", file), ("compare", file, file), ("explain", "shop/web", "--plan", file)):
        done = pruner(*verb)
        assert (done.returncode, done.stdout) == (1, ""), verb
        assert done.stderr.startswith(f"error: {file}: {message}"), verb
        assert done.stderr.count("\n") == 1, verb


def test_a_file_that_cannot_be_written_is_named(sandbox: RunningSandbox, tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    planned(sandbox, "--out", file)
    done = pruner("report", file, "--format", "html", "--output", file / "page.html")
    assert done.returncode == 1
    assert "page.html: cannot be written" in done.stderr


def test_a_cluster_that_cannot_be_reached_is_an_error_without_a_traceback() -> None:
    done = pruner("plan", "--host", "http://127.0.0.1:9", token="any")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_rules_are_tried_on_an_image_stream_of_the_cluster_which_alone_is_read(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {name: nightlies, tags: [nightly], keep_younger_than: 0}\n", encoding="utf-8")
    sandbox.forget_requests()
    done = pruner(
        *("retention", "try", "--file", rules, "--stream", "data/etl", "--host", sandbox.api_url, "--json"),
        token=sandbox.tokens["admin"],
    )
    assert done.returncode == 0, done.stderr
    assert {each["tag"]: each["decision"] for each in json.loads(done.stdout)["tags"]} == {"nightly": "expired"}
    read = {
        entry["path"].partition("?")[0] for entry in sandbox.requests() if "/image.openshift.io/v1/" in entry["path"]
    }
    assert read == {"/apis/image.openshift.io/v1/namespaces/data/imagestreams/etl"}


def test_an_image_stream_that_the_cluster_does_not_have_is_named(sandbox: RunningSandbox, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {keep: all}\n", encoding="utf-8")
    done = pruner(
        *("retention", "try", "--file", rules, "--stream", "data/none", "--host", sandbox.api_url),
        token=sandbox.tokens["admin"],
    )
    assert done.returncode == 1
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr
