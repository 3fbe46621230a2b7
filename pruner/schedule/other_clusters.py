"""What a scheduled run needs to know of other clusters that use the registry (R38)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pruner.schedule.monitoring import history_objection
from pruner.settings import ALIASES, BY_NAME, HISTORY, may_hold_credentials

USES_FROM: Final = "uses_from"
_REFUSED: Final = 'a secret does not go into a ConfigMap; give {"env": NAME}, and NAME in environment'
_FILES: Final = frozenset({"ca_cert", "client_cert", "client_key", "kubeconfig"})
_SOMEWHERE: Final = "https://in.the.container"


def users_objection(value: Any) -> str | None:
    """What is wrong with `uses_from` in a schedule's settings, which go into a ConfigMap; None if nothing is.

    What refers to the environment, or is a file in the container, is not known here.
    """
    if isinstance(value, str):
        return _REFUSED if may_hold_credentials(value) else None
    entries = value if isinstance(value, list | tuple) else [value]
    if any(_has_secret(entry) for entry in entries):
        return _REFUSED
    return BY_NAME[USES_FROM].objection([_known_here(entry) for entry in entries])


def _settings(entry: Any) -> Mapping[str, Any]:
    found = entry.get("settings") if isinstance(entry, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _has_secret(entry: Any) -> bool:
    named = ((ALIASES.get(key, key), value) for key, value in _settings(entry).items())
    return any(
        _is_plain(value)
        and ((name in BY_NAME and BY_NAME[name].secret) or (name in _FILES and may_hold_credentials(value)))
        for name, value in named
    )


def _is_plain(value: Any) -> bool:
    """Whether the value, or a part of it other than `user_agent`, stands here itself."""
    if not isinstance(value, Mapping):
        return True
    parts = (part for name, part in value.items() if name != "user_agent")
    return not value.keys() <= {"env", "file"} and any(map(_is_plain, parts))


def _known_here(entry: Any) -> Any:
    """The cluster without files and references, which may say where it is."""
    if not _settings(entry):
        return entry
    given = {ALIASES.get(key, key): value for key, value in _settings(entry).items()}
    unknown = {name for name, value in given.items() if name in _FILES or isinstance(value, Mapping)}
    settings = {name: value for name, value in given.items() if name not in unknown}
    if unknown & {"kubeconfig", "host", "context"}:
        settings.setdefault("host", _SOMEWHERE)
    if "api_key" in unknown or "password" in unknown:
        # A user name is nothing without its password.
        settings.pop("username", None)
    return {**entry, "settings": settings}


OBJECTIONS: Final[Mapping[str, Callable[[Any], str | None]]] = {HISTORY: history_objection, USES_FROM: users_objection}
"""What is wrong with parameters of which a part is a secret."""
