"""Logs that nobody reads hold nobody up: lines above a bound are dropped, and counted."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pty
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import pytest

from fourtuple import Address, events
from fourtuple.cli.console import Console
from fourtuple.cli.lines import Lines
from fourtuple.observe.json import JsonLines
from fourtuple.observe.outlet import MOST_HELD, Outlet, unblocked

MANY = 20_000
PAUSED = events.AcceptPaused(Address("127.0.0.1", 9), "a reason")


def pipe(_folder: Path) -> tuple[int, int]:
    return os.pipe()


def fifo(folder: Path) -> tuple[int, int]:
    path = folder / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    return reader, os.open(path, os.O_WRONLY)


def terminal(_folder: Path) -> tuple[int, int]:
    return pty.openpty()


def socket_pair(_folder: Path) -> tuple[int, int]:
    near, far = socket.socketpair()
    return near.detach(), far.detach()


@contextmanager
def ends(make: Callable[[Path], tuple[int, int]], folder: Path) -> Iterator[tuple[int, TextIO]]:
    reader, writer = make(folder)
    file = os.fdopen(writer, "w")
    try:
        yield reader, file
    finally:
        with suppress(OSError):
            os.close(reader)
        file.close()


def notice(lines: int) -> str:
    return f"dropped {lines}\n"


class Reader:
    """Whoever reads the log, late."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.read = b""

    def until(self, end: bytes) -> list[str]:
        """All lines, to the one that ends so."""
        while not self.read.replace(b"\r", b"").endswith(end):
            self.read += os.read(self._fd, 1 << 16)
        return self.read.decode().split()


@pytest.mark.parametrize("make", [pipe, fifo, terminal, socket_pair])
def test_no_reader_is_waited_for(tmp_path: Path, make: Callable[[Path], tuple[int, int]]) -> None:
    with ends(make, tmp_path) as (fd, file):
        before = fcntl.fcntl(file.fileno(), fcntl.F_GETFL)
        outlet = unblocked(file, lambda lines: f"dropped:{lines}\n")
        assert isinstance(outlet, Outlet)
        for number in range(MANY):
            outlet.write(f"line:{number:06}{'.' * 40}\n")
        assert 0 < outlet.dropped < MANY
        outlet.finish(0.0)  # returns, with nobody there
        reader = Reader(fd)
        while outlet.dropped != 0 or b"dropped" not in reader.read:
            reader.read += os.read(fd, 1 << 16)
        outlet.write("the:last\n")
        lines = reader.until(b"the:last\n")
        assert sum(int(line.split(":")[1]) if line.startswith("dropped") else 1 for line in lines[:-1]) == MANY
        assert lines[:100] == [f"line:{number:06}{'.' * 40}" for number in range(100)]  # whole, and in their order
        assert all(line.startswith(("dropped:", "the:")) or len(line) == 51 for line in lines)
        assert fcntl.fcntl(file.fileno(), fcntl.F_GETFL) == before  # it is not ours alone
        assert len(b"".join(line.encode() for line in lines)) < MOST_HELD * 4
        del outlet


def test_json_says_how_many(tmp_path: Path) -> None:
    with ends(pipe, tmp_path) as (fd, file):
        log = JsonLines(file)
        for _ in range(MANY):
            log(PAUSED)
        reader = Reader(fd)
        while b"lines-dropped" not in reader.read:
            reader.read += os.read(fd, 1 << 16)
        log(events.Draining(0))
        while b'"event":"draining"' not in reader.read or not reader.read.endswith(b"\n"):
            reader.read += os.read(fd, 1 << 16)
        told = [json.loads(line) for line in reader.read.splitlines()]
        dropped = sum(each["lines"] for each in told if each["event"] == "lines-dropped")
        assert dropped
        assert dropped + sum(each["event"] == "accept-paused" for each in told) == MANY


def test_so_does_the_console(tmp_path: Path) -> None:
    with ends(pipe, tmp_path) as (fd, file):
        console = Console(_never, lines=Lines(file, file))
        for _ in range(MANY):
            console.say("a line of some length, as they are")
        reader = Reader(fd)
        while b" lines were dropped: the reader is slow\n" not in reader.read:
            reader.read += os.read(fd, 1 << 16)
        console.finish(0.0)


def _never(_seconds: float, _call: Callable[..., Any], *_: Any) -> None:
    raise AssertionError("nothing is held back")


def test_a_reader_who_has_gone(tmp_path: Path) -> None:
    with ends(pipe, tmp_path) as (fd, file):
        log = JsonLines(file)
        for _ in range(MANY):
            log(PAUSED)
        os.close(fd)
        for _ in range(MANY):
            log(PAUSED)
        log.finish(60.0)  # nothing to wait for


def test_a_log_that_is_not_read_to_its_end_says_so(tmp_path: Path) -> None:
    with ends(pipe, tmp_path) as (fd, file):
        failed: list[OSError] = []
        log = JsonLines(file, on_error=failed.append)
        for _ in range(2000):  # more than a pipe takes, less than is held
            log(PAUSED)
        assert log.error is None
        log.finish(0.0)
        assert [log.error] == failed
        assert str(log.error) == f"[Errno {errno.EAGAIN}] its reader is too slow"
        os.set_blocking(fd, False)
        assert os.read(fd, 1 << 20).endswith(b"}\n")  # a pipe has no part of a line


def test_a_log_that_is_read_to_its_end_is_complete(tmp_path: Path) -> None:
    with ends(pipe, tmp_path) as (fd, file):
        log = JsonLines(file)
        for _ in range(2000):
            log(PAUSED)
        log(events.Draining(0))
        reader = Reader(fd)
        while b'"event":"draining"' not in reader.read:
            reader.read += os.read(fd, 1 << 16)
        log.finish(0.0)
        assert log.error is None


def test_dropped_lines_are_an_error(tmp_path: Path) -> None:
    with ends(pipe, tmp_path) as (_fd, file):
        failed: list[OSError] = []
        log = JsonLines(file, on_error=failed.append)
        for _ in range(MANY):
            log(PAUSED)
        assert [error.strerror for error in failed] == ["its reader is too slow"]
        log.finish(0.0)  # which ends its thread


def test_a_line_longer_than_a_piece_is_written_whole(tmp_path: Path) -> None:
    with ends(pipe, tmp_path) as (fd, file):
        outlet = Outlet(file, file.fileno(), os.fstat(file.fileno()).st_mode, notice)
        outlet.write("short\n" + "x" * 20_000 + "\nlast\n")
        outlet.finish(0.0)
        assert Reader(fd).until(b"last\n") == ["short", "x" * 20_000, "last"]
        assert outlet.error is None


def test_files_are_written_as_they_are(tmp_path: Path) -> None:
    text = io.StringIO()
    assert unblocked(text, notice) is text
    with (tmp_path / "log").open("w") as file, open(os.devnull, "w") as nowhere:
        assert unblocked(file, notice) is file
        assert unblocked(nowhere, notice) is nowhere
    assert unblocked(file, notice) is file  # closed: writing says so
