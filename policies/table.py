"""Writes the table of docs/policies.md from the rules.

python -m policies.table            rewrite it
python -m policies.table --check    exit 1 where it differs
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from policies.rules import RULES

DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "policies.md"
BEGIN, END = "<!-- generated from policies/rules.py -->\n", "<!-- end of what is generated -->\n"


def table() -> str:
    lines = ["| rule | level | what it demands | option | takes | default |", "|---|---|---|---|---|---|"]
    for rule in RULES:
        first = f"| `{rule.name}` | {rule.level} | {rule.about} "
        options = [
            f"| `{name}`: {option.about} | {_type(option.schema)} | {_default(option.schema)} |"
            for name, option in rule.options.items()
        ] or ["| | | |"]
        lines += [first + options[0], *("| | | " + option for option in options[1:])]
    return "\n".join(lines) + "\n"


def _type(schema: dict[str, object]) -> str:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    limits = [
        f"{words} {schema[name]}" for name, words in (("minimum", "at least"), ("maximum", "at most")) if name in schema
    ]
    return ", ".join([" or ".join(map(str, kinds)), *limits])


def _default(schema: dict[str, object]) -> str:
    default = schema.get("default")
    return "none" if default in (None, []) else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def rewritten(text: str) -> str:
    """The document with its table generated again."""
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


def main() -> int:
    text = DOCUMENT.read_text(encoding="utf-8")
    new = rewritten(text)
    if new == text:
        return 0
    if "--check" in sys.argv:
        sys.stderr.write("docs/policies.md: not what policies/rules.py says; run python -m policies.table\n")
        return 1
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
