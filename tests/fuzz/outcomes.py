"""What any input may lead to: a value, or an error of ours that is one line per problem and shows no secret."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from hypothesis import strategies as st

from pruner.errors import PrunerError, SettingsError
from pruner.printable import LONGEST_LINE

T = TypeVar("T")

EXAMPLES: Final[Counter[str]] = Counter()
PLANTED: Final = "pL4nt3dS3cr3t"
"""Part of every secret in the inputs."""
WINDOW: Final = 12
"""So many characters in a row of something secret are too many in a message."""
_ESCAPE: Final = re.compile(r"\\u\{[0-9a-f]+\}")
_LONGEST: Final = 2 * (LONGEST_LINE + len("... (1000000 more characters)")) + len(": ")
"""Characters of a line, an escape counted as one: a parameter's name and its message, each of them cut."""


def fuzzed(target: str) -> None:
    """Count an example of this target."""
    EXAMPLES[target] += 1


def outcome(work: Callable[[], T], secret: Iterable[str] = ()) -> T | PrunerError:
    """The value or the error, after checking what is shown of either.

    `secret` are texts of which no part may be shown.
    """
    try:
        found: T | PrunerError = work()
    except PrunerError as error:
        found = error
        check_message(error)
    for text in (str(found), repr(found)):
        assert PLANTED not in text
        for each in secret:
            assert not any(each[start : start + WINDOW] in text for start in range(max(1, len(each) - WINDOW)) if each)
    return found


def check_message(error: PrunerError) -> None:
    problems = error.problems if isinstance(error, SettingsError) else (error,)
    lines = str(error).split("\n")
    assert len(lines) == len(problems)
    for line in lines:
        assert line.strip()
        assert line.isprintable()
        assert len(_ESCAPE.sub("?", line)) <= _LONGEST
        assert not re.search(r"Traceback|object at 0x|<class", line)


# Hypothesis draws constants of the tests too.
texts = st.text(st.characters(), max_size=20).filter(lambda text: PLANTED not in text)
scalars: st.SearchStrategy[object] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**4000, -(10**400), 2**63, 0, 1, float("nan"), float("inf"), -0.0, 1e308])
    | st.floats()
    | texts
    | st.sampled_from(
        ["\0", "\ud800", "a\nb", "~nobody-here/x", "{", "[", "- [", "&a [*a]", "9" * 5000, "١٢", "nan", "1e400"]
    )
    | st.builds("".join, st.lists(st.sampled_from(["[", "{", '"', "a:", " ", "\n", "-"]), max_size=200))
    | st.sampled_from(["[" * 100_000, "{" * 5000, '{"a":' * 5000, "*" * 5000, "a/" + "*a" * 3000])
)
anything: st.SearchStrategy[object] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
"""Any JSON, and more."""
