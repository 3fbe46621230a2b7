"""A run that is killed, at every single write, and the run after it.

The process is forked and ended with SIGKILL while the sandbox holds back the n-th write, for every n. Whatever stream
names an image, right after the kill and after the next run, can have it whole (P2), and the next run ends where an undisturbed one does.
The number of cases is printed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path

import pytest

from pruner.plan import PrunePlan
from pruner.settings import Settings
from tests.pruning import absent_digest, applied, broken_images, end_state, plan, prune, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox

WRITES = "PUT|POST|DELETE"
NOT_REVIEWS = "^(?!/apis/authorization)"
PARTS = 8
"""Into which the writes are divided, so that several processes can share the work."""


@pytest.fixture(scope="module")
def undisturbed(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    with running_sandbox(copied(demo_folder, tmp_path_factory.mktemp("undisturbed") / "cluster")) as sandbox:
        absent = absent_digest(plan(settings_for(sandbox)))
        prune(settings_for(sandbox))
        return end_state(sandbox, absent)


def killed_at(sandbox: RunningSandbox, settings: Settings, wanted: PrunePlan, write: int) -> bool:
    """Run, and kill the process while its n-th write is held back; False when there are fewer writes than that."""
    sandbox.add_fault({"hang": True}, method=WRITES, path=NOT_REVIEWS, first=write, last=write)
    # Forked, so that a thousand runs need not import everything a thousand times.
    process = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(applied(settings, wanted)))
    process.start()
    while process.is_alive() and not sandbox.faults()[0]["fired"]:
        process.join(0.02)
    held = bool(sandbox.faults()[0]["fired"])
    process.kill()
    process.join()
    sandbox.clear_faults()
    return held


@pytest.mark.parametrize("part", range(PARTS))
def test_a_run_killed_at_any_write_loses_nothing_and_the_next_one_finishes_it(
    part: int, demo_folder: Path, tmp_path: Path, undisturbed: str
) -> None:
    cases = 0
    for write in range(part + 1, 1000, PARTS):
        with running_sandbox(copied(demo_folder, tmp_path / str(write))) as sandbox:
            first = settings_for(sandbox, workers=1)
            wanted = plan(first)
            settings = settings_for(sandbox, as_of=wanted.as_of.isoformat())
            if not killed_at(sandbox, first, wanted, write):
                break
            cases += 1
            assert broken_images(sandbox) == [], f"after the kill at write {write}"
            # The lease of the killed run expires.
            sandbox.advance_clock(120)
            assert prune(settings).failures == []
            assert broken_images(sandbox) == [], f"after the run that followed the kill at write {write}"
            assert end_state(sandbox, absent_digest(wanted)) == undisturbed, f"after the kill at write {write}"
    assert cases > 5
    print(f"killed at {cases} writes")
