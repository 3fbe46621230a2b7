"""What a fleet is: its clusters, and the order in which they are pruned; and the outcome of each.

The structs whose names begin with `Written` are `fleet.yaml` as it is written; the schema is generated from them.
`Fleet` is what they come to when defaults, groups and contexts have been put together: clusters, each with all of its
settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from pruner.plan import DELETED

Text = Annotated[str, msgspec.Meta(min_length=1)]
Labels = dict[str, Text]
Count = Annotated[int, msgspec.Meta(ge=0)]

CONCURRENCY: Final = 4
TIMEOUT: Final = 1800
"""Seconds for one cluster."""


# --- as it is written -------------------------------------------------------------------------------------------------


class WrittenDefaults(msgspec.Struct, frozen=True):
    """What holds for every cluster, unless a group, contexts or the cluster say otherwise."""

    labels: Labels = {}
    settings: dict[str, Any] = {}


class WrittenGroup(msgspec.Struct, frozen=True):
    """Settings for the clusters that have all of these labels. Later groups win over earlier ones."""

    labels: Labels
    settings: dict[str, Any]


class WrittenCluster(msgspec.Struct, frozen=True):
    """One cluster; its name is that of its stack."""

    # It is the name of a stack, a folder and files as well: none that begins with a dot, or looks like an option. What
    # follows `$` keeps out a line break at the end, which some dialects of regular expressions let pass.
    name: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$(?!\n)",
            description="at most 100 letters, digits, `_`, `.` and `-`, the first one a letter, a digit or `_`",
        ),
    ]
    labels: Labels = {}
    settings: dict[str, Any] = {}


class WrittenContexts(msgspec.Struct, frozen=True):
    """A cluster for each context of a kubeconfig whose name fits the pattern (`*` and `?`)."""

    pattern: Text
    kubeconfig: Text | None = None
    labels: Labels = {}
    settings: dict[str, Any] = {}


class WrittenWave(msgspec.Struct, frozen=True):
    """The clusters with these labels. More failures or deletions than these end the run."""

    name: Text
    labels: Labels = {}
    max_failures: Count = 0
    max_deletions: Count | None = None


class WrittenPolicyPack(msgspec.Struct, frozen=True):
    """A policy pack that judges every preview and up, as in `pulumi up --policy-pack`, and its configuration."""

    pack: Text
    config: Text | None = None


class WrittenFleet(msgspec.Struct, frozen=True):
    """fleet.yaml."""

    clusters: list[WrittenCluster] = []
    contexts: list[WrittenContexts] = []
    defaults: WrittenDefaults = WrittenDefaults()
    groups: list[WrittenGroup] = []
    waves: list[WrittenWave] = []
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = CONCURRENCY
    timeout: Annotated[int, msgspec.Meta(ge=1)] = TIMEOUT
    backend: Text | None = None
    secrets_provider: Text | None = None
    policy_packs: list[WrittenPolicyPack] = []


# --- as it is meant ---------------------------------------------------------------------------------------------------


class Setting(msgspec.Struct, frozen=True):
    """What is written for a parameter, and where: `fleet.yaml:3:5`."""

    value: Any
    where: str


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster with all of its settings. They may hold references still, so that it can be shown to anyone."""

    name: str
    labels: Labels = {}
    settings: dict[str, Setting] = {}
    where: str = ""
    wave: str = ""


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """What is pruned at once. None is no limit."""

    name: str
    labels: Labels = {}
    max_failures: int | None = None
    max_deletions: int | None = None

    def exceeded_by(self, deletions: int, retirements: int) -> list[tuple[str, str]]:
        """Which of these are more than `max_deletions`, which limits each by itself: the verb, and how many of what."""
        limit = self.max_deletions
        amounts = (("delete", deletions, DELETED), ("retire", retirements, "images"))
        return [(verb, f"{number} {what}") for verb, number, what in amounts if limit is not None and number > limit]


class PolicyPack(msgspec.Struct, frozen=True):
    """Where a policy pack is, and the JSON file that configures it."""

    pack: Path
    config: Path | None = None


REST: Final = Wave(name="rest")
"""What no wave names comes last."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Clusters by name, in the order of the alphabet, and waves in theirs."""

    clusters: tuple[Cluster, ...]
    waves: tuple[Wave, ...] = (REST,)
    concurrency: int = CONCURRENCY
    timeout: int = TIMEOUT
    backend: str | None = None
    secrets_provider: str | None = None
    policy_packs: tuple[PolicyPack, ...] = ()


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether all that is wanted is there; a value of `*` is fine with any."""
    return all(name in labels and value in ("*", labels[name]) for name, value in wanted.items())


def wave_of(labels: Mapping[str, str], waves: Iterable[Wave]) -> str:
    """The first wave whose labels these are."""
    return next((wave.name for wave in waves if has_labels(labels, wave.labels)), REST.name)


def selected(fleet: Fleet, labels: Mapping[str, str], wave: str | None = None) -> Fleet:
    """The fleet with those of its clusters that have all of these labels, of one wave or of all."""
    chosen = (
        cluster for cluster in fleet.clusters if has_labels(cluster.labels, labels) and wave in (None, cluster.wave)
    )
    return msgspec.structs.replace(fleet, clusters=tuple(chosen))


def shard(fleet: Fleet, index: int, count: int) -> Fleet:
    """The share of worker `index` of `count`, from 0: every cluster is in exactly one, and sizes differ by one at most.

    Workers do not know of each other, so each has its part of what a wave may, by its clusters, rounded down: together
    they keep to it.
    """
    if not 0 <= index < count:
        raise ValueError(f"there is no shard {index} of {count}")
    share = fleet.clusters[index::count]
    waves = (_part(wave, _members(share, wave), _members(fleet.clusters, wave)) for wave in fleet.waves)
    return msgspec.structs.replace(fleet, clusters=share, waves=tuple(waves))


def _members(clusters: Iterable[Cluster], wave: Wave) -> int:
    return sum(cluster.wave == wave.name for cluster in clusters)


def _part(wave: Wave, members: int, of: int) -> Wave:
    if members == of:
        return wave
    limits = {
        name: None if limit is None else limit * members // of
        for name, limit in (("max_failures", wave.max_failures), ("max_deletions", wave.max_deletions))
    }
    return msgspec.structs.replace(wave, **limits)


def waves_with_clusters(fleet: Fleet) -> list[str]:
    """The waves that any of its clusters is in, in their order."""
    return [wave.name for wave in fleet.waves if _members(fleet.clusters, wave)]


def stack_name(text: str) -> str:
    """A context's name as the name of a stack (`WrittenCluster.name`); empty where nothing of it can stand in one."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip("-.")[:100].rstrip("-")


# --- outcomes ---------------------------------------------------------------------------------------------------------

State = Literal["waiting", "running", "done", "failed", "refused", "timed out", "skipped", "stopped"]
"""`refused` is by a policy; `stopped` was not begun, or was interrupted."""
BAD: Final = frozenset({"failed", "refused", "timed out", "stopped"})
"""A run with one of these is no success."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one cluster. `bytes` are those that would be freed, or are; `seconds` is how long it took.

    What an up that has failed is known to have deleted is counted as well.
    """

    cluster: str
    verb: str
    state: State
    wave: str = ""
    revisions: int = 0
    images: int = 0
    retired: int = 0
    """Images that are retired instead of deleted (R36)."""
    empty_streams: int = 0
    """Image streams that are deleted (R34)."""
    blobs: int = 0
    bytes: int = 0
    plan: str | None = None
    """The fingerprint of the plan that was made, or carried out."""
    approval: str | None = None
    """The digest of the approved plan's file: one that is made
    and approved later is another one, though it names the same."""
    skipped: int = 0
    """Objects that were approved and not deleted, since they came into use or disappeared."""
    message: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    ended: datetime = datetime.fromtimestamp(0, UTC)

    @property
    def deletions(self) -> int:
        return self.revisions + self.images + self.empty_streams


def counted(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """What a table of these counts, by the field of `Outcome`: the head of its column.

    What few clusters have is counted where any has it.
    """
    rare = {"retired": "retired", "empty_streams": "empty streams"}
    found = {name: head for name, head in rare.items() if any(getattr(outcome, name) for outcome in outcomes)}
    return {"revisions": "revisions", "images": "images", **found, "blobs": "blobs"}
