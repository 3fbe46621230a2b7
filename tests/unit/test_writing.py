"""The check of writing: what it finds, and what it accepts."""

from __future__ import annotations

import pytest

from tools.check_writing import INSTEAD, anchors, wrong_lines, wrong_subject, wrong_words


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("The plan is made anew.", "anew"),
        ("Used by now, or gone.", "by now"),
        ("See DECISIONS R9.", "DECISIONS"),
        ("What is no digest is no blob.", "What is no"),
        ("as issue 8 asks", "issue 8"),
    ],
)
def test_a_word_with_a_better_one_is_found_with_its_line(line: str, word: str) -> None:
    (found,) = wrong_words("page.md", f"Fine.\n{line}\n")
    assert found.startswith(f"page.md:2: {word!r}: write ")


@pytest.mark.parametrize("line", ["canewood", "decisions are recorded", "stand by nowhere", "also_needed: dict"])
def test_words_that_only_look_like_one_are_fine(line: str) -> None:
    assert list(wrong_words("page.md", line)) == []


def test_each_word_has_a_replacement() -> None:
    assert INSTEAD
    assert [word for word, instead in INSTEAD.items() if not instead] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("word " * 30, "2: 149 characters"),
        ("- " + "word " * 30, "2: 151 characters"),
        ("One sentence. Another one.", "2: two sentences"),
        ("Is it? Yes.", "2: two sentences"),
    ],
)
def test_long_lines_and_two_sentences_are_found(text: str, problem: str) -> None:
    (found,) = wrong_lines("page.md", f"\n{text.rstrip()}\n")
    assert found.startswith(f"page.md:{problem}")


@pytest.mark.parametrize(
    "text",
    [
        "One sentence.\nAnother one.",
        "Of objects, e.g. Pods.",
        "Versions 1.2. and `a. B` in code.",
        "```\n" + "word " * 30 + ". Word\n```",
        "    " + "word " * 30,
        "| a | b |\n|---|---|\n| " + "word " * 30 + ". Word | |",
        "[" + "a" * 90 + "](https://example.org/" + "b" * 60 + ")",
    ],
)
def test_code_tables_and_links_may_be_long(text: str) -> None:
    assert list(wrong_lines("page.md", text)) == []


@pytest.mark.parametrize(
    "subject", ["Prefetch list pages", "Have a look", "prefetch list pages", "Prefetch list pages.", "P" + "x" * 72]
)
def test_subjects(subject: str) -> None:
    assert bool(wrong_subject(subject)) == (subject != "Prefetch list pages")


def test_anchors_are_those_of_forges() -> None:
    assert anchors('# Text of a cluster is data\n\n<a id="r1"></a>\n## R1: The `kinds`\n') == {
        "text-of-a-cluster-is-data",
        "r1",
        "r1-the-kinds",
    }
