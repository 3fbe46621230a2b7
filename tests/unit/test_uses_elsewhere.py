"""R38: what the references of another cluster name in this one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pruner.analysis import Analysis, analyse, find_usage
from pruner.analysis.elsewhere import NamedHere, hosts_of
from pruner.analysis.pullspec import InvalidPullSpecError
from pruner.analysis.references import Form, Reference
from pruner.analysis.targets import Target
from pruner.analysis.usage import Usage
from pruner.cluster.metadata import ObjectReference
from pruner.cluster.objects import ImageStream, ImageStreamStatus, Mirror, OtherCluster
from pruner.cluster.workloads import Referrer, Workload, WorkloadMeta
from pruner.errors import InvalidReferencesError
from pruner.explain import explain, lines
from pruner.reasons import CurrentOfReferencedTag, Referenced, ReferencedInStream, in_cluster, sentence
from tests.builders.objects import (
    NOW,
    A,
    B,
    build,
    deployment,
    image,
    image_stream,
    pod,
    revision,
    rules,
    snapshot,
)

HUB = "hub.example.org"


def kiel(*objects: Referrer | ImageStream, mirrors: dict[str, str] | None = None, behind: int = 0) -> OtherCluster:
    return OtherCluster(
        name="kiel",
        cluster="another",
        as_of=NOW - timedelta(minutes=behind),
        hosts=frozenset({HUB}),
        mirrors=tuple(Mirror(source, mirror) for source, mirror in (mirrors or {}).items()),
        streams=tuple(each for each in objects if isinstance(each, ImageStream)),
        referrers=tuple(each for each in objects if isinstance(each, Referrer)),
    )


def usage(other: OtherCluster, **asked: Any) -> Usage:
    return find_usage(msgspec.structs.replace(snapshot(), others=(other,)), rules(**asked))


def named(found: Usage) -> set[str]:
    """What is in use here, as it is written."""
    return {
        *(f"{stream}:{tag}" for stream, tag in found.tags),
        *(f"{stream}@{digest}" for stream, digest in found.digests),
        *(f"@{digest}" for digest in found.anywhere),
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (f"{HUB}/shop/web:v1", {"shop/web:v1"}),
        (f"docker://{HUB}/shop/web", {"shop/web:latest"}),
        (f"HUB.example.org:443/shop/web:v1@{A}", {f"shop/web@{A}", f"@{A}"}),
        (f"{HUB}:5000/shop/web:v1", set()),
        ("quay.io/shop/web:v1", set()),
        ("shop/web:v1", set()),
        ("web:v1", set()),
        (f"{HUB}/web:v1", set()),
        (f"{HUB}/a/shop/web:v1", set()),
        (f"{HUB}/a/shop/web@{A}", {f"@{A}"}),
        (f"quay.io/shop/web:v1@{A}", {f"@{A}"}),
        (f"web@{A}", {f"@{A}"}),
        (A, {f"@{A}"}),
        (f"docker://{A.removeprefix('sha256:')}", {f"@{A}"}),
    ],
)
def test_R38_the_host_of_a_pull_spec_counts_and_a_digest_in_any_case(spec: str, expected: set[str]) -> None:
    assert named(usage(kiel(deployment("default/app", spec)))) == expected


@pytest.mark.parametrize(
    ("source", "to", "spec", "expected"),
    [
        ("quay.io", HUB, "quay.io/shop/web:v1", {"shop/web:v1"}),
        ("quay.io", f"{HUB}/shop", "quay.io/web:v1", {"shop/web:v1"}),
        ("quay.io/acme", f"{HUB}/shop", f"quay.io/acme/web@{A}", {f"shop/web@{A}", f"@{A}"}),
        ("quay.io/acme", f"{HUB}/shop", "quay.io/acme:v1", set()),
        ("quay.io/acme/web", f"{HUB}/shop/site", "quay.io/acme/web:v1", {"shop/site:v1"}),
        ("quay.io/acme/web", f"{HUB}/shop/site", "quay.io/acme/web2:v1", set()),
        ("quay.io/acme", "elsewhere.example.org/shop", "quay.io/acme/web:v1", set()),
        ("quay.io/acme/", f"{HUB}/shop/", "quay.io/acme/web:v1", {"shop/web:v1"}),
        ("quay.io/acme/web/", f"{HUB}/shop/site/", "quay.io/acme/web:v1", {"shop/site:v1"}),
        ("*.acme.org", f"{HUB}", "eu.acme.org/shop/web:v1", {"shop/web:v1"}),
        ("*.acme.org", f"{HUB}", "acme.org/shop/web:v1", set()),
        ("QUAY.io:443/acme", f"{HUB}/shop", "quay.io/acme/web:v1", {"shop/web:v1"}),
    ],
)
def test_R38_a_mirror_names_what_stands_below_its_source(source: str, to: str, spec: str, expected: set[str]) -> None:
    assert named(usage(kiel(deployment("default/app", spec), mirrors={source: to}))) == expected


def test_R38_image_stream_names_are_the_other_clusters_own_and_their_digests_count() -> None:
    tag, by_digest = ObjectReference("web:v1", "ImageStreamTag"), ObjectReference(f"web@{A}", "ImageStreamImage")
    whole, begun = (
        ObjectReference(f"{HUB}/shop/web:v2", "DockerImage"),
        ObjectReference("web@sha256:12", "ImageStreamImage"),
    )
    found = kiel(
        build("shop/tag", tag),
        build("shop/digest", by_digest),
        build("shop/spec", whole),
        build("shop/begun", begun),
        image_stream("shop/web", sources={"v1": tag, "v3": ObjectReference(f"{HUB}/shop/web:v3", "DockerImage")}),
    )
    assert named(usage(found)) == {"shop/web:v2", "shop/web:v3", f"@{A}"}
    assert usage(found).tags["shop/web", "v3"] == ("ImageStream shop/web in cluster kiel",)


def test_R38_a_build_that_pushes_here_keeps_the_image_stream() -> None:
    to = [ObjectReference(f"{HUB}/shop/web:v1", "DockerImage"), ObjectReference("db:v1", "ImageStreamTag")]
    found = usage(kiel(*(build(f"shop/b{number}", to=each) for number, each in enumerate(to))))
    assert found.outputs == {"shop/web": ("Build shop/b0 in cluster kiel",)}


def test_R38_objects_without_a_spec_use_nothing_here() -> None:
    bare = [Referrer(kind, Workload(WorkloadMeta("x", "shop", NOW))) for kind in ("Deployment", "Pod", "Build")]
    assert usage(kiel(*bare, deployment("a/b", f"{HUB}/shop/web:v1"))).tags == {
        ("shop/web", "v1"): ("Deployment a/b in cluster kiel",)
    }


def test_R38_running_containers_protect_by_digest() -> None:
    found = usage(kiel(pod("a/b", f"{HUB}/shop/web:v1", running=[f"quay.io/x/y@{A}", f"cri-o://{HUB}/shop/web@{B}"])))
    assert named(found) == {"shop/web:v1", f"@{A}", f"@{B}", f"shop/web@{B}"}


@pytest.mark.parametrize(("age", "behind", "counts"), [(59, 0, True), (61, 0, False), (90, 31, True), (61, -60, False)])
def test_R38_a_finished_pod_has_the_age_that_its_own_clock_gives_it(age: int, behind: int, counts: bool) -> None:
    """A clock that is ahead makes nothing older than this cluster's does."""
    found = usage(kiel(pod("a/b", f"{HUB}/shop/web:v1", phase="Failed", age=age), behind=behind))
    assert bool(found.tags) is counts


def test_R38_a_reference_that_does_not_parse_is_named_with_its_cluster() -> None:
    bad = kiel(deployment("default/app", "Not One"))
    with pytest.raises(
        InvalidReferencesError, match=r"Deployment default/app in cluster kiel, container 'c0': 'Not One'"
    ):
        usage(bad)
    (warning,) = usage(bad, ignore_invalid_refs=True).warnings
    assert "in cluster kiel" in warning


def test_R38_what_follows_a_reference_that_does_not_parse_counts() -> None:
    found = usage(kiel(deployment("a/b", f"{HUB}/a b", f"{HUB}/shop/web@{A}")), ignore_invalid_refs=True)
    user = ("Deployment a/b in cluster kiel",)
    assert (found.digests, found.anywhere) == ({("shop/web", A): user}, {A: user})
    assert len(found.warnings) == 1


def test_R38_names_that_stand_for_nothing_here_are_said_or_left_out() -> None:
    found = usage(
        kiel(
            build("a/kind", ObjectReference("web", "ImageStream")),
            build("a/twice", ObjectReference(f"web@x@{A}", "ImageStreamImage")),
            deployment("a/bare", "web:v1"),
        )
    )
    assert named(found) == set()
    (warning,) = found.warnings
    assert warning.endswith("'web': neither DockerImage nor ImageStreamTag nor ImageStreamImage")


def both(*own: Referrer) -> Analysis:
    cluster = snapshot(image(A), image_stream("shop/web", v1=[A]), *own)
    other = kiel(deployment("shop/web", f"{HUB}/shop/web:v1"))
    return analyse(msgspec.structs.replace(cluster, others=(other,)), rules())


def test_R38_reasons_and_explanations_say_in_which_cluster_something_is_used() -> None:
    assert sentence(revision(both(), "shop/web:v1")) == (
        "the current revision of a tag used in cluster kiel by Deployment shop/web"
    )
    found = both(deployment("shop/own", "registry:5000/shop/web:v1"))
    shown = [*lines(explain(found, "shop/web:v1"))]
    assert "  referenced by Deployment shop/own and used in cluster kiel by Deployment shop/web" in shown


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (Referenced, "referenced by Pod a/b, used in cluster kiel by Job c/d and 1 more"),
        (CurrentOfReferencedTag,
         "the current revision of a tag referenced by Pod a/b, used in cluster kiel by Job c/d and 1 more"),
        (ReferencedInStream,
         "referenced by digest in this image stream by Pod a/b, used in cluster kiel by Job c/d and 1 more"),
    ],
)  # fmt: skip
def test_R38_a_sentence_names_own_users_first_and_counts_what_it_leaves_out(reason: Any, said: str) -> None:
    users = (in_cluster("Job c/d", "kiel"), "Pod a/b", in_cluster("Pod x/y", "bonn"))
    assert sentence(reason(users), 2) == said


def test_R38_several_users_in_one_cluster_are_named_together() -> None:
    users = ("Job a/b", in_cluster("Job c/d", "kiel"), "Pod e/f", in_cluster("Pod g/h", "kiel"))
    assert sentence(Referenced(users), 4) == (
        "referenced by Job a/b, Pod e/f and used in cluster kiel by Job c/d, Pod g/h"
    )


def test_R38_the_hosts_are_those_of_image_streams_and_of_settings() -> None:
    status = ImageStreamStatus("svc:5000/shop/web", "Route.example.org/shop/web")
    found = snapshot(msgspec.structs.replace(image_stream("shop/web"), status=status))
    assert hosts_of(found, ["https://hub.example.org:443", "lb:8443"]) == {
        "svc:5000",
        "route.example.org",
        "hub.example.org",
        "lb:8443",
    }


NOTHING: list[Target] = []


@pytest.mark.parametrize(
    ("form", "text", "targets"),
    [
        ("pull spec", "web:v1", NOTHING),
        ("pull spec", f"web@{A}", [Target(None, None, None, A)]),
        ("pull spec", "quay.io/a/b:v1", NOTHING),
        ("pull spec", f"{HUB}/shop/web:v1", [Target("shop/web", None, "v1", None)]),
        ("pull spec", f"{HUB}/shop/web:v1@{A}", [Target("shop/web", None, "v1", A)]),
        ("DockerImage", f"{HUB}/shop/web", [Target("shop/web", None, None, None)]),
        ("image id", f"{HUB}/shop/web@{A}", [Target("shop/web", None, None, A)]),
        ("image id", A, [Target(None, None, None, A)]),
        ("image id", f"{HUB}/shop/web:v1", NOTHING),
        ("ImageStreamTag", "web:v1", NOTHING),
        ("image stream", "web", NOTHING),
        ("image stream", "web:v1", NOTHING),
        ("ImageStreamImage", f"web@{A}", [Target(None, None, None, A)]),
        ("ImageStreamImage", "web@sha256:12", NOTHING),
        ("value", f"{HUB}/shop/web:v1", [Target("shop/web", None, "v1", None)]),
        ("value", "web", NOTHING),
        ("value", "No Pull Spec", NOTHING),
    ],
)
def test_R38_what_each_form_of_a_reference_names_here(form: Form, text: str, targets: list[Target]) -> None:
    assert NamedHere(kiel()).targets(Reference(form, text, "shop", "place")) == targets


@pytest.mark.parametrize(("form", "text"), [("ImageStreamTag", "web"), ("image stream", "a:b:c"), ("pull spec", "A B")])
def test_R38_what_does_not_parse_is_an_error_in_every_form(form: Form, text: str) -> None:
    with pytest.raises(InvalidPullSpecError):
        NamedHere(kiel()).targets(Reference(form, text, "shop", "place"))
