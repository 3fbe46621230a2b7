"""What another tool's command line or task says, in the parameters
of pruner: the value that is handed on, and how it is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from pruner.errors import Problem, SettingsError
from pruner.settings import BY_NAME, PROXY_HEADERS, is_secret, may_hold_credentials, read
from pruner.settings.values import boolean


class Translation(msgspec.Struct, frozen=True):
    """Parameters with their values as they were given, without those of secrets."""

    settings: Mapping[str, Any]
    secrets: tuple[str, ...]
    """The secrets that were given, as Pulumi names them: `api_key`, `proxy_headers.basic_auth`."""
    notes: tuple[str, ...]
    """What has no counterpart, or another meaning; one line each."""


class Counterpart(msgspec.Struct, frozen=True):
    """What becomes of an option of the other tool."""

    parameter: str | None = None
    """None for an option that has no counterpart."""
    note: str = ""
    """What is different here, or what to do instead."""
    refused: bool = False
    """Whether to leave it out would mean another cluster or user, so that nothing is translated."""
    said: bool = False
    """Whether the note concerns everybody who gives the option; otherwise the documentation has it alone."""


def translation(values: Mapping[str, Any], notes: Sequence[str], problems: Sequence[Problem]) -> Translation:
    """The translation, with all values checked as a preview checks them.

    Raises SettingsError with the `problems` and those of the values. A file that is not on this machine is a note: the
    configuration may be for another one.
    """
    notes, problems = list(notes), list(problems)
    try:
        # Values of secrets may be encrypted or templates: only that they are given is looked at.
        read({name: _stand_in(name, value) for name, value in values.items()})
    except SettingsError as error:
        for problem in error.problems:
            if problem.parameter in BY_NAME and problem.message.startswith("there is no file "):
                notes.append(f"{problem.parameter}: {problem.message} on this machine")
            else:
                problems.append(problem)
    if problems:
        raise SettingsError(problems)
    hidden = [name for name, value in values.items() if _is_hidden(name, value)]
    settings = {name: _typed(name, value) for name, value in values.items() if name not in hidden}
    secrets = [name for name in hidden if name != "proxy_headers"]
    if "proxy_headers" in hidden:
        # Each header is a value of its own, and one of them is not a secret.
        headers = values["proxy_headers"]
        secrets += [f"proxy_headers.{name}" for name in headers if name != "user_agent"]
        if "user_agent" in headers:
            settings["proxy_headers"] = {"user_agent": headers["user_agent"]}
    return Translation(settings, tuple(secrets), tuple(notes))


def _typed(name: str, value: Any) -> Any:
    """Booleans and numbers as such, however they were written."""
    if BY_NAME[name].kind == "boolean":
        return boolean(value)
    return int(value) if BY_NAME[name].kind == "integer" and str(value).isdecimal() else value


_STAND_INS: Final[Mapping[str, Any]] = {
    "api_key": "token",
    "password": "password",
    "kubeconfig": {"clusters": []},
    "client_key": "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n",
    "client_cert": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
}


def _stand_in(name: str, value: Any) -> Any:
    if not _is_hidden(name, value):
        return value
    if name == "proxy_headers" and isinstance(value, Mapping):
        return {key: "user:password" if key in PROXY_HEADERS and key != "user_agent" else value[key] for key in value}
    return _STAND_INS.get(name, value)


def _is_hidden(name: str, value: Any) -> bool:
    if name == "kubeconfig":
        # A path as a rule; `is_secret` takes it for content.
        return not isinstance(value, str) or may_hold_credentials(value)
    return name in BY_NAME and is_secret(name, value)
