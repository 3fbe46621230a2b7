"""The pruned state of a cluster as a Pulumi resource: `PrunedImages`, and the dynamic provider behind it."""

from pruner.provider.pruned_images import PrunedImages

__all__ = ["PrunedImages"]
