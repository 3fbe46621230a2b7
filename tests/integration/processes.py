"""
Starts other people's servers for tests: each in a process of its own, on a free port of loopback, its output in a file,
known to be ready because it answers. A machine that lacks a program skips the test with the reason; in CI it fails.
"""

import os
import select
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

ATTEMPTS = 600
BETWEEN_SECONDS = 0.1
STOP_SECONDS = 15


def cannot(reason: str) -> NoReturn:
    """Skip, or in CI fail, with the reason."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; tools/get_debian installs what is missing", pytrace=False)
    pytest.skip(reason)


def program(name: str, package: str) -> str:
    """The path of an installed program."""
    found = shutil.which(name)
    if found is None:
        cannot(f"there is no {name} here (Debian: {package})")
    return found


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@contextmanager
def started(command: Sequence[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ready, for as long as the context lasts.

    AssertionError with its last words when it never is.
    """
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            _wait_until(is_ready, process, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(ATTEMPTS):
        if is_ready():
            return
        try:
            process.wait(BETWEEN_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        break
    words = log.read_text(errors="replace").splitlines()[-20:]
    raise AssertionError("\n".join([f"{process.args!r} is not ready; its last words:", *words]))


def answers(url: str, *, status: int = 200) -> bool:
    """Whether a GET of this URL is answered with this status. Certificates are not looked at."""
    unchecked = ssl._create_unverified_context()  # noqa: S323 - only whether it is up
    try:
        with urllib.request.urlopen(url, timeout=2, context=unchecked) as answer:  # noqa: S310
            found: int = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
        error.close()
    except OSError:
        return False
    return found == status


def listens(port: int) -> bool:
    """Whether somebody takes connections at this port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pause() -> None:
    """The time between two looks at a server that tells nobody when it is ready."""
    select.select([], [], [], BETWEEN_SECONDS)
