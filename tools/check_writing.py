"""Check what can be checked of how this project writes: words, lines, spelling, links, commit subjects.

python -m tools.check_writing                 every tracked document and module, and the commits of this branch
python -m tools.check_writing FILE...         these files only
python -m tools.check_writing --message FILE  the subject of a commit message, for a commit-msg hook
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).resolve().parent.parent
LONGEST_LINE: Final = 120
"""Characters of a line in a document; tables, code and lines
that are one link are exempt, since they cannot be wrapped."""
LONGEST_SUBJECT: Final = 72
"""Characters of a commit subject; forges and `git log` cut longer ones."""

INSTEAD: Final = {
    r"anew\b": "again",
    r"by now\b": "already, since or now",
    r"by then\b": "in the meantime, or the event",
    r"besides\b": "also, or in addition to",
    r"(?:is|are|was|were) had\b": "an active verb",
    r"made sure of\b": "verified",
    r"g(?:o|oes|one|oing) on with\b": "resume, or continue",
    r"what (?:is|are) no\b": "what the value is, with its name as the subject",
    r"(?:that|which) (?:is|are) none\b": "what the value is",
    r"as of which\b": "a sentence of its own",
    r"of which nothing\b": "a sentence of its own",
    r"whatever comes\b": "the subject by its name",
    r"what comes of age\b": "objects that cross the age limit",
    r"last word\b": "re-checked right before each request",
    r"may not be (?:seen|read|written|deleted|used)\b": "must not, or cannot",
    r"rather means\b": "usually means",
    r"left alone\b": "skipped, kept or unchanged",
    r"one's own\b": "your own",
    r"of (?:one's|their) own making\b": "their own",
    r"(?:have|has) come of\b": "the result of",
    r"may pass\b": "transient",
    r"on the wire\b": "HTTP, request or response",
    r"issue \d+\b": "what the issue asks for",
    r"DECISIONS\b": "a rule of docs/rules.md, by its number",
    r"PARAMETERS\.md\b": "docs/parameters.md",
}
"""Regular expressions for words that this project does not use,
and what to write instead. Capitals are compared as they stand."""

_WORDS: Final = {
    re.compile(rf"\b{pattern}", re.IGNORECASE if pattern.islower() else 0): use for pattern, use in INSTEAD.items()
}
_EXEMPT: Final = ("tools/check_writing.py", "tests/unit/test_writing.py")
"""Files that hold the words as examples."""
_TWO_SENTENCES: Final = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\d)[.!?]\)? (?=[A-Z])")
_SUBJECT_VERBS: Final = re.compile(
    r"(?:Have|Let|Had|Added|Adds|Adding|Fixed|Fixes|Fixing|Changed|Changes|Removed|Removes)\b"
)


def problems(names: Sequence[str] = ()) -> Iterator[str]:
    """Each problem of these files as `file:line: what is wrong`;
    of all tracked files and the branch's commits without names.
    """
    files = list(names or _tracked("*.md", "*.py"))
    for name in files:
        text = (ROOT / name).read_text(encoding="utf-8")
        if name not in _EXEMPT:
            yield from wrong_words(name, text)
            yield from _missing_documents(name, text)
        if name.endswith(".md"):
            yield from wrong_lines(name, text)
        if name.endswith(".md"):
            yield from _dead_links(name, text)
    yield from _misspelt(files)
    if not names:
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
    if _SUBJECT_VERBS.match(subject):
        wrong.append("is not in the imperative, such as 'Prefetch list pages'")
    return wrong


def wrong_words(name: str, text: str) -> Iterator[str]:
    """Lines with words that have a better one in this project."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, use in _WORDS.items():
            found = pattern.search(line)
            if found is not None:
                yield f"{name}:{number}: {found[0]!r}: write {use}"


def wrong_lines(name: str, text: str) -> Iterator[str]:
    """Lines of prose that are too long or hold two sentences."""
    for number, line in _prose(text):
        if len(line) > LONGEST_LINE and not re.fullmatch(r"\s*(?:[-*] )?(?:\[.*\]\(\S+\)|<\S+>)\S?", line):
            yield f"{name}:{number}: {len(line)} characters, at most {LONGEST_LINE} are allowed"
        elif _TWO_SENTENCES.search(re.sub(r"`[^`]*`", "``", line)):
            yield f"{name}:{number}: two sentences: begin the second one on a line of its own"


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a document, numbered, that are neither code nor tables nor HTML."""
    lines = text.splitlines()
    exempt: set[int] = set()
    for token in MarkdownIt().enable("table").parse(text):
        if token.type in ("fence", "code_block", "table_open", "html_block") and token.map:
            exempt.update(range(*token.map))
    yield from ((number, line) for number, line in enumerate(lines, 1) if number - 1 not in exempt)


def _missing_documents(name: str, text: str) -> Iterator[str]:
    """Mentions of `docs/PAGE.md` that does not exist."""
    for number, line in enumerate(text.splitlines(), 1):
        for page in re.findall(r"(?<![\w/.])docs/[\w/-]+\.md\b", line):
            if not (ROOT / page).is_file():
                yield f"{name}:{number}: {page}: there is no such document"


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
    """The anchors of a document as forges make them: those of its headings, and those that it declares itself."""
    declared = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    tokens = MarkdownIt().parse(text)
    headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    return declared | {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt().enable("table").parse(text):
        yield from token.children or ()


def _misspelt(names: Sequence[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "codespell_lib", "--toml", "pyproject.toml", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and not done.stdout:
        yield f"codespell has failed: {done.stderr.strip()}"
    yield from done.stdout.splitlines()


def _subjects() -> list[str]:
    """The subjects of the commits that this branch adds to main; none where git knows no main."""
    for main in ("origin/main", "main"):
        done = _git("log", "--no-merges", "--format=%s", f"{main}..HEAD")
        if done.returncode == 0:
            return done.stdout.splitlines()
    return []


def _tracked(*patterns: str) -> list[str]:
    done = _git("ls-files", *patterns)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--message"]:
        subject = Path(arguments[1]).read_text(encoding="utf-8").partition("\n")[0]
        found = [f"{subject!r}: {wrong}" for wrong in wrong_subject(subject)]
    else:
        found = list(problems(arguments))
    for each in found:
        print(each)
    if found:
        print(f"{len(found)} problems; docs/glossary.md and CONTRIBUTING.md say how this project writes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
