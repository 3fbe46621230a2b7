"""Where the history of running containers is kept: `usage_history` (R39)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final

import msgspec

from pruner.documents.values import DocumentError, from_json
from pruner.settings.files import certificates
from pruner.settings.parameter import Parameter
from pruner.settings.shown import shown
from pruner.settings.values import UnfitError, age, bearer_token, boolean, history_url, text_of
from pruner.suggestions import did_you_mean


class UsageHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A Prometheus that has scraped kube-state-metrics.

    Without a `token` the cluster's own credentials are used, which OpenShift's monitoring accepts. `ca_cert` is a path
    or PEM content. With `partial_history` a history that is shorter than the window is used as far as it goes.
    """

    url: str
    ca_cert: str | None = None
    token: str | None = None
    partial_history: bool = False

    def __repr__(self) -> str:
        return f"UsageHistory({self.url})"


_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "url": history_url,
    "ca_cert": certificates,
    "token": bearer_token,
    "partial_history": boolean,
}


def usage_history(value: object) -> UsageHistory:
    """The setting, from a map or JSON. Raises UnfitError with every mistake; none of them shows the token."""
    value = _mapped(value)
    fields: dict[str, Any] = {}
    wrong: list[str] = []
    for key, given in value.items():
        if key not in _KEYS:
            wrong.append(f"there is no key {shown(key)}{did_you_mean(str(key), _KEYS)}")
        elif given is not None:
            try:
                fields[key] = _KEYS[key](given)
            except UnfitError as unfit:
                wrong += [f"{key} {problem}" for problem in unfit.problems]
    if value.get("url") is None:
        wrong.append("url is missing, such as url: https://thanos-querier-openshift-monitoring.apps.example.org")
    if wrong:
        raise UnfitError(*wrong)
    return UsageHistory(**fields)


def may_be_partial(value: object) -> bool:
    """Whether the setting allows a history that is shorter than the window; nothing else of it is looked at."""
    return boolean(_mapped(value).get("partial_history") or False)


def _mapped(value: object) -> Mapping[Any, Any]:
    """The map as it is given, or as JSON."""
    if isinstance(value, str):
        try:
            value = from_json(text_of(value).strip())
        except DocumentError as error:
            raise UnfitError(str(error)) from None
    if not isinstance(value, Mapping):
        raise UnfitError(f"takes a map of {', '.join(_KEYS)}, not {shown(value)}")
    return value


class Window(timedelta):
    """How far back use counts.

    Unlike other ages it is written with its unit as a rule, so that it is a text in schemas.
    """


def window(value: object) -> Window:
    """How far back use counts: minutes, or such as 30d, and more than nothing."""
    found = age(value)
    if not found:
        raise UnfitError("must be at least a minute; leave it out for no window")
    return Window(seconds=found.total_seconds())


@dataclass(frozen=True, kw_only=True)
class HistorySettings:
    """How far back use counts, and who knows it."""

    keep_used_within: Annotated[
        Window | None,
        Parameter(
            parse=window,
            metavar="AGE",
            takes="minutes, or such as 30d",
            default="only what is in use now",
            help="Keep images that ran within this time, by usage_history",
        ),
    ] = None
    usage_history: Annotated[
        UsageHistory | None,
        Parameter(
            parse=usage_history,
            metavar="JSON",
            takes="map of url, ca_cert, token and partial_history",
            help="Prometheus that knows which images ran, for keep_used_within",
        ),
    ] = None
