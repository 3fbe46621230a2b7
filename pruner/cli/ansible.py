"""Reads a task of the Ansible module community.okd.openshift_adm_prune_images as parameters of pruner.

The task may stand alone, in a list of tasks, or in a playbook. The module's options have the names of pruner's
parameters, since those are named after them. A template has no value outside of Ansible, so it is refused, except where
the value is a secret and left out anyway.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from pruner.cli.translation import Counterpart, Translation, translation
from pruner.documents.values import DocumentError, from_yaml
from pruner.errors import Problem, SettingsError
from pruner.settings import ALIASES, BY_NAME, PARAMETERS, PROXY_HEADERS, SECRETS, shown
from pruner.suggestions import did_you_mean

MODULES: Final = tuple(
    f"{collection}openshift_adm_prune_images" for collection in ("community.okd.", "redhat.openshift.", "")
)
"""Names of the module: of the collection, of the one with support, and without either."""

OPTIONS: Final[Mapping[str, Counterpart]] = {
    "all_images": Counterpart("all_images"),
    "api_key": Counterpart("api_key"),
    "ca_cert": Counterpart("ca_cert"),
    "client_cert": Counterpart("client_cert"),
    "client_key": Counterpart("client_key"),
    "context": Counterpart("context"),
    "host": Counterpart("host"),
    "ignore_invalid_refs": Counterpart("ignore_invalid_refs"),
    "impersonate_groups": Counterpart("impersonate_groups"),
    "impersonate_user": Counterpart("impersonate_user"),
    "keep_younger_than": Counterpart(
        "keep_younger_than",
        "without it the module prunes images of any age; pruner keeps those younger than 60 minutes",
    ),
    "kubeconfig": Counterpart("kubeconfig"),
    "namespace": Counterpart("namespace"),
    "no_proxy": Counterpart("no_proxy"),
    "password": Counterpart("password"),
    "persist_config": Counterpart("persist_config"),
    "proxy": Counterpart("proxy"),
    "proxy_headers": Counterpart("proxy_headers"),
    "prune_over_size_limit": Counterpart("prune_over_size_limit"),
    "prune_registry": Counterpart("prune_registry"),
    "registry_ca_cert": Counterpart("registry_ca_cert"),
    "registry_url": Counterpart("registry_url"),
    "registry_validate_certs": Counterpart("registry_validate_certs"),
    "username": Counterpart("username"),
    "validate_certs": Counterpart("validate_certs"),
}
"""Every option of the module, and what it is here."""

_BLOCKS: Final = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")
_SILENT: Final = frozenset({"name", "tags", "args", "environment", "no_log", "vars"})
"""Keywords of a task that need no word here."""
_KEYWORDS: Final[Mapping[str, str]] = {
    "check_mode": "`pulumi preview` shows what would be deleted, and deletes nothing",
    "register": "the outputs of the stack are summary and skipped, and docs/library.md has the others",
    "delegate_to": "pulumi runs where its program runs",
}
_KEEP_REVISIONS: Final = (
    "keep_tag_revisions: the module has no such option and keeps only the revision that is in use; "
    "pruner keeps the newest 3 of every tag unless this is set"
)


class _Task(msgspec.Struct, frozen=True):
    keywords: Mapping[str, Any]
    arguments: Any
    defaults: Mapping[str, Any]
    """What the plays and blocks around it give the module by default."""


def from_task(text: str, *, name: str | None = None) -> Translation:
    """The parameters that the one task of the module in this YAML stands for, or the one with the name.

    Raises SettingsError for a task that cannot be translated.
    """
    try:
        document = from_yaml(text, texts=("!vault", "!unsafe"))
    except DocumentError as error:
        raise SettingsError([Problem("", f"the task {error}")]) from None
    task = _only(list(_tasks(document, {})), name)
    notes: list[str] = []
    problems: list[Problem] = []
    given = {**task.defaults, **_arguments(task, problems)}
    values: dict[str, Any] = {}
    for option, value in given.items():
        parameter = ALIASES.get(str(option), str(option))
        if parameter not in OPTIONS:
            problems.append(
                Problem("", f"the module has no option {shown(option)}{did_you_mean(str(option), OPTIONS)}")
            )
        elif value is not None:
            values[parameter] = value
    _take_environment(task.keywords.get("environment"), values, notes)
    problems.extend(
        Problem(option, f"{shown(value)} has a template, whose value only Ansible knows; write the value in its place")
        for option, value in values.items()
        if _is_template(_shown_part(option, value))
    )
    notes.extend(
        f"{keyword}: {_KEYWORDS.get(keyword, 'has no counterpart; what it does is up to your pipeline')}"
        for keyword in task.keywords
        if keyword not in _SILENT
    )
    if "keep_younger_than" not in values:
        notes.append(f"keep_younger_than: {OPTIONS['keep_younger_than'].note}")
    notes.append(_KEEP_REVISIONS)
    return translation(values, notes, problems)


def _tasks(document: Any, defaults: Mapping[str, Any]) -> Iterator[_Task]:
    """The tasks of the module, in the order in which they stand."""
    if isinstance(document, list):
        for entry in document:
            yield from _tasks(entry, defaults)
    if not isinstance(document, Mapping):
        return
    module = next((each for each in MODULES if each in document), None)
    if module is not None:
        keywords = {str(key): value for key, value in document.items() if key != module}
        yield _Task(keywords, document[module], {**defaults, **_defaults(document)})
        return
    for key in _BLOCKS:
        yield from _tasks(document.get(key), {**defaults, **_defaults(document)})


def _defaults(document: Mapping[str, Any]) -> dict[str, Any]:
    """What its `module_defaults` say for this module, by its name or by the group of its collection."""
    found = document.get("module_defaults")
    if not isinstance(found, Mapping):
        return {}
    merged: dict[str, Any] = {}
    for key in ("group/community.okd.okd", "group/redhat.openshift.openshift", *MODULES):
        if isinstance(found.get(key), Mapping):
            merged |= found[key]
    return merged


def _only(tasks: list[_Task], name: str | None) -> _Task:
    chosen = [task for task in tasks if name is None or task.keywords.get("name") == name]
    if len(chosen) == 1:
        return chosen[0]
    if not tasks:
        raise SettingsError([Problem("", f"there is no task of {MODULES[0]} in it")])
    names = ", ".join(shown(task.keywords.get("name")) for task in tasks)
    if name is not None and not chosen:
        raise SettingsError([Problem("", f"no task of the module is called {shown(name)}; there are {names}")])
    raise SettingsError([Problem("", f"there are {len(chosen)} tasks of the module ({names}); choose one with --name")])


def _arguments(task: _Task, problems: list[Problem]) -> dict[str, Any]:
    """The options of the module that the task gives, in each of the ways in which Ansible lets them be written."""
    given: dict[str, Any] = {}
    for place, part in (("args", task.keywords.get("args")), ("", task.arguments)):
        if isinstance(part, str) and not place:
            given |= _of_text(part, problems)
        elif isinstance(part, Mapping):
            given |= {str(option): value for option, value in part.items()}
        elif part is not None:
            problems.append(Problem(place, "the module's options are a map"))
    return given


def _of_text(text: str, problems: list[Problem]) -> dict[str, str]:
    """Options as `name=value name=value`."""
    try:
        pairs = [word.partition("=") for word in shlex.split(text)]
    except ValueError:
        pairs = [(text, "", "")]
    if not all(equals for _, equals, _ in pairs):
        problems.append(Problem("", "the module's options are a map, or name=value with spaces between"))
        return {}
    return {name: value for name, _, value in pairs}


def _take_environment(environment: Any, values: dict[str, Any], notes: list[str]) -> None:
    """Parameters that the task gives as variables of the environment; its options win, as in Ansible."""
    if environment is None:
        return
    if not isinstance(environment, Mapping):
        notes.append("environment: set its variables for pulumi as well")
        return
    by_variable = {each.environment: each.name for each in PARAMETERS if each.environment and each.name in OPTIONS}
    headers = {header: environment[variable] for header, variable in PROXY_HEADERS.items() if variable in environment}
    if headers:
        values.setdefault("proxy_headers", headers)
    for variable, value in environment.items():
        if variable == BY_NAME["validate_certs"].environment:
            values.setdefault("validate_certs", value)
        elif variable in by_variable:
            values.setdefault(by_variable[variable], value)
        elif variable not in PROXY_HEADERS.values():
            notes.append(f"environment: {shown(variable)}: set this variable for pulumi as well")


def _shown_part(option: str, value: Any) -> Any:
    """What the translation shows of the value."""
    if option == "proxy_headers" and isinstance(value, Mapping):
        return value.get("user_agent")
    return None if option in SECRETS else value


def _is_template(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_template, value.values()))
    if isinstance(value, list):
        return any(map(_is_template, value))
    return isinstance(value, str) and ("{{" in value or "{%" in value)
