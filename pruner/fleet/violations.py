"""What is wrong with a fleet.yaml by its JSON schema, in words, and where it stands."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from pruner.documents.places import Document
from pruner.errors import Problem
from pruner.fleet.schema import OURS, schema
from pruner.settings import ALIASES, BY_NAME
from pruner.suggestions import did_you_mean

_TYPES: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a map",
    "string": "a text",
}


def violations(document: Document) -> list[Problem]:
    """Every violation of the schema, in the order of the file. No message repeats a value, which may be a secret."""
    found = {
        (document.key_at(*place) if of_key else document.at(*place), message): (place, of_key)
        for error in _validator().iter_errors(document.value)
        for place, message, of_key in _said(error)
    }

    def order(item: tuple[tuple[str, str], tuple[tuple[Any, ...], bool]]) -> tuple[int, int]:
        place, of_key = item[1]
        mark = (document.keys if of_key else document.values).get(place)
        return (mark.line, mark.column) if mark else (0, 0)

    return [Problem(where, message) for (where, message), _ in sorted(found.items(), key=order)]


@functools.cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def _said(error: ValidationError) -> Iterator[tuple[tuple[Any, ...], str, bool]]:
    """Place, message, and whether it is about the key there."""
    place = tuple(error.absolute_path)
    name = str(place[-1]) if place and isinstance(place[-1], str) else ""
    value = error.instance
    if _parameter(place) is not None and (error.validator == "anyOf" or error.schema.get("title") == "Reference"):
        yield place, _about_parameter(place, value), False
    elif error.validator == "additionalProperties":
        for extra in value.keys() - error.schema["properties"].keys():
            yield (*place, extra), _about_unknown(name, extra, error.schema["properties"]), True
    elif error.validator == "required":
        for missing in error.validator_value:
            if missing not in value:
                yield place, f"{missing} is missing", False
    else:
        yield place, f"{name}: {_wanted(error)}" if name else _wanted(error), False


def _wanted(error: ValidationError) -> str:
    wanted = error.validator_value
    match error.validator:
        case "type":
            return f"takes {_noun(error.schema)}"
        case "minimum":
            return f"takes at least {wanted}"
        case "minLength":
            return "takes a text that is not empty"
        case "pattern":
            return f"takes {error.schema['description']}"
        case "anyOf":
            # What may be left out: the schema's other branch is null.
            return f"takes {_noun(wanted[0])}"
        case _:
            return f"does not fit the schema ({error.validator})"


def _noun(schema: dict[str, Any]) -> str:
    types = schema.get("type", "object")
    nouns = " or ".join(_TYPES[each] for each in ([types] if isinstance(types, str) else types))
    if types == "object" and schema.get("properties"):
        nouns += f" of {', '.join(schema['properties'])}"
    if schema.get("minLength"):
        nouns += " that is not empty"
    return nouns


def _parameter(place: tuple[Any, ...]) -> str | None:
    """The parameter whose value, or part of a value, stands there."""
    if "settings" not in place[:-1]:
        return None
    return str(place[place.index("settings") + 1])


def _about_unknown(name: str, extra: str, known: dict[str, Any]) -> str:
    if name != "settings":
        return f"there is no {extra!r}{did_you_mean(extra, known)}"
    if ALIASES.get(extra, extra) in OURS:
        return f"{extra}: {OURS[ALIASES.get(extra, extra)]}"
    return f"there is no parameter {extra!r}{did_you_mean(extra, known)}"


def _about_parameter(place: tuple[Any, ...], value: Any) -> str:
    """About a value of a parameter, or a part of it: a secret in the
    file, a reference of another form, or a value of another type.
    """
    name = ".".join(map(str, place[place.index("settings") + 1 :]))
    parameter = BY_NAME[ALIASES.get(_parameter(place) or "", _parameter(place) or "")]
    if isinstance(value, dict) and value.keys() & {"env", "file"}:
        return f"{name}: takes one of env and file, and nothing else"
    if parameter.secret and not (parameter.kind == "object" and name == parameter.name):
        return f"{name}: a secret does not stand in this file; write {{env: VARIABLE}} or {{file: PATH}}"
    return f"{name}: takes {parameter.takes}, or {{env: VARIABLE}} or {{file: PATH}}"
