"""From the settings to a plan: connect, take a snapshot, find the registry, analyse, and see if it can be trusted.

Everything here reads. `make_plan` is what a preview, `explain` and the fleet have in common. In addition to the rules
of the analysis it refuses what looks like a broken view of the cluster, and plans that are larger than allowed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import msgspec

from pruner.analysis import Analysis, analyse, find_usage
from pruner.analysis.blobs import pushed_to
from pruner.analysis.elsewhere import hosts_of
from pruner.analysis.prune import decide
from pruner.analysis.storage import Storage, idle_workloads, storage
from pruner.analysis.storage_steps import Step, steps, usage_for
from pruner.cluster.api import Api
from pruner.cluster.connection import Connection
from pruner.cluster.objects import Registry, Snapshot
from pruner.cluster.other_clusters import OtherApi, other_sessions, read_others
from pruner.cluster.permissions import RESTART, Permission
from pruner.cluster.registry import RegistryClient
from pruner.cluster.registry_discovery import find_registry
from pruner.cluster.resources import IMAGE_STREAMS, IMAGES
from pruner.cluster.snapshot import Progress, silent, take_snapshot
from pruner.cluster.usage_history import used_before
from pruner.cluster.workloads import Referrer
from pruner.errors import UnsafePlanError
from pruner.files import read_blocks
from pruner.interpreter import no_search_for_cycles
from pruner.plan import DELETED, UNVERIFIED, Approval, PrunedBlob, PrunePlan, decode
from pruner.settings import AnalysisSettings, Percent, Settings

MEASURED: Final = 2000
"""Manifests, and layers, whose sizes are asked of the registry,
a request each; of more than these none is, and the plan says so."""

REPOSITORIES: Final = 3
"""Repositories in which a layer is looked for: any of those to
which its images were pushed has it, unless somebody made a name up."""


async def make_plan(api: Api, settings: Settings, *, progress: Progress = silent) -> Analysis:
    """The plan for what the cluster has now, and all decisions.

    Raises ClusterError, RegistryError, InvalidReferencesError, UnsafePlanError, SettingsError; nothing is changed in
    any case.
    """
    approved = approved_plan(settings.approved_plan, settings.approved_digest) if settings.approved_plan else None
    snapshot = await take_snapshot(
        api,
        references=settings.references,
        extra_referrers=settings.extra_referrers,
        protect_selector=settings.protect_selector,
        as_of=settings.as_of,
        progress=progress,
    )
    check_view(snapshot, settings)
    snapshot = await with_uses_elsewhere(api, snapshot, settings, progress)
    snapshot = with_history(snapshot, await history_of(api, settings, snapshot.as_of, progress=progress))
    if approved is not None:
        check_approved(approved, snapshot)
        check_grace(approved, settings)
    absent, unverified = _absent(snapshot), _unverified(api.connection, settings)
    noted = (*absent, *_same_cluster(snapshot), *_unprotected(snapshot, settings), *unverified)
    asked, notes = settings.analysis, [*noted]
    registry = None
    if asked.prune_registry:
        progress("looking for the registry")
        registry = await find_registry(settings, api.connection, snapshot, timeouts=api.timeouts)
        asked, notes = _without_registry(asked, notes) if registry is None else (asked, notes)
    progress("analysing")
    approval = Approval.of(approved) if approved is not None else None
    with no_search_for_cycles():
        usage = find_usage(snapshot, asked, sources_apart=bool(asked.retention))
        # Of a large cluster the workloads take a quarter of the memory, and what they use is known.
        snapshot = msgspec.structs.replace(snapshot, referrers=(), others=())
        analysis = analyse(snapshot, asked, approval, registry, usage)
    plan = analysis.plan
    if registry is not None:
        notes.extend(_about(registry, plan))
        if registry.deletes_blobs and plan.blobs:
            plan = await _measured(plan, analysis, snapshot.contested_sizes, registry, api, settings, progress)
    # A preview needs less than up, so for a preview it is worth a warning.
    notes.extend(f"up would be refused: {missing}" for missing in await missing_permissions(api, plan, settings))
    plan = msgspec.structs.replace(plan, notes=(*plan.notes, *notes))
    check_size(plan, snapshot, settings)
    return msgspec.structs.replace(analysis, plan=plan)


async def with_uses_elsewhere(api: Api, snapshot: Snapshot, settings: Settings, progress: Progress) -> Snapshot:
    """The snapshot, with what the clusters of `uses_from` use now (R38).

    Raises SettingsError, ClusterError and UnsafePlanError where one of them cannot be read; they name the cluster.
    """
    if not settings.uses_from:
        return snapshot
    async with other_sessions(settings, api.timeouts) as others:
        return await with_others(snapshot, others, settings, progress)


async def with_others(
    snapshot: Snapshot, others: Iterable[OtherApi], settings: Settings, progress: Progress
) -> Snapshot:
    """As `with_uses_elsewhere`, by these sessions."""
    further = (*settings.registry_hosts, *([settings.registry_url] if settings.registry_url else []))
    read = await read_others(
        others,
        references=settings.references,
        extra_referrers=settings.extra_referrers,
        hosts=hosts_of(snapshot, further),
        progress=progress,
    )
    return msgspec.structs.replace(snapshot, others=read) if read else snapshot


async def history_of(api: Api, settings: Settings, now: datetime, *, progress: Progress = silent) -> Referrer | None:
    """What ran within `keep_used_within` before `now` (R39); None where nobody asks.

    Raises ClusterError where it is not known.
    """
    history, within = settings.usage_history, settings.keep_used_within
    if history is None or within is None:
        return None
    progress(f"asking {history.url} what ran")
    return await used_before(history, within, api.connection, now, timeouts=api.timeouts)


def with_history(snapshot: Snapshot, history: Referrer | None) -> Snapshot:
    """The snapshot, with what ran before among its workloads."""
    if history is None:
        return snapshot
    return msgspec.structs.replace(snapshot, referrers=(*snapshot.referrers, history))


async def measure_storage(
    api: Api, settings: Settings, *, progress: Progress = silent
) -> tuple[str, datetime, Storage, tuple[Step, ...]]:
    """The cluster, the time of its snapshot, what keeps its registry large, and what each step would free.

    Raises ClusterError, InvalidReferencesError, UnsafePlanError; nothing is changed, and the registry is not asked.
    """
    snapshot = await take_snapshot(
        api,
        references=settings.references,
        extra_referrers=settings.extra_referrers,
        protect_selector=settings.protect_selector,
        as_of=settings.as_of,
        progress=progress,
    )
    check_view(snapshot, settings)
    snapshot = await with_uses_elsewhere(api, snapshot, settings, progress)
    snapshot = with_history(snapshot, await history_of(api, settings, snapshot.as_of, progress=progress))
    rules = dataclasses.replace(settings.analysis, strict=False, prune_registry=False)
    progress("analysing")
    with no_search_for_cycles():
        idle = idle_workloads(snapshot.referrers)
        apart = find_usage(snapshot, rules, sources_apart=True)
        decided = decide(snapshot, rules, usage=usage_for(rules, apart))
        found = storage(decided, snapshot.blob_sizes, idle)
        progress("trying what each step would free")
        tried = steps(snapshot, rules, apart, decided, idle, found)
    return snapshot.cluster, snapshot.as_of, found, tried


def read_plan(path: str) -> PrunePlan:
    """The plan in a file. Raises UnsafePlanError for what is not a whole, unedited plan of this version."""
    try:
        return decode(read_blocks(path), path)
    except OSError as error:
        raise UnsafePlanError(f"{path}: cannot be read: {error.strerror}") from None


def approved_plan(path: str, digest: str | None) -> PrunePlan:
    """The plan in a file whose bytes have this digest; None stands for any. Raises UnsafePlanError, as `read_plan`."""
    found = hashlib.sha256()
    try:
        blocks = _hashed(read_blocks(path), found)
        plan = decode(blocks, path)
        for _ in blocks:
            # What follows the plan in a report was reviewed with it.
            pass
    except OSError as error:
        raise UnsafePlanError(f"approved_plan: {path!r} cannot be read: {error.strerror}") from None
    if digest not in (None, f"sha256:{found.hexdigest()}"):
        raise UnsafePlanError(
            f"approved_plan: the digest of {path!r} is sha256:{found.hexdigest()}, and approved_digest is {digest}, "
            "so it is not the file that was reviewed; give the reviewed file, or have this one reviewed"
        )
    return plan


def _hashed(blocks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def check_approved(approved: PrunePlan, snapshot: Snapshot) -> None:
    """Raise UnsafePlanError for the plan of another cluster."""
    if approved.cluster != snapshot.cluster:
        raise UnsafePlanError(
            f"approved_plan: it was made for cluster {approved.cluster}, and this is {snapshot.cluster}; "
            "have a plan of this cluster made and approved"
        )


def check_grace(plan: PrunePlan, settings: Settings) -> None:
    """Raise UnsafePlanError for a plan that retires images where they would be deleted, or lost without a record."""
    if plan.retired and not settings.grace:
        raise UnsafePlanError(
            f"the plan retires {len(plan.retired)} images, and grace is 0, with which nothing is retired; set grace as "
            "it was for the plan"
        )


def check_view(snapshot: Snapshot, settings: Settings) -> None:
    """Raise UnsafePlanError where the cluster shows so little
    that the view of it is rather broken than the cluster empty.
    """
    if settings.allow_empty_cluster or not snapshot.images:
        return
    images = f"{len(snapshot.images)} image{'' if len(snapshot.images) == 1 else 's'}"
    strange = None
    if not snapshot.streams:
        strange = f"{images} but no image streams are visible"
    elif not snapshot.referrers:
        strange = f"{images} but no workloads are visible"
    if strange is not None:
        raise UnsafePlanError(
            f"refusing to prune: {strange}, which usually means missing permissions; "
            "set allow_empty_cluster if the cluster really has none"
        )


def check_size(plan: PrunePlan, snapshot: Snapshot, settings: Settings) -> None:
    """Raise UnsafePlanError for a plan that would delete, or retire, more than max_deletions."""
    limit = settings.max_deletions
    if limit is None:
        return
    whole = len(snapshot.images) + sum(len(tag.items or ()) for stream in snapshot.streams for tag in stream.histories)
    # Image streams count only where they can be deleted.
    whole += len(snapshot.streams) if settings.empty_streams is not None else 0
    allowed = whole * limit.value / 100 if isinstance(limit, Percent) else limit
    of = f", {allowed:g} of {whole}" if isinstance(limit, Percent) else ""
    for number, what in (
        (plan.deletions, f"delete {plan.deletions} {DELETED}"),
        (plan.retirements, f"retire {plan.retirements} images"),
    ):
        if number > allowed:
            raise UnsafePlanError(
                f"the plan would {what}, and max_deletions is {limit}{of}; nothing is pruned. Look at what has grown, "
                "or raise max_deletions"
            )


def _absent(snapshot: Snapshot) -> list[str]:
    if not snapshot.absent:
        return []
    return [f"not served by this cluster, so without objects: {', '.join(snapshot.absent)}"]


def _same_cluster(snapshot: Snapshot) -> list[str]:
    """The clusters of `uses_from` that are another one than is meant, perhaps."""
    return [
        f"uses_from: cluster {other.name} is the cluster that is pruned, by its ID; check how it is reached"
        for other in snapshot.others
        if other.cluster == snapshot.cluster
    ]


def _unprotected(snapshot: Snapshot, settings: Settings) -> list[str]:
    """What of extra_referrers protects nothing, though somebody may believe that it does."""
    if settings.extra_referrers and settings.references == "oc":
        return ["extra_referrers protect nothing with references: oc; set references to extended"]
    return [f"extra_referrers: nothing stands at {path}, in any object of the kind" for path in snapshot.idle_paths]


def _unverified(connection: Connection, settings: Settings) -> list[str]:
    """What the kubeconfig leaves unchecked; what the settings leave so is known to whoever made them."""
    if settings.host is None and connection.server.startswith("http://"):
        return [f"{UNVERIFIED}the kubeconfig's address has no TLS: {connection.server}"]
    if settings.validate_certs is None and not connection.validates_certificates:
        return [f"{UNVERIFIED}the kubeconfig says insecure-skip-tls-verify"]
    return []


def _without_registry(asked: AnalysisSettings, notes: list[str]) -> tuple[AnalysisSettings, list[str]]:
    note = "no image and no image stream names a registry, so none is pruned; give registry_url if there is one"
    return dataclasses.replace(asked, prune_registry=False), [*notes, note]


def _about(registry: Registry, plan: PrunePlan) -> list[str]:
    if registry.deletes_blobs or plan.empty:
        return []
    return [
        f"registry {registry.url} has no endpoint that deletes blobs: manifests and links are deleted, and the space "
        "is freed by the registry's own garbage collector"
    ]


async def _measured(
    plan: PrunePlan,
    analysis: Analysis,
    contested: frozenset[str],
    registry: Registry,
    api: Api,
    settings: Settings,
    progress: Progress,
) -> PrunePlan:
    """The plan with the registry's sizes of what the API does not
    know: manifests, and layers that no two images agree about.
    """
    manifests = [blob for blob in plan.blobs if blob.size is None and blob.kind == "manifest"]
    others = [
        blob
        for blob in plan.blobs
        if blob.kind != "manifest" and (blob.digest in contested or (blob.size is None and blob.kind == "layer"))
    ]
    asked = [blob for group in (manifests, others) if len(group) <= MEASURED for blob in group]
    if not asked:
        return plan
    progress(f"measuring {len(asked)} blobs")
    repositories = _repositories(plan, analysis, {blob.digest for blob in asked})
    limit = asyncio.Semaphore(settings.workers)

    async def measure(client: RegistryClient, blob: PrunedBlob) -> tuple[str, int | None]:
        found = repositories.get(blob.digest, ())
        async with limit:
            if blob.kind != "manifest":
                return blob.digest, await client.blob_size(found, blob.digest)
            return blob.digest, await client.manifest_size(found[0], blob.digest) if found else None

    async with RegistryClient(registry.url, settings, api.connection, timeouts=api.timeouts) as client:
        sizes = dict(await asyncio.gather(*(measure(client, blob) for blob in asked)))
    # Where the registry does not say, the largest claim stays.
    blobs = (
        blob if (size := sizes.get(blob.digest)) is None else msgspec.structs.replace(blob, size=size)
        for blob in plan.blobs
    )
    return msgspec.structs.replace(plan, blobs=tuple(blobs))


def _repositories(plan: PrunePlan, analysis: Analysis, digests: set[str]) -> dict[str, list[str]]:
    """A few of the repositories, by blob, to which images were pushed that have it."""
    found: dict[str, set[str]] = {}
    for pruned in plan.images:
        asked = digests.intersection(pruned.blobs)
        repository = pushed_to(analysis.graph.images[pruned.name].location) if asked else None
        if repository is not None:
            for digest in asked:
                # A manifest is linked where its own image was pushed to.
                if pruned.name == digest or digest not in analysis.graph.images:
                    found.setdefault(digest, set()).add(repository)
    return {digest: sorted(names)[:REPOSITORIES] for digest, names in found.items()}


async def missing_permissions(api: Api, plan: PrunePlan, settings: Settings) -> list[str]:
    """What of the plan the API server would refuse, by access reviews, which write nothing."""
    deletes_blobs = plan.registry is not None and plan.registry.deletes_blobs and bool(plan.blobs)
    missing = []
    for wanted, permission in (
        (any(change.revisions for change in plan.streams), Permission("up", "update", IMAGE_STREAMS, "status")),
        (bool(plan.images), Permission("up", "delete", IMAGES)),
        (any(change.removed_spec_tags for change in plan.streams), Permission("up", "update", IMAGE_STREAMS)),
        (bool(plan.empty_streams), Permission("up", "delete", IMAGE_STREAMS)),
        (deletes_blobs and settings.prune_registry and settings.restart_registry, RESTART),
        (bool(plan.retired or plan.needed_again), Permission("up", "patch", IMAGES)),
    ):
        if wanted and not await api.allowed(
            permission.verb,
            permission.resource,
            subresource=permission.subresource,
            namespace=permission.namespace,
            name=permission.name,
        ):
            group, plural, verb = permission.resource.group, permission.plural, permission.verb
            missing.append(
                f"no permission to {verb} {plural}.{group} (grant verb {verb!r} on resource {plural!r} of API group "
                f"{group!r})"
            )
    return missing
