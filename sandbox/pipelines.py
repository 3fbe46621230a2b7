"""What pipelines leave behind, for the demo of retention rules: an image stream with a tag for every commit, releases
with their signatures, tags that were promoted, and an image stream that nobody needs any more.
"""

from sandbox.builder import Builder, noise
from sandbox.kinds import IMAGES, MAPPINGS

COMMITS = 200
"""Tags of one commit each, pushed at even intervals over a year."""
STREAM = "delivery/app"
KIB = 1024


async def populate_pipelines(api_url: str, registry_url: str, token: str) -> None:
    """Adds the namespace `delivery` to a sandbox, over HTTP, as the user of the token, who may do everything."""
    async with Builder(api_url, registry_url, token) as builder:
        promoted = {"prod": 150, "staging": 190}
        spec_tags = [
            {"name": tag, "from": {"kind": "ImageStreamTag", "name": f"app:{_commit(number)}"}}
            for tag, number in promoted.items()
        ]
        await builder.image_stream(STREAM, spec_tags=spec_tags, age_days=366)
        commits = [await _push_commit(builder, number) for number in range(COMMITS)]
        for minor in range(12):
            await _release(builder, minor, age_days=_age(minor * 16) - 0.1)
        for tag, number in promoted.items():
            await _tag(builder, commits[number], tag, age_days=_age(number) - 0.5)
        await builder.workload(
            "Deployment", "delivery/app", builder.pull_spec(f"{STREAM}:prod"), age_days=_age(promoted["prod"])
        )
        await builder.image_stream("delivery/abandoned", age_days=200)


def _commit(number: int) -> str:
    return f"sha-{number * 2654435761 % 2**28:07x}"


def _age(number: int) -> float:
    """Days since a commit, the newest of which is a day old."""
    return 1 + (COMMITS - 1 - number) * 364 / COMMITS


async def _push_commit(builder: Builder, number: int) -> str:
    layers = [noise("delivery/base", 100 * KIB), noise(f"delivery/app {number}", 8 * KIB)]
    return await builder.push(f"{STREAM}:{_commit(number)}", layers=layers, age_days=_age(number))


async def _release(builder: Builder, minor: int, *, age_days: float) -> None:
    """An image of its own, with the signature and the SBOM that cosign would push next to it."""
    layers = [noise("delivery/base", 100 * KIB), noise(f"delivery/release {minor}", 12 * KIB)]
    digest = await builder.push(f"{STREAM}:v1.{minor}.0", layers=layers, age_days=age_days)
    for suffix, size in (("sig", KIB), ("sbom", 4 * KIB)):
        attached = f"{digest.replace(':', '-')}.{suffix}"
        content = [noise(f"delivery/{suffix} {minor}", size)]
        await builder.push(f"{STREAM}:{attached}", layers=content, flavour="oci", age_days=age_days)


async def _tag(builder: Builder, digest: str, tag: str, *, age_days: float) -> None:
    """What `oc tag` does: another tag names the image, and nothing is linked."""
    namespace, _, name = STREAM.partition("/")
    image = await builder.get(IMAGES, digest)
    mapping = {"metadata": {"name": name, "namespace": namespace}, "image": image, "tag": tag}
    async with builder.days_ago(age_days):
        await builder.request("POST", builder.url(MAPPINGS, namespace), mapping)
