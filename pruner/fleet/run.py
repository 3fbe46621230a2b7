"""Preview or up of a whole fleet: so many clusters at once, wave after wave, none waiting for one that fails or hangs.

Given a `Fleet` and `Options`, gives an `Outcome` for each cluster, and tells `Watch` of every change on the way.
Settings of all clusters are looked up before the first one is contacted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import msgspec
from pulumi.automation import PulumiCommand

from pruner.errors import Problem, PrunerError, SettingsError, UnsafePlanError
from pruner.fleet.approval import Reviewed, digest_of, read_approval
from pruner.fleet.ledger import Ledger
from pruner.fleet.lookup import resolved
from pruner.fleet.model import BAD, Cluster, Fleet, Outcome, Wave
from pruner.fleet.stack import Work, find_pulumi, run_cluster
from pruner.planning import read_plan

Watch = Callable[[Outcome], None]
"""Told of each cluster whenever something is new about it."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is done. `folder` is that of fleet.yaml, `work` the fleet's own, `plans` that of plans for approval.

    Without `plans` an up carries out what it finds, which nobody has looked at. `approval` is the file of digests that
    approved plans have to be in; without it the caller has seen to it that the plans are the approved ones.
    """

    folder: Path
    work: Path
    plans: Path | None = None
    approval: Path | None = None
    again: bool = False


def preview(fleet: Fleet, options: Options, watch: Watch, stop: threading.Event | None = None) -> list[Outcome]:
    """Preview every cluster; waves do not matter, since nothing is changed.

    Puts a plan for each into `plans`. Raises SettingsError and PrunerError before anything is contacted.
    """
    run = _Run("preview", fleet, options, watch, stop or threading.Event())
    for cluster in fleet.clusters:
        # What is not planned now must not be approved by mistake.
        _plan_file(options, cluster, missing_ok=True, forget=True)
    everything = Wave(name="all")
    return run.waves([(everything, [run.work(cluster) for cluster in fleet.clusters])])


def up(fleet: Fleet, options: Options, watch: Watch, stop: threading.Event | None = None) -> list[Outcome]:
    """Prune wave after wave; with `plans` only what they name, and only clusters that have one.

    A malformed plan, or one that is not the reviewed one, is a failure of its cluster. Raises SettingsError
    and PrunerError before anything is contacted.
    """
    run = _Run("up", fleet, options, watch, stop or threading.Event())
    return run.waves(
        [(wave, [run.work(cluster) for cluster in fleet.clusters if cluster.wave == wave.name]) for wave in fleet.waves]
    )


class _Approved(msgspec.Struct, frozen=True):
    """An approved plan as far as a run has to know it; `problem` says why it cannot be carried out."""

    digest: str = ""
    deletions: int = 0
    retirements: int = 0
    problem: str = ""


class _Run:
    def __init__(self, verb: str, fleet: Fleet, options: Options, watch: Watch, stop: threading.Event) -> None:
        self.verb = verb
        self.fleet = fleet
        self.options = options
        self.watch = watch
        self.stop = stop
        self.ledger = Ledger(options.work)
        self.values = _looked_up(fleet.clusters, options.folder)
        self.approved = _approved(fleet, options) if verb == "up" else {}
        self.pulumi: PulumiCommand = find_pulumi()
        self.outcomes: list[Outcome] = []

    def work(self, cluster: Cluster) -> Work:
        return Work(
            cluster=cluster,
            values=self.values[cluster.name],
            folder=self.ledger.of(cluster.name).resolve(),
            limit=self.fleet.timeout,
            backend=self.fleet.backend,
            secrets_provider=self.fleet.secrets_provider,
            plan=_plan_file(self.options, cluster, missing_ok=self.verb == "preview"),
            approval=self.approved[cluster.name].digest if cluster.name in self.approved else None,
            policy_packs=self.fleet.policy_packs,
        )

    def waves(self, waves: list[tuple[Wave, list[Work]]]) -> list[Outcome]:
        for _, members in waves:
            for work in members:
                self.watch(_new(work, self.verb, "waiting"))
        halted = ""
        for position, (wave, members) in enumerate(waves):
            if not halted:
                halted = self._too_much(wave, members)
            if halted:
                self._leave(members, "stopped", halted)
            else:
                later = [work for _, following in waves[position + 1 :] for work in following]
                halted = self._wave(wave, members) or self._shows_nothing(wave, members, later)
        return self.outcomes

    def _shows_nothing(self, wave: Wave, members: list[Work], later: list[Work]) -> str:
        """Why the waves after this one must not begin: none of its clusters
        had a plan, so it has not gone well, it has not gone at all.
        """
        if self.verb != "up" or self.options.plans is None:
            return ""
        if not members or any(work.cluster.name in self.approved for work in members):
            return ""
        if not any(work.cluster.name in self.approved for work in later):
            return ""
        return (
            f"no cluster of wave {wave.name} has an approved plan, so it has shown nothing; "
            "prune a later wave alone with --wave"
        )

    def _too_much(self, wave: Wave, members: list[Work]) -> str:
        """Why a wave must not begin: its approved plans delete, or retire, more than it may."""
        plans = [self.approved[work.cluster.name] for work in members if work.cluster.name in self.approved]
        deletions, retirements = sum(plan.deletions for plan in plans), sum(plan.retirements for plan in plans)
        for verb, amount in wave.exceeded_by(deletions, retirements):
            return (
                f"not begun: the approved plans of wave {wave.name} {verb} {amount}, "
                f"and its max_deletions is {wave.max_deletions}"
            )
        return ""

    def _wave(self, wave: Wave, members: list[Work]) -> str:
        """Run the clusters of a wave; why the run must not go on, or nothing."""
        queue: list[Work] = []
        done: list[Outcome] = []
        for work in members:
            known = self._known_before(work)
            if known is None:
                queue.append(work)
            else:
                done.append(known)
                self._take(known)
        running: dict[Future[Outcome], Work] = {}
        halted = self._halt(wave, done)
        with ThreadPoolExecutor(self.fleet.concurrency, thread_name_prefix="cluster") as pool:
            try:
                while queue or running:
                    while queue and not halted and len(running) < self.fleet.concurrency:
                        work = self._limited(queue.pop(0), wave, done)
                        running[pool.submit(self._one, work)] = work
                    if not running:
                        break
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    done.extend(self._ended(future, running.pop(future)) for future in ended)
                    halted = halted or self._halt(wave, done)
            except BaseException:
                # Ctrl-C above all: those at work are ended by their own threads, which the pool waits for.
                self.stop.set()
                raise
        self._leave(queue, "stopped", halted)
        return halted

    def _limited(self, work: Work, wave: Wave, done: list[Outcome]) -> Work:
        """The work, limited to what its wave may still delete: a larger plan is refused before anything is touched.

        Approved plans were counted before. A cluster's own limit that is a percentage stands beside the wave's, which
        is then looked at afterwards.
        """
        own = work.values.get("max_deletions")
        if self.verb != "up" or self.options.plans is not None or wave.max_deletions is None or "%" in str(own):
            return work
        # A cluster's limit is one for deletions and retirements, each by themselves; the lower one is safe for both.
        most = max(sum(outcome.deletions for outcome in done), sum(outcome.retired for outcome in done))
        left = max(0, wave.max_deletions - most)
        limit = left if own is None else min(left, int(float(own)))
        return msgspec.structs.replace(work, values={**work.values, "max_deletions": limit})

    def _one(self, work: Work) -> Outcome:
        def say(text: str) -> None:
            self.watch(_new(work, self.verb, "running", text))

        return run_cluster(self.verb, work, self.pulumi, self.stop, say)

    def _ended(self, future: Future[Outcome], work: Work) -> Outcome:
        outcome = future.result()
        outcome = msgspec.structs.replace(outcome, approval=work.approval)
        try:
            self.ledger.note(outcome)
        except PrunerError as error:
            lost = f"cannot be recorded for status and for resuming the run: {error}"
            outcome = msgspec.structs.replace(outcome, notes=(*outcome.notes, lost))
        self._take(outcome)
        return outcome

    def _halt(self, wave: Wave, done: list[Outcome]) -> str:
        if self.stop.is_set():
            return "the run was stopped"
        failures = sum(outcome.state in BAD for outcome in done)
        if wave.max_failures is not None and failures > wave.max_failures:
            return f"failures in wave {wave.name}: {failures}, and its max_failures is {wave.max_failures}"
        pruned = done if self.verb == "up" else []
        deletions, retirements = sum(each.deletions for each in pruned), sum(each.retired for each in pruned)
        for verb, amount in wave.exceeded_by(deletions, retirements):
            return f"wave {wave.name} has {verb}d {amount}, and its max_deletions is {wave.max_deletions}"
        return ""

    def _known_before(self, work: Work) -> Outcome | None:
        """The outcome of a cluster that is not started: no approved
        plan, a malformed one, or one that was carried out before.
        """
        if self.verb != "up" or self.options.plans is None:
            return None
        approved = self.approved.get(work.cluster.name)
        if approved is None:
            return _new(work, self.verb, "skipped", "there is no approved plan for it")
        if approved.problem:
            return _new(work, self.verb, "failed", approved.problem)
        last = self.ledger.last(work.cluster.name, "up")
        if last is not None and last.state == "done" and last.approval == approved.digest and not self.options.again:
            when = f"{last.ended:%Y-%m-%d %H:%M} UTC"
            return _new(work, self.verb, "skipped", f"this plan was carried out at {when}; --again does it again")
        return None

    def _leave(self, members: Iterable[Work], state: str, why: str) -> None:
        for work in members:
            self._take(_new(work, self.verb, state, why))

    def _take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.watch(outcome)


def _new(work: Work, verb: str, state: Any, message: str = "") -> Outcome:
    return Outcome(cluster=work.cluster.name, wave=work.cluster.wave, verb=verb, state=state, message=message)


def _looked_up(clusters: Iterable[Cluster], folder: Path) -> dict[str, dict[str, Any]]:
    """The settings of every cluster. Raises SettingsError with the problems of all of them."""
    found: dict[str, dict[str, Any]] = {}
    problems: dict[str, Problem] = {}
    for cluster in clusters:
        try:
            found[cluster.name] = resolved(cluster, folder, os.environ)
        except SettingsError as error:
            problems.update((str(problem), problem) for problem in error.problems)
    if problems:
        raise SettingsError(list(problems.values()))
    return found


def _plan_file(options: Options, cluster: Cluster, *, missing_ok: bool, forget: bool = False) -> Path | None:
    if options.plans is None:
        return None
    path = options.plans / f"{cluster.name}.jsonl"
    if forget:
        path.unlink(missing_ok=True)
        path.with_suffix(".html").unlink(missing_ok=True)
    return path if missing_ok or path.is_file() else None


def _approved(fleet: Fleet, options: Options) -> dict[str, _Approved]:
    """The approved plan of each cluster that has one."""
    if options.plans is None:
        return {}
    if not options.plans.is_dir():
        raise UnsafePlanError(f"{options.plans}: is no folder; give the one that preview --plans has filled")
    files = {cluster.name: _plan_file(options, cluster, missing_ok=False) for cluster in fleet.clusters}
    present = {name: path for name, path in files.items() if path is not None}
    if fleet.clusters and not present:
        raise PrunerError(f"{options.plans}: holds no plan of any of these {len(fleet.clusters)} clusters")
    reviewed = read_approval(options.approval) if options.approval is not None else None
    return {name: _approval(name, path, options, reviewed) for name, path in present.items()}


def _approval(cluster: str, path: Path, options: Options, reviewed: Mapping[str, Reviewed] | None) -> _Approved:
    """A plan that is whole, and is the one that was reviewed."""
    try:
        plan = read_plan(str(path))
        digest = digest_of(path)
    except (PrunerError, OSError) as error:
        return _Approved(problem=str(error))
    if reviewed is None or (cluster in reviewed and reviewed[cluster].digest == digest):
        return _Approved(digest, plan.deletions, plan.retirements)
    said = f"has {reviewed[cluster].digest} for it" if cluster in reviewed else "does not name it"
    problem = f"{path}: its digest is {digest}, and {options.approval} {said}, so nobody has reviewed it; preview again"
    return _Approved(digest, plan.deletions, plan.retirements, problem)
