"""Limits for the sizes of images, which LimitRanges set for their namespaces (R16)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_UP, Decimal
from typing import Any, Final

from pruner.cluster.objects import ImageLimit, LimitRange
from pruner.errors import ClusterError

_IMAGE_LIMIT: Final = "openshift.io/Image"

_LARGEST: Final = Decimal(2**63 - 1)
"""The largest magnitude of a quantity: the API server stores nothing larger."""

_SMALLEST: Final = Decimal("1e-9")
"""The smallest step of a quantity: the API server rounds up to it."""

_PLAIN: Final = re.compile(r"([0-9]{1,18})(?:([KMGT])i)?")
"""The form of nearly all quantities of storage."""


def image_limits(limit_range: LimitRange, server: str) -> Iterable[ImageLimit]:
    """The limits for images in a LimitRange. Raises ClusterError for a malformed quantity."""
    meta = limit_range.metadata
    for limit in (limit_range.spec.limits if limit_range.spec else None) or ():
        storage = (limit.max or {}).get("storage")
        if limit.type == _IMAGE_LIMIT and storage is not None:
            quantity = _quantity(storage)
            if quantity is None:
                raise ClusterError(
                    f"{server}: LimitRange {meta.namespace}/{meta.name}: max.storage {storage!r:.80} is not a "
                    "quantity; correct or delete this LimitRange"
                )
            yield ImageLimit(meta.namespace, meta.name, quantity)


def _quantity(value: Any) -> Decimal | None:
    """A Kubernetes quantity; None for what is not one. Python's Decimal also takes NaN, infinities and booleans."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    if isinstance(value, str) and (plain := _PLAIN.fullmatch(value)) is not None:
        unit = plain[2]
        return _bounded(Decimal(int(plain[1]) << 10 * ("KMGT".index(unit) + 1 if unit else 0)))
    # The package takes longer to import than a small cluster to read.
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415

    try:
        quantity: Decimal = parse_quantity(value)
    except (ValueError, ArithmeticError):
        return None
    return _bounded(quantity) if quantity.is_finite() else None


def _bounded(quantity: Decimal) -> Decimal:
    """The quantity as the API server stores it: an exponent of any
    size, `1e-999999999`, would be written with as many digits.
    """
    if quantity.copy_abs() >= _LARGEST:
        return _LARGEST.copy_sign(quantity)
    if not quantity:
        return Decimal(0)
    exponent = quantity.as_tuple().exponent
    return quantity.quantize(_SMALLEST, ROUND_UP) if isinstance(exponent, int) and exponent < -9 else quantity
