"""Further clusters that pull from this registry: the sessions with them, and a reading of what uses images there (R38).

Only what refers to images is read of them: workloads, image streams for where their tags come from, and the mirror sets
that say by which other names their nodes pull. Everything that keeps one of them from being read whole ends the run,
and names the cluster (R3).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

import msgspec

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.cluster.further_kinds import sources_of
from pruner.cluster.identity import identify
from pruner.cluster.lists import decoder_of_pages
from pruner.cluster.metadata import ObjectMeta
from pruner.cluster.objects import ImageStream, ImageStreamSpec, Mirror, OtherCluster
from pruner.cluster.resources import IMAGE_STREAMS, MIRROR_SETS, Resource
from pruner.cluster.snapshot import Progress, Reading, check_clock, kinds_of
from pruner.cluster.workloads import Referrer
from pruner.errors import ClusterError, Problem, PrunerError, SettingsError, UnsafePlanError
from pruner.http.client import Timeouts
from pruner.interpreter import no_search_for_cycles, short_turns
from pruner.settings import PodSource, References, Settings, UsingCluster

AT_ONCE: Final = 4
"""Clusters that are read side by side: each takes the memory of its workloads."""


class OtherApi(msgspec.Struct, frozen=True):
    """A session with another cluster, which is called `name` in the settings."""

    name: str
    api: Api


@asynccontextmanager
async def other_sessions(settings: Settings, timeouts: Timeouts) -> AsyncIterator[tuple[OtherApi, ...]]:
    """Sessions with all clusters of `uses_from`. Raises SettingsError and ClusterError, which name the cluster."""
    async with AsyncExitStack() as stack:
        opened = []
        for each in settings.uses_from:
            with _naming(each.name):
                api = await stack.enter_async_context(session_with(each, settings.workers, timeouts))
            opened.append(OtherApi(each.name, api))
        yield tuple(opened)


def session_with(cluster: UsingCluster, workers: int, timeouts: Timeouts | None = None) -> Api:
    """To be used with `async with`."""
    return Api(connect(cluster.connection), workers=workers, timeouts=timeouts)


async def read_others(
    others: Iterable[OtherApi],
    *,
    references: References,
    extra_referrers: Iterable[PodSource],
    hosts: frozenset[str],
    progress: Progress,
) -> tuple[OtherCluster, ...]:
    """What each of the clusters has that uses images. `hosts` are those by which this registry is known.

    Read it after the own images and image streams: no use is older than what it uses (R2).

    Raises ClusterError, and UnsafePlanError for a clock that cannot be believed; both name the cluster.
    """
    sources = sources_of(references, extra_referrers)
    bound = asyncio.Semaphore(AT_ONCE)

    async def read(other: OtherApi) -> OtherCluster:
        async with bound:
            with _naming(other.name):
                return await _read(other, references, sources, hosts, progress)

    with no_search_for_cycles(), short_turns():
        # The first failure ends the readings of the others.
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read(other)) for other in others]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
    return tuple(task.result() for task in tasks)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Errors say which cluster it is that cannot be read."""
    try:
        yield
    except SettingsError as error:
        raise SettingsError(
            [Problem("uses_from", f"cluster {name}: {problem}") for problem in error.problems]
        ) from None
    except PrunerError as error:
        kind = UnsafePlanError if isinstance(error, UnsafePlanError) else ClusterError
        raise kind(f"uses_from: cluster {name}: {error}; until it can be read, nothing is pruned") from None


async def _read(
    other: OtherApi, references: References, sources: Iterable[PodSource], hosts: frozenset[str], progress: Progress
) -> OtherCluster:
    api = other.api
    reading = Reading(api, lambda told: progress(f"cluster {other.name}: {told}"))
    cluster = await identify(api)
    now = api.clock.now()
    # Mirror sets before the workloads that use them; a run watches for later ones.
    mirrors = [mirror for kind in MIRROR_SETS for mirror in await reading.list_all(kind, _mirror_sets[kind], _mirrors)]
    streams = await reading.list_all(IMAGE_STREAMS, _streams, _import_specs)
    referrers: list[Referrer] = []

    async def add(listed: Awaitable[list[Referrer]]) -> None:
        referrers.extend(await listed)

    await asyncio.gather(
        *(add(reading.referrers(resource)) for resource in kinds_of(references)),
        *(add(reading.extra_referrers(source)) for source in sources),
    )
    check_clock(api, [], [], referrers)
    return OtherCluster(
        name=other.name,
        cluster=cluster,
        as_of=now,
        hosts=hosts,
        mirrors=tuple(dict.fromkeys(mirrors)),
        streams=tuple(streams),
        referrers=tuple(referrers),
        sources=tuple(sorted(reading.sources, key=lambda source: source.name)),
        resource_versions=reading.versions,
    )


def watched_kinds(other: OtherCluster, references: References) -> list[tuple[Resource, PodSource | None]]:
    """The kinds that were read of the cluster, each with where a further kind has its images."""
    kinds = [(resource, None) for resource in (*MIRROR_SETS, IMAGE_STREAMS, *kinds_of(references))]
    extra = [(Resource(it.group, it.version, it.resource), it) for it in other.sources]
    return [(kind, source) for kind, source in [*kinds, *extra] if kind.name in other.resource_versions]


# --- image streams and mirror sets -----------------------------------------------------------------------------------


class _Stream(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="ImageStream"):
    """An image stream without its status: the revisions in it are the other cluster's own."""

    metadata: ObjectMeta
    spec: ImageStreamSpec | None = None


def _import_specs(streams: list[_Stream]) -> Iterator[ImageStream]:
    return (ImageStream(each.metadata, each.spec) for each in streams if each.spec is not None and each.spec.tags)


class _Mirrored(msgspec.Struct, frozen=True, gc=False):
    source: str = ""
    mirrors: list[str] | None = None


class _MirrorSetSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The field of each of the kinds."""

    image_digest_mirrors: list[_Mirrored] | None = None
    image_tag_mirrors: list[_Mirrored] | None = None
    repository_digest_mirrors: list[_Mirrored] | None = None


class _MirrorSet(msgspec.Struct, frozen=True, gc=False):
    metadata: msgspec.Raw
    spec: _MirrorSetSpec | None = None


_streams = decoder_of_pages(_Stream)
_mirror_sets = {kind: decoder_of_pages(_MirrorSet, kind.kind) for kind in MIRROR_SETS}


def mirrors_in(raw: msgspec.Raw) -> list[Mirror]:
    """The entries of one mirror set."""
    return list(_mirrors([msgspec.json.decode(raw, type=_MirrorSet)]))


def _mirrors(sets: list[_MirrorSet]) -> Iterator[Mirror]:
    """What is pulled from elsewhere than its name says."""
    for spec in filter(None, (each.spec for each in sets)):
        for found in (spec.image_digest_mirrors, spec.image_tag_mirrors, spec.repository_digest_mirrors):
            for entry in found or ():
                yield from (Mirror(entry.source, mirror) for mirror in entry.mirrors or () if entry.source and mirror)
