"""Names of properties: those of a Pulumi schema in camelCase,
which every language turns into its own, and those of parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def camel(name: str) -> str:
    """`keep_younger_than` as `keepYoungerThan`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def snake(name: str) -> str:
    """`keepYoungerThan` as `keep_younger_than`; a name in that form already stays as it is."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def to_parameters(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties by the names of parameters.

    Those of a state that the dynamic provider wrote have these names already.
    """
    return {name if name.startswith("__") else snake(name): value for name, value in properties.items()}


def to_properties(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the names of the schema, without what is the dynamic provider's own."""
    return {camel(name): value for name, value in values.items() if not name.startswith("__")}
