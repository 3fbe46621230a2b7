"""Reads `fleet.yaml`: every mistake in it at once, each with file, line and column.

The YAML is read as a tree of nodes, which know where they stand; the tree is held against the structs of pruner.fleet.model,
then defaults, groups, contexts and clusters are put together. Secrets are references, which `resolved` looks up for one cluster
at a time. Nothing is contacted.
"""

from __future__ import annotations

import copy
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
    PolicyPack,
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

_PLACES: Final = frozenset({"host", "kubeconfig", "context"})
PATHS: Final = ("ca_cert", "client_cert", "client_key", "registry_ca_cert", "kubeconfig")
"""Parameters that are paths: relative ones are meant from the folder that fleet.yaml is in."""

OURS: Final = {
    "approved_plan": "the fleet sets it for each cluster, from the folder of up --plans",
    "report": "the fleet sets it for each cluster; `fleet report` shows them",
}
"""Parameters that a fleet sets itself."""

_MERGE: Final = "tag:yaml.org,2002:merge"

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
        found = yaml.safe_load(kubeconfig)
    except yaml.YAMLError:
        return kubeconfig
    return found if isinstance(found, dict) else kubeconfig


def pack_problems(pack: Path, config: Path | None) -> list[str]:
    """What keeps a policy pack from being asked: a run without it is not what was meant."""
    found = [] if pack.exists() else [f"there is no policy pack {pack}"]
    if pack.is_file() and not os.access(pack, os.X_OK):
        found.append(f"policy pack {pack} is no folder and cannot be executed")
    if config is not None and not config.is_file():
        found.append(f"there is no configuration {config} of a policy pack")
    return found


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
        self.servers: dict[tuple[str, str], str] = {}
        """API servers by kubeconfig and context."""

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
            found = "is no map" if node is not None else "is empty"
            raise SettingsError([Problem(f"{self.path}:1:1", f"{found}; it takes clusters, or contexts")])
        written: dict[str, Any] = self._struct(node, WrittenFleet)
        clusters = self._clusters(node, written) if not self.problems else []
        packs = [self._pack(entry["value"], entry["where"]) for entry in written.get("policy_packs", ())]
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
            policy_packs=tuple(packs),
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
        """The members of a map, with those that are merged into it (`<<`)."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, "a name is a text")
            elif key.value in seen and key.tag != _MERGE:
                self._wrong(key, f"{key.value} is there twice")
            else:
                seen.add(key.value)
        for name, (key, value) in self._merged(node, frozenset()).items():
            yield name, key, value

    def _merged(self, node: yaml.Node, within: frozenset[int]) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """A map's own members, which win, and those of the maps that it merges, of which the first one wins."""
        if not isinstance(node, yaml.MappingNode) or id(node) in within:
            self._wrong(node, "<< takes a map, or a list of maps, that this one is not in")
            return {}
        found = {key.value: (key, value) for key, value in node.value if _is_name(key) and key.tag != _MERGE}
        for source in (value for key, value in node.value if key.tag == _MERGE):
            for each in source.value if isinstance(source, yaml.SequenceNode) else (source,):
                found = {**self._merged(each, within | {id(node)}), **found}
        return found

    def _plain(self, node: yaml.Node) -> Any:
        try:
            # Of a copy: constructing a map puts into it what it merges.
            return self.loader.construct_document(copy.deepcopy(node))
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
        self._check_places(list(found.values()))
        self._check_waves(written)
        return list(found.values())

    def _check_places(self, clusters: list[Cluster]) -> None:
        """Two that are the same one would be planned, counted and pruned twice; one that says of no place is whichever is current."""
        known: dict[tuple[Any, ...], Cluster] = {}
        for cluster in clusters:
            if len(clusters) > 1 and not _PLACES & cluster.settings.keys():
                self.problems.append(
                    Problem(
                        cluster.where,
                        f"cluster {cluster.name} does not say where it is: give host, kubeconfig or context",
                    )
                )
                continue
            place = self._place(cluster)
            other = known.setdefault(place, cluster)
            if other is not cluster:
                message = f"clusters {other.name} and {cluster.name} are the same one, {place[0].rpartition('@')[2]}"
                self.problems.append(
                    Problem(cluster.where, f"{message}: leave one out, or give them different namespaces")
                )

    def _place(self, cluster: Cluster) -> tuple[Any, ...]:
        """What tells a cluster from the others: its API server, as far as it is known without asking."""
        values = {name: setting.value for name, setting in cluster.settings.items()}
        host = values.get("host")
        if host is None:
            kubeconfig, context = str(values.get("kubeconfig", "")), str(values.get("context", ""))
            host = self.servers.get((kubeconfig, context), f"context {context!r} of kubeconfig {kubeconfig!r}")
        return (host.rstrip("/") if isinstance(host, str) else str(host), str(values.get("namespace", "")))

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
        joined = os.pathsep.join(map(str, paths))
        names: list[str] = []
        for path in paths:
            try:
                servers = _servers(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
                names.extend(servers)
                self.servers |= {(joined, name): server for name, server in servers.items() if server}
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
                "kubeconfig": Setting(joined, where),
                "context": Setting(name, where),
            }
            settings = {**own, **entry.get("settings", {})}
            if not stack_name(name):
                self._wrong(node, f"context {name!r} has no name that a stack can have")
            found.append(({"name": stack_name(name), "labels": entry.get("labels", {}), "settings": settings}, node))
        return found

    def _pack(self, entry: dict[str, Any], node: yaml.Node) -> PolicyPack:
        pack, config = self._beside(entry["pack"]), self._beside(entry["config"]) if "config" in entry else None
        self.problems.extend(Problem(self._at(node.start_mark), wrong) for wrong in pack_problems(pack, config))
        return PolicyPack(pack, config)

    def _beside(self, part: str) -> Path:
        return (self.path.parent / Path(part).expanduser()).resolve()

    def _at(self, mark: yaml.Mark | None) -> str:
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}" if mark else str(self.path)

    def _wrong(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(self._at(node.start_mark), message))


def _servers(kubeconfig: dict[str, Any]) -> dict[str, str]:
    """The API server of each context, or nothing where the file does not say. Raises what reading something else raises."""
    clusters = {entry["name"]: (entry.get("cluster") or {}).get("server") for entry in kubeconfig.get("clusters") or ()}
    return {
        str(entry["name"]): str(clusters.get((entry.get("context") or {}).get("cluster")) or "")
        for entry in kubeconfig.get("contexts") or ()
    }


def _is_name(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode)


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and value.keys() <= {"env", "file"}


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
