"""The demo's image stream with commit tags, signed releases and promoted tags, from its first plan to an empty one."""

from __future__ import annotations

from pathlib import Path

import yaml

from sandbox.pipelines import COMMITS, STREAM
from tests.pruning import broken_images, plan, prune, settings_for
from tests.servers import RunningSandbox, running_sandbox
from tools.demo import EMPTY_STREAMS, RULES


def tags(sandbox: RunningSandbox) -> set[str]:
    return {tag["tag"] for tag in sandbox.stream(STREAM)["status"]["tags"]}


def signatures(sandbox: RunningSandbox) -> set[str]:
    return {tag for tag in tags(sandbox) if tag.startswith("sha256-")}


def test_commits_expire_releases_keep_their_signatures_and_promoted_tags_what_they_come_from(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "cluster", populate="pipelines") as sandbox:
        without = plan(settings_for(sandbox))
        settings = settings_for(sandbox, retention=yaml.safe_load(RULES), empty_streams=EMPTY_STREAMS)
        wanted = plan(settings)
        assert (without.expired_tags, without.empty_streams) == ((), ())
        gone = {tag for stream, tag in wanted.expired_tags if stream == STREAM}
        commits = {tag for tag in tags(sandbox) if tag.startswith("sha-")}
        assert len(commits) == COMMITS
        assert [each.stream for each in wanted.empty_streams] == ["delivery/abandoned", "mirror/lost"]

        result = prune(settings)

        assert result.failures == []
        left = tags(sandbox)
        promoted = {tag["from"]["name"].partition(":")[2] for tag in sandbox.stream(STREAM)["spec"]["tags"]}
        assert len(promoted) == 2
        assert promoted | {"prod", "staging"} <= left
        # The newest 30 days have 17 commits; what is promoted is older or among them.
        assert len(left & commits) == len(commits) - len(gone & commits)
        assert 15 <= len(left & commits) <= 20
        assert left & {f"v1.{minor}.0" for minor in range(12)} == {f"v1.{minor}.0" for minor in range(7, 12)}
        assert len(signatures(sandbox)) == 10
        subjects = {sandbox.history(f"{STREAM}:v1.{minor}.0")[0][7:] for minor in range(7, 12)}
        assert {tag[7:71] for tag in signatures(sandbox)} == subjects
        assert broken_images(sandbox) == []
        assert plan(settings).empty
