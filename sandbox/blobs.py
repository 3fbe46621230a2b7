"""
The registry's files, laid out as distribution lays them out: a blob once in `blobs`, and in every repository a link
file that lets it be reached. Deleting a link frees nothing, deleting a blob breaks whoever still links to it; telling
these two apart is what a pruner gets right or wrong.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """What the blobs take on disk."""

    blob_bytes: int
    files: int


class Blobs:
    """Blobs and links under `docker/registry/v2` of a folder. Digests are sha256, `sha256:` and 64 hex digits."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "docker" / "registry" / "v2"

    def path(self, digest: str) -> Path:
        """Where the bytes of a blob are, or would be."""
        algorithm, _, text = digest.partition(":")
        return self.root / "blobs" / algorithm / text[:2] / text / "data"

    def layer_link(self, repository: str, digest: str) -> Path:
        return self._in(repository) / "_layers" / digest.replace(":", "/") / "link"

    def manifest_link(self, repository: str, digest: str) -> Path:
        return self._in(repository) / "_manifests" / "revisions" / digest.replace(":", "/") / "link"

    def write(self, content: bytes) -> str:
        """Stores a blob and returns its digest."""
        digest = digest_of(content)
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return digest

    def link(self, link: Path, digest: str) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest, encoding="ascii")

    def reachable(self, link: Path) -> Path | None:
        """The data behind a link; None when the link or the data is gone."""
        path = self.path(link.read_text(encoding="ascii")) if link.is_file() else None
        return path if path and path.is_file() else None

    def unlink(self, link: Path) -> bool:
        """Removes a link; False when there was none, or its blob is gone, as distribution looks before it deletes."""
        if self.reachable(link) is None:
            return False
        link.unlink()
        return True

    def delete(self, digest: str) -> None:
        """Removes the bytes of a blob, if there are any. Links to it stay."""
        path = self.path(digest)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            path.parent.rmdir()

    def repositories(self) -> list[str]:
        """All `namespace/name` that were ever pushed to."""
        return sorted(f"{path.parent.name}/{path.name}" for path in (self.root / "repositories").glob("*/*"))

    def links(self, repository: str, kind: str) -> set[str]:
        """Digests that a repository links to; kind is `_layers` or `_manifests/revisions`."""
        return {path.read_text(encoding="ascii") for path in (self._in(repository) / kind).glob("sha256/*/link")}

    def digests(self) -> Iterator[str]:
        for path in (self.root / "blobs" / "sha256").glob("*/*/data"):
            yield f"sha256:{path.parent.name}"

    def usage(self) -> Usage:
        sizes = [self.path(digest).stat().st_size for digest in self.digests()]
        return Usage(sum(sizes), len(sizes))

    # -- uploads

    def start_upload(self, repository: str) -> str:
        """Begins an upload and returns its name."""
        name = str(uuid4())
        path = self.upload(repository, name)
        path.parent.mkdir(parents=True)
        path.touch()
        return name

    def upload(self, repository: str, name: str) -> Path:
        return self._in(repository) / "_uploads" / name / "data"

    def cancel_upload(self, repository: str, name: str) -> None:
        path = self.upload(repository, name)
        path.unlink()
        path.parent.rmdir()

    def _in(self, repository: str) -> Path:
        return self.root / "repositories" / repository
