"""Small clusters in a sandbox, for tests that run on one again and again: some made by chance, and one made for races.

What is made by chance is the same for the same seed: few layers that are shared, tags that move, images in two
repositories, tags that name images of other streams, indexes, items whose Image is absent, images that no stream names,
users of all of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sandbox.builder import Builder, noise
from sandbox.kinds import IMAGES, MAPPINGS
from tests.servers import populated_folder, running_sandbox

SEEDS: Final = (7, 18, 20)
"""Of clusters that have everything between them, and of which a run makes some 20 to 40 writes."""
REPOSITORIES: Final = ("one/app", "one/lib", "two/app", "two/tool")
TAGS: Final = ("latest", "v1")
SMALL: Final = 400
"""Bytes of a layer."""

Settings = Mapping[str, Any]


def saved(name: str, folder: Path) -> Path:
    """The folder of a cluster by name: `demo`, `races`,
    `retention`, `undo`, or `seed` and a number. It is for copying.
    """
    if name == "demo":
        return populated_folder(folder)

    async def fill() -> None:
        async with sandbox.builder() as cluster:
            match name:
                case "races":
                    await _for_races(cluster)
                case "retention":
                    await _for_retention(cluster)
                case "undo":
                    await _for_undo(cluster)
                case _:
                    await _by_chance(cluster, int(name.removeprefix("seed ")))

    with running_sandbox(folder) as sandbox:
        asyncio.run(fill())
    return folder


def settings_of(name: str) -> Settings:
    """Settings with which a run on this cluster has something to do."""
    if name == "demo":
        return {}
    if name == "retention":
        rules = [{"name": "pull requests", "tags": ["pr-*"], "keep_newest": 1}]
        return {"retention": rules, "empty_streams": {"older_than": "1d"}}
    if name == "undo":
        rules = [{"name": "pull requests", "tags": ["pr-*"], "keep_newest": 1}]
        return {"retention": rules, "keep_tag_revisions": 1, "grace": 1}
    return {"keep_tag_revisions": 0 if name == "races" else 1}


async def _retag(cluster: Builder, digest: str, ref: str, *, age_days: float) -> None:
    """What `oc tag` does: the stream names an image of another one, and nothing is linked."""
    repository, _, tag = ref.partition(":")
    namespace, _, name = repository.partition("/")
    await cluster.image_stream(repository, age_days=age_days)
    image = await cluster.get(IMAGES, digest)
    mapping = {"metadata": {"name": name, "namespace": namespace}, "image": image, "tag": tag}
    async with cluster.days_ago(age_days):
        await cluster.request("POST", cluster.url(MAPPINGS, namespace), mapping)


class _Chance:
    """Steps that are made in an order and in places that chance decides."""

    def __init__(self, cluster: Builder, seed: int) -> None:
        self.cluster = cluster
        self.random = random.Random(seed)  # noqa: S311 - chance that can be had again
        self.layers = [noise(f"layer {seed} {number}", SMALL) for number in range(6)]
        self.pushed: dict[str, list[str]] = {repository: [] for repository in REPOSITORIES}

    def everything(self) -> list[str]:
        return list(dict.fromkeys(digest for digests in self.pushed.values() for digest in digests))

    async def push(self, repository: str, age: float) -> None:
        tag = self.random.choice(["", *TAGS, *TAGS, *TAGS])
        found = await self.cluster.push(
            f"{repository}:{tag}" if tag else repository,
            layers=self.random.sample(self.layers, self.random.randint(1, 2)),
            flavour=self.random.choice(["docker", "oci"]),
            labels={"n": str(self.random.randint(0, 9))},
            age_days=age,
        )
        self.pushed[repository].append(found)

    async def push_index(self, repository: str, age: float) -> None:
        members = list(dict.fromkeys(self.pushed[repository]))
        if members:
            some = self.random.sample(members, min(2, len(members)))
            ref = f"{repository}:{self.random.choice(TAGS)}"
            self.pushed[repository].append(await self.cluster.push_index(ref, some, age_days=age))

    async def push_twice(self, repository: str, age: float) -> None:
        """The same image to two repositories: its Image tells of the first one only."""
        layer, label = self.random.choice(self.layers), f"twice {age}"
        for target in (repository, self.random.choice(REPOSITORIES)):
            ref = f"{target}:{self.random.choice(TAGS)}"
            found = await self.cluster.push(ref, layers=[layer], labels={"ref": label}, age_days=age)
            self.pushed[target].append(found)

    async def move_tag(self, repository: str, age: float) -> None:
        everything = [digest for digests in self.pushed.values() for digest in digests]
        if everything:
            digest = self.random.choice(everything)
            await _retag(self.cluster, digest, f"{repository}:{self.random.choice(TAGS)}", age_days=age)

    async def use(self, number: int) -> None:
        repository, cluster = self.random.choice(REPOSITORIES), self.cluster
        by_tag = cluster.pull_spec(f"{repository}:{self.random.choice(TAGS)}")
        by_digest = cluster.pull_spec(f"{repository}@{self.random.choice(self.everything())}")
        await cluster.deployment(f"one/tagged-{number}", by_tag, age_days=200)
        await cluster.pod(f"two/pinned-{number}", by_digest, age_days=100)
        await cluster.pod(f"two/done-{number}", by_tag, phase="Succeeded", age_days=100)


async def _by_chance(cluster: Builder, seed: int) -> None:
    chance = _Chance(cluster, seed)
    steps = [chance.push, chance.push, chance.push, chance.push_index, chance.push_twice, chance.move_tag]
    for age in sorted((chance.random.uniform(1, 300) for _ in range(14)), reverse=True):
        await chance.random.choice(steps)(chance.random.choice(REPOSITORIES), age)
    await cluster.delete_image(chance.random.choice(chance.everything()))
    for number in range(2):
        await chance.use(number)
    await cluster.failed_import("one/fonts:latest", age_days=90)


async def _for_races(cluster: Builder) -> None:
    """A stream with a revision and a tag that go, and what shares
    layers with them: another that goes, and one that stays.
    """
    base = noise("base", SMALL)
    for name, age in (("old", 90), ("new", 50)):
        await cluster.push("shop/app:latest", layers=[base, noise("app", SMALL), noise(name, SMALL)], age_days=age)
    await cluster.push("shop/app:next", layers=[base, noise("app next", SMALL)], age_days=40)
    await cluster.push("shop/other:latest", layers=[base, noise("old", SMALL)], age_days=60)
    await cluster.deployment("shop/app", cluster.pull_spec("shop/app:latest"), age_days=50)


async def _for_retention(cluster: Builder) -> None:
    """Tags that expire, with and without an entry in spec.tags and
    a signature, one of them used; and image streams without tags.
    """
    described = {"name": "pr-1", "annotations": {"description": "the first one"}}
    promoted = {"name": "pr-2", "from": {"kind": "ImageStreamTag", "namespace": "shop", "name": "lib:v1"}}
    await cluster.push("shop/lib:v1", layers=[noise("lib", SMALL)], age_days=90)
    await cluster.image_stream("shop/app", spec_tags=[described, promoted], age_days=90)
    pushed = {}
    for number, age in ((1, 40), (2, 30), (3, 20), (4, 10), (5, 5)):
        layers = [noise("base", SMALL), noise(f"pr {number}", SMALL)]
        pushed[number] = await cluster.push(f"shop/app:pr-{number}", layers=layers, age_days=age)
    for number, age in ((1, 39), (5, 4)):
        tag = f"{pushed[number].replace(':', '-')}.sig"
        await cluster.push(f"shop/app:{tag}", layers=[noise(f"signature {number}", SMALL)], age_days=age)
    await cluster.deployment("shop/preview", cluster.pull_spec("shop/app:pr-3"), age_days=20)
    for name, days in (("empty", 50.0), ("new", 0.1)):
        await cluster.image_stream(f"shop/{name}", age_days=days)


async def _for_undo(cluster: Builder) -> None:
    """What can be restored: old revisions, an index with its members and
    its signature, an image of two streams, a tag in spec.tags.
    """
    base = noise("base", SMALL)
    promoted = {"name": "pr-1", "from": {"kind": "ImageStreamTag", "namespace": "shop", "name": "lib:v1"}}
    await cluster.image_stream("shop/app", spec_tags=[promoted], age_days=90)
    for age in (80, 70, 60):
        await cluster.push("shop/lib:v1", layers=[base, noise(f"lib {age}", SMALL)], age_days=age)
    for repository in ("shop/app", "shop/copy"):
        await cluster.push(f"{repository}:latest", layers=[base, noise("twice", SMALL)], age_days=55)
    members = [
        await cluster.push("shop/app", layers=[base, noise(f"member {number}", SMALL)], age_days=51)
        for number in (1, 2)
    ]
    index = await cluster.push_index("shop/app:latest", members, age_days=50)
    signature = f"{index.replace(':', '-')}.sig"
    await cluster.push(f"shop/app:{signature}", layers=[noise("signature", SMALL)], age_days=49)
    for repository in ("shop/app", "shop/copy"):
        await cluster.push(f"{repository}:latest", layers=[base, noise(f"new {repository}", SMALL)], age_days=20)
    for number, age in ((1, 40), (2, 30)):
        await cluster.push(f"shop/app:pr-{number}", layers=[base, noise(f"pr {number}", SMALL)], age_days=age)
    await cluster.deployment("shop/app", cluster.pull_spec("shop/app:latest"), age_days=20)
