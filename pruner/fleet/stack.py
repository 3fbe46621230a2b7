"""One cluster's stack: its folder, its configuration, and a preview or an up of it through the Automation API.

The folder holds a copy of this project's program, so that clusters do not share files that the CLI writes. What comes
back is an `Outcome`, also of what fails: a cluster is no reason for the others to stop.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
import yaml
from pulumi.automation import (
    EngineEvent,
    LocalWorkspace,
    LocalWorkspaceOptions,
    PulumiCommand,
    Stack,
    StackSettings,
    create_or_select_stack,
)
from pulumi.automation.errors import CommandError

from pruner import installation
from pruner.apply.result import Summary as ResultSummary
from pruner.errors import PrunerError, UnsafePlanError
from pruner.fleet.approval import digest_of
from pruner.fleet.command import Command, StoppedError, TimeLimitError
from pruner.fleet.model import Cluster, Outcome, PolicyPack
from pruner.plan import Summary as PlanSummary
from pruner.planning import read_plan
from pruner.report.jsonl import read_outcome
from pruner.settings import BY_NAME, HOLD_KEYS, SECRETS, Reference, may_hold_credentials

RELEASE: Final = 30.0
"""Seconds that giving back the lock of a run that was ended may take."""
_SAID: Final = 600
"""Characters of an error that are shown; the whole of it is in the log."""

Say = Callable[[str], None]


class Work(msgspec.Struct, frozen=True):
    """What a run of a cluster needs to know in addition to the cluster. `folder` is the cluster's own."""

    cluster: Cluster
    values: Mapping[str, Any]
    folder: Path
    limit: float
    backend: str | None = None
    secrets_provider: str | None = None
    plan: Path | None = None
    """Where preview puts the plan, or the approved one for up."""
    approval: str | None = None
    """The digest of the approved plan's file, as the run has found it."""
    policy_packs: tuple[PolicyPack, ...] = ()


def find_pulumi() -> PulumiCommand:
    """The CLI on PATH. Raises PrunerError where there is none that is new enough."""
    try:
        return PulumiCommand()
    except (OSError, ValueError, Exception) as error:  # noqa: BLE001 - the SDK raises plain exceptions
        raise PrunerError(f"the Pulumi CLI cannot be used: {error}; install it and put it on PATH") from None


def run_cluster(verb: str, work: Work, found: PulumiCommand, stop: threading.Event, say: Say) -> Outcome:
    """Preview or up of one cluster, to the end or to its time limit."""
    began = time.monotonic()
    try:
        work.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(work.folder), (work.folder / f"{verb}.log").open("w", encoding="utf-8", buffering=1) as log:
            outcome = _Running(verb, work, found, stop, say, log).ended()
    except Exception as error:  # noqa: BLE001 - what is wrong with one cluster's run must not end those of the others
        reason = str(error) if isinstance(error, OSError | PrunerError) else f"{type(error).__name__}: {error}"
        outcome = Outcome(cluster=work.cluster.name, wave=work.cluster.wave, verb=verb, state="failed", message=reason)
    return msgspec.structs.replace(outcome, seconds=round(time.monotonic() - began, 1), ended=datetime.now(UTC))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of the cluster's folder.

    One that begins in between would write its configuration over this one's, and an up would be without its approved
    plan.
    """
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PrunerError(
                f"another run is at work in {folder}; wait for it, or give --work a folder of your own"
            ) from None
        yield


class _Running:
    def __init__(
        self, verb: str, work: Work, found: PulumiCommand, stop: threading.Event, say: Say, log: TextIO
    ) -> None:
        self.verb = verb
        self.work = work
        self.found = found
        self.say = say
        self.log = log
        self.report = work.folder / f"{verb}.jsonl"
        self.errors: list[str] = []
        self.refusals: list[str] = []
        """Of policies."""
        self.notes: list[str] = []
        self.command = Command(found, work.limit, stop, log)
        self.holds_lock = False
        """Whether the stack's lock may be that of this run."""

    def ended(self) -> Outcome:
        """Run it; its outcome, also when it fails."""
        try:
            return self._run()
        except TimeLimitError as error:
            outcome = self._short_of("timed out", str(error))
            self._release()
        except StoppedError as error:
            outcome = self._short_of("stopped", str(error))
            self._release()
        except (CommandError, PrunerError, OSError) as error:
            outcome = self._short_of("refused" if self.refusals else "failed", self._reason(error))
        return outcome

    def _run(self) -> Outcome:
        self.report.unlink(missing_ok=True)
        self.say("setting up")
        stack = self._stack(self.command)
        self._configure(stack)
        self.say("previewing" if self.verb == "preview" else "pruning")
        packs = self.work.policy_packs
        options: dict[str, Any] = {
            "policy_packs": [str(each.pack) for each in packs],
            # One for each pack, in their order; an empty object configures nothing.
            "policy_pack_configs": [str(each.config or self._no_configuration()) for each in packs],
        }
        if self.verb == "preview":
            stack.preview(on_event=self._hear, color="never", suppress_progress=True, **options)
        else:
            self.holds_lock = True
            stack.up(on_event=self._hear, color="never", suppress_progress=True, show_secrets=False, **options)
        return self._summed_up()

    def _no_configuration(self) -> Path:
        path = self.work.folder / "no-policies.json"
        path.write_text("{}", encoding="utf-8")
        return path

    def _outcome(self, state: Any, message: str = "", **counts: Any) -> Outcome:
        return Outcome(
            cluster=self.work.cluster.name,
            wave=self.work.cluster.wave,
            verb=self.verb,
            state=state,
            message=message,
            notes=tuple(dict.fromkeys(self.notes)),
            **counts,
        )

    def _short_of(self, state: Any, message: str) -> Outcome:
        """The outcome of a run that has not come to its end, with what it is known to have deleted."""
        done = _done(self.report) if self.verb == "up" else None
        if self.verb == "up" and done is None and state in ("timed out", "stopped") and self.report.exists():
            message += "; what it deleted before is not known; a preview shows what is left"
        return self._outcome(state, message, **(done or {}))

    def _reason(self, error: Exception) -> str:
        """What policies and the engine have said was wrong; where
        nobody has said anything, the end of what the CLI has.
        """
        if self.refusals:
            text = "\n".join(dict.fromkeys(self.refusals))
        elif self.errors:
            text = "\n".join(dict.fromkeys(self.errors))
        else:
            words = [
                line for line in str(error).splitlines() if line.strip() and not line.startswith((" code", " stdout"))
            ]
            text = "\n".join(line.removeprefix(" stderr: ") for line in words[-5:]).strip()
            text = text or "the CLI has failed, and has not said why"
        return text if len(text) <= _SAID else text[:_SAID] + "… (the whole of it is in the log)"

    def _release(self) -> None:
        """Give back the lock of the up that was ended, which nobody else would; not that of somebody else's."""
        if not self.holds_lock:
            return
        command = Command(self.found, RELEASE, threading.Event(), self.log)
        try:
            Stack.select(self.work.cluster.name, self._workspace(command)).cancel()
        except (CommandError, PrunerError, OSError) as error:
            self.log.write(f"the lock of the stack could not be released: {error}\n")

    # -- the stack

    def _workspace(self, command: Command) -> LocalWorkspace:
        return LocalWorkspace(
            work_dir=str(self.work.folder),
            pulumi_command=command,
            env_vars=self._environment(),
            secrets_provider=self.work.secrets_provider,
        )

    def _stack(self, command: Command) -> Stack:
        project = installation.project_folder()
        for name in installation.PROGRAM:
            shutil.copyfile(project / name, self.work.folder / name)
        return create_or_select_stack(
            self.work.cluster.name,
            work_dir=str(self.work.folder),
            opts=LocalWorkspaceOptions(
                pulumi_command=command,
                env_vars=self._environment(),
                secrets_provider=self.work.secrets_provider,
            ),
        )

    def _environment(self) -> dict[str, str]:
        # The language host takes the first Python on PATH, which has to be the one that pruner is installed for.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        own = {
            "PATH": path,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # The program needs no plugin but the CLI's own; those of packages that are installed beside pruner are
            # nothing to it.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        root = installation.checkout()
        if root is not None:
            # The program imports pruner, which is not among the installed packages then.
            own["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH", ""))))
        return own | ({"PULUMI_BACKEND_URL": self.work.backend} if self.work.backend else {})

    def _configure(self, stack: Stack) -> None:
        """Give the stack exactly these settings: what is not in fleet.yaml any more goes."""
        values = {**self.work.values, "report": str(self.report)}
        if self.verb == "up" and self.work.plan is not None:
            values["approved_plan"] = str(self._approved(self.work.plan))
            values["approved_digest"] = self.work.approval
        given = self.work.cluster.settings
        secret = {
            name for name in values if _is_secret(name, values[name]) or (name in given and refers(given[name].value))
        }
        plain = {f"pruner:{name}": _written(value) for name, value in values.items() if name not in secret}
        workspace = stack.workspace
        workspace.save_stack_settings(stack.name, self._settings(plain))
        for name in sorted(secret):
            for key, value in _leaves(f"pruner:{name}", values[name]):
                # On standard input: arguments of a process can be seen by others.
                arguments = ["config", "set", "--secret", "--path", "--stack", stack.name, key]
                self.command.run_with(value, arguments, str(self.work.folder), self._environment())

    def _approved(self, plan: Path) -> Path:
        """A copy of the approved plan in the cluster's own folder,
        which no other preview writes into while this run is under way.
        """
        copy = self.work.folder / "approved.jsonl"
        shutil.copyfile(plan, copy)
        if digest_of(copy) != self.work.approval:
            raise UnsafePlanError(
                f"{plan}: has changed since the run began; nothing was pruned. Look at it, and run up again"
            )
        return copy

    def _settings(self, config: dict[str, Any]) -> StackSettings:
        """The stack's settings with this configuration, and the encryption that they had."""
        path = self.work.folder / f"Pulumi.{self.work.cluster.name}.yaml"
        had = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
        return StackSettings(had.get("secretsprovider"), had.get("encryptedkey"), had.get("encryptionsalt"), config)

    # -- what comes of it

    def _hear(self, event: EngineEvent) -> None:
        diagnostic = event.diagnostic_event
        if event.policy_event is not None:
            violation = event.policy_event
            said = " ".join(_words(violation.message).split())
            text = f"{violation.policy_pack_name}/{violation.policy_name}: {said}"
            (self.refusals if violation.enforcement_level == "mandatory" else self.notes).append(text)
        if diagnostic is None:
            return
        text = _words(diagnostic.message)
        if diagnostic.severity == "error" and text and not text.startswith(_ECHOES):
            self.errors.append(text)
        elif diagnostic.severity == "warning":
            self.notes.append(text)
        elif diagnostic.ephemeral and text:
            self.say(text.splitlines()[-1])

    def _summed_up(self) -> Outcome:
        plan = read_plan(str(self.report))
        done = _done(self.report)
        counts: dict[str, Any] = dict(done if done is not None else _counts(plan.summary))
        if self.verb == "preview" and self.work.plan is not None:
            self.work.plan.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.report, self.work.plan)
        fingerprint = plan.fingerprint
        if self.verb == "up" and self.work.plan is not None:
            approved = read_plan(str(self.work.folder / "approved.jsonl"))
            fingerprint = approved.fingerprint
            # The provider knows of what came into use while it was at work; what did so before is not in the plan that
            # it has made.
            wanted = approved.summary
            missing = (wanted.revisions + wanted.images + wanted.empty_streams + wanted.retired_images) - (
                counts["revisions"] + counts["images"] + counts["empty_streams"] + counts["retired"]
            )
            counts["skipped"] = max(counts.get("skipped", 0), missing)
        return self._outcome("done", **counts, plan=fingerprint)


_ECHOES: Final = (
    "preview failed",
    "update failed",
    "error: preview failed",
    "error: update failed",
    "resource registration",
)


def _words(message: str) -> str:
    """A diagnostic without colors and the words that the engine puts before a provider's."""
    text = message
    while "<{%" in text:
        before, _, rest = text.partition("<{%")
        text = before + rest.partition("%}>")[2]
    text = text.strip()
    for prefix in ("error: ", "warning: ", "rpc error: "):
        text = text.removeprefix(prefix)
    return text


def _is_secret(name: str, value: Any) -> bool:
    return BY_NAME[name].secret or (name in SECRETS | HOLD_KEYS and may_hold_credentials(value))


def _written(value: Any) -> Any:
    """A value as the configuration of a stack takes it: texts, and lists of texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return [part if isinstance(part, str) else msgspec.json.encode(part).decode() for part in value]
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _leaves(key: str, value: Any) -> list[tuple[str, str]]:
    if key == "pruner:proxy_headers" and isinstance(value, dict):
        return [(f"{key}.{name}", str(part)) for name, part in value.items()]
    # A list is one value here: each of its parts may hold the secret.
    return [(key, msgspec.json.encode(value).decode() if isinstance(value, list) else _written(value))]


def _counts(summary: PlanSummary | ResultSummary) -> dict[str, int]:
    counts = {name: getattr(summary, name) for name in ("revisions", "images", "empty_streams", "blobs", "bytes")}
    return {**counts, "retired": summary.retired_images}


def _done(report: Path) -> dict[str, int] | None:
    """What was done, by a report; None where there is none, or it does not say."""
    outcome = read_outcome(report)
    return None if outcome is None else {**_counts(outcome.summary), "skipped": len(outcome.skipped)}


def refers(value: Any) -> bool:
    """Whether a setting, or a part of it, stands in the environment or in a file, and so not in the clear anywhere."""
    if isinstance(value, dict | list):
        return any(map(refers, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Reference)
