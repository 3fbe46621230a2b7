"""Files that are whole or not there."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruner.errors import PrunerError
from pruner.report.file import write_whole


@pytest.fixture
def umask() -> Iterator[int]:
    """A umask that lets others read, whatever that of the tests is."""
    before = os.umask(0o022)
    yield 0o022
    os.umask(before)


def test_a_file_is_as_readable_as_the_umask_says(tmp_path: Path, umask: int) -> None:
    """A report that a pipeline publishes is read by others than whoever wrote it."""
    path = tmp_path / "folder" / "report.jsonl"
    write_whole(path, [b"one\n", b"two\n"])
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_what_is_interrupted_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    path.write_bytes(b"before\n")

    def lines() -> Iterator[bytes]:
        yield b"half\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, lines())
    assert path.read_bytes() == b"before\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(PrunerError, match=r"file/report.jsonl: cannot be written: (File exists|Not a directory)"):
        write_whole(tmp_path / "file" / "report.jsonl", [b"line\n"])


def test_two_that_write_the_same_file_side_by_side_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    half_way = threading.Barrier(2)

    def lines() -> Iterator[bytes]:
        yield b"one\n"
        half_way.wait(10)
        yield b"two\n"

    threads = [threading.Thread(target=write_whole, args=(path, lines())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert path.read_bytes() == b"one\ntwo\n"
    assert list(tmp_path.iterdir()) == [path]
