"""Whether preview and up would work, and what is missing: `pruner doctor`.

`examine` is given a connection and the settings and gives an `Examination`: who one is, what the server is, which
permissions there are and which are missing, where the registry is, how far the clocks are apart, and the smallest
ClusterRole that suffices. It asks by access reviews and by the registry's own checks, and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pruner.cluster.api import Api
from pruner.cluster.further_kinds import in_served_versions, sources_of
from pruner.cluster.identity import Identity, whoami
from pruner.cluster.images import compact
from pruner.cluster.lists import decoder_of_pages
from pruner.cluster.objects import ApiImage, Image, ImageStream, Registry, Snapshot
from pruner.cluster.other_clusters import session_with
from pruner.cluster.permissions import Permission, Purpose, permissions_elsewhere, permissions_for, role_rules
from pruner.cluster.registry_discovery import find_registry
from pruner.cluster.resources import CLUSTER_VERSIONS, IMAGE_PRUNERS, IMAGE_STREAMS, IMAGES, Resource
from pruner.cluster.sizes import SizeClaims
from pruner.cluster.unlink_journal import REGISTRY_NAMESPACE
from pruner.console import Margin, data
from pruner.errors import ForbiddenError, NotFoundError, PrunerError
from pruner.planning import history_of
from pruner.printable import printable
from pruner.settings import Settings, UsingCluster

BOTH_WORK, NEITHER_WORKS, ONLY_PREVIEW_WORKS = 0, 1, 3
READER: Final = "pruner-uses-from"
"""The role in a cluster of `uses_from`."""
NOTABLE_SKEW: Final = 5.0
"""Seconds; `Date` headers are whole ones, and on their way for a while."""


class CheckedPermission(msgspec.Struct, frozen=True):
    """A permission (`resource` is `imagestreams/status` with its subresource), and whether one has it."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    purpose: Purpose
    allowed: bool

    def __str__(self) -> str:
        what = f"{self.verb} {self.resource}{'.' if self.group else ''}{self.group}"
        return f"{what}{f' {self.name}' if self.name else ''}{f' in {self.namespace}' if self.namespace else ''}"


class ExaminedCluster(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a cluster of `uses_from`; `problem` is why it cannot be asked, or else None."""

    name: str
    server: str = ""
    user: Identity | None = None
    permissions: tuple[CheckedPermission, ...] = ()
    cluster_role: dict[str, Any] = {}
    problem: str | None = None

    def lacks(self, purpose: Purpose) -> list[CheckedPermission]:
        return [it for it in self.permissions if it.purpose == purpose and not it.allowed]

    @property
    def can_be_read(self) -> bool:
        return self.problem is None and not self.lacks("preview")


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `clock_skew` is this machine's clock minus the server's, in seconds; ages go by the server's."""

    server: str
    user: Identity
    version: str
    openshift: str
    clock_skew: float | None
    permissions: tuple[CheckedPermission, ...]
    not_served: tuple[str, ...]
    registry: Registry | None
    registry_problem: str | None
    usage_history_problem: str | None
    other_clusters: tuple[ExaminedCluster, ...]
    other_pruner: str | None = None
    """What deletes retired images, or may (R36): an ImagePruner that is not suspended."""
    cluster_role: dict[str, Any]
    role: dict[str, Any]
    """Of the namespace of the lease."""

    def lacks(self, *purposes: Purpose) -> list[CheckedPermission]:
        """The permissions for these purposes that are missing."""
        return [it for it in self.permissions if it.purpose in purposes and not it.allowed]

    @property
    def preview_works(self) -> bool:
        problems = (self.registry_problem, self.usage_history_problem)
        others = all(other.can_be_read for other in self.other_clusters)
        return not self.lacks("preview") and problems == (None, None) and others

    @property
    def up_works(self) -> bool:
        return self.preview_works and not self.lacks("up")

    @property
    def exit_code(self) -> int:
        if self.up_works:
            return BOTH_WORK
        return ONLY_PREVIEW_WORKS if self.preview_works else NEITHER_WORKS


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = "unknown"


class _ClusterVersion(msgspec.Struct):
    class Status(msgspec.Struct):
        class Desired(msgspec.Struct):
            version: str = ""

        desired: Desired | None = None

    status: Status | None = None


async def examine(api: Api, settings: Settings) -> Examination:
    """Look at everything that preview and up depend on. Raises ClusterError when the cluster cannot be asked at all."""
    user = await whoami(api)
    version = (await api.read_path("/version", _Version)).git_version
    skew = (datetime.now(UTC) - api.clock.latest).total_seconds() if api.clock.latest else None
    sources = await in_served_versions(api, sources_of(settings.references, settings.extra_referrers))
    asked = permissions_for(
        references=settings.references,
        prune_registry=settings.prune_registry,
        sources=sources,
        selects=settings.protect_selector is not None,
        removes_tags=any(rule.can_expire for rule in settings.retention),
        deletes_streams=settings.empty_streams is not None,
        restarts_registry=settings.restart_registry,
        retires=bool(settings.grace),
    )
    served, needed, permissions = await _permissions(api, asked, settings)
    registry, problem = await _registry(api, settings)
    return Examination(
        server=api.server,
        user=user,
        version=version,
        openshift=await _openshift(api),
        clock_skew=skew,
        permissions=permissions,
        not_served=tuple(kind.name for kind, is_served in served.items() if not is_served),
        registry=registry,
        registry_problem=problem,
        usage_history_problem=await _history_problem(api, settings),
        other_clusters=tuple([await _other(each, settings) for each in settings.uses_from]),
        other_pruner=await _other_pruner(api) if settings.grace else None,
        cluster_role=_role("ClusterRole", {}, role_rules(needed)),
        role=_role("Role", {"namespace": REGISTRY_NAMESPACE}, role_rules(needed, REGISTRY_NAMESPACE)),
    )


async def _permissions(
    api: Api, asked: Iterable[Permission], settings: Settings
) -> tuple[dict[Resource, bool], list[Permission], tuple[CheckedPermission, ...]]:
    """Which kinds are served, the permissions that are needed then, and which of them there are."""
    asked = list(asked)
    served = {kind: await api.serves(kind) for kind in dict.fromkeys(permission.resource for permission in asked)}
    needed = [permission for permission in asked if served[permission.resource]]
    bound = asyncio.Semaphore(settings.workers)
    return served, needed, tuple(await asyncio.gather(*(_checked(api, each, bound) for each in needed)))


async def _other(cluster: UsingCluster, settings: Settings) -> ExaminedCluster:
    """Look at a cluster of `uses_from`: whether it can be reached and read."""
    try:
        async with session_with(cluster, settings.workers) as api:
            user = await whoami(api)
            sources = await in_served_versions(api, sources_of(settings.references, settings.extra_referrers))
            asked = permissions_elsewhere(references=settings.references, sources=sources)
            _, needed, permissions = await _permissions(api, asked, settings)
            return ExaminedCluster(
                name=cluster.name,
                server=api.server,
                user=user,
                permissions=permissions,
                cluster_role=_role("ClusterRole", {}, role_rules(needed), READER),
            )
    except PrunerError as error:
        return ExaminedCluster(name=cluster.name, problem=f"uses_from: cluster {cluster.name}: {error}")


async def _openshift(api: Api) -> str:
    """OpenShift's version; nothing where there is none, or it cannot be read."""
    try:
        found = await api.get(CLUSTER_VERSIONS, _ClusterVersion, name="version")
    except (NotFoundError, ForbiddenError):
        return ""
    return found.status.desired.version if found.status and found.status.desired else ""


async def _checked(api: Api, permission: Permission, bound: asyncio.Semaphore) -> CheckedPermission:
    kind = permission.resource
    async with bound:
        allowed = await api.allowed(
            permission.verb,
            kind,
            subresource=permission.subresource,
            namespace=permission.namespace,
            name=permission.name,
        )
    return CheckedPermission(
        permission.verb,
        kind.group,
        permission.plural,
        permission.namespace,
        permission.name,
        permission.purpose,
        allowed,
    )


async def _history_problem(api: Api, settings: Settings) -> str | None:
    """Why it is not known what ran within `keep_used_within`; None where it is, or nobody asks."""
    try:
        await history_of(api, settings, api.clock.latest or datetime.now(UTC))
    except PrunerError as error:
        return str(error)
    return None


class _ImagePruner(msgspec.Struct):
    class Spec(msgspec.Struct):
        suspend: bool | None = None

    spec: Spec | None = None


async def _other_pruner(api: Api) -> str | None:
    """The warning about the operator's own pruning, which knows
    nothing of retirement; None where it is suspended or absent.
    """
    try:
        if not await api.serves(IMAGE_PRUNERS):
            return None
        found = await api.get(IMAGE_PRUNERS, _ImagePruner, name="cluster")
    except NotFoundError:
        return None
    except ForbiddenError:
        return "whether the ImagePruner is suspended is not known; unless it is, it deletes retired images at once"
    if found.spec is not None and found.spec.suspend:
        return None
    return (
        "the ImagePruner is not suspended and deletes retired images at once; suspend it: oc patch imagepruner cluster "
        '--type merge -p \'{"spec":{"suspend":true}}\''
    )


async def _registry(api: Api, settings: Settings) -> tuple[Registry | None, str | None]:
    """The registry, or why it cannot be used; neither where none is pruned or none is named."""
    if not settings.prune_registry:
        return None, None
    try:
        images: list[Image] = []
        streams: list[ImageStream] = []
        if not settings.registry_url and await api.serves(IMAGES):
            async for page in api.pages(IMAGES, decoder_of_pages(ApiImage)):
                images.extend(compact(page.items, SizeClaims()))
            async for found in api.pages(IMAGE_STREAMS, decoder_of_pages(ImageStream)):
                streams.extend(found.items)
        snapshot = Snapshot(
            cluster="", as_of=api.clock.latest or datetime.now(UTC), images=tuple(images), streams=tuple(streams)
        )
        return await find_registry(settings, api.connection, snapshot), None
    except PrunerError as error:
        return None, str(error)


def _role(kind: str, where: dict[str, str], its_rules: list[dict[str, Any]], name: str = "pruner") -> dict[str, Any]:
    meta = {"name": name, **where}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": meta, "rules": its_rules}


# --- for people ------------------------------------------------------------------------------------------------------


def as_json_of(found: Examination) -> bytes:
    """The examination and its verdicts, as JSON."""
    verdicts = {"preview_works": found.preview_works, "up_works": found.up_works}
    return msgspec.json.encode({**msgspec.to_builtins(found), **verdicts})


def show(found: Examination, console: Console) -> None:
    """Write the examination to a terminal."""
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(found):
        facts.add_row(name, data(value))
    console.print(Margin(facts))
    console.print(_table(found.permissions))
    if found.not_served:
        console.print(data(f"not served by this cluster, and so not needed: {', '.join(found.not_served)}"))
    for line in verdict(found):
        console.print(Text(printable(line, again=True)), soft_wrap=True)
    if found.lacks("preview", "up", "advised"):
        console.print("\nThe smallest ClusterRole that suffices, and the Role for the lease that keeps runs apart:\n")
        # What is to be copied must not be wrapped or coloured.
        roles = yaml.safe_dump_all([found.cluster_role, found.role], sort_keys=False)
        console.print(roles, markup=False, highlight=False, soft_wrap=True)
    for other in found.other_clusters:
        if other.lacks("preview") or other.lacks("advised"):
            console.print(f"\nThe smallest ClusterRole that suffices in cluster {other.name}:\n")
            role = yaml.safe_dump(other.cluster_role, sort_keys=False)
            console.print(role, markup=False, highlight=False, soft_wrap=True)


def _facts(found: Examination) -> Iterable[tuple[str, str]]:
    yield "server", found.server
    yield "version", f"Kubernetes {found.version}" + (f", OpenShift {found.openshift}" if found.openshift else "")
    yield "user", found.user.name + (f" ({', '.join(found.user.groups)})" if found.user.groups else "")
    yield "clock", _clock(found.clock_skew)
    yield "registry", _reached(found)
    for other in found.other_clusters:
        reached = f"{other.server}, as {other.user.name}" if other.user is not None else "cannot be used, see below"
        yield f"cluster {other.name}", reached


def _clock(skew: float | None) -> str:
    if skew is None:
        return "the server does not say what time it is"
    if abs(skew) < NOTABLE_SKEW:
        return "as the server's"
    return f"{abs(skew):.0f} seconds {'ahead of' if skew > 0 else 'behind'} the server's, which ages are measured by"


def _reached(found: Examination) -> str:
    if found.registry_problem is not None:
        return "cannot be used, see below"
    if found.registry is None:
        return "none is pruned"
    blobs = "" if found.registry.deletes_blobs else ", deletes no blobs: its own garbage collector frees the space"
    return f"{found.registry.url}, named by {found.registry.found}{blobs}"


def _table(permissions: Iterable[CheckedPermission]) -> Table:
    table = Table("permission", "needed for", "")
    for it in permissions:
        style = "green" if it.allowed else "red" if it.purpose != "advised" else "yellow"
        table.add_row(data(str(it)), it.purpose, Text("yes" if it.allowed else "no", style))
    return table


def _lacking(other: ExaminedCluster) -> Iterable[str]:
    """What is missing to read a cluster that uses this registry (R38)."""
    if other.problem is not None:
        yield other.problem
    if needed := other.lacks("preview"):
        yield f"cluster {other.name} cannot be read: no permission to {', '.join(map(str, needed))}"
    if advised := other.lacks("advised"):
        yield f"cluster {other.name}: a run goes on without permission to {', '.join(map(str, advised))}"


def verdict(found: Examination) -> Iterable[str]:
    """What would work, and the way to the rest."""
    if found.registry_problem is not None:
        yield found.registry_problem
    if found.usage_history_problem is not None:
        yield found.usage_history_problem
    for other in found.other_clusters:
        yield from _lacking(other)
    for missing in found.lacks("advised"):
        yield f"a run goes on without it, and says so: {missing}"
    if found.other_pruner is not None:
        yield found.other_pruner
    if found.up_works:
        yield "preview and up would work"
    elif found.preview_works:
        yield f"a preview would work, up would not: no permission to {', '.join(map(str, found.lacks('up')))}"
    else:
        reason = ", ".join(map(str, found.lacks("preview")))
        yield "neither preview nor up would work" + (f": no permission to {reason}" if reason else "")
