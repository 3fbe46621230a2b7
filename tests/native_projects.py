"""Projects whose program uses the native provider: in Python without an SDK, by the names of the schema, or in YAML."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pruner import __version__
from tests.pulumi_project import Project
from tests.servers import ROOT

PROGRAM = """
import json, pathlib
import pulumi

class PrunedImages(pulumi.CustomResource):
    def __init__(self, name, **inputs):
        outputs = dict.fromkeys(("summary", "deletedImages", "failures", "plan"))
        super().__init__("pruner:index:PrunedImages", name, {**outputs, **inputs},
            pulumi.ResourceOptions(version="VERSION",
                aliases=[pulumi.Alias(type_="pulumi-python:dynamic/pruner:PrunedImages")]))

inputs = json.loads(pathlib.Path("inputs.json").read_text())
secrets = {name: pulumi.Output.secret(inputs.pop(name)) for name in ("apiKey",) if name in inputs}
pruned = PrunedImages("pruned", **inputs, **secrets)
pulumi.export("summary", pruned.summary)
""".replace("VERSION", __version__)

EXAMPLE = (ROOT / "examples" / "yaml" / "Pulumi.yaml").read_text(encoding="utf-8")
EXAMPLE = EXAMPLE.replace("name: images", "name: pruner")
"""The example, as a project of the name that the stack belongs to."""

SAME_AS_OURS = """
name: pruner
runtime: yaml
options:
  refresh: always
resources:
  pruned:
    type: pruner:PrunedImages
outputs:
  summary: ${pruned.summary}
"""
"""What the program of this repository says, in YAML."""


def give(project: Project, **inputs: Any) -> None:
    """Write the inputs that PROGRAM reads."""
    (project.folder / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")


def install(project: Project, plugin: Path) -> None:
    """Install the provider as a user does."""
    project.succeed("plugin", "install", "resource", "pruner", __version__, "--file", str(plugin))


def write_yaml(project: Project, program: str) -> None:
    """Exchange the project's program for one in YAML."""
    if shutil.which("pulumi-language-yaml") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "there is no pulumi-language-yaml on PATH; make setup-integration gets it"
        )
    (project.folder / "Pulumi.yaml").write_text(program, encoding="utf-8")
    (project.folder / "__main__.py").unlink(missing_ok=True)
