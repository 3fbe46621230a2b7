"""`pruner translate`: a command line of oc, or a task of the Ansible module, as stack configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from pruner.cli.options import as_json

if TYPE_CHECKING:
    from pruner.cli.translation import Translation

_LARGEST: Final = 1_000_000
"""Characters of a file with a task."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("source", nargs=-1, required=True, type=click.UNPROCESSED, metavar="oc adm prune images ... | FILE")
@click.option("--format", "form", type=click.Choice(("commands", "yaml")), default="commands", show_default=True,
    help="Commands that set the configuration, or the content of Pulumi.STACK.yaml.")  # fmt: skip
@click.option("--name", metavar="NAME", help="Name of the task, where FILE has several.")
@as_json
def translate(source: tuple[str, ...], form: str, name: str | None, as_json: bool) -> None:
    """Translate a command line of oc, or an Ansible task, into stack configuration.

    FILE holds a task of community.okd.openshift_adm_prune_images, or a playbook with one; - is standard input. Nothing
    is contacted. Values of secrets are not printed. Notes about what has no counterpart go to standard error.
    """
    from pruner.cli.output import echo_json
    from pruner.printable import printable

    found = _translated(source, name)
    if as_json:
        echo_json({"settings": found.settings, "secrets": found.secrets, "notes": found.notes})
        return
    for line in (yaml_file if form == "yaml" else commands)(found):
        click.echo(line)
    for note in found.notes:
        click.echo(f"note: {printable(note)}", err=True)


def _translated(source: tuple[str, ...], name: str | None) -> Translation:
    from pruner.cli import ansible, oc

    words = oc.words_of(source[0]) if len(source) == 1 and any(map(str.isspace, source[0])) else list(source)
    if oc.is_command_line(words):
        if name is not None:
            raise click.UsageError("--name chooses a task of a file, and this is a command line")
        return oc.from_command_line(words)
    if len(source) > 1:
        raise click.UsageError("give a command line that begins with oc, or one file with a task")
    return ansible.from_task(_text(source[0]), name=name)


def _text(file: str) -> str:
    """The content of the file, or of standard input."""
    from pruner.errors import Problem, SettingsError

    try:
        if file == "-":
            text: str = sys.stdin.read(_LARGEST + 1)
        else:
            with open(file, encoding="utf-8") as opened:
                text = opened.read(_LARGEST + 1)
    except UnicodeDecodeError:
        raise SettingsError([Problem("", "the task is not UTF-8")]) from None
    if len(text) > _LARGEST:
        raise SettingsError([Problem("", f"the task has more than {_LARGEST} characters")])
    return text


def commands(found: Translation) -> Iterator[str]:
    """The commands that set the configuration. That of a secret asks for its value."""
    import shlex

    for name, value in found.settings.items():
        for path, text in _leaves(f"pruner:{name}", value):
            # Parts of lists and maps would become numbers and booleans where they look like them.
            typed = [] if path == f"pruner:{name}" else ["--path", "--type", "string"]
            yield shlex.join(["pulumi", "config", "set", *typed, *(["--"] if text.startswith("-") else []), path, text])
    for name in found.secrets:
        part = ["--path"] if "." in name else []
        yield shlex.join(["pulumi", "config", "set", "--secret", *part, f"pruner:{name}"])


def yaml_file(found: Translation) -> Iterator[str]:
    """What the configuration is in Pulumi.STACK.yaml; secrets are encrypted there, so they are set by a command."""
    import yaml

    config = {f"pruner:{name}": _as_pulumi_writes(value) for name, value in found.settings.items()}
    yield yaml.safe_dump({"config": config}, sort_keys=False, allow_unicode=False).rstrip("\n")
    yield from (f"# {line}" for line in commands(found) if " --secret " in line)


def _as_pulumi_writes(value: Any) -> Any:
    """Values at the top are texts, as `pulumi config set` writes them."""
    return value if isinstance(value, list | dict) else _text_of(value)


def _text_of(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """The value as `--path` names its parts."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(f"{path}.{key}", part)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _leaves(f"{path}[{index}]", part)
    else:
        yield path, _text_of(value)
