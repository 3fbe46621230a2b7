"""Planning and applying against a sandbox, in the test's own process; and what must hold of the sandbox afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pruner.analysis import Analysis
from pruner.apply import Result, apply_plan
from pruner.apply.run_lock import Clock
from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.retirement import RETIRED
from pruner.http.client import Timeouts
from pruner.plan import PrunePlan
from pruner.planning import make_plan
from pruner.restore import Choice, Restored, restore
from pruner.settings import Settings, read
from tests.servers import RunningSandbox


def settings_for(sandbox: RunningSandbox, user: str = "admin", **given: Any) -> Settings:
    return read({"host": sandbox.api_url, "api_key": sandbox.tokens[user], **given})


async def analysed(settings: Settings) -> Analysis:
    async with Api(connect(settings), workers=settings.workers) as api:
        return await make_plan(api, settings)


async def planned(settings: Settings) -> PrunePlan:
    return (await analysed(settings)).plan


class QuickClock(Clock):
    """Lets no time pass while the Lease of a run that was killed is observed."""

    def __init__(self) -> None:
        self.slept = 0.0

    def now(self) -> float:
        return self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


async def applied(
    settings: Settings,
    plan: PrunePlan,
    wish_to_stop: Callable[[], bool] = lambda: False,
    warnings: list[str] | None = None,
    timeouts: Timeouts | None = None,
) -> Result:
    async with Api(connect(settings), workers=settings.workers, timeouts=timeouts) as api:
        warn = warnings.append if warnings is not None else lambda _: None
        return await apply_plan(api, plan, settings, wish_to_stop=wish_to_stop, warn=warn, clock=QuickClock())


def prune(settings: Settings) -> Result:
    """Plan and apply, as one up does."""

    async def both() -> Result:
        return await applied(settings, await planned(settings))

    return asyncio.run(both())


async def restoring(settings: Settings, choice: Choice, *, dry_run: bool = False) -> Restored:
    async with Api(connect(settings), workers=settings.workers) as api:
        return await restore(api, choice, dry_run=dry_run, workers=settings.workers, clock=QuickClock())


def bring_back(settings: Settings, *names: str, **chosen: Any) -> Restored:
    """Restore, as the command does."""
    dry_run = bool(chosen.pop("dry_run", False))
    return asyncio.run(restoring(settings, Choice(names=names, **chosen), dry_run=dry_run))


def plan(settings: Settings) -> PrunePlan:
    return asyncio.run(planned(settings))


# --- what must hold ---------------------------------------------------------------------------------------------------


def registry_root(sandbox: RunningSandbox) -> Path:
    return next(path for path in sandbox.folder.rglob("v2") if (path / "blobs").is_dir())


def blob_file(sandbox: RunningSandbox, digest: str) -> Path:
    algorithm, encoded = digest.split(":", 1)
    return registry_root(sandbox) / "blobs" / algorithm / encoded[:2] / encoded / "data"


def link_file(sandbox: RunningSandbox, repository: str, digest: str, *, is_manifest: bool) -> Path:
    kind = "_manifests/revisions" if is_manifest else "_layers"
    return registry_root(sandbox) / "repositories" / repository / kind / digest.replace(":", "/") / "link"


def blobs_of(image: dict[str, Any]) -> Iterator[str]:
    """What has to be on disk for an Image of the API to be pulled whole."""
    yield image["metadata"]["name"]
    yield from (layer["name"] for layer in image.get("dockerImageLayers") or ())
    if (
        "manifest.v2+json" in image["dockerImageManifestMediaType"]
        or "image.manifest.v1" in image["dockerImageManifestMediaType"]
    ):
        yield image["dockerImageMetadata"]["Id"]


def broken_images(sandbox: RunningSandbox, without: frozenset[str] = frozenset()) -> list[str]:
    """What is missing of managed images that an image stream names: on disk, or linked in the stream's repository (P2).

    Members of indexes count. Looks at the files themselves, past the registry.
    """
    images = {image["metadata"]["name"]: image for image in sandbox.items("/apis/image.openshift.io/v1/images")}
    missing = []
    for stream in sandbox.items("/apis/image.openshift.io/v1/imagestreams"):
        name = f"{stream['metadata']['namespace']}/{stream['metadata']['name']}"
        digests = {item["image"] for tag in stream["status"].get("tags") or () for item in tag.get("items") or ()}
        for digest in sorted(with_members(digests, images) - without):
            if digest in images and is_managed(images[digest]):
                missing += [f"{name}@{digest}: {what}" for what in missing_of(sandbox, name, images[digest])]
    return missing


def is_managed(image: dict[str, Any]) -> bool:
    return (image["metadata"].get("annotations") or {}).get("openshift.io/image.managed") == "true"


def with_members(digests: set[str], images: dict[str, Any]) -> set[str]:
    reached, ahead = set(digests), list(digests)
    while ahead:
        for member in images.get(ahead.pop(), {}).get("dockerImageManifests") or ():
            if member["digest"] not in reached:
                reached.add(member["digest"])
                ahead.append(member["digest"])
    return reached


def missing_of(sandbox: RunningSandbox, repository: str, image: dict[str, Any]) -> Iterator[str]:
    manifest = image["metadata"]["name"]
    for digest in blobs_of(image):
        if not blob_file(sandbox, digest).is_file():
            yield f"blob {digest}"
        if not link_file(sandbox, repository, digest, is_manifest=digest == manifest).is_file():
            yield f"link {digest}"


def records(sandbox: RunningSandbox) -> dict[str, dict[str, Any]]:
    """What the annotations of retired images say, by image."""
    found = {}
    for name, image in sandbox.images().items():
        text = (image["metadata"].get("annotations") or {}).get(RETIRED)
        if text is not None:
            found[name] = json.loads(text)
    return found


def retired(sandbox: RunningSandbox) -> dict[str, list[Any]]:
    """The revisions in these records, without the times of the runs."""
    return {
        name: sorted(
            [each["stream"], each["tag"], each["position"], each["item"], each.get("spec_tag")] for each in found
        )
        for name, record in records(sandbox).items()
        for found in [record.get("revisions", [])]
    }


def end_state(sandbox: RunningSandbox) -> str:
    """All that a run changes, as a text to compare: images, tags with
    their histories, tags in spec, blobs and links on disk, records.
    """
    root = registry_root(sandbox)
    streams = {
        f"{stream['metadata']['namespace']}/{stream['metadata']['name']}": stream
        for stream in sandbox.items("/apis/image.openshift.io/v1/imagestreams")
    }
    histories = {
        name: {
            tag["tag"]: [item["image"] for item in tag.get("items") or ()] for tag in stream["status"].get("tags") or ()
        }
        for name, stream in streams.items()
    }
    spec_tags = {name: [tag["name"] for tag in stream["spec"].get("tags") or ()] for name, stream in streams.items()}
    found = (path for path in root.rglob("*") if path.is_file() and "_uploads" not in path.parts)
    files = sorted(str(path.relative_to(root)) for path in found)
    return json.dumps(
        {
            "images": sorted(sandbox.images()),
            "histories": histories,
            "spec_tags": spec_tags,
            "files": files,
            "retired": retired(sandbox),
        },
        indent=1,
        sort_keys=True,
    )
