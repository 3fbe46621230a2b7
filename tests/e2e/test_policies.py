"""The policy pack with the real Pulumi CLI: what passes, what
is only said, and what ends the run before anything is changed.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pruner import __version__
from tests.component.test_report_commands import planned
from tests.pulumi_project import Project
from tests.servers import ROOT, RunningSandbox

READS = {"GET", "HEAD"}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def judged(project: Project, config: dict[str, Any] | None = None) -> list[str]:
    """The arguments that have the pack judge a run, with this configuration."""
    file = project.folder / "policies.json"
    file.write_text(json.dumps(config or {}), encoding="utf-8")
    return ["--policy-pack", str(ROOT / "policies" / "run"), "--policy-pack-config", str(file)]


def writes(sandbox: RunningSandbox) -> list[dict[str, Any]]:
    return [entry for entry in sandbox.requests() if entry["method"] not in READS and entry["path"] != REVIEWS]


def test_a_plan_within_its_limits_passes(demo: Project) -> None:
    config = {
        "max-images": {"limit": 100},
        "max-bytes": {"limit": "1GiB"},
        "only-copies": "disabled",
        "certificates": "disabled",
    }
    output = demo.succeed("preview", *judged(demo, config))
    assert f"pruner@v{__version__}" in output
    assert "advisory" not in output
    assert "mandatory" not in output


def test_what_is_advisory_is_said_and_the_run_goes_on(demo: Project, sandbox: RunningSandbox) -> None:
    output = demo.succeed("preview", *judged(demo))
    assert "[advisory]" in output
    assert f"the API server is asked without TLS: {sandbox.api_url}" in output


def test_an_oversized_plan_is_refused_and_the_images_are_named(demo: Project, sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()
    output = demo.fail("up", "--yes", *judged(demo, {"max-images": {"limit": 5}}))
    assert "[mandatory]" in output
    assert "would delete 17 images, and 5 are allowed: data/etl:nightly sha256:" in output
    assert "and 7 more" in output
    assert writes(sandbox) == []


def test_it_is_refused_without_a_preview_too(demo: Project, sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()
    output = demo.fail("up", "--yes", "--skip-preview", *judged(demo, {"protected-namespaces": {"patterns": ["shop"]}}))
    assert "shop is protected, and these would go: shop/" in output
    assert writes(sandbox) == []


def test_the_level_of_a_rule_is_configured(demo: Project) -> None:
    config = {"max-images": {"limit": 5, "enforcementLevel": "advisory"}, "certificates": "disabled"}
    output = demo.succeed("preview", *judged(demo, config))
    assert "[advisory]" in output
    assert "would delete 17 images" in output
    assert "without TLS" not in output


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"max-images": {"limit": "many"}}, "limit"),
        (
            {"max-image": {"limit": 5, "enforcementLevel": "mandatory"}, "max-bytes": {"limits": "1GB"}},
            "there is no rule max-image (is max-images meant?); max-bytes has no option limits (is limit meant?)",
        ),
    ],
    ids=["no value of the option", "no rule and no option"],
)
def test_a_configuration_that_would_have_no_effect_is_refused(
    demo: Project, sandbox: RunningSandbox, config: dict[str, Any], said: str
) -> None:
    sandbox.forget_requests()
    assert said in demo.fail("up", "--yes", *judged(demo, config))
    assert writes(sandbox) == []


def test_a_large_change_is_previewed_freely_and_carried_out_when_approved(
    demo: Project, sandbox: RunningSandbox
) -> None:
    pack = judged(demo, {"approval": {"images": 5}})
    demo.succeed("preview", *pack)
    sandbox.forget_requests()
    assert "need an approved plan (approved_plan and approved_digest): data/etl:nightly" in demo.fail(
        "up", "--yes", "--skip-preview", *pack
    )
    assert writes(sandbox) == []
    plan = demo.folder / "approved.jsonl"
    planned(sandbox, "--out", plan)
    demo.configure(approved_plan=str(plan), approved_digest=hashlib.sha256(plan.read_bytes()).hexdigest())
    demo.succeed("up", "--yes", "--skip-preview", *pack)
    assert demo.outputs()["summary"]["images"] == 17


@pytest.mark.parametrize("is_open", [True, False])
def test_a_maintenance_window_holds_at_up_only(demo: Project, sandbox: RunningSandbox, *, is_open: bool) -> None:
    """The window is of yesterday to tomorrow, or of the days that are farthest from today."""
    today = datetime.now(UTC)
    days = [f"{today + timedelta(days=shift):%a}".lower() for shift in ((-1, 0, 1) if is_open else (-3, 3))]
    pack = judged(demo, {"maintenance-window": {"windows": [f"{','.join(days)} 00:00-24:00"]}})
    demo.succeed("preview", *pack)
    sandbox.forget_requests()
    if is_open:
        demo.succeed("up", "--yes", "--skip-preview", *pack)
        assert writes(sandbox) != []
    else:
        # With its own preview, which the same process of the pack may judge, and which passes.
        output = demo.fail("up", "--yes", *pack)
        assert output.count("outside of the maintenance windows") == 1
        assert writes(sandbox) == []


PARTS = """
from pruner import PrunedImages

first = PrunedImages("data", namespace="data")
PrunedImages("shop", namespace="shop", keep_tag_revisions=first.summary.apply(lambda _summary: 3))
"""


def test_a_prune_cut_into_pieces_has_one_limit(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """The second resource waits for the first one, so that a preview has no plan of it, and says so."""
    project = Project.make(tmp_path / "parts", PARTS)
    project.configure(host=sandbox.api_url, api_key=sandbox.tokens["admin"])
    pack = judged(project, {"max-images": {"limit": 6}, "certificates": "disabled"})
    output = project.succeed("preview", *pack)
    assert "the plan is not known before keep_tag_revisions is known: no rule has judged it" in output
    before = set(sandbox.images())
    output = project.fail("up", "--yes", "--skip-preview", *pack)
    assert "(with 1 other resource of this run), and 6 are allowed: shop/" in output
    assert len(before - set(sandbox.images())) == 5


def test_nothing_to_do_passes_every_limit(demo: Project) -> None:
    demo.succeed("up", "--yes", "--skip-preview")
    demo.succeed(
        "preview", "--expect-no-changes", *judged(demo, {"max-images": {"limit": 0}, "approval": {"images": 0}})
    )
