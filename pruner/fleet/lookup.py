"""Settings of a cluster with their references looked up, in the
environment and in files, and checked as the provider will check them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pruner.documents.places import parse_document
from pruner.errors import Problem, SettingsError
from pruner.fleet.model import Cluster
from pruner.settings import ALIASES, Reference, UnfitError, read


def resolved(cluster: Cluster, folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a cluster with references looked up, and checked as the provider will. Raises SettingsError."""
    problems: list[Problem] = []
    values = {
        name: _looked_up(setting.value, folder, environ, setting.where, problems)
        for name, setting in cluster.settings.items()
    }
    if "kubeconfig" in values:
        values["kubeconfig"] = _parsed(values["kubeconfig"])
    if not problems:
        try:
            read(values)
        except SettingsError as error:
            for problem in error.problems:
                setting = cluster.settings.get(ALIASES.get(problem.parameter, problem.parameter))
                where = setting.where if setting else cluster.where
                problems.append(Problem(where, f"cluster {cluster.name}: {problem}"))
    if problems:
        raise SettingsError(problems)
    return values


def _parsed(kubeconfig: Any) -> Any:
    """What a variable or a file holds may be a kubeconfig itself, and then is YAML of more than a line."""
    if not isinstance(kubeconfig, str) or "\n" not in kubeconfig:
        return kubeconfig
    try:
        found = parse_document(kubeconfig, "kubeconfig").value
    except SettingsError:
        return kubeconfig
    return found if isinstance(found, dict) else kubeconfig


def _looked_up(value: Any, folder: Path, environ: Mapping[str, str], where: str, problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return {name: _looked_up(part, folder, environ, where, problems) for name, part in value.items()}
    if isinstance(value, list):
        return [_looked_up(part, folder, environ, where, problems) for part in value]
    if not isinstance(value, Reference):
        return value
    try:
        return value.looked_up(folder, environ)
    except UnfitError as unfit:
        problems.append(Problem(where, str(unfit)))
        return None
