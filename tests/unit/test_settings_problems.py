"""What is wrong with parameters: each against its own name, all of them at once, and before anything is contacted."""

from pathlib import Path
from typing import Any

import pytest

from pruner.errors import SettingsError
from pruner.settings import PARAMETERS, PRESETS, SECRETS, Settings, read

SECRET = "planted-secret"
KNOWN = ", ".join(PRESETS)


def problems(given: dict[str, Any], **more: Any) -> dict[str, str]:
    """Message by parameter."""
    with pytest.raises(SettingsError) as raised:
        read(given, **more)
    return {problem.parameter: problem.message for problem in raised.value.problems}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("all_images", "maybe", "takes true or false, not 'maybe'"),
        ("ignore_invalid_refs", 2, "takes true or false, not 2"),
        ("keep_younger_than", -1, "must be at least 0, not -1; it is an age in minutes, or such as 36h or 14d"),
        ("keep_younger_than", "an hour",
         "takes a whole number, not 'an hour'; it is an age in minutes, or such as 36h or 14d"),
        ("keep_younger_than", 1.5, "takes a whole number, not 1.5; it is an age in minutes, or such as 36h or 14d"),
        ("keep_younger_than", True, "takes a whole number, not True; it is an age in minutes, or such as 36h or 14d"),
        ("keep_younger_than", "inf", "takes a whole number, not 'inf'; it is an age in minutes, or such as 36h or 14d"),
        ("keep_younger_than", "nan", "takes a whole number, not 'nan'; it is an age in minutes, or such as 36h or 14d"),
        ("keep_younger_than", 10**30,
         f"must be at most 1000000000, not {10**30}; it is an age in minutes, or such as 36h or 14d"),
        ("namespace", "Shop", "'Shop' is not a namespace's name: lower case letters, digits and dashes, at most 63"),
        ("namespace", " ", "is empty"),
        ("registry_url", "https://registry/path",
         "takes [scheme://]host[:port] without a path, not 'https://registry/path'"),
        ("registry_url", "ftp://registry", "takes [scheme://]host[:port], not 'ftp://registry'"),
        ("registry_url", "registry:port", "takes [scheme://]host[:port], not 'registry:port'"),
        ("registry_url", "user:pw@registry", "takes [scheme://]host[:port] without credentials"),
        ("registry_ca_cert", "/not/there", "there is no file '/not/there'"),
        ("host", "api.example.org", "takes a URL like https://host:port, not 'api.example.org'"),
        ("host", "https://a b", "takes a URL like https://host:port, not 'https://a b'"),
        ("host", "https://2001:db8::1:6443", "is not a URL: Port could not be cast to integer value as 'db8::1:6443'"),
        ("host", "https://api:0", "takes a URL like https://host:port, not 'https://api:0'"),
        ("host", "https://api?x=y", "takes a URL without query and fragment"),
        ("host", "https://u:p@api", "takes a URL without credentials in it: give username and password, or api_key"),
        ("api_key", "two\nlines", "contains a line break or another control character, which a header cannot carry"),
        ("api_key", "", "takes a text that is not empty"),
        ("ca_cert", "/not/there", "there is no file '/not/there'"),
        ("ca_cert", "~no-such-user/ca.pem", "'~no-such-user/ca.pem' names a user whose home is not known"),
        ("ca_cert", "x" * 300, "there is no file a text of 300 characters (not shown: it may hold credentials)"),
        ("validate_certs", "perhaps", "takes true or false, not 'perhaps'"),
        ("kubeconfig", "/not/there", "there is no file '/not/there'"),
        ("kubeconfig", {}, "is empty"),
        ("kubeconfig", "{broken", "is neither a path nor the content of a kubeconfig, in YAML or JSON"),
        ("kubeconfig", "just\na text", "is neither a path nor the content of a kubeconfig, in YAML or JSON"),
        ("impersonate_groups", ["a\r\nb"],
         "contains a line break or another control character, which a header cannot carry"),
        ("impersonate_groups", [1], "takes a list of texts"),
        ("proxy", "proxy:3128", "takes a URL like https://host:port, not 'proxy:3128'"),
        ("proxy_headers", {"basic": "a:b"}, "does not know 'basic', did you mean 'basic_auth'?"),
        ("proxy_headers", {"basic_auth": "nobody"}, "basic_auth takes user:password"),
        ("proxy_headers", "text", "takes a map of basic_auth, proxy_basic_auth and user_agent"),
        ("keep_tag_revisions", -3, "must be at least 0, not -3"),
        ("references", "all", "takes 'extended' or 'oc', not 'all'"),
        ("extra_referrers", ["argo-rollout"],
         f"knows no preset 'argo-rollout', did you mean 'argo-rollouts'?; there are {KNOWN}"),
        ("protect", ["justaname"],
         "'justaname' is none of namespace/stream, namespace/stream:tag and a digest (* and ? are wildcards)"),
        ("protect", ["a/b@x:1"],
         "'a/b@x:1' is none of namespace/stream, namespace/stream:tag and a digest (* and ? are wildcards)"),
        ("approved_plan", "/not/there", "there is no file '/not/there'"),
        ("approved_digest", "sha256:12",
         "takes a SHA-256 digest, 64 hex digits as sha256sum prints them, not 'sha256:12'"),
        ("approved_digest", 12, "takes a text, not int"),
        ("as_of", "yesterday", "takes an RFC 3339 time like 2026-01-31T12:00:00Z, not 'yesterday'"),
        ("as_of", "2026-01-31T12:00:00",
         "'2026-01-31T12:00:00' does not say in which time zone it is; append Z for UTC"),
        ("as_of", "0001-01-01T00:00:00+05:00", "'0001-01-01T00:00:00+05:00' is outside of what a calendar has"),
        ("max_deletions", "110%", "takes a number, or 0% to 100%, not '110%'"),
        ("max_deletions", "many", "takes a whole number, not 'many'"),
        ("keep_used_within", 0, "must be at least a minute; leave it out for no window"),
        ("keep_used_within", "a month",
         "takes a whole number, not 'a month'; it is an age in minutes, or such as 36h or 14d"),
        ("usage_history", "[]", "takes a map of url, ca_cert, token, partial_history, not a list"),
        ("usage_history", {"url": "thanos"}, "url takes a URL like https://host:port, not 'thanos'"),
        ("usage_history", {"url": "https://a", "token": "a b"},
            "token contains a space or a character other than ASCII, which no token has"),
        ("usage_history", {"url": "https://a", "tokn": "x"}, "there is no key 'tokn', did you mean 'token'?"),
        ("usage_history", {"url": "https://a", "ca_cert": "/not/there"}, "ca_cert there is no file '/not/there'"),
        ("usage_history", {"token": "x"},
         "url is missing, such as url: https://thanos-querier-openshift-monitoring.apps.example.org"),
        ("uses_from", "/not/there", "there is no file '/not/there'"),
        ("uses_from", {"kiel": {}}, "takes a list of maps of name and settings, not a map"),
        ("uses_from", [{"name": "kiel", "settings": {"api_key": "sesame"}}],
         "cluster 1 (kiel): settings do not say where it is; give host, kubeconfig or context"),
        ("uses_from", [{"name": "kiel", "setting": {"context": "k"}, "settings": {"context": "k"}}],
         "cluster 1 (kiel): there is no key 'setting', did you mean 'settings'?"),
        ("uses_from", [{"name": "kiel", "settings": {"context": "k", "registry_url": "r"}}],
         "cluster 1 (kiel): settings: 'registry_url' does not say how to reach a cluster"),
        ("uses_from", [{"name": "kiel", "settings": {"context": "k", "api_key": "a b"}}],
         "cluster 1 (kiel): settings: api_key: contains a space or a character other than ASCII, which no token has"),
        ("uses_from", [{"name": "kiel", "settings": {"context": "k", "api_key": {"env": "NOT_SET_HERE"}}}],
         "cluster 1 (kiel): settings: api_key: the environment has no NOT_SET_HERE"),
        ("uses_from", [{"name": "kiel", "settings": {"context": "k", "api_key": {"env": "sha256~planted"}}}],
         "cluster 1 (kiel): settings: api_key: the environment has no "
         "variable or file of that name (not shown: it may hold credentials)"),
        ("registry_hosts", "https://hub.example.org",
         "takes host[:port] without scheme and path, not 'https://hub.example.org'"),
        ("registry_hosts", "a,hub.example.org/shop",
         "takes host[:port] without scheme and path, not 'hub.example.org/shop'"),
        ("restart_registry", "later", "takes true or false, not 'later'"),
        ("workers", 0, "must be at least 1, not 0"),
        ("workers", "9" * 400, "must be at most 10000, not a number of more than 90 digits"),
        ("report", "/", "'/' is a folder; give a file"),
        ("report", "x." * 150, f"'{'x.' * 60}...' cannot be a file: File name too long"),
        ("report", "x" * 300,
         "a text of 300 characters (not shown: it may hold credentials) cannot be a file: File name too long"),
    ],
)  # fmt: skip
def test_bad_value_is_a_problem_of_its_parameter(name: str, value: Any, message: str) -> None:
    assert problems({name: value}) == {name: message}


def test_number_that_python_does_not_write_is_a_problem() -> None:
    """Integers of more than 4300 digits."""
    assert problems({"workers": -(10**5000), "keep_younger_than": 10**5000}) == {
        "workers": "must be at least 1, not a number of more than 90 digits",
        "keep_younger_than": "must be at most 1000000000, not a number of more than 90 digits; "
        "it is an age in minutes, or such as 36h or 14d",
    }


def test_file_without_a_certificate_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing", encoding="utf-8")

    assert problems({"ca_cert": str(tmp_path / "ca")}) == {
        "ca_cert": f"the file '{tmp_path}/ca' holds nothing in PEM form"
    }


def test_all_problems_are_said_at_once() -> None:
    found = problems(
        {"host": "nowhere", "keep_younger_than": -1, "namspace": "shop", "workers": "some"},
        environ={"K8S_AUTH_PROXY": "x"},
    )

    assert set(found) == {"host", "keep_younger_than", "namspace", "workers", "proxy"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("namspace", "namespace"),
        ("keep_youngerthan", "keep_younger_than"),
        ("apikey", "api_key"),
        ("verifyssl", "verify_ssl"),
        ("registry", "registry_url"),
    ],
)
def test_unknown_name_is_said_with_the_nearest_known_one(name: str, nearest: str) -> None:
    assert problems({name: "x"}) == {name: f"there is no such parameter, did you mean {nearest!r}?"}


def test_unknown_name_that_is_like_none_is_said() -> None:
    assert problems({"qqq": "x"}) == {"qqq": "there is no such parameter"}


def test_bad_value_of_the_environment_is_said_with_the_variable() -> None:
    found = problems({}, environ={"K8S_AUTH_VERIFY_SSL": "perhaps"})

    assert found["validate_certs"] == "takes true or false, not 'perhaps' (from the environment, K8S_AUTH_VERIFY_SSL)"


# --- contradictions --------------------------------------------------------------------------------------------------


@pytest.fixture
def pem(tmp_path: Path) -> str:
    (tmp_path / "pem").write_text("-----BEGIN CERTIFICATE-----\n", encoding="utf-8")
    return str(tmp_path / "pem")


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"api_key": "x", "username": "jane", "password": "x"}, "api_key"),
    ({"username": "jane"}, "username"),
    ({"password": "x"}, "password"),
    ({"client_key": "{pem}"}, "client_key"),
    ({"impersonate_groups": ["a"]}, "impersonate_groups"),
    ({"approved_digest": "0" * 64}, "approved_digest"),
    ({"ca_cert": "{pem}", "host": "http://api"}, "ca_cert"),
    ({"client_cert": "{pem}", "host": "http://api"}, "client_cert"),
    ({"registry_ca_cert": "{pem}", "registry_url": "http://registry"}, "registry_ca_cert"),
    ({"registry_ca_cert": "{pem}", "registry_validate_certs": False}, "registry_ca_cert"),
    ({"proxy_headers": {"proxy_basic_auth": "a:b"}, "kubeconfig": None}, "proxy_headers"),
    ({"persist_config": True, "kubeconfig": {"clusters": []}}, "persist_config"),
]


@pytest.mark.parametrize(("given", "parameter"), CONTRADICTIONS)
def test_contradiction_is_a_problem(given: dict[str, Any], parameter: str, pem: str) -> None:
    filled = {name: pem if value == "{pem}" else value for name, value in given.items()}

    assert set(problems(filled)) == {parameter}


def test_same_value_under_two_names_is_none() -> None:
    assert read({"validate_certs": False, "verify_ssl": False}).validate_certs is False


def test_two_values_under_two_names_are_a_contradiction() -> None:
    assert problems({"validate_certs": True, "verify_ssl": False}) == {
        "verify_ssl": "is another name of validate_certs, and both are given with different values"
    }


def test_token_that_is_given_and_a_name_in_the_environment_do_not_contradict_each_other() -> None:
    """What is given first wins, with all that belongs to it: a variable of the machine must not make it wrong."""
    settings = read({"api_key": "x"}, environ={"K8S_AUTH_USERNAME": "jane", "K8S_AUTH_PASSWORD": "x"})

    assert (settings.api_key, settings.username, settings.password) == ("x", None, None)


def test_name_that_is_given_and_a_token_in_the_environment_do_not_contradict_each_other() -> None:
    settings = read({"username": "jane", "password": "x"}, environ={"K8S_AUTH_API_KEY": "x"})

    assert (settings.api_key, settings.username) == (None, "jane")


def test_name_that_is_given_takes_its_password_from_the_environment() -> None:
    settings = read({"username": "jane"}, environ={"K8S_AUTH_PASSWORD": "x", "K8S_AUTH_CERT_FILE": "/not/there"})

    assert (settings.username, settings.password, settings.client_cert) == ("jane", "x", None)


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_are_what_proves_who_asks() -> None:
    assert {parameter.name for parameter in PARAMETERS if parameter.secret} | {"kubeconfig"} == SECRETS
    assert {"api_key", "password", "proxy_headers"} <= SECRETS


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": SECRET},
        {"username": "jane", "password": SECRET},
        {"kubeconfig": {"users": [{"user": {"token": SECRET}}]}},
        {"proxy": "http://proxy", "proxy_headers": {"proxy_basic_auth": f"bob:{SECRET}"}},
    ],
)
def test_repr_hides_secrets(given: dict[str, Any]) -> None:
    settings = read(given)

    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert "***" in repr(settings)


def test_repr_shows_what_is_not_the_default() -> None:
    assert repr(Settings(namespace="shop")) == "Settings(namespace='shop')"


@pytest.mark.parametrize(
    "given",
    [
        {"api_key": f"{SECRET}\n"},
        {"host": f"https://u:{SECRET}@api/?x"},
        {"host": f"ftp://u:{SECRET}@api"},
        {"registry_url": f"u:{SECRET}@registry/path"},
        {"proxy": f"http://bob:{SECRET}@proxy:3128"},
        {"proxy": f"gopher://u:{SECRET}@proxy"},
        {"kubeconfig": f'{{"token": "{SECRET}"'},
        {"kubeconfig": f"users:\n- token: {SECRET}\n- ["},
        {"kubeconfig": f"token: {SECRET}: ["},
        {"proxy_headers": {"basic_auth": SECRET}},
        {"proxy_headers": f"basic_auth={SECRET}"},
    ],
)
def test_problem_shows_no_secret(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as raised:
        read(given)

    assert SECRET not in str(raised.value)
