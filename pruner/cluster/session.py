"""The API of the cluster that the settings name."""

from __future__ import annotations

from pruner.cluster.api import Api
from pruner.cluster.connection import connect
from pruner.settings import Settings


def session(settings: Settings) -> Api:
    """To be used with `async with`.

    Raises SettingsError and ClusterError when the settings do not say how to connect.
    """
    return Api(connect(settings), workers=settings.workers)
