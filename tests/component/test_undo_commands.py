"""`pruner restore` as a command, and what `pruner doctor` says about undo (R36, R37)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pruner.cli import main
from tests.component.conftest import SavedCluster
from tests.pruning import plan, prune, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox
from tests.small_clusters import settings_of

IMAGE_PRUNERS = "/apis/imageregistry.operator.openshift.io/v1/imagepruners"


def run(sandbox: RunningSandbox, *words: str, user: str = "admin") -> Result:
    environment = {"K8S_AUTH_HOST": sandbox.api_url, "K8S_AUTH_API_KEY": sandbox.tokens[user], "COLUMNS": "200"}
    return CliRunner().invoke(main, words, env=environment)


def test_R37_the_command_shows_first_and_restores_then(saved_cluster: SavedCluster, tmp_path: Path) -> None:
    with running_sandbox(copied(saved_cluster("undo").folder, tmp_path / "cluster")) as sandbox:
        settings = settings_for(sandbox, **settings_of("undo"))
        fingerprint = plan(settings).fingerprint
        before = sandbox.history("shop/app:pr-1")
        prune(settings)
        assert "pr-1" not in {tag["tag"] for tag in sandbox.stream("shop/app")["status"]["tags"]}
        shown = run(sandbox, "restore", "--run", fingerprint, "--dry-run")
        assert shown.exit_code == 0, shown.output
        assert "can come back" in shown.stdout
        assert "nothing was changed; run it again without --dry-run" in shown.stdout
        assert "pr-1" not in {tag["tag"] for tag in sandbox.stream("shop/app")["status"]["tags"]}
        done = run(sandbox, "restore", "--run", fingerprint)
        assert done.exit_code == 0, done.output
        assert "7 revisions restored" in done.stdout
        assert sandbox.history("shop/app:pr-1") == before
        again = run(sandbox, "restore", "--run", fingerprint, "--json")
        assert again.exit_code == 0, again.output
        assert {row["outcome"] for row in json.loads(again.stdout)["rows"]} == {"present"}
        missing = run(sandbox, "restore", "shop/app:pr-1x")
        assert missing.exit_code == 1
        assert "nothing of shop/app:pr-1x can be restored" in missing.stderr


@pytest.mark.parametrize(
    "words",
    [[], ["shop/app:v1", "--run", "x"], ["--run", "x", "--all-since", "2026-01-01T00:00:00Z"], ["--all-since", "soon"]],
)
def test_R37_wrong_options_are_refused_without_a_cluster(words: list[str]) -> None:
    assert CliRunner().invoke(main, ["restore", *words]).exit_code == 2


def test_R36_the_doctor_warns_while_the_image_pruner_is_not_suspended(tmp_path: Path) -> None:
    kind = "!imageregistry.operator.openshift.io/v1/imagepruners/ImagePruner"
    with running_sandbox(tmp_path / "cluster", "--resource", kind, populate="demo") as sandbox:
        found = {"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "ImagePruner"}
        assert "ImagePruner" not in run(sandbox, "doctor", "--grace", "7d").stdout
        for suspend, warned in ((False, True), (True, False)):
            body = {**found, "metadata": {"name": "cluster"}, "spec": {"suspend": suspend}}
            assert sandbox.call("POST", IMAGE_PRUNERS, body).status == 201
            said = run(sandbox, "doctor", "--grace", "7d").stdout
            assert ("the ImagePruner is not suspended and deletes retired images at once" in said) is warned
            assert "the ImagePruner" not in run(sandbox, "doctor").stdout
            sandbox.call("DELETE", f"{IMAGE_PRUNERS}/cluster")
        told = run(sandbox, "doctor", "--grace", "7d", user="pruner")
        assert told.exit_code == 3
        assert "no permission to patch images.image.openshift.io" in told.stdout
