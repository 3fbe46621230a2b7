"""Further clusters whose workloads pull from this registry: `uses_from` (R38)."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pruner.documents.values import DocumentError, check_bounds
from pruner.errors import SettingsError
from pruner.settings.connection import ConnectionSettings
from pruner.settings.files import json_value, yaml_in_file
from pruner.settings.parameter import Parameter
from pruner.settings.references import Reference, with_references
from pruner.settings.shown import may_hold_credentials, shown
from pruner.settings.values import UnfitError, registry_url, text_of, texts
from pruner.suggestions import did_you_mean

MOST_CLUSTERS: Final = 1000
"""More clusters than that come from a generator that has gone wrong."""
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""As the clusters of a fleet are named."""
_KEYS: Final = ("name", "settings")
_PLACES: Final = ("host", "kubeconfig", "context")
CONNECTION: Final = tuple(
    field.name for field in dataclasses.fields(ConnectionSettings) if not field.name.startswith("registry_")
)
"""Parameters that say how to reach another cluster, whose registry is not asked."""


@dataclass(frozen=True, kw_only=True, repr=False)
class UsingCluster:
    """A cluster whose workloads pull from this registry, and how to reach it."""

    name: str
    connection: ConnectionSettings

    def __repr__(self) -> str:
        return f"UsingCluster({self.name})"


def uses_from(value: object) -> tuple[UsingCluster, ...]:
    """The clusters, from a list of maps, JSON, or the path of a YAML file.

    Raises UnfitError with every mistake in every cluster; none of them shows a credential.
    """
    problems: list[str] = []
    clusters: list[UsingCluster] = []
    names: dict[str, int] = {}
    for position, entry in enumerate(_entries(value), 1):
        wrong: list[str] = []
        name = _name(entry, wrong)
        connection = _connection(entry, wrong)
        first = names.setdefault(name.lower(), position) if name else position
        if first != position:
            wrong.append(f"cluster {first} has the same name, which reasons show; choose another one")
        if connection is not None and not wrong:
            clusters.append(UsingCluster(name=name, connection=connection))
        where = f"cluster {position} ({name})" if name else f"cluster {position}"
        problems += [f"{where}: {problem}" for problem in wrong]
    if problems:
        raise UnfitError(*problems)
    return tuple(clusters)


def names_of(value: object) -> tuple[str, ...]:
    """The names alone of these clusters: how they are reached, and with which credentials, is not looked at."""
    problems: list[str] = []
    names = tuple([_name(entry, problems) for entry in _entries(value)])
    if problems:
        raise UnfitError(*problems)
    return names


def registry_hosts(value: object) -> tuple[str, ...]:
    """Hosts of a registry, `host[:port]`."""
    hosts = texts(value)
    for host in hosts:
        try:
            fit = "://" not in host and registry_url(host) == host
        except UnfitError:
            fit = False
        if not fit:
            # Of an address that is cut at the commas in its password each part looks harmless.
            quoted = "what is given" if may_hold_credentials(value) else shown(host)
            raise UnfitError(f"takes host[:port] without scheme and path, not {quoted}")
    return hosts


def _entries(value: object) -> list[object]:
    """The list as it is given, as JSON, or in a YAML file."""
    if isinstance(value, str):
        text = text_of(value).strip()
        value = json_value(text) if text.startswith(("[", "{")) else yaml_in_file(text)
    if isinstance(value, Mapping) and list(value) == ["uses_from"]:
        value = value["uses_from"]
    if not isinstance(value, list | tuple):
        raise UnfitError(f"takes a list of maps of name and settings, not {shown(value)}")
    if len(value) > MOST_CLUSTERS:
        raise UnfitError(f"has {len(value)} clusters; at most {MOST_CLUSTERS} are allowed")
    try:
        check_bounds(list(value))
    except DocumentError as error:
        raise UnfitError(str(error)) from None
    return list(value)


def _name(entry: object, wrong: list[str]) -> str:
    """The name of a cluster; empty where it has none that can be used."""
    if not isinstance(entry, Mapping):
        wrong.append(f"takes a map of name and settings, not {shown(entry)}")
        return ""
    wrong += [f"there is no key {shown(key)}{did_you_mean(str(key), _KEYS)}" for key in entry if key not in _KEYS]
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        wrong.append(f"name takes at most 100 letters, digits, _, . and -, such as kiel, not {shown(name)}")
        return ""
    return name


def _connection(entry: object, wrong: list[str]) -> ConnectionSettings | None:
    """How to reach a cluster, by the parameters that say how to reach the own one; what is wrong is added."""
    # It reads all parameters, of which uses_from is one.
    from pruner.settings.sources import read  # noqa: PLC0415

    if not isinstance(entry, Mapping):
        return None
    given = entry.get("settings")
    if not isinstance(given, Mapping):
        wrong.append(f"settings takes a map of parameters that say how to reach it, such as host, not {shown(given)}")
        return None
    known = {alias: name for name in CONNECTION for alias in (name, *_aliases(name))}
    values = {}
    for key, part in given.items():
        if key in known:
            values[str(key)] = _looked_up(with_references(part), str(key), wrong)
        else:
            wrong.append(f"settings: {shown(key)} does not say how to reach a cluster{did_you_mean(str(key), known)}")
    if not {known[key] for key, part in values.items() if part is not None} & set(_PLACES):
        # The current context would be the cluster that is pruned.
        wrong.append("settings do not say where it is; give host, kubeconfig or context")
        return None
    try:
        settings = read(values)
    except SettingsError as error:
        wrong += [f"settings: {problem}" for problem in error.problems]
        return None
    fields = dataclasses.fields(ConnectionSettings)
    return ConnectionSettings(**{field.name: getattr(settings, field.name) for field in fields})


def _aliases(name: str) -> tuple[str, ...]:
    from pruner.settings.parameters import BY_NAME  # noqa: PLC0415

    return BY_NAME[name].aliases


def _looked_up(value: Any, name: str, wrong: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _looked_up(part, f"{name}.{key}", wrong) for key, part in value.items()}
    if not isinstance(value, Reference):
        return value
    try:
        return value.looked_up(Path(), os.environ)
    except UnfitError as unfit:
        wrong.append(f"settings: {name}: {unfit}")
        return None


@dataclass(frozen=True, kw_only=True)
class ElsewhereSettings:
    """Which other clusters use images of this registry, and by which hosts they know it."""

    uses_from: Annotated[
        tuple[UsingCluster, ...],
        Parameter(
            parse=uses_from,
            metavar="FILE",
            takes="list of maps of name and settings, or path of a YAML file with them",
            help="Further clusters that pull from this registry: what they use is kept",
        ),
    ] = ()
    registry_hosts: Annotated[
        tuple[str, ...],
        Parameter(
            parse=registry_hosts,
            metavar="LIST",
            takes="list of host[:port]",
            help="Further hosts by which the clusters of uses_from name this registry",
        ),
    ] = ()
