"""Reads a command line of `oc adm prune images` as parameters of pruner.

The flags are those of oc 4.21 (pkg/cli/admin/prune/images/images.go of openshift/oc, and the global flags of kubectl),
written as its flag library takes them: `--flag=value`, `--flag value`, `-n value`, and `--flag` alone for booleans.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

import msgspec

from pruner.cli.translation import Counterpart, Translation, translation
from pruner.errors import Problem, SettingsError
from pruner.settings import UnfitError, shown
from pruner.settings.durations import minutes_of_go
from pruner.suggestions import did_you_mean


def _boolean(text: str) -> bool:
    # What Go's strconv.ParseBool takes.
    if text in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if text in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    raise UnfitError(f"takes true or false, not {shown(text)}")


def _inverted(text: str) -> bool:
    return not _boolean(text)


def _duration(text: str) -> int:
    minutes = minutes_of_go(text)
    if minutes < 0:
        raise UnfitError("must not be negative")
    return minutes


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One flag of oc."""

    counterpart: Counterpart
    value: Callable[[str], Any] = str
    several: bool = False

    @property
    def alone(self) -> bool:
        """Whether it may stand without a value, which is then true."""
        return self.value in (_boolean, _inverted)


def _sets(parameter: str, value: Callable[[str], Any] = str, note: str = "", **more: bool) -> Flag:
    several = more.pop("several", False)
    return Flag(counterpart=Counterpart(parameter, note, **more), value=value, several=several)


def _ignored(note: str, value: Callable[[str], Any] = str, *, said: bool = True) -> Flag:
    return Flag(counterpart=Counterpart(note=note, said=said), value=value)


def _refused(note: str) -> Flag:
    return Flag(counterpart=Counterpart(note=note, refused=True))


_LOGGING: Final = "pulumi has --verbose and --logtostderr of its own"

FLAGS: Final[Mapping[str, Flag]] = {
    "all": _sets("all_images", _boolean),
    "certificate-authority": _sets("registry_ca_cert",
                                   note="of the registry, as in oc; the API's is in the kubeconfig"),
    "confirm": _ignored("`pulumi up` deletes, and `pulumi preview` is what oc does without it", _boolean),
    "force-insecure": _sets("registry_validate_certs", _inverted, "the opposite"),
    "ignore-invalid-refs": _sets("ignore_invalid_refs", _boolean),
    "keep-tag-revisions": _sets("keep_tag_revisions"),
    "keep-younger-than": _sets("keep_younger_than", _duration, "in minutes, rounded up"),
    "num-workers": _sets("workers", note="concurrent requests, of which oc has 5 by default and pruner 20"),
    "prune-over-size-limit": _sets("prune_over_size_limit", _boolean, "oc refuses the two keep flags beside it"),
    "prune-registry": _sets("prune_registry", _boolean),
    "registry-url": _sets("registry_url"),
    "namespace": _sets("namespace", note="oc looks for references in this namespace only; pruner in all namespaces",
                       said=True),
    "server": _sets("host"),
    "token": _sets("api_key"),
    "username": _sets("username"),
    "password": _sets("password"),
    "client-certificate": _sets("client_cert"),
    "client-key": _sets("client_key"),
    "insecure-skip-tls-verify": _sets("validate_certs", _inverted,
                                      "the opposite; also for the registry, unless it has a CA"),
    "kubeconfig": _sets("kubeconfig"),
    "context": _sets("context"),
    "as": _sets("impersonate_user"),
    "as-group": _sets("impersonate_groups", several=True),
    "as-uid": _refused("impersonation is by name and group; name the user with --as"),
    "as-user-extra": _refused("impersonation is by name and group; name the user with --as"),
    "cluster": _refused("select a context of the kubeconfig that has this cluster, with --context"),
    "user": _refused("select a context of the kubeconfig that has this user, with --context"),
    "tls-server-name": _refused("write it into the kubeconfig's cluster, as tls-server-name"),
    "cache-dir": _ignored("discovery is not cached", said=False),
    "disable-compression": _ignored("answers are compressed where the server can", _boolean, said=False),
    "kuberc": _ignored("a kuberc file is not read", said=False),
    "log-flush-frequency": _ignored(_LOGGING, said=False),
    "loglevel": _ignored(_LOGGING, said=False),
    "match-server-version": _ignored("pruner is not tied to a version of the server", _boolean, said=False),
    "profile": _ignored(_LOGGING, said=False),
    "profile-output": _ignored(_LOGGING, said=False),
    "request-timeout": _ignored("docs/faults.md has the timeouts of pruner", said=False),
    "v": _ignored(_LOGGING, said=False),
    "vmodule": _ignored(_LOGGING, said=False),
    "warnings-as-errors": _ignored("warnings of the API server do not end a run", _boolean, said=False),
}  # fmt: skip
"""Every flag that oc takes, and what it is here."""

SHORT: Final[Mapping[str, str]] = {"n": "namespace", "s": "server", "v": "v"}
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=.*", re.DOTALL)


def is_command_line(words: Sequence[str]) -> bool:
    """Whether the words are a command line of oc, after assignments of variables."""
    command = next((word for word in words if not _ASSIGNMENT.fullmatch(word)), "")
    return PurePath(command).name in ("oc", "oc.exe")


def from_command_line(words: Sequence[str]) -> Translation:
    """The parameters that the command line stands for. Raises SettingsError for one that cannot be translated."""
    notes: list[str] = []
    problems: list[Problem] = []
    rest = list(words)
    while rest and (assignment := _ASSIGNMENT.fullmatch(rest[0])):
        notes.append(f"{assignment[1]}: set this variable for pulumi as well")
        del rest[0]
    given = list(_given(rest[1:], problems))
    values: dict[str, Any] = {}
    for name, text in given:
        flag = FLAGS[name]
        _take(name, flag, text, values, problems)
        if flag.counterpart.refused:
            problems.append(Problem(f"--{name}", f"has no counterpart: {flag.counterpart.note}"))
        elif flag.counterpart.said:
            notes.append(f"--{name}: {flag.counterpart.note}")
    names = {name for name, _ in given}
    if "prune-over-size-limit" in names and names & {"keep-younger-than", "keep-tag-revisions"}:
        problems.append(
            Problem("--prune-over-size-limit", "oc refuses it beside --keep-younger-than and --keep-tag-revisions")
        )
    if values.get("validate_certs") is False and "registry_ca_cert" in values:
        values.setdefault("registry_validate_certs", True)
    if "context" not in values and "host" not in values:
        notes.append(
            "no --context: oc and pruner then use the kubeconfig's current one; name it, so that the stack always "
            "means the same cluster"
        )
    return translation(values, notes, problems)


def _take(name: str, flag: Flag, text: str, values: dict[str, Any], problems: list[Problem]) -> None:
    """Put the flag's value among the values. The last one of a flag wins, as in oc."""
    try:
        value = flag.value(text)
    except UnfitError as unfit:
        problems.append(Problem(f"--{name}", str(unfit)))
        return
    parameter = flag.counterpart.parameter
    if parameter is not None:
        values[parameter] = [*values.get(parameter, []), value] if flag.several else value


def _given(words: Sequence[str], problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """The flags of the command line with their values as texts.

    The problems get what is not known, or is not in its place.
    """
    command: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            command.append(word)
            continue
        name, text = _flag(word)
        if name not in FLAGS:
            known = [f"--{each}" for each in FLAGS]
            problems.append(
                Problem(
                    "",
                    (
                        "oc adm prune images has no flag "
                        f"{shown(word.partition('=')[0])}{did_you_mean(f'--{name}', known)}"
                    ),
                )
            )
        elif text is not None:
            yield name, text
        elif FLAGS[name].alone:
            yield name, "true"
        elif rest:
            yield name, rest.pop(0)
        else:
            problems.append(Problem(f"--{name}", "needs a value"))
    if command != ["adm", "prune", "images"]:
        # What stands there may be the value of a misspelt flag, so it is not quoted.
        problems.append(
            Problem("", "only oc adm prune images can be translated, without further commands and arguments")
        )


def _flag(word: str) -> tuple[str, str | None]:
    """A flag's long name, and its value where that is in the same word."""
    if word.startswith("--"):
        name, equals, text = word[2:].partition("=")
        return name, text if equals else None
    text = word[2:].removeprefix("=")
    return SHORT.get(word[1], word[1:]), text or None


def words_of(line: str) -> list[str]:
    """The words of a command line as a shell splits it. Raises SettingsError."""
    try:
        return shlex.split(line.replace("\\\n", " "), comments=True)
    except ValueError:
        raise SettingsError(
            [Problem("", "the command line cannot be split into words: a quote is not closed")]
        ) from None
