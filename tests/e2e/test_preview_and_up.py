"""The main job with the real Pulumi CLI: preview shows it, up does it, a second preview is empty."""

from __future__ import annotations

import json
import shutil
from typing import Any

from tests.pulumi_project import Project
from tests.servers import RunningSandbox

READS = {"GET", "HEAD"}
REVIEWS = ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",)


def shown_plan(project: Project, *arguments: str) -> dict[str, Any]:
    """The plan in the inputs that a preview shows."""
    output = project.succeed("preview", "--json", *arguments)
    # The CLI warns of a language host that is not its own before it.
    preview = json.loads(output[output.index("{") :])
    steps = [step for step in preview["steps"] if step["urn"].endswith("::pruned")]
    plan: dict[str, Any] = steps[0]["newState"]["inputs"]["plan"]
    return plan


def changing(requests: list[Any]) -> list[Any]:
    """Those that could change something."""
    return [entry for entry in requests if entry["method"] not in READS and not entry["path"].startswith(REVIEWS)]


def test_first_preview_shows_what_would_go_with_reasons_and_sizes(demo: Project) -> None:
    output = demo.succeed("preview", "--diff")
    assert "shop/web:latest@sha256:" in output
    assert "data/collector:edge@sha256:" in output
    assert "is beyond the newest 3 of its tag, and nothing refers to it (R16)" in output
    assert "no image stream names it, and nothing refers to it (R22)" in output
    assert "its Image object is absent (R19)" in output
    assert "+ 2 to create" in output


def test_preview_sends_reads_and_access_reviews_only(demo: Project, sandbox: RunningSandbox) -> None:
    sandbox.forget_requests()
    demo.succeed("preview")
    requests = sandbox.requests()
    assert len(requests) > 20
    assert changing(requests) == []


def test_up_deletes_what_preview_has_shown_and_frees_the_bytes_it_promised(
    either: Project, sandbox: RunningSandbox
) -> None:
    plan = shown_plan(either)
    images, before = set(sandbox.images()), sandbox.disk()["blob_bytes"]
    either.succeed("up", "--yes", "--skip-preview")
    assert images - set(sandbox.images()) == set(plan["images"])
    assert before - sandbox.disk()["blob_bytes"] == plan["counts"]["bytes"]
    assert plan["counts"]["bytes"] > 0


def test_results_are_whole_objects_and_a_summary(demo: Project) -> None:
    plan = shown_plan(demo)
    demo.succeed("up", "--yes", "--skip-preview")
    outputs = demo.outputs()
    assert {image["metadata"]["name"] for image in outputs["deleted_images"]} == set(plan["images"])
    assert {(image["kind"], "dockerImageMetadata" in image) for image in outputs["deleted_images"]} == {("Image", True)}
    streams = outputs["updated_image_streams"]
    assert {(stream["kind"], bool(stream["spec"])) for stream in streams} == {("ImageStream", True)}
    assert outputs["summary"]["images"] == len(plan["images"])
    assert outputs["summary"]["bytes"] == plan["counts"]["bytes"]
    assert outputs["failures"] == []


def test_up_carries_out_the_plan_of_its_own_preview_and_a_second_preview_has_no_changes(
    demo: Project, sandbox: RunningSandbox
) -> None:
    sandbox.forget_requests()
    demo.succeed("up", "--yes")
    asked = [each["path"].partition("?") for each in sandbox.requests(method="GET")]
    lists = [query for path, _, query in asked if path == "/apis/image.openshift.io/v1/images"]
    # One for the preview and two looks of the run: the update's check has the plan of the preview.
    assert len([query for query in lists if "continue=" not in query and "watch=" not in query]) == 3
    output = demo.succeed("preview", "--expect-no-changes")
    assert "2 unchanged" in output


def test_what_is_new_later_on_is_shown_as_plain_additions(demo: Project, sandbox: RunningSandbox) -> None:
    demo.succeed("up", "--yes", "--skip-preview")
    sandbox.call("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api")
    sandbox.call("DELETE", "/apis/apps/v1/namespaces/shop/replicasets/web-5d9c")
    output = demo.succeed("preview", "--diff")
    lines = [line for line in output.splitlines() if "sha256:" in line]
    assert {line.lstrip()[:1] for line in lines} == {"+"}, output


def test_preview_and_up_say_in_a_line_how_much_goes(demo: Project) -> None:
    much = "13 revisions of 7 image streams, 17 images, 47 blobs: 732.6 kB"
    preview = demo.succeed("preview")
    assert f"to delete: {much}" in preview
    rows = [line.split() for line in preview.splitlines() if line.strip().startswith("| ")]
    assert rows[0][1:] == ["image", "stream", "revisions", "images", "frees"]
    assert sum(int(row[2]) for row in rows[1:-1]) == 13
    assert sum(int(row[-3]) for row in rows[1:-1] if row[1] != "(no") <= 17
    assert "python -m pruner report" in " ".join(rows[-1])
    assert "13 revisions, 17 images and 47 blobs deleted: 732.6 kB freed" in demo.succeed(
        "up", "--yes", "--skip-preview"
    )


def test_a_saved_plan_is_carried_out_where_nothing_of_the_preview_is_left(
    either: Project, sandbox: RunningSandbox
) -> None:
    plan = shown_plan(either, "--save-plan", "plan.json")
    images = set(sandbox.images())
    # Another job of a pipeline, on another machine: it has the saved plan, and no plan that was kept.
    shutil.rmtree(either.folder / ".cache")
    either.succeed("up", "--yes", "--skip-preview", "--plan", "plan.json")
    assert images - set(sandbox.images()) == set(plan["images"])


def test_a_saved_plan_is_refused_when_the_cluster_has_changed(demo: Project, sandbox: RunningSandbox) -> None:
    demo.succeed("preview", "--save-plan", "plan.json")
    sandbox.call("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api")
    before = set(sandbox.images())
    output = demo.fail("up", "--yes", "--skip-preview", "--plan", "plan.json")
    assert "violates plan" in output
    assert set(sandbox.images()) == before


def test_two_resources_of_one_program_prune_parts_of_one_cluster_in_turn(
    project: Project, sandbox: RunningSandbox
) -> None:
    program = (
        "from pruner import PrunedImages\n"
        f"cluster = dict(host={sandbox.api_url!r}, api_key={sandbox.tokens['admin']!r})\n"
        "PrunedImages('shop', namespace='shop', **cluster)\n"
        "PrunedImages('data', namespace='data', **cluster)\n"
    )
    (project.folder / "__main__.py").write_text(program, encoding="utf-8")
    # Long enough for the engine to begin with the other one.
    sandbox.add_fault({"delay": 1}, method="PUT", path="/status")
    output = project.succeed("up", "--yes", "--skip-preview")
    assert "+ 3 created" in output
    assert "3 unchanged" in project.succeed("preview", "--expect-no-changes")


def test_with_as_of_a_saved_plan_is_not_refused_for_what_has_come_of_age_since(
    demo: Project, sandbox: RunningSandbox
) -> None:
    # An image is five minutes old at preview, and old enough by up. A clock that is further ahead is not believed.
    demo.configure(as_of=sandbox.clock(), keep_younger_than="7")
    plan = shown_plan(demo, "--save-plan", "plan.json")
    sandbox.advance_clock(4 * 60)
    demo.succeed("up", "--yes", "--skip-preview", "--plan", "plan.json")
    assert demo.outputs()["summary"]["images"] == len(plan["images"])


def test_destroy_forgets_and_deletes_nothing(either: Project, sandbox: RunningSandbox) -> None:
    either.succeed("up", "--yes", "--skip-preview")
    sandbox.forget_requests()
    either.succeed("destroy", "--yes", "--skip-preview")
    assert changing(sandbox.requests()) == []


def test_what_the_program_does_not_know_yet_is_said_and_not_guessed(project: Project, sandbox: RunningSandbox) -> None:
    program = (
        "import pulumi\n"
        "from pulumi.dynamic import CreateResult, Resource, ResourceProvider\n"
        "from pruner import PrunedImages\n"
        "class Cluster(ResourceProvider):\n"
        "    def create(self, props):\n"
        f"        return CreateResult('c', {{'host': {sandbox.api_url!r}}})\n"
        "class Made(Resource):\n"
        "    host: pulumi.Output[str]\n"
        "    def __init__(self):\n"
        "        super().__init__(Cluster(), 'cluster', {'host': None})\n"
        f"PrunedImages('pruned', host=Made().host, api_key={sandbox.tokens['admin']!r})\n"
    )
    (project.folder / "__main__.py").write_text(program, encoding="utf-8")
    sandbox.forget_requests()
    assert shown_plan(project)["summary"] == "not known before host is known"
    assert sandbox.requests() == []
    project.succeed("up", "--yes", "--skip-preview")
    assert project.outputs()["summary"]["images"] > 0


def test_the_report_holds_plan_and_result(demo: Project) -> None:
    report = demo.folder / "report.jsonl"
    demo.configure(report=str(report))
    demo.succeed("up", "--yes", "--skip-preview")
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    assert lines[0]["line"] == "plan"
    result = next(line for line in lines if line["line"] == "result")
    assert result["summary"]["images"] == lines[0]["summary"]["images"] > 0
