"""Builders of clusters for tests: a line for every object, and only what the test is about is said.

    snapshot(
        image(A, layers=[L1]),
        image_stream("shop/web", latest=[B, A]),
        deployment("shop/web", "registry:5000/shop/web:latest"),
    )

Ages are minutes before `NOW`; what is given no age is `OLD`, older than the default `keep_younger_than`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pruner.analysis import Analysis, analyse
from pruner.cluster.limits import image_limits
from pruner.cluster.metadata import ObjectMeta, ObjectReference, OwnerReference
from pruner.cluster.objects import (
    Image,
    ImageLimit,
    ImageStream,
    ImageStreamSpec,
    ImageStreamStatus,
    LimitRange,
    LimitRangeSpec,
    LimitSpec,
    LookupPolicy,
    NamedTagEventList,
    Registry,
    Snapshot,
    TagEvent,
    TagReference,
)
from pruner.cluster.workloads import (
    BuildOutput,
    BuildSource,
    BuildStrategy,
    Container,
    ContainerStatus,
    ImageSource,
    ImageVolume,
    JobTemplate,
    PodTemplate,
    Referrer,
    RevisionData,
    TemplateMeta,
    Trigger,
    Volume,
    Workload,
    WorkloadAnnotations,
    WorkloadMeta,
    WorkloadSpec,
    WorkloadStatus,
)
from pruner.plan import Approval
from pruner.reasons import Reason
from pruner.settings import AnalysisSettings, RetentionRule
from pruner.settings.retention import rules_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD = 30 * 24 * 60
HOST = "image-registry.openshift-image-registry.svc:5000"

SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA_2 = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def digest(name: str, algorithm: str = "sha256") -> str:
    """A digest that is the same for the same name."""
    return f"{algorithm}:{hashlib.new(algorithm, name.encode()).hexdigest()}"


A, B, C, D, E, F = (digest(name) for name in "ABCDEF")
L1, L2, L3, L4 = (digest(f"layer {number}") for number in range(1, 5))


def at(age: float) -> datetime:
    """The time that was so many minutes before NOW."""
    return NOW - timedelta(minutes=age)


def _named(name: str) -> tuple[str, str]:
    namespace, _, rest = name.rpartition("/")
    return namespace, rest


# --- images and image streams ----------------------------------------------------------------------------------------


def image(
    name: str,
    *,
    layers: Iterable[str] = (),
    config: str | None = None,
    members: Iterable[str] = (),
    age: float = OLD,
    managed: bool = True,
    repository: str = "",
    media_type: str = SCHEMA_2,
    size: int | None = None,
    uid: str = "",
) -> Image:
    """An Image; `repository` is where it was pushed to."""
    return Image(
        name=name,
        uid=uid or f"uid of {name[:12]}",
        resource_version="1",
        created=at(age),
        managed=managed,
        location=f"{HOST}/{repository}@" if repository else "",
        media_type=media_type,
        size=size,
        config=config,
        layers=tuple(layers),
        members=tuple(members),
    )


def index(name: str, members: Iterable[str], **other: Any) -> Image:
    """A manifest list or OCI index: no layers, no config."""
    return image(name, members=members, media_type=OCI_INDEX, **other)


def item(name: str, age: float | None = OLD) -> TagEvent:
    """A revision of a tag; age None is one without a time."""
    return TagEvent(name, None if age is None else at(age))


History = Iterable[str | TagEvent] | None


def image_stream(
    name: str,
    tags: Mapping[str, History] | None = None,
    *,
    age: float = OLD,
    local: bool = False,
    sources: Mapping[str, ObjectReference | TagReference | None] | None = None,
    owners: Iterable[str] = (),
    **more: History,
) -> ImageStream:
    """An image stream with the history of each tag, newest first; `None` is a tag that has conditions only.

    `sources` are `spec.tags[].from` by tag, or the whole entries; `local` is `spec.lookupPolicy.local`; `owners` are
    names of owners.
    """
    namespace, short = _named(name)
    histories = [
        NamedTagEventList(
            tag, None if items is None else [item(entry) if isinstance(entry, str) else entry for entry in items]
        )
        for tag, items in {**(tags or {}), **more}.items()
    ]
    return ImageStream(
        metadata=ObjectMeta(
            short,
            namespace,
            f"uid of {name}",
            "1",
            at(age),
            [OwnerReference("Owner", owner) for owner in owners] or None,
        ),
        spec=ImageStreamSpec(
            LookupPolicy(local),
            [
                each if isinstance(each, TagReference) else TagReference(tag, each)
                for tag, each in (sources or {}).items()
            ],
        ),
        status=ImageStreamStatus(docker_image_repository=f"{HOST}/{name}", tags=histories),
    )


def from_(kind: str, name: str, namespace: str | None = None) -> ObjectReference:
    return ObjectReference(name, kind, namespace)


# --- what uses them --------------------------------------------------------------------------------------------------


def _containers(images: Iterable[str | None]) -> list[Container]:
    return [Container(f"c{number}", image) for number, image in enumerate(images)]


def pod_spec(
    *images: str | None,
    init: Iterable[str] = (),
    ephemeral: Iterable[str] = (),
    volumes: Iterable[str] = (),
) -> WorkloadSpec:
    return WorkloadSpec(
        containers=_containers(images),
        init_containers=_containers(init),
        ephemeral_containers=_containers(ephemeral),
        volumes=[Volume(f"v{number}", ImageVolume(reference)) for number, reference in enumerate(volumes)],
    )


def _meta(name: str, age: float = OLD, triggers: str | None = None, resolve_names: str | None = None) -> WorkloadMeta:
    namespace, short = _named(name)
    return WorkloadMeta(short, namespace, at(age), _annotations(triggers, resolve_names))


def _annotations(triggers: str | None, resolve_names: str | None) -> WorkloadAnnotations | None:
    return WorkloadAnnotations(triggers, resolve_names) if triggers or resolve_names else None


def pod(
    name: str,
    *images: str | None,
    phase: str = "Running",
    age: float = OLD,
    running: Iterable[str] = (),
    ran_init: Iterable[str] = (),
    ran_ephemeral: Iterable[str] = (),
    resolve_names: str | None = None,
    **spec: Iterable[str],
) -> Referrer:
    """A pod; `running`, `ran_init` and `ran_ephemeral` are the image IDs of its container statuses."""
    status = WorkloadStatus(
        phase,
        *(
            [ContainerStatus(f"c{number}", text) for number, text in enumerate(ids)]
            for ids in (running, ran_init, ran_ephemeral)
        ),
    )
    return Referrer("Pod", Workload(_meta(name, age, resolve_names=resolve_names), pod_spec(*images, **spec), status))


def controller(
    kind: str,
    name: str,
    *images: str | None,
    triggers: str | None = None,
    resolve_names: str | None = None,
    template_resolves: str | None = None,
    changes: Iterable[ObjectReference] = (),
    **spec: Iterable[str],
) -> Referrer:
    """Anything with a pod template. `changes` are the image-change triggers of a DeploymentConfig."""
    template = PodTemplate(TemplateMeta(_annotations(None, template_resolves)), pod_spec(*images, **spec))
    whole = WorkloadSpec(template=template)
    if kind == "CronJob":
        whole = WorkloadSpec(job_template=JobTemplate(whole))
    if changes:
        whole = WorkloadSpec(template=template, triggers=[Trigger(ImageSource(change)) for change in changes])
    return Referrer(kind, Workload(_meta(name, triggers=triggers, resolve_names=resolve_names), whole))


def deployment(name: str, *images: str | None, **other: Any) -> Referrer:
    return controller("Deployment", name, *images, **other)


def controller_revision(name: str, *images: str | None) -> Referrer:
    data = RevisionData(WorkloadSpec(template=PodTemplate(None, pod_spec(*images))))
    return Referrer("ControllerRevision", Workload(_meta(name), data=data))


def build(
    name: str,
    source: ObjectReference | None = None,
    *,
    kind: str = "Build",
    strategy: str = "source",
    images: Iterable[ObjectReference] = (),
    changes: Iterable[ObjectReference] = (),
    to: ObjectReference | None = None,
) -> Referrer:
    """A Build or BuildConfig; `images` are `spec.source.images[].from`,
    `changes` its image-change triggers, `to` is what it pushes.
    """
    spec = WorkloadSpec(
        strategy=BuildStrategy(**{f"{strategy}_strategy": ImageSource(source)}),
        source=BuildSource([ImageSource(entry) for entry in images]),
        triggers=[Trigger(image_change=ImageSource(change)) for change in changes],
        output=BuildOutput(to) if to is not None else None,
    )
    return Referrer(kind, Workload(_meta(name), spec))


def limit_range(name: str, storage: object, kind: str = "openshift.io/Image") -> list[ImageLimit]:
    """The limits for images of a LimitRange with this `max.storage`."""
    namespace, short = _named(name)
    spec = LimitRangeSpec([LimitSpec(kind, {"storage": storage})])
    return list(image_limits(LimitRange(ObjectMeta(short, namespace, f"uid of {name}"), spec), "https://api"))


def limit(name: str, storage: int | str) -> ImageLimit:
    namespace, short = _named(name)
    return ImageLimit(namespace, short, Decimal(storage))


# --- the whole -------------------------------------------------------------------------------------------------------

Object = Image | ImageStream | Referrer | ImageLimit | list[ImageLimit]


def snapshot(
    *objects: Object,
    blob_sizes: dict[str, int] | None = None,
    cluster: str = "test",
    protected: Iterable[str] = (),
) -> Snapshot:
    """A cluster with these objects, in this order. `protected` is what `protect_selector` matches."""
    flat = [each for found in objects for each in (found if isinstance(found, list) else [found])]
    return Snapshot(
        cluster=cluster,
        as_of=NOW,
        images=tuple(each for each in flat if isinstance(each, Image)),
        streams=tuple(each for each in flat if isinstance(each, ImageStream)),
        limits=tuple(each for each in flat if isinstance(each, ImageLimit)),
        referrers=tuple(each for each in flat if isinstance(each, Referrer)),
        blob_sizes=blob_sizes or {},
        protected=frozenset(protected),
    )


def rule(name: str = "rule", **asked: Any) -> RetentionRule:
    """A retention rule as users write it."""
    (made,) = rules_of([{"name": name, **asked}])
    return made


def rules(*, minutes: float | None = 60, revisions: int | None = 0, **other: Any) -> AnalysisSettings:
    """Settings that keep no revision for its number, so that a test sees the rule that it is about."""
    age = None if minutes is None else timedelta(minutes=minutes)
    return AnalysisSettings(keep_younger_than=age, keep_tag_revisions=revisions, **other)


def analysed(
    *objects: Object,
    approval: Approval | None = None,
    registry: Registry | None = None,
    blob_sizes: dict[str, int] | None = None,
    protected: Iterable[str] = (),
    **asked: Any,
) -> Analysis:
    """The analysis of a cluster with these objects."""
    found = snapshot(*objects, blob_sizes=blob_sizes, protected=protected)
    return analyse(found, rules(**asked), approval, registry)


def revision(analysis: Analysis, tag: str, number: int = 0) -> Reason:
    """The reason for the decision on a revision of `namespace/stream:tag`, by its number before the change."""
    stream, _, name = tag.partition(":")
    found = next(history for history in analysis.histories if history.stream.name == stream)
    return next(each for each in found.tags if each.tag == name).reasons[number]


def kept_by(decision: Reason) -> str | None:
    """The rule that keeps; None for what is pruned."""
    return decision.rule if decision.kept else None


def pruned_by(decision: Reason) -> str | None:
    """The rule that prunes; None for what is kept."""
    return None if decision.kept else decision.rule
