"""Values that stand elsewhere: `{env: VARIABLE}` and `{file: PATH}` in `fleet.yaml` and `uses_from`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pruner.settings.shown import LONGEST, may_hold_credentials
from pruner.settings.values import UnfitError

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that does not stand in the file: that of an environment variable, or the content of a file."""

    env: Text | None = None
    file: Text | None = None

    def __str__(self) -> str:
        return f"environment variable {_plain(self.env)}" if self.env else f"file {_plain(self.file or '')}"

    def looked_up(self, folder: Path, environ: Mapping[str, str]) -> str:
        """The value, without blanks around it; a relative path is one in `folder`. Raises UnfitError."""
        try:
            found = environ[self.env] if self.env else (folder / Path(self.file or "").expanduser()).read_text("utf-8")
        except KeyError:
            raise UnfitError(f"the environment has no {_plain(self.env or '')}") from None
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise UnfitError(f"{self} cannot be read: {reason}") from None
        if not found.strip():
            raise UnfitError(f"{self} is empty")
        return found.strip()


def _plain(text: str) -> str:
    """A name as a message shows it; a secret may have been put in its place."""
    fit = text.isprintable() and len(text) <= LONGEST and not may_hold_credentials(text)
    return text if fit else "variable or file of that name (not shown: it may hold credentials)"


def with_references(value: Any) -> Any:
    """The value with `{env: ...}` and `{file: ...}` in it as references."""
    if isinstance(value, Mapping):
        if len(value) == 1 and value.keys() <= {"env", "file"} and all(isinstance(it, str) for it in value.values()):
            return Reference(**value)
        return {name: with_references(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [with_references(part) for part in value]
    return value
