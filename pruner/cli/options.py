"""Options of commands: one for each parameter, made from its declaration."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from pruner.errors import Problem, SettingsError
from pruner.settings import PARAMETERS, ConnectionSettings, Parameter, read

SECRETS_FROM: Final = (
    "Tokens and passwords are read from the environment (K8S_AUTH_API_KEY, K8S_AUTH_PASSWORD), since others can see "
    "arguments."
)
FILE: Final = click.Path(dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(file_okay=False, path_type=Path)

as_json: Final = click.option("--json", "as_json", is_flag=True, help="Write JSON to standard output.")


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for every parameter that is not a secret, and call it with the `Settings` as its first argument."""
    return _with_options(command, _shown())


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `settings_options`, with the parameters alone that say how to reach the API server, and `as_of`."""
    names = {field.name for field in dataclasses.fields(ConnectionSettings) if not field.name.startswith("registry_")}
    return _with_options(command, [each for each in _shown() if each.name in names | {"as_of"}])


def _with_options(command: Callable[..., Any], parameters: Sequence[Parameter]) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_settings(**options: Any) -> Any:
        given = {parameter.name: options.pop(parameter.name) for parameter in parameters}
        present = {name: value for name, value in given.items() if value is not None}
        _check_text({_option(name): value for name, value in present.items()})
        _check_text({each.environment or "": os.environ.get(each.environment or "", "") for each in PARAMETERS})
        return command(read(present, environ=os.environ), **options)

    for parameter in reversed(parameters):
        with_settings = _of_parameter(parameter)(with_settings)
    return with_settings


def _of_parameter(parameter: Parameter) -> Callable[..., Any]:
    kind = click.Choice(parameter.choices) if parameter.choices else None
    metavar = None if parameter.choices else "BOOL" if parameter.kind == "boolean" else parameter.metavar
    return click.option(_option(parameter.name), parameter.name, type=kind, metavar=metavar, help=parameter.help)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _check_text(given: Mapping[str, str]) -> None:
    """Raise SettingsError for what is not text in the encoding of the system: the operating system hands it on as it is."""
    problems = []
    for name, value in given.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            problems.append(Problem(name, "is not UTF-8"))
    if problems:
        raise SettingsError(problems)


def _shown() -> list[Parameter]:
    return [parameter for parameter in PARAMETERS if not parameter.secret]
