"""Every parameter, declared once: its type and default, and, as a `Parameter`, how it is given, checked and described.

A struct per concern, of which `ConnectionSettings` has a module of its own; `Settings` is all of them. Tables, schemas,
options and the resource's docstring come from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from pruner.settings import files, values
from pruner.settings.parameter import Parameter
from pruner.settings.presets import PRESETS, PodSource, extra_referrers
from pruner.settings.retention import EmptyStreams, RetentionRule, empty_streams, retention_rules
from pruner.settings.usage_history import HistorySettings
from pruner.settings.uses_from import ElsewhereSettings
from pruner.settings.values import Attached, Percent, References

DEFAULT_KEEP_YOUNGER_THAN: Final = 60
DEFAULT_KEEP_TAG_REVISIONS: Final = 3


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """What decides what is pruned. With `prune_over_size_limit`, the two keep settings are None unless they are set."""

    all_images: Annotated[
        bool,
        Parameter(
            parse=values.boolean,
            help="Also prune images imported from other registries, not only those pushed to the integrated registry",
        ),
    ] = True
    ignore_invalid_refs: Annotated[
        bool,
        Parameter(
            parse=values.boolean,
            help="Ignore image references that cannot be parsed, with a warning, instead of stopping",
        ),
    ] = False
    keep_younger_than: Annotated[
        timedelta | None,
        Parameter(
            parse=values.age,
            metavar="MINUTES",
            takes="minutes",
            help="Keep images and revisions younger than this many minutes",
        ),
    ] = timedelta(minutes=DEFAULT_KEEP_YOUNGER_THAN)
    keep_tag_revisions: Annotated[
        int | None, Parameter(parse=values.count, metavar="N", help="Number of newest revisions to keep of every tag")
    ] = DEFAULT_KEEP_TAG_REVISIONS
    namespace: Annotated[
        str | None,
        Parameter(
            parse=values.namespace,
            metavar="NAME",
            default="every namespace",
            help="Prune image streams of this namespace only; references are read from all namespaces",
        ),
    ] = None
    prune_over_size_limit: Annotated[
        bool,
        Parameter(
            parse=values.boolean,
            help="Prune revisions over the namespace's size limit; "
            "the two keep settings then apply only where they are set",
        ),
    ] = False
    prune_registry: Annotated[
        bool, Parameter(parse=values.boolean, help="Also delete layer links, manifests and blobs in the registry")
    ] = True
    references: Annotated[
        References,
        Parameter(
            parse=values.references,
            help="References that keep an image: only those `oc adm prune images` reads, "
            "or those of more kinds and fields",
        ),
    ] = "extended"
    protect: Annotated[
        tuple[str, ...],
        Parameter(
            parse=values.patterns,
            metavar="LIST",
            takes="list of patterns",
            help="Never prune these: namespace/stream, namespace/stream:tag or digests, with * and ? as wildcards",
        ),
    ] = ()
    protect_selector: Annotated[
        str | None,
        Parameter(
            parse=values.label_selector,
            metavar="SELECTOR",
            takes="label selector",
            help="Never prune image streams with these labels, nor those of namespaces with these labels",
        ),
    ] = None
    strict: Annotated[
        bool,
        Parameter(parse=values.boolean, help="Fail when a pattern of protect or a rule of retention matches nothing"),
    ] = False
    retention: Annotated[
        tuple[RetentionRule, ...],
        Parameter(
            parse=retention_rules,
            metavar="FILE",
            takes="list of rules, or path of a YAML file with them",
            help="Rules that say which tags are kept, and let all other tags that they match expire",
        ),
    ] = ()
    empty_streams: Annotated[
        EmptyStreams | None,
        Parameter(
            parse=empty_streams,
            metavar="JSON",
            takes="map of older_than and streams",
            default="none is deleted",
            help="Delete image streams without tags that are older than this and that nothing refers to",
        ),
    ] = None
    attached: Annotated[
        Attached,
        Parameter(
            parse=values.attached,
            help="Whether tags such as sha256-DIGEST.sig follow the image they are attached to, "
            "or are tags like others",
        ),
    ] = "follow"
    grace: Annotated[
        timedelta,
        Parameter(
            parse=values.age,
            metavar="AGE",
            takes="minutes, or such as 36h or 7d",
            as_text=True,
            help="Retire images for this long, in which they can be restored, before a later run deletes them",
        ),
    ] = timedelta()


@dataclass(frozen=True, kw_only=True)
class RunSettings(HistorySettings, ElsewhereSettings):
    """What is read and written around the analysis, and how much a run may do."""

    extra_referrers: Annotated[
        tuple[PodSource, ...],
        Parameter(
            parse=extra_referrers,
            metavar="LIST",
            takes=f"list of presets ({', '.join(PRESETS)}) and maps of group, version, resource, and template, "
            "images, values or streams",
            help="Further kinds whose images are in use: presets, or resources with the dotted paths of their images",
        ),
    ] = ()
    approved_plan: Annotated[
        str | None,
        Parameter(
            parse=files.file,
            metavar="PATH",
            help="Reviewed plan: prune only what it names, unless it came into use since",
        ),
    ] = None
    approved_digest: Annotated[
        str | None,
        Parameter(
            parse=values.digest,
            metavar="DIGEST",
            takes="64 hex digits, as sha256sum prints them, with or without sha256:",
            help="SHA-256 digest of the file of approved_plan; a file with another digest is refused",
        ),
    ] = None
    require_approval: Annotated[bool, Parameter(parse=values.boolean, help="Refuse an up that nobody reviewed")] = False
    as_of: Annotated[
        datetime | None,
        Parameter(
            parse=values.moment,
            metavar="TIME",
            takes="RFC 3339 time",
            default="now, by the API server's clock",
            help="Time that ages are measured against, to reproduce a plan",
        ),
    ] = None
    max_deletions: Annotated[
        int | Percent | None,
        Parameter(
            parse=values.deletions,
            metavar="N|N%",
            takes="number or percentage",
            help="Refuse a plan that deletes more images, revisions and image streams than this",
        ),
    ] = None
    allow_empty_cluster: Annotated[
        bool,
        Parameter(
            parse=values.boolean,
            help="Prune although no workloads or no image streams are visible, which usually means missing permissions",
        ),
    ] = False
    restart_registry: Annotated[
        bool,
        Parameter(
            parse=values.boolean,
            help="Restart OpenShift's registry after blobs were deleted if it has several replicas, "
            "since each caches what there is",
        ),
    ] = False
    workers: Annotated[int, Parameter(parse=values.workers, metavar="N", help="Number of concurrent requests")] = 20
    report: Annotated[
        str | None,
        Parameter(parse=files.output, metavar="PATH", help="File to write the plan and the result to, as JSON Lines"),
    ] = None
