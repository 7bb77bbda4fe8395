"""A measured server: pinned to a core, killed with this process, with its CPU time and memory counted."""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

START_SECONDS = 20.0
SETTLE_SECONDS = 5.0
#: For a server with a computing thread, which is never idle: time enough to close some connections.
BUSY_SETTLE_SECONDS = 0.1
#: A port alone on its line, or what ``fourtuple serve`` says.
PORT = re.compile(rb"^(?:Listening at .*:)?(\d+)(?: \(.*\))?\n", re.MULTILINE)
_libc = ctypes.CDLL(None, use_errno=True)


class ProcessError(Exception):
    """A server did not start, or the load failed."""


def cores() -> tuple[int, int]:
    """The core of the server and the core of the load. They are equal if only one core is allowed."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def _pinned(core: int) -> None:
    """In the child: use one core only, and die with the parent (prctl(2), PR_SET_PDEATHSIG)."""
    os.sched_setaffinity(0, {core})
    _libc.prctl(1, signal.SIGKILL)


def start(
    command: list[str], core: int, *, environment: Mapping[str, str] | None = None, **options: object
) -> subprocess.Popen[str]:
    """Start a program on one core.

    It may keep what it compiles, as an installed one does. With PYTHONDONTWRITEBYTECODE, every start would compile all
    the sources of a checkout anew, and the time of that would hide the start's own.
    """
    env = {**os.environ, **(environment or {})}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(command, text=True, preexec_fn=lambda: _pinned(core), env=env, **options)  # type: ignore[call-overload,no-any-return]


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread has ended meanwhile
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def cpu(pids: list[int]) -> int:
    """The CPU time of processes in nanoseconds, by the scheduler's accounting.

    It is read from each process's CPU clock (clock_getcpuclockid(3)): the sum of /proc/PID/task/*/schedstat, but
    up to date and including threads that have ended.
    """
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)


def resident(pids: list[int]) -> int:
    """The resident memory of processes, in octets."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids)


def last_line(said: str | bytes) -> str:
    """The last line of a text; empty if there is none."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return next(reversed(text.strip().splitlines()), "")


class ServerProcess:
    """A running server. Use it as a context manager.

    ``merged`` is for a server that says its port on standard error.
    """

    def __init__(
        self,
        command: list[str],
        core: int,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        never_idle: bool = False,
        merged: bool = False,
    ) -> None:
        self._never_idle = never_idle
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by stop()
        began = time.monotonic()
        self._process = start(
            command, core, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else self._errors,
            environment=environment,
        )  # fmt: skip
        try:
            self.port = port or self._read_port(command)
            #: Seconds from the command to its port.
            self.start_seconds = time.monotonic() - began
        except BaseException:
            self.stop()
            raise

    def _read_port(self, command: list[str]) -> int:
        assert self._process.stdout is not None
        stdout, until, said = self._process.stdout.fileno(), time.monotonic() + START_SECONDS, b""
        while (port := PORT.search(said)) is None:
            readable, _, _ = select.select([stdout], [], [], max(0.0, until - time.monotonic()))
            more = os.read(stdout, 4096) if readable else b""
            if not more:
                raise ProcessError(self._last_line() or last_line(said) or f"{command[0]} did not say its port")
            said += more
        return int(port[1])

    def _last_line(self) -> str:
        """The last line of its standard error; empty if it wrote nothing."""
        self._errors.seek(0)
        return last_line(self._errors.read())

    @property
    def fate(self) -> str:
        """How the server ended, to be appended to the error of the load; empty while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        return f"; the server had ended, exit code {code}: {self._last_line() or 'without a word'}"

    @property
    def pids(self) -> list[int]:
        """The process and its children."""
        return family(self._process.pid)

    def settle(self) -> None:
        """Wait until the server is idle, so that it has closed the connections of the last load."""
        if self._never_idle:
            time.sleep(BUSY_SETTLE_SECONDS)
            return
        until = time.monotonic() + SETTLE_SECONDS
        before = -1
        while time.monotonic() < until:
            used = cpu(self.pids)
            if before >= 0 and used - before < 2_000_000:
                return
            before = used
            time.sleep(0.03)

    def stop(self) -> None:
        """Kill the server."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
