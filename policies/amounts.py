"""The rules about how much a run takes: images, bytes and shares of what there is, in all and of each namespace.

A run may have several PrunedImages resources. Amounts are those of all that were judged so far, so that a limit cannot
be passed by cutting a prune into pieces; what two of them name counts once.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from policies.facts import Facts, Share, namespaces
from policies.wording import in_bytes, names, number
from pruner.report.rows import ReportedImage
from pruner.report.wording import count, size

Options = Mapping[str, Any]


def max_images(facts: Facts, options: Options) -> Iterator[str]:
    retired = _retired(_shares(facts))
    yield from _over(_shares(facts), retired, options.get("retired"), "images", verb="retire")
    yield from _over(_shares(facts), _deleted(_shares(facts)), options.get("limit"), "images")
    shares = _of_cluster(facts)
    for namespace, images in _by_namespace(_deleted(shares)).items():
        yield from _over(shares, images, options.get("per_namespace"), f"images of namespace {namespace}")


def max_bytes(facts: Facts, options: Options) -> Iterator[str]:
    limit, by_namespace = in_bytes(options, "limit"), in_bytes(options, "per_namespace")
    if limit is None and by_namespace is None:
        return
    whole = _shares(facts)
    freed = _freed(whole)
    if limit is not None and freed > limit:
        yield f"would free {size(freed)}{_together(whole)}, and {size(limit)} are allowed: {names(_deleted(whole))}"
    unknown = _unknown_sizes(facts, options)
    if unknown is not None:
        digests, images = unknown
        yield f"the size of {count(digests, 'blob')} is not known, so the limit cannot be checked: {names(images)}"
    shares = _of_cluster(facts)
    blobs: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for share in shares:
        for namespace, sizes in share.freed.items():
            _take_largest(blobs[namespace], sizes)
    for namespace, sizes in sorted(blobs.items()):
        amount = sum(sizes.values())
        if by_namespace is not None and amount > by_namespace:
            of_it = [image for image in _deleted(shares) if namespace in namespaces(image)]
            yield (
                f"would free {size(amount)} of namespace {namespace}{_together(shares)}, and {size(by_namespace)} are "
                f"allowed: {names(of_it)}"
            )


def _unknown_sizes(facts: Facts, options: Options) -> tuple[int, list[ReportedImage]] | None:
    """How many pruned blobs of unknown size could exceed any limit, and the images with them; None for none.

    Layers could; manifests and configs are a few kilobytes each.
    """
    unknown = [blob for blob in facts.plan.blobs if blob.size is None]
    if not options.get("refuse_unknown_sizes"):
        unknown = [blob for blob in unknown if blob.kind == "layer"]
    if not unknown:
        return None
    digests = {blob.digest for blob in unknown}
    blobs_of = {image.name: image.blobs for image in facts.plan.images}
    images = [image for image in facts.report.pruned if not digests.isdisjoint(blobs_of.get(image.digest, ()))]
    return len(unknown), images


def max_percent(facts: Facts, options: Options) -> Iterator[str]:
    limit, by_namespace = options.get("limit"), options.get("per_namespace")
    if limit is None and by_namespace is None:
        return
    shares = _of_cluster(facts)
    if any(share.staying is None for share in shares):
        yield "how many images the cluster has is not known, since the plan's file does not say what is kept"
        return
    images = _deleted(shares)
    pruned = {image.digest for image in images}
    staying = {digest: of_it for share in shares for digest, of_it in (share.staying or {}).items()}
    kept = [of_it for digest, of_it in staying.items() if digest not in pruned]
    yield from _over_share(shares, images, len(kept), limit, "images")
    left = Counter(itertools.chain.from_iterable(kept))
    for namespace, of_it in _by_namespace(images).items():
        yield from _over_share(shares, of_it, left[namespace], by_namespace, f"images of namespace {namespace}")


def approval(facts: Facts, options: Options) -> Iterator[str]:
    images, limit = options.get("images"), in_bytes(options, "bytes")
    if facts.approved is not None or (facts.preview and not options.get("previews")):
        return
    # This one is none of those that are approved.
    shares = [share for share in _shares(facts) if not share.approved]
    deleted, freed = _deleted(shares), _freed(shares)
    unknown = None if limit is None else _unknown_sizes(facts, options)
    if (images is not None and len(deleted) > images) or (limit is not None and freed > limit):
        yield (
            f"{count(len(deleted), 'image')} and {size(freed)}{_together(shares)} need an approved plan "
            f"(approved_plan and approved_digest): {names(deleted)}"
        )
    elif unknown is not None:
        yield (
            f"{count(unknown[0], 'blob')} of unknown size need an approved plan "
            f"(approved_plan and approved_digest): {names(unknown[1])}"
        )


def _shares(facts: Facts) -> tuple[Share, ...]:
    return (facts.share, *facts.others)


def _of_cluster(facts: Facts) -> list[Share]:
    """Those of the same cluster: namespaces of two clusters have nothing to do with each other."""
    return [share for share in _shares(facts) if share.cluster == facts.share.cluster]


def _deleted(shares: Iterable[Share]) -> list[ReportedImage]:
    """Every image once, those of the resource that is judged before those of the others."""
    found: dict[tuple[str, str], ReportedImage] = {}
    for share in shares:
        for digest, image in share.deleted.items():
            found.setdefault((share.cluster, digest), image)
    return list(found.values())


def _retired(shares: Iterable[Share]) -> list[ReportedImage]:
    """Every image that is retired, once."""
    found = {(share.cluster, digest): image for share in shares for digest, image in share.retired.items()}
    return list(found.values())


def _freed(shares: Iterable[Share]) -> int:
    blobs: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for share in shares:
        _take_largest(blobs[share.cluster], share.blobs)
    return sum(sum(sizes.values()) for sizes in blobs.values())


def _take_largest(known: dict[str, int], sizes: Mapping[str, int]) -> None:
    """Add blobs of another resource; of what both name the larger amount counts."""
    for digest, amount in sizes.items():
        known[digest] = max(known.get(digest, 0), amount)


def _by_namespace(images: Iterable[ReportedImage]) -> dict[str, list[ReportedImage]]:
    found: defaultdict[str, list[ReportedImage]] = defaultdict(list)
    for image in images:
        for namespace in namespaces(image):
            found[namespace].append(image)
    return dict(sorted(found.items()))


def _together(shares: Sequence[Share]) -> str:
    return f" (with {count(len(shares) - 1, 'other resource')} of this run)" if len(shares) > 1 else ""


def _over(
    shares: Sequence[Share], images: list[ReportedImage], limit: float | None, what: str, verb: str = "delete"
) -> Iterator[str]:
    if limit is not None and len(images) > limit:
        yield f"would {verb} {len(images)} {what}{_together(shares)}, and {number(limit)} are allowed: {names(images)}"


def _over_share(
    shares: Sequence[Share], images: list[ReportedImage], kept: int, limit: float | None, what: str
) -> Iterator[str]:
    whole = len(images) + kept
    if limit is not None and whole and 100 * len(images) > limit * whole:
        share = 100 * len(images) / whole
        yield (
            f"would delete {share:.1f}% of the {whole} {what}{_together(shares)}, and {number(limit)}% are allowed: "
            f"{names(images)}"
        )
