"""What a tenant writes and OpenShift cannot use is a note, and never keeps a cluster from being pruned (R9, R10)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pruner.analysis import find_usage
from pruner.analysis.usage import Usage
from pruner.cluster.metadata import ObjectReference
from pruner.errors import InvalidReferencesError
from tests.builders.objects import (
    A,
    B,
    Object,
    build,
    controller,
    deployment,
    digest,
    from_,
    image_stream,
    pod,
    rules,
    snapshot,
)

ROOT = Path(__file__).parents[2]
WEB = "registry:5000/shop/web"


def usage(*objects: Object, references: str = "extended", **asked: object) -> Usage:
    return find_usage(snapshot(*objects), rules(references=references, **asked))


def trigger(name: str, kind: str = "ImageStreamTag", **more: object) -> dict[str, object]:
    return {"from": {"kind": kind, "name": name, **more}, "fieldPath": "spec.template.spec.containers[0].image"}


# --- the annotation image.openshift.io/triggers -----------------------------------------------------------------------

USELESS_ANNOTATIONS = {
    "a template": "{{ .Values.triggers }}",
    "quotes of YAML": "[{'from':{'kind':'ImageStreamTag','name':'web:v1'}}]",
    "null": "null",
    "a map": "{}",
    "a number": "7",
    "cut off": '[{"from":',
    "an item that is null": "[null]",
    "an item that is text": '["web:v1"]',
    "an item without from": "[{}]",
    "a from that is a number": '[{"from":5}]',
    "a name that is a number": '[{"from":{"kind":"ImageStreamTag","name":1e999}}]',
    "a name of a namespace": json.dumps([trigger("shop/web:v1")]),
    "a name without a tag": json.dumps([trigger("web")]),
    "a name with a digest": json.dumps([trigger(f"web@{A}")]),
    "another kind": json.dumps([trigger("web:v1", "ImageStream")]),
    "no kind": json.dumps([trigger("web:v1", "")]),
    "nested without end": "[" * 100_000,
    "nested": '[{"x":' + "[" * 100_000 + "]" * 100_000 + "}]",
    "a large number": "[" + "9" * 100_000 + "]",
}


@pytest.mark.parametrize("case", USELESS_ANNOTATIONS)
@pytest.mark.parametrize("ignored", [False, True])
def test_an_annotation_that_triggers_nothing_is_a_note_R10(case: str, ignored: bool) -> None:
    found = usage(deployment("shop/web", f"{WEB}:v2", triggers=USELESS_ANNOTATIONS[case]), ignore_invalid_refs=ignored)
    assert list(found.tags) == [("shop/web", "v2")]
    (note,) = found.warnings
    assert note.startswith("ignored: Deployment shop/web, annotation image.openshift.io/triggers: ")
    assert len(note) < 500
    assert "\n" not in note


@pytest.mark.parametrize("case", USELESS_ANNOTATIONS)
def test_oc_reads_no_annotation_R10(case: str) -> None:
    assert usage(deployment("shop/web", triggers=USELESS_ANNOTATIONS[case]), references="oc") == Usage()


@pytest.mark.parametrize(
    "annotation",
    [
        json.dumps([trigger("web:v1")]),
        json.dumps([trigger("web:v1", paused=True)]),
        json.dumps([{"From": {"KIND": "ImageStreamTag", "Name": "web:v1", "namespace": None}}]),
        json.dumps([trigger("web:v1", other=[1, 2.5, None])]),
        json.dumps([trigger("web:v1", other=0)]).replace('"other": 0', f'"other": {"9" * 10_000}'),
        json.dumps([None, trigger("web:v1"), 5]),
        json.dumps([trigger("web:v1")]).replace("spec", "\\ud800"),
    ],
)
def test_what_openshift_can_use_of_an_annotation_is_used_R10(annotation: str) -> None:
    assert list(usage(deployment("shop/x", triggers=annotation)).tags) == [("shop/web", "v1")]


def test_a_trigger_with_an_empty_tag_is_one_of_latest_R10() -> None:
    assert list(usage(deployment("shop/x", triggers=json.dumps([trigger("web:")]))).tags) == [("shop/web", "latest")]


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["from", "name", "kind", "x"]), inner),
    max_leaves=12,
)


@given(st.one_of(st.text(max_size=60), VALUES.map(json.dumps), VALUES.map(lambda value: json.dumps([value]))))
@example("[" * 2000 + "]" * 2000)
def test_no_annotation_ends_a_run_or_takes_a_use_away_R10(annotation: str) -> None:
    found = usage(deployment("shop/web", f"{WEB}:v2", triggers=annotation))
    assert ("shop/web", "v2") in found.tags
    assert [note for note in found.warnings if len(note) >= 1000] == []


# --- sources and triggers that OpenShift resolves itself --------------------------------------------------------------

FOREIGN = [
    from_("ImageStream", "web"),
    from_("", "web:v1"),
    from_("imagestreamtag", "web:v1"),
    from_("ImageStreamTag", "shop/web:v1"),
    from_("ImageStreamImage", f"web:v1@{A}"),
    from_("ImageStreamImage", f"shop/web@{A}"),
]


@pytest.mark.parametrize("source", FOREIGN, ids=lambda source: f"{source.kind}-{source.name[:12]}")
@pytest.mark.parametrize("references", ["oc", "extended"])
@pytest.mark.parametrize("kind", ["Build", "BuildConfig"])
def test_a_source_that_oc_ignores_is_a_note_R8_R9(source: ObjectReference, references: str, kind: str) -> None:
    found = usage(build("ci/app", source, kind=kind), deployment("x/y", f"{WEB}:v1"), references=references)
    assert list(found.tags) == [("shop/web", "v1")]
    assert found.digests == {}
    (note,) = found.warnings
    assert note.startswith(f"ignored: {kind} ci/app, spec.strategy.sourceStrategy.from: {source.name!r}: ")


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
@pytest.mark.parametrize("kind", ["DockerImage", "ImageStreamTag", "ImageStreamImage", "", "Other"])
def test_a_blank_source_uses_nothing_R8(kind: str, name: str) -> None:
    assert usage(build("ci/app", from_(kind, name))) == Usage()


RESOLVED_BY_OPENSHIFT: dict[str, Callable[[ObjectReference], Object]] = {
    "a trigger of a DeploymentConfig": lambda source: controller("DeploymentConfig", "ci/app", changes=[source]),
    "a trigger of a BuildConfig": lambda source: build("ci/app", kind="BuildConfig", changes=[source]),
    "a tag of an image stream": lambda source: image_stream("ci/app", sources={"v1": source}),
}


@pytest.mark.parametrize("place", RESOLVED_BY_OPENSHIFT)
@pytest.mark.parametrize("source", [*FOREIGN, from_("ImageStreamTag", "a:b:c"), from_("DockerImage", "host.io/UP/x")])
def test_what_openshift_cannot_resolve_is_a_note_R10(place: str, source: ObjectReference) -> None:
    (note,) = usage(RESOLVED_BY_OPENSHIFT[place](source)).warnings
    assert repr(source.name) in note


# --- abbreviated digests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [A[:20], A[7:20], A[:8], A[7:9]])
def test_the_beginning_of_a_digest_uses_the_revisions_that_begin_so_R8(text: str) -> None:
    assert not B.startswith(text)
    stream = image_stream("shop/web", v1=[A, B])
    found = usage(
        stream, image_stream("other/web", v1=[A]), build("shop/app", from_("ImageStreamImage", f"web@{text}"))
    )
    assert list(found.digests) == [("shop/web", A)]
    assert found.warnings == ()


def test_the_beginning_of_no_digest_is_a_note_R8() -> None:
    found = usage(image_stream("shop/web", v1=[A]), build("shop/app", from_("ImageStreamImage", "web@sha256:zz")))
    assert found.digests == {}
    assert len(found.warnings) == 1


def test_oc_takes_the_beginning_of_a_digest_for_a_whole_one_R8() -> None:
    stream = image_stream("shop/web", v1=[A])
    found = usage(stream, build("shop/app", from_("ImageStreamImage", f"web@{A[:20]}")), references="oc")
    assert list(found.digests) == [("shop/web", A[:20])]


# --- docs/faults.md ---------------------------------------------------------------------------------------------------


def test_the_documentation_has_the_notes_as_they_are_R9() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    section = text.partition("## References that cannot be understood")[2].partition("\n## ")[0]
    written = re.findall(r"^\| `(ignored: .*?)` \| ", section, re.MULTILINE)
    found = usage(
        image_stream("shop/web", v1=[A]),
        deployment("shop/web", "quay.io/a/b:1", triggers="{{ .Values.triggers }}"),
        deployment("shop/web", "quay.io/a/b:1", triggers=json.dumps([trigger("shop/web:v1")])),
        build("shop/app", from_("Unknown", "x")),
        build("shop/app", from_("ImageStreamImage", "web@12")),
    )
    assert sorted(written) == list(found.warnings)
    with pytest.raises(InvalidReferencesError) as raised:
        usage(deployment("shop/web", "a b"))
    assert f"```\n{raised.value}\n```" in section


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["a", "a/", "a-", "a.", "a:", "a__", "h.io/", "@", "sha256:", " ", "[", "docker://"])
def test_a_pull_spec_of_a_megabyte_is_refused_at_once_R9(part: str) -> None:
    with pytest.raises(InvalidReferencesError) as raised:
        usage(deployment("shop/web", part * (1_000_000 // len(part)) + "!"), pod("x/y", running=[part * 100_000 + "!"]))
    assert len(str(raised.value)) < 2000


def test_many_references_that_cannot_be_understood_are_a_bounded_list_of_notes_R9() -> None:
    found = usage(deployment("shop/web", *(f"a {number}" for number in range(100_000))), ignore_invalid_refs=True)
    assert len(found.warnings) == 101
    assert found.warnings[-1] == "ignored: 99900 more references that cannot be understood"


def test_the_longest_digests_and_hosts_are_no_problem_R7() -> None:
    sha512 = digest("x", "sha512")
    host = ".".join(["h" * 63] * 4)
    assert list(usage(deployment("x/y", f"{host}/shop/web@{sha512}")).digests) == [("shop/web", sha512)]


@given(st.text(alphabet="ab/:@.-_ \t\n[]{}$%?#\x00é\u202e", max_size=40))
def test_any_text_is_a_use_or_an_error_and_never_a_traceback_R9(text: str) -> None:
    objects = (
        deployment("shop/a", text),
        pod("shop/b", running=[text]),
        *(build("ci/c", from_(kind, text)) for kind in ("DockerImage", "ImageStreamTag", "ImageStreamImage", text)),
        image_stream("shop/d", {text: [text]}, sources={text: from_("ImageStreamTag", text)}),
    )
    for references in ("oc", "extended"):
        found = usage(*objects, references=references, ignore_invalid_refs=True)
        assert [warning for warning in found.warnings if "\n" in warning] == []
