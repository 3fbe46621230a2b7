"""Credentials of an exec plugin: the program that a kubeconfig names is run, and what it prints is read.

`credential` gives what the plugin has said, or raises a ConfigException with what is wrong with it. In two things this is stricter than the
`kubernetes` package: a plugin that has nobody to ask gets no input and no more than `LONGEST_RUN`, and what it prints is checked whole, and
shown by no message (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from typing import Any, Final

import msgspec
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.exec_provider import ExecProvider

LONGEST_RUN: Final = 60.0
"""Seconds. A plugin that asks somebody at a terminal may take as long as they do."""


class Credential(msgspec.Struct, frozen=True, rename="camel"):
    """What a plugin gives: a token, or a client certificate with its key (PEM), and when that ends."""

    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None

    @property
    def certificate(self) -> tuple[str, str] | None:
        """Certificate and key, where there are both."""
        pair = self.client_certificate_data, self.client_key_data
        return pair if pair[0] and pair[1] else None  # type: ignore[return-value]


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    status: Credential


def credential(plugin: Any, base_path: str, cluster: Any) -> Credential:
    """Run the plugin of a kubeconfig's user. Raises ConfigException."""
    name = plugin.safe_get("command")
    try:
        found = msgspec.json.decode(_printed(plugin, base_path, cluster), type=_ExecCredential)
    except OSError as error:
        raise ConfigException(f"exec: {name!r} cannot be run: {error}") from None
    except msgspec.DecodeError as error:
        raise ConfigException(f"exec: {name!r} has printed no ExecCredential: {error}") from None
    wanted = plugin["apiVersion"]
    if (found.kind, found.api_version) != ("ExecCredential", wanted):
        raise ConfigException(
            f"exec: {name!r} has printed {found.kind} of {found.api_version}, and ExecCredential of {wanted} is asked for"
        )
    if not found.status.token and found.status.certificate is None:
        raise ConfigException(f"exec: {name!r} gives neither a token nor a client certificate with its key")
    return found.status


def _printed(plugin: Any, base_path: str, cluster: Any) -> bytes:
    """What the plugin prints. Raises OSError when it cannot be run, ConfigException when it fails."""
    prepared = ExecProvider(plugin, base_path, cluster)
    mode = plugin.safe_get("interactiveMode")
    interactive = mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not interactive:
        raise ConfigException(f"exec: {prepared.args[0]!r} has to ask somebody, and there is no terminal")
    try:
        done = subprocess.run(  # noqa: S603 - the kubeconfig's owner says what is run
            prepared.args,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if interactive else subprocess.PIPE,
            cwd=prepared.cwd,
            env={**prepared.env, "KUBERNETES_EXEC_INFO": json.dumps(_asked(prepared, interactive))},
            shell=prepared.shell,
            timeout=None if interactive else LONGEST_RUN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"exec: {prepared.args[0]!r} has not ended within {LONGEST_RUN:g} seconds"
        raise ConfigException(message) from None
    if done.returncode != 0:
        said = (done.stderr or b"").decode(errors="replace").strip()
        raise ConfigException(f"exec: process returned {done.returncode}" + (f". {said}" if said else ""))
    return done.stdout


def _asked(prepared: Any, interactive: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": interactive}
    if prepared.cluster is not None:
        cluster = dict(prepared.cluster.value)
        extensions = {entry["name"]: entry.get("extension") for entry in cluster.pop("extensions", None) or ()}
        config = extensions.get("client.authentication.k8s.io/exec")
        spec["cluster"] = {**cluster, **({"config": config} if config is not None else {})}
    return {"apiVersion": prepared.api_version, "kind": "ExecCredential", "spec": spec}
