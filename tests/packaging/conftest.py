"""The wheel, built once and installed in an empty virtual
environment, as somebody has it who never saw the repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pulumi_project import environment_in, pulumi_path
from tests.servers import ROOT

Run = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True)
class Installed:
    """A virtual environment with the wheel in it."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def environment(self, home: Path) -> dict[str, str]:
        """That of a user who has activated the virtual environment; no module comes from the repository."""
        found = environment_in(home)
        del found["PYTHONPATH"], found["PYTHONDONTWRITEBYTECODE"]
        path = [
            str(self.bin),
            *(part for part in found["PATH"].split(os.pathsep) if part != str(Path(sys.executable).parent)),
        ]
        return {
            **found,
            "PATH": os.pathsep.join(path),
            "VIRTUAL_ENV": str(self.folder),
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def run(self, *command: str, cwd: Path, environment: dict[str, str] | None = None) -> Run:
        """Run a command of the virtual environment, or Pulumi, in a folder.

        AssertionError unless it ends with exit code 0.
        """
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**self.environment(cwd), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "--quiet", "wheel", ".", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True)
    (found,) = folder.glob("pulumi_pruner-*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with its extras, in the versions that the tests run with."""
    if pulumi_path() is None:
        if os.environ.get("CI"):
            pytest.fail("pulumi is not on PATH; run `make setup-pulumi`")
        pytest.skip("pulumi is not on PATH; run `make test`, which gets it")
    folder = tmp_path_factory.mktemp("venv")
    # uv installs as pip does, in seconds where pip takes minutes on a busy machine.
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--seed", "--python", sys.executable, folder], check=True)
    versions = ["--constraint", "requirements.txt", "--constraint", "policies/requirements.txt"]
    install = [*uv, "pip", "install", "--python", str(folder / "bin" / "python"), *versions]
    subprocess.run([*install, f"{wheel}[schedule,policies]"], cwd=ROOT, check=True)
    return Installed(folder)
