"""Limits for the sizes of images, which LimitRanges set for their namespaces (R16)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from pruner.cluster.objects import ImageLimit, LimitRange
from pruner.errors import ClusterError

_IMAGE_LIMIT: Final = "openshift.io/Image"


def image_limits(limit_range: LimitRange, server: str) -> Iterable[ImageLimit]:
    """The limits for images in a LimitRange. Raises ClusterError for a malformed quantity."""
    meta = limit_range.metadata
    for limit in (limit_range.spec.limits if limit_range.spec else None) or ():
        storage = (limit.max or {}).get("storage")
        if limit.type == _IMAGE_LIMIT and storage is not None:
            quantity = _quantity(storage)
            if quantity is None:
                raise ClusterError(
                    f"{server}: LimitRange {meta.namespace}/{meta.name}: max.storage {storage!r:.80} is not a quantity; "
                    "correct or delete this LimitRange"
                )
            yield ImageLimit(meta.namespace, meta.name, quantity)


def _quantity(value: Any) -> Decimal | None:
    """A Kubernetes quantity; None for what is not one. Python's Decimal also takes NaN, infinities and booleans."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        quantity: Decimal = parse_quantity(value)
    except (ValueError, ArithmeticError):
        return None
    return quantity if quantity.is_finite() else None
