"""Every kind of request answered in every wrong way, for a whole run; and the run after it, without faults.

Whatever happens, everything that an image stream names can be had whole (P2), nothing that is used is gone, and the next run ends where
an undisturbed one does. The number of cases is printed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pruner.cluster.http import Timeouts
from pruner.errors import PrunerError
from tests.pruning import absent_digest, applied, broken_images, end_state, plan, prune, settings_for
from tests.servers import RunningSandbox, copied, running_sandbox

REQUESTS = {
    "discovery": {"method": "GET", "path": "^/apis/[^/]+/[^/]+$"},
    "list of images": {"method": "GET", "path": "/images[?]limit"},
    "list of image streams": {"method": "GET", "path": "/imagestreams[?]limit"},
    "list of pods": {"method": "GET", "path": "/pods[?]limit"},
    "watch": {"method": "GET", "path": "watch=true"},
    "access review": {"method": "POST", "path": "selfsubjectaccessreviews"},
    "lease": {"method": "PUT|POST|GET", "path": "/leases"},
    "image stream": {"method": "GET", "path": "/imagestreams/[^/]+$"},
    "status update": {"method": "PUT", "path": "/imagestreams/[^/]+/status"},
    "image": {"method": "GET", "path": "/images/sha256"},
    "deletion of an image": {"method": "DELETE", "path": "/images/sha256"},
    "ping": {"method": "GET", "path": "^/(healthz)?$", "server": "registry"},
    "credentials": {"method": "GET", "path": "^/v2/$|/openshift/token", "server": "registry"},
    "layer link": {"method": "DELETE", "path": "^/v2/.*/blobs/", "server": "registry"},
    "manifest link": {"method": "DELETE", "path": "^/v2/.*/manifests/", "server": "registry"},
    "blob": {"method": "DELETE", "path": "^/admin/blobs/", "server": "registry"},
}
FAULTS: dict[str, dict[str, Any]] = {
    **{str(status): {"status": status} for status in (400, 401, 403, 404, 409, 410, 429, 500, 503)},
    "busy for a moment": {"status": 503, "headers": {"Retry-After": "0"}},
    "hang": {"hang": True},
    "reset": {"drop": "before"},
    "lost answer": {"drop": "after"},
    "truncated": {"truncate": 10},
}
GONE_ALREADY = {"layer link", "manifest link", "blob", "image stream"}
"""Where a 404 says that there is nothing left to do (R26, R28), and is believed."""
QUICK = Timeouts(connect=2, read=0.5)


@pytest.fixture(scope="module")
def undisturbed(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    with running_sandbox(copied(demo_folder, tmp_path_factory.mktemp("undisturbed") / "cluster")) as sandbox:
        absent = absent_digest(plan(settings_for(sandbox)))
        prune(settings_for(sandbox))
        return end_state(sandbox, absent)


def in_use(sandbox: RunningSandbox) -> set[str]:
    """Digests of all images, beyond those that a plan would take: what must never go."""
    return set(sandbox.images()) - {image.name for image in plan(settings_for(sandbox)).images}


@pytest.mark.parametrize("request_class", REQUESTS)
def test_no_fault_loses_anything_and_the_next_run_finishes(
    request_class: str, demo_folder: Path, tmp_path: Path, undisturbed: str
) -> None:
    for name, fault in FAULTS.items():
        with running_sandbox(copied(demo_folder, tmp_path / name.replace(" ", "-"))) as sandbox:
            kept = in_use(sandbox)
            wanted = plan(settings_for(sandbox))
            settings = settings_for(sandbox, as_of=wanted.as_of.isoformat())
            sandbox.add_fault(fault, **REQUESTS[request_class])  # type: ignore[arg-type]
            with suppress(PrunerError):
                asyncio.run(applied(settings, wanted, timeouts=QUICK))
            assert broken_images(sandbox) == [], f"{request_class}: {name}"
            assert kept <= set(sandbox.images()), f"{request_class}: {name}"
            sandbox.clear_faults()
            # The lease of a run that could not release it expires.
            sandbox.advance_clock(120)
            assert prune(settings).failures == [], f"{request_class}: {name}"
            assert broken_images(sandbox) == [], f"{request_class}: {name}, then a run without it"
            if name == "404" and request_class in GONE_ALREADY:
                continue
            assert end_state(sandbox, absent_digest(wanted)) == undisturbed, (
                f"{request_class}: {name}, then a run without it"
            )
    print(f"{request_class}: {len(FAULTS)} faults")
