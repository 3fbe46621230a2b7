"""A tag and what it comes from, `spec.tags[].from`, stay together (R10)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pruner.cluster.metadata import ObjectReference
from pruner.cluster.objects import ImageStream
from tests.builders.objects import HOST, A, B, C, F, analysed, deployment, from_, image, image_stream, kept_by, revision

PROMOTIONS = {
    "an image of another stream": from_("ImageStreamImage", f"app@{A}", "ci"),
    "the beginning of its digest": from_("ImageStreamImage", f"app@{A[:20]}", "ci"),
    "a tag of another stream": from_("ImageStreamTag", "app:tested", "ci"),
    "a pull spec by digest": from_("DockerImage", f"{HOST}/ci/app@{A}"),
    "a pull spec by tag": from_("DockerImage", f"docker://{HOST}/ci/app:tested"),
}


@pytest.mark.parametrize("source", PROMOTIONS)
def test_a_promoted_tag_stays_with_its_source_R10(source: str) -> None:
    ci = image_stream("ci/app", {"tested": [A]}, latest=[F, B])
    prod = image_stream("prod/app", {"v1": [A]}, sources={"v1": PROMOTIONS[source]})
    found = analysed(image(A), image(B), image(F), ci, prod)
    assert kept_by(revision(found, "prod/app:v1")) == "R15"
    assert kept_by(revision(found, "ci/app:tested")) in ("R15", "R17")
    assert {each.name for each in found.plan.images} == {B, F}


def test_a_source_without_a_tag_is_the_latest_R7_R10() -> None:
    prod = image_stream("prod/app", {"v1": [A]}, sources={"v1": from_("DockerImage", f"{HOST}/ci/app")})
    for tag, rule in (("latest", "R15"), ("LATEST", None)):
        found = analysed(image(A), image_stream("ci/app", {tag: [A]}), prod)
        assert kept_by(revision(found, "prod/app:v1")) == rule
        assert kept_by(revision(found, f"ci/app:{tag}")) == rule


@pytest.mark.parametrize("source", PROMOTIONS)
def test_oc_counts_no_sources_of_tags_R10(source: str) -> None:
    ci = image_stream("ci/app", {"tested": [A]})
    prod = image_stream("prod/app", {"v1": [A]}, sources={"v1": PROMOTIONS[source]})
    assert {each.name for each in analysed(image(A), ci, prod, references="oc").plan.images} == {A}


def test_an_older_revision_of_a_promoted_digest_stays_in_the_stream_it_was_promoted_to_R10_R17() -> None:
    prod = image_stream("prod/app", {"v1": [B, A]}, sources={"v1": from_("ImageStreamImage", f"app@{A}", "ci")})
    found = analysed(image(A), image(B), image_stream("ci/app", latest=[A]), prod)
    assert [kept_by(revision(found, "prod/app:v1", number)) for number in (0, 1)] == ["R15", "R17"]
    assert found.plan.empty


def test_a_tag_that_follows_another_of_its_stream_stays_with_it_R10() -> None:
    stream = image_stream("ci/app", {"stable": [F]}, latest=[F], sources={"stable": from_("ImageStreamTag", "latest")})
    assert analysed(image(F), stream).plan.empty


@pytest.mark.parametrize(
    "source",
    [
        from_("DockerImage", "quay.io/library/app:v1"),
        from_("DockerImage", f"quay.io/library/app@{C}"),
        from_("ImageStreamTag", "app:gone", "ci"),
        from_("ImageStreamTag", "app:failed", "ci"),
        from_("ImageStreamTag", "other:v1", "ci"),
        from_("ImageStreamImage", f"app@{C}", "ci"),
        from_("ImageStream", "app", "ci"),
        from_("DockerImage", " "),
    ],
)
def test_a_tag_whose_source_is_not_in_the_cluster_is_decided_by_itself_R10(source: ObjectReference) -> None:
    ci = image_stream("ci/app", {"failed": None}, latest=[B])
    prod = image_stream("prod/app", {"v1": [A]}, sources={"v1": source})
    found = analysed(image(A), image(B), ci, prod)
    assert kept_by(revision(found, "prod/app:v1")) is None
    assert A in {each.name for each in found.plan.images}


DIGESTS = st.sampled_from([A, B, C])
SOURCES = st.one_of(
    st.builds(
        from_, st.just("ImageStreamTag"), st.sampled_from(["v1", "app:v1", "app:v2"]), st.sampled_from(["a", "b"])
    ),
    DIGESTS.map(lambda digest: from_("ImageStreamImage", f"app@{digest}", "a")),
    DIGESTS.map(lambda digest: from_("DockerImage", f"{HOST}/b/app@{digest}")),
    st.just(from_("DockerImage", f"{HOST}/a/app:v2")),
)
HISTORIES = st.dictionaries(st.sampled_from(["v1", "v2"]), st.lists(DIGESTS, max_size=3), min_size=1)


@st.composite
def streams(draw: st.DrawFn, name: str) -> ImageStream:
    histories = draw(HISTORIES)
    sources = draw(st.dictionaries(st.sampled_from([*histories, "v3"]), SOURCES))
    return image_stream(name, histories, sources=sources)


GONE = from_("ImageStreamTag", "app:gone", "b")


@given(streams("a/app"), streams("b/app"), st.integers(0, 2))
@example(image_stream("a/app", v1=[B, A]), image_stream("b/app", v2=[C], sources={"v2": GONE}), 0)
def test_nothing_stays_for_a_tag_that_is_removed_R10(first: ImageStream, second: ImageStream, revisions: int) -> None:
    objects = [image(A), image(B), image(C), first, second, deployment("x/y", f"{HOST}/a/app:v1")]
    plan = analysed(*objects, revisions=revisions).plan
    removed = {(change.stream, tag) for change in plan.streams for tag in change.removed_tags}
    for stream in (first, second):
        sources = {tag.name: tag.from_ for tag in (stream.spec.tags if stream.spec else None) or () if tag.from_}
        histories = {history.tag: history.items for history in stream.histories}
        for gone in [tag for tag in sources if (stream.name, tag) in removed]:
            # With the tag goes what it came from, unless something else keeps that.
            others = {tag: source for tag, source in sources.items() if tag != gone}
            without = image_stream(stream.name, histories, sources=others)
            again = analysed(*(without if each is stream else each for each in objects), revisions=revisions).plan
            assert again == plan
