"""Every parameter in every way of giving it, row by row of PARAMETERS: argument, stack configuration, environment."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pulumi
import pulumi.runtime
import pytest

from pruner.provider.pruned_images import _given
from pruner.settings import (
    ALIASES,
    BY_NAME,
    PARAMETERS,
    PROXY_HEADERS,
    ConnectionSettings,
    EmptyStreams,
    Percent,
    PodSource,
    RetentionRule,
    Settings,
    UsageHistory,
    UsingCluster,
    read,
)

PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
FILE = "{file}"


class Row(msgspec.Struct, frozen=True):
    """A parameter with a value as a program gives it, the same as text, and what is made of it."""

    name: str
    value: Any
    text: str
    expected: Any
    needs: dict[str, Any] = {}


ROWS = [
    Row("all_images", False, "false", False),
    Row("ignore_invalid_refs", True, "true", True),
    Row("keep_younger_than", 90, "90", timedelta(minutes=90)),
    Row("namespace", "shop", "shop", "shop"),
    Row("prune_over_size_limit", True, "yes", True),
    Row("prune_registry", False, "no", False),
    Row("registry_url", "registry.example.org:5000", "registry.example.org:5000", "registry.example.org:5000"),
    Row("registry_ca_cert", FILE, FILE, FILE),
    Row("registry_validate_certs", False, "false", False),
    Row("host", "https://api.example.org:6443/", "https://api.example.org:6443/", "https://api.example.org:6443"),
    Row("api_key", "sha256~secret", "sha256~secret", "sha256~secret"),
    Row("username", "jane", "jane", "jane", {"password": "secret"}),
    Row("password", "secret", "secret", "secret", {"username": "jane"}),
    Row("ca_cert", FILE, FILE, FILE),
    Row("client_cert", FILE, FILE, FILE),
    Row("client_key", FILE, FILE, FILE, {"client_cert": FILE}),
    Row("validate_certs", False, "no", False),
    Row("kubeconfig", FILE, FILE, FILE),
    Row("context", "prod", "prod", "prod"),
    Row("persist_config", True, "on", True),
    Row("impersonate_user", "alice", "alice", "alice"),
    Row("impersonate_groups", ["one", "two"], "one,two", ("one", "two"), {"impersonate_user": "alice"}),
    Row("proxy", "http://proxy.example.org:3128", "http://proxy.example.org:3128", "http://proxy.example.org:3128"),
    Row("no_proxy", ".local,10.0.0.0/8", ".local,10.0.0.0/8", ".local,10.0.0.0/8"),
    Row("proxy_headers", {"user_agent": "foo/1.0"}, '{"user_agent": "foo/1.0"}', {"user_agent": "foo/1.0"}),
    Row("keep_tag_revisions", 5, "5", 5),
    Row("references", "oc", "oc", "oc"),
    Row(
        "extra_referrers",
        [{"group": "x.org", "version": "v1", "resource": "things", "template": "spec.template"}],
        '[{"group": "x.org", "version": "v1", "resource": "things", "template": "spec.template"}]',
        (PodSource("x.org", "v1", "things", template=("spec.template",)),),
    ),
    Row("protect", ["shop/app:live"], '["shop/app:live"]', ("shop/app:live",)),
    Row("strict", True, "true", True),
    Row(
        "retention",
        [{"name": "previews", "tags": ["pr-*"], "keep_younger_than": "14d"}],
        '[{"name": "previews", "tags": ["pr-*"], "keep_younger_than": "14d"}]',
        (RetentionRule(name="previews", tags=("pr-*",), keep_younger_than=timedelta(days=14)),),
    ),
    Row("empty_streams", {"older_than": "30d"}, '{"older_than": "30d"}', EmptyStreams(older_than=timedelta(days=30))),
    Row("attached", "keep", "keep", "keep"),
    Row("grace", "7d", "7d", timedelta(days=7)),
    Row("protect_selector", "keep=true", "keep=true", "keep=true"),
    Row("approved_plan", FILE, FILE, FILE),
    Row("approved_digest", "A" * 64, f"sha256:{'A' * 64}", f"sha256:{'a' * 64}", {"approved_plan": FILE}),
    Row("require_approval", True, "true", True),
    Row("as_of", "2026-01-31T13:00:00+01:00", "2026-01-31T13:00:00+01:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    Row("max_deletions", "10%", "10%", Percent(10)),
    Row("allow_empty_cluster", True, "true", True),
    Row("keep_used_within", "30d", "30d", timedelta(days=30), {"usage_history": {"url": "https://thanos.example.org"}}),
    Row(
        "usage_history",
        {"url": "https://thanos.example.org", "partial_history": True},
        '{"url": "https://thanos.example.org", "partial_history": true}',
        UsageHistory(url="https://thanos.example.org", partial_history=True),
        {"keep_used_within": "30d"},
    ),
    Row(
        "uses_from",
        [{"name": "kiel", "settings": {"host": "https://api.kiel.example.org"}}],
        '[{"name": "kiel", "settings": {"host": "https://api.kiel.example.org"}}]',
        (UsingCluster(name="kiel", connection=ConnectionSettings(host="https://api.kiel.example.org")),),
    ),
    Row(
        "registry_hosts",
        ["hub.example.org:8443"],
        "hub.example.org:8443",
        ("hub.example.org:8443",),
        {"uses_from": [{"name": "kiel", "settings": {"context": "kiel"}}]},
    ),
    Row("restart_registry", True, "true", True),
    Row("workers", 7, "7", 7),
    Row("report", "{folder}/report.jsonl", "{folder}/report.jsonl", "{folder}/report.jsonl"),
]
IDS = [row.name for row in ROWS]
WITH_ALIAS = [(alias, row) for row in ROWS for alias in BY_NAME[row.name].aliases]
WITH_VARIABLE = [row for row in ROWS if BY_NAME[row.name].environment and row.name != "proxy_headers"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A file that is there, in PEM form, and a folder."""
    (tmp_path / "file.pem").write_text(PEM, encoding="utf-8")
    return {"{file}": str(tmp_path / "file.pem"), "{folder}": str(tmp_path)}


def filled(value: Any, files: dict[str, str]) -> Any:
    """A value with the names of this test's files."""
    if isinstance(value, str):
        for name, path in files.items():
            value = value.replace(name, path)
    elif isinstance(value, dict) and FILE in value.values():
        value = {key: filled(part, files) for key, part in value.items()}
    return value


def test_every_parameter_has_a_row() -> None:
    assert {row.name for row in ROWS} == {parameter.name for parameter in PARAMETERS}
    assert {row.name for row in ROWS} == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_row_as_an_argument(row: Row, files: dict[str, str]) -> None:
    settings = read({row.name: filled(row.value, files), **filled(row.needs, files)})

    assert getattr(settings, row.name) == filled(row.expected, files)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_row_as_a_text_as_commands_are_given_it(row: Row, files: dict[str, str]) -> None:
    settings = read({row.name: filled(row.text, files), **filled(row.needs, files)})

    assert getattr(settings, row.name) == filled(row.expected, files)


@pytest.fixture
def configuration() -> Iterator[dict[str, str]]:
    """The stack configuration; what is put into it is there until the test ends."""
    yield {}
    pulumi.runtime.set_all_config({})


@pytest.mark.parametrize("row", ROWS, ids=IDS)
async def test_row_in_the_stack_configuration(row: Row, files: dict[str, str], configuration: dict[str, str]) -> None:
    pulumi.runtime.set_all_config({f"pruner:{row.name}": filled(row.text, files)})

    found = await resolved(_given({}))

    settings = read({**filled(row.needs, files), **found})
    assert getattr(settings, row.name) == filled(row.expected, files)


async def resolved(found: dict[str, Any]) -> dict[str, Any]:
    """Secrets are outputs; the provider is given their values."""
    return {key: await value.future() if isinstance(value, pulumi.Output) else value for key, value in found.items()}


@pytest.mark.parametrize("row", [row for row in ROWS if BY_NAME[row.name].secret], ids=lambda row: row.name)
async def test_secret_of_the_stack_configuration_stays_one(
    row: Row, files: dict[str, str], configuration: dict[str, str]
) -> None:
    pulumi.runtime.set_all_config({f"pruner:{row.name}": filled(row.text, files)})

    value = _given({})[row.name]

    assert isinstance(value, pulumi.Output)
    assert await value.is_secret()


@pytest.mark.parametrize("row", WITH_VARIABLE, ids=lambda row: row.name)
def test_row_in_the_environment(row: Row, files: dict[str, str]) -> None:
    variable = str(BY_NAME[row.name].environment)

    settings = read(filled(row.needs, files), environ={variable: filled(row.text, files)})

    assert getattr(settings, row.name) == filled(row.expected, files)


@pytest.mark.parametrize(("header", "variable"), PROXY_HEADERS.items())
def test_proxy_header_in_the_environment(header: str, variable: str) -> None:
    settings = read({"proxy": "http://proxy:3128"}, environ={variable: "user:password"})

    assert settings.proxy_headers == {header: "user:password"}


@pytest.mark.parametrize(("alias", "row"), WITH_ALIAS, ids=[alias for alias, _ in WITH_ALIAS])
def test_alias(alias: str, row: Row, files: dict[str, str]) -> None:
    settings = read({alias: filled(row.value, files), **filled(row.needs, files)})

    assert getattr(settings, row.name) == filled(row.expected, files)


VARIABLES = {
    "host": "K8S_AUTH_HOST",
    "api_key": "K8S_AUTH_API_KEY",
    "username": "K8S_AUTH_USERNAME",
    "password": "K8S_AUTH_PASSWORD",
    "ca_cert": "K8S_AUTH_SSL_CA_CERT",
    "client_cert": "K8S_AUTH_CERT_FILE",
    "client_key": "K8S_AUTH_KEY_FILE",
    "validate_certs": "K8S_AUTH_VERIFY_SSL",
    "registry_validate_certs": "K8S_AUTH_VERIFY_SSL",
    "kubeconfig": "K8S_AUTH_KUBECONFIG",
    "context": "K8S_AUTH_CONTEXT",
    "persist_config": "K8S_AUTH_PERSIST_CONFIG",
    "impersonate_user": "K8S_AUTH_IMPERSONATE_USER",
    "impersonate_groups": "K8S_AUTH_IMPERSONATE_GROUPS",
    "proxy": "K8S_AUTH_PROXY",
    "no_proxy": "K8S_AUTH_NO_PROXY",
}


def test_variables_are_those_of_the_module() -> None:
    found = {parameter.name: parameter.environment for parameter in PARAMETERS if parameter.environment}

    assert found == {**VARIABLES, "proxy_headers": "K8S_AUTH_PROXY_HEADERS_*"}


def test_aliases_are_those_of_the_module() -> None:
    assert ALIASES == {
        "ssl_ca_cert": "ca_cert",
        "cert_file": "client_cert",
        "key_file": "client_key",
        "verify_ssl": "validate_certs",
    }


# --- which way wins --------------------------------------------------------------------------------------------------

HOSTS = {"argument": "https://one", "configuration": "https://two", "environment": "https://three"}


@pytest.mark.parametrize(
    ("ways", "winner"),
    [
        (("argument", "configuration", "environment"), "argument"),
        (("argument", "environment"), "argument"),
        (("configuration", "environment"), "configuration"),
        (("environment",), "environment"),
    ],
)
async def test_first_way_that_says_something_wins(
    ways: tuple[str, ...], winner: str, configuration: dict[str, str]
) -> None:
    given = {"host": HOSTS["argument"]} if "argument" in ways else {}
    environ = {"K8S_AUTH_HOST": HOSTS["environment"]} if "environment" in ways else {}
    if "configuration" in ways:
        pulumi.runtime.set_all_config({"pruner:host": HOSTS["configuration"]})

    assert (await read_all(given, environ)).host == HOSTS[winner]


async def read_all(given: dict[str, Any], environ: dict[str, str] | None = None) -> Settings:
    """What the provider reads for these arguments, with the stack configuration there is."""
    return read(await resolved(_given(given)), environ)


async def test_alias_as_an_argument_wins_over_the_name_in_the_configuration(configuration: dict[str, str]) -> None:
    pulumi.runtime.set_all_config({"pruner:validate_certs": "true"})

    assert (await read_all({"verify_ssl": False})).validate_certs is False


async def test_argument_that_is_none_says_nothing(configuration: dict[str, str]) -> None:
    pulumi.runtime.set_all_config({"pruner:host": "https://two"})

    assert (await read_all({"host": None})).host == "https://two"


async def test_token_that_is_an_argument_and_a_name_in_the_configuration_do_not_contradict_each_other(
    configuration: dict[str, str],
) -> None:
    pulumi.runtime.set_all_config({"pruner:username": "jane", "pruner:password": "secret"})

    settings = await read_all({"api_key": "sha256~token"}, {"K8S_AUTH_CERT_FILE": "/not/there"})

    assert (settings.api_key, settings.username, settings.client_cert) == ("sha256~token", None, None)


def test_headers_of_the_proxy_are_parameters_each_of_its_own() -> None:
    variables = {"K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH": "bob:secret", "K8S_AUTH_PROXY_HEADERS_USER_AGENT": "no/1"}

    settings = read({"proxy": "http://proxy:3128", "proxy_headers": '{"user_agent": "foo/1.0"}'}, variables)

    assert settings.proxy_headers == {"user_agent": "foo/1.0", "proxy_basic_auth": "bob:secret"}


def test_empty_variable_says_nothing() -> None:
    assert read({}, environ={"K8S_AUTH_HOST": ""}).host is None


def test_variable_for_certificates_holds_for_the_registry_as_well() -> None:
    settings = read({}, environ={"K8S_AUTH_VERIFY_SSL": "false"})

    assert (settings.validate_certs, settings.registry_certs_validated) == (False, False)


def test_registry_validate_certs_that_is_given_wins_over_the_variable() -> None:
    settings = read({"registry_validate_certs": True}, environ={"K8S_AUTH_VERIFY_SSL": "false"})

    assert (settings.validate_certs, settings.registry_certs_validated) == (False, True)


def test_validate_certs_that_is_given_holds_for_the_registry_whatever_the_variable_says() -> None:
    settings = read({"validate_certs": True}, environ={"K8S_AUTH_VERIFY_SSL": "false"})

    assert settings.registry_certs_validated


async def test_registry_validate_certs_of_the_configuration_is_no_matter_of_validate_certs_as_an_argument(
    configuration: dict[str, str],
) -> None:
    pulumi.runtime.set_all_config({"pruner:registry_validate_certs": "false"})

    settings = await read_all({"validate_certs": True})

    assert (settings.validate_certs, settings.registry_certs_validated) == (True, False)


def test_defaults_are_those_of_the_page() -> None:
    settings = read({})

    assert settings == Settings()
    assert settings.all_images
    assert settings.prune_registry
    assert settings.certs_validated
    assert settings.registry_certs_validated
    assert not settings.persist_config


def test_values_of_the_engine_are_taken_as_they_come() -> None:
    """Numbers arrive as floats, and maps without order."""
    settings = read({"keep_younger_than": 60.0, "workers": 5.0, "max_deletions": 10.0})

    assert (settings.keep_younger_than, settings.workers, settings.max_deletions) == (timedelta(minutes=60), 5, 10)


def test_several_kubeconfigs_are_joined_by_the_systems_separator(files: dict[str, str]) -> None:
    joined = os.pathsep.join(["/not/there", files["{file}"]])

    assert read({"kubeconfig": joined}).kubeconfig == joined


def test_kubeconfig_may_be_a_dictionary() -> None:
    assert read({"kubeconfig": {"clusters": []}}).kubeconfig == {"clusters": []}


@pytest.mark.parametrize(
    "text",
    [
        '{"clusters": [],\n\t"users": []}',
        "clusters: []\nusers: []\n",
        "\n---\nclusters: []\nusers: []",
        "clusters: [] \nusers: []",
    ],
)
def test_kubeconfig_may_be_given_by_its_content(text: str) -> None:
    """As other programs and providers hand it on; the stack configuration has no other way for it."""
    assert read({"kubeconfig": text}).kubeconfig == {"clusters": [], "users": []}


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("host", "HTTPS://Api.example.org:6443/", "https://Api.example.org:6443"),
        ("host", "https://rancher.example.org/k8s/clusters/c-1/", "https://rancher.example.org/k8s/clusters/c-1"),
        ("host", "https://[2001:db8::1]:6443", "https://[2001:db8::1]:6443"),
        ("registry_url", "HTTP://registry:5000/", "http://registry:5000"),
        ("registry_url", "Registry:5000/", "Registry:5000"),
        ("registry_url", "[2001:db8::1]:5000", "[2001:db8::1]:5000"),
        ("proxy", "HTTP://proxy:3128/", "http://proxy:3128"),
    ],
)
def test_address_is_taken_in_all_its_forms(name: str, given: str, expected: str) -> None:
    assert getattr(read({name: given}), name) == expected


async def test_a_value_that_is_given_counts_as_given_although_it_is_the_default(configuration: dict[str, str]) -> None:
    given = {
        "keep_younger_than": "60",
        "keep_tag_revisions": "3",
        "validate_certs": "true",
        "prune_over_size_limit": "true",
    }
    pulumi.runtime.set_all_config({f"pruner:{name}": value for name, value in given.items()})
    found = await resolved(_given({}))
    settings = read(found, environ={"K8S_AUTH_VERIFY_SSL": "false"})
    assert (settings.keep_younger_than, settings.keep_tag_revisions, settings.validate_certs) == (
        timedelta(minutes=60),
        3,
        True,
    )
