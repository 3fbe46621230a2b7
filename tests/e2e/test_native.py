"""The native provider (`pulumi-resource-pruner`) with the real CLI,
from a program that has no SDK: names and values as YAML has them.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from pruner import __version__
from tests.native_projects import EXAMPLE, give
from tests.pruning import broken_images, plan, settings_for
from tests.pulumi_project import Project
from tests.servers import ROOT, RunningSandbox

TYPE = "pruner:index:PrunedImages"


def resource(project: Project) -> dict[str, Any]:
    """The resource in the state."""
    resources = project.state()["deployment"]["resources"]
    found: dict[str, Any] = next(entry for entry in resources if entry["type"].endswith(":PrunedImages"))
    return found


def test_the_archive_holds_an_executable_of_the_name_that_pulumi_looks_for(plugin: Path) -> None:
    with tarfile.open(plugin) as archive:
        modes = {member.name: member.mode for member in archive}
    assert plugin.name.startswith(f"pulumi-resource-pruner-v{__version__}-")
    assert modes == {"pulumi-resource-pruner": 0o755}


def test_a_secret_of_the_program_is_encrypted_and_a_wrong_name_is_refused(
    native: Project, sandbox: RunningSandbox
) -> None:
    native.succeed("config", "rm", "pruner:api_key")
    give(native, apiKey=sandbox.tokens["admin"], keepYungerThan=5)
    assert "there is no such parameter, did you mean 'keep_younger_than'?" in native.fail("preview")

    give(native, apiKey=sandbox.tokens["admin"])
    native.succeed("up", "--yes", "--skip-preview")
    state = json.dumps(native.state())
    assert sandbox.tokens["admin"] not in state
    assert "apiKey" in resource(native)["inputs"]


def test_a_stack_moves_from_the_dynamic_provider_and_back_without_replacement(
    native: Project, sandbox: RunningSandbox
) -> None:
    dynamic = (ROOT / "__main__.py").read_text(encoding="utf-8")
    program = (native.folder / "__main__.py").read_text(encoding="utf-8")
    (native.folder / "__main__.py").write_text(dynamic, encoding="utf-8")
    native.succeed("up", "--yes", "--skip-preview")
    assert resource(native)["type"].startswith("pulumi-python:dynamic")

    (native.folder / "__main__.py").write_text(program, encoding="utf-8")
    output = native.succeed("up", "--yes", "--skip-preview")
    assert "replace" not in output
    assert resource(native)["type"] == TYPE
    assert "__provider" not in resource(native)["outputs"]
    images = sandbox.images()

    (native.folder / "__main__.py").write_text(dynamic, encoding="utf-8")
    steps = json.loads(native.succeed("preview", "--json"))["steps"]
    (op,) = (step["op"] for step in steps if step["urn"].endswith("::pruned") and step["op"] != "refresh")
    assert op in ("same", "update")
    output = native.succeed("up", "--yes", "--skip-preview")
    assert "replace" not in output
    assert resource(native)["type"].startswith("pulumi-python:dynamic")
    assert {"deletedImages", "updatedImageStreams"} & resource(native)["outputs"].keys() == set()
    assert sandbox.images() == images


def test_an_import_is_taken_into_the_state_and_changes_nothing(native: Project, sandbox: RunningSandbox) -> None:
    images = sandbox.images()
    native.succeed("import", "--yes", "--generate-code=false", "--protect=false", TYPE, "pruned", "prod")
    assert resource(native)["id"] == "prod"
    assert sandbox.images() == images


def test_a_yaml_program(yaml_program: Project, sandbox: RunningSandbox) -> None:
    """As from the dynamic provider; the configuration's secret is nowhere in the state."""
    images = sandbox.images()
    preview = yaml_program.succeed("preview", "--diff")
    assert "is beyond the newest 3 of its tag, and nothing refers to it (R16)" in preview
    assert "blog/site:" not in preview
    yaml_program.succeed("up", "--yes", "--skip-preview")
    assert plan(settings_for(sandbox, protect=["blog/*"], keep_younger_than=1440)).empty
    assert broken_images(sandbox) == []
    found = resource(yaml_program)
    assert (found["type"], found["inputs"]["host"]) == (TYPE, sandbox.api_url)
    assert found["outputs"]["summary"]["images"] == len(images) - len(sandbox.images()) > 0
    assert sandbox.tokens["admin"] not in json.dumps(yaml_program.state())
    assert "2 unchanged" in yaml_program.succeed("preview", "--expect-no-changes")
    yaml_program.succeed("destroy", "--yes", "--skip-preview")


def test_a_yaml_program_with_a_misspelt_property_is_refused(yaml_program: Project) -> None:
    (yaml_program.folder / "Pulumi.yaml").write_text(EXAMPLE.replace("keepYounger", "keepYunger"), encoding="utf-8")
    output = yaml_program.fail("preview")
    assert "Property keepYungerThan does not exist on 'pruner:index:PrunedImages'" in output
    assert "Existing properties are: keepYoungerThan, " in output


def test_policies_judge_it(native: Project, sandbox: RunningSandbox) -> None:
    images = sandbox.images()
    config = native.folder / "policies.json"
    config.write_text(json.dumps({"max-images": {"limit": 5}}), encoding="utf-8")
    pack = ("--policy-pack", str(ROOT / "policies" / "run"), "--policy-pack-config", str(config))
    output = native.fail("up", "--yes", "--skip-preview", *pack)
    assert "would delete 17 images, and 5 are allowed" in output
    assert sandbox.images() == images
