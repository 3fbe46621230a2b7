"""The report as Markdown, short enough for a comment on a pull request.

Sums and the largest image streams stand open, the full list is folded. Platforms refuse long comments (GitHub past
65,536 characters), so what would exceed the limit is cut at a line, and how much is missing is said. What comes from
the cluster stands in code spans, where it can neither be markup nor mention anyone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pruner.report import wording
from pruner.report.expired import expired_tags, retention_sums
from pruner.report.markdown_table import code, heading, row
from pruner.report.model import Report
from pruner.report.rows import ReportedImage
from pruner.report.text import why

LIMIT: Final = 60_000
"""Characters; platforms that allow less are told by the caller."""
_STREAMS: Final = 15
_LINES: Final = 20
_ROOM: Final = 200
"""Characters kept free for the line that says what was cut, and the end of the folded part."""


def markdown(report: Report, *, limit: int = LIMIT) -> str:
    """The report in at most `limit` characters."""
    text = "\n".join(_open_part(report)) + "\n"
    if len(text) > limit - _ROOM:
        return text[: max(limit - _ROOM, 0)].rsplit("\n", 1)[0] + "\n\n*Cut here; the full report has the rest.*\n"
    kept, streams = report.kept_by, report.plan.empty_streams
    expired = expired_tags(report.plan)
    if expired:
        head = heading("tag", "age:", "removed from", "retention rule")
        rows = (
            row(
                code(f"{each.stream}:{each.tag}"),
                wording.age(report, each.moved),
                wording.removed_from(each.declared),
                code(each.retention),
            )
            for each in expired
        )
        title = f"Tags that expire ({wording.count(len(expired), 'tag')})"
        text += _folded(title, head, rows, len(expired), (limit - len(text)) // 3)
    if streams:
        head = heading("image stream", "age:", "why")
        rows = (row(code(each.stream), wording.age(report, each.created), code(str(each.reason))) for each in streams)
        title = f"Image streams that are deleted ({wording.count(len(streams), 'image stream')})"
        text += _folded(title, head, rows, len(streams), (limit - len(text)) // 3)
    if number := report.number_touched:
        head = heading("image", "named by", "age:", "frees:", "why")
        rows = (_row(report, image) for image in report.each_touched())
        text += _folded(f"What is pruned, and why ({_counted(report)})", head, rows, number, limit - len(text))
    if kept:
        head = heading("rule", "why", "images:", "revisions:")
        rows = (row(each.rule, code(each.why), each.images, each.revisions) for each in kept)
        text += _folded("What keeps the rest", head, rows, len(kept), limit - len(text))
    return text


def _counted(report: Report) -> str:
    """What the rows are: as many images as the plan deletes and retires, and revisions of others."""
    images, retired = len(report.plan.images), len(report.plan.retired)
    rest = report.number_touched - images - retired
    return ", ".join(
        (
            wording.count(images, "image"),
            *([f"{wording.count(retired, 'image')} retired"] if retired else []),
            *([f"{wording.count(rest, 'digest')} of which only revisions"] if rest else []),
        )
    )


def _open_part(report: Report) -> Iterator[str]:
    plan = report.plan
    yield f"### pruner: {wording.headline(plan)}"
    yield ""
    yield f"Cluster {code(plan.cluster)}, as of {wording.time(plan.as_of)}, plan {code(plan.fingerprint)}"
    yield ""
    if plan.notes:
        yield from _lines([f"- :warning: {code(note)}" for note in plan.notes], "notes")
    if report.outcome is not None:
        yield from _outcome(report)
    sums = retention_sums(report, expired_tags(plan))
    if sums:
        yield heading("retention rule", "expired tags:", "kept tags:")
        for rule in sums[:_STREAMS]:
            kept = "unknown" if rule.kept is None else str(rule.kept)
            yield row(code(rule.retention), rule.expired, kept)
        if len(sums) > _STREAMS:
            yield row(f"and {len(sums) - _STREAMS} more", sum(rule.expired for rule in sums[_STREAMS:]), "")
        yield ""
    if report.streams:
        yield heading("image stream", "revisions:", "images:", "frees:")
        for each in report.streams[:_STREAMS]:
            yield row(code(each.stream), each.revisions, each.images, wording.size(each.bytes))
        if len(report.streams) > _STREAMS:
            rest = report.streams[_STREAMS:]
            totals = [sum(getattr(each, name) for each in rest) for name in ("revisions", "images", "bytes")]
            yield row(f"and {len(rest)} more", totals[0], totals[1], wording.size(totals[2]))
        yield ""


def _outcome(report: Report) -> Iterator[str]:
    outcome = report.outcome
    if outcome is None:
        return
    yield f"**{wording.outcome_line(outcome)}**"
    yield ""
    if line := wording.restart_line(outcome):
        yield from (code(line), "")
    yield from _lines([f"- failed: {code(each.what)}: {code(each.why)}" for each in outcome.failures], "failures")
    yield from _lines([f"- skipped: {code(each.what)}: {code(each.why)}" for each in outcome.skipped], "skipped")


def _lines(lines: list[str], what: str) -> Iterator[str]:
    yield from lines[:_LINES]
    if len(lines) > _LINES:
        yield f"- and {len(lines) - _LINES} more {what}"
    if lines:
        yield ""


def _row(report: Report, image: ReportedImage) -> str:
    return row(
        code(wording.short(image.digest)),
        code(image.name),
        wording.age(report, image.created),
        wording.size(image.freed),
        code(why(image)),
    )


def _folded(title: str, head: str, rows: Iterable[str], whole: int, room: int) -> str:
    """A folded table that takes at most so many characters; a line that says so where not even one row has room."""
    begin, end = f"<details><summary>{title}</summary>\n\n{head}\n", "\n</details>\n"
    left = room - len(begin) - len(end) - _ROOM
    shown: list[str] = []
    for line in rows:
        left -= len(line) + 1
        if left < 0:
            break
        shown.append(line + "\n")
    if not shown:
        note = f"*{title}: left out, there is no room for it; the full report has it.*\n"
        return note if len(note) < room else ""
    cut = whole - len(shown)
    note = f"\n*{cut} of {whole} rows do not fit in here; the full report has them.*\n" if cut else ""
    return begin + "".join(shown) + note + end
