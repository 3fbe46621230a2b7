"""The provider under the name that states made by version 0.1 store.

Pulumi stores a dynamic provider as a pickle, which names the module and the class. Refresh and destroy load the
provider from the state, so without this module they would fail for every stack that was last updated by such a version.
"""

from pruner.provider.provider import PrunedImagesProvider

__all__ = ["PrunedImagesProvider"]
