"""Every parameter through the real CLI: set as one sets it, checked
by Pulumi against the types of Pulumi.yaml, read by the program.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pruner.settings import ALIASES, PARAMETERS, Settings, read
from tests.pulumi_project import Project

PROGRAM = """
import json, pathlib, pulumi
from pruner.provider.pruned_images import _given
given = pulumi.Output.all(**_given({}))
given.apply(lambda values: pathlib.Path("given.json").write_text(json.dumps(values)))
"""

PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
HEADERS = {"basic_auth": "eve:pw", "proxy_basic_auth": "bob:pw", "user_agent": "foo/1.0"}
REFERRER = {"group": "x.org", "version": "v1", "resource": "things", "template": "spec.template"}
VALUES: dict[str, Any] = {
    "all_images": False,
    "ignore_invalid_refs": True,
    "keep_younger_than": 90,
    "namespace": "shop",
    "prune_over_size_limit": True,
    "prune_registry": False,
    "registry_url": "https://registry.example.org",
    "registry_ca_cert": "{pem}",
    "registry_validate_certs": True,
    "host": "https://api.example.org:6443",
    "api_key": "sha256~token",
    "ca_cert": "{pem}",
    "client_cert": "{pem}",
    "client_key": "{pem}",
    "validate_certs": False,
    "kubeconfig": "{pem}",
    "context": "prod",
    "persist_config": True,
    "impersonate_user": "alice",
    "impersonate_groups": ["one", "two"],
    "proxy": "http://proxy.example.org:3128",
    "no_proxy": ".local,10.0.0.0/8",
    "proxy_headers": HEADERS,
    "keep_tag_revisions": 5,
    "references": "oc",
    "extra_referrers": ["tekton", REFERRER],
    "protect": ["shop/app:live", "base/*"],
    "strict": True,
    "retention": [{"name": "previews", "tags": ["pr-*"], "keep_younger_than": "14d"}],
    "attached": "keep",
    "grace": "7d",
    "protect_selector": "keep=true",
    "approved_plan": "{pem}",
    "approved_digest": f"sha256:{'0' * 64}",
    "require_approval": True,
    "as_of": "2026-01-31T12:00:00Z",
    "max_deletions": "10%",
    "allow_empty_cluster": True,
    "restart_registry": True,
    "workers": 7,
    "report": "report.jsonl",
}
OTHERS = {
    "username": "jane",
    "password": "secret",
    "empty_streams": {"older_than": "30d"},
    "keep_used_within": "30d",
    "usage_history": {"url": "https://thanos.example.org", "partial_history": True},
    "uses_from": [{"name": "kiel", "settings": {"host": "https://api.kiel.example.org"}}],
    "registry_hosts": ["hub.example.org:8443"],
}
"""What cannot be given beside api_key, and beside `references: oc`."""


@pytest.fixture
def reading(project: Project) -> Project:
    """A project whose program writes down what it has been given."""
    (project.folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    (project.folder / "file.pem").write_text(PEM, encoding="utf-8")
    return project


def given_to(project: Project) -> Settings:
    """The settings that the program has read."""
    (project.folder / "given.json").unlink(missing_ok=True)
    project.succeed("preview")
    return read(json.loads((project.folder / "given.json").read_text(encoding="utf-8")))


def values(project: Project, more: dict[str, Any]) -> dict[str, Any]:
    """The values of all rows, with the name of this project's file."""
    path = str(project.folder / "file.pem")
    return {
        name: path if value == "{pem}" else value for name, value in {**VALUES, **more}.items() if value is not None
    }


def leaves(name: str, value: Any) -> list[tuple[str, str]]:
    """A value as `--path` names its parts."""
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in leaves(f"{name}.{key}", part)]
    if isinstance(value, list):
        return [leaf for index, part in enumerate(value) for leaf in leaves(f"{name}[{index}]", part)]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]


def test_every_parameter_is_here() -> None:
    assert {*VALUES, *OTHERS} == {parameter.name for parameter in PARAMETERS}


@pytest.mark.parametrize(
    ("flag", "prefix", "more"),
    [
        ("--plaintext", "", {}),
        ("--secret", "pruner:", {}),
        ("--secret", "", {"api_key": None, "references": None, **OTHERS}),
    ],
    ids=["plain", "secret", "password"],
)
def test_set_with_the_cli(reading: Project, flag: str, prefix: str, more: dict[str, Any]) -> None:
    asked = values(reading, more)
    pairs = [f"{path}={text}" for name, value in asked.items() for path, text in leaves(f"{prefix}{name}", value)]
    reading.succeed("config", "set-all", "--path", *(part for pair in pairs for part in (flag, pair)))

    assert given_to(reading) == read(asked)


def test_written_into_the_stacks_file(reading: Project) -> None:
    """With numbers and booleans as YAML has them, by the other names where there are such."""
    asked = values(reading, {"kubeconfig": {"clusters": [], "users": []}, "persist_config": None})
    other = {name: alias for alias, name in ALIASES.items()}
    file = reading.folder / "Pulumi.test.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["config"] = {f"pruner:{other.get(name, name)}": value for name, value in asked.items()}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")

    assert given_to(reading) == read(asked)


def test_kubeconfig_by_its_content(reading: Project) -> None:
    reading.succeed("config", "set", "--secret", "kubeconfig", "apiVersion: v1\nclusters: []\n")

    assert given_to(reading).kubeconfig == {"apiVersion": "v1", "clusters": []}


def test_value_of_another_type_is_refused_by_name(reading: Project) -> None:
    reading.succeed("config", "set", "all_images", "perhaps")

    assert "configuration key 'all_images' must be of type 'boolean'" in reading.fail("preview")


def test_list_under_a_name_that_is_none_is_refused_with_the_nearest_known_one(project: Project) -> None:
    """It would prune more than was asked for."""
    project.succeed("config", "set", "host", "http://127.0.0.1:9")
    project.succeed("config", "set", "--path", "pruner:protekt[0]", "shop/app")

    output = project.fail("preview")
    assert "protekt: there is no such parameter, did you mean 'protect'?" in output


def test_schema_names_every_parameter_and_alias() -> None:
    schema = yaml.safe_load(Path("Pulumi.yaml").read_text(encoding="utf-8"))["config"]

    assert set(schema) == {parameter.name for parameter in PARAMETERS} | set(ALIASES)
