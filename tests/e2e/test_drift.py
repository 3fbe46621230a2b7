"""Drift: what there is to prune now, as a refresh shows it, with the real CLI."""

from __future__ import annotations

from tests.pulumi_project import Project
from tests.servers import RunningSandbox

REFRESH = ("refresh", "--preview-only")


def test_a_refresh_shows_what_there_is_to_prune_and_a_preview_stays_plain(
    either: Project, sandbox: RunningSandbox
) -> None:
    either.succeed("up", "--yes", "--skip-preview")
    assert "2 unchanged" in either.succeed(*REFRESH, "--expect-no-changes")

    sandbox.call("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api")
    images = sandbox.images()
    drift = either.fail(*REFRESH, "--diff", "--expect-no-changes")
    assert "1 to update" in drift
    changed = [line.split()[:2] for line in drift.splitlines() if line.lstrip()[:1] in ("+", "-", "~")]
    shown = [name for mark, name in changed if mark in "+-" or name == "backlog"]
    assert shown == ["backlog", "image_streams:", "shop/api:", "summary"], drift

    preview = either.succeed("preview", "--refresh", "--diff")
    lines = [line.lstrip() for line in preview.splitlines() if "sha256:" in line]
    assert {line[:1] for line in lines} == {"+"}, preview
    assert "~ backlog" in preview
    assert sandbox.images() == images
