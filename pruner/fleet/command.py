"""The Pulumi CLI under a time limit: a `PulumiCommand` whose processes can be ended, all of them.

The Automation API waits for the CLI for as long as it takes. Here each command runs in a session of its own, until a
deadline or the wish to stop: then it is interrupted as Ctrl-C does, which lets a run end cleanly, and what is left
after `GRACE` is killed, with the language host and the providers, which the engine puts into process groups of their
own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final

from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error

from pruner.errors import PrunerError

GRACE: Final = 10.0
"""Seconds between the interruption of a command and its end."""
_LOOK: Final = 0.2
"""Seconds between two looks at whether to go on."""

OnOutput = Callable[[str], object]


class TimeLimitError(PrunerError):
    """A cluster has taken longer than it may; its processes are ended."""


class StoppedError(PrunerError):
    """Whoever runs the fleet wants it to end."""


class Command(PulumiCommand):
    """The CLI for one cluster. `limit` is in seconds, from now on, for all commands together.

    `run` raises TimeLimitError and StoppedError in addition to what PulumiCommand raises.
    """

    def __init__(self, found: PulumiCommand, limit: float, stop: threading.Event, log: IO[str]) -> None:
        # Its version was asked for once, for the whole fleet.
        self.command = found.command
        self.version = found.version
        self.limit = limit
        self.deadline = time.monotonic() + limit
        self.stop = stop
        self.log = log
        self.given: str | None = None

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        if self.stop.is_set():
            raise StoppedError("was stopped before it had begun")
        words = [self.command, "--non-interactive", *(word for word in args if word != "--non-interactive")]
        self.log.write(f"$ pulumi {' '.join(words[2:])}\n")
        given, self.given = self.given, None
        with subprocess.Popen(  # noqa: S603 - the CLI that PulumiCommand has found
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**_own_environment(), **additional_env, "PULUMI_AUTOMATION_API": "true"},
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process:
            streams = [_Lines(process.stdout, on_output, self.log), _Lines(process.stderr, on_error, self.log)]
            try:
                _give(process, given)
                self._wait(process, " ".join(args[:2]))
            finally:
                # Whatever of its session outlives it has lost its engine.
                _kill_session(process.pid)
                for stream in streams:
                    stream.join()
        result = CommandResult(stdout=streams[0].text, stderr=streams[1].text, code=process.returncode)
        if result.code != 0:
            raise create_command_error(result)
        return result

    def run_with(self, given: str, args: list[str], cwd: str, additional_env: Mapping[str, str]) -> CommandResult:
        """Run with something to read on standard input, where others cannot see it, as they can see arguments."""
        self.given = given
        return self.run(args, cwd, additional_env)

    def _wait(self, process: subprocess.Popen[str], what: str) -> None:
        while True:
            try:
                process.wait(_LOOK)
            except subprocess.TimeoutExpired:
                if self.stop.is_set():
                    _interrupt(process)
                    raise StoppedError(f"was stopped during {what}") from None
                if time.monotonic() > self.deadline:
                    _interrupt(process)
                    raise TimeLimitError(f"not done after {self.limit:g} seconds, ended during {what}") from None
            else:
                return


def _own_environment() -> dict[str, str]:
    """The environment without K8S_AUTH_*: what it says of one
    cluster, a token above all, must not be sent to every other one.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("K8S_AUTH_")}


class _Lines(threading.Thread):
    """Reads a stream to its end, line by line."""

    def __init__(self, stream: IO[str] | None, on_line: OnOutput | None, log: IO[str]) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.on_line = on_line
        self.log = log
        self.lines: list[str] = []
        self.start()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def run(self) -> None:
        if self.stream is None:
            return
        with self.stream:
            for line in self.stream:
                self.lines.append(line.rstrip())
                self.log.write(line)
                if self.on_line is not None:
                    self.on_line(line.rstrip())


def _give(process: subprocess.Popen[str], given: str | None) -> None:
    if process.stdin is None:
        return
    try:
        with process.stdin as stdin:
            stdin.write(given or "")
    except BrokenPipeError:
        # It has ended before it has read; its exit code says why.
        return


def _interrupt(process: subprocess.Popen[str]) -> None:
    """As Ctrl-C on a terminal, which reaches every process of the session; then, after a while, the end."""
    for pid in _session(process.pid) or [process.pid]:
        _send(pid, signal.SIGINT)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _kill_session(process.pid)
        process.wait()


def _kill_session(leader: int) -> None:
    # Twice: a process may have started another one between being seen and being killed.
    for _ in range(2):
        for pid in _session(leader):
            _send(pid, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """The processes of a session. Without /proc only its leader's group is known."""
    found = []
    try:
        entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:
        return []
    for entry in entries:
        try:
            # pid (name) state ppid pgrp session ...; the name may hold anything.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == leader:
            found.append(int(entry.name))
    return found


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
