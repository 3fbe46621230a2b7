"""Everything that pruner raises on purpose, as one tree.

Each message says what is wrong, where, and what to do about it; it is printed as it is, without a traceback, by the
provider, the command line and the fleet alike. What is not in this tree is a defect of pruner.

    PrunerError
    ├── SettingsError            a parameter is wrong; nothing was contacted
    ├── ClusterError             the API could not be asked
    │   ├── UnauthorizedError    401: it does not know who asks
    │   ├── ForbiddenError       403: it knows and refuses
    │   ├── NotFoundError        404
    │   ├── ConflictError        409: the object has changed
    │   └── ExpiredError         410: a `continue` token or resource version is too old
    ├── RegistryError            the registry could not be asked
    ├── InvalidReferencesError   pull specs that do not parse (DECISIONS R9)
    ├── UnsafePlanError          a plan that must not be applied
    └── ApplyError               some of a plan could not be done; the rest was
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class PrunerError(Exception):
    """The root: `str()` of any of them is fit to be shown to a user."""


class Problem:
    """One thing that is wrong with one parameter."""

    __slots__ = ("message", "parameter")

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter = parameter
        self.message = message

    def __str__(self) -> str:
        return f"{self.parameter}: {self.message}" if self.parameter else self.message

    __repr__ = __str__


class SettingsError(PrunerError):
    """All that is wrong with the parameters, found before anything is contacted."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


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


class RegistryError(PrunerError):
    """The registry could not be asked, or refuses."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class InvalidReferencesError(PrunerError):
    """Pull specs or names that do not parse: until they are understood, what they use is not known (DECISIONS R9)."""

    def __init__(self, references: Sequence[str]) -> None:
        self.references = tuple(references)
        lines = "\n".join(f"  {reference}" for reference in self.references)
        super().__init__(
            f"{len(self.references)} image reference(s) do not parse, so what they use is not known and nothing is "
            f"pruned:\n{lines}\nCorrect them, or set ignore_invalid_refs to go on without them."
        )


class UnsafePlanError(PrunerError):
    """The plan, or the approval of it, must not be applied."""


class ApplyError(PrunerError):
    """Some deletions failed; everything else was done, and the next run goes on from there."""
