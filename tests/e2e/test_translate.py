"""What `pruner translate` prints, executed: the commands and
the file give the program the settings that were translated.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pruner.settings import read
from tests.pulumi_project import Project

PROGRAM = """
import json, pathlib, pulumi
from pruner.provider.pruned_images import _given
given = pulumi.Output.all(**_given({}))
given.apply(lambda values: pathlib.Path("given.json").write_text(json.dumps(values)))
"""
LINES = (
    "oc adm prune images --keep-younger-than=36h --keep-tag-revisions=5 --all=false -n shop --as=-x --as-group=7 "
    "--as-group=true --num-workers=3 --context='a b' --registry-url=http://registry.example.org --confirm",
    "oc adm prune images --prune-over-size-limit --server=https://api.example.org:6443 --insecure-skip-tls-verify "
    "--as=me --as-group=7 --as-group=true",
)


def translated(*arguments: str) -> str:
    command = [sys.executable, "-m", "pruner", "translate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("form", "line"), list(zip(("commands", "yaml"), LINES, strict=True)))
def test_the_program_reads_what_was_translated(project: Project, form: str, line: str) -> None:
    (project.folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    output = translated("--format", form, line)
    if form == "commands":
        environment = {"BASH_ENV": os.devnull, **project.environment}
        subprocess.run(["bash", "-euc", output], cwd=project.folder, env=environment, check=True)
    else:
        file = Path(project.folder / "Pulumi.test.yaml")
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        file.write_text(yaml.safe_dump({**content, **yaml.safe_load(output)}), encoding="utf-8")
    project.succeed("preview")

    given = json.loads((project.folder / "given.json").read_text(encoding="utf-8"))
    settings = json.loads(translated("--json", line))["settings"]
    assert settings
    assert read(given) == read(settings)
