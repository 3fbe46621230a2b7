"""The command line: what Pulumi has no verb for.

Each command lives with what it shows and is imported when it is called. `settings_options` gives a command every parameter as an option,
made from `pruner.settings.PARAMETERS`; secrets have none, since arguments of a process can be seen by others: they come from the
environment. An error of pruner.errors is printed as it is and ends with exit code 1, wrong options end with 2.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from pruner import __version__, installation
from pruner.errors import PrunerError, SettingsError
from pruner.settings import PARAMETERS, Parameter, read

COMMANDS: Final[dict[str, str]] = {
    "doctor": "pruner.doctor:doctor",
    "explain": "pruner.explain:command",
    "fleet": "pruner.fleet.cli:fleet",
    "plan": "pruner.report.cli:plan",
    "policy-pack": "pruner.cli:policy_pack",
    "report": "pruner.report.cli:report",
}
"""Where each command is."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, version=__version__, prog_name="pruner")
def main() -> None:
    """Explain, report and check what `pulumi preview` plans and `pulumi up` prunes."""


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every parameter as an option, and call it with the `Settings` as its first argument.

    Errors of pruner.errors that it raises are printed, and end the process with exit code 1.
    """

    @functools.wraps(command)
    def with_settings(**options: Any) -> Any:
        given = {name: options.pop(name) for name in [parameter.name for parameter in _shown()]}
        try:
            settings = read({name: value for name, value in given.items() if value is not None}, environ=os.environ)
        except SettingsError as error:
            for problem in error.problems:
                click.echo(f"error: {problem}", err=True)
            sys.exit(2)
        return errors_shown(functools.partial(command, settings))(**options)

    for parameter in reversed(_shown()):
        name = "--" + parameter.name.replace("_", "-")
        kind = click.Choice(parameter.choices) if parameter.choices else None
        metavar = None if parameter.choices else "BOOL" if parameter.kind == "boolean" else parameter.metavar
        decorate = click.option(name, parameter.name, type=kind, metavar=metavar, help=parameter.help)
        with_settings = decorate(with_settings)
    return with_settings


def errors_shown(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print the errors of pruner.errors as they are, and end with exit code 1."""

    @functools.wraps(command)
    def shown(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except PrunerError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return shown


@click.command(name="policy-pack")
@errors_shown
def policy_pack() -> None:
    """Print the path of the policy pack, for `pulumi preview --policy-pack`."""
    click.echo(installation.policy_pack())


def _shown() -> list[Parameter]:
    return [parameter for parameter in PARAMETERS if not parameter.secret]
