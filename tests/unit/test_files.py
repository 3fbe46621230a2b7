"""What is replaced, what is written through, and what a failure leaves."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruner.errors import PrunerError
from pruner.files import LINE_LIMIT, bounded_blocks, replace_file, write_file
from pruner.printable import printable


@pytest.fixture
def umask() -> Iterator[int]:
    """A umask that lets others read, whatever that of the tests is."""
    before = os.umask(0o022)
    yield 0o022
    os.umask(before)


def test_a_file_is_as_readable_as_the_umask_says(tmp_path: Path, umask: int) -> None:
    """A report that a pipeline publishes is read by others than whoever wrote it."""
    path = tmp_path / "folder" / "report.jsonl"
    write_file(path, [b"one\n", b"two\n"])
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_what_is_interrupted_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    path.write_bytes(b"before\n")

    def lines() -> Iterator[bytes]:
        yield b"half\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, lines())
    assert path.read_bytes() == b"before\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(PrunerError, match=r"file/report.jsonl: cannot be written: (File exists|Not a directory)"):
        write_file(tmp_path / "file" / "report.jsonl", [b"line\n"])


def test_two_that_write_the_same_file_side_by_side_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    half_way = threading.Barrier(2)

    def lines() -> Iterator[bytes]:
        yield b"one\n"
        half_way.wait(10)
        yield b"two\n"

    threads = [threading.Thread(target=write_file, args=(path, lines())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert path.read_bytes() == b"one\ntwo\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_regular_file_is_replaced_and_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "report.jsonl"
    path.write_bytes(b"before\n")
    path.chmod(mode)
    before = path.stat().st_ino
    write_file(path, [b"after\n"])
    assert path.read_bytes() == b"after\n"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.stat().st_ino != before


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_to_a_file_is_refused_and_nothing_is_changed(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if exists:
        target.write_bytes(b"precious\n")
    link.symlink_to(target)
    with pytest.raises(PrunerError, match="it is a symbolic link to"):
        write_file(link, [b"replaced\n"])
    assert link.is_symlink()
    assert target.exists() == exists
    assert not exists or target.read_bytes() == b"precious\n"


def test_a_file_in_a_folder_that_is_a_symbolic_link_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    write_file(tmp_path / "link" / "file", [b"text\n"])
    assert (tmp_path / "folder" / "file").read_bytes() == b"text\n"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, received = tmp_path / "pipe", io.BytesIO()
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        reader = threading.Thread(target=lambda: received.write(pipe.read_bytes()))
        reader.start()
        write_file(path, [b"one\n", b"two\n"])
        reader.join(10)
    assert received.getvalue() == b"one\ntwo\n" * 2
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_device_is_written_to_and_stays_a_device(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    device = Path(os.ttyname(theirs))
    (tmp_path / "link").symlink_to(device)
    write_file(tmp_path / "link", [b"line\n"])
    assert os.read(ours, 100).strip() == b"line"
    assert stat.S_ISCHR(device.stat().st_mode)
    os.close(ours)
    os.close(theirs)


def _writes(path: str, stdout: int) -> int:
    program = (
        f"from pathlib import Path; from pruner.files import write_file; write_file(Path({path!r}), [b'one', b'two'])"
    )
    return subprocess.run([sys.executable, "-c", program], stdout=stdout, check=False, timeout=60).returncode


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_written_to_whatever_it_is(tmp_path: Path, path: str) -> None:
    """A file that the shell has opened goes on where it is: what was printed before stays."""
    (tmp_path / "log").write_bytes(b"before ")
    with (tmp_path / "log").open("ab") as log:
        assert _writes(path, log.fileno()) == 0
    assert (tmp_path / "log").read_bytes() == b"before onetwo"
    receiving, sending = os.pipe()
    assert _writes(path, sending) == 0
    assert os.read(receiving, 100) == b"onetwo"
    os.close(receiving)
    os.close(sending)


def test_a_link_to_standard_output_is_standard_output(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    with (tmp_path / "log").open("wb") as log:
        assert _writes(str(tmp_path / "link"), log.fileno()) == 0
    assert (tmp_path / "log").read_bytes() == b"onetwo"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n" * 300, "File name too long"),
        ("a\0b", "null byte"),
        ("", "is a folder; name a file in it"),
        ("loop", "Too many levels of symbolic links"),
        ("/dev/full", "No space left on device"),
    ],
)
def test_what_cannot_be_written_is_one_line_that_names_it(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PrunerError, match=message) as raised:
        write_file(tmp_path / name, [b"line\n"])
    assert str(raised.value).startswith(printable(str(tmp_path / name)))
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def test_a_name_as_long_as_a_name_may_be_is_written(tmp_path: Path) -> None:
    write_file(tmp_path / ("n" * 255), [b"line\n"])
    assert (tmp_path / ("n" * 255)).read_bytes() == b"line\n"


def test_a_file_for_its_owner_only_replaces_a_link_and_leaves_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    replace_file(tmp_path / "link", [b"line\n"])
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert not (tmp_path / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "link").stat().st_mode) == 0o600


def test_a_line_without_an_end_is_refused_before_it_takes_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruner.files.LINE_LIMIT", 10)
    assert list(bounded_blocks(io.BytesIO(b"123456789\n12"), "plan")) == [b"123456789\n12"]
    with pytest.raises(PrunerError, match="plan: has a line of more than 10 bytes"):
        list(bounded_blocks(io.BytesIO(b"x" * 30), "plan"))
    assert LINE_LIMIT > 300 * 2**20
