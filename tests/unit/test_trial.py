"""Trying retention rules on tags that are listed somewhere."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pruner.cli import main
from pruner.console import plain_console
from pruner.errors import SettingsError
from pruner.report import Report
from pruner.report.jsonl import encode_report
from pruner.settings.retention import retention_rules
from pruner.trial import Listed, Trial, from_list, of_report, of_stream, print_trial, try_rules
from tests.builders.objects import HOST, NOW, A, B, analysed, digest, image, image_stream, item, pod, rule
from tests.servers import ROOT
from tests.unit.test_retention_recipes import RECIPES, Tag, spec_tag

DAY = 24 * 60
PULL_REQUESTS = rule("pull requests", streams=["shop/*"], tags=["pr-*"], keep_younger_than="14d")
NEWEST = rule("newest", tags=["sha-*"], keep_newest=1)


def decided(trial: Trial) -> dict[str, tuple[str, str | None]]:
    return {f"{tag.stream}:{tag.tag}".lstrip(":"): (tag.decision, tag.rule) for tag in trial.tags}


def why(trial: Trial) -> dict[str, str]:
    return {tag.tag: tag.why for tag in trial.tags}


def listed(text: str) -> Listed:
    return from_list(text, NOW, "tags")


def test_a_list_names_image_streams_tags_and_when_they_were_moved_R30() -> None:
    old, young = (NOW - timedelta(days=days) for days in (20, 2))
    text = f"""
    # pull requests
    shop/web:pr-1 2d
    shop/web:pr-2\t{old:%Y-%m-%dT%H:%M:%SZ}   # an old one
    shop/web:pr-3, {young:%Y-%m-%dT%H:%M:%S}+00:00
    shop/web:pr-4 20160
    data/etl:pr-1 90d
    """
    trial = try_rules([PULL_REQUESTS], listed(text))
    assert decided(trial) == {
        "data/etl:pr-1": ("kept", None),
        "shop/web:pr-1": ("kept", "pull requests"),
        "shop/web:pr-2": ("expired", "pull requests"),
        "shop/web:pr-3": ("kept", "pull requests"),
        "shop/web:pr-4": ("expired", "pull requests"),
    }
    assert (trial.expired, trial.idle, trial.notes) == (2, (), ())


def test_a_tag_without_an_image_stream_is_matched_by_the_tags_of_rules_R29() -> None:
    trial = try_rules([PULL_REQUESTS, NEWEST], listed("pr-1 20d\npr-2 1d\nsha-1 1d\nlatest"))
    assert decided(trial) == {
        "pr-1": ("expired", "pull requests"),
        "pr-2": ("kept", "pull requests"),
        "sha-1": ("kept", "newest"),
        "latest": ("kept", None),
    }
    assert trial.notes[0].startswith("1 tag without a time: taken for moved long ago")
    assert trial.notes[1:] == ("tags without an image stream are matched by the tags of rules alone",)


def test_tags_without_a_time_are_ordered_by_name_as_in_a_cluster_R30() -> None:
    trial = try_rules([NEWEST], listed("sha-2\nsha-1\nsha-3"))
    assert decided(trial)["sha-1"] == ("kept", "newest")
    assert trial.expired == 2


def test_a_rule_that_matches_none_of_the_tags_is_named_R29() -> None:
    trial = try_rules([PULL_REQUESTS, NEWEST], listed("sha-1 1d"))
    assert trial.idle == ("pull requests",)


@pytest.mark.parametrize(
    ("asked", "tag", "said"),
    [
        ({"keep_younger_than": "1d"}, "x 2d", "it was moved 1440 minutes ago or earlier"),
        ({"keep_newest": 0}, "x 2d", "it is not among the newest 0 tags of the rule"),
        ({"keep_newest": 1, "order": "semver"}, "x 2d", "it is no version"),
        ({"keep_newest": 1, "order": "semver"}, "1.0.0-rc.1 2d",
         "rc.1 makes it a pre-release or a variant that is not counted"),
        ({"keep_newest": 0, "order": "semver", "prereleases": True}, "1.0.0-rc.1 2d",
            "it is not among the highest 0 versions of the rule"),
        ({"keep_newest": 0, "order": "semver", "variants": ["alpine"]}, "1.0.0-alpine 2d",
            "it is not among the highest 0 versions of the rule"),
        ({"keep_younger_than": "1d", "keep_newest": 0}, "x 2d",
            "it was moved 1440 minutes ago or earlier, and it is not among the newest 0 tags of the rule"),
    ],
)  # fmt: skip
def test_it_says_why_none_of_the_conditions_keeps_a_tag_R30(asked: dict[str, Any], tag: str, said: str) -> None:
    (found,) = try_rules([rule(**asked)], listed(tag)).tags
    assert (found.decision, found.why) == ("expired", f"{said} (R30)")


def test_every_line_that_is_wrong_is_named() -> None:
    with pytest.raises(SettingsError) as raised:
        listed("shop/web:v1\na:b\nv1 soon\nv 1\nshop/web:v1 3d\n-x\nshop/web/deep:v1")
    said = [str(problem) for problem in raised.value.problems]
    assert [line.partition(":")[0] for line in said] == [f"tags, line {number}" for number in (2, 3, 5, 6, 7)]
    assert "'soon' is neither an age such as 14d nor a time" in said[1]
    assert "'v1' is on line 1 too" in said[2]


def test_of_very_many_wrong_lines_the_first_hundred_are_named() -> None:
    with pytest.raises(SettingsError) as raised:
        listed("!\n" * 250)
    assert len(raised.value.problems) == 101
    assert str(raised.value.problems[-1]) == "tags: 150 more lines"


STREAM = {
    "kind": "ImageStream",
    "metadata": {"name": "web", "namespace": "shop", "uid": "1"},
    "spec": {"tags": [{"name": "pr-2", "from": {"kind": "DockerImage", "name": "quay.io/a/b"}}, {"name": "pr-3"}]},
    "status": {
        "tags": [
            {"tag": tag, "items": [{"image": digest(tag), "created": f"{NOW - timedelta(days=20):%Y-%m-%dT%H:%M:%SZ}"}]}
            for tag in ("pr-1", "pr-2")
        ]
        + [{"tag": "pr-4", "items": None}]
    },
}


@pytest.mark.parametrize("value", [STREAM, [STREAM], {"kind": "List", "items": [STREAM]}], ids=["one", "array", "list"])
def test_image_streams_as_oc_prints_them_are_tried_with_their_spec_tags_R32(value: object) -> None:
    trial = try_rules([PULL_REQUESTS], listed(json.dumps(value)))
    assert decided(trial) == {
        "shop/web:pr-1": ("expired", "pull requests"),
        "shop/web:pr-2": ("kept", "pull requests"),
        "shop/web:pr-4": ("kept", None),
    }
    assert why(trial)["pr-2"].startswith("its tag imports from another registry")
    assert why(trial)["pr-4"] == "it has no revisions (R29)"


@pytest.mark.parametrize("text", ["[1]", '{"items": 3}', "{", '{"metadata": {"name": "x"}}', '[{"kind": "Pod"}]'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="tags: "):
        listed(text)


def test_an_attached_tag_goes_with_its_subject_or_is_kept_with_it_R35() -> None:
    gone, kept = digest("gone"), digest("kept")
    tags = {"sha-2": [item(kept, 5)], "sha-1": [item(gone, 9)], "also": [item(kept, 9)]}
    signatures = {f"{each.replace(':', '-')}.sig": [item(digest(f"of {each}"), 9)] for each in (gone, kept)}
    trial = try_rules([NEWEST], of_stream(image_stream("shop/web", {**tags, **signatures}), NOW))
    found = decided(trial)
    assert found["shop/web:sha-1"] == ("expired", "newest")
    assert [found[f"shop/web:{name}"] for name in signatures] == [("expired", None), ("kept", None)]
    assert why(trial)[next(iter(signatures))] == f"attached to {gone}, and pruned with it (R35)"


def test_a_plan_says_what_refers_to_the_image_of_an_expired_tag_R31() -> None:
    used = {"pr-1": [item(A, 90 * DAY)], "pr-2": [item(B, 90 * DAY), item(A, 100 * DAY)]}
    analysis = analysed(
        image(A), image(B), image_stream("shop/web", used), pod("shop/run", f"{HOST}/shop/web:pr-1"), revisions=1
    )
    trial = try_rules([PULL_REQUESTS], of_report(Report.of(analysis)))
    assert decided(trial) == {
        "shop/web:pr-1": ("expired", "pull requests"),
        "shop/web:pr-2": ("expired", "pull requests"),
    }
    assert {tag.tag: tag.used_by for tag in trial.tags} == {"pr-1": ("Pod shop/run",), "pr-2": ()}
    assert trial.as_of == analysis.plan.as_of


def test_a_plan_without_decisions_leaves_tags_out_whose_current_revision_it_does_not_name() -> None:
    tags = {"pr-1": [item(B, 90 * DAY), item(A, 100 * DAY)]}
    plan = analysed(image(A), image(B), image_stream("shop/web", tags), revisions=1).plan
    found = of_report(Report(plan=plan))
    assert found.streams == ()
    assert any(note.startswith("1 tag left out") for note in found.notes)


@pytest.mark.parametrize(("text", "tags"), [recipe[1:] for recipe in RECIPES], ids=[recipe[0] for recipe in RECIPES])
def test_a_trial_on_the_image_stream_of_a_recipe_agrees_with_its_table_but_for_use_R31(
    text: str, tags: list[Tag], tmp_path: Path
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    sources = {tag.name: declared for tag in tags if (declared := spec_tag(tag)) is not None}
    promoted = {tag.declared.rpartition(" ")[2] for tag in tags if tag.declared.startswith("ImageStreamTag")}
    stream = image_stream(
        "shop/web", {tag.in_stream: [item(tag.image, tag.moved * DAY)] for tag in tags}, sources=sources
    )
    trial = try_rules(retention_rules(str(path)), of_stream(stream, NOW))
    found = {tag.tag for tag in trial.tags if tag.decision == "expired"}
    assert found - promoted == {tag.in_stream for tag in tags if not tag.kept}


# --- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: str | Path, text: str = "") -> Result:
    return CliRunner().invoke(main, ["retention", "try", *map(str, arguments)], input=text)


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text("- {name: previews, tags: ['pr-*'], keep_younger_than: 14d}\n", encoding="utf-8")
    return path


def test_it_ends_with_0_whatever_expires(rules_file: Path) -> None:
    done = run("--file", rules_file, "--tags", "-", text="pr-1 20d\npr-2 2d\n")
    assert done.exit_code == 0, done.stderr
    assert "1 of 2 tags expire by 1 rule" in done.stdout
    assert "An expired tag is kept for as long as something refers to it" in done.stdout


def test_it_writes_json(rules_file: Path) -> None:
    done = run(
        "--file", rules_file, "--tags", "-", "--as-of", "2026-01-01T00:00:00Z", "--json", text="shop/web:pr-1 20d"
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {
        "as_of": "2026-01-01T00:00:00Z",
        "rules": ["previews"],
        "tags": [
            {
                "stream": "shop/web",
                "tag": "pr-1",
                "moved": "2025-12-12T00:00:00Z",
                "rule": "previews",
                "decision": "expired",
                "why": "it was moved 20160 minutes ago or earlier (R30)",
                "used_by": [],
            }
        ],
        "idle": [],
        "notes": [],
    }


def test_without_tags_the_rules_are_checked(rules_file: Path) -> None:
    done = run("--file", rules_file)
    assert (done.exit_code, done.stdout) == (0, "| 1 rule without mistakes: previews\n")


def test_all_mistakes_of_the_rules_are_listed_with_name_and_position_R29(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("- {name: a, kep: all}\n- {tags: 'x y', keep: all}\n- {name: c, keep: all}\n", encoding="utf-8")
    done = run("--file", path, "--tags", "-", text="pr-1")
    assert done.exit_code == 2
    said = done.stderr.splitlines()
    assert len(said) == 3
    assert said[0].endswith("rule 1 ('a'): there is no key 'kep', did you mean 'keep'?")
    assert "rule 1 ('a'): has no condition" in said[1]
    assert "rule 2: tags 'x y' is not a pattern" in said[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tags", "a", "--plan", "b"), "exclude each other"),
        (("--stream", "web"), "--stream takes NAMESPACE/NAME, not 'web'"),
        (("--stream", "a/b:c"), "--stream takes NAMESPACE/NAME, not 'a/b:c'"),
        (("--tags", "/nonexistent/tags"), "/nonexistent/tags: cannot be read: No such file or directory"),
    ],
)
def test_wrong_options_are_said(rules_file: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run("--file", rules_file, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_file_that_is_not_text_is_refused(rules_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "tags"
    path.write_bytes(b"\xff\xfe\x00")
    done = run("--file", rules_file, "--tags", path)
    assert done.exit_code == 2
    assert "is not UTF-8" in done.stderr


def test_a_plan_that_cannot_be_read_is_named(rules_file: Path, tmp_path: Path) -> None:
    done = run("--file", rules_file, "--plan", tmp_path / "absent")
    assert done.exit_code == 1
    assert done.stderr == f"error: {tmp_path / 'absent'}: cannot be read: No such file or directory\n"


def test_a_plan_is_tried_by_its_file(rules_file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.jsonl"
    analysis = analysed(
        image(A), image_stream("shop/web", {"pr-1": [item(A, 90 * DAY)]}), pod("a/b", f"{HOST}/shop/web:pr-1")
    )
    plan.write_bytes(b"".join(encode_report(analysis)))
    done = run("--file", rules_file, "--plan", plan)
    assert done.exit_code == 0, done.stderr
    assert "Pod a/b" in done.stdout


def test_texts_of_a_list_cannot_command_a_terminal() -> None:
    shown = io.StringIO()
    trial = try_rules([rule("##vso[x]", keep_newest=0)], listed("v1"))
    print_trial(trial, plain_console(file=shown, width=200))
    assert "##" not in shown.getvalue()
    assert "\\u{23}#vso[x]" in shown.getvalue()


def documented_mistakes() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").partition("## Retention rules")[2]
    rows = re.findall(r"^\| `(- \{.*?\})` \| `(.*)` \|$", text.partition("\n## ")[0], re.MULTILINE)
    assert len(rows) > 5
    return rows


@pytest.mark.parametrize(("rules", "message"), documented_mistakes())
def test_the_documentation_has_the_messages_of_mistakes_in_rules_R29(rules: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rules, encoding="utf-8")
    done = run("--file", path)
    assert done.exit_code == 2
    assert f"error: {path}: {message}" in done.stderr.splitlines()
