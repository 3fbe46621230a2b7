"""
Label and field selectors of lists and watches: the text of a query parameter in, a predicate on stored objects out.
Sources: k8s.io/apimachinery/pkg/labels and pkg/fields.
"""

import re
from collections.abc import Callable

from sandbox import status
from sandbox.store import Selector, Stored

_SET = re.compile(r"^\s*(?P<key>\S+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)\s*$")
_EQUALITY = re.compile(r"^\s*(?P<key>[^=!\s]+)\s*(?P<op>==|=|!=)\s*(?P<value>\S*)\s*$")
_PRESENCE = re.compile(r"^\s*(?P<absent>!?)\s*(?P<key>[^=!\s]+)\s*$")
_COMMA_OUTSIDE = re.compile(r",(?![^(]*\))")

_FIELDS: dict[str, Callable[[Stored], str]] = {
    "metadata.name": lambda item: str(item.metadata["name"]),
    "metadata.namespace": lambda item: str(item.metadata.get("namespace", "")),
    "status.phase": lambda item: str((item.content.get("status") or {}).get("phase", "")),
}


def selector(labels: str, fields: str) -> Selector | None:
    """What both select; None selects everything. StatusError 400 for a text that is no selector."""
    wanted = [_label(part) for part in _COMMA_OUTSIDE.split(labels) if part]
    wanted += [_field(part) for part in fields.split(",") if part]
    return (lambda item: all(test(item) for test in wanted)) if wanted else None


def _labels(item: Stored) -> dict[str, str]:
    return item.metadata.get("labels") or {}


def _label(part: str) -> Selector:
    if found := _SET.match(part):
        key, values, inside = found["key"], {value.strip() for value in found["values"].split(",")}, found["op"] == "in"
        return lambda item: (_labels(item).get(key) in values) == inside
    if found := _EQUALITY.match(part):
        key, value, same = found["key"], found["value"], found["op"] != "!="
        return lambda item: (_labels(item).get(key) == value) == same
    if found := _PRESENCE.match(part):
        key, present = found["key"], not found["absent"]
        return lambda item: (key in _labels(item)) == present
    raise status.bad_request(f"unable to parse requirement: {part!r}")


def _field(part: str) -> Selector:
    found = _EQUALITY.match(part)
    if found is None:
        raise status.bad_request(f"invalid selector: {part!r}; can't understand {part!r}")
    if found["key"] not in _FIELDS:
        raise status.bad_request(f"field label not supported: {found['key']}")
    read, value, same = _FIELDS[found["key"]], found["value"], found["op"] != "!="
    return lambda item: (read(item) == value) == same
