"""Texts that a tenant can write into a cluster, made to do harm wherever they are shown."""

from __future__ import annotations

import re
from typing import Final

from hypothesis import strategies as st

HOSTILE: Final = (
    *map(chr, (*range(0x20), *range(0x7F, 0xA0))),  # C0, DEL and C1; NEL among them
    *"\u2028\u2029",  # line breaks
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",  # bidirectional
    *"\u00ad\u034f\u115f\u200b\u200c\u200d\u2060\u2800\u3164\ufe0f\ufeff\U000e0041",  # invisible
    *"\ud800\udfff",  # surrogates on their own
    *"\ue000\ufdd0\uffff\U0010ffff",  # private and unassigned
)
"""Characters that must not come out as they are."""

COMMANDS: Final = (
    "::error::injected",
    "::set-output name=a::b",
    "##vso[task.setvariable variable=a]b",
    "##[group]injected",
    "##teamcity[buildProblem description='injected']",
    "section_start:0:injected\r\x1b[0K",
    "--- injected",
)
"""Beginnings of lines (some also found in the middle) that a CI runner obeys."""

MARKUP: Final = (
    "[red]injected[/red]",
    "[/]",
    "[link=https://injected.example]x[/link]",
    "<script>alert(1)</script>",
    "</script><!--",
    "<img src=x onerror=alert(1)>",
    "![i](https://injected.example/i.png)",
    "[l](https://injected.example)",
    "https://injected.example",
    "www.injected.example",
    "injected@injected.example",
    "@injected",
    "injected/injected#123",
    "#123",
    "GH-123",
    "1234567890abcdef1234567890abcdef12345678",
    "|",
    "```",
    "~~~",
    "`",
    "**injected**",
    "&lt;b&gt;",
    "{{ 7 * 7 }}",
    '"} 1\n# EOF',
    "\\",
    "\\u{1b}",
)
"""What rich, HTML, Markdown, a forge, Jinja or OpenMetrics would interpret."""


def hostile_texts(*, min_size: int = 0) -> st.SearchStrategy[str]:
    """Any text, mixed with what does harm."""
    piece = st.one_of(
        st.sampled_from(HOSTILE),
        st.sampled_from(COMMANDS),
        st.sampled_from(MARKUP),
        st.sampled_from(["\n", "\r", "\n\n", " ", "a", "#", "##", "\\"]),
        st.text(st.characters(exclude_categories=()), max_size=5),
    )
    return st.lists(piece, min_size=min_size, max_size=6).map("".join)


def texts_of_a_cluster() -> st.SearchStrategy[str]:
    """What does harm, without lone surrogates: an API server's answer that has one is none, as it does not decode."""
    return hostile_texts().filter(lambda text: not any("\ud800" <= each <= "\udfff" for each in text))


def assert_inert(output: str) -> None:
    """Nothing in this output moves a terminal, hides text, or commands a CI runner."""
    assert not set(HOSTILE) - {"\n"} & set(output)
    assert not re.search(r"##[\w.-]*\[", output)
    assert not re.search(r"^\s*(::|---|\+\+\+|~~~)", output, re.MULTILINE)
