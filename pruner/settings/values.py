"""From what is given to a value: numbers, texts, URLs, times, patterns. What does not fit gives an UnfitError.

Values come from programs, from a stack's configuration, where everything is a text, and from the environment. The
message of an error is one line, and shows the value only through `shown`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, cast
from urllib.parse import SplitResult, urlsplit

import msgspec

from pruner.documents.values import DocumentError, from_json
from pruner.settings.shown import may_hold_credentials, shown
from pruner.suggestions import did_you_mean

References = Literal["extended", "oc"]
Attached = Literal["follow", "keep"]


class Percent(msgspec.Struct, frozen=True):
    """A share, 0 to 100."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:g}%"


_SHA256: Final = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.ASCII)


class UnfitError(Exception):
    """A value that is not what the parameter takes; each of the `problems` says what it takes."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


# --- booleans and numbers --------------------------------------------------------------------------------------------


def boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    # The words that Ansible takes for booleans, since its playbooks' values are brought along.
    text = str(value).strip().lower() if isinstance(value, str | float) or value in (0, 1) else ""
    if text in {"true", "yes", "on", "1", "1.0", "y", "t"}:
        return True
    if text in {"false", "no", "off", "0", "0.0", "n", "f"}:
        return False
    raise UnfitError(f"takes true or false, not {shown(value)}")


def integer(value: object, least: int = 0, most: int | None = None) -> int:
    whole = _whole(value)
    if whole < least:
        raise UnfitError(f"must be at least {least}, not {shown(whole)}")
    if most is not None and whole > most:
        raise UnfitError(f"must be at most {most}, not {shown(whole)}")
    return whole


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[0-9]{1,4000}\s*", value):
        return int(value)
    try:
        number = float(value) if isinstance(value, float | str) else math.nan
    except ValueError:
        number = math.nan
    if not number.is_integer():  # neither are infinity and NaN
        raise UnfitError(f"takes a whole number, not {shown(value)}")
    return int(number)


LONGEST_AGE: Final = 1_000_000_000
"""Minutes, 1900 years: no date is so long ago that an age could be longer."""
MINUTES: Final[Mapping[str, int]] = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}
"""Units of ages, in minutes."""


def age(value: object) -> timedelta:
    """An age: minutes, or a text such as `90m`, `36h`, `14d` or `8w`.

    The one place that decides how durations are written.
    """
    found = re.fullmatch(r"\s*([0-9]{1,12})([mhdw])\s*", value) if isinstance(value, str) else None
    number: object = int(found[1]) * MINUTES[found[2]] if found else value
    try:
        return timedelta(minutes=integer(number, most=LONGEST_AGE))
    except UnfitError as unfit:
        raise UnfitError(f"{unfit}; it is an age in minutes, or such as 36h or 14d") from None


def minutes_of(age: timedelta) -> int:
    """An age in minutes, as settings and plans write it; what is more than a whole minute is left out."""
    return age // timedelta(minutes=1)


MOST_WORKERS: Final = 10_000
"""Concurrent requests. A process has file descriptors for some thousand connections."""


def workers(value: object) -> int:
    return integer(value, least=1, most=MOST_WORKERS)


def count(value: object) -> int:
    return integer(value)


def deletions(value: object) -> int | Percent:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            share = float(value.strip()[:-1])
        except ValueError:
            share = -1.0
        if not 0 <= share <= 100:
            raise UnfitError(f"takes a number, or 0% to 100%, not {shown(value)}")
        return Percent(share)
    return integer(value)


# --- texts -----------------------------------------------------------------------------------------------------------


def text_of(value: object) -> str:
    if not isinstance(value, str):
        raise UnfitError(f"takes a text, not {type(value).__name__}")
    if not value.strip():
        raise UnfitError("is empty")
    return value


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnfitError("contains half a character (a lone surrogate), which cannot be sent") from None


def text(value: object) -> str:
    """A text that stands on one line."""
    found = text_of(value)
    if not found.isprintable():
        raise UnfitError("contains a line break or another control character")
    return found


_NO_HEADER: Final = "contains a line break or another control character, which a header cannot carry"


def header(value: object) -> str:
    """A text that is sent in a header."""
    found = secret_text(value)
    if not found.isprintable():
        raise UnfitError(_NO_HEADER)
    return found


def secret_text(value: object) -> str:
    """A password: it is encoded before it is sent, and may be any text without control characters."""
    if not isinstance(value, str) or not value:
        raise UnfitError("takes a text that is not empty")
    if any(ord(character) < 32 for character in value):
        raise UnfitError(_NO_HEADER)
    _check_encodable(value)
    return value


def user_name(value: object) -> str:
    """A user name of basic authentication, which ends at the first colon."""
    found = header(value)
    if ":" in found:
        raise UnfitError("contains a colon, which basic authentication cannot carry in a user name")
    return found


def bearer_token(value: object) -> str:
    """A token, also where it is given as a header has it (`Bearer TOKEN`)."""
    found = header(value).strip()
    scheme, _, rest = found.partition(" ")
    if rest and scheme.lower() == "bearer":
        found = rest.strip()
    elif rest and scheme.lower() == "basic":
        raise UnfitError("takes a bearer token, not basic credentials; give username and password instead")
    if not found or found.lower() == "bearer":
        raise UnfitError("takes a text that is not empty")
    if not re.fullmatch(r"[\x21-\x7e]+", found):
        raise UnfitError("contains a space or a character other than ASCII, which no token has")
    return found


def namespace(value: object) -> str:
    found = text_of(value)
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", found):
        raise UnfitError(f"{shown(found)} is not a namespace's name: lower case letters, digits and dashes, at most 63")
    return found


def references(value: object) -> References:
    if value not in ("extended", "oc"):
        raise UnfitError(f"takes 'extended' or 'oc', not {shown(value)}")
    return value


def attached(value: object) -> Attached:
    if value not in ("follow", "keep"):
        raise UnfitError(f"takes 'follow' or 'keep', not {shown(value)}")
    return value


def digest(value: object) -> str:
    """`sha256:...`, also of what sha256sum prints for it."""
    found = text_of(value).strip().lower()
    if not _SHA256.fullmatch(found):
        raise UnfitError(f"takes a SHA-256 digest, 64 hex digits as sha256sum prints them, not {shown(value)}")
    return f"sha256:{found.removeprefix('sha256:')}"


def moment(value: object) -> datetime:
    found = text_of(value)
    try:
        parsed = msgspec.convert(found, datetime)
    except (msgspec.ValidationError, ValueError):
        raise UnfitError(f"takes an RFC 3339 time like 2026-01-31T12:00:00Z, not {shown(found)}") from None
    if parsed.tzinfo is None:
        raise UnfitError(f"{shown(found)} does not say in which time zone it is; append Z for UTC")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise UnfitError(f"{shown(found)} is outside of what a calendar has") from None


# --- addresses -------------------------------------------------------------------------------------------------------


def _address(text: str) -> str:
    """An address as a message quotes it. What is wrong may have moved a password to any place in it."""
    return "one that is not shown, since it may hold credentials" if set("@?#\\") & set(text) else shown(text)


def _split(text: str) -> SplitResult:
    """The parts of a URL of which no part holds credentials."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        # The words of the standard library quote the part that it could not read.
        reason = f": {error}" if str(error).isprintable() and shown(text) == repr(text) else ""
        raise UnfitError(f"is not a URL{reason}") from None
    return parts


def _url(value: object, credentials_go: str) -> str:
    found = text_of(value).strip()
    if "@" in found:
        # A password with a slash in it is part of the path for a parser, so the @ is looked for everywhere.
        raise UnfitError(f"takes a URL without credentials in it: {credentials_go}")
    parts = _split(found)
    fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    if not fit or not found.isprintable() or re.search(r"[\s\\]", found):
        raise UnfitError(f"takes a URL like https://host:port, not {_address(found)}")
    if parts.query or parts.fragment or found.endswith(("?", "#")):
        raise UnfitError("takes a URL without query and fragment")
    _check_host(parts.hostname or "", found)
    # A scheme may be written in capitals; whether there is TLS is seen by it everywhere else.
    return (parts.scheme + found[len(parts.scheme) :]).rstrip("/")


def _check_host(host: str, found: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise UnfitError(f"names a host that no resolver can be asked for: {_address(found)}") from None


def api_url(value: object) -> str:
    return _url(value, "give username and password, or api_key")


def history_url(value: object) -> str:
    return _url(value, "give token")


def proxy_url(value: object) -> str:
    # Credentials would be shown wherever the address is, in the state too.
    return _url(value, "give proxy_headers with proxy_basic_auth")


def registry_url(value: object) -> str:
    found = text_of(value).strip()
    if "@" in found:
        raise UnfitError("takes [scheme://]host[:port] without credentials")
    with_scheme = found if "://" in found else f"https://{found}"
    try:
        checked = _url(with_scheme, "")
    except UnfitError:
        raise UnfitError(f"takes [scheme://]host[:port], not {_address(found)}") from None
    if urlsplit(checked).path:
        raise UnfitError(f"takes [scheme://]host[:port] without a path, not {_address(found)}")
    return checked if "://" in found else found.rstrip("/")


_LABEL: Final = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]{0,251}[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_VALUE: Final = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_REQUIREMENT: Final = re.compile(
    rf"\s*(?:!\s*{_LABEL}|{_LABEL}(?:\s*(?:==?|!=)\s*{_LABEL_VALUE})?"
    rf"|{_LABEL}\s+(?:in|notin)\s+\(\s*{_LABEL_VALUE}(?:\s*,\s*{_LABEL_VALUE})*\s*\))\s*"
)
"""One requirement of a label selector, as k8s.io/apimachinery/pkg/labels reads it."""
_COMMA: Final = re.compile(r",(?![^(]*\))")


def label_selector(value: object) -> str:
    """A label selector, which the API server evaluates: `a=b,c!=d,e in (f,g),h,!i`."""
    found = text(value).strip()
    if len(found) > LONGEST_SELECTOR:
        raise UnfitError(f"is longer than {LONGEST_SELECTOR} characters")
    for requirement in _COMMA.split(found):
        if not _REQUIREMENT.fullmatch(requirement):
            raise UnfitError(
                f"{shown(requirement.strip())} is not a requirement of a label selector, such as keep=true, tier!=dev, "
                "team in (a,b), keep or !temporary"
            )
    return found


LONGEST_SELECTOR: Final = 2000
"""Characters: it is sent in the URL."""


# --- lists and maps --------------------------------------------------------------------------------------------------


def texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        found = value.strip()
        if found.startswith("["):
            try:
                value = from_json(found)
            except DocumentError as error:
                raise UnfitError(f"looks like a JSON list and {error}") from None
        else:
            value = [part.strip() for part in found.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) and part for part in value):
        raise UnfitError("takes a list of texts")
    return tuple(cast("list[str]", value))


def groups(value: object) -> tuple[str, ...]:
    return tuple(header(group) for group in texts(value))


def patterns(value: object) -> tuple[str, ...]:
    found = texts(value)
    for pattern in found:
        if not re.fullmatch(r"[^/\s@]+/[^/\s@]+|[A-Za-z0-9+._*?-]+:[0-9A-Za-z*?=_\[\]-]+", pattern):
            # Of an address that is cut at the commas in its password each part looks harmless.
            quoted = "one of them" if may_hold_credentials(value) else shown(pattern)
            raise UnfitError(
                f"{quoted} is none of namespace/stream, namespace/stream:tag and a digest (* and ? are wildcards)"
            )
    return found


PROXY_HEADERS: Final[Mapping[str, str]] = {
    "basic_auth": "K8S_AUTH_PROXY_HEADERS_BASIC_AUTH",
    "proxy_basic_auth": "K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH",
    "user_agent": "K8S_AUTH_PROXY_HEADERS_USER_AGENT",
}
_HEADERS_WANTED: Final = "takes a map of basic_auth, proxy_basic_auth and user_agent"


def proxy_headers(value: object) -> dict[str, str]:
    if isinstance(value, str):
        try:
            value = from_json(value)
        except DocumentError:
            raise UnfitError(_HEADERS_WANTED) from None
    if not isinstance(value, Mapping):
        raise UnfitError(_HEADERS_WANTED)
    for name, found in value.items():
        if name not in PROXY_HEADERS:
            raise UnfitError(f"does not know {shown(name)}{did_you_mean(str(name), PROXY_HEADERS)}")
        try:
            (header if name == "user_agent" else secret_text)(found)
        except UnfitError as unfit:
            raise UnfitError(f"{name} {unfit}") from None
        if name != "user_agent" and ":" not in found:
            raise UnfitError(f"{name} takes user:password")
    return {name: value[name] for name in PROXY_HEADERS if name in value}
