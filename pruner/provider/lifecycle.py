"""What each call of Pulumi's engine does, in terms of settings, plans and results.

`check` makes the plan and puts it into the inputs, where preview shows it, policies judge it and `--save-plan` keeps
it. `diff` says that there is something to do only when the plan says so, or a setting has changed. `create` and
`update` carry out the plan that `check` has kept; `read` gives back an empty one, so that the next preview shows what
is planned then and nothing of the last time, and sums of what there is to prune now, which a refresh shows as drift.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    UpdateResult,
)
from pulumi.output import Unknown
from pulumi.runtime import rpc

from pruner import defects, installation
from pruner.analysis import Analysis
from pruner.apply import Result, apply_plan
from pruner.cluster.session import session
from pruner.errors import ApplyError, Problem, PrunerError, SettingsError
from pruner.files import write_file
from pruner.interpreter import no_search_for_cycles
from pruner.plan import PrunePlan
from pruner.planning import make_plan
from pruner.provider import engine
from pruner.provider.approval import check_approval, note_seed
from pruner.provider.naming import to_parameters
from pruner.provider.previewed import Latest, engine_process, note_plan, noted_plan
from pruner.provider.process_lock import process_lock
from pruner.provider.provider import OUTPUTS
from pruner.provider.rendering import LISTED, backlog, rendered, table
from pruner.provider.store import KeptPlans
from pruner.provider.values import value_of
from pruner.report.jsonl import encode_report, encode_result
from pruner.report.model import Outcome
from pruner.report.wording import count, headline, outcome_line, restart_line
from pruner.settings import BY_NAME, Settings, is_secret, may_hold_credentials
from pruner.settings import read as read_settings

T = TypeVar("T")
P = ParamSpec("P")

WHOLE: Final = 200
"""Objects up to which the results in the state are whole;
of more than these the state has the names, the report all."""

LARGEST: Final = 20_000_000
"""Bytes, as JSON, up to which they are whole; the engine takes messages of 400 MB, and keeps several copies."""

FAILURES: Final = 50
"""Failures that the message of a run lists."""


_refreshed: Final[set[str]] = set()
"""URNs that this process has read and not checked since: a diff of these is the refresh's own."""


class _UnfinishedError(Exception):
    """A run of which something failed. The resource stays in the state with what was done."""

    def __init__(self, lines: list[str], resource_id: str, outputs: dict[str, Any]) -> None:
        self.error = ApplyError(*lines)
        self.resource_id = resource_id
        self.outputs = outputs


def _ends_in_one_line(call: Callable[P, T]) -> Callable[P, T]:
    """The call, where whatever it raises becomes one message to the engine, which would show a traceback."""

    @functools.wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the engine would show a traceback
            raised = error
        # Not within the block above: how a call is ended is an exception too.
        if isinstance(raised, _UnfinishedError):
            return engine.fail(raised.error, resource_id=raised.resource_id, outputs=raised.outputs)
        return engine.fail(_as_own(raised))

    return guarded


@_ends_in_one_line
def check(news: dict[str, Any]) -> CheckResult:
    given: dict[str, Any] = {}
    _refreshed.discard(engine.urn())
    try:
        given = _as_sent(_settings_in(news))
        with no_search_for_cycles():
            return CheckResult({**given, "plan": _planned(given)}, [])
    except SettingsError as error:
        failures = [_failure(problem, _value_of(problem.parameter, given)) for problem in error.problems]
    except Exception as error:  # noqa: BLE001 - a failure of the inputs, which names the resource
        failures = [CheckFailure("", str(_as_own(error)))]
    return CheckResult(given, failures)


@_ends_in_one_line
def diff(olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
    # A stack that comes back from the native provider has the names of the schema.
    before = _settings_in(to_parameters(_settings_in(olds)))
    changed = before != _settings_in(news)
    # In its own diff a refresh gives the inputs of the last up as the new ones, whose plan was carried out then.
    planned = None if engine.urn() in _refreshed else news.get("plan")
    return DiffResult(changes=changed or bool(planned) or bool(olds.get("backlog")))


@_ends_in_one_line
def create(props: dict[str, Any]) -> CreateResult:
    identity, outputs = _apply(None, props)
    return CreateResult(identity, outputs)


@_ends_in_one_line
def update(id_: str, news: dict[str, Any]) -> UpdateResult:
    return UpdateResult(_apply(id_, news)[1])


@_ends_in_one_line
def read(id_: str, props: dict[str, Any]) -> ReadResult:
    # The state of an earlier version holds objects as the cluster gave them.
    outputs = {name: value_of(props[name], again=True) for name in OUTPUTS if name in props}
    without_plan = {name: value for name, value in props.items() if name != "__provider"} | {"plan": {}}
    given = _settings_in(props)
    # An import has no properties, and nothing that it could be compared with.
    found = {"backlog": _backlog(given)} if props else {}
    result = ReadResult(id_, without_plan | outputs | found)
    result.inputs = {**given, "plan": {}}
    if urn := engine.urn():
        _refreshed.add(urn)
    return result


def _backlog(given: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to prune now, in sums.

    Where it cannot be known, that is what it says: by the settings of the last up, whose credentials may have expired
    or whose cluster may be gone, no refresh may fail, since preview and destroy begin with one.
    """
    try:
        settings = _read(given)
        noted = _noted(settings, given)
        if noted is not None:
            return backlog(noted)
        with no_search_for_cycles():
            analysis = _run(_analysis(settings))
            _latest.put(settings, analysis)
            return backlog(analysis.plan)
    except Exception as error:  # noqa: BLE001 - see above
        message = f"what there is to prune is not known: {_as_own(error)}"
        engine.EngineLog().warn(message)
        return {"summary": str(value_of(message))}


_latest: Final = Latest()


def _planned(given: Mapping[str, Any]) -> dict[str, Any]:
    """What preview shows of the plan, which is kept for up."""
    unknown = sorted(name for name, value in given.items() if _is_unknown(value))
    if unknown:
        # What the program does not know yet is not guessed.
        message = f"not known before {', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} known"
        engine.EngineLog().info(f"the plan is {message}")
        return {"summary": message}
    settings, plans = _read(given), KeptPlans.of_user()
    plan = _noted(settings, given)
    if plan is not None:
        plans.expect(plan.fingerprint)
        _warn(plan)
    else:
        analysis = _latest.take(settings) or _run(_analysis(settings))
        if settings.report:
            write_file(Path(settings.report), encode_report(analysis))
        plan = analysis.plan
        plans.keep(analysis)
        note_plan(plans, engine_process(), engine.urn(), given, plan)
    if settings.require_approval:
        note_seed(plans, engine.seed(), plan.fingerprint)
    _show(plan, Path(settings.report) if settings.report else plans.path(plan.fingerprint))
    return rendered(plan)


def _noted(settings: Settings, given: Mapping[str, Any]) -> PrunePlan | None:
    """The plan of the preview of the same `up`; None where there is none, or each call has to plan for itself."""
    if settings.require_approval:
        return None
    return noted_plan(KeptPlans.of_user(), engine_process(), engine.urn(), given)


def _apply(id_: str | None, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Carry out the plan that the inputs name; id and outputs.

    Raises _UnfinishedError where some of it failed, or its result could not be reported.
    """
    given = _settings_in(props)
    fingerprint = (props.get("plan") or {}).get("fingerprint")
    plan, result, wrong = None, Result(), list[str]()
    settings = _read(given)
    if fingerprint is not None:
        check_approval(settings, str(fingerprint))
        plan = KeptPlans.of_user().plan(str(fingerprint))
        result, wrong = _carry_out(settings, plan)
        # From here on something may have been deleted, so nothing but _UnfinishedError is raised.
        wrong = [*_failed(result), *wrong, *_cleared_up(settings, plan, result)]
    try:
        done = _outputs(result)
    except Exception as error:  # noqa: BLE001 - what was done has to reach the state, at least in sums
        done = {**_outputs(Result()), "summary": value_of(msgspec.to_builtins(result.summary))}
        wrong.append(f"the outputs of the resource cannot be shown: {defects.said(error)}")
    outputs = {**given, "plan": {}, **done}
    identity = id_ or (plan.cluster if plan is not None else "pruned")
    if wrong:
        # The engine calls the dynamic provider by what the state says it is.
        stored = {name: props[name] for name in ("__provider",) if name in props}
        raise _UnfinishedError(wrong, identity, {**outputs, **stored})
    return identity, outputs


def _value_of(parameter: str, given: Mapping[str, Any]) -> Any:
    """What is given for the parameter by any of its names."""
    names = [parameter, *(BY_NAME[parameter].aliases if parameter in BY_NAME else ())]
    return next((given[name] for name in names if name in given), None)


def _as_own(error: Exception) -> PrunerError:
    return error if isinstance(error, PrunerError) else PrunerError(defects.said(error))


def _failure(problem: Problem, value: Any) -> CheckFailure:
    """The failure on the property, whose value the engine prints
    beside it, secret or not: of what may hold a secret the name alone.
    """
    if is_secret(problem.parameter, value) or may_hold_credentials(value) or "@" in str(value):
        return CheckFailure("", str(problem))
    return CheckFailure(problem.parameter, problem.message)


def _settings_in(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters among the properties, and whatever else the program has given, which `read` will refuse."""
    others = {"plan", "__provider", *OUTPUTS}
    return {name: value for name, value in properties.items() if name not in others and value is not None}


def _as_sent(value: Any) -> Any:
    """The value with what is unknown as the engine writes it;
    the SDK hands out an object for it, and takes none back.
    """
    if isinstance(value, Unknown):
        return rpc.UNKNOWN
    if isinstance(value, Mapping):
        return {name: _as_sent(part) for name, part in value.items()}
    return [_as_sent(part) for part in value] if isinstance(value, list) else value


def _is_unknown(value: Any) -> bool:
    if value == rpc.UNKNOWN:
        return True
    if isinstance(value, Mapping):
        return any(map(_is_unknown, value.values()))
    return isinstance(value, list) and any(map(_is_unknown, value))


def _read(given: Mapping[str, Any]) -> Settings:
    return read_settings(given, environ=os.environ)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in an event loop of its own; the engine calls from a thread that has none."""
    return asyncio.run(work)


async def _analysis(settings: Settings) -> Analysis:
    log = engine.EngineLog()
    async with session(settings) as api:
        analysis = await make_plan(api, settings, progress=log.progress)
    _warn(analysis.plan)
    return analysis


def _warn(plan: PrunePlan) -> None:
    log = engine.EngineLog()
    for note in plan.notes:
        log.warn(note)


def _show(plan: PrunePlan, report: Path) -> None:
    """Say what the plan deletes, for those who don't see the inputs, and where the whole of it is."""
    if not plan.empty:
        where = f"every image, with the reason: pulumi preview --diff, or {installation.command()} report {report}"
        engine.EngineLog().info(f"to delete: {headline(plan)}", [*table(plan), where], prefix="| ")


def _carry_out(settings: Settings, plan: PrunePlan) -> tuple[Result, list[str]]:
    """The result, and what went wrong after it. Raises what `apply_plan` does, before anything is changed."""
    log, stop, results = engine.EngineLog(), engine.wish_to_stop(), list[Result]()

    async def carry_out() -> None:
        async with session(settings) as api:
            results.append(
                await apply_plan(api, plan, settings, progress=log.progress, warn=log.warn, wish_to_stop=stop)
            )

    try:
        with process_lock(plan.cluster, progress=log.progress, wish_to_stop=stop):
            _run(carry_out())
    except Exception as error:
        # What was deleted has to be reported.
        if not results:
            raise
        return results[0], [f"the run has ended, but not cleanly: {defects.said(error)}"]
    (result,) = results
    outcome = Outcome.of(result)
    log.info(outcome_line(outcome))
    if restart := result.registry_restart:
        (log.info if restart.done else log.warn)(restart_line(outcome))
    return result, []


def _cleared_up(settings: Settings, plan: PrunePlan, result: Result) -> list[str]:
    """Forget the kept plan, and write the report where one is asked for; what is wrong with that."""
    KeptPlans.of_user().forget(plan.fingerprint)
    if not settings.report:
        return []
    path = Path(settings.report)
    try:
        write_file(path, encode_result(plan, result, path))
    except Exception as error:  # noqa: BLE001 - objects are already deleted
        return [
            "the run has ended, and its result is in the outputs of this resource; its report is not there: "
            f"{defects.said(error)}"
        ]
    return []


def _as_builtins(result: Result) -> dict[str, Any]:
    builtins: dict[str, Any] = msgspec.to_builtins(result)
    return {**builtins, "summary": msgspec.to_builtins(result.summary)}


def _outputs(result: Result) -> dict[str, Any]:
    whole = _as_builtins(result)
    for name in ("deleted_images", "updated_image_streams"):
        objects = whole[name]
        if len(objects) > WHOLE or len(msgspec.json.encode(value_of(objects))) > LARGEST:
            whole[name] = [_name(found["metadata"]) for found in objects]
    for name in ("skipped", "failures"):
        more = len(whole[name]) - LISTED
        if more > 0:
            whole[name][LISTED:] = [{"what": f"{more} more", "why": "the report has them all"}]
    whole["registry_restart"] = whole["registry_restart"] or {}
    whole["backlog"] = {}
    return {name: value_of(whole[name]) for name in OUTPUTS}


def _name(meta: Mapping[str, Any]) -> str:
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def _failed(result: Result) -> list[str]:
    """What failed and why, line by line, after what was done; nothing where nothing failed."""
    if not result.failures:
        return []
    done = result.summary
    lines = [f"{failure.what}: {failure.why}" for failure in result.failures[:FAILURES]]
    if len(result.failures) > FAILURES:
        lines.append(f"and {len(result.failures) - FAILURES} more, all of them in the report")
    return [
        f"{count(len(result.failures), 'deletion')} failed; {count(done.revisions, 'revision')}, "
        f"{count(done.images, 'image')} and {count(done.blobs, 'blob')} were deleted; run up again to delete the rest:",
        *lines,
    ]
