"""The schema of the native provider, made from the declaration of the parameters:

SDKs of all languages are generated from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pruner import __version__
from pruner.provider.naming import camel
from pruner.provider.provider import NATIVE_TYPE
from pruner.settings import HOLD_KEYS, PARAMETERS, SECRETS, Kind, Parameter

TYPE: Final = NATIVE_TYPE
DYNAMIC_TYPE: Final = "pulumi-python:dynamic/pruner:PrunedImages"
_ANY: Final = {"$ref": "pulumi.json#/Any"}
_MAPS: Final = {"type": "object", "additionalProperties": _ANY}
_TYPES: Final[Mapping[Kind, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "string": {"type": "string"},
    "array": {"type": "array", "items": {"type": "string"}},
    "object": {"type": "object", "additionalProperties": {"type": "string"}},
    "any": _ANY,
}
_OUTPUTS: Final[Mapping[str, Any]] = {
    "deletedImages": {
        "type": "array",
        "items": _ANY,
        "description": "Whole Image objects that the latest up has deleted; their names where there are very many",
    },
    "updatedImageStreams": {
        "type": "array",
        "items": _ANY,
        "description": "Whole ImageStream objects that the latest up has updated, as they are since",
    },
    "summary": {**_MAPS, "description": "Counts, and `bytes` freed"},
    "skipped": {
        "type": "array",
        "items": {"type": "object", "additionalProperties": {"type": "string"}},
        "description": "What was planned or approved and is used again, with the reason",
    },
    "failures": {
        "type": "array",
        "items": {"type": "object", "additionalProperties": {"type": "string"}},
        "description": "What could not be deleted, with the reason",
    },
    "registryRestart": {
        **_MAPS,
        "description": "Whether the registry's replicas were restarted after blobs were deleted, and the command; "
        "empty where they need not be",
    },
    "backlog": {**_MAPS, "description": "What a refresh has found to prune, in sums; empty after up"},
    "plan": {**_MAPS, "description": "What the next up deletes, in a preview; empty otherwise"},
}


def schema() -> dict[str, Any]:
    """The schema of the package `pruner`, as Pulumi's engine asks for it."""
    inputs = {camel(parameter.name): _property(parameter) for parameter in PARAMETERS}
    return {
        "name": "pruner",
        "displayName": "pruner",
        "version": __version__,
        "description": "Removes unused container images from OpenShift clusters",
        "keywords": ["openshift", "container-registry", "image-pruning", "category/cloud"],
        "license": "Apache-2.0",
        "publisher": "pruner",
        "meta": {"supportPack": True},
        "config": {"variables": inputs},
        "provider": {"description": "Parameters of every PrunedImages that it provides", "inputProperties": inputs},
        "resources": {
            TYPE: {
                "description": "The pruned state of an OpenShift cluster: a preview lists what would be deleted, "
                "and up deletes it.",
                "inputProperties": inputs,
                "properties": {**inputs, **_OUTPUTS},
                "aliases": [{"type": DYNAMIC_TYPE}],
            }
        },
        "language": {
            "go": {"generateResourceContainerTypes": False},
            "nodejs": {"respectSchemaVersion": True},
            "python": {"respectSchemaVersion": True, "pyproject": {"enabled": True}},
        },
    }


def schema_text() -> str:
    return json.dumps(schema(), indent=2) + "\n"


def _property(parameter: Parameter) -> dict[str, Any]:
    environment = f"; environment {parameter.environment}" if parameter.environment else ""
    return {
        **_TYPES[parameter.kind],
        "description": f"{parameter.help} ({parameter.takes}; default {parameter.default}{environment})",
        **({"secret": True} if parameter.name in SECRETS | HOLD_KEYS else {}),
    }
