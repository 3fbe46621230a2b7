"""Items that name no Image, and Images whose names are any segment of a path (R19, P3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from sandbox.builder import noise
from sandbox.clock import timestamp
from sandbox.kinds import IMAGE_STREAMS
from tests.pruning import broken_images, plan, prune, settings_for
from tests.servers import RunningSandbox, running_sandbox


def add_items(sandbox: RunningSandbox, stream: str, tag: str, images: Iterable[str]) -> None:
    """Append items, older than any limit, to a tag's history."""

    async def put() -> None:
        async with sandbox.builder() as cluster:
            found = await cluster.get(IMAGE_STREAMS, stream)
            tags = found["status"].setdefault("tags", [])
            history = next((each for each in tags if each["tag"] == tag), None)
            if history is None:
                history = {"tag": tag, "items": []}
                tags.append(history)
            day = timestamp(await cluster.now()).replace("2026", "2025")
            history["items"] += [
                {"image": image, "created": day, "dockerImageReference": "quay.io/a/b:1", "generation": 1}
                for image in images
            ]
            namespace, _, name = stream.partition("/")
            await cluster.request("PUT", cluster.url(IMAGE_STREAMS, namespace, name) + "/status", found)

    asyncio.run(put())


def fill(sandbox: RunningSandbox) -> None:
    async def push() -> None:
        async with sandbox.builder() as cluster:
            for number, age in enumerate((90, 60, 30)):
                await cluster.push("shop/web:latest", layers=[noise(f"web {number}", 300)], age_days=age)
            await cluster.deployment("shop/web", cluster.pull_spec("shop/web:latest"), age_days=50)

    asyncio.run(push())


NAMES_OF_NONE = ["", ".", "..", "a/b", "../../secrets", "50%", "%2e%2e"]
"""What no Image can be called. `oc tag --reference` leaves an empty one."""


def test_items_that_can_name_no_image_stay_and_disturb_nothing_R19(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "data") as sandbox:
        fill(sandbox)
        add_items(sandbox, "shop/web", "reference", NAMES_OF_NONE)
        add_items(sandbox, "shop/web", "latest", NAMES_OF_NONE)
        settings = settings_for(sandbox, keep_tag_revisions=1)
        wanted = plan(settings)
        assert [(each.tag, each.revision) for each in wanted.streams[0].revisions] == [("latest", 1), ("latest", 2)]
        sandbox.forget_requests()
        result = prune(settings)
        assert result.failures == []
        assert result.skipped == []
        assert result.removed_revisions == 2
        assert sandbox.history("shop/web:reference") == NAMES_OF_NONE
        assert sandbox.history("shop/web:latest")[1:] == NAMES_OF_NONE
        asked = {request["path"].partition("?")[0] for request in sandbox.requests(method="GET")}
        names = {path.partition("/images/")[2] for path in asked if "/images/" in path}
        assert names
        assert {name.partition(":")[0] for name in names} == {"sha256"}
        assert broken_images(sandbox) == []
        assert plan(settings).empty


NAMES = [
    "a?b",
    "#x",
    "...",
    "a b",
    "a&b=c",
    "line\nbreak",
    "\x1b[31mred",
    "päth",
    "\u202eright",
    "sha256:",
    "[a]",
    "a;b",
    "a+b",
]
"""Names that an API server accepts for Images; `/` and `%`, `.` and `..` cannot be segments of a path."""


def test_images_of_any_name_are_pruned_or_kept_as_what_they_are_P3(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "data") as sandbox:
        fill(sandbox)

        async def make() -> None:
            async with sandbox.builder() as cluster:
                for name in (*NAMES, *(f"{each}-kept" for each in NAMES)):
                    await cluster.image({"metadata": {"name": name}}, age_days=80)

        asyncio.run(make())
        kept = [f"{name}-kept" for name in NAMES]
        add_items(sandbox, "shop/web", "odd", [item for pair in zip(kept, NAMES, strict=True) for item in pair])
        settings = settings_for(sandbox, keep_tag_revisions=2 * len(NAMES) - 1)
        wanted = {image.name for image in plan(settings).images}
        assert wanted == {NAMES[-1]}
        assert prune(settings).failures == []
        assert wanted.isdisjoint(sandbox.images())
        assert plan(settings).empty
        everything = settings_for(sandbox, keep_tag_revisions=0)
        assert {*NAMES[:-1], *kept} <= {image.name for image in plan(everything).images}
        result = prune(everything)
        assert result.failures == []
        assert result.skipped == []
        assert not {*NAMES, *kept} & set(sandbox.images())
        assert plan(everything).empty
