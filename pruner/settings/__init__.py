"""Settings: the declaration of every parameter, the parsing of values, and where values come from."""

from pruner.settings.connection import ConnectionSettings
from pruner.settings.declaration import (
    DEFAULT_KEEP_TAG_REVISIONS,
    DEFAULT_KEEP_YOUNGER_THAN,
    AnalysisSettings,
    RunSettings,
)
from pruner.settings.parameter import Kind, Parameter
from pruner.settings.parameters import ALIASES, BY_NAME, HISTORY, HOLD_KEYS, PARAMETERS, SECRETS, Settings, is_secret
from pruner.settings.presets import NODE_IMAGES, PRESETS, PodSource
from pruner.settings.references import Reference, with_references
from pruner.settings.retention import EmptyStreams, RetentionRule
from pruner.settings.shown import may_hold_credentials, shown
from pruner.settings.sources import read, settled_by
from pruner.settings.usage_history import UsageHistory
from pruner.settings.uses_from import CONNECTION, UsingCluster
from pruner.settings.values import PROXY_HEADERS, Percent, References, UnfitError, minutes_of

__all__ = [
    "ALIASES",
    "BY_NAME",
    "CONNECTION",
    "DEFAULT_KEEP_TAG_REVISIONS",
    "DEFAULT_KEEP_YOUNGER_THAN",
    "HISTORY",
    "HOLD_KEYS",
    "NODE_IMAGES",
    "PARAMETERS",
    "PRESETS",
    "PROXY_HEADERS",
    "SECRETS",
    "AnalysisSettings",
    "ConnectionSettings",
    "EmptyStreams",
    "Kind",
    "Parameter",
    "Percent",
    "PodSource",
    "Reference",
    "References",
    "RetentionRule",
    "RunSettings",
    "Settings",
    "UnfitError",
    "UsageHistory",
    "UsingCluster",
    "is_secret",
    "may_hold_credentials",
    "minutes_of",
    "read",
    "settled_by",
    "shown",
    "with_references",
]
