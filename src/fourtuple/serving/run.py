"""Running servers until a signal comes."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypedDict, TypeVar, Unpack

from fourtuple import events
from fourtuple.address import Address
from fourtuple.engine import Engine, ReadinessChoice
from fourtuple.errors import HandlerFailed, ServiceError
from fourtuple.ignored import Ignored
from fourtuple.options import (
    Deadlines,
    Limits,
    Proxy,
    Sockets,
    Tls,
    by_keyword,
    call_plain,
    check_callable,
    check_function,
    check_kind,
    check_range,
)
from fourtuple.options.endpoint import Endpoint
from fourtuple.server import Server, core_of
from fourtuple.service import Service
from fourtuple.serving.alarms import Alarm
from fourtuple.serving.closing import LOOP_STOPPED, run_bounded
from fourtuple.serving.group import Group
from fourtuple.serving.held_stop import HeldStop
from fourtuple.serving.tear_down import LAST_SECONDS
from fourtuple.serving.watchdog import Watchdog
from fourtuple.signals import StopSignals, ignored, stop_signals
from fourtuple.stream import Tap
from fourtuple.typevars import In, L, Out, S

T = TypeVar("T")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class ServerOptions(TypedDict, total=False):
    """The options of :class:`~fourtuple.Server` as keyword arguments, for type checkers."""

    limits: Limits | None
    deadlines: Deadlines | None
    sockets: Sockets | None
    tls: Tls | ssl.SSLContext | None
    proxy: Proxy | None
    observer: events.Observer | None
    tap: Tap | None
    readiness: ReadinessChoice
    engine: Engine | None
    alarms: Iterable[Alarm]
    listen: bool


def run(
    service: Service[In, Out, S, L],
    *addresses: str | Address | socket.socket | Endpoint,
    loop_factory: LoopFactory | None = None,
    on_start: Callable[[Server[In, Out, S, L]], Ignored] | None = None,
    **options: Unpack[ServerOptions],
) -> int:
    """Serve until SIGINT or SIGTERM, then drain; return how many connections had to be aborted.

    A second signal aborts the drain. A third ends the process with exit code 128 plus the signal's number, and prints
    what this interrupted: with the C at any moment, without it only between two bytecodes. The process ends in the same
    way if a call still holds the loop when ``drain_timeout`` has passed, so that nothing could drain. A signal that
    comes before the service is set up cancels the set-up; then 0 is returned. If the set-up goes on in spite of that,
    it is cancelled again after ``tear_down_timeout``, or at the next signal, and the process ends a second later.

    Parameters
    ----------
    service, addresses, options
        As for :class:`~fourtuple.Server`.
    loop_factory
        Makes the event loop, for example ``uvloop.new_event_loop``. Default: asyncio's event loop.
    on_start
        Called with the server once it listens: a plain function.

    Raises :class:`~fourtuple.errors.ServiceError` in any other thread than the main thread: Python handles signals only
    there. Also where an event loop runs already, and after a drain, if the program has cancelled the task that serves,
    or has called ``stop()`` of its loop.
    Raises :class:`~fourtuple.errors.HandlerFailed` if the lifespan or ``on_start`` raises CancelledError by itself.
    """

    check_no_loop("fourtuple.run()", "async with Server(...) as server: await server.serve_forever()")
    check_callable("loop_factory", loop_factory)
    check_function("on_start", on_start, "server")

    async def main() -> int:
        server = Server(service, *addresses, **options)
        begun = None if on_start is None else partial(call_plain, "on_start", on_start, server)
        with suppress(StoppedEarly):
            await serve_until_stopped(Group([server]), signals, begun)
        return server.statistics.aborted

    with stop_signals() as signals, asyncio.Runner(loop_factory=loop_factory) as runner:
        return run_bounded(runner, main, signals)


def check_no_loop(what: str, instead: str) -> None:
    """Raise ServiceError if an event loop runs in this thread: ``what`` starts one of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ServiceError(f"{what} starts an event loop, and one runs here already; write: {instead}")


class StoppedEarly(Exception):
    """A signal came before the server listened; the set-up of the service was cancelled."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"stopped by {number.name} before it listened")
        self.number = number


async def serve_until_stopped(group: Group, signals: StopSignals, on_start: Callable[[], object] | None = None) -> None:
    """Start servers, and return when they have stopped: the first signal drains them, the second aborts them.

    On SIGHUP, servers with TLS read their certificates again. A call that holds the loop is reported: see
    :func:`watching`. One that still holds it when the time for the stop has passed ends the process.

    Raises :class:`StoppedEarly`, what :meth:`Server.start <fourtuple.Server.start>` and a service's tear-down raise,
    and :class:`~fourtuple.errors.ServiceError` after a drain, if the program has cancelled the task that serves.
    """
    stopping = _Stopping(group, signals)
    loop = asyncio.get_running_loop()
    held = HeldStop(loop, signals, stopping.most_seconds)
    try:
        with signals.heard_by(stopping.wake), held.armed(), _watched(loop, group.tell, group.stall_timeout):
            await stopping.serve(on_start)
    finally:
        signals.say(", after the tear-down")


#: What the user reads who has cancelled the task of run() or of serve_in_thread().
CANCELLED = (
    "the program has cancelled the task that serves, as `for task in asyncio.all_tasks(): task.cancel()` does; "
    "the server has stopped"
)


class _Stopping:
    """What signals do to servers: drain, then abort. Before they listen, they cancel the start."""

    def __init__(self, group: Group, signals: StopSignals) -> None:
        self._group = group
        self._signals = signals
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._listening = False
        self._heard = 0
        self._tasks: list[asyncio.Task[Any]] = []
        #: What happens next to a set-up that ignores its cancellation.
        self._next: asyncio.TimerHandle | None = None
        self._cancelled_at = 0.0

    def wake(self) -> None:
        """Wake the loop. It is called in a signal handler, which may interrupt any code."""
        # call_soon() would not wake a loop that sleeps in epoll_wait(2): CPython repeats the call after the handler
        # (PEP 475).
        self._loop.call_soon_threadsafe(self._look)

    def most_seconds(self) -> float | None:
        """Return how long the stop may last, as far as it is known now: with the tear-down, once it has begun."""
        drain, tear_down = self._group.drain_timeout, self._group.tear_down_timeout if self._heard else 0.0
        return None if drain is None or tear_down is None else drain + tear_down

    def _look(self) -> None:
        """Act on the signals that came since the last call. There may be several: Python may report them together."""
        while self._heard < self._signals.count:
            self._heard += 1
            if not self._listening:
                self._cancel_start(last=self._heard > 1)
            elif self._heard <= 2:
                task = self._loop.create_task(self._group.drain() if self._heard == 1 else self._group.abort())
                task.add_done_callback(retrieved)
                self._tasks.append(task)

    def _cancel_start(self, *, last: bool) -> None:
        """Cancel the start. A set-up that goes on has the time of a tear-down, and a second after the ``last`` time."""
        assert self._main is not None
        now = self._loop.time()
        self._cancelled_at = self._cancelled_at or now
        self._main.cancel()
        seconds = LAST_SECONDS if last else self._group.tear_down_timeout
        self._cancel_timer()
        if seconds is not None:
            self._next = self._loop.call_later(seconds, self._set_up_goes_on, last)

    def _set_up_goes_on(self, last: bool) -> None:
        server = self._group.setting_up
        if server is None:  # it has ended, and tear-downs run, which have bounds of their own
            return
        if last:
            # It runs in the task that serves, so it cannot be abandoned.
            since = self._loop.time() - self._cancelled_at
            self._signals.end(
                f"{since:.1f} s ago, and the set-up of service {server.service.name} ignores its cancellation"
            )
        self._cancel_start(last=True)

    def _cancel_timer(self) -> None:
        if self._next is not None:
            self._next.cancel()

    async def serve(self, on_start: Callable[[], object] | None) -> None:
        group = self._group
        self._signals.say(", before it listened")
        if self._signals.first is not None:
            raise StoppedEarly(self._signals.first)
        try:
            async with group:
                self._listening = True
                self._cancel_timer()
                self._forget_cancellation()
                self._signals.say(", the tear-down not finished", group.living)
                self._heard = 0  # if the set-up went on in spite of its cancellation, the server drains now
                self._look()
                with hearing_hangup(group):
                    if on_start is not None:
                        _call(on_start)
                    await self._served()
                for task in self._tasks:
                    await asyncio.wait({task})
                    if not task.cancelled():  # by the program: the servers have stopped without it
                        task.result()
        except asyncio.CancelledError:
            if self._signals.loop_left:
                raise
            first = self._signals.first
            self._forget_cancellation()
            if self._listening or first is None:
                raise self._cancelled() from None
            raise StoppedEarly(first) from None
        finally:
            self._cancel_timer()

    async def _served(self) -> None:
        """Wait until the servers have stopped.

        If the program cancels this task, they drain, and at the second time they abort; then ServiceError is raised.
        If the loop closes, because the program has called sys.exit(), they stop in the same way, and the task ends as
        cancelled: the exit tells its own cause.
        """
        group = self._group
        for wait in (group.serve_forever, group.drain, group.abort):
            with suppress(asyncio.CancelledError):
                await wait()
                break
            self._forget_cancellation()
        if self._signals.loop_left:
            raise asyncio.CancelledError
        if wait != group.serve_forever:
            raise self._cancelled()

    def _cancelled(self) -> ServiceError:
        return ServiceError(LOOP_STOPPED if self._signals.loop_stopped else CANCELLED)

    def _forget_cancellation(self) -> None:
        """Undo the task's cancellation, which was for the set-up alone."""
        while self._main is not None and self._main.cancelling():
            self._main.uncancel()


@by_keyword()
@contextmanager
def watching(
    server: Server, *, seconds: float | None = None, loop: asyncio.AbstractEventLoop | None = None, file: int = 2
) -> Iterator[None]:
    """While the block runs, report each call that holds the server's loop, with its stack, once per stall.

    The report comes while the call still runs. :func:`run` and ``fourtuple serve`` do this already. If you run the loop
    yourself, write::

        async with Server(service) as server:
            with watching(server):
                await server.serve_forever()

    A thread checks the loop twice in ``seconds``, and calls the server's observer, in that thread, with a
    :class:`~fourtuple.events.LoopHeld`. This thread cannot run while a call keeps the interpreter's lock (the GIL).
    With the C, a signal interrupts such a call, and the stacks of all threads are written to ``file``. Without the C,
    only the event ``HandlerSlow`` reports it, when the call has returned.

    Parameters
    ----------
    server
        A started server; if ``loop`` is given, it need not be started yet.
    seconds
        How long a call may hold the loop. Default: ``stall_timeout`` of the server's deadlines. If that is also None,
        nothing is watched.
    loop
        The loop to watch. Default: the server's.
    file
        A descriptor. Default: 2, standard error.

    Raises :class:`~fourtuple.errors.OptionError` for ``seconds`` that are not more than 0.
    """
    check_kind("seconds", seconds, "float | None", "seconds")
    if seconds is not None:
        check_range("seconds", seconds, "seconds", None, 0)
    limit = server.deadlines.stall_timeout if seconds is None else seconds
    with _watched(loop or server.loop, core_of(server).given_observer, limit, file):
        yield


@contextmanager
def _watched(
    loop: asyncio.AbstractEventLoop, tell: events.Observer, seconds: float | None, file: int = 2
) -> Iterator[None]:
    if seconds is None:
        yield
        return
    watchdog = Watchdog(loop, tell, seconds, file)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


@contextmanager
def hearing_hangup(group: Group) -> Iterator[None]:
    """While the block runs, SIGHUP makes servers with TLS read their certificates again; without any TLS, they drain.

    By default the signal would end the process, with all its conversations: at a terminal that is closed. One that is
    ignored, as by nohup, stays so. At the end of the block, the earlier handler is restored.
    """

    def drain() -> None:
        draining.append(loop.create_task(group.drain()))

    if ignored(signal.SIGHUP):
        yield
        return
    loop = asyncio.get_running_loop()
    draining: list[asyncio.Task[None]] = []  # the loop itself holds tasks only weakly
    before = signal.getsignal(signal.SIGHUP)
    loop.add_signal_handler(signal.SIGHUP, group.reload_certificates if group.uses_certificates else drain)
    ours = signal.getsignal(signal.SIGHUP)
    try:
        yield
    finally:
        now = signal.getsignal(signal.SIGHUP)
        loop.remove_signal_handler(signal.SIGHUP)  # which leaves the default
        if now != ours:  # the program has installed another one since
            before = now
        if before is not None:  # one that was not installed by Python cannot be restored
            signal.signal(signal.SIGHUP, before)


def _call(on_start: Callable[[], object]) -> None:
    """Call the program's function. Raises HandlerFailed for a CancelledError: its own, which would look like ours."""
    try:
        on_start()
    except asyncio.CancelledError as error:
        raise HandlerFailed("on_start raised CancelledError") from error


def retrieved(task: asyncio.Task[Any]) -> None:
    """Retrieve the task's exception, so that the loop does not report it: ``serve_forever()`` also raises it."""
    task.cancelled() or task.exception()
