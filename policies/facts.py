"""What the rules of the pack judge: the whole plan, what is known of the rest, and the settings that it was made with.

The resource's inputs name the plan by its fingerprint; large plans stand there in sums only. The whole plan is read
from where `check` has kept it (pruner.provider.store), so that a rule sees the names in either case, and sees exactly
what up would carry out.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.analysis.blobs import pushed_to
from pruner.errors import PrunerError
from pruner.plan import PrunePlan
from pruner.provider.naming import camel, snake
from pruner.provider.schema import DYNAMIC_TYPE
from pruner.provider.schema import TYPE as NATIVE_TYPE
from pruner.provider.store import KeptPlans
from pruner.report import Report
from pruner.report.rows import NO_STREAM, ReportedImage
from pruner.settings import ALIASES, Settings, UnfitError, read
from pruner.settings.usage_history import may_be_partial, window
from pruner.settings.uses_from import names_of

TYPE: Final = DYNAMIC_TYPE
JUDGED: Final = (
    "validate_certs",
    "registry_validate_certs",
    "host",
    "registry_url",
    "approved_plan",
    "approved_digest",
    "as_of",
    "references",
    "ignore_invalid_refs",
)
"""Parameters that a rule looks at. Secrets are none of them, so that no message can name one."""


class OtherUses(msgspec.Struct, frozen=True):
    """Which uses keep images beyond those that the cluster has now: by other clusters (R38), and in the past (R39).

    `clusters` are those that `uses_from` names, None where that cannot be read here, such as a file of another machine.
    `within` is `keep_used_within`; with `partial` the history may be shorter.
    """

    clusters: tuple[str, ...] | None = ()
    within: timedelta | None = None
    partial: bool = False

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> OtherUses:
        """Those of a resource. Nothing of how a cluster or the history is reached is kept: it may be secret."""
        clusters, within, history = (inputs.get(name) for name in ("uses_from", "keep_used_within", "usage_history"))
        try:
            named = names_of(clusters) if clusters else ()
        except UnfitError:
            named = None
        try:
            return cls(
                clusters=named,
                within=None if within is None else window(within),
                partial=history is not None and may_be_partial(history),
            )
        except UnfitError as unfit:
            raise PrunerError(f"keep_used_within and usage_history: {unfit}") from None


def inputs_of(resource_type: str, inputs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The inputs of a PrunedImages, of either provider, by the names of parameters; None for any other resource."""
    if resource_type == NATIVE_TYPE:
        return _ByParameter(inputs)
    return inputs if resource_type == TYPE else None


class _ByParameter(Mapping[str, Any]):
    """Inputs of the native provider.

    Values are read when they are asked for: to read one that is not known yet is an error.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._inputs = inputs

    def __getitem__(self, name: str) -> Any:
        return self._inputs[camel(name)]

    def __iter__(self) -> Iterator[str]:
        return map(snake, self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)


class Share(msgspec.Struct, frozen=True):
    """What one resource's plan contributes to the amounts of a run.

    `staying` are the namespaces of every image that stays, None where only the plan is known; `freed` are bytes by
    blob, by namespace. A blob counts in every namespace that loses an image with it, so that no other namespace's image
    can take bytes off its sum.
    """

    cluster: str
    deleted: dict[str, ReportedImage]
    staying: dict[str, frozenset[str]] | None
    blobs: dict[str, int]
    freed: dict[str, dict[str, int]]
    approved: bool = False
    retired: dict[str, ReportedImage] = {}

    @classmethod
    def of(cls, report: Report) -> Share:
        blobs = {blob.digest: blob.size or 0 for blob in report.plan.blobs}
        blobs_of = {image.name: image.blobs for image in report.plan.images}
        freed: dict[str, dict[str, int]] = {}
        for image in report.pruned:
            for namespace in namespaces(image):
                # Only blobs that go are listed with an image.
                of_it = {digest: blobs.get(digest, 0) for digest in blobs_of.get(image.digest, ())}
                freed.setdefault(namespace, {}).update(of_it)
        staying = {image.digest: namespaces(image) for image in report.images if image.reason.kept}
        return cls(
            cluster=report.plan.cluster,
            # Revisions whose Image object is absent anyway are no images.
            deleted={image.digest: image for image in report.pruned if image.created is not None},
            staying=staying if report.decisions is not None else None,
            blobs=blobs,
            retired={image.digest: image for image in report.retiring},
            freed=freed,
        )


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a rule may look at. `preview` is False where up is about to carry the plan out.

    `approved` is the approved plan that approved_digest binds; without that it is None, and `unbound` is True, since
    whoever can write the file can write another date and another content into it. `others` are the shares of the
    resources that this run has judged before: what a run may take is a matter of all of them. `notes` are those of this
    resource's plan. `uses` are those that keep images beyond those that the cluster has now.
    """

    report: Report
    share: Share
    settings: Settings
    approved: PrunePlan | None
    now: datetime
    unbound: bool = False
    preview: bool
    notes: tuple[str, ...] = ()
    others: tuple[Share, ...] = ()
    uses: OtherUses = OtherUses()

    @property
    def plan(self) -> PrunePlan:
        return self.report.plan

    @property
    def touched(self) -> list[ReportedImage]:
        return self.report.touched


def streams(image: ReportedImage) -> set[str]:
    """The image streams that an image is pruned from or was pushed to; of an image that stays those that name it.

    Where an image was pushed to, its dockerImageReference says. As everywhere the host is not compared (R6).
    """
    named = {each.stream for each in (image.named_by if image.reason.kept else image.losing)}
    pushed = pushed_to(image.reference)
    return {image.home, *named} if pushed is None else {image.home, pushed, *named}


def namespaces(image: ReportedImage) -> frozenset[str]:
    return frozenset(stream.partition("/")[0] or NO_STREAM for stream in streams(image))


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """That of the plan in a resource's inputs; empty where there is nothing to do, or nothing planned yet."""
    return str((inputs.get("plan") or {}).get("fingerprint") or "")


def not_planned(inputs: Mapping[str, Any]) -> str | None:
    """Why no rule can judge this resource yet; None where there
    is a plan, or one that says that there is nothing to do.
    """
    plan = inputs.get("plan")
    if plan is None:
        return "there is no plan"
    return None if not plan or plan.get("fingerprint") else f"the plan is {plan.get('summary') or 'not known'}"


def gather(
    inputs: Mapping[str, Any], *, preview: bool, now: datetime | None = None, others: tuple[Share, ...] = ()
) -> Facts | None:
    """The facts in a resource's inputs; None where there is nothing to do, or at preview nothing planned yet.

    Raises PrunerError where the plan cannot be read: then nothing is known of it, and it is not let through.
    """
    if not fingerprint(inputs):
        missing = not_planned(inputs)
        if missing and not preview:
            raise PrunerError(missing)
        return None
    given = {
        name: inputs.get(name) for name in (*JUDGED, *(alias for alias, name in ALIASES.items() if name in JUDGED))
    }
    environment = {name: os.environ.get(name, "") for name in ("K8S_AUTH_VERIFY_SSL", "K8S_AUTH_HOST")}
    settings = read(given, environ=environment)
    report, share = _kept(fingerprint(inputs))
    approved = _approved(settings.approved_plan, settings.approved_digest) if settings.approved_plan else None
    unbound = approved is not None and settings.approved_digest is None
    approved = None if unbound else approved
    return Facts(
        report=report,
        share=msgspec.structs.replace(share, approved=approved is not None),
        settings=settings,
        approved=approved,
        unbound=unbound,
        now=now or datetime.now(UTC),
        preview=preview,
        notes=tuple(map(str, inputs["plan"].get("notes") or ())),
        others=others,
        uses=OtherUses.of(inputs),
    )


@functools.lru_cache(maxsize=1)
def _kept(fingerprint: str) -> tuple[Report, Share]:
    """The plan that was kept, and what it contributes to the run; read once for all rules."""
    report = KeptPlans.of_user().report(fingerprint)
    return report, Share.of(report)


def _approved(path: str, digest: str | None) -> PrunePlan:
    """The approved plan, read once for all rules, and again when the file has changed."""
    try:
        found = Path(path).stat()
    except OSError as error:
        raise PrunerError(f"approved_plan: {path!r} cannot be read: {error.strerror}") from None
    return _read_once(path, digest, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=1)
def _read_once(path: str, digest: str | None, _changed: int, _size: int) -> PrunePlan:
    # Few stacks have one, and planning brings what it takes to reach a cluster.
    from pruner.planning import approved_plan  # noqa: PLC0415

    return approved_plan(path, digest)
