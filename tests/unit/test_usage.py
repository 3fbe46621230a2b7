"""What counts as used: R4 to R13, up to the tags and digests that a cluster's objects name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import pytest

from pruner.analysis import find_usage
from pruner.analysis.references import Reference, output_of, references_of, references_of_stream
from pruner.analysis.usage import Usage, age_limit
from pruner.cluster.further_kinds import extra_referrer
from pruner.cluster.metadata import BEGINNING, ObjectReference
from pruner.cluster.workloads import ExtraReference, Referrer, RevisionData, Workload, WorkloadMeta
from pruner.errors import InvalidReferencesError
from pruner.settings import PRESETS, PodSource
from tests.builders.objects import (
    NOW,
    A,
    B,
    Object,
    build,
    controller,
    controller_revision,
    deployment,
    from_,
    image_stream,
    pod,
    rules,
    snapshot,
)

WEB = "registry:5000/shop/web"
CONTROLLERS = [
    "ReplicationController",
    "DaemonSet",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "Job",
    "CronJob",
    "DeploymentConfig",
]


def usage(*objects: Object, references: str = "extended", **asked: object) -> Usage:
    return find_usage(snapshot(*objects), rules(references=references, **asked))


def tags(*objects: Object, references: str = "extended") -> list[str]:
    return sorted(f"{stream}:{tag}" for stream, tag in usage(*objects, references=references).tags)


def digests(*objects: Object, references: str = "extended") -> list[str]:
    return sorted(f"{stream}@{digest}" for stream, digest in usage(*objects, references=references).digests)


# --- R4, R5: pods and pod templates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONTROLLERS)
@pytest.mark.parametrize("references", ["oc", "extended"])
def test_containers_of_pod_templates_use_their_images_R4(kind: str, references: str) -> None:
    found = controller(kind, "shop/web", f"{WEB}:v1", "host.io/shop/side:v2", init=["host.io/shop/init:v3"])
    assert tags(found, references=references) == ["shop/init:v3", "shop/side:v2", "shop/web:v1"]


@pytest.mark.parametrize("kind", CONTROLLERS)
def test_users_are_named_by_kind_namespace_and_name_R4(kind: str) -> None:
    assert usage(controller(kind, "shop/web", f"{WEB}:v1")).tags == {("shop/web", "v1"): (f"{kind} shop/web",)}


def test_users_of_one_tag_are_sorted_and_named_once_R4() -> None:
    found = usage(deployment("shop/b", f"{WEB}:v1", f"{WEB}:v1"), deployment("shop/a", f"{WEB}:v1"))
    assert found.tags["shop/web", "v1"] == ("Deployment shop/a", "Deployment shop/b")


@pytest.mark.parametrize("blank", ["", "  ", "\t", None])
@pytest.mark.parametrize("references", ["oc", "extended"])
def test_blank_images_are_ignored_R4(blank: str | None, references: str) -> None:
    assert tags(deployment("shop/web", blank, f"{WEB}:v1"), references=references) == ["shop/web:v1"]


def test_an_object_without_a_spec_uses_nothing_R4() -> None:
    assert usage(Referrer("Deployment", Workload(WorkloadMeta("web", "shop")))) == Usage()


@pytest.mark.parametrize(
    ("phase", "age", "counts"),
    [
        ("Running", 10_000, True),
        ("Pending", 10_000, True),
        ("Succeeded", 10_000, False),
        ("Failed", 10_000, False),
        ("Unknown", 10_000, False),
        ("", 10_000, False),
        ("Succeeded", 59, True),
        ("Failed", 60, True),  # exactly at the age limit
        ("Failed", 60 + 1 / 60, False),
        ("running", 10_000, False),
    ],
)
@pytest.mark.parametrize("references", ["oc", "extended"])
def test_a_finished_pod_counts_while_it_is_young_R5(phase: str, age: float, counts: bool, references: str) -> None:
    found = pod("shop/run", f"{WEB}:v1", phase=phase, age=age)
    assert tags(found, references=references) == (["shop/web:v1"] if counts else [])


def test_a_pod_without_a_status_counts_by_its_age_R5() -> None:
    old = pod("shop/run", f"{WEB}:v1").workload
    assert tags(Referrer("Pod", Workload(old.metadata, old.spec))) == []
    young = WorkloadMeta("run", "shop", NOW)
    assert tags(Referrer("Pod", Workload(young, old.spec))) == ["shop/web:v1"]


def test_a_finished_pod_without_a_time_is_older_than_any_limit_R5() -> None:
    found = pod("shop/run", f"{WEB}:v1", phase="Failed").workload
    timeless = Workload(WorkloadMeta("run", "shop"), found.spec, found.status)
    assert tags(Referrer("Pod", timeless)) == []


def test_what_is_listed_after_an_old_finished_pod_counts_R5() -> None:
    done = pod("shop/done", f"{WEB}:v1", phase="Failed")
    assert tags(done, deployment("shop/x", f"{WEB}:v2")) == ["shop/web:v2"]


def test_only_pods_are_asked_for_their_age_R5() -> None:
    assert tags(controller("Job", "shop/old", f"{WEB}:v1")) == ["shop/web:v1"]


@pytest.mark.parametrize(("age", "counts"), [(60, True), (61, False)])
def test_over_size_mode_alone_counts_finished_pods_of_the_default_age_R5(age: float, counts: bool) -> None:
    found = snapshot(pod("shop/run", f"{WEB}:v1", phase="Failed", age=age))
    asked = rules(minutes=None, prune_over_size_limit=True)
    assert bool(find_usage(found, asked).tags) is counts


@pytest.mark.parametrize(("age", "counts"), [(0, True), (0.1, False)])
def test_over_size_mode_alone_counts_no_finished_pods_as_oc_does_R5(age: float, counts: bool) -> None:
    found = snapshot(pod("shop/run", f"{WEB}:v1", phase="Failed", age=age))
    asked = rules(minutes=None, prune_over_size_limit=True, references="oc")
    assert bool(find_usage(found, asked).tags) is counts


def test_an_age_beyond_all_time_keeps_everything_R5() -> None:
    assert age_limit(NOW, timedelta(days=900_000)) == BEGINNING
    assert age_limit(NOW, timedelta(minutes=60)) == NOW.replace(hour=11)


# --- R6, R7: what a pull spec means ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("registry:5000/shop/web:v1", "shop/web:v1"),
        ("route.apps.example.com/shop/web:v1", "shop/web:v1"),
        ("10.0.0.1:5000/shop/web:v1", "shop/web:v1"),
        ("localhost/shop/web:v1", "shop/web:v1"),
        ("docker.io/shop/web:v1", "shop/web:v1"),
        ("registry:5000/shop/web", "shop/web:latest"),
    ],
)
@pytest.mark.parametrize("references", ["oc", "extended"])
def test_any_host_counts_as_the_integrated_registry_R6(text: str, tag: str, references: str) -> None:
    assert tags(deployment("x/y", text), references=references) == [tag]


@pytest.mark.parametrize("text", ["web", "web:v1", "shop/web:v1", "host.io/web:v1", "host.io/a/shop/web:v1", "a/b/c"])
@pytest.mark.parametrize("references", ["oc", "extended"])
def test_without_host_or_namespace_or_with_more_no_stream_is_meant_R6(text: str, references: str) -> None:
    assert tags(deployment("x/y", text), references=references) == []


@pytest.mark.parametrize("references", ["oc", "extended"])
def test_a_digest_wins_over_a_tag_beside_it_R7(references: str) -> None:
    found = deployment("x/y", f"{WEB}:v1@{A}")
    assert tags(found, references=references) == []
    assert digests(found, references=references) == [f"shop/web@{A}"]


def test_a_digest_is_used_in_the_stream_that_it_names_R7() -> None:
    found = usage(deployment("x/y", f"{WEB}@{A}"))
    assert found.digests == {("shop/web", A): ("Deployment x/y",)}
    assert found.anywhere == {A: ("Deployment x/y",)}


@pytest.mark.parametrize("references", ["oc", "extended"])
def test_a_digest_without_host_names_no_stream_R6_R7(references: str) -> None:
    assert digests(deployment("x/y", f"shop/web@{A}"), references=references) == []


# --- R8: builds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Build", "BuildConfig"])
@pytest.mark.parametrize("strategy", ["source", "docker", "custom"])
@pytest.mark.parametrize("references", ["oc", "extended"])
@pytest.mark.parametrize(
    ("source", "used"),
    [
        (from_("DockerImage", f"{WEB}:v1"), "shop/web:v1"),
        (from_("DockerImage", WEB), "shop/web:latest"),
        (from_("ImageStreamTag", "web:v1"), "ci/web:v1"),
        (from_("ImageStreamTag", "web:v1", "shop"), "shop/web:v1"),
        (from_("ImageStreamTag", "web:v1", ""), "ci/web:v1"),
        (from_("ImageStreamImage", f"web@{A}"), f"ci/web@{A}"),
        (from_("ImageStreamImage", f"web@{A}", "shop"), f"shop/web@{A}"),
        (from_("DockerImage", f"{WEB}@{A}"), f"shop/web@{A}"),
    ],
)
def test_the_source_of_a_build_is_used_R8(
    kind: str, strategy: str, source: ObjectReference, used: str, references: str
) -> None:
    found = build("ci/app", source, kind=kind, strategy=strategy)
    assert tags(found, references=references) + digests(found, references=references) == [used]


@pytest.mark.parametrize("source", [None, from_("ImageStreamTag", "")])
def test_a_build_without_a_source_uses_nothing_R8(source: ObjectReference | None) -> None:
    assert usage(build("ci/app", source)) == Usage()


# --- R9: what does not parse -----------------------------------------------------------------------------------------

BAD_SOURCES = [
    from_("ImageStreamTag", "web"),
    from_("ImageStreamTag", "web:"),
    from_("ImageStreamTag", ":v1"),
    from_("ImageStreamTag", f"web@{A}"),
    from_("ImageStreamTag", "web:v1@2"),
    from_("ImageStreamTag", "web:v1:v2"),
    from_("ImageStreamImage", f"web@{A}@{A}"),
    from_("ImageStreamImage", "web"),
    from_("ImageStreamImage", "web:v1"),
    from_("ImageStreamImage", f"@{A}"),
    from_("DockerImage", "host.io/shop/Web"),
]


@pytest.mark.parametrize("source", BAD_SOURCES, ids=lambda source: f"{source.kind}-{source.name[:12]}")
@pytest.mark.parametrize("references", ["oc", "extended"])
def test_a_name_that_does_not_parse_is_an_error_R9(source: ObjectReference, references: str) -> None:
    with pytest.raises(InvalidReferencesError) as raised:
        usage(build("ci/app", source), references=references)
    (problem,) = raised.value.references
    assert problem.startswith(f"Build ci/app, spec.strategy.sourceStrategy.from: {source.name!r}: ")


def test_all_that_does_not_parse_is_listed_with_its_place_R9() -> None:
    with pytest.raises(InvalidReferencesError) as raised:
        usage(
            deployment("shop/web", f"{WEB}:v1", "host.io/UP:1:2", init=["a b"]),
            pod("shop/run", "host.io/shop/web@sha256:12"),
            build("ci/app", from_("ImageStreamTag", "x")),
        )
    assert [problem.rpartition(": ")[0] for problem in raised.value.references] == [
        "Build ci/app, spec.strategy.sourceStrategy.from: 'x'",
        "Deployment shop/web, container 'c1': 'host.io/UP:1:2'",
        "Deployment shop/web, initContainer 'c0': 'a b'",
        "Pod shop/run, container 'c0': 'host.io/shop/web@sha256:12'",
    ]
    assert "4 image references do not parse" in str(raised.value)
    assert "ignore_invalid_refs" in str(raised.value)


def test_with_ignore_invalid_refs_each_is_a_warning_and_the_rest_counts_R9() -> None:
    found = usage(deployment("shop/web", "a b", f"{WEB}:v1", "c d"), ignore_invalid_refs=True)
    assert list(found.tags) == [("shop/web", "v1")]
    assert found.warnings == (
        "ignored: Deployment shop/web, container 'c0': 'a b': invalid reference format",
        "ignored: Deployment shop/web, container 'c2': 'c d': invalid reference format",
    )


def test_each_kind_of_wrong_name_says_what_is_right_R9() -> None:
    found = usage(
        build("ci/a", from_("ImageStreamTag", "web")),
        build("ci/b", from_("ImageStreamImage", "web")),
        build("ci/c", from_("ImageStream", "web")),
        ignore_invalid_refs=True,
    )
    assert [warning.rpartition(": ")[2] for warning in found.warnings] == [
        "an ImageStreamTag is written name:tag",
        "an ImageStreamImage is written name@digest",
        "neither DockerImage nor ImageStreamTag nor ImageStreamImage",
    ]


def test_a_name_with_a_slash_is_none_of_an_image_stream_and_is_a_warning_R9() -> None:
    found = usage(
        build("ci/a", from_("ImageStreamTag", "a/web:v1")), build("ci/b", from_("ImageStreamImage", f"a/b@{A}"))
    )
    assert [warning.rpartition(": ")[2] for warning in found.warnings] == [
        "no image stream has such a name; an ImageStreamTag is written name:tag",
        "no image stream has such a name; an ImageStreamImage is written name@digest",
    ]
    assert (found.tags, found.digests) == ({}, {})


def test_warnings_are_counted_beyond_a_hundred_and_long_names_are_cut_R9() -> None:
    long = "A" * 1000
    builds = [build(f"ci/b{number:03}", from_("ImageStream", long)) for number in range(103)]
    warnings = usage(*builds).warnings
    assert len(warnings) == 101
    assert f"{'A' * 200}... (800 more characters)'" in warnings[0]
    assert warnings[-1] == "ignored: 3 more references that cannot be understood"
    hundred = usage(*builds[:100]).warnings
    assert (len(hundred), "more references" in hundred[-1]) == (100, False)
    (short,) = usage(build("ci/a", from_("ImageStream", "A" * 200))).warnings
    assert "more characters" not in short


def test_what_follows_a_reference_that_does_not_parse_counts_R9() -> None:
    found = usage(deployment("shop/web", "a b", f"{WEB}@{A}"), ignore_invalid_refs=True)
    assert found.digests == {("shop/web", A): ("Deployment shop/web",)}
    assert found.anywhere == {A: ("Deployment shop/web",)}


def test_a_build_keeps_the_image_stream_that_its_namespace_resolves_the_name_in_R10() -> None:
    pushes = build("ci/app", to=from_("DockerImage", "web:v1"))
    local, other = image_stream("ci/web", local=True), image_stream("shop/web", local=True)
    assert usage(pushes, local, other).outputs == {"ci/web": ("Build ci/app",)}
    assert usage(pushes, image_stream("ci/web")).outputs == {}


def test_pods_that_do_not_count_are_not_asked_for_their_pull_specs_R5_R9() -> None:
    assert usage(pod("shop/run", "a b", phase="Failed")) == Usage()


# --- R10: extended ---------------------------------------------------------------------------------------------------

TRIGGERS = json.dumps([{"from": {"kind": "ImageStreamTag", "name": "web:v1"}, "fieldPath": "spec"}])
FOREIGN_TRIGGERS = json.dumps([{"from": {"kind": "ImageStreamTag", "name": "web:v1", "namespace": "base"}}])
PATIENT = from_("ImageStreamTag", "web:v1")

EXTENDED: dict[str, tuple[Object, list[str]]] = {
    "ephemeral containers": (pod("shop/run", ephemeral=[f"{WEB}:v1"]), ["shop/web:v1"]),
    "image volumes": (pod("shop/run", volumes=[f"{WEB}:v1", ""]), ["shop/web:v1"]),
    "image volumes of a template": (deployment("shop/web", volumes=[f"{WEB}:v1"]), ["shop/web:v1"]),
    "source images of a build": (build("shop/app", images=[PATIENT]), ["shop/web:v1"]),
    "source images of a build configuration": (
        build("shop/app", kind="BuildConfig", images=[PATIENT]),
        ["shop/web:v1"],
    ),
    "triggers of a build configuration": (build("shop/app", kind="BuildConfig", changes=[PATIENT]), ["shop/web:v1"]),
    "triggers of a deployment configuration": (
        controller("DeploymentConfig", "shop/app", changes=[PATIENT]),
        ["shop/web:v1"],
    ),
    "the annotation": (deployment("shop/app", triggers=TRIGGERS), ["shop/web:v1"]),
    "the annotation, of another namespace": (deployment("shop/app", triggers=FOREIGN_TRIGGERS), ["base/web:v1"]),
    "the annotation of a CronJob": (controller("CronJob", "shop/app", triggers=TRIGGERS), ["shop/web:v1"]),
    "tags of image streams": (image_stream("shop/app", sources={"x": PATIENT}), ["shop/web:v1"]),
    "tags of the same image stream": (
        image_stream("shop/app", sources={"x": from_("ImageStreamTag", "v1")}),
        ["shop/app:v1"],
    ),
    "tags of image streams elsewhere": (
        image_stream("shop/app", sources={"x": from_("DockerImage", f"{WEB}:v1")}),
        ["shop/web:v1"],
    ),
    "tags of image streams elsewhere, without a tag": (
        image_stream("shop/app", sources={"x": from_("DockerImage", WEB)}),
        ["shop/web:latest"],
    ),
    "controller revisions": (controller_revision("shop/app-1", f"{WEB}:v1"), ["shop/web:v1"]),
}


@pytest.mark.parametrize("place", EXTENDED)
def test_extended_references_count_R10(place: str) -> None:
    found, used = EXTENDED[place]
    assert tags(found) == used


@pytest.mark.parametrize("place", EXTENDED)
def test_oc_does_not_count_extended_references_R10(place: str) -> None:
    found, _ = EXTENDED[place]
    assert usage(found, references="oc") == Usage()


def test_a_digest_that_a_tag_of_a_stream_comes_from_is_used_R10() -> None:
    found = image_stream("shop/app", sources={"x": from_("ImageStreamImage", f"web@{A}", "base")})
    assert digests(found) == [f"base/web@{A}"]
    assert usage(found).anywhere == {A: ("ImageStream shop/app",)}


def test_a_tag_alone_with_a_namespace_is_one_of_that_namespace_R10() -> None:
    assert tags(image_stream("shop/app", sources={"x": from_("ImageStreamTag", "v1", "base")})) == ["base/app:v1"]


def test_a_tag_with_a_colon_is_not_one_of_the_same_stream_R10() -> None:
    assert tags(image_stream("shop/app", sources={"x": from_("ImageStreamTag", "app:v2")})) == ["shop/app:v2"]


def test_the_place_of_each_extended_reference_is_named_R9_R10() -> None:
    bad = from_("ImageStream", "bad")
    found = usage(
        build("ci/a", images=[bad]),
        build("ci/b", changes=[bad]),
        pod("ci/c", ephemeral=["a b"], volumes=["c d"]),
        deployment("ci/d", triggers="no json"),
        image_stream("ci/e", sources={"v1": bad}),
        pod("ci/f", running=["g h"]),
        controller_revision("ci/g", "i j"),
        build("ci/h", from_("ImageStream", "bad"), strategy="docker"),
        build("ci/i", from_("ImageStream", "bad"), strategy="custom"),
        deployment("ci/j", triggers=json.dumps([{"from": {"kind": "X", "name": "bad"}}])),
        ignore_invalid_refs=True,
    )
    assert [warning.removeprefix("ignored: ").rpartition(": ")[0] for warning in found.warnings] == [
        "Build ci/a, spec.source.images: 'bad'",
        "Build ci/b, spec.triggers: 'bad'",
        "Build ci/h, spec.strategy.dockerStrategy.from: 'bad'",
        "Build ci/i, spec.strategy.customStrategy.from: 'bad'",
        "ControllerRevision ci/g, container 'c0': 'i j'",
        "Deployment ci/d, annotation image.openshift.io/triggers: 'no json'",
        "Deployment ci/j, annotation image.openshift.io/triggers: 'bad'",
        "ImageStream ci/e, spec.tags 'v1': 'bad'",
        "Pod ci/c, ephemeralContainer 'c0': 'a b'",
        "Pod ci/c, volume 'v0': 'c d'",
        "Pod ci/f, running container 'c0': 'g h'",
    ]


TAG = from_("ImageStreamTag", "web:v1", "base")
ANNOTATION = "annotation image.openshift.io/triggers"


def of_tag(place: str, *, named: str | None = None, pulled: bool = True) -> Reference:
    return Reference("ImageStreamTag", "web:v1", "base", place, named, pulled)


@pytest.mark.parametrize(
    ("user", "references"),
    [
        (
            pod("shop/x", "a", init=["b"], ephemeral=["c"], volumes=["d"], running=["e"], ran_init=["f"],
                ran_ephemeral=["g"]),
            [
                Reference("pull spec", "b", "shop", "initContainer", "c0"),
                Reference("pull spec", "a", "shop", "container", "c0"),
                Reference("pull spec", "c", "shop", "ephemeralContainer", "c0"),
                Reference("pull spec", "d", "shop", "volume", "v0"),
                Reference("image id", "e", "shop", "running container", "c0"),
                Reference("image id", "f", "shop", "running container", "c0"),
                Reference("image id", "g", "shop", "running container", "c0"),
            ],
        ),
        *(
            (build("shop/x", TAG, strategy=strategy), [of_tag(f"spec.strategy.{strategy}Strategy.from")])
            for strategy in ("source", "docker", "custom")
        ),
        (build("shop/x", images=[TAG]), [of_tag("spec.source.images")]),
        (build("shop/x", changes=[TAG]), [of_tag("spec.triggers", pulled=False)]),
        (controller("DeploymentConfig", "shop/x", changes=[TAG]), [of_tag("spec.triggers", pulled=False)]),
        (
            deployment("shop/x", triggers=FOREIGN_TRIGGERS),
            [of_tag(ANNOTATION, pulled=False)],
        ),
        (
            deployment("shop/x", triggers="[7]"),
            [Reference("unknown", "[7]", "shop", ANNOTATION, pulled=False)],
        ),
        (
            build("shop/x", from_("Other", "web:v1")),
            [Reference("unknown", "web:v1", "shop", "spec.strategy.sourceStrategy.from", pulled=False)],
        ),
        (
            msgspec.structs.replace(
                deployment("shop/x"),
                extra=(ExtraReference("spec.a", "web"), ExtraReference("spec.b", "web", "image stream")),
            ),
            [
                Reference("pull spec", "web", "shop", "spec.a"),
                Reference("image stream", "web", "shop", "spec.b", pulled=False),
            ],
        ),
    ],
)  # fmt: skip
def test_a_reference_has_its_form_its_place_and_who_resolves_it_R9_R10(
    user: Referrer, references: list[Reference]
) -> None:
    assert references_of(user, extended=True) == references


def test_where_tags_come_from_and_where_builds_push_is_resolved_by_openshift_R9_R10() -> None:
    assert references_of_stream(image_stream("shop/app", sources={"x": TAG})) == [
        of_tag("spec.tags", named="x", pulled=False)
    ]
    assert output_of(build("shop/app", to=TAG)) == [of_tag("spec.output.to", pulled=False)]
    assert output_of(deployment("shop/app", "a")) == []


def test_tags_and_abbreviated_digests_are_looked_up_in_the_image_streams_that_are_known_R8() -> None:
    found = snapshot(build("shop/app", from_("ImageStreamImage", f"web@{A[:20]}")))
    known = {"shop/web": image_stream("shop/web", v1=[A])}
    assert list(find_usage(found, rules(), frozenset(), known).digests) == [("shop/web", A)]
    (warning,) = find_usage(found, rules(), frozenset(), {}).warnings
    assert warning.endswith("neither a digest nor the beginning of one in that image stream")


LOCAL = image_stream("shop/web", local=True)


@pytest.mark.parametrize(
    ("objects", "used"),
    [
        ([LOCAL, deployment("shop/x", "web")], ["shop/web:latest"]),
        ([LOCAL, deployment("shop/x", "web:v1")], ["shop/web:v1"]),
        ([LOCAL, deployment("other/x", "web:v1")], []),
        ([LOCAL, deployment("shop/x", "shop/web:v1")], []),
        ([LOCAL, deployment("shop/x", "host.io/web:v1")], []),
        ([image_stream("shop/web"), deployment("shop/x", "web:v1")], []),
        ([deployment("shop/x", "web:v1", resolve_names="*")], ["shop/web:v1"]),
        ([deployment("shop/x", "web:v1", resolve_names="no")], []),
        ([deployment("shop/x", "web:v1", template_resolves="*")], ["shop/web:v1"]),
        ([controller("CronJob", "shop/x", "web:v1", template_resolves="*")], ["shop/web:v1"]),
        ([pod("shop/x", "web:v1", resolve_names="*")], ["shop/web:v1"]),
        ([deployment("shop/x", "shop/web:v1", resolve_names="*")], []),
        ([deployment("shop/x", "web:v1", triggers=FOREIGN_TRIGGERS)], ["base/web:v1"]),
    ],
)
def test_a_bare_name_is_a_stream_where_names_are_resolved_R10(objects: Sequence[Object], used: list[str]) -> None:
    assert tags(*objects) == used
    assert tags(*objects, references="oc") == []


@pytest.mark.parametrize(
    "user",
    [
        pod("shop/x", ephemeral=["web:v1"]),
        pod("shop/x", volumes=["web:v1"]),
        deployment("shop/x", volumes=["web:v1"]),
        controller_revision("shop/x", "web:v1"),
        build("shop/x", from_("DockerImage", "web:v1")),
        build("shop/x", images=[from_("DockerImage", "web:v1")]),
        image_stream("shop/x", sources={"x": from_("DockerImage", "web:v1")}),
    ],
)
def test_a_bare_name_is_one_of_the_namespace_wherever_it_stands_R10(user: Object) -> None:
    assert tags(LOCAL, user) == ["shop/web:v1"]


def test_a_bare_name_of_a_further_kind_is_one_of_its_namespace_R10_R13() -> None:
    found = extra_referrer(
        PodSource("acme.io", "v1", "fleets", images=("spec.image",)),
        {"metadata": {"namespace": "shop", "name": "x"}, "spec": {"image": "web:v1"}},
    )
    assert tags(LOCAL, found) == ["shop/web:v1"]


def test_local_streams_may_be_given_besides_the_snapshot_R10() -> None:
    found = snapshot(deployment("shop/x", "web:v1"))
    assert list(find_usage(found, rules(), frozenset({"shop/web"})).tags) == [("shop/web", "v1")]
    found = snapshot(LOCAL, deployment("shop/x", "web:v1"))
    assert find_usage(found, rules(), frozenset()).tags == {}


def test_a_controller_revision_is_read_with_all_that_extended_rules_read_R10() -> None:
    volume = deployment("shop/x", volumes=[f"{WEB}:v1"]).workload.spec
    revision = Workload(WorkloadMeta("x-1", "shop"), data=RevisionData(volume))
    assert tags(Referrer("ControllerRevision", revision)) == ["shop/web:v1"]


def test_a_bare_name_with_a_digest_uses_the_digest_in_the_stream_R10() -> None:
    assert digests(LOCAL, deployment("shop/x", f"web@{A}")) == [f"shop/web@{A}"]
    assert usage(deployment("shop/x", f"web@{A}")).anywhere == {A: ("Deployment shop/x",)}


def test_a_stream_without_a_spec_is_no_local_one_R10() -> None:
    whole = image_stream("shop/web")
    assert tags(type(whole)(whole.metadata, None, whole.status), deployment("shop/x", "web")) == []


# --- R11: what runs --------------------------------------------------------------------------------------------------

HEX = A.removeprefix("sha256:")


@pytest.mark.parametrize(
    ("image_id", "anywhere", "in_stream"),
    [
        (f"{WEB}@{A}", [A], [f"shop/web@{A}"]),
        (f"docker-pullable://{WEB}@{A}", [A], [f"shop/web@{A}"]),
        (f"docker.io/library/web@{A}", [A], [f"library/web@{A}"]),
        (f"web@{A}", [A], []),
        (f"docker://{A}", [A], []),
        (A, [A], []),
        (HEX, [A], []),
        (f"docker://{HEX}", [A], []),
        (f"{WEB}:v1", [], []),
        ("", [], []),
    ],
)
def test_what_runs_uses_its_image_R11(image_id: str, anywhere: list[str], in_stream: list[str]) -> None:
    found = pod("shop/run", running=[image_id])
    assert list(usage(found).anywhere) == anywhere
    assert digests(found) == in_stream
    assert tags(found) == []


def test_all_container_statuses_count_R11() -> None:
    found = pod("shop/run", running=[A], ran_init=[B], ran_ephemeral=[f"{WEB}@{A}"])
    assert set(usage(found).anywhere) == {A, B}
    assert digests(found) == [f"shop/web@{A}"]


def test_what_a_finished_old_pod_ran_does_not_count_R11() -> None:
    assert usage(pod("shop/run", running=[A], phase="Succeeded")) == Usage()


def test_oc_does_not_count_what_runs_R11() -> None:
    assert usage(pod("shop/run", running=[A]), references="oc") == Usage()


@pytest.mark.parametrize("user", [deployment("shop/x", A), build("shop/x", from_("DockerImage", A))])
def test_a_digest_alone_is_used_and_is_no_name_with_a_tag_R12(user: Referrer) -> None:
    found = usage(user, image_stream("shop/sha256", local=True))
    assert found.anywhere == {A: (f"{user.kind} shop/x",)}
    assert found.tags == {}
    assert usage(user, references="oc") == Usage()
    assert tags(deployment("shop/x", "sha256:latest"), image_stream("shop/sha256", local=True)) == [
        "shop/sha256:latest"
    ]


def test_oc_counts_no_digest_beyond_its_stream_R12() -> None:
    found = usage(deployment("x/y", f"{WEB}@{A}"), references="oc")
    assert found.digests == {("shop/web", A): ("Deployment x/y",)}
    assert found.anywhere == {}


# --- R13: further kinds ----------------------------------------------------------------------------------------------

META = {"namespace": "shop", "name": "x"}
TEMPLATE = {
    "spec": {
        "containers": [{"name": "main", "image": f"{WEB}:v1"}, {"name": "blank", "image": " "}],
        "initContainers": [{"name": "init", "image": "host.io/shop/init:v1"}],
        "volumes": [{"name": "data", "image": {"reference": "host.io/shop/data:v1"}}, {"name": "plain"}],
    }
}


def extra(source: PodSource, found: dict[str, object]) -> Referrer:
    return extra_referrer(source, {"metadata": META, **found})


@pytest.mark.parametrize(
    ("preset", "number", "found", "used"),
    [
        (
            "argo-rollouts",
            0,
            {"kind": "Rollout", "spec": {"template": TEMPLATE}},
            ["shop/data:v1", "shop/init:v1", "shop/web:v1"],
        ),
        ("knative", 0, {"spec": {"template": TEMPLATE}}, ["shop/data:v1", "shop/init:v1", "shop/web:v1"]),
        ("knative", 1, TEMPLATE, ["shop/data:v1", "shop/init:v1", "shop/web:v1"]),
        (
            "tekton",
            0,
            {
                "spec": {
                    "steps": [{"image": f"{WEB}:v1"}, {"script": "true"}],
                    "sidecars": [{"image": f"{WEB}:v2"}],
                    "stepTemplate": {"image": f"{WEB}:v3"},
                }
            },
            ["shop/web:v1", "shop/web:v2", "shop/web:v3"],
        ),
        ("argo-rollouts", 0, {"spec": {"workloadRef": {"name": "web"}}}, []),
        ("tekton", 0, {}, []),
    ],
)
def test_presets_of_extra_referrers_know_where_the_images_are_R13(
    preset: str, number: int, found: dict[str, object], used: list[str]
) -> None:
    assert tags(extra(PRESETS[preset][number], found)) == used
    assert tags(extra(PRESETS[preset][number], found), references="oc") == []


def test_a_knative_revision_uses_the_digest_it_runs_R13() -> None:
    found = {"kind": "Revision", "status": {"containerStatuses": [{"imageDigest": f"{WEB}@{A}"}]}}
    assert usage(extra(PRESETS["knative"][1], found)).anywhere == {A: ("Revision shop/x",)}


def test_a_kind_of_ones_own_is_given_by_its_paths_R13() -> None:
    source = PodSource("acme.io", "v1", "fleets", template=("spec.pods.*",), images=("spec.tools.*.ref",))
    found = {"spec": {"pods": {"a": TEMPLATE}, "tools": [{"ref": "host.io/shop/tool:v1"}, {"ref": ""}]}}
    assert tags(extra(source, found)) == ["shop/data:v1", "shop/init:v1", "shop/tool:v1", "shop/web:v1"]


def test_a_value_that_may_be_anything_counts_where_it_names_an_image_R13() -> None:
    source = PodSource("acme.io", "v1", "runs", values=("spec.params.*",))
    values = {"a": f"{WEB}:v1", "b": f"x@{A}", "c": "web", "d": "no image at all", "e": "host.io/shop/side"}
    found = extra(source, {"spec": {"params": values}})
    assert tags(found) == ["shop/side:latest", "shop/web:v1"]
    assert list(usage(found).anywhere) == [A]
    assert usage(found).warnings == ()


def test_a_kind_without_a_kind_is_named_by_its_resource_R13() -> None:
    source = PodSource("acme.io", "v1", "fleets", images=("spec.image",))
    found = usage(extra(source, {"spec": {"image": f"{WEB}:v1"}}))
    assert found.tags == {("shop/web", "v1"): ("fleets.acme.io shop/x",)}


def test_a_wrong_image_of_an_extra_referrer_is_named_with_its_place_R9_R13() -> None:
    found = extra(PRESETS["tekton"][0], {"kind": "Task", "spec": {"stepTemplate": {"image": "a b"}}})
    with pytest.raises(InvalidReferencesError, match=r"Task shop/x, .*image: 'a b': invalid"):
        usage(found)


def test_a_pod_age_is_measured_in_utc_R2() -> None:
    naive = datetime(2026, 1, 1, 11, 30)
    old = pod("shop/run", f"{WEB}:v1", phase="Failed").workload
    found = Referrer("Pod", Workload(WorkloadMeta("run", "shop", naive), old.spec, old.status))
    assert tags(found) == ["shop/web:v1"]
