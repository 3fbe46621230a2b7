"""Checks what can be checked of STYLE: words, line lengths in documents, spelling, commit subjects, links between documents.

python -m tools.check_writing                 every tracked document and module, and the commits of this branch
python -m tools.check_writing --message FILE  the subject of a commit message, for a commit-msg hook
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).resolve().parent.parent
LONGEST_LINE: Final = 120
"""Characters of a line in a document; tables, code blocks and lines of one link are exempt, since they cannot be wrapped."""
LONGEST_SUBJECT: Final = 72
"""Characters of a commit subject, which forges and `git log` cut behind that."""

INSTEAD: Final = {
    r"anew": "again",
    r"by now": "already, since or now",
    r"besides": "also, or in addition to",
    r"(?:is|are|was|were) had": "an active verb",
    r"made sure of": "verified",
    r"gone on with": "resumed",
    r"what is no\b": "name the subject",
    r"that is none": "say what it is",
    r"whatever comes": "name the subject",
    r"as of which": "rewrite the sentence",
    r"of which nothing": "rewrite the sentence",
    r"what comes of age": "objects that cross the age limit",
    r"last word": "re-checked right before each request",
    r"may not be (?:seen|read|written|deleted|used)": "must not, or cannot",
    r"on the wire": "HTTP, request or response",
    r"DECISIONS": "a rule of docs/rules.md, by its number",
    r"PARAMETERS\.md": "README or docs",
}
"""Words that STYLE replaces, as regular expressions, and what to write."""

_WORDS: Final = {
    re.compile(rf"\b{pattern}", re.IGNORECASE if pattern.islower() else 0): use for pattern, use in INSTEAD.items()
}
_SELF: Final = "tools/check_writing.py"


def problems() -> Iterator[str]:
    """Everything that is wrong, each as `file:line: what`."""
    files = _tracked("*.md", "*.py")
    for name in files:
        text = (ROOT / name).read_text(encoding="utf-8")
        if name != _SELF:
            yield from _wrong_words(name, text)
        if name.endswith(".md"):
            yield from _long_lines(name, text)
            yield from _dead_links(name, text)
    yield from _misspelt()
    for subject in _subjects():
        yield from (f"commit {subject!r}: {wrong}" for wrong in wrong_subject(subject))


def wrong_subject(subject: str) -> list[str]:
    """What is wrong with the subject of a commit."""
    wrong = []
    if len(subject) > LONGEST_SUBJECT:
        wrong.append(f"has {len(subject)} characters, at most {LONGEST_SUBJECT} are allowed")
    if subject.endswith("."):
        wrong.append("ends with a period")
    if not subject[:1].isupper():
        wrong.append("does not begin with a capital letter")
    if re.match(r"(?:Have|Let|Had|Added|Fixed|Changed|Fixes|Adds)\b", subject):
        wrong.append("is not in the imperative, such as 'Prefetch list pages'")
    return wrong


def _wrong_words(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, use in _WORDS.items():
            found = pattern.search(line)
            if found is not None:
                yield f"{name}:{number}: {found[0]!r}: write {use}"


def _long_lines(name: str, text: str) -> Iterator[str]:
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif len(line) > LONGEST_LINE and not in_code and not line.lstrip().startswith(("|", "[", "<")):
            yield f"{name}:{number}: {len(line)} characters, at most {LONGEST_LINE}: one sentence per line"


def _dead_links(name: str, text: str) -> Iterator[str]:
    """Links to files and headings of this repository that do not exist."""
    for token in _tokens(text):
        target = token.attrGet("href") if token.type == "link_open" else token.attrGet("src")
        if token.type not in ("link_open", "image") or not isinstance(target, str) or re.match(r"[a-z+]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists():
            yield f"{name}: link to {target}: there is no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"{name}: link to {target}: there is no such heading"


def anchors(text: str) -> set[str]:
    """The anchors of a document, as forges make them: of its headings, and those that it gives itself."""
    given = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    tokens = MarkdownIt().parse(text)
    headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    return given | {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt().enable("table").parse(text):
        yield from token.children or ()


def _misspelt() -> Iterator[str]:
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--config", "pyproject.toml", *_tracked("*.md", "*.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    yield from done.stdout.splitlines()


def _subjects() -> list[str]:
    """The commits of this branch that main does not have; none where git knows no main."""
    for main in ("origin/main", "main"):
        done = subprocess.run(
            ["git", "log", "--no-merges", "--format=%s", f"{main}..HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout.splitlines()
    return []


def _tracked(*patterns: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--message"]:
        subject = Path(arguments[1]).read_text(encoding="utf-8").partition("\n")[0]
        found = [f"{subject!r}: {wrong}" for wrong in wrong_subject(subject)]
    else:
        found = list(problems())
    for each in found:
        print(each)
    if found:
        print(f"{len(found)} problems; docs/glossary.md and CONTRIBUTING.md say how this project writes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
