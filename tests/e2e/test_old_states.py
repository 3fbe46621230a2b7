"""Stacks that an earlier version has updated last: their states name the provider by the module that it was in then."""

from __future__ import annotations

import base64
import json

import pytest

from tests.pulumi_project import Project

OF_0_1 = "gASVOAAAAAAAAACMGHBydW5lci5yZXNvdXJjZS5wcm92aWRlcpSMFFBydW5lZEltYWdlc1Byb3ZpZGVylJOUKYGULg=="
"""What version 0.1 stores as `__provider`: a pickle that refers to pruner.resource.provider."""


def providers(project: Project) -> list[bytes]:
    """The pickles that the state holds, in inputs and outputs."""
    resources = project.state()["deployment"].get("resources", [])
    parts = (entry.get(part, {}) for entry in resources for part in ("inputs", "outputs"))
    return [base64.b64decode(part["__provider"]) for part in parts if "__provider" in part]


@pytest.fixture
def old(demo: Project) -> Project:
    """A stack as version 0.1 has left it."""
    demo.succeed("up", "--yes", "--skip-preview")
    state = demo.state()
    for entry in state["deployment"]["resources"]:
        for part in ("inputs", "outputs"):
            if "__provider" in entry.get(part, {}):
                entry[part]["__provider"] = OF_0_1
    exported = demo.folder / "old.json"
    exported.write_text(json.dumps(state), encoding="utf-8")
    demo.succeed("stack", "import", "--file", str(exported))
    assert providers(demo) == [base64.b64decode(OF_0_1)] * 2
    return demo


def test_stack_of_an_earlier_version_is_previewed_without_a_change(old: Project) -> None:
    assert "2 unchanged" in old.succeed("preview", "--expect-no-changes")


def test_stack_of_an_earlier_version_is_refreshed_and_updated(old: Project) -> None:
    old.succeed("refresh", "--yes", "--skip-preview")
    old.configure(keep_tag_revisions="2")
    old.succeed("up", "--yes", "--skip-preview")
    stored = providers(old)
    assert len(stored) == 2
    assert [b"pruner.provider.provider" in pickle for pickle in stored] == [True, True]


def test_stack_of_an_earlier_version_is_destroyed(old: Project) -> None:
    old.succeed("destroy", "--yes", "--skip-preview")
    assert providers(old) == []
