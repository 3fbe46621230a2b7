"""The JSON schema of `fleet.yaml`, for editors: made from the structs that read it and the table of parameters.

`tools/generate.py` writes it to schema.json beside this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from pruner.fleet.model import WrittenFleet
from pruner.settings import PARAMETERS, Parameter, Reference

OURS: Final = {
    "approved_plan": "the fleet sets it for each cluster, from the folder of up --plans",
    "approved_digest": "the fleet sets it for each cluster, from approval.json",
    "report": "the fleet sets it for each cluster; `fleet report` shows them",
}
"""Parameters that a fleet sets itself."""
FILE: Final = Path(__file__).with_name("schema.json")
_REFERENCE: Final = {"$ref": "#/$defs/Reference"}
_WRITTEN: Final[dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "minimum": 0},
    "string": {"type": ["string", "integer", "number"]},
    "array": {"type": ["array", "string"]},
    "object": {"type": "object"},
    "any": {"type": ["array", "object", "string"]},
}


def schema() -> dict[str, Any]:
    """JSON schema, draft 2020-12."""
    (root,), definitions = msgspec.json.schema_components([WrittenFleet, Reference][:1], ref_template="#/$defs/{name}")
    definitions |= msgspec.json.schema_components([Reference], ref_template="#/$defs/{name}")[1]
    for name, definition in definitions.items():
        definition["additionalProperties"] = False
        if name.startswith("Written") and "settings" in definition["properties"]:
            definition["properties"]["settings"] = {"$ref": "#/$defs/Settings"}
    definitions["Reference"] |= {"minProperties": 1, "maxProperties": 1}
    definitions["Settings"] = {
        "description": "Parameters of pruner by name.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: _parameter(parameter)
            for parameter in PARAMETERS
            if parameter.name not in OURS
            for name in (parameter.name, *parameter.aliases)
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A fleet of clusters for `pruner fleet`",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described = {"description": f"{parameter.help} ({parameter.takes}; default {parameter.default})"}
    if parameter.kind == "object":
        written = {"type": "object", "additionalProperties": {"anyOf": [_REFERENCE, {"type": "string"}]}}
        return {**described, "anyOf": [_REFERENCE, written]}
    if parameter.secret:
        return {**described, **_REFERENCE}
    return {**described, "anyOf": [_REFERENCE, _WRITTEN[parameter.kind]]}


def text() -> str:
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"
