"""Everything that pruner raises on purpose, as one tree.

Each message says what is wrong, where, and what to do about it; the provider, the command line and the fleet print it
without a traceback. Anything else that is raised is a defect of pruner. Messages may quote a cluster, a server or a
file as it is: they are made printable here.

    PrunerError
    ├── SettingsError            a parameter is wrong; nothing was contacted
    ├── ClusterError             the API could not be asked
    │   ├── UnauthorizedError    401: it does not know who asks
    │   ├── ForbiddenError       403: it knows and refuses
    │   ├── NotFoundError        404
    │   ├── ConflictError        409: the object has changed
    │   ├── ExpiredError         410: a `continue` token or resource version is too old
    │   └── ConnectionLostError  no response, or not all of it
    ├── RegistryError            the registry could not be asked
    ├── InvalidReferencesError   pull specs that do not parse (R9)
    ├── UnsafePlanError          a plan that must not be applied
    └── ApplyError               some of a plan could not be done; the rest was
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pruner.printable import LONGEST_LINE, prefixed, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


_MOST_REFERENCES: Final = 100
"""Invalid references that one message lists."""


class PrunerError(Exception):
    """The root: `str()` of any of them can be shown to a user.

    A message is one line. A longer one is given line by line, and its lines after the first begin with `- `.
    """

    def __init__(self, message: str, *lines: str) -> None:
        text = printable(message.strip(), LONGEST_LINE, again=True)
        super().__init__(f"{text}\n{prefixed(lines)}" if lines else text)


class Problem:
    """One thing that is wrong with one parameter. Both texts are printable, whatever was given."""

    __slots__ = ("message", "parameter")

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter = printable(parameter, LONGEST_LINE, again=True)
        self.message = printable(message.strip(), LONGEST_LINE, again=True)

    def __str__(self) -> str:
        return f"{self.parameter}: {self.message}" if self.parameter else self.message

    __repr__ = __str__


class SettingsError(PrunerError):
    """All that is wrong with the parameters, found before anything is contacted."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        # Not through the constructor of PrunerError: problems are printable already.
        Exception.__init__(self, "\n".join(str(problem) for problem in self.problems))


class ClusterError(PrunerError):
    """The API server could not be asked, or gave an answer that cannot be used."""

    status: int | None = None


class UnauthorizedError(ClusterError):
    """401: the API server does not accept the credentials."""

    status = 401


class ForbiddenError(ClusterError):
    """403: a permission is missing; the message names verb, group and resource."""

    status = 403


class NotFoundError(ClusterError):
    """404: the object, or the kind, is not there."""

    status = 404


class ConflictError(ClusterError):
    """409: the object is another one than the one that was looked at."""

    status = 409


class ExpiredError(ClusterError):
    """410: what the request refers to is too old for the API server to know."""

    status = 410


class ConnectionLostError(ClusterError):
    """The API server does not answer, or has ended its answer before it was whole."""


class RegistryError(PrunerError):
    """The registry could not be asked, or refuses."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class InvalidReferencesError(PrunerError):
    """Pull specs or names that do not parse: until they are understood, what they use is not known (R9)."""

    def __init__(self, references: Sequence[str]) -> None:
        self.references = tuple(references)
        count, rest = len(self.references), len(self.references) - _MOST_REFERENCES
        super().__init__(
            f"{count} image {'reference does' if count == 1 else 'references do'} not parse, so it is not known which "
            "images are in use, and nothing is pruned; correct them, or set ignore_invalid_refs to continue without "
            "them:",
            *self.references[:_MOST_REFERENCES],
            *([f"and {rest} more"] if rest > 0 else []),
        )


class UnsafePlanError(PrunerError):
    """The plan, or the approval of it, must not be applied."""


class ApplyError(PrunerError):
    """Some deletions failed; everything else was done, and the next run goes on from there."""
