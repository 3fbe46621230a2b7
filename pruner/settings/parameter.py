"""How one parameter is given, checked and described."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from pruner.settings.values import UnfitError

Kind = Literal["boolean", "integer", "string", "array", "object", "any"]
"""A type of Pulumi.yaml; `any` is none, for what is a text or a map, which it has no type for."""

Parse = Callable[[object], Any]


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """How one parameter is given and described.

    What is left out here is read off the field: name, type, choices and default.
    """

    help: str
    """One line, which begins with a verb or a noun phrase."""
    parse: Parse
    metavar: str = "TEXT"
    """What the value is, in one word."""
    takes: str = ""
    """What the value may be, for documentation."""
    default: str = ""
    """What happens when it is not set, where the field's default does not say it."""
    aliases: tuple[str, ...] = ()
    environment: str | None = None
    secret: bool = False
    as_text: bool = False
    """Whether it is written as a text or a number, whatever the type of its value is."""
    name: str = ""
    kind: Kind = "string"
    choices: tuple[str, ...] = ()
    constant: bool = False
    """Whether the default is a value that is used when nothing
    is given. Otherwise "not set" means something of its own."""

    @property
    def schema_default(self) -> str:
        """The default in Pulumi.yaml, which wants one for all that is declared.

        In the schema, an empty string means "not set": the environment comes after the configuration, and with
        prune_over_size_limit two parameters apply only where they are set.
        """
        if self.kind in ("array", "object"):
            return "[]" if self.kind == "array" else "{}"
        return self.default if self.kind in ("boolean", "integer") and self.constant else ""

    def objection(self, value: object) -> str | None:
        """What is wrong with a value by itself; None where nothing is."""
        try:
            self.parse(value)
        except UnfitError as unfit:
            return str(unfit)
        return None
