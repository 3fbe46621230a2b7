"""What retention rules cost: a hundred of them, for the analysis of half a million tags and for a whole plan.

The analysis is that of a cluster made in memory, whose tags are those that pipelines push, written once. With the rules
`kept` no tag expires, so that the plan is the same as without rules and nothing but the deciding is added; with
`expired` half of the tags go, which the plan then has to hold. A whole plan, which reads its cluster first, is measured
with the rules that keep.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from bench.groups import Json, Run, Target
from bench.processes import PYTHON, best_of, reported, served
from bench.tables import table
from pruner.analysis import analyse
from pruner.cluster.metadata import ObjectMeta
from pruner.cluster.objects import (
    Image,
    ImageStream,
    ImageStreamSpec,
    ImageStreamStatus,
    NamedTagEventList,
    Snapshot,
    TagEvent,
    TagReference,
)
from pruner.cluster.workloads import Container, Referrer, Workload, WorkloadMeta, WorkloadSpec
from pruner.interpreter import no_search_for_cycles
from pruner.settings import AnalysisSettings
from pruner.settings.retention import RetentionRule, rules_of, written

ORDER: Final = 40
TITLE: Final = "Retention rules"

TAGS: Final = 500_000
RULES: Final = 100
IMAGES: Final = 20_000
"""Images, and tags, of the cluster whose whole plan is measured; its tags have 5 revisions each."""
TAGS_IN_STREAM: Final = 50
NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOST: Final = "image-registry.openshift-image-registry.svc:5000"
TIMES: Final = 3
NAMES: Final = {"without": "no rules", "kept": "rules by which no tag expires", "expired": "rules by which tags expire"}


def cluster(tags: int) -> Snapshot:
    """Image streams with 50 tags each, an image for each tag, and a workload for each stream."""
    chance = random.Random(tags)  # noqa: S311 - contents of a benchmark
    bases = [[f"sha256:{chance.getrandbits(256):064x}" for _ in range(6)] for _ in range(40)]
    images: list[Image] = []
    streams: list[ImageStream] = []
    sizes: dict[str, int] = {layer: 10**7 for base in bases for layer in base}
    users: list[Referrer] = []
    for number in range(tags // TAGS_IN_STREAM):
        namespace, name = f"team-{number % 400}", f"app-{number}"
        location = f"{HOST}/{namespace}/{name}@"
        histories = []
        for tag in _tag_names(chance, number):
            digest = f"sha256:{chance.getrandbits(256):064x}"
            own = [f"sha256:{chance.getrandbits(256):064x}" for _ in range(2)]
            sizes |= dict.fromkeys(own, 10**6)
            moved = NOW - timedelta(days=chance.uniform(1, 400))
            layers = (*bases[number % len(bases)], *own)
            images.append(Image(digest, f"uid-{digest[-8:]}", "1", moved, True, location, "", 10**8, None, layers, ()))
            histories.append(NamedTagEventList(tag, (TagEvent(digest, moved),)))
        meta = ObjectMeta(name, namespace, f"uid-{number}", "1", NOW - timedelta(days=500))
        spec = ImageStreamSpec(tags=[TagReference("latest")])
        streams.append(ImageStream(meta, spec, ImageStreamStatus(tags=histories)))
        container = Container("main", f"{HOST}/{namespace}/{name}:latest")
        users.append(
            Referrer("Deployment", Workload(WorkloadMeta(name, namespace), WorkloadSpec(containers=[container])))
        )
    return Snapshot(
        cluster="bench",
        as_of=NOW,
        images=tuple(images),
        streams=tuple(streams),
        referrers=tuple(users),
        blob_sizes=sizes,
    )


def _tag_names(chance: random.Random, stream: int) -> Iterator[str]:
    yield "latest"
    for number in range(TAGS_IN_STREAM - 1):
        match number % 5:
            case 0:
                yield f"pr-{stream * 10 + number}"
            case 1:
                yield f"sha-{chance.getrandbits(40):010x}"
            case 2:
                yield f"build-{number}-{chance.randrange(10**6)}"
            case 3:
                yield f"v1.{number}.{chance.randrange(100)}"
            case _:
                yield f"{chance.randrange(2020, 2026)}{number:02}.{stream % 100}"


def rules(number: int, *, expire: bool) -> tuple[RetentionRule, ...]:
    """So many rules as people write them: for namespaces, prefixes and versions, with inner wildcards, excluding."""
    kept = {"keep_newest": 5, "keep_younger_than": "100d"} if expire else {"keep_newest": 10_000}
    every: list[dict[str, Any]] = [
        {"name": "long-lived", "tags": ["latest", "main", "stable", "prod"], "keep": "all"},
        {
            "name": "versions",
            "tags": ["v*.*"],
            "order": "semver",
            "keep_newest": 5 if expire else 10_000,
            "prereleases": True,
        },
        {"name": "pull requests", "tags": ["pr-*", "mr-*"], **kept},
        {"name": "commits", "tags": ["sha-*"], **kept},
        {"name": "dated", "tags": ["20????.*"], **kept},
        {"name": "the rest", "tags": ["*", "!keep-*"], **kept},
    ]
    special: list[dict[str, Any]] = []
    for place in range(number - len(every)):
        names = {"name": f"team {place}", "streams": [f"team-{place}/*"]} if place % 2 else {"name": f"form {place}"}
        tags = (
            [f"*-rc{place}"],
            [f"build-{place}-*"],
            [f"release-{place}-*", f"*-{place}-final"],
            [f"nightly-{place}*"],
        )[place % 4]
        special.append({**names, "tags": tags, **kept})
    return rules_of([*special, *every][-number:])


def that_keep() -> list[dict[str, Any]]:
    """Rules by which no tag expires, as settings."""
    return [written(each) for each in rules(RULES, expire=False)]


def analysed(which: str, tags: int) -> Json:
    """The best of a few runs of one analysis: seconds of CPU."""
    snapshot, took = cluster(tags), []
    asked: dict[str, tuple[RetentionRule, ...]] = {
        "without": (),
        "kept": rules(RULES, expire=False),
        "expired": rules(RULES, expire=True),
    }
    settings = AnalysisSettings(retention=asked[which])
    gc.collect()
    for _ in range(TIMES):
        with no_search_for_cycles():
            began = time.process_time()
            plan = analyse(snapshot, settings).plan
            took.append(time.process_time() - began)
    return {"cpu": min(took), "expired": len(plan.expired_tags)}


def measure(run: Run) -> Json:
    tags, images = (10_000, 1_000) if run.quick else (TAGS, IMAGES)
    found: Json = {"tags": tags, "images": images, "analysis": {}}
    for which in NAMES:
        found["analysis"][which] = reported([PYTHON, "-m", "bench.groups.retention", which, str(tags)])
    with served(images) as server:
        command = [PYTHON, "-m", "bench.measured", "plan", server["url"]]
        commands = {"without": command, "kept": [*command, "rules"]}
        found["plan"] = best_of({name: partial(reported, each) for name, each in commands.items()}, TIMES)
    return found


def section(found: Json) -> list[str]:
    rows = []
    for what, size in (("analysis", found["tags"]), ("plan", found["images"])):
        without = found[what]["without"]["cpu"]
        for which, took in found[what].items():
            more = "" if which == "without" else f"{took['cpu'] / without - 1:+.2f}"
            rows.append((what, f"{size:,}", NAMES[which], f"{took.get('expired', 0):,}", f"{took['cpu']:.2f}", more))
    return [
        "Half of the rules are for single namespaces.\n"
        "Their patterns have wildcards at the end, at the beginning and in the middle, and some exclude.\n"
        "The analysis is that of tags with one revision each, in a cluster made in memory.\n"
        "The plan reads its cluster first, with 5 revisions a tag.\n"
        "Where tags expire, the plan also has to hold what goes with them.",
        table(("what", "tags", "with", "expired tags", "CPU s", "to no rules"), rows),
    ]


def targets(found: Json) -> Iterator[Target]:
    more = found["plan"]["kept"]["cpu"] / found["plan"]["without"]["cpu"] - 1
    yield Target(f"{RULES} retention rules add at most 0.3 to a plan", f"{more:.2f}", more <= 0.3)


if __name__ == "__main__":
    print(json.dumps(analysed(sys.argv[1], int(sys.argv[2]))))
