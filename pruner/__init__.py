"""pruner removes unused container images from OpenShift clusters, declaratively.

`PrunedImages` is the pruned state of a cluster as a Pulumi resource; everything else is underneath it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruner.provider import PrunedImages

__all__ = ["PrunedImages", "__version__"]

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    # The resource brings Pulumi with it, which the command line and the analysis do without.
    if name == "PrunedImages":
        from pruner.provider import PrunedImages  # noqa: PLC0415

        return PrunedImages
    raise AttributeError(name)
