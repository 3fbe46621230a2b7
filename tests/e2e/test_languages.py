"""The examples in Python, TypeScript and Go, and what their users see of mistakes.

Those in TypeScript and Go use SDKs that are generated from the schema. The example in YAML is in test_native.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pruner import __version__
from pruner.provider.schema import schema
from tests.native_projects import install
from tests.pruning import plan, settings_for
from tests.pulumi_project import Project, environment_in
from tests.servers import ROOT, RunningSandbox

EXAMPLES = ROOT / "examples"
Generate = Callable[[str, Path], None]


def languages() -> Path:
    """The folder that tools/get_pulumi_nodejs has made."""
    found = shutil.which("pulumi-sdk")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "there is no pulumi-sdk on PATH; make setup-integration gets it"
        )
    return Path(found).parent


def ran(
    *command: str | Path, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Standard output and errors together, as one reads them."""
    return subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


@pytest.fixture(scope="session")
def schema_file(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schema as the CLI gets it from the provider."""
    folder = tmp_path_factory.mktemp("schema")
    with tarfile.open(plugin) as archive:
        archive.extractall(folder, filter="data")
    command = ["pulumi", "package", "get-schema", "./pulumi-resource-pruner"]
    done = subprocess.run(command, cwd=folder, env=environment_in(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file = folder / "schema.json"
    file.write_text(done.stdout, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def generate(schema_file: Path) -> Generate:
    """Writes the SDK of a language into a folder."""

    def write(language: str, folder: Path) -> None:
        done = ran(languages() / "pulumi-sdk", schema_file, language, folder, folder=schema_file.parent)
        assert done.returncode == 0, done.stdout

    return write


def test_the_cli_gets_the_schema_from_the_provider(project: Project, schema_file: Path) -> None:
    found: dict[str, Any] = json.loads(schema_file.read_text(encoding="utf-8"))
    assert (found["name"], found["version"], found["resources"].keys()) == (
        "pruner",
        __version__,
        schema()["resources"].keys(),
    )
    (ours,), (theirs,) = schema()["resources"].values(), found["resources"].values()
    assert theirs["inputProperties"].keys() == ours["inputProperties"].keys()
    assert theirs["properties"].keys() == ours["properties"].keys()
    assert theirs["aliases"] == ours["aliases"]


# --- Python -----------------------------------------------------------------------------------------------------------


def test_a_python_program(demo: Project, sandbox: RunningSandbox) -> None:
    shutil.copy(EXAMPLES / "python" / "__main__.py", demo.folder)
    demo.succeed("up", "--yes", "--skip-preview")
    assert plan(settings_for(sandbox, protect=["blog/*"], keep_younger_than=1440)).empty
    assert not plan(settings_for(sandbox)).empty


# --- TypeScript -------------------------------------------------------------------------------------------------------


@pytest.fixture
def typescript(demo: Project, plugin: Path, generate: Generate) -> Project:
    """The example with its SDK, as `pulumi package add` puts it there."""
    folder, modules = demo.folder, languages() / "node_modules"
    for name in ("Pulumi.yaml", "index.ts", "package.json", "tsconfig.json"):
        shutil.copy(EXAMPLES / "typescript" / name, folder)
    program = (folder / "Pulumi.yaml").read_text(encoding="utf-8")
    (folder / "Pulumi.yaml").write_text(program.replace("name: images", "name: pruner"), encoding="utf-8")
    (folder / "__main__.py").unlink()
    sdk = folder / "sdks" / "pruner"
    generate("nodejs", sdk)
    (folder / "node_modules" / "@pulumi").mkdir(parents=True)
    for module in modules.iterdir():
        if module.name != "@pulumi":
            (folder / "node_modules" / module.name).symlink_to(module)
    (folder / "node_modules" / "@pulumi" / "pulumi").symlink_to(modules / "@pulumi" / "pulumi")
    (folder / "node_modules" / "@pulumi" / "pruner").symlink_to(sdk)
    path = f"{modules / '.bin'}:{os.environ['PATH']}"
    compiled = ran("node", "scripts/postinstall.js", folder=sdk, environment={**os.environ, "PATH": path})
    assert compiled.returncode == 0, compiled.stdout
    install(demo, plugin)
    return demo


def test_a_typescript_program(typescript: Project, sandbox: RunningSandbox) -> None:
    images = sandbox.images()
    preview = typescript.succeed("preview", "--diff")
    assert "is beyond the newest 3 of its tag, and nothing refers to it (R16)" in preview
    assert "blog/site:" not in preview
    assert sandbox.images() == images
    typescript.succeed("up", "--yes", "--skip-preview")
    assert plan(settings_for(sandbox, protect=["blog/*"], keep_younger_than=1440)).empty
    assert len(sandbox.images()) < len(images)
    assert "2 unchanged" in typescript.succeed("preview", "--expect-no-changes")
    typescript.succeed("destroy", "--yes", "--skip-preview")

    program = (typescript.folder / "index.ts").read_text(encoding="utf-8")
    (typescript.folder / "index.ts").write_text(program.replace("keepYounger", "keepYunger"), encoding="utf-8")
    output = typescript.fail("preview")
    assert "'keepYungerThan' does not exist in type 'PrunedImagesArgs'" in output
    assert "Did you mean to write 'keepYoungerThan'?" in output


# --- Go ---------------------------------------------------------------------------------------------------------------


def test_a_go_program_compiles_and_one_with_a_misspelt_property_does_not(generate: Generate, tmp_path: Path) -> None:
    generate("go", tmp_path / "sdks" / "pruner")
    shutil.copy(EXAMPLES / "go" / "main.go", tmp_path)
    # With the versions that the CLI was built with, most of Pulumi's SDK has been compiled already.
    modules = ROOT / "tools" / "pulumi-sdk"
    shutil.copy(modules / "go.sum", tmp_path)
    sdk = "example.com/pulumi-pruner/sdk/go"
    own = f"\nrequire {sdk} v0.0.0\n\nreplace {sdk} => ./sdks/pruner\n"
    (tmp_path / "go.mod").write_text((modules / "go.mod").read_text(encoding="utf-8") + own, encoding="utf-8")
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath -tags=osusergo"}
    done = ran("go", "build", "-o", os.devnull, ".", folder=tmp_path, environment=environment)
    assert (done.returncode, done.stdout) == (0, "")

    program = (tmp_path / "main.go").read_text(encoding="utf-8")
    (tmp_path / "main.go").write_text(program.replace("KeepYounger", "KeepYunger"), encoding="utf-8")
    done = ran("go", "build", "-o", os.devnull, ".", folder=tmp_path, environment=environment)
    assert done.returncode != 0
    assert "unknown field KeepYungerThan in struct literal of type pruner.PrunedImagesArgs" in done.stdout


# --- the plugin -------------------------------------------------------------------------------------------------------


def test_a_plugin_that_is_missing_or_of_another_version_is_named(native: Project) -> None:
    native.succeed("plugin", "rm", "resource", "pruner", "--yes")
    output = native.fail("preview")
    assert f"no resource plugin 'pulumi-resource-pruner' found in the workspace at version v{__version__}" in output
