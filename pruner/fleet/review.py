"""One page for a whole fleet, to be read before plans are approved and after they were carried out.

Given outcomes and the files of plans, gives Markdown: the clusters with what each would lose, then for each of them
every revision, image and reason, with the digest of each plan's file, which approval goes by (pruner.fleet.approval).
Whatever a cluster or server says stands in code spans, where it can neither be markup nor mention anyone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from rich.filesize import decimal

from pruner.errors import UnsafePlanError
from pruner.fleet.model import Outcome, Wave, counted
from pruner.plan import PrunePlan
from pruner.planning import read_plan
from pruner.report.markdown_table import code, heading, row
from pruner.report.wording import headline, short

REVIEW: Final = "review.md"
"""The page beside the plans."""
LISTED: Final = 200
"""Images of a cluster that are listed; of more there are counts here, and all of them in the plan's file."""


def plans_in(outcomes: Iterable[Outcome], files: Mapping[str, Path]) -> dict[str, PrunePlan | str]:
    """The plan of each cluster, or why there is none to read."""
    found: dict[str, PrunePlan | str] = {}
    for outcome in outcomes:
        path = files.get(outcome.cluster)
        if path is None or not path.is_file():
            found[outcome.cluster] = outcome.message or "there is no plan"
            continue
        try:
            found[outcome.cluster] = read_plan(str(path))
        except UnsafePlanError as error:
            found[outcome.cluster] = str(error)
    return found


def same_clusters(plans: Mapping[str, PrunePlan | str]) -> list[str]:
    """Names whose plans are of one and the same cluster, in words: each is counted, and would be pruned twice."""
    names: dict[str, list[str]] = {}
    for name, plan in sorted(plans.items()):
        if isinstance(plan, PrunePlan):
            names.setdefault(plan.cluster, []).append(name)
    return [
        f"{', '.join(found)} are one and the same cluster, {cluster}"
        for cluster, found in names.items()
        if len(found) > 1
    ]


def too_large(waves: Iterable[Wave], plans: Mapping[str, PrunePlan | str], of: Mapping[str, str]) -> list[str]:
    """Waves whose plans delete, or retire, more than they may, in words: an up would not begin them.

    `of` says which wave a cluster is in.
    """
    found = []
    for wave in waves:
        members = [plan for name, plan in plans.items() if isinstance(plan, PrunePlan) and of.get(name) == wave.name]
        deletions, retirements = sum(it.deletions for it in members), sum(it.retirements for it in members)
        found += [
            f"wave {wave.name} would {verb} {amount}, and its max_deletions is {wave.max_deletions}: "
            "up would not begin it"
            for verb, amount in wave.exceeded_by(deletions, retirements)
        ]
    return found


def page(
    title: str,
    outcomes: Iterable[Outcome],
    plans: Mapping[str, PrunePlan | str],
    pages: Mapping[str, str] | None = None,
    warnings: Iterable[str] = (),
    digests: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The lines of the page, in Markdown.

    `pages` are files beside it that show a cluster's plan in full; `digests` are those of plans' files.
    """
    listed = sorted(outcomes, key=lambda outcome: outcome.cluster)
    yield f"# {title}"
    yield ""
    names = counted(listed)
    columns = [*(f"{head}:" for head in names.values()), "bytes:"]
    yield heading("cluster", "wave", "state", *columns, "plan")
    for outcome in listed:
        amounts = _amounts([outcome], names)
        yield row(
            f"[{code(outcome.cluster)}](#{outcome.cluster.lower()})",
            code(outcome.wave),
            outcome.state,
            *(amounts if outcome.state == "done" else ("",) * len(columns)),
            code(outcome.plan or ""),
        )
    good = [outcome for outcome in listed if outcome.state == "done"]
    yield row(f"**{len(listed)} clusters**", "", f"{len(good)} done", *_amounts(good, names), "")
    for warning in warnings:
        yield ""
        yield f"**Warning:** {code(warning)}"
    for outcome in listed:
        yield from _section(outcome, plans.get(outcome.cluster, outcome.message))
        if digests and outcome.cluster in digests:
            yield ""
            yield f"The digest of the plan's file, which approval goes by: `{digests[outcome.cluster]}`."
        if pages and outcome.cluster in pages:
            yield ""
            yield f"All of it, to search and sort: [{pages[outcome.cluster]}]({pages[outcome.cluster]})."


def _amounts(outcomes: list[Outcome], names: Iterable[str]) -> list[str]:
    """The cells of the sums of these fields."""
    sums = [str(sum(getattr(outcome, name) for outcome in outcomes)) for name in names]
    return [*sums, decimal(sum(outcome.bytes for outcome in outcomes))]


def _section(outcome: Outcome, plan: PrunePlan | str) -> Iterator[str]:
    yield ""
    yield f"## {outcome.cluster}"
    yield ""
    if isinstance(plan, str):
        yield f"**{outcome.state}**"
        yield ""
        yield from _message(plan)
        return
    yield (
        f"Cluster {code(plan.cluster)}, planned as of {plan.as_of:%Y-%m-%d %H:%M:%S} UTC, "
        f"plan {code(plan.fingerprint)}."
    )
    if outcome.message:
        yield ""
        yield from _message(outcome.message)
    if plan.notes:
        yield ""
        yield from (f"- {code(note)}" for note in plan.notes)
    yield ""
    if plan.empty:
        yield "Nothing is to be pruned."
        return
    yield f"{headline(plan)}."
    yield ""
    yield from _rows(plan)


def _message(text: str) -> Iterator[str]:
    """A message, which may have several lines, as a list of its lines."""
    return (f"- {code(line.removeprefix('- '))}" for line in text.splitlines())


def _rows(plan: PrunePlan) -> Iterator[str]:
    revisions = [(change.stream, item) for change in plan.streams for item in change.revisions]
    if revisions:
        yield heading("revision", "created", "why")
        for stream, item in revisions[:LISTED]:
            name = f"{code(f'{stream}:{item.tag}')} {code(short(item.image))}"
            yield row(name, f"{item.created:%Y-%m-%d}", code(str(item.reason)))
        yield from _more(len(revisions), 3)
        yield ""
    if plan.images:
        sizes = {blob.digest: blob.size or 0 for blob in plan.blobs}
        yield heading("image", "created", "blobs:", "bytes:", "why")
        for image in plan.images[:LISTED]:
            size = decimal(sum(sizes.get(digest, 0) for digest in image.blobs))
            name = f"{code(short(image.name))} {code(image.reference.partition('@')[0])}"
            yield row(name, f"{image.created:%Y-%m-%d}", len(image.blobs), size, code(str(image.reason)))
        yield from _more(len(plan.images), 5)
        yield ""
    if plan.retired:
        yield heading("retired image", "created", "bytes later:", "why")
        for retired in plan.retired[:LISTED]:
            name = f"{code(short(retired.name))} {code(retired.reference.partition('@')[0])}"
            yield row(name, f"{retired.created:%Y-%m-%d}", decimal(retired.bytes), code(str(retired.reason)))
        yield from _more(len(plan.retired), 4)
        yield ""
    if plan.needed_again:
        yield heading("image that is needed again", "why")
        for again in plan.needed_again[:LISTED]:
            yield row(code(short(again.name)), code(str(again.reason)))
        yield from _more(len(plan.needed_again), 2)


def _more(count: int, columns: int) -> Iterator[str]:
    if count > LISTED:
        yield row(f"and {count - LISTED} more, in the plan's file", *[""] * (columns - 1))
