"""The dynamic provider: the class that Pulumi stores, whose calls are those of pruner.provider.lifecycle.

The program only names the class, so what a plan and a run need is imported by the first call, in the provider's own
process.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

NATIVE_TYPE: Final = "pruner:index:PrunedImages"
"""The resource as the native provider has it."""

OUTPUTS: Final = (
    "deleted_images",
    "updated_image_streams",
    "summary",
    "skipped",
    "failures",
    "registry_restart",
    "backlog",
)
"""The outputs of a run, and of a refresh the last one."""


class PrunedImagesProvider(ResourceProvider):
    """Provides `PrunedImages`. Stored in the state by reference, since it is imported from a module."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        result: CheckResult = _lifecycle().check(news)
        return result

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        result: DiffResult = _lifecycle().diff(olds, news)
        return result

    def create(self, props: dict[str, Any]) -> CreateResult:
        result: CreateResult = _lifecycle().create(props)
        return result

    def update(self, id_: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        result: UpdateResult = _lifecycle().update(id_, news)
        return result

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        result: ReadResult = _lifecycle().read(id_, props)
        return result

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Forget: nothing in the cluster is deleted, and nothing that was pruned can come back."""


def _lifecycle() -> Any:
    return importlib.import_module("pruner.provider.lifecycle")
