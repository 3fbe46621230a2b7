"""docs/rules.md against the code: every rule has a section,
code, a test and, where it decides, the sentences that are shown.
"""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from tests.unit.test_reasons import ROWS, STREAM_ROWS

ROOT = Path(__file__).parents[2]
RULES = [f"R{number}" for number in range(1, 40)]
SECTIONS = {
    title.partition(":")[0] if title.startswith("R") else "approval": text
    for title, text in re.findall(
        r"^<a id=\"[a-z0-9]+\"></a>\n## ([^\n]+)\n(.*?)(?=^#|^<a id|\Z)",
        (ROOT / "docs" / "rules.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
}
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pruner").rglob("*.py"))
TESTS = re.findall(
    r"def (test_\w+)", "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
)


def test_the_sections_are_those_of_the_rules() -> None:
    assert [*SECTIONS] == [*RULES[:23], "approval", *RULES[23:]]


def test_each_section_has_an_anchor_of_its_number() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    anchors = re.findall(r"^<a id=\"(\w+)\"></a>\n## (R\d+)", text, re.MULTILINE)
    assert [rule.lower() for _, rule in anchors] == [anchor for anchor, _ in anchors]
    assert len(anchors) == len(RULES)


@pytest.mark.parametrize("rule", SECTIONS)
def test_each_section_names_code_that_exists(rule: str) -> None:
    (named,) = re.findall(r"^In the code: `([\w.:]+)`\.$", SECTIONS[rule], re.MULTILINE)
    assert pkgutil.resolve_name(named) is not None


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_cited_in_code_and_by_a_test(rule: str) -> None:
    assert re.search(rf"\b{rule}\b", SOURCES)
    assert any(rule in name.split("_") for name in TESTS)


@pytest.mark.parametrize("rule", SECTIONS)
def test_each_section_shows_the_reasons_of_its_rule(rule: str) -> None:
    shown = set(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", SECTIONS[rule], re.MULTILINE))
    examples = {(row.tag, row.sentence) for row in (*ROWS, *STREAM_ROWS) if row.rule == rule}
    assert {tag for tag, _ in shown} == {tag for tag, _ in examples}
    assert shown <= examples
