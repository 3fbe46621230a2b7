"""The real Pulumi CLI on a project of the test's own, against a sandbox with the demo cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pulumi_project import Project, pulumi_path
from tests.servers import RunningSandbox


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that knows no cluster yet."""
    if pulumi_path() is None:
        if os.environ.get("CI"):
            pytest.fail("pulumi is not on PATH; run `make setup-pulumi`")
        pytest.skip("pulumi is not on PATH; run `make test`, which gets it")
    return Project.make(tmp_path / "project")


@pytest.fixture
def demo(project: Project, sandbox: RunningSandbox) -> Project:
    """A project set up for the sandbox, as its administrator."""
    project.configure(host=sandbox.api_url, api_key=sandbox.tokens["admin"])
    return project
