"""A run that is killed, at every single write, and the run after it.

The process is forked and ended with SIGKILL while the sandbox holds back the n-th write, for every n, on the demo
cluster and on some made by chance. Whatever stream names an image, right after the kill and after the next run, can
have it whole (P2), and the next run ends where an undisturbed one does. The number of cases is printed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path

import pytest

from pruner.plan import PrunePlan
from pruner.settings import Settings
from tests.component.conftest import SavedCluster
from tests.conftest import Tried
from tests.pruning import applied, broken_images, end_state, plan, prune, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox
from tests.small_clusters import SEEDS, settings_of

WRITES = "PUT|POST|DELETE"
NOT_REVIEWS = "^(?!/apis/authorization)"
PARTS = 8
"""Into which the writes on the demo cluster are divided, so that several processes can share the work."""
CASES = [
    *(("demo", part, PARTS) for part in range(PARTS)),
    *((f"seed {seed}", 0, 1) for seed in SEEDS),
    ("retention", 0, 1),
]


def killed_at(
    sandbox: RunningSandbox, settings: Settings, wanted: PrunePlan, write: int, path: str = NOT_REVIEWS
) -> bool:
    """Run, and kill the process while its n-th write is held back; False when there are fewer writes than that."""
    rule = sandbox.add_fault({"hang": True}, method=WRITES, path=path, first=write, last=write)

    def run() -> None:
        try:
            asyncio.run(applied(settings, wanted))
        finally:
            sandbox.clear_faults()

    # Forked, so that a thousand runs need not import everything a thousand times.
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    held = sandbox.has_fired(rule)
    process.kill()
    process.join()
    sandbox.clear_faults()
    return held


@pytest.mark.parametrize(("cluster", "part", "parts"), CASES)
def test_a_run_killed_at_any_write_loses_nothing_and_the_next_one_finishes_it(
    cluster: str, part: int, parts: int, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved, cases = saved_cluster(cluster), 0
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        for write in range(part + 1, 1000, parts):
            sandbox.restore(saved.folder)
            first = settings_for(sandbox, workers=1, **settings_of(cluster))
            wanted = plan(first)
            settings = settings_for(sandbox, as_of=wanted.as_of.isoformat(), **settings_of(cluster))
            if not killed_at(sandbox, first, wanted, write):
                break
            cases += 1
            assert saved.broken.issuperset(broken_images(sandbox)), f"after the kill at write {write}"
            # The lease of the killed run expires.
            sandbox.advance_clock(120)
            assert prune(settings).failures == []
            assert saved.broken.issuperset(broken_images(sandbox)), (
                f"after the run that followed the kill at write {write}"
            )
            assert end_state(sandbox) == saved.end, f"after the kill at write {write}"
            assert plan(settings).empty, f"after the kill at write {write}"
    assert cases > 5
    tried(cases, f"writes on cluster {cluster} at which the run was killed")
