"""``fourtuple serve --workers``: one run of the supervisor, from installing signal handlers to the exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, nullcontext, suppress
from typing import Any

import click

from fourtuple.cli.beforehand import check_for_workers
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.managed import SignsOfLife
from fourtuple.cli.programs import Program, difference
from fourtuple.cli.supervise_console import SuperviseConsole
from fourtuple.errors import FourTupleError, ListenError, OptionError, SupervisorError, WorkerNotStarted
from fourtuple.events import Event
from fourtuple.net.sdnotify import Manager
from fourtuple.observe.json import JsonLines
from fourtuple.operations.pidfile import PidFile
from fourtuple.operations.running import check, operating
from fourtuple.signals import StopSignals, stop_signals
from fourtuple.supervisor import events
from fourtuple.supervisor.asked import service_of
from fourtuple.supervisor.keeping import Keeping
from fourtuple.supervisor.reload import Watch
from fourtuple.supervisor.seat import Handover
from fourtuple.supervisor.subject import Supervised, collecting
from fourtuple.supervisor.supervisor import Supervisor

#: Seconds that the end waits for a slow reader of the lines.
_LAST_LINES = 0.5
#: Seconds that an upgraded program waits for the control socket and the file of the one before it.
_TAKE_OVER = 10.0


class SuperviseRun:
    """One run of a supervisor, and its exit code."""

    def __init__(
        self,
        program: Program,
        read: Callable[[], Program],
        *,
        log_format: str,
        reload: bool,
        handover: Handover | None,
    ) -> None:
        self._program = program
        #: Reads the configuration again.
        self._read = read
        self._json = log_format == "json"
        self._reload = reload
        self._handover = handover
        self._manager = Manager()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._heard = 0
        self._pidfile = PidFile(program.options.operations.pidfile)
        self._keeping = Keeping(self._manager, os.environ)
        self._supervisor: Supervisor
        self._subject: Supervised
        self._log: SuperviseConsole | JsonLines
        self._starting: asyncio.Task[None] | None = None
        #: Done when the control socket and the pages are served; set when they are to end.
        self._operated: asyncio.Future[None]
        self._released = asyncio.Event()
        #: Set when all workers listen: what signals ask for before that follows then.
        self._begun = asyncio.Event()
        #: The process id of the supervisor after this one.
        self._successor: int | None = None

    def run(self) -> Exit:
        """Supervise until a signal, and return the exit code. Failures are raised as :class:`Failure`."""
        try:
            check(self._program.options.operations)
        except FourTupleError as error:
            raise Failure(error, Exit.USAGE) from error
        check_for_workers(self._program)
        with stop_signals() as signals, asyncio.Runner() as runner:
            signals.say(", its workers with it")
            return runner.run(self._main(signals))

    async def _main(self, signals: StopSignals) -> Exit:
        self._log = (
            JsonLines(sys.stdout) if self._json else SuperviseConsole(later=asyncio.get_running_loop().call_later)
        )
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._log.uncaught)
        program = self._program
        self._supervisor = supervisor = Supervisor(
            *program.asked,
            processes=program.options.processes,
            deadlines=program.deadlines,
            observer=self._tell,
            handover=self._handover,
        )
        supervisor.on_handed_over = self._handed_over
        self._subject = Supervised(supervisor, program.limits)
        try:
            if not self._takes_over:
                self._lock()
            with signals.heard_by(lambda: loop.call_soon_threadsafe(self._look, signals)):
                for number, act in ((signal.SIGHUP, self._roll), (signal.SIGUSR2, self._upgrade)):
                    loop.add_signal_handler(number, act)
                await self._start(signals)
                self._begun.set()
                operated = await self._begin_operating()
                self._keeping.keep(supervisor.slots)
                self._tell_listening()
                self._manager.ready(f"{len(supervisor.slots)} workers")
                with SignsOfLife(self._manager), Watch(self._saved) if self._reload else nullcontext():
                    await supervisor.wait()
                self._released.set()
                await asyncio.wait([operated])
        finally:
            for task in self._tasks:
                task.cancel()
            self._pidfile.close()
            self._log.finish(_LAST_LINES)
        return Exit.FAILED if supervisor.unclean else Exit.DONE

    @property
    def _takes_over(self) -> bool:
        """Whether there is a supervisor before this one, which has the process's file and the control socket."""
        return self._handover is not None and self._handover.link >= 0

    def _lock(self) -> None:
        """Lock the process's file before anything is opened: a second supervisor ends here."""
        try:
            self._pidfile.lock()
        except FourTupleError as error:
            raise Failure(error, Exit.NO_START) from error

    async def _operate(self) -> None:
        """Serve the control socket and the pages, and keep the process's file, until an upgrade takes them over.

        The supervisor before this one lets go of them when it has handed over: that may be a moment later.
        """
        options = self._program.options.operations
        loop = asyncio.get_running_loop()
        until = loop.time() + (_TAKE_OVER if self._takes_over else 0)
        while True:
            try:
                async with AsyncExitStack() as stack:
                    stack.enter_context(self._pidfile)
                    await stack.enter_async_context(operating(self._subject, options, self._program.name, self._tell))
                    self._write_pidfile()
                    if options.counts:
                        self._soon(collecting(self._subject))
                    self._operated.set_result(None)
                    await self._released.wait()
                    return
            except FourTupleError as error:
                if self._operated.done() or loop.time() >= until:
                    raise Failure(error, Exit.NO_START) from error
            await asyncio.sleep(0.05)

    def _write_pidfile(self) -> None:
        try:
            self._pidfile.write()
        except FourTupleError as error:
            if not self._takes_over:
                raise
            # The program before this one has ended: to serve without the number is better than not to serve.
            Failure(error, Exit.NO_START).show()

    async def _begin_operating(self) -> asyncio.Task[None]:
        self._operated = asyncio.get_running_loop().create_future()
        operating_ = self._soon(self._operate())
        await asyncio.wait([self._operated, operating_], return_when=asyncio.FIRST_COMPLETED)
        if not self._operated.done():
            try:
                await operating_
            except Failure as failure:
                if not self._takes_over:
                    await self._supervisor.abort()
                    raise
                # The program before this one has ended: to serve without these is better than not to serve.
                failure.show()
        return operating_

    def _handed_over(self, pid: int) -> None:
        self._successor = pid
        self._manager.main_process(pid)
        self._released.set()

    async def _start(self, signals: StopSignals) -> None:
        self._starting = asyncio.ensure_future(self._supervisor.start())
        self._look(signals)
        try:
            await self._starting
        except asyncio.CancelledError:
            first = signals.first
            if first is None:
                raise
            raise Failure(f"stopped by {first.name} before all workers listened", 128 + first) from None
        except WorkerNotStarted as error:
            raise Failure(error, error.code if error.code is not None and error.code > 0 else Exit.NO_START) from error
        except ListenError as error:
            opening = self._supervisor.opening
            service = service_of(opening.label) if opening is not None else ""
            raise Failure(f"{service}: {error}" if service else error, Exit.NO_START) from error
        except FourTupleError as error:
            raise Failure(error, Exit.USAGE) from error
        self._starting = None
        self._look(signals)

    # -- signals ------------------------------------------------------------------------------------------

    def _look(self, signals: StopSignals) -> None:
        """Act on the signals that came since the last call: the first one drains, the second one aborts."""
        if self._starting is not None:
            if signals.count:
                self._starting.cancel()
            return
        while self._heard < signals.count:
            self._heard += 1
            if self._heard == 1:
                self._manager.stopping()
                self._supervisor.begin_stop()
            elif self._heard == 2:
                self._soon(self._supervisor.abort())

    def _roll(self) -> None:
        self._soon(self._rolled("by SIGHUP"))

    def _saved(self, path: str) -> None:
        self._soon(self._rolled(f"{path} was saved"))

    async def _rolled(self, why: str) -> None:
        await self._begun.wait()
        done = self._successor is None and await self._rolls(why)
        if self._successor is not None:
            # It may have imported its code before this was asked for.
            with suppress(ProcessLookupError):
                os.kill(self._successor, signal.SIGHUP)
            return
        if self._supervisor.stopping:
            return
        self._manager.ready(
            f"{len(self._supervisor.slots)} workers" + ("" if done else ", the last roll was abandoned")
        )

    async def _rolls(self, why: str) -> bool:
        self._manager.reloading()
        return self._take_configuration() and await self._supervisor.roll(why)

    def _take_configuration(self) -> bool:
        """Read the configuration again; return whether new workers can start with it."""
        try:
            program = self._read()
            self._check_addresses(program)
            check_for_workers(program)
            self._subject.take_limits(program.limits)
        except OptionError as error:
            self._tell(events.RollAbandoned(f"{error}, as 'fourtuple limits set' has changed it"))
            return False
        except (Failure, click.UsageError) as error:
            self._tell(events.RollAbandoned(error.message if isinstance(error, click.UsageError) else str(error)))
            return False
        self._program = program
        self._supervisor.change_deadlines(program.deadlines)
        return True

    def _check_addresses(self, program: Program) -> None:
        """Raise a :class:`Failure` if a program listens elsewhere: the passive sockets are open, and stay."""
        before, now = (
            [(each.label, str(each.address)) for each in asked] for asked in (self._supervisor.asked, program.asked)
        )
        if changed := difference(before, now):
            raise Failure(changed, Exit.USAGE)

    def _upgrade(self) -> None:
        self._soon(self._upgraded())

    async def _upgraded(self) -> None:
        await self._begun.wait()
        with suppress(SupervisorError, OSError):  # the observer was told
            await self._supervisor.upgrade()

    def _soon(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- lines --------------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        self._log(event)
        if isinstance(event, events.WorkersChanged):
            self._keeping.keep(self._supervisor.slots)

    def _tell_listening(self) -> None:
        workers = len(self._supervisor.slots)
        if isinstance(self._log, SuperviseConsole):
            for place in self._supervisor.slots.places:
                self._log.supervising(place.name, workers, place.service)
        else:
            for place in self._supervisor.slots.places:
                more = {"service": place.service} if place.service else {}
                self._log.write(events.Supervising(place.name, workers), **more)
