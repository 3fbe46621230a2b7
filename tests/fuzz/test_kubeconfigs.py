"""Kubeconfigs with anything wrong in them, as dictionaries and as files."""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pruner.cluster.connection import connect
from pruner.settings import read
from tests.fuzz.outcomes import PLANTED, anything, fuzzed, outcome

Json = dict[str, Any]
KINDS: list[Json] = [
    {"token": PLANTED},
    {"username": "jane", "password": PLANTED},
    {"client-certificate-data": PLANTED, "client-key-data": PLANTED},
    {"client-certificate": "/not/there", "client-key": f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n"},
    {
        "exec": {
            "apiVersion": "v1",
            "command": "no-such-plugin",
            "args": [PLANTED],
            "env": [{"name": "A", "value": PLANTED}],
        }
    },
    {"auth-provider": {"name": "oidc", "config": {"id-token": PLANTED, "refresh-token": PLANTED}}},
    {"auth-provider": {"name": "gcp", "config": {"access-token": PLANTED, "expiry": "2020-01-01T00:00:00Z"}}},
    {"tokenFile": "/not/there", "token": PLANTED, "as": "alice", "as-user-extra": {"a": [PLANTED]}},
]


def config(user: Json) -> Json:
    cluster = {"server": "http://127.0.0.1:9", "proxy-url": f"http://bob:{PLANTED}@127.0.0.1:9"}
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": PLANTED}}
    return {
        "current-context": "main",
        "clusters": [{"name": "main", "cluster": {**cluster, "extensions": [extension]}}],
        "users": [{"name": "main", "user": user}],
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
    }


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(found for key in keys for found in places(value[key], (*path, key)))]  # type: ignore[index]


@st.composite
def mutated(draw: st.DrawFn) -> Json:
    """A kubeconfig in which up to three parts are missing, null, or something else."""
    found = copy.deepcopy(config(draw(st.sampled_from(KINDS))))
    for _ in range(draw(st.integers(min_value=0, max_value=3))):
        where = draw(st.sampled_from([path for path in places(found) if path] or [("x",)]))
        parent: Any = found
        for key in where[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["remove", "null", "other", "within", "rename"])):
            case "remove" if isinstance(parent, dict):
                parent.pop(where[-1], None)
            case "null":
                parent[where[-1]] = None
            case "within":
                parent[where[-1]] = [parent.get(where[-1])] if isinstance(parent, dict) else {"a": parent[where[-1]]}
            case "rename" if isinstance(parent, dict):
                parent[draw(st.text(max_size=5))] = parent.pop(where[-1], None)
            case _:
                parent[where[-1]] = draw(anything)
    return found


def connected(source: object) -> str:
    return repr(connect(read({"kubeconfig": source})))


@settings(max_examples=800)
@given(mutated())
def test_any_dictionary(found: Json) -> None:
    fuzzed("kubeconfigs")
    outcome(lambda: connected(found))


@settings(max_examples=250)
@given(st.lists(mutated(), min_size=1, max_size=2), st.integers(min_value=0), st.binary(max_size=3))
def test_any_files(found: list[Json], where: int, garbage: bytes) -> None:
    """Joined, with some bytes somewhere that belong to nothing."""
    fuzzed("kubeconfigs")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"config-{number}" for number in range(len(found))]
        for path, each in zip(paths, found, strict=True):
            try:
                written = yaml.safe_dump(each).encode()
            except (yaml.YAMLError, ValueError):
                written = repr(each).encode(errors="replace")
            at = where % (len(written) + 1)
            path.write_bytes(written[:at] + garbage + written[at:])
        outcome(lambda: connected(os.pathsep.join(map(str, paths))))


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(st.sampled_from("&*[]{}:,-!|>'\"?%@#a \n\t"), max_size=60).map(str.encode))
def test_any_bytes(content: bytes) -> None:
    fuzzed("kubeconfigs")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config").write_bytes(content)
        outcome(lambda: connected(str(Path(folder) / "config")))
