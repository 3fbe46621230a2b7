"""All parameters: `Settings`, which holds their values, and `PARAMETERS`, which is read off the declarations."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from pruner.settings.connection import ConnectionSettings
from pruner.settings.declaration import AnalysisSettings, RunSettings
from pruner.settings.parameter import Kind, Parameter
from pruner.settings.shown import may_hold_credentials
from pruner.settings.values import minutes_of


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(AnalysisSettings, ConnectionSettings, RunSettings):
    """Every parameter with its value."""

    def __repr__(self) -> str:
        """What differs from the defaults, without secrets."""
        shown = (
            f"{field.name}={_concealed(field.name, getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(_DEFAULTS, field.name)
        )
        return f"Settings({', '.join(shown)})"

    @property
    def analysis(self) -> AnalysisSettings:
        """What the analysis needs, and nothing else: it stands in the plan."""
        names = [field.name for field in dataclasses.fields(AnalysisSettings)]
        return AnalysisSettings(**{name: getattr(self, name) for name in names})


# --- the parameters, read off the declarations -----------------------------------------------------------------------


def _declared(struct: type) -> list[Parameter]:
    hints = get_type_hints(struct, include_extras=True)
    return [_parameter(field, *get_args(hints[field.name])) for field in dataclasses.fields(struct)]


def _parameter(field: dataclasses.Field[Any], written: Any, declared: Parameter) -> Parameter:
    members = set(get_args(written)) if isinstance(written, types.UnionType) else {written}
    kinds = members - {types.NoneType}
    choices = next((get_args(each) for each in kinds if get_origin(each) is Literal), ())
    kind = "string" if declared.as_text else _kind(kinds)
    return msgspec.structs.replace(
        declared,
        name=field.name,
        kind=kind,
        choices=choices,
        takes=declared.takes
        or _TAKES.get(kind, "")
        or " or ".join(f"`{each}`" for each in choices)
        or declared.metavar,
        default=declared.default or _default(field),
        constant=types.NoneType not in members and declared.environment is None,
    )


_TAKES: Final[Mapping[Kind, str]] = {"boolean": "bool", "integer": "int", "array": "list", "object": "map"}


def _kind(kinds: set[Any]) -> Kind:
    if len(kinds) > 1:
        return "any" if str in kinds else "string"
    (only,) = kinds
    if isinstance(only, type) and issubclass(only, msgspec.Struct):
        return "any"
    by_type: Mapping[Any, Kind] = {bool: "boolean", int: "integer", timedelta: "integer", tuple[str, ...]: "array"}
    if get_origin(only) is dict:
        return "object"
    return by_type.get(only, "any" if get_origin(only) is tuple else "string")


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if isinstance(value, timedelta):
        return str(minutes_of(value))
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "[]" if value == () else str(value)


CONCERNS: Final = (AnalysisSettings, ConnectionSettings, RunSettings)
PARAMETERS: Final[tuple[Parameter, ...]] = tuple(parameter for struct in CONCERNS for parameter in _declared(struct))
BY_NAME: Final[Mapping[str, Parameter]] = {parameter.name: parameter for parameter in PARAMETERS}
ALIASES: Final[Mapping[str, str]] = {alias: parameter.name for parameter in PARAMETERS for alias in parameter.aliases}
SECRETS: Final = frozenset(parameter.name for parameter in PARAMETERS if parameter.secret) | {"kubeconfig"}
"""Never shown. A kubeconfig may be given by its content, which holds credentials, so it is one of them."""
HOLD_KEYS: Final = frozenset({"client_cert", "client_key", "uses_from"})
"""Paths as a rule; where they are given by their content they are secrets."""
HISTORY: Final = "usage_history"
"""A map whose token is a secret."""
_DEFAULTS: Final = Settings()


def is_secret(name: str, value: Any) -> bool:
    """Whether a parameter's value, as it is given, must be kept secret.

    A name that is no parameter may be a misspelt one of a secret.
    """
    if name in HOLD_KEYS:
        return not isinstance(value, str) or may_hold_credentials(value)
    if name == HISTORY:
        return value.get("token") is not None if isinstance(value, Mapping) else may_hold_credentials(value)
    return name in SECRETS or name not in BY_NAME


def _concealed(name: str, value: Any) -> str:
    return "***" if name in SECRETS or may_hold_credentials(value) else repr(value)
