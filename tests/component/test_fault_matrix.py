"""Every kind of request answered in every wrong way, for a whole run; and the run after it, without faults.

On the demo cluster, on one made by chance, and with retention rules on one whose tags expire. Whatever happens,
everything that an image stream names can be had whole (P2), nothing that is used is gone, and the next run ends where
an undisturbed one does. The number of cases is printed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pruner.errors import PrunerError
from pruner.http.client import Timeouts
from pruner.plan.prune_plan import PrunePlan
from tests.component.conftest import Saved, SavedCluster
from tests.conftest import Tried
from tests.pruning import applied, broken_images, end_state, plan, prune, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox
from tests.small_clusters import SEEDS, settings_of

REQUESTS = {
    "discovery": {"method": "GET", "path": "^/apis?$"},
    "list of images": {"method": "GET", "path": "/images[?]limit"},
    "list of image streams": {"method": "GET", "path": "/imagestreams[?]limit"},
    "list of pods": {"method": "GET", "path": "/pods[?]limit"},
    "watch": {"method": "GET", "path": "watch=true"},
    "access review": {"method": "POST", "path": "selfsubjectaccessreviews"},
    "lease": {"method": "PUT|POST|GET", "path": "/leases"},
    "image stream": {"method": "GET", "path": "/imagestreams/[^/]+$"},
    "status update": {"method": "PUT", "path": "/imagestreams/[^/]+/status"},
    "spec update": {"method": "PUT", "path": "/imagestreams/[^/]+$"},
    "deletion of an image stream": {"method": "DELETE", "path": "/imagestreams/[^/]+$"},
    "image": {"method": "GET", "path": "/images/sha256"},
    "deletion of an image": {"method": "DELETE", "path": "/images/sha256"},
    "ping": {"method": "GET", "path": "^/(healthz)?$", "server": "registry"},
    "credentials": {"method": "GET", "path": "^/v2/$|/openshift/token", "server": "registry"},
    "layer link": {"method": "DELETE", "path": "^/v2/.*/blobs/", "server": "registry"},
    "manifest link": {"method": "DELETE", "path": "^/v2/.*/manifests/", "server": "registry"},
    "blob": {"method": "DELETE", "path": "^/admin/blobs/", "server": "registry"},
}
AT_ONCE = {"Retry-After": "0"}
"""What is repeated is repeated without a pause."""
FAULTS: dict[str, dict[str, Any]] = {
    **{str(status): {"status": status} for status in (400, 401, 403, 404, 409, 410)},
    **{str(status): {"status": status, "headers": AT_ONCE} for status in (429, 500, 503)},
    "busy for a moment": {"status": 503},
    "hang": {"hang": True},
    "reset": {"drop": "before"},
    "lost answer": {"drop": "after"},
    "truncated": {"truncate": 10},
    "page of HTML": {"status": 200, "body": "<html>"},
}
WITH_RETENTION = (
    *("list of image streams", "image stream", "spec update", "status update", "deletion of an image stream"),
    *("layer link", "manifest link", "deletion of an image"),
)
"""What a run with retention rules does in another way than a run without them."""
ONLY_WITH_RETENTION = {"spec update", "deletion of an image stream"}
CASES = [
    *(
        (cluster, each)
        for cluster in ("demo", f"seed {SEEDS[1]}")
        for each in REQUESTS
        if each not in ONLY_WITH_RETENTION
    ),
    *(("retention", each) for each in WITH_RETENTION),
]
GONE_ALREADY = {"layer link", "manifest link", "blob", "image stream", "spec update", "deletion of an image stream"}
"""Where a 404 says that there is nothing left to do (R26, R28), and is believed."""
QUICK = Timeouts(connect=2, read=0.5)
ATTEMPTS = 5
"""On a machine that is busy for half a second a run can end before it comes to the request that is answered wrongly."""


def met_with(
    sandbox: RunningSandbox, saved: Saved, cluster: str, request_class: str, name: str
) -> tuple[PrunePlan, set[str]]:
    """A plan that was carried out under the fault, and the images that are not in it, which must never go."""
    asked = settings_for(sandbox, **settings_of(cluster))
    last = 2 if name == "busy for a moment" else None
    for _ in range(ATTEMPTS):
        sandbox.restore(saved.folder)
        wanted = plan(asked)
        kept = set(sandbox.images()) - {image.name for image in wanted.images}
        rule = sandbox.add_fault(FAULTS[name], last=last, **REQUESTS[request_class])  # type: ignore[arg-type]
        with suppress(PrunerError):
            asyncio.run(applied(asked, wanted, timeouts=QUICK))
        if sandbox.fired(rule):
            return wanted, kept
    pytest.fail(f"{request_class}: {name} was never met with in {ATTEMPTS} runs")


@pytest.mark.parametrize(("cluster", "request_class"), CASES)
def test_no_fault_loses_anything_and_the_next_run_finishes(
    request_class: str, cluster: str, saved_cluster: SavedCluster, tmp_path: Path, tried: Tried
) -> None:
    saved = saved_cluster(cluster)
    with running_sandbox(copied(saved.folder, tmp_path / "cluster")) as sandbox:
        for name in FAULTS:
            wanted, kept = met_with(sandbox, saved, cluster, request_class, name)
            settings = settings_for(sandbox, as_of=wanted.as_of.isoformat(), **settings_of(cluster))
            assert saved.broken.issuperset(broken_images(sandbox)), f"{request_class}: {name}"
            assert kept <= set(sandbox.images()), f"{request_class}: {name}"
            sandbox.clear_faults()
            # The lease of a run that could not release it expires.
            sandbox.advance_clock(120)
            assert prune(settings).failures == [], f"{request_class}: {name}"
            assert saved.broken.issuperset(broken_images(sandbox)), f"{request_class}: {name}, then a run without it"
            if name == "404" and request_class in GONE_ALREADY:
                continue
            assert end_state(sandbox) == saved.end, f"{request_class}: {name}, then a run without it"
    tried(len(FAULTS), f"wrong answers on cluster {cluster}, each to all requests of a kind, of {len(REQUESTS)} kinds")
