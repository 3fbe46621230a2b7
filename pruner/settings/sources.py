"""From what the program, the stack's configuration and the environment say to `Settings`.

The first source that says something about a parameter wins. `read` contacts nothing and lists everything that is wrong
at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pruner.errors import Problem, SettingsError
from pruner.settings.parameters import ALIASES, BY_NAME, PARAMETERS, Settings
from pruner.settings.shown import LONGEST, may_hold_credentials
from pruner.settings.values import PROXY_HEADERS, UnfitError, proxy_headers
from pruner.suggestions import did_you_mean


def read(given: Mapping[str, object], environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings: `given`, which has the stack's configuration in it already, wins over the environment.

    Raises SettingsError with every problem of every parameter at once.
    """
    problems: list[Problem] = []
    merged = _by_parameter(given, problems)
    variables = _from_environment(environ or {})
    if "validate_certs" in merged:
        # The registry's follows it; the variable of both means no other thing for one of them.
        variables.pop("registry_validate_certs", None)
    settled = merged.keys() | settled_by(merged)
    merged |= {name: value for name, value in variables.items() if name not in settled}
    values: dict[str, Any] = {}
    for name, value in merged.items():
        try:
            values[name] = BY_NAME[name].parse(value)
            if name == "proxy_headers" and name in variables:
                # Each of the headers is a parameter of its own.
                values[name] = proxy_headers(variables[name]) | values[name]
        except UnfitError as unfit:
            origin = _origin(name, given, environ)
            problems.extend(Problem(name, f"{problem}{origin}") for problem in unfit.problems)
    if values.get("prune_over_size_limit"):
        # These two apply only where they are set.
        values = {"keep_younger_than": None, "keep_tag_revisions": None, **values}
    settings = Settings(**values)
    problems.extend(_contradictions(settings, frozenset(merged)))
    if problems:
        raise SettingsError(problems)
    return settings


def _by_parameter(given: Mapping[str, object], problems: list[Problem]) -> dict[str, object]:
    """What is given, by the parameters' own names. None means "not set"."""
    named: dict[str, object] = {}
    for name, value in given.items():
        parameter = ALIASES.get(name, name)
        if parameter not in BY_NAME:
            message = f"there is no such parameter{did_you_mean(name, {**BY_NAME, **ALIASES})}"
            problems.append(Problem(_shown_name(name), message))
        elif value is not None:
            if parameter in named and named[parameter] != value:
                problems.append(
                    Problem(name, f"is another name of {parameter}, and both are given with different values")
                )
            named.setdefault(parameter, value)
    return named


def _shown_name(name: str) -> str:
    if may_hold_credentials(name):
        return "a name that is not shown, since it may hold credentials"
    return name if name.isprintable() and len(name) <= LONGEST else ascii(name[:LONGEST])


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for parameter in PARAMETERS:
        if parameter.environment and environ.get(parameter.environment):
            found[parameter.name] = environ[parameter.environment]
    headers = {name: environ[variable] for name, variable in PROXY_HEADERS.items() if environ.get(variable)}
    if headers:
        found["proxy_headers"] = headers
    return found


_PROOFS: Final = (frozenset({"api_key"}), frozenset({"username", "password"}), frozenset({"client_cert", "client_key"}))
"""Ways to prove one's identity."""


def settled_by(given: Iterable[str]) -> frozenset[str]:
    """Parameters that a source with less precedence cannot add to those that are `given`.

    Credentials of one kind count alone: a variable of the machine must not contradict an argument.
    """
    names = {ALIASES.get(name, name) for name in given}
    proofs = [proof for proof in _PROOFS if proof & names]
    return frozenset().union(*_PROOFS) - frozenset().union(*proofs) if proofs else frozenset()


def _origin(name: str, given: Mapping[str, object], environ: Mapping[str, str] | None) -> str:
    """Where a bad value came from, when it is not where one would look first."""
    if {name, *BY_NAME[name].aliases} & given.keys() or not environ:
        return ""
    return f" (from the environment, {BY_NAME[name].environment})"


def _contradictions(settings: Settings, given: frozenset[str]) -> list[Problem]:
    """Combinations of values, each valid by itself, that cannot be meant."""
    plain_host = (settings.host or "").startswith("http://")
    plain_registry = (settings.registry_url or "").startswith("http://")
    unverified = settings.registry_validate_certs is False and "registry_validate_certs" in given
    checks: tuple[tuple[str, object, str], ...] = (
        ("empty_streams", settings.empty_streams is not None and settings.references == "oc",
            "needs references: extended, which finds everything that may refer to an image stream"),
        ("api_key", settings.api_key and settings.username,
            "and username are both given; give a token or a user name, not both"),
        ("approved_digest", settings.approved_digest and "approved_plan" not in given,
            "is given without approved_plan, the file that it is the digest of"),
        ("keep_used_within", settings.keep_used_within is not None and settings.usage_history is None,
            "needs usage_history, the Prometheus that knows what ran"),
        ("keep_used_within", settings.keep_used_within is not None and settings.references == "oc",
            "needs references: extended, which counts digests wherever they are named"),
        ("usage_history", settings.usage_history is not None and settings.keep_used_within is None,
            "has no effect without keep_used_within"),
        ("uses_from", settings.uses_from and settings.references == "oc",
            "needs references: extended, which counts digests wherever they are named"),
        ("registry_hosts", settings.registry_hosts and not settings.uses_from,
            "has no effect without uses_from, the clusters that pull by these hosts"),
        ("username", settings.username and "password" not in given, "is given without password"),
        ("password", settings.password and "username" not in given, "is given without username"),
        ("client_key", settings.client_key and "client_cert" not in given, "is given without client_cert"),
        ("impersonate_groups", settings.impersonate_groups and "impersonate_user" not in given,
            "needs impersonate_user: the API server accepts groups only together with a user"),
        ("persist_config", settings.persist_config and isinstance(settings.kubeconfig, dict),
            "has no effect when kubeconfig is given by its content: there is no file to write back to"),
        ("client_cert", settings.client_cert and plain_host,
            "has no effect when host begins with http://: no certificate is sent without TLS"),
        ("ca_cert", settings.ca_cert and plain_host,
            "has no effect when host begins with http://: there is no certificate to verify"),
        ("registry_ca_cert", settings.registry_ca_cert and plain_registry,
            "has no effect when registry_url begins with http://: there is no certificate to verify"),
        ("registry_ca_cert", settings.registry_ca_cert and unverified,
            "has no effect when registry_validate_certs is false"),
        ("proxy_headers", "proxy_basic_auth" in settings.proxy_headers and "proxy" not in given,
            "has proxy_basic_auth, but proxy is not given"),
    )  # fmt: skip
    return [Problem(name, message) for name, is_wrong, message in checks if is_wrong]
