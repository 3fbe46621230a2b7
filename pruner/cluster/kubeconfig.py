"""Kubeconfigs: read, merged and checked as kubectl does it.

`load` gives the entries of the context that is used, each checked against its shape. Files are decoded within bounds,
keys that are null are absent, and the first of joined files that says something wins. No message shows a value of a
user's or cluster's entry: most of them are credentials, or may be.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from pruner.documents.values import LARGEST, DocumentError, from_yaml
from pruner.settings.shown import shown

T = TypeVar("T")
_LISTS: Final = ("clusters", "contexts", "users")


class KubeconfigError(Exception):
    """Something is wrong with a kubeconfig, or with what it refers to. The message can be shown as it is."""


class UnknownContextError(KubeconfigError):
    """The context that is asked for is not there."""


class ExecEntry(msgspec.Struct, frozen=True, rename="camel"):
    """An exec plugin, as a user's entry names it."""

    class Variable(msgspec.Struct, frozen=True):
        name: str
        value: str = ""

    command: str
    api_version: str
    args: list[str] = []
    env: list[Variable] = []
    install_hint: str = ""
    interactive_mode: str = ""
    provide_cluster_info: bool = False


class AuthProvider(msgspec.Struct, frozen=True):
    """A credential helper of the time before exec plugins."""

    name: str
    config: dict[str, str] = {}


class UserEntry(msgspec.Struct, frozen=True, rename="kebab"):
    """What a kubeconfig says about a user."""

    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    username: str = ""
    password: str | None = None
    exec: ExecEntry | None = None
    auth_provider: AuthProvider | None = None
    as_: str = msgspec.field(name="as", default="")
    as_uid: str = ""
    as_groups: list[str] = []
    as_user_extra: dict[str, list[str]] = {}


class ClusterEntry(msgspec.Struct, frozen=True, rename="kebab"):
    """What a kubeconfig says about a cluster."""

    class Extension(msgspec.Struct, frozen=True):
        name: str
        extension: Any = None

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    extensions: list[Extension] = []


class _ContextEntry(msgspec.Struct, frozen=True):
    cluster: str
    user: str = ""


class Entries(msgspec.Struct, frozen=True):
    """The entries of one context. Paths in an entry start at the folder of the file that it stands in."""

    cluster: ClusterEntry
    cluster_folder: Path
    raw_cluster: dict[str, Any]
    user: UserEntry
    user_folder: Path
    raw_user: dict[str, Any]
    """The user's entry as its file has it: what is renewed is written into it."""


class _Item(msgspec.Struct, frozen=True):
    """An entry of one of the lists, and the folder of its file."""

    value: Any
    folder: Path


class Files:
    """The documents of joined kubeconfigs; `save_changes` writes back the ones that have changed."""

    def __init__(self, documents: Mapping[str, dict[str, Any]]) -> None:
        self._documents = documents
        self._saved = copy.deepcopy(dict(documents))

    def save_changes(self) -> None:
        for path, document in self._documents.items():
            if document != self._saved[path]:
                # Written through: the file may be a link, and keeps its owner and mode.
                with Path(path).open("w", encoding="utf-8") as opened:
                    yaml.safe_dump(document, opened, default_flow_style=False)
        self._saved = copy.deepcopy(dict(self._documents))


def default_paths() -> str:
    """Where kubectl looks: `KUBECONFIG`, else `~/.kube/config`."""
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def default_exists() -> bool:
    """Whether there is a kubeconfig in the default place."""
    return bool(_existing(default_paths()))


def _existing(joined: str) -> list[Path]:
    paths = []
    for text in joined.split(os.pathsep):
        try:
            path = Path(text).expanduser()
            if text and path.is_file():
                paths.append(path)
        except (OSError, ValueError, RuntimeError):
            # No file can have this name, or be reached in this folder.
            continue
    return paths


def load(source: str | dict[str, Any], context: str | None) -> tuple[Entries, Files | None]:
    """The entries of a context, and the files where the source is one or several. Raises KubeconfigError, OSError."""
    if isinstance(source, dict):
        documents, files = {"": _without_nulls(copy.deepcopy(source), depth=0)}, None
    else:
        paths = _existing(source)
        if not paths:
            raise KubeconfigError(f"there is no file {shown(source)}")
        documents = {str(path): _read(path) for path in paths}
        files = Files(documents)
    for document in documents.values():
        _check_lists(document)
    return _entries(documents, context), files


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    where = shown(str(path))
    try:
        document = _without_nulls(from_yaml(content.decode("utf-8-sig")), depth=0)
    except UnicodeDecodeError:
        raise KubeconfigError(f"the file {where} is not a kubeconfig: it is not UTF-8") from None
    except DocumentError as error:
        raise KubeconfigError(f"the file {where} {error}") from None
    if not isinstance(document, dict):
        reason = "is empty" if document is None else "is not a kubeconfig: it holds no map"
        raise KubeconfigError(f"the file {where} {reason}")
    return document


def _without_nulls(value: Any, depth: int) -> Any:
    """The value with null keys removed, and numbers and dates as texts, in place: that is how kubectl reads them.

    What a plugin is told (`extensions`) is its own matter and stays as it is.
    """
    if isinstance(value, dict):
        for key in [key for key, part in value.items() if part is None]:
            del value[key]
        for key, part in value.items():
            value[key] = part if key == "extensions" and depth > 0 else _without_nulls(part, depth + 1)
    elif isinstance(value, list):
        value[:] = [_without_nulls(part, depth + 1) for part in value]
    elif isinstance(value, date):
        return value.isoformat()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:
            raise KubeconfigError("has a number of more than 4300 digits") from None
    return value


def _check_lists(document: Any) -> None:
    if not isinstance(document, dict):
        raise KubeconfigError("is not a kubeconfig: it holds no map")
    for kind in _LISTS:
        items = document.get(kind, [])
        if not isinstance(items, list):
            raise KubeconfigError(f"its {kind} are not a list")
        for number, item in enumerate(items, start=1):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise KubeconfigError(f"entry {number} of its {kind} has no name")


def _entries(documents: Mapping[str, dict[str, Any]], context: str | None) -> Entries:
    named = {kind: _merged(documents, kind) for kind in _LISTS}
    current = next((found["current-context"] for found in documents.values() if found.get("current-context")), None)
    name = context if context is not None else current
    if not isinstance(name, str):
        raise KubeconfigError("has no current-context: give context")
    if name not in named["contexts"]:
        if context is not None:
            raise UnknownContextError(f"the kubeconfig has no context {shown(name)}")
        raise KubeconfigError(f"its current-context {shown(name)} is not among its contexts")
    chosen = _convert(named["contexts"][name].value.get("context", {}), _ContextEntry, f"its context {shown(name)}")
    if chosen.cluster not in named["clusters"]:
        raise KubeconfigError(
            f"its context {shown(name)} names cluster {shown(chosen.cluster)}, which it does not have"
        )
    cluster = named["clusters"][chosen.cluster]
    user = named["users"].get(chosen.user, _Item({"user": {}}, cluster.folder))
    raw_cluster, raw_user = cluster.value.get("cluster", {}), user.value.get("user", {})
    return Entries(
        _convert(raw_cluster, ClusterEntry, f"its cluster {shown(chosen.cluster)}"),
        cluster.folder,
        raw_cluster,
        _convert(raw_user, UserEntry, f"its user {shown(chosen.user)}"),
        user.folder,
        raw_user,
    )


def _merged(documents: Mapping[str, dict[str, Any]], kind: str) -> dict[str, _Item]:
    """The entries of all files by name; the first file that has one wins."""
    found: dict[str, _Item] = {}
    for path, document in documents.items():
        of_file: dict[str, _Item] = {}
        for item in document.get(kind, []):
            if item["name"] in of_file:
                raise KubeconfigError(f"has two {kind} of the name {shown(item['name'])}")
            of_file[item["name"]] = _Item(item, Path(path).absolute().parent if path else Path())
        found = {**of_file, **found}
    return found


def _convert(value: Any, shape: type[T], what: str) -> T:
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as error:
        # It names types and places, and no values.
        raise KubeconfigError(f"{what} is not valid: {error}") from None
