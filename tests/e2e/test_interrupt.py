"""Ctrl-C during up: what is under way is finished, nothing is lost, and the next up goes on."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.pruning import broken_images, plan, settings_for
from tests.pulumi_project import Project
from tests.servers import RunningSandbox


def test_ctrl_c_stops_the_run_and_the_next_up_finishes_it(demo: Project, sandbox: RunningSandbox) -> None:
    demo.configure(workers="1")
    sandbox.add_fault({"delay": 0.2}, method="DELETE", path="/admin/blobs", server="registry")
    up = subprocess.Popen(
        ["pulumi", "--non-interactive", "up", "--yes", "--skip-preview"],
        cwd=demo.folder,
        env=demo.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while up.poll() is None and not sandbox.faults()[0]["fired"]:
        continue
    os.killpg(up.pid, signal.SIGINT)
    output, _ = up.communicate(timeout=120)
    assert up.returncode != 0, output
    assert broken_images(sandbox) == []
    sandbox.clear_faults()
    assert not plan(settings_for(sandbox)).empty
    # The lease of a run that was ended before it could release it expires.
    sandbox.advance_clock(120)
    demo.run("cancel", "--yes")
    demo.succeed("up", "--yes", "--skip-preview")
    assert plan(settings_for(sandbox)).empty
    assert broken_images(sandbox) == []
