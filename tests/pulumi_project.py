"""A Pulumi project of a test's own: a copy of this one's
program, a state in a folder, and the real CLI to run on it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import ROOT


def pulumi_path() -> str | None:
    """The CLI: on PATH, where `make` puts it."""
    return shutil.which("pulumi")


def environment_in(folder: Path) -> dict[str, str]:
    """Only what the CLI and a program need: nothing of whoever runs the tests decides about a cluster.

    All is kept in the folder.
    """
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "COVERAGE_PROCESS_START") if name in os.environ}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '')}",
        "HOME": str(folder),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@dataclass(frozen=True, slots=True)
class Run:
    """What a run of the CLI has given back."""

    code: int
    output: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.output}"


@dataclass(frozen=True, slots=True)
class Project:
    """A project with one stack, `test`."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, program: str | None = None) -> Project:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state").mkdir()
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        if program is None:
            shutil.copy(ROOT / "__main__.py", folder)
        else:
            (folder / "__main__.py").write_text(program, encoding="utf-8")
        project = cls(folder)
        project.succeed("stack", "init", "test")
        return project

    @property
    def environment(self) -> dict[str, str]:
        return environment_in(self.folder)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> Run:
        """Run the CLI; standard output and errors together, as one reads them in a pipeline's log."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", *arguments],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def succeed(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        run = self.run(*arguments, environment=environment)
        assert run.code == 0, run
        return run.output

    def fail(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Run what has to fail, with a message and without a traceback."""
        run = self.run(*arguments, environment=environment)
        assert run.code != 0, run
        assert "Traceback" not in run.output, run
        return run.output

    def configure(self, **settings: str) -> None:
        for name, value in settings.items():
            secret = ["--secret"] if name in ("api_key", "password") else []
            self.succeed("config", "set", *secret, "--", f"pruner:{name}", value)

    def state(self) -> Any:
        """The stack's state, decrypted by nobody."""
        return json.loads(self.succeed("stack", "export"))

    def outputs(self) -> dict[str, Any]:
        """Of the PrunedImages resource, from the state."""
        resources = self.state()["deployment"]["resources"]
        found: dict[str, Any] = next(entry for entry in resources if entry["type"].endswith(":PrunedImages"))["outputs"]
        return found
