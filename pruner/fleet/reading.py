"""Reads `fleet.yaml`: every mistake in it at once, each with file, line and column.

The YAML is read as a tree of nodes, which know where they stand; the tree is held against the structs of pruner.fleet.model,
then defaults, groups, contexts and clusters are put together. Secrets are references, which `resolved` looks up for one cluster
at a time. Nothing is contacted.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec
import yaml

from pruner.errors import Problem, SettingsError
from pruner.fleet.model import (
    REST,
    Cluster,
    Fleet,
    Labels,
    Reference,
    Setting,
    Wave,
    WrittenFleet,
    WrittenWave,
    has_labels,
    stack_name,
    wave_of,
)
from pruner.settings import ALIASES, BY_NAME, SECRETS, read

PATHS: Final = ("ca_cert", "client_cert", "client_key", "registry_ca_cert", "kubeconfig")
"""Parameters that are paths: relative ones are meant from the folder that fleet.yaml is in."""

OURS: Final = {
    "approved_plan": "the fleet sets it for each cluster, from the folder of up --plans",
    "report": "the fleet sets it for each cluster; `fleet report` shows them",
}
"""Parameters that a fleet sets itself."""

Settings = dict[str, Setting]


def read_fleet(path: Path) -> Fleet:
    """The fleet in a file. Raises SettingsError with every problem in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError([Problem(str(path), f"cannot be read: {reason}")]) from None
    return _Reading(path).fleet(text)


def resolved(cluster: Cluster, folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a cluster with references looked up, and checked as the provider will. Raises SettingsError."""
    problems: list[Problem] = []
    values = {
        name: _looked_up(setting.value, folder, environ, setting.where, problems)
        for name, setting in cluster.settings.items()
    }
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


def _looked_up(value: Any, folder: Path, environ: Mapping[str, str], where: str, problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return {name: _looked_up(part, folder, environ, where, problems) for name, part in value.items()}
    if not isinstance(value, Reference):
        return value
    try:
        found = environ[value.env] if value.env else (folder / Path(value.file or "").expanduser()).read_text("utf-8")
    except KeyError:
        problems.append(Problem(where, f"the environment has no {value.env}"))
        return None
    except (OSError, UnicodeDecodeError) as error:
        problems.append(
            Problem(where, f"{value} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}")
        )
        return None
    if not found.strip():
        problems.append(Problem(where, f"{value} is empty"))
    return found.strip()


class _Reading:
    """One reading of a file: its problems, and where each part of it stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def fleet(self, text: str) -> Fleet:
        try:
            # A SafeLoader: nothing but plain values can come of the file.
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise SettingsError([Problem(self._at(mark), f"is not YAML: {error.problem or error.context}")]) from None
        except yaml.YAMLError as error:
            raise SettingsError([Problem(str(self.path), f"is not YAML: {error}")]) from None
        self.loader = loader
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError([Problem(f"{self.path}:1:1", "is empty; it takes clusters, or contexts")])
        written: dict[str, Any] = self._struct(node, WrittenFleet)
        clusters = self._clusters(node, written) if not self.problems else []
        if self.problems:
            raise SettingsError(self.problems)
        # By way of the written struct, whose defaults are limits.
        asked = [WrittenWave(**wave["value"]) for wave in written.get("waves", ())]
        waves = (*(Wave(**msgspec.structs.asdict(wave)) for wave in asked), REST)
        return Fleet(
            clusters=tuple(
                msgspec.structs.replace(cluster, wave=wave_of(cluster.labels, waves))
                for cluster in sorted(clusters, key=lambda cluster: cluster.name)
            ),
            waves=waves,
            **{
                name: written[name]
                for name in ("concurrency", "timeout", "backend", "secrets_provider")
                if name in written
            },
        )

    # -- the tree against the structs

    def _struct(self, node: yaml.Node, kind: type[msgspec.Struct]) -> dict[str, Any]:
        """The members of a mapping that are right. Those that are structs themselves are `{"value": ..., "where": ...}`."""
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, f"takes a map of {', '.join(kind.__struct_fields__)}")
            return {}
        hints, found = get_type_hints(kind, include_extras=True), {}
        required = {field.name for field in msgspec.structs.fields(kind) if field.required}
        for name, key, value in self._members(node):
            if name not in hints:
                self._wrong(key, f"there is no {name!r}{_nearest(name, hints)}")
            else:
                required.discard(name)
                result = self._member(value, name, hints[name])
                if result is not None:
                    found[name] = result
        for name in sorted(required):
            self._wrong(node, f"{name} is missing")
        return found

    def _member(self, node: yaml.Node, name: str, hint: Any) -> Any:
        if name == "settings":
            return self._settings(node)
        if get_origin(hint) is list:
            return self._list(node, name, get_args(hint)[0])
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return {"value": self._struct(node, hint), "where": node}
        if hint == Labels:
            return self._labels(node)
        try:
            return msgspec.convert(self._plain(node), hint)
        except msgspec.ValidationError as error:
            return self._wrong(node, f"{name}: {error}")

    def _list(self, node: yaml.Node, name: str, kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, f"{name} takes a list")
            return []
        return [{"value": self._struct(member, kind), "where": member} for member in node.value]

    def _labels(self, node: yaml.Node) -> Labels:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, "labels takes a map of texts")
            return {}
        found = {}
        for name, _, value in self._members(node):
            if isinstance(value, yaml.ScalarNode) and value.value:
                # As it is written: a label `on` is no truth value.
                found[name] = value.value
            else:
                self._wrong(value, f"label {name} takes a text")
        return found

    def _settings(self, node: yaml.Node) -> Settings:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, "settings takes a map of parameters")
            return {}
        known = {**BY_NAME, **ALIASES}
        found: Settings = {}
        for name, key, value in self._members(node):
            parameter = ALIASES.get(name, name)
            if name not in known:
                self._wrong(key, f"there is no parameter {name!r}{_nearest(name, known)}")
            elif parameter in OURS:
                self._wrong(key, f"{name}: {OURS[parameter]}")
            elif parameter in found:
                self._wrong(key, f"{name} is another name of {parameter}, and both are given")
            else:
                found[parameter] = Setting(self._setting(parameter, value), self._at(value.start_mark))
        return found

    def _setting(self, name: str, node: yaml.Node) -> Any:
        """What is written for a parameter; secrets are references."""
        plain = self._plain(node)
        if name == "proxy_headers" and isinstance(node, yaml.MappingNode) and not _is_reference(plain):
            headers = {part: (value, self._plain(value)) for part, _, value in self._members(node)}
            for part, (value, text) in headers.items():
                if part != "user_agent" and not _is_reference(text):
                    self._plain_secret(value, f"{name}.{part}")
            return {part: self._value(value, text) for part, (value, text) in headers.items()}
        value = self._value(node, plain)
        if name in SECRETS and not isinstance(value, Reference) and (name != "kubeconfig" or isinstance(value, dict)):
            self._plain_secret(node, name)
        if name in PATHS and isinstance(value, str):
            return os.pathsep.join(str(self._beside(part)) for part in value.split(os.pathsep) if part)
        return value

    def _value(self, node: yaml.Node, plain: Any) -> Any:
        if not _is_reference(plain):
            return plain
        try:
            reference = msgspec.convert(plain, Reference)
        except msgspec.ValidationError as error:
            return self._wrong(node, str(error))
        if (reference.env is None) == (reference.file is None):
            self._wrong(node, "takes one of env and file")
        return reference

    def _plain_secret(self, node: yaml.Node, name: str) -> None:
        self._wrong(node, f"{name}: a secret does not stand in this file; write {{env: VARIABLE}} or {{file: PATH}}")

    def _members(self, node: yaml.MappingNode) -> Iterable[tuple[str, yaml.Node, yaml.Node]]:
        self.loader.flatten_mapping(node)
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self._wrong(key, "a name is a text")
            elif name in seen:
                self._wrong(key, f"{name} is there twice")
            else:
                seen.add(name)
                yield name, key, value

    def _plain(self, node: yaml.Node) -> Any:
        try:
            return self.loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            return self._wrong(node, f"cannot be read: {error.problem}")

    # -- clusters

    def _clusters(self, root: yaml.MappingNode, written: dict[str, Any]) -> list[Cluster]:
        default = written.get("defaults", {}).get("value", {})
        groups = [entry["value"] for entry in written.get("groups", ())]
        entries = [(entry["value"], entry["where"]) for entry in written.get("clusters", ())]
        for entry in written.get("contexts", ()):
            entries.extend(self._contexts(entry["value"], entry["where"]))
        found: dict[str, Cluster] = {}
        for entry, node in entries:
            labels = {**default.get("labels", {}), **entry.get("labels", {})}
            merged: Settings = dict(default.get("settings", {}))
            for group in groups:
                if has_labels(labels, group["labels"]):
                    merged.update(group["settings"])
            merged.update(entry.get("settings", {}))
            cluster = Cluster(name=entry["name"], labels=labels, settings=merged, where=self._at(node.start_mark))
            other = found.setdefault(cluster.name.lower(), cluster)
            if other is not cluster:
                self._wrong(node, f"cluster {cluster.name} is there twice, the other one at {other.where}")
        if not found and not self.problems:
            self._wrong(root, "there is no cluster in it: give clusters, or contexts")
        self._check_waves(written)
        return list(found.values())

    def _check_waves(self, written: dict[str, Any]) -> None:
        names: set[str] = set()
        for entry in written.get("waves", ()):
            name = entry["value"]["name"]
            if name in names or name == REST.name:
                self._wrong(entry["where"], f"there is another wave {name!r}")
            names.add(name)

    def _contexts(self, entry: dict[str, Any], node: yaml.Node) -> list[tuple[dict[str, Any], yaml.Node]]:
        """An entry like that of a cluster for each context."""
        given = entry.get("kubeconfig") or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        paths = [self._beside(part) for part in given.split(os.pathsep) if part]
        names: list[str] = []
        for path in paths:
            try:
                content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
                names.extend(str(context["name"]) for context in content.get("contexts") or ())
            except OSError as error:
                self._wrong(node, f"kubeconfig {path} cannot be read: {error.strerror}")
            except (yaml.YAMLError, AttributeError, KeyError, TypeError, UnicodeDecodeError):
                self._wrong(node, f"kubeconfig {path} is none")
        fitting = [name for name in dict.fromkeys(names) if fnmatch.fnmatchcase(name, entry["pattern"])]
        if not fitting and not self.problems:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            self._wrong(node, f"no context fits {entry['pattern']!r}; there {'are ' + shown if names else 'is none'}")
        where = self._at(node.start_mark)
        found = []
        for name in fitting:
            own = {
                "kubeconfig": Setting(os.pathsep.join(map(str, paths)), where),
                "context": Setting(name, where),
            }
            settings = {**own, **entry.get("settings", {})}
            found.append(({"name": stack_name(name), "labels": entry.get("labels", {}), "settings": settings}, node))
        return found

    def _beside(self, part: str) -> Path:
        return (self.path.parent / Path(part).expanduser()).resolve()

    def _at(self, mark: yaml.Mark | None) -> str:
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}" if mark else str(self.path)

    def _wrong(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(self._at(node.start_mark), message))


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and value.keys() <= {"env", "file"}


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
