"""Generated clusters, and models of what is true of them that share no code with the analysis.

A cluster is small and crowded: few images share few layers, indexes nest, tags are moved, images are missing,
references name what is there and what is not. `Use` is a reference as it is meant, `uses` are rendered into workloads
in various places. `applied` is a plan carried out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec
from hypothesis import strategies as st

from pruner.cluster.objects import Image, ImageStream, ImageStreamStatus, NamedTagEventList, Snapshot, TagReference
from pruner.cluster.retirement import Retirement
from pruner.cluster.workloads import ExtraReference, Referrer
from pruner.plan import PrunePlan
from pruner.settings import AnalysisSettings, EmptyStreams, RetentionRule
from tests.builders.objects import (
    HOST,
    OCI_INDEX,
    build,
    controller,
    controller_revision,
    digest,
    from_,
    image,
    image_stream,
    item,
    limit,
    pod,
    rule,
    rules,
    snapshot,
)

LAYERS = [digest(f"layer {number}") for number in range(5)]
CONFIGS = [digest(f"config {number}") for number in range(3)]
IMAGES = [digest(f"image {number}") for number in range(8)]
MISSING = digest("missing")
STREAMS = ["shop/web", "shop/db", "base/web", "base/os"]
TAGS = ["latest", "v1", "v2"]
AGES = [1, 59, 60, 61, 500, 5000]
NAMESPACES = ["shop", "base"]

ages = st.sampled_from(AGES)
old = st.sampled_from([5000, 500])
"""Older than the default: most of a cluster, or too little of it would go for a test to see that too much does."""


class Use(msgspec.Struct, frozen=True):
    """What an object uses: a tag of an image stream, or a digest, in a stream or of no stream that is known."""

    stream: str | None
    tag: str | None = None
    digest: str | None = None
    extended: bool = False
    """Said in a place that only the extended rules read."""


@st.composite
def _images(draw: st.DrawFn) -> list[Image]:
    found: list[Image] = []
    for number, name in enumerate(IMAGES):
        kind = draw(st.sampled_from(["image", "image", "image", "index", "index", "absent"]))
        common = {
            "age": draw(st.one_of(old, ages)),
            "managed": draw(st.sampled_from([True, True, False])),
            "repository": draw(st.sampled_from([*STREAMS, ""])),
            "size": draw(st.sampled_from([None, 10, 1000])),
        }
        if kind == "image":
            layers = draw(st.lists(st.sampled_from(LAYERS), max_size=3))
            found.append(image(name, layers=layers, config=draw(st.sampled_from([None, *CONFIGS])), **common))
        elif kind == "index":
            below = st.sampled_from([*IMAGES[:number], MISSING])
            members = draw(st.lists(below, min_size=min(number, 1), max_size=3, unique=True))
            found.append(image(name, members=members, media_type=OCI_INDEX, **common))
    return found


@st.composite
def _streams(draw: st.DrawFn) -> list[ImageStream]:
    items = st.builds(item, st.sampled_from([*IMAGES, MISSING]), st.one_of(old, old, ages))
    histories = st.one_of(st.lists(items, min_size=1, max_size=4), st.lists(items, max_size=5), st.none())
    return [
        image_stream(
            name,
            draw(st.dictionaries(st.sampled_from(TAGS), histories, min_size=1, max_size=3)),
            age=draw(st.one_of(old, old, ages)),
        )
        for name in draw(st.lists(st.sampled_from(STREAMS), unique=True, min_size=2))
    ]


uses = st.one_of(
    st.builds(Use, st.sampled_from(STREAMS), tag=st.sampled_from(TAGS)),
    st.builds(Use, st.sampled_from(STREAMS), digest=st.sampled_from(IMAGES)),
    st.builds(Use, st.none(), digest=st.sampled_from(IMAGES)),
)


def _text(use: Use) -> str:
    name = f"{HOST}/{use.stream}" if use.stream else "elsewhere"
    return f"{name}@{use.digest}" if use.digest else f"{name}:{use.tag}"


Place = Callable[[str, Use], Referrer]


def _build(name: str, use: Use) -> Referrer:
    if use.stream is None:
        return build(name, from_("DockerImage", _text(use)))
    namespace, _, stream = use.stream.partition("/")
    if use.digest:
        return build(name, from_("ImageStreamImage", f"{stream}@{use.digest}", namespace))
    return build(name, from_("ImageStreamTag", f"{stream}:{use.tag}", namespace))


def _running(name: str, use: Use) -> Referrer:
    """An image ID is a digest; what is meant by a tag is in a volume."""
    return pod(name, running=[f"docker-pullable://{_text(use)}"]) if use.digest else pod(name, volumes=[_text(use)])


def _rollout(name: str, use: Use) -> Referrer:
    return msgspec.structs.replace(controller("Rollout", name), extra=(ExtraReference("spec.image", _text(use)),))


_READ_BY_BOTH: dict[str, Place] = {
    "Deployment": lambda name, use: controller("Deployment", name, _text(use)),
    "CronJob": lambda name, use: controller("CronJob", name, _text(use)),
    "Pod": lambda name, use: pod(name, _text(use)),
    "initContainer": lambda name, use: pod(name, init=[_text(use)]),
    "Build": _build,
}
_READ_BY_EXTENDED: dict[str, Place] = {
    "ephemeral container": lambda name, use: pod(name, ephemeral=[_text(use)]),
    "volume": lambda name, use: pod(name, volumes=[_text(use)]),
    "running": _running,
    "ControllerRevision": lambda name, use: controller_revision(name, _text(use)),
    "Rollout": _rollout,
}
PLACES = (*_READ_BY_BOTH, *_READ_BY_EXTENDED)


def rendered(use: Use, place: str, number: int) -> tuple[Referrer, Use]:
    """An object that uses it, in this place; and the use as it is meant there."""
    make = _READ_BY_BOTH.get(place) or _READ_BY_EXTENDED[place]
    return make(f"apps/x{number}", use), msgspec.structs.replace(use, extended=place in _READ_BY_EXTENDED)


class Cluster(msgspec.Struct, frozen=True):
    """A snapshot, and what its objects are meant to use."""

    snapshot: Snapshot
    uses: tuple[Use, ...]

    def __repr__(self) -> str:
        lines = [
            *(
                f"image {IMAGES.index(each.name)} layers {[LAYERS.index(layer) for layer in each.layers]} config "
                f"{each.config} members {[_short(member) for member in each.members]} {each.created:%d %H:%M} of "
                f"{each.reference[:70]}"
                for each in self.snapshot.images
            ),
            *(
                f"stream {each.name} {each.metadata.creation_timestamp:%d %H:%M} {tag.tag} "
                f"{[(_short(event.image), f'{event.created:%d %H:%M}') for event in tag.items or ()]}"
                for each in self.snapshot.streams
                for tag in each.histories
            ),
            *(f"use {use.stream} {use.tag or _short(use.digest or '')} {use.extended}" for use in self.uses),
        ]
        return "\n".join(lines)


def _short(name: str) -> str:
    return str(IMAGES.index(name)) if name in IMAGES else "missing"


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Clusters whose references can all be understood, beside bad ones that are ignored."""
    streams = draw(_streams())
    tags = [Use(stream.name, tag=tag.tag) for stream in streams for tag in stream.histories if tag.items]
    fitting = st.one_of(st.sampled_from(tags), uses) if tags else uses
    wanted = draw(st.lists(st.tuples(fitting, st.sampled_from(PLACES)), max_size=4))
    users = [rendered(use, place, number) for number, (use, place) in enumerate(wanted)]
    finished = draw(st.lists(st.tuples(uses, ages), max_size=2))
    idle = [
        pod(f"apps/done{number}", _text(use), phase="Failed", age=age) for number, (use, age) in enumerate(finished)
    ]
    counted = [use for use, age in finished if age <= 60]
    bad = [controller("Deployment", "apps/bad", "a b")] if draw(st.booleans()) else []
    limits = [limit(f"{name}/limits", 100) for name in draw(st.lists(st.sampled_from(NAMESPACES), unique=True))]
    found = snapshot(*draw(_images()), *streams, *limits, *(user for user, _ in users), *idle, *bad)
    return Cluster(found, (*(use for _, use in users), *counted))


@st.composite
def settings(draw: st.DrawFn, **fixed: object) -> AnalysisSettings:
    """Settings of all kinds; ages and numbers of revisions are given, so that they can be raised."""
    asked: dict[str, object] = {
        "minutes": draw(st.sampled_from([0, 60, 1000])),
        "revisions": draw(st.sampled_from([0, 0, 0, 1, 2, 3])),
        "references": draw(st.sampled_from(["extended", "oc"])),
        "namespace": draw(st.sampled_from([None, None, *NAMESPACES])),
        "all_images": draw(st.sampled_from([True, True, False])),
        "prune_over_size_limit": draw(st.booleans()),
        "ignore_invalid_refs": True,
    }
    if draw(st.booleans()):
        asked["protect"] = (draw(st.sampled_from(["shop/web", "base/*:v1", IMAGES[0], "sha256:*0"])),)
    return rules(**{**asked, **fixed})


@st.composite
def any_settings(draw: st.DrawFn) -> AnalysisSettings:
    """Settings of all kinds, prune_over_size_limit alone among them, which asks for no age and no number."""
    asked: AnalysisSettings = draw(settings())
    if draw(st.integers(0, 3)):
        return asked
    return dataclasses.replace(asked, prune_over_size_limit=True, keep_younger_than=None, keep_tag_revisions=None)


# --- retention rules and attached tags --------------------------------------------------------------------------------

VERSIONS = ["v1.0.0", "v1.2.0", "1.10.0", "v2.0.0-rc.1", "1.10.0-alpine", "v1", "pr-1", "pr-2", "latest"]
ATTACHED = [f"sha256-{name[7:]}{suffix}" for name in [*IMAGES[:5], MISSING] for suffix in (".sig", "")]


_short_names = st.sampled_from(["web", "db", "os"])


@st.composite
def _declared(draw: st.DrawFn, tag: str) -> TagReference:
    """An entry of spec.tags: imported, a reference only, promoted by tag or by digest, or without a source."""
    source = draw(
        st.one_of(
            st.none(),
            st.builds(from_, st.just("DockerImage"), st.sampled_from(["quay.io/a/b:1", f"{HOST}/base/os:v1.0.0"])),
            st.builds(
                from_,
                st.just("ImageStreamTag"),
                st.builds("{}:{}".format, _short_names, st.sampled_from(VERSIONS)),
                st.sampled_from([None, *NAMESPACES]),
            ),
            st.builds(
                from_,
                st.just("ImageStreamImage"),
                st.builds("{}@{}".format, _short_names, st.sampled_from(IMAGES)),
                st.sampled_from([None, *NAMESPACES]),
            ),
        )
    )
    return TagReference(tag, source, draw(st.booleans()))


@st.composite
def _tagged_streams(draw: st.DrawFn) -> list[ImageStream]:
    items = st.builds(item, st.sampled_from([*IMAGES, MISSING, ""]), st.one_of(old, old, ages))
    names = st.one_of(st.sampled_from(VERSIONS), st.sampled_from(VERSIONS), st.sampled_from(ATTACHED))
    found = []
    for name in draw(st.lists(st.sampled_from(STREAMS), unique=True, min_size=2)):
        tags = draw(st.dictionaries(names, st.lists(items, max_size=3), max_size=5))
        declared = draw(st.lists(st.sampled_from([*sorted(tags), "spec-only"]), unique=True, max_size=3))
        found.append(
            image_stream(
                name,
                tags,
                age=draw(st.one_of(old, old, ages)),
                sources={tag: draw(_declared(tag)) for tag in declared},
                owners=draw(st.sampled_from([(), (), ("owner",)])),
            )
        )
    return found


@st.composite
def tagged_clusters(draw: st.DrawFn) -> Cluster:
    """Clusters with tags of all kinds: versions, attached ones, entries in spec.tags of every form."""
    streams = draw(_tagged_streams())
    tags = [Use(stream.name, tag=tag.tag) for stream in streams for tag in stream.histories if tag.items]
    fitting = st.one_of(st.sampled_from(tags), uses) if tags else uses
    wanted = draw(st.lists(st.tuples(fitting, st.sampled_from(PLACES)), max_size=3))
    users = [rendered(use, place, number) for number, (use, place) in enumerate(wanted)]
    pushed = draw(st.lists(st.sampled_from(STREAMS), unique=True, max_size=1))
    builds = [
        build(f"apps/push{number}", to=from_("ImageStreamTag", f"{name.partition('/')[2]}:new", name.partition("/")[0]))
        for number, name in enumerate(pushed)
    ]
    found = snapshot(*draw(_images()), *streams, *(user for user, _ in users), *builds)
    return Cluster(found, tuple(use for _, use in users))


@st.composite
def retention_rules(draw: st.DrawFn, number: int = 1) -> RetentionRule:
    """A rule; whether others before it hide it does not matter here."""
    keep: dict[str, object] = draw(
        st.sampled_from(
            [
                {"keep": "all"},
                {"keep_newest": 0},
                {"keep_newest": 1},
                {"keep_newest": 2},
                {"keep_younger_than": 1000},
                {"keep_newest": 1, "order": "semver"},
                {"keep_newest": 1, "order": "semver", "prereleases": True, "variants": ["alpine"]},
                {"keep_newest": 1, "keep_younger_than": 60},
            ]
        )
    )
    more: dict[str, object] = {}
    if draw(st.booleans()):
        more["tags"] = draw(
            st.sampled_from([["pr-*"], ["v*"], ["*", "!latest"], ["sha256-*"], ["v?.*", "latest"], ["1.*"]])
        )
    if draw(st.booleans()):
        more["streams"] = draw(st.sampled_from([["shop/*"], ["*/web"], ["*/*", "!base/os"]]))
    if draw(st.booleans()):
        more["keep_tag_revisions"] = draw(st.integers(0, 2))
    return rule(f"rule {number}", **keep, **more, imported=draw(st.booleans()))


@st.composite
def retention_settings(draw: st.DrawFn, **fixed: object) -> AnalysisSettings:
    """Settings with retention rules, empty streams and attached tags."""
    asked: AnalysisSettings = draw(any_settings())
    found = [draw(retention_rules(number)) for number in range(draw(st.integers(0, 3)))]
    empty = draw(
        st.sampled_from(
            [None, EmptyStreams(older_than=timedelta(minutes=1)), EmptyStreams(older_than=timedelta(days=1))]
        )
    )
    return dataclasses.replace(
        asked,
        **{
            "retention": tuple(found),
            "empty_streams": empty,
            "attached": draw(st.sampled_from(["follow", "follow", "keep"])),
            **fixed,
        },
    )


# --- models ----------------------------------------------------------------------------------------------------------


def applied(cluster: Snapshot, plan: PrunePlan, at: datetime | None = None) -> Snapshot:
    """The cluster after the plan: revisions and the tags they emptied
    are gone, and images are, or are retired `at` a time.
    """
    changes = {change.stream: change for change in plan.streams}

    def after(stream: ImageStream) -> ImageStream:
        change = changes.get(stream.name)
        if change is None or stream.status is None:
            return stream
        gone = {(each.tag, each.revision) for each in change.revisions}
        tags = [
            NamedTagEventList(
                tag.tag, tag.items and [each for number, each in enumerate(tag.items) if (tag.tag, number) not in gone]
            )
            for tag in stream.histories
            if tag.tag not in change.removed_tags
        ]
        status: ImageStreamStatus = msgspec.structs.replace(stream.status, tags=tags)
        declared = [
            tag for tag in (stream.spec.tags if stream.spec else None) or () if tag.name not in change.removed_spec_tags
        ]
        spec = stream.spec and msgspec.structs.replace(stream.spec, tags=declared)
        return msgspec.structs.replace(stream, spec=spec, status=status)

    deleted = {each.name for each in plan.images}
    gone = {each.stream for each in plan.empty_streams}
    retired = {
        name: each
        for name, each in cluster.retired.items()
        if name not in deleted and name not in {again.name for again in plan.needed_again}
    }
    for each in plan.retired:
        known = retired[each.name].tags if each.name in retired else ()
        tags = {
            (change.stream, item.tag) for change in plan.streams for item in change.revisions if item.image == each.name
        }
        retired[each.name] = Retirement(at or cluster.as_of, tuple(sorted({*known, *tags})))
    return msgspec.structs.replace(
        cluster,
        retired=retired,
        streams=tuple(after(stream) for stream in cluster.streams if stream.name not in gone),
        images=tuple(each for each in cluster.images if each.name not in deleted),
    )


def members(images: dict[str, Image], name: str) -> set[str]:
    """The digest and all below it. Indexes name only what was made before them, so this ends."""
    below = images[name].members if name in images else ()
    return {name}.union(*(members(images, member) for member in below))


def blobs_of(images: dict[str, Image], names: Iterable[str]) -> set[str]:
    """Layers and configs of these images."""
    found = [images[name] for name in names if name in images]
    return {layer for each in found for layer in each.layers} | {each.config for each in found if each.config}


def deletions(plan: PrunePlan) -> set[tuple[str, ...]]:
    """Revisions, images, blobs and links that a plan deletes, comparable with those of another one."""
    return {
        *(
            ("revision", change.stream, each.tag, str(each.revision), each.image)
            for change in plan.streams
            for each in change.revisions
        ),
        *(("image", each.name) for each in plan.images),
        *(("blob", each.digest) for each in plan.blobs),
        *(("layer link", change.stream, each) for change in plan.streams for each in change.layer_links),
        *(("manifest link", change.stream, each) for change in plan.streams for each in change.manifest_links),
        *(("spec tag", change.stream, each) for change in plan.streams for each in change.removed_spec_tags),
        *(("image stream", each.stream) for each in plan.empty_streams),
    }
