"""Options of commands: one for each parameter, made from its declaration.

What a command needs when it runs is imported then, so that its help is shown at once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from pruner.cli.parameters import OPTIONS, Option
from pruner.errors import Problem, SettingsError

SECRETS_FROM: Final = (
    "Tokens and passwords are read from the environment (K8S_AUTH_API_KEY, K8S_AUTH_PASSWORD), since others can see "
    "arguments."
)


class _Path(click.Path):
    """A path, given to the command as a `pathlib.Path`."""

    def coerce_path_result(self, value: Any) -> Any:
        from pathlib import Path

        return Path(os.fsdecode(value))


FILE: Final = _Path(dir_okay=False)
FOLDER: Final = _Path(file_okay=False)
PATH: Final = _Path()

as_json: Final = click.option("--json", "as_json", is_flag=True, help="Write JSON to standard output.")


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for every parameter that is not a
    secret, and call it with the `Settings` as its first argument.
    """
    return _with_options(command, OPTIONS)


def connection_options(*also: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As `settings_options`, with the parameters alone that say how to
    reach the API server, and those that are named `also`.
    """
    chosen = [each for each in OPTIONS if each.concern == "connection" and not each.name.startswith("registry_")]
    chosen += [each for each in OPTIONS if each.name in also]
    return functools.partial(_with_options, chosen=chosen)


def _with_options(command: Callable[..., Any], chosen: Sequence[Option]) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_settings(**options: Any) -> Any:
        from pruner.settings import PARAMETERS, read

        given = {option.name: options.pop(option.name) for option in chosen}
        present = {name: value for name, value in given.items() if value is not None}
        _check_text({_flag(name): value for name, value in present.items() if isinstance(value, str)})
        _check_text({each.environment or "": os.environ.get(each.environment or "", "") for each in PARAMETERS})
        return command(read(present, environ=os.environ), **options)

    for option in reversed(chosen):
        with_settings = _of_parameter(option)(with_settings)
    return with_settings


def _of_parameter(option: Option) -> Callable[..., Any]:
    flag = _flag(option.name)
    if option.is_flag:
        # None where neither is given: the environment and the default count then.
        return click.option(f"{flag}/--no-{flag[2:]}", option.name, default=None, help=option.help)
    kind = click.Choice(option.choices) if option.choices else None
    return click.option(flag, option.name, type=kind, metavar=option.metavar, help=option.help)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _check_text(given: Mapping[str, str]) -> None:
    """Raise SettingsError for what is not text in the encoding
    of the system: the operating system hands it on as it is.
    """
    problems = []
    for name, value in given.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            problems.append(Problem(name, "is not UTF-8"))
    if problems:
        raise SettingsError(problems)
