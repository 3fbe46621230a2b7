"""The demo: a populated sandbox, `pulumi preview`, `pulumi up`, and a preview that has nothing to show.

    make demo

It starts what it needs on free loopback ports, keeps everything in .demo/, and stops what it has started. It ends with
exit code 0 only if the second preview shows no changes and the registry has shrunk by what the plan promised, to the
byte.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".demo"
PROJECT = FOLDER / "project"
REPORT = FOLDER / "report.jsonl"


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
        "demo",
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
    say("pulumi preview: what would go, and why")
    pulumi("preview", "--diff")
    before = disk(ready["api"])
    say("pulumi up: that goes")
    pulumi("up", "--yes", "--skip-preview")
    after, promised = disk(ready["api"]), promised_bytes()
    shutil.copy(REPORT, FOLDER / "pruned.jsonl")
    render = ["report", str(FOLDER / "pruned.jsonl"), "--format", "html", "--output", str(FOLDER / "report.html")]
    subprocess.run([sys.executable, "-m", "pruner", *render], cwd=ROOT, check=True)
    say("pulumi preview again: nothing is left to do")
    pulumi("preview", "--expect-no-changes")
    say(f"registry: {before} bytes before, {after} after; {before - after} freed, {promised} promised by the plan")
    say("the report of what was planned and done, and what keeps the rest: .demo/report.html, and .demo/pruned.jsonl")
    if before - after != promised:
        say("that is not the same: a defect")
        return 1
    return 0


def promised_bytes() -> int:
    """What the plan in the report says it would free."""
    with REPORT.open(encoding="utf-8") as lines:
        promised: int = json.loads(next(lines))["summary"]["bytes"]
    return promised


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
