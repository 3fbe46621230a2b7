"""The demo: a populated sandbox, previews without and with retention rules, `pulumi up`, and an empty preview.

    make demo

It starts what it needs on free loopback ports, keeps everything in .demo/, and stops what it has started. It ends with
exit code 0 only if the last preview shows no changes and the registry has shrunk by what the plan promised, to the
byte. Then it retires images, restores one of them, and deletes the rest when their grace is over.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".demo"
PROJECT = FOLDER / "project"
REPORT = FOLDER / "report.jsonl"
RULES = """\
- name: commits
  streams: ["delivery/*"]
  tags: ["sha-*"]
  keep_newest: 10
  keep_younger_than: 30d
- name: releases
  streams: ["delivery/*"]
  tags: ["v*"]
  order: semver
  keep_newest: 5
- name: environments
  tags: ["prod", "staging", "latest", "stable"]
  keep: all
"""
"""Retention rules for the image stream with a tag for every commit."""
EMPTY_STREAMS = '{"older_than": "90d"}'
GRACE = 1
"""Minutes; the demo puts the clock of its cluster forward."""


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    PROJECT.mkdir(parents=True)
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(ROOT / name, PROJECT)
    command = [
        sys.executable,
        "-m",
        "sandbox",
        "--data",
        str(FOLDER / "sandbox"),
        "--populate",
        "pipelines",
        "--with-parent",
    ]
    say("starting a small OpenShift on loopback, and pushing images to it")
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sandbox:
        try:
            line = sandbox.stdout.readline() if sandbox.stdout else ""
            if not line:
                say("the sandbox has not started")
                return 1
            return show(json.loads(line))
        finally:
            sandbox.terminate()


def show(ready: dict[str, str]) -> int:
    pulumi("stack", "init", "demo")
    pulumi("config", "set", "kubeconfig", ready["kubeconfig"])
    pulumi("config", "set", "report", str(REPORT))
    say("pulumi preview: what would go, and why; all tags stay")
    pulumi("preview", "--diff")
    page("without-rules")
    say("with retention rules: which tags expire")
    (FOLDER / "rules.yaml").write_text(RULES, encoding="utf-8")
    pulumi("config", "set", "retention", str(FOLDER / "rules.yaml"))
    pulumi("config", "set", "empty_streams", EMPTY_STREAMS)
    pulumi("preview")
    page("with-rules")
    pruner("compare", str(FOLDER / "with-rules.jsonl"), str(FOLDER / "without-rules.jsonl"))
    before = disk(ready["api"])
    say("pulumi up: that goes")
    pulumi("up", "--yes", "--skip-preview")
    after, promised = disk(ready["api"]), promised_bytes()
    page("pruned")
    say("pulumi preview again: nothing is left to do")
    pulumi("preview", "--expect-no-changes")
    page("after")
    say(f"registry: {before} bytes before, {after} after; {before - after} freed, {promised} promised by the plan")
    say("pages with the treemap of each plan: .demo/without-rules.html, with-rules.html, pruned.html and after.html")
    if before - after != promised:
        say("that is not the same: a defect")
        return 1
    return undo(ready)


def undo(ready: dict[str, str]) -> int:
    """Retire images, restore one of them, and delete the rest when
    their grace is over; whether that went as it should.
    """
    pulumi("config", "set", "keep_tag_revisions", "1")
    pulumi("config", "set", "grace", str(GRACE))
    before = disk(ready["api"])
    say(f"pulumi up with a grace of {GRACE} minutes: images are retired, and nothing is deleted")
    pulumi("up", "--yes")
    retired = planned("retired image")
    named = {revision["image"] for change in planned("image stream") for revision in change["revisions"]}
    one = next(image["name"] for image in retired if image["name"] in named and not image["members"])
    restore = [sys.executable, "-m", "pruner", "restore", "--kubeconfig", ready["kubeconfig"]]
    say("pruner restore: one of them comes back")
    subprocess.run([*restore, one], cwd=ROOT, check=True)
    kept = disk(ready["api"])
    say("the grace period is over, and pulumi up deletes the rest")
    advance(ready["api"], 60 * GRACE + 60)
    pulumi("config", "set", "--path", "protect[0]", one)
    pulumi("up", "--yes")
    deleted, promised, after = planned("image"), promised_bytes(), disk(ready["api"])
    say(
        f"{len(retired)} images retired, 1 restored, {len(deleted)} deleted; {kept - after} bytes freed, {promised} "
        "promised"
    )
    rest = {image["name"] for image in retired} - {one}
    if before != kept or rest != {image["name"] for image in deleted} or kept - after != promised:
        say("that is not what it should be: a defect")
        return 1
    return 0


def planned(line: str) -> list[dict[str, Any]]:
    """The lines of this kind in the report."""
    with REPORT.open(encoding="utf-8") as lines:
        return [found for found in map(json.loads, lines) if found["line"] == line]


def advance(api: str, seconds: int) -> None:
    """Put the sandbox's clock forward."""
    body = json.dumps({"advance": seconds}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{api}/sandbox/clock", body, method="PUT")).close()  # noqa: S310 - loopback


def promised_bytes() -> int:
    """What the plan in the report says it would free."""
    with REPORT.open(encoding="utf-8") as lines:
        promised: int = json.loads(next(lines))["summary"]["bytes"]
    return promised


def page(name: str) -> None:
    """Keep the report that Pulumi has written last, and make a page of it."""
    shutil.copy(REPORT, FOLDER / f"{name}.jsonl")
    pruner("report", str(FOLDER / f"{name}.jsonl"), "--format", "html", "--output", str(FOLDER / f"{name}.html"))


def pruner(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pruner", *arguments], cwd=ROOT, check=True)


def pulumi(*arguments: str) -> None:
    """Run Pulumi on a copy of the project, with a state of the demo's own. Raises CalledProcessError."""
    environment = {
        **os.environ,
        "PULUMI_BACKEND_URL": f"file://{FOLDER}",
        "PULUMI_CONFIG_PASSPHRASE": "demo",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_HOME": str(FOLDER / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(["pulumi", *arguments, "--non-interactive"], cwd=PROJECT, env=environment, check=True)


def disk(api: str) -> int:
    """Bytes of all blobs on the registry's disk."""
    with urllib.request.urlopen(f"{api}/sandbox/disk") as answer:  # noqa: S310 - loopback
        used: int = json.load(answer)["blob_bytes"]
    return used


def say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
