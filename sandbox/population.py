"""
The demo cluster: five teams' namespaces with a year of images behind them, and one example at least of everything that
makes pruning more than deleting what is old. Each function is one team. Contents follow from the names, so every
demo has the same digests.
"""

from collections.abc import Sequence

from sandbox import objects
from sandbox.blobs import digest_of
from sandbox.builder import Builder, Flavour, noise
from sandbox.kinds import CLUSTER_VERSIONS

KIB = 1024
_BASES = {
    "base": noise("base", 200 * KIB),
    "python": noise("python", 120 * KIB),
    "node": noise("node", 150 * KIB),
    "jvm": noise("jvm", 180 * KIB),
}


async def populate_demo(api_url: str, registry_url: str, token: str) -> None:
    """Fills an empty sandbox, over HTTP, as the user of the token, who may do everything. Takes a few seconds."""
    async with Builder(api_url, registry_url, token) as builder:
        await builder.get(CLUSTER_VERSIONS, "version")
        await _shop(builder)
        await _blog(builder)
        await _data(builder)
        await _build_farm(builder)
        await _mirror(builder)


async def _revisions(
    builder: Builder, ref: str, ages: Sequence[float], *, bases: Sequence[str], size: int = 40 * KIB
) -> list[str]:
    """Pushes one revision of a tag for each age in days, oldest first, and returns their digests in that order."""
    shared = [_BASES[name] for name in bases]
    return [
        await builder.push(ref, layers=[*shared, noise(f"{ref}#{at}", size)], age_days=age)
        for at, age in enumerate(ages)
    ]


async def _platforms(
    builder: Builder, ref: str, *, age_days: float, architectures: Sequence[str], flavour: Flavour = "docker"
) -> list[str]:
    """Pushes an index under the tag, its members by digest only; returns the digests, that of the index last."""
    repository = ref.partition(":")[0]
    members = [
        await builder.push(
            repository,
            layers=[noise(f"{ref}-{architecture}-base", 60 * KIB), noise(f"{ref}-{architecture}@{age_days}", 30 * KIB)],
            architecture=architecture,
            variant="v8" if architecture == "arm64" else "",
            flavour=flavour,
            age_days=age_days,
        )
        for architecture in architectures
    ]
    return [*members, await builder.push_index(ref, members, age_days=age_days, flavour=flavour)]


async def _shop(builder: Builder) -> None:
    """A web shop: many revisions, some in use by tag, some by digest, some only by what could be rolled back to."""
    web = await _revisions(builder, "shop/web:latest", [320, 200, 120, 60, 30, 9, 2], bases=["base", "node"])
    await _revisions(builder, "shop/web:canary", [180, 90], bases=["base", "node"])
    await builder.push("shop/web:stable", layers=[_BASES["base"], _BASES["node"], noise("shop/web#3", 40)], age_days=45)
    await builder.workload("Deployment", "shop/web", builder.pull_spec("shop/web:latest"), age_days=320)
    await builder.workload(
        "ReplicaSet", "shop/web-5d9c", builder.pull_spec(f"shop/web@{web[2]}"), replicas=0, age_days=120
    )
    api = await _revisions(builder, "shop/api:latest", [250, 150, 70, 20, 5], bases=["base", "python"])
    await builder.workload("Deployment", "shop/api", builder.pull_spec(f"shop/api@{api[1]}"), age_days=150)
    await builder.pod(
        "shop/api-debug",
        builder.pull_spec("shop/api:latest"),
        image_ids=[builder.pull_spec(f"shop/api@{api[3]}")],
        age_days=20,
    )
    await _revisions(builder, "shop/checkout:latest", [210, 100, 40], bases=["base", "jvm"])
    await builder.workload("DeploymentConfig", "shop/checkout", builder.pull_spec("shop/checkout:latest"), age_days=210)
    await builder.workload(
        "ReplicationController",
        "shop/checkout-3",
        builder.pull_spec("shop/checkout:latest"),
        age_days=40,
    )
    await builder.limit_range("shop/image-limits", "150Ki", age_days=300)


async def _blog(builder: Builder) -> None:
    """Small sites, one of them given up long ago, and pods that ran once."""
    await _revisions(builder, "blog/site:latest", [400, 300, 220, 140, 80, 35], bases=["base", "python"], size=25 * KIB)
    await _revisions(builder, "blog/site:preview", [95, 1], bases=["base", "python"], size=25 * KIB)
    await builder.workload("StatefulSet", "blog/site", builder.pull_spec("blog/site:latest"), age_days=400)
    await _revisions(builder, "blog/old-theme:v1", [390], bases=["base", "node"])
    await _revisions(builder, "blog/old-theme:v2", [370, 360], bases=["base", "node"])
    once = await _revisions(builder, "blog/migrate:latest", [200, 190], bases=["base", "python"])
    migrate = builder.pull_spec(f"blog/migrate@{once[0]}")
    await builder.pod("blog/migrate-old", migrate, phase="Succeeded", age_days=190)
    await builder.failed_import("blog/fonts:latest", message="manifest unknown", age_days=150)


async def _data(builder: Builder) -> None:
    """Batch work, collectors on every node, and images for more than one architecture."""
    await _revisions(builder, "data/etl:nightly", [130, 100, 65, 33, 12, 3], bases=["base", "jvm"], size=90 * KIB)
    await builder.workload("CronJob", "data/etl", builder.pull_spec("data/etl:nightly"), age_days=130)
    await _revisions(builder, "data/backfill:latest", [110], bases=["base", "jvm"])
    await builder.workload("Job", "data/backfill", builder.pull_spec("data/backfill:latest"), age_days=105)
    await _platforms(builder, "data/collector:v1", age_days=260, architectures=["amd64", "arm64", "s390x"])
    await _platforms(builder, "data/collector:v2", age_days=75, architectures=["amd64", "arm64"])
    for age_days in (380, 330, 240, 170, 95):
        await _platforms(builder, "data/collector:edge", age_days=age_days, architectures=["amd64", "arm64"])
    await builder.workload("DaemonSet", "data/collector", builder.pull_spec("data/collector:v2"), age_days=75)
    await _platforms(builder, "data/query:latest", age_days=160, architectures=["amd64", "arm64"], flavour="oci")
    await _platforms(builder, "data/query:old", age_days=290, architectures=["amd64", "ppc64le"], flavour="oci")
    await builder.pod("data/query-0", builder.pull_spec("data/query"), age_days=50)


async def _build_farm(builder: Builder) -> None:
    """What is built with: builders that nothing runs, and one image that is half pushed."""
    await _revisions(builder, "build-farm/python-builder:3.11", [280, 170, 85], bases=["base", "python"])
    await _revisions(builder, "build-farm/python-builder:3.8", [380, 310], bases=["base", "python"])
    node = await _revisions(builder, "build-farm/node-builder:20", [240, 125], bases=["base", "node"])
    tag = objects.build_from("ImageStreamTag", "python-builder:3.11")
    await builder.build_config("build-farm/api", tag, strategy="Source", output="api:latest", age_days=280)
    image = objects.build_from("ImageStreamImage", f"node-builder@{node[0]}", "build-farm")
    await builder.build("build-farm/web-1", image, output="web:latest", age_days=125)
    docker = objects.build_from("DockerImage", builder.pull_spec("build-farm/node-builder:20"))
    await builder.build("build-farm/web-2", docker, output="web:latest", age_days=20)
    minutes = 5 / (24 * 60)
    await builder.push("build-farm/fresh", layers=[_BASES["base"], noise("fresh", 20 * KIB)], age_days=minutes)


async def _mirror(builder: Builder) -> None:
    """Copies of other registries, with the damage of years: an orphan, an item whose image is gone."""
    upstream = digest_of(b"mirror/postgres")
    layer = digest_of(b"mirror/postgres/layer")
    await builder.import_image(
        "mirror/postgres:15",
        upstream,
        source=f"registry.example.com/library/postgres@{upstream}",
        layers={layer: 80_000_000},
        age_days=230,
    )
    await builder.push("mirror/lost", layers=[_BASES["base"], noise("lost", 70 * KIB)], age_days=330)
    gone = await _revisions(builder, "mirror/redis:7", [340, 270, 55], bases=["base"])
    await builder.delete_image(gone[0])
    await _revisions(builder, "mirror/nginx:1.25", [350, 245, 135], bases=["base", "node"], size=15 * KIB)
    await _revisions(builder, "mirror/nginx:1.27", [28], bases=["base", "node"], size=15 * KIB)
    await builder.workload("Deployment", "mirror/cache", builder.pull_spec("mirror/redis:7"), age_days=55)
