"""Where whole plans are kept between `check`, which makes them, and `create` or `update` in another process.

The inputs hold a plan's fingerprint, which covers what would be deleted and nothing else. Policies look at more (sizes,
ages, what is kept), so the file has to be as trustworthy as the process itself: the folder and the files belong to the
user and are closed to everybody else, and the last line of a file is a digest of all lines before it. Anything else is
refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

import msgspec

from pruner.analysis import Analysis
from pruner.errors import PrunerError, UnsafePlanError
from pruner.files import PART, bounded_blocks, replace_file
from pruner.plan import PrunePlan, decode
from pruner.report.jsonl import decode_report, encode_report
from pruner.report.model import Report

_KEPT: Final = 7 * 24 * 3600
"""Seconds after which a plan that nobody has carried out is removed."""
_WRITING: Final = 3600
"""Seconds after which a file that is still being written belongs to a run that was killed."""

_LONGEST_NOTE: Final = 1000

_waiting: Final[Counter[Path]] = Counter()
"""Resources of this program that have made the same plan and have not carried it out yet, by its file."""


class _Seal(msgspec.Struct, frozen=True, tag="seal", tag_field="line"):
    """The last line of a kept plan: the SHA-256 of all bytes before it."""

    sha256: str


class KeptPlans:
    """The plans in a folder that belongs to the user: their names, the checks, writing and reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_user(cls) -> Self:
        """Those in `$XDG_CACHE_HOME/pruner/plans`; by default `~/.cache/pruner/plans`.

        Raises PrunerError without a home folder.
        """
        cache = os.environ.get("XDG_CACHE_HOME") or ""
        if not os.path.isabs(cache):
            # As the specification has it: a relative path is ignored. It would be another folder for the policy pack.
            try:
                cache = str(Path.home() / ".cache")
            except RuntimeError:
                raise PrunerError(
                    "there is no home folder to keep the plan in: let XDG_CACHE_HOME name a folder"
                ) from None
        return cls(Path(cache) / "pruner" / "plans")

    def path(self, fingerprint: str) -> Path:
        """Where the plan with this fingerprint is kept. Raises UnsafePlanError for what is not a fingerprint."""
        algorithm, _, digits = fingerprint.partition(":")
        if algorithm != "sha256" or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            raise UnsafePlanError(f"{fingerprint!r} is not the fingerprint of a plan; run up again")
        return self.folder / f"sha256-{digits}.jsonl"

    def keep(self, analysis: Analysis) -> Path:
        """Keep the plan and what is known of everything that stays. Removes what earlier runs have left behind.

        Raises PrunerError when it cannot be written, or the folder is not the user's own.
        """
        return self.write(analysis.plan.fingerprint, encode_report(analysis))

    def write(self, fingerprint: str, blocks: Iterable[bytes]) -> Path:
        """Keep these blocks of a report of the plan with this fingerprint. Raises as `keep` does."""
        path = self.path(fingerprint)
        try:
            self._make()
            replace_file(path, _sealed(blocks))
        except PrunerError as error:
            raise PrunerError(
                f"the plan cannot be kept for up: {error}; let XDG_CACHE_HOME name a folder of your own that can be "
                "written"
            ) from None
        self.expect(fingerprint)
        self._sweep()
        return path

    def expect(self, fingerprint: str) -> None:
        """Let one resource more of this program carry out the plan that is kept."""
        _waiting[self.path(fingerprint)] += 1

    def plan(self, fingerprint: str) -> PrunePlan:
        """The plan with this fingerprint. Raises UnsafePlanError when there is none, or it is not what was kept."""
        path = self.path(fingerprint)
        with self._verified(path, fingerprint) as blocks:
            return _checked(decode(blocks, str(path)), path, fingerprint)

    def report(self, fingerprint: str) -> Report:
        """The plan with what is known of everything that stays. Raises UnsafePlanError as `plan` does."""
        path = self.path(fingerprint)
        with self._verified(path, fingerprint) as blocks:
            report = decode_report(blocks, str(path))
            _checked(report.plan, path, fingerprint)
            return report

    def forget(self, fingerprint: str) -> None:
        """Remove the plan, unless another resource of this program has still to carry it out.

        A file that cannot be removed goes after a week, as those that previews leave behind do.
        """
        path = self.path(fingerprint)
        _waiting[path] -= 1
        if _waiting[path] <= 0:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def write_note(self, name: str, text: str) -> None:
        """Keep a short text for later processes, for as long as a plan.

        Raises PrunerError when it cannot be written.
        """
        self._make()
        replace_file(self.folder / f"note-{name}", [text.encode()])

    def note(self, name: str) -> str | None:
        """The text that was kept under this name; None where there is none, or it is not the user's own."""
        path = self.folder / f"note-{name}"
        try:
            self._check_folder()
            with open(path, "rb", opener=_open) as file:
                _check_file(os.fstat(file.fileno()), path)
                return file.read(_LONGEST_NOTE).decode(errors="replace")
        except (OSError, PrunerError):
            return None

    def _make(self) -> None:
        try:
            # Its parents are for their owner as well: whoever may rename the folder may put another one into its place.
            for each in (self.folder.parent, self.folder):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PrunerError(f"{self.folder}: cannot be made: {error.strerror}") from None
        self._check_folder()

    def _check_folder(self) -> None:
        """Raise PrunerError unless only this user can look into the folder and change it."""
        for folder, closed in ((self.folder.parent, 0o022), (self.folder, 0o077)):
            found = folder.lstat()
            if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
                raise PrunerError(f"{folder}: is not a folder but a link or a file; remove it")
            if found.st_uid != os.geteuid():
                raise PrunerError(f"{folder}: belongs to user {found.st_uid}, who could change the plan; remove it")
            if found.st_mode & closed:
                raise PrunerError(
                    f"{folder}: is open to other users (mode {stat.S_IMODE(found.st_mode):04o}); run chmod 0700 on it"
                )

    def _sweep(self) -> None:
        now = time.time()
        for pattern, age in (("sha256-*.jsonl", _KEPT), ("note-*", _KEPT), (PART, _WRITING)):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < now - age:
                        path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _verified(self, path: Path, fingerprint: str) -> Iterator[Iterator[bytes]]:
        """A kept plan, in blocks of whole lines. Without an error at the end, every byte of the file was verified.

        Raises UnsafePlanError when it is absent, is not the user's own, or its seal is not that of its content.
        """
        try:
            self._check_folder()
            with open(path, "rb", opener=_open) as file:
                _check_file(os.fstat(file.fileno()), path)
                blocks = _unsealed(bounded_blocks(file, str(path)), path)
                yield blocks
                for _ in blocks:
                    pass
        except OSError as error:
            raise UnsafePlanError(
                f"the plan {fingerprint} cannot be read ({path}: {error.strerror}); run up again"
            ) from None
        except UnsafePlanError:
            raise
        except PrunerError as error:
            raise UnsafePlanError(f"{error}; then run up again") from None


def _open(path: str, flags: int) -> int:
    # Without waiting for whoever writes into a pipe that stands in a plan's place.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _check_file(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnsafePlanError(f"{path}: is not a regular file; remove it and run up again")
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UnsafePlanError(
            f"{path}: belongs to user {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):04o}, so others could "
            "have changed it; remove it and run up again"
        )


def _checked(plan: PrunePlan, path: Path, fingerprint: str) -> PrunePlan:
    if plan.fingerprint != fingerprint:
        raise UnsafePlanError(f"{path}: is the plan {plan.fingerprint}, not {fingerprint}; run up again")
    return plan


def _sealed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        yield block
    yield msgspec.json.encode(_Seal(digest.hexdigest())) + b"\n"


def _unsealed(blocks: Iterable[bytes], path: Path) -> Iterator[bytes]:
    """All lines but the seal; raises UnsafePlanError at the end when it is absent or another one."""
    digest, seal = hashlib.sha256(), b""
    for block in blocks:
        start = block.rfind(b"\n", 0, -1) + 1
        # What was the last line so far was not the file's last one.
        before, seal = seal + block[:start], block[start:]
        digest.update(before)
        yield before
    if seal != msgspec.json.encode(_Seal(digest.hexdigest())) + b"\n":
        raise UnsafePlanError(f"{path}: is truncated, or was changed since it was written; run up again")
