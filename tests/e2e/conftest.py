"""The real Pulumi CLI on a project of the test's own, against a sandbox with the demo cluster."""

from __future__ import annotations

import pytest

from tests.pulumi_project import Project
from tests.servers import RunningSandbox


@pytest.fixture
def demo(project: Project, sandbox: RunningSandbox) -> Project:
    """A project set up for the sandbox, as its administrator."""
    project.configure(host=sandbox.api_url, api_key=sandbox.tokens["admin"])
    return project
