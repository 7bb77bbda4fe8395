"""One worker, seen from the supervisor: a fresh interpreter, its channel, and its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from fourtuple.errors import ChannelError
from fourtuple.options import Deadlines
from fourtuple.signals import ends_with_us
from fourtuple.supervisor.channel import Answer, Channel
from fourtuple.supervisor.seat import WORKER, Given, Seat, for_child

#: Seconds between two signals to one process.
_BETWEEN_SIGNALS = 0.1
#: Seconds that a worker has to answer that it stops, before it gets the signal.
_TO_ANSWER = 0.25


@dataclass(frozen=True)
class Command:
    """How a worker is started: the command line, the folder and the variables, but not the descriptors."""

    words: tuple[str, ...]
    directory: str
    environment: dict[str, str]


def working_directory() -> str:
    """Return the folder for new workers: the one of $PWD, so that a symbolic link is followed again at each start."""
    here = os.environ.get("PWD", "")
    with suppress(OSError):
        if here and os.path.samefile(here, "."):
            return here
    return os.getcwd()


def this_command() -> Command:
    """Return the command line of this process, with which its workers and its successor are started."""
    # orig_argv has what sys.argv has not: the options of the interpreter, and ``-m`` with its module.
    return Command((sys.executable, *sys.orig_argv[1:]), working_directory(), dict(os.environ))


@dataclass
class Report:
    """The last that a worker told of itself."""

    messages: int = 0
    connections: int = 0
    #: The services that do not accept: they are at a limit, or were suspended.
    full: frozenset[str] = frozenset()
    #: Whether it answers in time.
    responsive: bool = True
    #: Whether all its conversations have ended: its tear-down follows.
    drained: bool = False


class Worker:
    """A process that serves, or will."""

    def __init__(self, slot: int, process: subprocess.Popen[bytes], now: float) -> None:
        loop = asyncio.get_running_loop()
        self.slot = slot
        self._process = process
        self._loop = loop
        self._stack = ExitStack()
        self.channel: Channel
        #: When it was started, and when it was ready, on the supervisor's clock.
        self.began = now
        self.ready_at: float | None = None
        #: True when it accepts connections; False if it never will.
        self.ready: asyncio.Future[bool] = loop.create_future()
        #: Its exit code, negative for a signal, when it has ended.
        self.ended: asyncio.Future[int] = loop.create_future()
        self.report: Report = Report()
        #: How long its drain and its tear-down may take.
        self.deadlines: Deadlines = Deadlines()
        #: How often it was asked to stop: the first time it drains, the second time it aborts.
        self.stops: int = 0
        self._asking: set[asyncio.Task[None]] = set()
        self._signals = 0
        self._signalled_at = 0.0
        self.killed: bool = False

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self.ended.done()

    def stop(self, times: int = 1) -> None:
        """Ask it to stop, so that it was asked ``times`` times in all: once to drain, twice to abort.

        A worker that serves is asked by the channel: who stops a service may send SIGTERM to all its processes at once
        (systemd with ``KillMode=control-group``, ``pkill``), and a worker that counted that signal and another one of
        ours would abort. One that starts, or does not answer, gets the signal: it is heard whatever its loop does.
        """
        if not self.alive or self.stops >= times:
            return
        self.stops = times
        if self.ready_at is None:
            self._signal(times)
            return
        asking = self._loop.create_task(self._ask(times))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _ask(self, times: int) -> None:
        try:
            await self.channel.request("stop", times=times, timeout=_TO_ANSWER)
        except (ChannelError, TimeoutError):
            self._signal(times)

    def _signal(self, times: int) -> None:
        """Send SIGTERM until it was sent ``times`` times in all.

        The kernel makes one of two equal ones that wait for a process (signal(7)), so the second one follows a moment
        after the worker has taken the first.
        """
        if not self.alive or self._signals >= times:
            return
        now = self._loop.time()
        if not self._signals or (now >= self._signalled_at + _BETWEEN_SIGNALS and not self._has_signal()):
            self._signals += 1
            self._signalled_at = now
            self._process.send_signal(signal.SIGTERM)
        if self._signals < times:
            self._loop.call_later(_BETWEEN_SIGNALS, self._signal, times)

    def _has_signal(self) -> bool:
        """Whether a SIGTERM waits for the process, which has not run since it was sent (proc(5): ShdPnd)."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        pending = re.search(r"^ShdPnd:\s*([0-9a-f]+)", status, re.MULTILINE)
        return pending is not None and bool(int(pending[1], 16) >> (signal.SIGTERM - 1) & 1)

    def kill(self) -> None:
        """End it and its process group at once."""
        self.killed = True
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    # -- its life -----------------------------------------------------------------------------------------

    def _follow(self, ready: int, end: int, on_end: Callable[[Worker], object]) -> None:
        """Watch the pipe of its readiness, and its end by a pidfd (pidfd_open(2))."""
        self._on_end = on_end
        self._loop.add_reader(ready, self._told, ready)
        self._loop.add_reader(end, self._reap, end)
        self._stack.callback(os.close, end)
        self._stack.callback(self._loop.remove_reader, end)
        self._stack.callback(self._not_ready, ready)
        self._stack.enter_context(ends_with_us(self.pid))

    def _told(self, ready: int) -> None:
        # One octet: it accepts connections. End of file: the process has closed the pipe or has ended, and never will.
        octets = os.read(ready, 1)
        self._loop.remove_reader(ready)
        os.close(ready)
        if not self.ready.done():
            self.ready.set_result(bool(octets))

    def _not_ready(self, ready: int) -> None:
        """The process has ended: what it wrote to the pipe before is still there."""
        if not self.ready.done():
            self._told(ready)

    def _reap(self, _end: int) -> None:
        code = self._process.poll()
        if code is None:
            return
        self._stack.close()
        # What it told in its last moments, such as its numbers, is still in the socket.
        self.channel.read_rest()
        if not self.ended.done():
            self.ended.set_result(code)
            self._on_end(self)

    def __repr__(self) -> str:
        state = "ended" if not self.alive else "stopping" if self.stops else "ready" if self.ready_at else "starting"
        return f"<Worker {self.slot}, pid {self.pid}, {state}>"


def start_worker(
    command: Command,
    slot: int,
    share: tuple[int, int],
    sockets: Sequence[tuple[str, str, socket.socket]],
    *,
    now: float,
    answer: Callable[[Worker], Answer],
    on_end: Callable[[Worker], object],
) -> Worker:
    """Start a fresh interpreter with these passive sockets. Raises :class:`OSError`; then nothing is left open.

    ``share`` is the worker's place among the workers, and their number; ``sockets`` are addresses, labels and sockets.
    It has a process group of its own: Ctrl-C on a
    terminal comes to the supervisor alone.
    """
    with ExitStack() as theirs, ExitStack() as failed:
        ours, channel = socket.socketpair()
        failed.callback(ours.close)
        theirs.callback(channel.close)
        readable, writable = os.pipe()
        failed.callback(os.close, readable)
        # Closed here as soon as the child has its own, or the pipe would have no end of file when the child dies.
        theirs.callback(os.close, writable)
        given = tuple(Given(address, sock.fileno(), label) for address, label, sock in sockets)
        seat = Seat(slot, *share, writable, channel.fileno(), given)
        process = subprocess.Popen(
            command.words,
            stdin=subprocess.DEVNULL,
            pass_fds=(writable, channel.fileno(), *(each.fd for each in given)),
            env=for_child(command.environment, **{WORKER: seat.text()}),
            cwd=command.directory,
            process_group=0,
        )
        try:
            # Readable when this process ends, and never another one with the same number. SIGCHLD has one handler for
            # the whole program, and the program may have set its own.
            end = os.pidfd_open(process.pid)
        except BaseException:
            process.kill()
            process.wait()
            raise
        failed.pop_all()
    worker = Worker(slot, process, now)
    worker.channel = Channel(ours, answer(worker), lambda: None)
    worker._follow(readable, end, on_end)
    return worker


def ending_of(code: int) -> str:
    """Return how a process ended, in words."""
    number = signal_of(code)
    if number is None:
        return f"exit code {code}"
    how = "killed" if code < 0 else "stopped"
    with suppress(ValueError):
        return f"{how} by {signal.Signals(number).name}"
    return f"{how} by signal {number}"


def signal_of(code: int) -> int | None:
    """Return the signal that ended a process; None for one that ended by itself.

    A command that a signal has stopped while it started has the exit code of shells, 128 plus the signal's number.
    """
    number = -code if code < 0 else code - 128
    return number if code < 0 or 0 < number < signal.NSIG else None
