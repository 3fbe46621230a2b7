"""The native provider without an engine: names, schema, configuration, and that policies judge its resource."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2

from policies.facts import TYPE as DYNAMIC_TYPE
from policies.facts import inputs_of
from pruner.provider import schema as of_native
from pruner.provider.naming import camel, snake, to_parameters, to_properties
from pruner.provider.native import Servicer, encoded
from pruner.settings import PARAMETERS, SECRETS, is_secret

NAMES = [parameter.name for parameter in PARAMETERS]
SECRET_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    found = struct_pb2.Struct()
    found.update(values)
    return found


def configured(**values: Any) -> Servicer:
    servicer = Servicer()
    servicer.Configure(provider_pb2.ConfigureRequest(args=struct(values)), None)
    return servicer


def merged(servicer: Servicer, **given: Any) -> dict[str, Any]:
    return servicer._merged(given)


def test_names_map_to_one_another() -> None:
    assert [snake(camel(name)) for name in NAMES] == NAMES
    assert [snake(name) for name in NAMES] == NAMES
    assert len({camel(name) for name in NAMES}) == len(NAMES)
    assert camel("impersonate_groups") == "impersonateGroups"


def test_what_belongs_to_the_dynamic_provider_is_not_handed_on() -> None:
    assert to_properties({"__provider": "x", "keep_tag_revisions": 3}) == {"keepTagRevisions": 3}
    assert to_parameters({"__provider": "x", "keepTagRevisions": 3}) == {"__provider": "x", "keep_tag_revisions": 3}


def test_the_schema_has_every_parameter_once_and_marks_secrets() -> None:
    (resource,) = of_native.schema()["resources"].values()
    inputs = resource["inputProperties"]
    assert list(inputs) == [camel(name) for name in NAMES]
    assert {snake(name) for name, found in inputs.items() if found.get("secret")} >= SECRETS
    assert inputs.keys() <= resource["properties"].keys()
    assert resource["aliases"] == [{"type": DYNAMIC_TYPE}]
    assert inputs["keepYoungerThan"]["type"] == "integer"
    assert inputs["protect"] == {**inputs["protect"], "type": "array", "items": {"type": "string"}}


def test_the_configuration_is_used_where_the_program_says_nothing() -> None:
    servicer = configured(keep_younger_than="90", host="https://a:6443", verify_ssl="false", version="1.0.0")
    assert merged(servicer, keepYoungerThan=5) == {
        "keep_younger_than": 5,
        "host": "https://a:6443",
        "verify_ssl": "false",
    }
    assert merged(servicer, validateCerts=True) == {
        "validate_certs": True,
        "keep_younger_than": "90",
        "host": "https://a:6443",
    }


def test_an_explicit_provider_is_configured_by_the_names_of_the_schema() -> None:
    assert merged(configured(keepYoungerThan="90")) == {"keep_younger_than": "90"}


def test_credentials_of_the_program_replace_those_of_the_configuration() -> None:
    servicer = configured(api_key="token")
    assert merged(servicer, username="jane", password="x") == {"username": "jane", "password": "x"}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_of_the_configuration_is_used_and_never_handed_on(name: str) -> None:
    assert is_secret(name, "sesame")
    servicer = configured(**{name: "sesame"})
    given = merged(servicer, keepTagRevisions=3)
    assert given == {"keep_tag_revisions": 3, name: "sesame"}
    assert dict(encoded(given)) == {"keepTagRevisions": 3}


def test_what_the_configuration_marks_as_a_secret_is_one() -> None:
    servicer = configured(host={SECRET_KEY: SECRET_SIGNATURE, "value": "https://a:6443"}, namespace="shop")
    given = merged(servicer)
    assert given == {"host": "https://a:6443", "namespace": "shop"}
    assert dict(encoded(given)) == {"namespace": "shop"}


def test_a_secret_of_the_program_is_handed_on() -> None:
    """The engine, which knows that it is one, encrypts it."""
    given = merged(configured(api_key="other"), apiKey="token")
    assert dict(encoded(given)) == {"apiKey": "token"}


def test_a_check_with_unknown_inputs_makes_no_plan() -> None:
    news = struct({"host": rpc.UNKNOWN, "keepTagRevisions": 3})
    answer = Servicer().Check(provider_pb2.CheckRequest(news=news), None)
    assert dict(answer.inputs["plan"]) == {"summary": "not known before host is known"}
    assert answer.inputs["host"] == rpc.UNKNOWN
    assert list(answer.failures) == []


def test_a_wrong_property_is_named_as_the_program_wrote_it() -> None:
    news = struct({"keepYoungerThan": -1, "keepTagRevision": 3})
    failures = Servicer().Check(provider_pb2.CheckRequest(news=news), None).failures
    assert {each.property for each in failures} == {"keepYoungerThan", ""}
    assert any("did you mean 'keep_tag_revisions'?" in each.reason for each in failures)


def test_the_plan_alone_or_a_changed_setting_is_a_difference() -> None:
    def changes(olds: dict[str, Any], news: dict[str, Any]) -> int:
        request = provider_pb2.DiffRequest(id="x", olds=struct(olds), news=struct(news))
        return int(Servicer().Diff(request, None).changes)

    none, some = provider_pb2.DiffResponse.DIFF_NONE, provider_pb2.DiffResponse.DIFF_SOME
    assert changes({"keepTagRevisions": 3, "plan": {}}, {"keepTagRevisions": 3, "plan": {}}) == none
    assert changes({"keepTagRevisions": 3, "plan": {}}, {"keepTagRevisions": 3, "plan": {"summary": "x"}}) == some
    assert changes({"keepTagRevisions": 3}, {"keepTagRevisions": 4}) == some
    # The state of the dynamic provider, under the alias.
    assert changes({"keep_tag_revisions": 3, "__provider": "x"}, {"keepTagRevisions": 3, "plan": {}}) == none


def test_an_import_has_no_plan_and_reads_nothing() -> None:
    answer = Servicer().Read(provider_pb2.ReadRequest(id="cluster"), None)
    assert (answer.id, dict(answer.inputs)) == ("cluster", {"plan": struct_pb2.Struct()})


def test_policies_see_both_types_by_the_names_of_parameters() -> None:
    dynamic = {"plan": {"fingerprint": "x"}, "registry_url": "https://r"}
    native = {"plan": {"fingerprint": "x"}, "registryUrl": "https://r"}
    found = [inputs_of(DYNAMIC_TYPE, dynamic), inputs_of(of_native.TYPE, native)]
    assert [dict(each or {}) for each in found] == [dynamic, dynamic]
    assert inputs_of("kubernetes:core/v1:Pod", native) is None
