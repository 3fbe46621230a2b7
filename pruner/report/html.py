"""The report as one page of HTML that needs nothing else: no network, no fonts, no other file.

Tables and sums are made here, by a template that escapes everything; the list of images, which may have 200,000 rows,
is handed to the page's script as JSON, compact by numbering its texts, compressed, and in base64, in which nothing can
be taken for markup. The rows that the list begins with come apart from all of them, so that they are shown at once. The
page's Content-Security-Policy allows this one script and this one style sheet by their digests, and nothing from
anywhere.
"""

from __future__ import annotations

import base64
import gzip
import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from markupsafe import Markup

from pruner.printable import printable
from pruner.reasons import Reason, sentence
from pruner.report import wording
from pruner.report.expired import expired_tags, retention_sums
from pruner.report.model import Report
from pruner.report.rows import NO_STREAM, ReportedImage, StreamSum
from pruner.report.storage import ShownStorage, headline, sections
from pruner.report.templates import environment, part, source

_TILES: Final = 400
"""Image streams that the treemap has tiles for; the rest of a namespace is one tile."""
_SUMS: Final = 200
"""Rows of the table of image streams."""
_EXPIRED: Final = 1000
"""Rows of the tables of expired tags and of deleted image
streams. The list of images names the revisions of every tag."""
_NAMED: Final = 20
"""Objects that a reason names; the others are counted."""
_LEVEL: Final = 4
"""Of compression: higher ones take twice the time for a few percent."""
_FIRST: Final = 50
"""Rows that the list begins with: more than fit into its part of the page, which is 720 pixels high at most."""
_ABSENT: Final = 2
"""Of a row: a revision is pruned, and there is no Image object. 1 is an image that is kept."""
_PRUNED: Final = 0


def page(report: Report, storage: ShownStorage | None = None) -> str:
    """The page, with a section of what keeps the registry large where that is known."""
    script, style = part("page.js"), part("page.css")
    ages, kept_by, expired = report.ages, report.kept_by, expired_tags(report.plan)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            plan=report.plan,
            headline=wording.headline(report.plan),
            outcome_line=wording.outcome_line(report.outcome) if report.outcome else "",
            restart_line=wording.restart_line(report.outcome) if report.outcome else "",
            rules=wording.rules(report),
            ages=ages,
            oldest=max(1, *(each.pruned + each.kept for each in ages)),
            kept_by=kept_by,
            most=max([1, *(each.images + each.revisions for each in kept_by)]),
            sums=report.streams[:_SUMS],
            more_sums=len(report.streams) - _SUMS,
            expired=expired[:_EXPIRED],
            more_expired=len(expired) - _EXPIRED,
            retention=retention_sums(report, expired),
            deleted_streams=report.plan.empty_streams[:_EXPIRED],
            more_deleted_streams=len(report.plan.empty_streams) - _EXPIRED,
            storage=storage,
            storage_headline=headline(storage) if storage else "",
            storage_sections=sections(storage, heading="h3") if storage else "",
            script=Markup(script),  # noqa: S704 - a file of this package
            style=Markup(style),  # noqa: S704 - a file of this package
            script_digest=source(script),
            style_digest=source(style),
            beginning=packed(msgspec.json.encode(_beginning(report))),
            content=packed(msgspec.json.encode(_content(report))),
        )
    )


def packed(json: bytes) -> str:
    """JSON compressed as gzip, in base64. The same JSON has the same text: no time is written into it."""
    return base64.b64encode(gzip.compress(json, _LEVEL, mtime=0)).decode()


class _Texts:
    """Texts by number: half a million reasons are a few dozen texts."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}
        self._reasons: dict[Reason, int] = {}

    def number(self, text: str) -> int:
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.all)
            self.all.append(printable(text))
        return found

    def of(self, reason: Reason) -> int:
        """Most reasons are equal to others, and putting one into words takes longer than comparing it."""
        known = self._reasons.get(reason)
        if known is None:
            known = self._reasons[reason] = self.number(f"{sentence(reason, _NAMED)} ({reason.rule})")
        return known


def _content(report: Report) -> dict[str, Any]:
    """The list of images that the script is given. Images are arrays: page.js names their places."""
    texts = _Texts()
    return {
        "deleted": sorted(report.outcome.deleted) if report.outcome else None,
        "images": [_row(image, texts) for image in report.images],
        "texts": texts.all,
    }


def _beginning(report: Report) -> dict[str, Any]:
    """What the script shows before it has unpacked the list: the treemap, and the first rows of what is pruned.

    `listed` counts all of those rows, and `all` says that nothing is pruned, so that they are those of all images.
    """
    pruned = [image for image in report.images if not image.reason.kept or image.losing]
    listed = pruned or report.images
    first, texts = heapq.nsmallest(_FIRST, listed, key=lambda image: -_size(image)), _Texts()
    kinds = Counter(map(_kind, listed))
    return {
        "asOf": _seconds(report.plan.as_of),
        "all": not pruned,
        "listed": {"rows": len(listed), "pruned": kinds[_PRUNED], "absent": kinds[_ABSENT]},
        "total": sum(not image.absent for image in report.images),
        "deleted": [image.digest for image in first if image.digest in report.outcome.deleted]
        if report.outcome
        else None,
        "images": [_row(image, texts) for image in first],
        "streams": _tiles(report),
        "texts": texts.all,
    }


def _kind(image: ReportedImage) -> int:
    return _ABSENT if image.absent else int(image.reason.kept)


def _size(image: ReportedImage) -> int:
    """What the column of sizes says: bytes that are freed, or taken by what is kept; -1 where unknown."""
    return image.freed if not image.reason.kept or image.losing else -1 if image.size is None else image.size


def _row(image: ReportedImage, texts: _Texts) -> list[Any]:
    return [
        printable(image.digest),
        _kind(image),
        _seconds(image.created),
        _size(image),
        texts.number(image.name),
        texts.of(image.reason),
        texts.number(image.reference.removesuffix(image.digest)),
        [
            [
                texts.number(f"{named.stream}:{named.tag}"),
                named.revision,
                _seconds(named.created),
                int(named.reason.kept),
                texts.of(named.reason),
            ]
            for named in image.named_by
        ],
        [texts.number(user) for user in image.used_by[:50]],
        image.unmeasured,
        -1 if image.size is None else image.size,
    ]


def _seconds(moment: datetime | None) -> int:
    return -1 if moment is None else int(moment.timestamp())


def _tiles(report: Report) -> list[tuple[str, str, int, int]]:
    """Namespace, stream, bytes and images of every tile; the small streams of a namespace are one."""
    tiles = [_tile(each.namespace, each.stream, [each]) for each in report.streams[:_TILES]]
    rest: defaultdict[str, list[StreamSum]] = defaultdict(list)
    for each in report.streams[_TILES:]:
        rest[each.namespace].append(each)
    return tiles + [_tile(namespace, f"({len(found)} more)", found) for namespace, found in rest.items()]


def _tile(namespace: str, name: str, sums: Sequence[StreamSum]) -> tuple[str, str, int, int]:
    return (
        "" if namespace == NO_STREAM else printable(namespace),
        printable(name),
        sum(each.bytes for each in sums),
        sum(each.images for each in sums),
    )
