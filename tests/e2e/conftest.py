"""The real Pulumi CLI on a project of the test's own, against a sandbox with the demo cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Tried
from tests.native_projects import EXAMPLE, PROGRAM, SAME_AS_OURS, give, install, write_yaml
from tests.pulumi_project import Project
from tests.servers import ROOT, RunningSandbox

PROVIDERS = ("dynamic", "native")


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest, tried: Tried) -> None:
    """Let the end of the run tell how many tests have used each provider."""
    named = {"demo", "native", "project"} & set(request.fixturenames)
    callspec = getattr(request.node, "callspec", None)
    provider = callspec.params.get("either") if callspec else None
    if provider or named:
        tried(1, f"end-to-end tests with the {provider or ('native' if 'native' in named else 'dynamic')} provider")


@pytest.fixture
def demo(project: Project, sandbox: RunningSandbox) -> Project:
    """A project set up for the sandbox, as its administrator."""
    project.configure(host=sandbox.api_url, api_key=sandbox.tokens["admin"])
    return project


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make plugin` produces."""
    folder = tmp_path_factory.mktemp("plugin")
    subprocess.run([sys.executable, "-m", "tools.plugin", str(folder)], cwd=ROOT, check=True)
    (made,) = folder.glob("*.tar.gz")
    return made


@pytest.fixture
def native(demo: Project, plugin: Path) -> Project:
    """A project for the sandbox whose program uses the native provider, installed as a user installs it."""
    install(demo, plugin)
    (demo.folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    give(demo)
    return demo


@pytest.fixture
def yaml_program(native: Project) -> Project:
    """The example in YAML."""
    write_yaml(native, EXAMPLE)
    return native


@pytest.fixture(params=PROVIDERS)
def either(request: pytest.FixtureRequest, demo: Project, plugin: Path) -> Project:
    """A project for the sandbox: our program with the dynamic provider, and its like in YAML with the native one."""
    if request.param == "native":
        install(demo, plugin)
        write_yaml(demo, SAME_AS_OURS)
    return demo
