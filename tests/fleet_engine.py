"""An engine for tests of fleets: in place of the Pulumi CLI, does what it was told with each cluster's stack.

It takes the commands that the Automation API gives, writes what a provider would write, and keeps what it was asked. So
what a fleet makes of it is tested in moments; that the real CLI does these things is tested in tests/e2e.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pruner.plan import DeletedStream, PrunedImage, PrunePlan, RetiredImage, encode
from pruner.reasons import EmptyStream, Retiring, Unreferenced

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

PROGRAM = r"""
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
words = [word for word in sys.argv[1:] if word != "--non-interactive"]
after = lambda name: words[words.index(name) + 1]
given = "" if words == ["version"] else sys.stdin.read()
with open(os.path.join(here, "calls"), "a") as calls:
    calls.write(json.dumps({"words": words, "given": given}) + "\n")
if words == ["version"]:
    # Events are lines of a file for this one.
    print("v3.200.0")
elif words[:2] == ["stack", "output"]:
    print("{}")
elif words[:2] == ["stack", "history"]:
    print(json.dumps([{"kind": "update", "startTime": "2026-01-31T12:00:00.000Z", "message": "",
        "environment": {}, "config": {}, "result": "succeeded"}]))
elif words[0] in ("preview", "up"):
    stack = after("--stack")
    with open(os.path.join(here, "orders")) as file:
        order = json.load(file).get(f"{words[0]} {stack}", {})
    with open(f"Pulumi.{stack}.yaml") as file:
        report = next(line.split(": ", 1)[1].strip() for line in file if "pruner:report" in line)
    with open(report, "w") as file:
        file.write(order.get("report", ""))
    with open(after("--event-log"), "a") as log:
        for event in [*order.get("events", ()), {"summaryEvent": {"maybeCorrupt": False, "durationSeconds": 1,
                "resourceChanges": {}, "PolicyPacks": {}}}, {"cancelEvent": {}}]:
            log.write(json.dumps({"sequence": 1, "timestamp": 1, **event}) + "\n")
    if "writes" in order:
        with open(order["writes"][0], "w") as file:
            file.write(order["writes"][1])
    time.sleep(order.get("seconds", 0))
    sys.exit(order.get("code", 0))
"""


def plan_of(
    cluster: str, images: int = 1, *, retired: int = 0, empty_streams: int = 0, as_of: datetime = NOW
) -> PrunePlan:
    """A plan that deletes, and retires, so many images, and deletes so many image streams."""
    reason = Unreferenced()
    retiring = (
        RetiredImage(f"sha256:{number:08x}{'f' * 56}", "u", "1", NOW, "registry/shop/web", Retiring(60), 2000)
        for number in range(retired)
    )
    pruned = (
        PrunedImage(f"sha256:{number:064x}", "u", "1", NOW, "registry/shop/web", reason) for number in range(images)
    )
    streams = (
        DeletedStream("shop", f"s{number:03}", "u", "1", NOW, EmptyStream(60)) for number in range(empty_streams)
    )
    return PrunePlan(
        cluster=cluster,
        as_of=as_of,
        rules={},
        images=tuple(pruned),
        retired=tuple(retiring),
        empty_streams=tuple(streams),
    )


def report(plan: PrunePlan, result: Mapping[str, int] | None = None, skipped: int = 0) -> str:
    """What a provider writes: a plan, and the result when it was carried out."""
    text = b"".join(encode(plan)).decode()
    if result is not None:
        left = [{"what": "image", "why": "used again"}] * skipped
        text += json.dumps({"line": "result", "summary": dict(result), "skipped": left}) + "\n"
    return text


def said(message: str, severity: str = "error", **more: Any) -> dict[str, Any]:
    return {"diagnosticEvent": {"message": message, "color": "never", "severity": severity, **more}}


def violation(message: str, level: str = "mandatory") -> dict[str, Any]:
    pack = {"policyPackName": "pruner", "policyPackVersion": "1", "policyPackVersionTag": "1"}
    return {
        "policyEvent": {
            "message": message, "color": "never", "policyName": "max-images", "enforcementLevel": level, **pack,
        }
    }  # fmt: skip


class Engine:
    """The program in a folder that stands on PATH, and its orders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        program = folder / "pulumi"
        program.write_text(f"#!{sys.executable} -IS\n{PROGRAM}", encoding="utf-8")
        program.chmod(0o700)
        self.orders: dict[str, dict[str, Any]] = {}
        self._write()

    def plans(self, cluster: str, plan: PrunePlan, **more: Any) -> None:
        """What a preview of the cluster is to find."""
        self._order(f"preview {cluster}", report=report(plan), **more)

    def prunes(
        self, cluster: str, plan: PrunePlan, *, images: int | None = None, skipped: int = 0, **more: Any
    ) -> None:
        """What an up of the cluster is to do: all of a plan, or less."""
        done = {"images": len(plan.images) if images is None else images, "retired_images": len(plan.retired)}
        done["empty_streams"] = len(plan.empty_streams)
        self._order(f"up {cluster}", report=report(plan, done, skipped), **more)

    def fails(self, verb: str, cluster: str, *events: dict[str, Any], **more: Any) -> None:
        self._order(f"{verb} {cluster}", code=1, events=events, **more)

    def hangs(self, verb: str, cluster: str, **more: Any) -> None:
        self._order(f"{verb} {cluster}", seconds=300, **more)

    def _order(self, what: str, **order: Any) -> None:
        self.orders[what] = order
        self._write()

    def _write(self) -> None:
        (self.folder / "orders").write_text(json.dumps(self.orders), encoding="utf-8")

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []

    @property
    def runs(self) -> list[str]:
        """Previews and ups so far, like `up kiel`, in their order."""
        words = (call["words"] for call in self.calls)
        return [f"{each[0]} {each[each.index('--stack') + 1]}" for each in words if each[0] in ("preview", "up")]
