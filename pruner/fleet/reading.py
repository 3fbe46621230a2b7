"""Reads `fleet.yaml`: every mistake in it at once, each with file, line and column.

The document is read within bounds, held against the JSON schema, and then defaults, groups, contexts and clusters are
put together. Secrets are references, which pruner.fleet.lookup looks up for one cluster at a time. Nothing is
contacted.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.documents.places import Document, Place, read_document
from pruner.errors import Problem, SettingsError
from pruner.fleet.model import (
    REST,
    Cluster,
    Fleet,
    PolicyPack,
    Setting,
    Wave,
    WrittenContexts,
    WrittenFleet,
    has_labels,
    stack_name,
    wave_of,
)
from pruner.fleet.violations import violations
from pruner.settings import (
    ALIASES,
    BY_NAME,
    CONNECTION,
    HISTORY,
    HOLD_KEYS,
    SECRETS,
    Reference,
    is_secret,
    may_hold_credentials,
    with_references,
)

_PLACES: Final = frozenset({"host", "kubeconfig", "context"})
_USES_FROM, _FLEET = "uses_from", "fleet"
PATHS: Final = ("ca_cert", "client_cert", "client_key", "registry_ca_cert", "kubeconfig", "uses_from")
"""Parameters that are paths: relative ones are meant from the folder that fleet.yaml is in."""

Settings = dict[str, Setting]
_Entry = tuple[str, dict[str, str], Settings, Place]
"""Name, labels, settings and place of a cluster."""


def read_fleet(path: Path) -> Fleet:
    """The fleet in a file. Raises SettingsError with every problem in it."""
    document = read_document(path, as_written=_is_label)
    if not isinstance(document.value, dict):
        found = "is empty" if document.value is None else "is not a map"
        raise SettingsError(
            [Problem(document.at() if document.values else f"{path}:1:1", f"{found}; it takes clusters, or contexts")]
        )
    problems = violations(document)
    if problems:
        raise SettingsError(problems)
    try:
        written = msgspec.convert(document.value, WrittenFleet)
    except msgspec.ValidationError as error:
        raise SettingsError([Problem(str(path), str(error))]) from None
    return _Reading(path, document, written).fleet()


def _is_label(place: Place) -> bool:
    """Whether the value is a label, which is taken as it is written: a label `on` is not a truth value."""
    return len(place) > 1 and place[-2] == "labels" and "settings" not in place


def pack_problems(pack: Path, config: Path | None) -> list[str]:
    """What keeps a policy pack from being asked: a run without it is not what was meant."""
    found = [] if pack.exists() else [f"there is no policy pack {pack}"]
    if pack.is_file() and not os.access(pack, os.X_OK):
        found.append(f"policy pack {pack} is no folder and cannot be executed")
    if config is not None and not config.is_file():
        found.append(f"there is no configuration {config} of a policy pack")
    return found


class _Reading:
    """One reading of a file: its problems, and the API servers that its kubeconfigs name."""

    def __init__(self, path: Path, document: Document, written: WrittenFleet) -> None:
        self.path = path
        self.document = document
        self.written = written
        self.problems: list[Problem] = []
        self.servers: dict[tuple[str, str], str] = {}
        """API servers by kubeconfig and context."""

    def fleet(self) -> Fleet:
        written = self.written
        clusters = self._clusters()
        self._check_waves()
        packs = [self._pack(number) for number in range(len(written.policy_packs))]
        if self.problems:
            raise SettingsError(self.problems)
        waves = (*(Wave(**msgspec.structs.asdict(wave)) for wave in written.waves), REST)
        return Fleet(
            clusters=tuple(
                msgspec.structs.replace(cluster, wave=wave_of(cluster.labels, waves))
                for cluster in sorted(clusters, key=lambda cluster: cluster.name)
            ),
            waves=waves,
            concurrency=written.concurrency,
            timeout=written.timeout,
            backend=written.backend,
            secrets_provider=written.secrets_provider,
            policy_packs=tuple(packs),
        )

    # -- settings

    def _settings(self, values: Mapping[str, Any], *place: str | int) -> Settings:
        """What is written for each parameter, by its own name,
        with references in it as such and paths made absolute.
        """
        found: Settings = {}
        for name, value in values.items():
            parameter = ALIASES.get(name, name)
            if parameter in found:
                message = f"{name} is another name of {parameter}, and both are given"
                self.problems.append(Problem(self.document.key_at(*place, name), message))
            found[parameter] = Setting(self._setting(parameter, value, *place, name), self.document.at(*place, name))
        return found

    def _setting(self, name: str, value: Any, *place: str | int) -> Any:
        value = with_references(value)
        if name == _USES_FROM and isinstance(value, list):
            return [self._user(entry, *place, number) for number, entry in enumerate(value)]
        content = isinstance(value, str | dict) and may_hold_credentials(value)
        if content and name in SECRETS | HOLD_KEYS and name != "proxy_headers":
            self._secret(name, *place)
        if name == "proxy_headers" and isinstance(value, dict):
            for header, part in value.items():
                if header != "user_agent" and not isinstance(part, Reference):
                    self._secret(f"{name}.{header}", *place, header)
        if name == HISTORY and _has_token(value):
            self._secret(f"{name}.token", *place)
        if name in PATHS and isinstance(value, str) and not content and (name, value) != (_USES_FROM, _FLEET):
            return os.pathsep.join(str(self._beside(part)) for part in value.split(os.pathsep) if part)
        return value

    def _user(self, entry: Any, *place: str | int) -> Any:
        """A cluster of `uses_from`, with its settings as those of a cluster of the fleet; others are refused later."""
        if not isinstance(entry, dict) or not isinstance(entry.get("settings"), dict):
            return entry
        settings = {}
        for key, value in entry["settings"].items():
            name = ALIASES.get(key, key)
            if name in BY_NAME and BY_NAME[name].secret and not isinstance(value, Reference | dict):
                self._secret(f"{_USES_FROM}: {key}", *place, "settings", key)
            settings[key] = self._setting(name, value, *place, "settings", key)
        return {**entry, "settings": settings}

    def _secret(self, name: str, *place: str | int) -> None:
        self._wrong(f"{name}: a secret does not stand in this file; write {{env: VARIABLE}} or {{file: PATH}}", *place)

    # -- clusters

    def _clusters(self) -> list[Cluster]:
        default = self.written.defaults
        defaults = self._settings(default.settings, "defaults", "settings")
        groups = [
            (group.labels, self._settings(group.settings, "groups", number, "settings"))
            for number, group in enumerate(self.written.groups)
        ]
        entries: list[_Entry] = [
            (
                entry.name,
                entry.labels,
                self._settings(entry.settings, "clusters", number, "settings"),
                ("clusters", number),
            )
            for number, entry in enumerate(self.written.clusters)
        ]
        for number, contexts in enumerate(self.written.contexts):
            entries.extend(self._contexts(contexts, number))
        found: dict[str, Cluster] = {}
        for name, own_labels, own, place in entries:
            labels = {**default.labels, **own_labels}
            settings = dict(defaults)
            for wanted, group in groups:
                if has_labels(labels, wanted):
                    settings.update(group)
            settings.update(own)
            cluster = Cluster(name=name, labels=labels, settings=settings, where=self.document.at(*place))
            other = found.setdefault(cluster.name.lower(), cluster)
            if other is not cluster:
                self._wrong(f"cluster {cluster.name} is there twice, the other one at {other.where}", *place)
        if not found and not self.problems:
            self._wrong("there is no cluster in it: give clusters, or contexts")
        clusters = list(found.values())
        self._check_places(clusters)
        return [self._with_users(cluster, clusters) for cluster in clusters]

    def _with_users(self, cluster: Cluster, fleet: list[Cluster]) -> Cluster:
        """The cluster, where it says `uses_from: fleet` with all others of the fleet, whichever are selected."""
        setting = cluster.settings.get(_USES_FROM)
        if setting is None or setting.value != _FLEET:
            return cluster
        own = self._place(cluster)[0]
        users = {self._place(other)[0]: other for other in fleet if self._place(other)[0] != own}
        if not users:
            self.problems.append(Problem(setting.where, "uses_from: fleet: there is no other cluster in this file"))
        written = [{"name": other.name, "settings": _connection(other)} for other in users.values()]
        return msgspec.structs.replace(
            cluster, settings={**cluster.settings, _USES_FROM: Setting(written, setting.where)}
        )

    def _check_places(self, clusters: list[Cluster]) -> None:
        """Two that are the same one would be pruned twice, and one
        that does not say where it is would be whichever is current.
        """
        known: dict[tuple[Any, ...], Cluster] = {}
        for cluster in clusters:
            if len(clusters) > 1 and not _PLACES & cluster.settings.keys():
                message = f"cluster {cluster.name} does not say where it is: give host, kubeconfig or context"
                self.problems.append(Problem(cluster.where, message))
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

    def _check_waves(self) -> None:
        names = {REST.name}
        for number, wave in enumerate(self.written.waves):
            if wave.name in names:
                self._wrong(f"there is another wave {wave.name!r}", "waves", number)
            names.add(wave.name)

    def _contexts(self, entry: WrittenContexts, number: int) -> list[_Entry]:
        """Name, labels, settings and place of a cluster for each context that fits."""
        place: Place = ("contexts", number)
        given = entry.kubeconfig or os.environ.get("KUBECONFIG") or os.path.join("~", ".kube", "config")
        paths = [self._beside(part) for part in given.split(os.pathsep) if part]
        joined = os.pathsep.join(map(str, paths))
        names: list[str] = []
        for path in paths:
            try:
                servers = _servers(read_document(path).value or {})
                names.extend(servers)
                self.servers |= {(joined, name): server for name, server in servers.items() if server}
            except SettingsError as error:
                self.problems.extend(
                    Problem(self.document.at(*place), f"kubeconfig {problem}") for problem in error.problems
                )
            except (AttributeError, KeyError, TypeError):
                self._wrong(f"kubeconfig {path}: is not a kubeconfig", *place)
        fitting = [name for name in dict.fromkeys(names) if fnmatch.fnmatchcase(name, entry.pattern)]
        if not fitting and not self.problems:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            self._wrong(f"no context fits {entry.pattern!r}; there {'are ' + shown if names else 'is none'}", *place)
        where = self.document.at(*place)
        given_settings = self._settings(entry.settings, *place, "settings")
        found: list[_Entry] = []
        for name in fitting:
            if not stack_name(name):
                self._wrong(f"context {name!r} has no name that a stack can have", *place)
            settings = {"kubeconfig": Setting(joined, where), "context": Setting(name, where), **given_settings}
            found.append((stack_name(name), entry.labels, settings, place))
        return found

    def _pack(self, number: int) -> PolicyPack:
        entry = self.written.policy_packs[number]
        pack, config = self._beside(entry.pack), self._beside(entry.config) if entry.config else None
        where = self.document.at("policy_packs", number)
        self.problems.extend(Problem(where, wrong) for wrong in pack_problems(pack, config))
        return PolicyPack(pack, config)

    def _beside(self, part: str) -> Path:
        try:
            return (self.path.parent / Path(part).expanduser()).resolve()
        except (RuntimeError, OSError, ValueError) as error:
            # No home folder, or a name that no file can have.
            self.problems.append(Problem(str(self.path), f"{part!r} is not a path that can be used: {error}"))
            return self.path

    def _wrong(self, message: str, *place: str | int) -> None:
        self.problems.append(Problem(self.document.at(*place), message))


def _connection(cluster: Cluster) -> dict[str, Any]:
    """How to reach a cluster of the fleet, as `uses_from` takes it."""
    return {name: setting.value for name, setting in cluster.settings.items() if name in CONNECTION}


def _has_token(history: Any) -> bool:
    """Whether a token stands in a usage_history, and not a reference to one."""
    if isinstance(history, dict):
        return history.get("token") is not None and not isinstance(history["token"], Reference)
    return is_secret(HISTORY, history)


def _servers(kubeconfig: Any) -> dict[str, str]:
    """The API server of each context, or nothing where the file does not say.

    Raises what reading something else raises.
    """
    clusters = {entry["name"]: (entry.get("cluster") or {}).get("server") for entry in kubeconfig.get("clusters") or ()}
    return {
        str(entry["name"]): str(clusters.get((entry.get("context") or {}).get("cluster")) or "")
        for entry in kubeconfig.get("contexts") or ()
    }
