"""What a fleet is: its clusters, and the order in which they are pruned; and what has come of each.

The structs whose names begin with `Written` are `fleet.yaml` as it is written; the schema is generated from them. `Fleet` is what they
come to when defaults, groups and contexts have been put together: clusters, each with all of its settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec

Labels = dict[str, str]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]

CONCURRENCY: Final = 4
TIMEOUT: Final = 1800
"""Seconds for one cluster."""


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that does not stand in the file: that of an environment variable, or the content of a file."""

    env: Text | None = None
    file: Text | None = None

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env else f"file {self.file}"


# --- as it is written --------------------------------------------------------------------------------------------------


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

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
    labels: Labels = {}
    settings: dict[str, Any] = {}


class WrittenContexts(msgspec.Struct, frozen=True):
    """A cluster for each context of a kubeconfig whose name fits the pattern (`*` and `?`)."""

    pattern: Text
    kubeconfig: Text | None = None
    labels: Labels = {}
    settings: dict[str, Any] = {}


class WrittenWave(msgspec.Struct, frozen=True):
    """The clusters with these labels, after those of the waves before. More failures or deletions than these end the run."""

    name: Text
    labels: Labels = {}
    max_failures: Count = 0
    max_deletions: Count | None = None


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


# --- as it is meant ----------------------------------------------------------------------------------------------------


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
    """The share of worker `index` of `count`, from 0: every cluster is in exactly one, and shares differ by one at most."""
    if not 0 <= index < count:
        raise ValueError(f"there is no shard {index} of {count}")
    return msgspec.structs.replace(fleet, clusters=fleet.clusters[index::count])


def stack_name(text: str) -> str:
    """A context's name as the name of a stack, which takes letters, digits, `_`, `.` and `-`, at most 100."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-")[:100]


# --- what has come of it -----------------------------------------------------------------------------------------------

State = Literal["waiting", "running", "done", "failed", "timed out", "skipped", "stopped"]
BAD: Final = frozenset({"failed", "timed out", "stopped"})
"""A run with one of these is no success."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What has come of one cluster. `bytes` are those that would be freed, or are; `seconds` is how long it took."""

    cluster: str
    verb: str
    state: State
    wave: str = ""
    revisions: int = 0
    images: int = 0
    blobs: int = 0
    bytes: int = 0
    plan: str | None = None
    """The fingerprint of the plan that was made, or carried out."""
    message: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    ended: datetime = datetime.fromtimestamp(0, UTC)

    @property
    def deletions(self) -> int:
        return self.revisions + self.images
