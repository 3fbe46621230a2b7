"""Credentials of an exec plugin: the program that a kubeconfig names is run, and what it prints is read.

`credential` gives what the plugin has said, or raises a KubeconfigError with what is wrong. A plugin that has nobody to
ask gets no input and no more than `LONGEST_RUN`. What it prints is checked whole and shown by no message: it is about
credentials, and often is one
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.cluster.kubeconfig import ExecEntry, KubeconfigError
from pruner.printable import printable
from pruner.settings.shown import shown

LONGEST_RUN: Final = 60.0
"""Seconds. A plugin that asks somebody at a terminal may take as long as they do."""
MOST_PRINTED: Final = 4 * 1024 * 1024
"""Bytes. A certificate chain with its key has some 10 kB."""
LONGEST_HINT: Final = 500


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


def credential(plugin: ExecEntry, folder: Path, cluster: dict[str, Any]) -> Credential:
    """Run the plugin of a kubeconfig's user. Raises KubeconfigError."""
    name = shown(plugin.command)
    printed = _printed(plugin, folder, cluster)
    try:
        found = msgspec.json.decode(printed, type=_ExecCredential)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # The decoder's words may quote what it could not read.
        raise KubeconfigError(
            f"exec: {name} has printed no ExecCredential (its {len(printed)} bytes of output are not shown); run it by "
            "hand"
        ) from None
    if (found.kind, found.api_version) != ("ExecCredential", plugin.api_version):
        raise KubeconfigError(
            f"exec: {name} has printed another kind or version than ExecCredential of {shown(plugin.api_version)}, "
            "which the kubeconfig asks for; bring both to the same apiVersion"
        )
    status = found.status
    if not status.token and status.certificate is None:
        raise KubeconfigError(f"exec: {name} gives neither a token nor a client certificate with its key; log in again")
    if status.certificate is not None and not all("-----BEGIN" in part for part in status.certificate):
        raise KubeconfigError(f"exec: {name} gives a client certificate or a key that is not in PEM form")
    return status


def _printed(plugin: ExecEntry, folder: Path, cluster: dict[str, Any]) -> bytes:
    """What the plugin prints. Raises KubeconfigError when it cannot be run, fails, or does not end."""
    name = shown(plugin.command)
    interactive = plugin.interactive_mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive_mode == "Always" and not interactive:
        raise KubeconfigError(f"exec: {name} has to ask somebody, and there is no terminal; log in where there is one")
    exec_info = {"KUBERNETES_EXEC_INFO": _exec_info(plugin, cluster, interactive=interactive)}
    try:
        process = subprocess.Popen(  # noqa: S603 - the kubeconfig's owner says what is run
            [plugin.command, *plugin.args],
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if interactive else subprocess.DEVNULL,
            env={**os.environ, **{variable.name: variable.value for variable in plugin.env}, **exec_info},
            cwd=folder,
            start_new_session=not interactive,
        )
    except FileNotFoundError:
        hint = " ".join(plugin.install_hint.split())[:LONGEST_HINT]
        advice = f": {printable(hint)}" if hint else "; install it, or correct the command in the kubeconfig"
        raise KubeconfigError(f"exec: {name} cannot be run: there is no such program{advice}") from None
    except OSError as error:
        raise KubeconfigError(f"exec: {name} cannot be run: {error.strerror}") from None
    except ValueError:
        raise KubeconfigError(
            f"exec: {name} cannot be run: its arguments or variables contain a character that cannot be passed on"
        ) from None
    with process:
        printed, timed_out = _read(process, None if interactive else LONGEST_RUN)
    if timed_out:
        raise KubeconfigError(f"exec: {name} has not ended within {LONGEST_RUN:g} seconds; run it by hand")
    if len(printed) > MOST_PRINTED:
        raise KubeconfigError(f"exec: {name} has printed more than {MOST_PRINTED} bytes; run it by hand")
    if process.returncode != 0:
        raise KubeconfigError(
            f"exec: {name} has ended with exit code {process.returncode}; run it by hand to see why (its output is not "
            "shown: it may hold credentials), or log in again"
        )
    return printed


def _read(process: subprocess.Popen[bytes], longest: float | None) -> tuple[bytes, bool]:
    """What the process prints until it ends or has printed too much, and whether it was stopped for its time."""
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        _kill(process)

    timer = threading.Timer(longest, stop) if longest is not None else None
    if timer is not None:
        timer.start()
    try:
        printed = process.stdout.read(MOST_PRINTED + 1) if process.stdout is not None else b""
        if len(printed) > MOST_PRINTED:
            _kill(process)
        process.wait()
    finally:
        if timer is not None:
            timer.cancel()
    return printed, stopped.is_set()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process, and those that it has started: they would hold its output open."""
    try:
        if hasattr(os, "killpg") and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        return


def _exec_info(plugin: ExecEntry, cluster: dict[str, Any], *, interactive: bool) -> str:
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        extensions = {entry["name"]: entry.get("extension") for entry in cluster.get("extensions") or ()}
        config = extensions.get("client.authentication.k8s.io/exec")
        known = {key: value for key, value in cluster.items() if key != "extensions"}
        spec["cluster"] = {**known, **({"config": config} if config is not None else {})}
    exec_info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    try:
        return json.dumps(exec_info, default=str)
    except (TypeError, ValueError, RecursionError):
        raise KubeconfigError("the extensions of its cluster cannot be written as JSON for the exec plugin") from None
