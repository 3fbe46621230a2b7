"""Every way in which a call of the provider ends: a value, or one
message without a traceback that loses nothing of what was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from pulumi.dynamic import CheckResult
from pulumi.runtime import rpc

from pruner.apply import Result, apply_plan
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.http.client import Timeouts
from pruner.plan import PrunePlan
from pruner.provider.engine import FailedCallError
from pruner.provider.provider import OUTPUTS, PrunedImagesProvider
from pruner.settings import Settings
from tests.conftest import Tried
from tests.pruning import planned, settings_for
from tests.servers import RunningSandbox

NOBODY = "http://127.0.0.1:9"
PROVIDER = PrunedImagesProvider()


class Odd(dict[str, Any]):
    """What nobody has foreseen: properties that cannot be read."""

    def items(self) -> NoReturn:
        raise KeyError("sesame")


class Stage(NamedTuple):
    sandbox: RunningSandbox
    folder: Path

    def given(self, **settings: Any) -> dict[str, Any]:
        address = {"host": self.sandbox.api_url, "api_key": self.sandbox.tokens["admin"]}
        return {"__provider": "stored", **address, **settings}

    def inputs(self, **settings: Any) -> dict[str, Any]:
        """What up is given after a check that made a plan."""
        given = self.given(**settings)
        checked = PROVIDER.check({}, {name: value for name, value in given.items() if name != "__provider"})
        assert checked.failures == []
        return {**checked.inputs, "__provider": "stored"}


@pytest.fixture
def stage(sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Stage(sandbox, tmp_path)


def in_the_way(stage: Stage) -> str:
    """A path at which no file can be made."""
    (stage.folder / "file").write_text("a file", encoding="utf-8")
    return str(stage.folder / "file" / "report.jsonl")


# --- check: failures of the inputs ------------------------------------------------------------------------------------


def planned_inputs(stage: Stage) -> dict[str, Any]:
    return stage.given()


def wrong_setting(stage: Stage) -> dict[str, Any]:
    return stage.given(workers="many")


def wrong_secret(stage: Stage) -> dict[str, Any]:
    return stage.given(api_key="a token\nof two lines")


def unknown(stage: Stage) -> dict[str, Any]:
    return stage.given(host=rpc.UNKNOWN)


def nobody(stage: Stage) -> dict[str, Any]:
    return stage.given(host=NOBODY)


def too_large(stage: Stage) -> dict[str, Any]:
    return stage.given(max_deletions=1)


def unwritable_report(stage: Stage) -> dict[str, Any]:
    return stage.given(report=in_the_way(stage))


def no_place_for_plans(stage: Stage) -> dict[str, Any]:
    (stage.folder / "cache").write_text("a file", encoding="utf-8")
    return stage.given()


def defect(_stage: Stage) -> dict[str, Any]:
    return Odd(host=NOBODY)


DEFECT = "this is a defect of pruner: KeyError at lifecycle.py:"
CHECKS: tuple[tuple[Callable[[Stage], dict[str, Any]], str | None, str], ...] = (
    (planned_inputs, None, "17 images"),
    (unknown, None, "not known before host is known"),
    (wrong_setting, "workers", "many"),
    (wrong_secret, "", "api_key: "),
    (nobody, "", f"{NOBODY}: cannot connect"),
    (too_large, "", "and max_deletions is 1"),
    (unwritable_report, "report", "report.jsonl"),
    (no_place_for_plans, "", "the plan cannot be kept for up: "),
    (defect, "", DEFECT),
)
"""The inputs, the property of the failure (None where there is none), and part of what is shown."""


@pytest.mark.parametrize(("make", "where", "message"), CHECKS, ids=[make.__name__ for make, *_ in CHECKS])
def test_every_end_of_check(
    stage: Stage, make: Callable[[Stage], dict[str, Any]], where: str | None, message: str
) -> None:
    stage.sandbox.forget_requests()
    checked = PROVIDER.check({}, make(stage))
    assert isinstance(checked, CheckResult)
    assert writes(stage.sandbox) == []
    if where is None:
        assert checked.failures == []
        assert message in checked.inputs["plan"]["summary"]
        return
    (failure,) = checked.failures
    assert failure.property == where
    assert message in failure.reason
    check_line(failure.reason)


# --- create and update ------------------------------------------------------------------------------------------------


def nothing_planned(stage: Stage) -> dict[str, Any]:
    return stage.given(plan={})


def plan_carried_out(stage: Stage) -> dict[str, Any]:
    return stage.inputs()


def plan_not_kept(stage: Stage) -> dict[str, Any]:
    return stage.given(plan={"fingerprint": "sha256:" + "0" * 64})


def no_fingerprint(stage: Stage) -> dict[str, Any]:
    return stage.given(plan={"fingerprint": ["../../x"]})


def setting_that_is_wrong_by_now(stage: Stage) -> dict[str, Any]:
    return {**stage.inputs(), "workers": "many"}


def cluster_that_is_away_by_now(stage: Stage) -> dict[str, Any]:
    return {**stage.inputs(), "host": NOBODY}


def permission_that_is_missing_by_now(stage: Stage) -> dict[str, Any]:
    return {**stage.inputs(), "api_key": stage.sandbox.tokens["viewer"]}


def deletions_that_fail(stage: Stage) -> dict[str, Any]:
    inputs = stage.inputs()
    stage.sandbox.add_fault({"status": 403}, method="DELETE", path="/images/", first=3)
    return inputs


def report_that_is_a_full_device(stage: Stage) -> dict[str, Any]:
    return {**stage.inputs(), "report": "/dev/full"}


class End(NamedTuple):
    make: Callable[[Stage], dict[str, Any]]
    message: str | None
    deleted: int | None
    """Images in the outputs; None where there are no outputs, since nothing was done."""


ENDS = (
    End(nothing_planned, None, 0),
    End(plan_carried_out, None, 17),
    End(plan_not_kept, "cannot be read", None),
    End(no_fingerprint, "is not the fingerprint of a plan; run up again", None),
    End(setting_that_is_wrong_by_now, "workers: ", None),
    End(cluster_that_is_away_by_now, f"{NOBODY}: cannot connect", None),
    End(permission_that_is_missing_by_now, "nothing was changed", None),
    End(deletions_that_fail, "deletions failed; ", 2),
    End(report_that_is_a_full_device, "its report is not there: /dev/full: cannot be written: No space left", 17),
    End(defect, DEFECT, None),
)


@pytest.mark.parametrize("updates", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("end", ENDS, ids=[end.make.__name__ for end in ENDS])
def test_every_end_of_create_and_update(stage: Stage, end: End, updates: bool) -> None:
    inputs = end.make(stage)
    before = set(stage.sandbox.images())
    stage.sandbox.forget_requests()
    outputs, failed = called(inputs, updates=updates)
    assert (failed is None) is (end.message is None)
    if failed is not None:
        assert str(end.message) in str(failed)
        check_lines(str(failed))
        assert (outputs is None) is (failed.resource_id is None)
        assert outputs is None or outputs.pop("__provider") == "stored"
    gone = before - set(stage.sandbox.images())
    if end.deleted is None:
        assert outputs is None
        assert [write for write in writes(stage.sandbox) if "/leases" not in write] == []
        return
    assert outputs is not None
    assert set(OUTPUTS) <= set(outputs)
    assert outputs["plan"] == {}
    assert {image["metadata"]["name"] for image in outputs["deleted_images"]} == gone
    assert len(gone) == outputs["summary"]["images"] == end.deleted


def called(inputs: dict[str, Any], *, updates: bool) -> tuple[dict[str, Any] | None, FailedCallError | None]:
    """The outputs that reach the state, and the failure."""
    try:
        done = PROVIDER.update("one", {}, inputs) if updates else PROVIDER.create(inputs)
    except FailedCallError as failed:
        return None if failed.outputs is None else dict(failed.outputs), failed
    return done.outs, None


# --- diff, read and delete --------------------------------------------------------------------------------------------


def test_diff_ends_with_a_value_or_one_line() -> None:
    assert PROVIDER.diff("one", {"workers": 1}, {"workers": 1, "plan": {}}).changes is False
    assert PROVIDER.diff("one", {"workers": 1}, {"workers": 2, "plan": {}}).changes is True
    assert PROVIDER.diff("one", {}, {"plan": {"summary": "1 image"}}).changes is True
    with pytest.raises(FailedCallError, match=f"^{DEFECT}"):
        PROVIDER.diff("one", Odd(), {})


def test_read_ends_with_a_value_or_one_line() -> None:
    state = {"host": NOBODY, "summary": {"images": 3}, "plan": {"summary": "x"}, "__provider": "p"}
    read = PROVIDER.read("one", state)
    assert read.outs is not None
    # No refresh fails by a cluster that is away: destroy begins with one.
    unknown = f"what there is to prune is not known: {NOBODY}: cannot connect"
    assert read.outs["backlog"]["summary"].startswith(unknown)
    assert (read.id, read.outs["summary"], read.outs["plan"]) == ("one", {"images": 3}, {})
    with pytest.raises(FailedCallError, match=f"^{DEFECT}"):
        PROVIDER.read("one", Odd())


def test_delete_ends_whatever_it_is_given() -> None:
    PROVIDER.delete("one", Odd())


# --- defects in the middle of a run -----------------------------------------------------------------------------------


class Countdown:
    """Ends a run with what nobody has foreseen, at the n-th call."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, *_: object) -> bool:
        self.left -= 1
        if self.left == 0:
            raise ValueError("sesame")
        return False


CALLBACKS = ("progress", "wish_to_stop")


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_defect_at_any_moment_of_a_run_loses_nothing_of_its_result(stage: Stage, callback: str, tried: Tried) -> None:
    """Each run ends at a later call than the one before it,
    until one meets no defect: then nothing is left to prune.
    """
    settings = settings_for(stage.sandbox, workers=1)
    ends = {"before any change": 0, "in the middle": 0}
    for calls in range(1, 600, 4 if callback == "progress" else 29):
        plan = asyncio.run(planned(settings))
        before = set(stage.sandbox.images())
        stage.sandbox.forget_requests()
        countdown = Countdown(calls)
        try:
            result = run(settings, plan, {callback: countdown})
        except ValueError:
            ends["before any change"] += 1
            assert [write for write in writes(stage.sandbox) if "/leases" not in write] == []
            continue
        assert {image["metadata"]["name"] for image in result.deleted_images} == before - set(stage.sandbox.images())
        if countdown.left > 0:
            assert result.failures == []
            break
        ends["in the middle"] += 1
        reasons = [failure.why for failure in result.failures]
        assert [why for why in reasons if "this is a defect of pruner: ValueError at " in why]
        assert [why for why in reasons if why.endswith("; run up again to go on")]
        check_lines("\n".join(reasons))
        stage.sandbox.call("DELETE", "/apis/coordination.k8s.io/v1/namespaces/openshift-image-registry/leases/pruner")
    assert asyncio.run(planned(settings)).empty
    # Whether it is to stop, a run asks at its first change.
    assert ends["before any change"] or callback == "wish_to_stop"
    assert ends["in the middle"]
    tried(sum(ends.values()), f"defects in the middle of a run, in {callback}")


def run(settings: Settings, plan: PrunePlan, callbacks: dict[str, Any]) -> Result:
    async def go() -> Result:
        async with Api(connect(settings), workers=settings.workers, timeouts=Timeouts()) as api:
            return await apply_plan(api, plan, settings, **callbacks)

    return asyncio.run(go())


# --- what they look for -----------------------------------------------------------------------------------------------


def writes(sandbox: RunningSandbox) -> list[str]:
    """What was changed, as method and path."""
    return [
        f"{entry['method']} {entry['path']}"
        for entry in sandbox.requests()
        if entry["method"] in ("PUT", "DELETE", "POST", "PATCH") and "/authorization.k8s.io/" not in entry["path"]
    ]


def check_line(text: str) -> None:
    assert "\n" not in text
    check_lines(text)


def check_lines(text: str) -> None:
    assert text.strip()
    assert "Traceback" not in text
    assert "sesame" not in text
