"""The recipes of docs/retention.md, executed: each decides about its tags as its table says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pruner.cluster.objects import TagReference
from pruner.settings.retention import retention_rules
from tests.builders.objects import analysed, digest, from_, image, image_stream, item

ROOT = Path(__file__).parents[2]
DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Tag:
    """A row of a recipe's table; `moved` in days ago."""

    name: str
    moved: int
    declared: str
    kept: bool

    @property
    def image(self) -> str:
        return digest(self.name)

    @property
    def in_stream(self) -> str:
        """The tag's name; that of a signature holds the digest of its subject."""
        subject = self.name.removeprefix("signature of ")
        return self.name if subject == self.name else f"sha256-{digest(subject)[7:]}.sig"


def recipes() -> list[tuple[str, str, list[Tag]]]:
    text = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8").partition("## Recipes")[2]
    found = []
    for part in text.split("\n### ")[1:]:
        rules = re.search(r"```yaml\n(.*?)```", part, re.DOTALL)
        assert rules is not None, part
        lines = [line.strip("| ").split("|") for line in part.splitlines() if line.startswith("| ")]
        header, *rows = [[cell.strip() for cell in line] for line in lines]
        cells = [dict(zip(header, row, strict=True)) for row in rows]
        tags = [
            Tag(
                row["tag"],
                int(row["moved"]),
                row.get("declared", ""),
                {"kept": True, "expired": False}[row["decision"]],
            )
            for row in cells
        ]
        found.append((part.partition("\n")[0], rules[1], tags))
    return found


RECIPES = recipes()


def spec_tag(tag: Tag) -> TagReference | None:
    kind, _, name = tag.declared.partition(" ")
    if not kind:
        return None
    return TagReference(tag.name, from_(kind, f"web:{name}" if kind == "ImageStreamTag" else name))


@pytest.mark.parametrize(("rules", "tags"), [recipe[1:] for recipe in RECIPES], ids=[recipe[0] for recipe in RECIPES])
def test_R30_the_recipe_decides_as_its_table_says(rules: str, tags: list[Tag]) -> None:
    stream = image_stream(
        "shop/web",
        {tag.in_stream: [item(tag.image, tag.moved * DAY)] for tag in tags},
        sources={tag.name: declared for tag in tags if (declared := spec_tag(tag)) is not None},
    )
    images = [image(tag.image, age=tag.moved * DAY) for tag in tags]
    analysis = analysed(*images, stream, revisions=3, retention=retention_rules(yaml.safe_load(rules)))
    removed = {tag for change in analysis.plan.streams for tag in change.removed_tags}
    assert removed == {tag.in_stream for tag in tags if not tag.kept}
    assert {image.name for image in analysis.plan.images} == {tag.image for tag in tags if not tag.kept}


def test_there_is_a_recipe_for_every_habit_and_each_keeps_and_expires_something() -> None:
    assert len(RECIPES) == 7
    for name, _, tags in RECIPES:
        assert {tag.kept for tag in tags} == {True, False}, name
