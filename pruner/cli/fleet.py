"""`pruner fleet`: the commands of a fleet.

pruner fleet preview --file fleet.yaml --plans plans    make a plan for every cluster, and one page to review them
pruner fleet up --file fleet.yaml --plans plans         carry out those that are still in the folder
pruner fleet status --file fleet.yaml                   what came of the last runs
pruner fleet report --file fleet.yaml                   the same as a page, with every revision and image
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pruner.cli.entry import Commands
from pruner.cli.options import FILE, FOLDER, PATH, as_json
from pruner.errors import PrunerError

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from pruner.fleet.model import Fleet, Outcome, PolicyPack
    from pruner.fleet.run import Options

APPROVAL = "approval.json"


class Selection(NamedTuple):
    """What the options of all commands come to; `waves` are those of the whole fleet, where this is a share of it."""

    file: Path
    fleet: Fleet
    work: Path
    as_json: bool
    waves: tuple[str, ...] = ()


@click.group(cls=Commands)
def fleet() -> None:
    """Preview, review and prune many clusters together.

    Ends with 0 when all is well, with 1 when some clusters failed, were refused by a policy, timed out or were stopped,
    and with 2 when the file, the settings or the options are wrong: then nothing was contacted.
    """


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which clusters; the command is given a `Selection`."""

    def with_selection(
        file: Path, work: Path | None, labels: tuple[str, ...], wave: str | None,
        shard_: str | None, shards: int | None, as_json: bool, **options: Any,
    ) -> Any:  # fmt: skip
        from pruner.fleet.model import selected, shard, waves_with_clusters
        from pruner.fleet.reading import read_fleet

        whole = read_fleet(file)
        chosen = selected(whole, _labels(labels), _wave(whole, wave))
        index, count = _shard(shard_, shards)
        waves = waves_with_clusters(chosen)
        chosen = shard(chosen, index, count)
        if not chosen.clusters and count == 1:
            raise click.UsageError(f"none of the {len(whole.clusters)} clusters in {file} is selected")
        folder = work or file.resolve().parent / ".fleet"
        return command(Selection(file, chosen, folder, as_json, tuple(waves) if count > 1 else ()), **options)

    decorated: Callable[..., Any] = with_selection
    decorated.__name__, decorated.__doc__ = command.__name__, command.__doc__
    decorated.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(
        (
            click.option("--file", default="fleet.yaml", type=FILE, show_default=True, help="The fleet."),
            click.option("--work", type=FOLDER,
                         help="Folder for stacks' programs, logs and state (default: .fleet beside the file)."),
            click.option("--label", "labels", multiple=True, metavar="K=V,..",
                         help="Only clusters with all of these labels."),
            click.option("--wave", help="Only clusters of this wave."),
            click.option("--shard", "shard_", metavar="INDEX/COUNT",
                         help="Only this share of them; INDEX counts from 0."),
            click.option("--shards", type=click.IntRange(1),
                         help="As --shard JOB_COMPLETION_INDEX/SHARDS, in an Indexed Job."),
            as_json,
        )
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated


def _running(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the commands that run something."""
    for option in (
        click.option(
            "--policy-pack-config",
            "policy_configs",
            multiple=True,
            type=PATH,
            metavar="FILE",
            help="Configuration of the policy pack of the same position (JSON).",
        ),
        click.option(
            "--policy-pack",
            "policy_packs",
            multiple=True,
            type=PATH,
            metavar="PATH",
            help="A policy pack that judges every cluster's plan, in addition to those in the file.",
        ),
        click.option(
            "--timeout", type=click.IntRange(1), help="Seconds for each cluster, instead of what the file says."
        ),
        click.option("--concurrency", type=click.IntRange(1), help="Clusters at once, instead of what the file says."),
    ):
        command = option(command)
    return command


@fleet.command("preview")
@_common
@_running
@click.option(
    "--plans", type=FOLDER, help="Write a plan for each cluster into this folder, and one page to review them."
)
def preview_command(chosen: Selection, plans: Path | None, **asked: Any) -> None:
    """Plan what would be pruned in every cluster. Nothing is changed."""
    from pruner.fleet.run import Options, preview

    options = Options(folder=chosen.file.resolve().parent, work=chosen.work, plans=plans)
    outcomes = _run("preview", preview, chosen, options, **asked)
    if plans is not None:
        _put_down(plans, chosen, outcomes)
    _end("preview", chosen, outcomes)


def _put_down(plans: Path, chosen: Selection, outcomes: list[Outcome]) -> None:
    """Write the pages beside the plans, and say where they are and what is strange about them."""
    from pruner.fleet import review
    from pruner.fleet.approval import Reviewed, digest_of, write_approval
    from pruner.plan import PrunePlan
    from pruner.printable import printable

    files = {outcome.cluster: plans / f"{outcome.cluster}.jsonl" for outcome in outcomes}
    # Before they are read for the page: what is exchanged in between has another digest.
    digests = {name: digest_of(path) for name, path in files.items() if path.is_file()}
    found = review.plans_in(outcomes, files)
    pages = {name: _page_in_full(plans, name) for name, plan in found.items() if isinstance(plan, PrunePlan)}
    of = {outcome.cluster: outcome.wave for outcome in outcomes}
    warnings = [*review.same_clusters(found), *review.too_large(chosen.fleet.waves, found, of)]
    _write(plans / review.REVIEW, review.page("Plans to review", outcomes, found, pages, warnings, digests))
    reviewed = {
        name: Reviewed(digests[name], plan.fingerprint) for name, plan in found.items() if isinstance(plan, PrunePlan)
    }
    write_approval(plans / APPROVAL, reviewed)
    told = (
        f"plans, {review.REVIEW} and {APPROVAL} are in {plans}; take out the plans that are not approved, "
        f"then: fleet up --plans {plans}"
    )
    click.echo(told, err=True)
    for warning in warnings:
        click.echo(f"warning: {printable(warning)}", err=True)


@fleet.command("up")
@_common
@_running
@click.option(
    "--plans", type=FOLDER, help="Carry out the approved plans in this folder; clusters without one are skipped."
)
@click.option(
    "--unreviewed", is_flag=True, help="Instead of --plans: carry out whatever is found, which nobody has looked at."
)
@click.option(
    "--approval",
    "approval_file",
    type=FILE,
    metavar="FILE",
    help=f"Digests of the reviewed plans, from where only those who approve can write "
    f"(default: {APPROVAL} in --plans).",
)
@click.option("--again", is_flag=True, help="Also where the approved plan was carried out before.")
def up_command(
    chosen: Selection, plans: Path | None, unreviewed: bool, approval_file: Path | None, again: bool, **asked: Any
) -> None:
    """Prune, wave after wave. A wave that fails, or deletes more than it may, is the last one."""
    if (plans is None) is not unreviewed:
        raise click.UsageError(
            "give --plans with the folder of approved plans, or --unreviewed to prune what nobody has reviewed"
        )
    if len(chosen.waves) > 1:
        raise click.UsageError(
            f"a share of the fleet cannot keep the order of its waves ({', '.join(chosen.waves)}), since the others "
            "are not known to it: give --wave, and begin the next one when all shares of the one before are done"
        )
    from pruner.fleet.run import Options, up

    options = Options(
        folder=chosen.file.resolve().parent,
        work=chosen.work,
        plans=plans,
        approval=approval_file or (plans / APPROVAL if plans is not None else None),
        again=again,
    )
    _end("up", chosen, _run("up", up, chosen, options, **asked))


@fleet.command()
@_common
def status(chosen: Selection) -> None:
    """Show what came of the last preview and up of every cluster. No cluster is contacted."""
    from pruner.cli.output import console
    from pruner.fleet.table import table

    outcomes = _last(chosen)
    if chosen.as_json:
        _print_json("status", outcomes)
        return
    for verb in ("preview", "up"):
        known = [outcome for outcome in outcomes if outcome.verb == verb]
        if known:
            console().print(table(known, verb))
    unknown = {cluster.name for cluster in chosen.fleet.clusters} - {outcome.cluster for outcome in outcomes}
    if unknown:
        click.echo(f"never run: {', '.join(sorted(unknown))}")


@fleet.command()
@_common
@click.option(
    "--verb", type=click.Choice(["preview", "up"]), default="up", show_default=True, help="Of which of the last runs."
)
@click.option("--output", type=FILE, help="A file, instead of standard output.")
def report(chosen: Selection, verb: str, output: Path | None) -> None:
    """Show the last runs as one page: every cluster with what was planned or done, and why."""
    from pruner.fleet import review
    from pruner.fleet.ledger import Ledger

    ledger = Ledger(chosen.work)
    outcomes = [outcome for outcome in _last(chosen) if outcome.verb == verb]
    if not outcomes:
        raise PrunerError(f"none of these clusters has had a fleet {verb} yet, by what {chosen.work} says")
    if chosen.as_json:
        _print_json(verb, outcomes)
        return
    files = {outcome.cluster: ledger.of(outcome.cluster) / f"{verb}.jsonl" for outcome in outcomes}
    lines = review.page(f"fleet {verb}", outcomes, review.plans_in(outcomes, files))
    if output is None:
        click.echo("\n".join(lines))
    else:
        _write(output, lines)


# --- what they are made of --------------------------------------------------------------------------------------------


def _run(
    verb: str, run: Callable[..., list[Outcome]], chosen: Selection, options: Options,
    policy_packs: tuple[Path, ...], policy_configs: tuple[Path, ...], **limits: int | None,
) -> list[Outcome]:  # fmt: skip
    import msgspec

    from pruner.cli.output import console
    from pruner.fleet.table import Progress

    given = {name: value for name, value in limits.items() if value is not None}
    packs = (*chosen.fleet.policy_packs, *_packs(policy_packs, policy_configs))
    asked = msgspec.structs.replace(chosen.fleet, policy_packs=packs, **given)
    with _stoppable() as stop, Progress(console(stderr=True), verb) as progress:
        return run(asked, options, progress, stop)


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """The first SIGINT, SIGTERM or SIGHUP asks for a clean end of the clusters at work; what was done is told."""
    stop = threading.Event()

    def wish(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    # SIGHUP as well: a run whose terminal is gone must not leave its clusters at work with nobody to end them.
    before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(verb: str, chosen: Selection, outcomes: list[Outcome]) -> None:
    """Print the summary; the exit code says whether all is well."""
    from pruner.cli.output import console
    from pruner.fleet.ledger import Ledger
    from pruner.fleet.model import BAD
    from pruner.fleet.table import table

    ordered = sorted(outcomes, key=lambda outcome: outcome.cluster)
    if chosen.as_json:
        _print_json(verb, ordered)
    else:
        console().print(table(ordered, verb))
    bad = [outcome for outcome in ordered if outcome.state in BAD]
    for outcome in bad:
        if outcome.state != "stopped":
            log = Ledger(chosen.work).of(outcome.cluster) / f"{verb}.log"
            click.echo(f"{outcome.cluster}: the CLI's whole output is in {log}", err=True)
    sys.exit(1 if bad else 0)


def _last(chosen: Selection) -> list[Outcome]:
    from pruner.fleet.ledger import Ledger

    ledger = Ledger(chosen.work)
    found = (ledger.last(cluster.name, verb) for cluster in chosen.fleet.clusters for verb in ("preview", "up"))
    return [outcome for outcome in found if outcome is not None]


def _print_json(verb: str, outcomes: list[Outcome]) -> None:
    states = [outcome.state for outcome in outcomes]
    summary = {
        "verb": verb,
        "states": {state: states.count(state) for state in sorted(set(states))},
        "totals": {
            name: sum(getattr(outcome, name) for outcome in outcomes)
            for name in ("revisions", "images", "blobs", "bytes")
        },
        "clusters": outcomes,
    }
    from pruner.cli.output import echo_json

    echo_json(summary)


def _write(path: Path, lines: Iterable[str]) -> None:
    from pruner.files import write_file

    write_file(path, (f"{text}\n".encode() for text in lines))


def _page_in_full(plans: Path, name: str) -> str:
    """Write the HTML page of a cluster's plan beside it; its name."""
    from pruner.report.html import page
    from pruner.report.jsonl import read_report

    path = plans / f"{name}.html"
    _write(path, (page(read_report(plans / f"{name}.jsonl")),))
    return path.name


def _labels(given: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in (part.strip() for text in given for part in text.split(",")):
        name, is_there, value = part.partition("=")
        if not name or not is_there or not value:
            raise click.BadParameter(f"takes k=v, or k=* for any value, not {part!r}", param_hint="--label")
        found[name] = value
    return found


def _packs(packs: tuple[Path, ...], configs: tuple[Path, ...]) -> list[PolicyPack]:
    if configs and len(configs) != len(packs):
        raise click.UsageError("--policy-pack-config is given for each --policy-pack, in the same order, or for none")
    from pruner.fleet.model import PolicyPack
    from pruner.fleet.reading import pack_problems

    found = [
        PolicyPack(pack.resolve(), config.resolve() if config is not None else None)
        for pack, config in zip(packs, configs or [None] * len(packs), strict=True)
    ]
    for each in found:
        for problem in pack_problems(each.pack, each.config):
            raise click.BadParameter(problem, param_hint="--policy-pack")
    return found


def _wave(whole: Fleet, name: str | None) -> str | None:
    known = [wave.name for wave in whole.waves]
    if name is not None and name not in known:
        raise click.BadParameter(f"there is no wave {name!r}; there are {', '.join(known)}", param_hint="--wave")
    return name


def _shard(given: str | None, shards: int | None) -> tuple[int, int]:
    """Index and count; 0 of 1 is the whole fleet."""
    if given is not None and shards is not None:
        raise click.UsageError("--shard and --shards are both given")
    if given is None and shards is None:
        return 0, 1
    text = given if given is not None else f"{os.environ.get('JOB_COMPLETION_INDEX', '')}/{shards}"
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        hint = "--shard" if given is not None else "JOB_COMPLETION_INDEX and --shards"
        raise click.BadParameter(f"takes INDEX/COUNT with INDEX from 0, not {text!r}", param_hint=hint)
    return int(index), int(count)
