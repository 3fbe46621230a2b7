"""
What a replica of the registry keeps in memory: which repository has which blob. OpenShift runs two replicas, and what
one of them deletes the other one still remembers, until it is restarted.
"""


class Descriptors:
    """The descriptor cache of one replica; one that is not `remembering` has always to look."""

    def __init__(self, *, remembering: bool = True) -> None:
        self._remembering = remembering
        self._known: set[tuple[str, str]] = set()

    def has(self, repository: str, digest: str) -> bool:
        return (repository, digest) in self._known

    def remember(self, repository: str, digest: str) -> None:
        if self._remembering:
            self._known.add((repository, digest))

    def forget(self, digest: str, repository: str = "") -> None:
        """Forgets a blob in one repository, or in all of them."""
        self._known = {known for known in self._known if known[1] != digest or repository not in ("", known[0])}

    def clear(self) -> None:
        """Forgets everything, as a restart does."""
        self._known.clear()
