"""``fourtuple serve --workers``: one run of the supervisor, from installing signal handlers to the exit code."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any

from fourtuple.cli.beforehand import check_for_workers, check_free, check_refusals
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.jsonlog import JsonLog, log_failed, log_incomplete
from fourtuple.cli.managed import SignsOfLife
from fourtuple.cli.programs import Program
from fourtuple.cli.standard_files import tell_last
from fourtuple.cli.supervise_console import SuperviseConsole
from fourtuple.cli.supervise_operations import SuperviseOperations
from fourtuple.cli.supervise_rolls import Rolls
from fourtuple.errors import FourTupleError, ListenError, WorkerNotStarted
from fourtuple.events import Event
from fourtuple.net.sdnotify import Manager
from fourtuple.observe.json import JsonLines
from fourtuple.signals import StopSignals, ignored, stop_signals
from fourtuple.supervisor import events
from fourtuple.supervisor.fd_store import Keeping
from fourtuple.supervisor.listen_address import service_of
from fourtuple.supervisor.reload import Watch
from fourtuple.supervisor.seat import Handover
from fourtuple.supervisor.stored import names_of
from fourtuple.supervisor.subject import Supervised
from fourtuple.supervisor.supervisor import Supervisor
from fourtuple.supervisor.upgrade import hear_all

#: Seconds that the end waits for a slow reader of the lines.
_LAST_LINES = 0.5


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
        self._keeping = Keeping(self._manager, os.environ, names_of(handover))
        self._supervisor: Supervisor
        self._rolls: Rolls
        self._operations: SuperviseOperations
        self._log: SuperviseConsole | JsonLines
        self._starting: asyncio.Task[None] | None = None

    def run(self) -> Exit:
        """Supervise until a signal, and return the exit code. Failures are raised as :class:`Failure`."""
        check_for_workers(self._program)
        check_refusals(self._program)
        with stop_signals() as signals, asyncio.Runner() as runner:
            signals.say(", its workers with it")
            return runner.run(self._main(signals))

    async def _main(self, signals: StopSignals) -> Exit:
        self._log = (
            JsonLog(_log_failed) if self._json else SuperviseConsole(later=asyncio.get_running_loop().call_later)
        )
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._log.uncaught)
        program = self._program
        self._supervisor = supervisor = Supervisor(
            *program.listen_on,
            processes=program.options.processes,
            deadlines=program.deadlines,
            observer=self._tell,
            handover=self._handover,
        )
        supervisor.on_handed_over = self._handed_over
        subject = Supervised(supervisor, program.limits)
        self._rolls = rolls = Rolls(
            supervisor, subject, self._manager, read=self._read, tell=self._tell, soon=self._soon
        )
        takes_over = self._handover is not None and self._handover.link >= 0
        self._operations = SuperviseOperations(program.options.operations, takes_over=takes_over)
        try:
            self._operations.lock()
            if not takes_over:
                check_free(program.options.operations, program.name, program.options.where)
            with signals.heard_by(lambda: loop.call_soon_threadsafe(self._look, signals)):
                for number, act in ((signal.SIGHUP, rolls.roll), (signal.SIGUSR2, rolls.upgrade)):
                    if not ignored(number):
                        loop.add_signal_handler(number, act)
                hear_all()
                await self._start(signals)
                rolls.begin()
                operated = await self._operate(subject)
                self._keeping.keep(supervisor.slots)
                self._tell_listening()
                self._manager.ready(f"{len(supervisor.slots)} workers")
                with SignsOfLife(self._manager), Watch(rolls.saved) if self._reload else nullcontext():
                    await supervisor.wait()
                self._operations.release()
                await asyncio.wait([operated])
        finally:
            for task in self._tasks:
                task.cancel()
            self._operations.close()
            self._log.finish(_LAST_LINES)
        if isinstance(self._log, JsonLines) and self._log.error is not None:
            raise log_incomplete(self._log.error)
        return Exit.FAILED if supervisor.unclean else Exit.DONE

    async def _operate(self, subject: Supervised) -> asyncio.Task[None]:
        try:
            return await self._operations.begin(subject, self._program.name, self._tell, self._soon)
        except Failure:
            await self._supervisor.abort()
            raise

    def _handed_over(self, pid: int) -> None:
        self._rolls.hand_over(pid)
        self._manager.main_process(pid)
        self._operations.release()

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
        self._heard = 0  # if the start was completed in spite of its cancellation, the workers drain now
        self._look(signals)

    # -- signals ------------------------------------------------------------------------------------------

    def _look(self, signals: StopSignals) -> None:
        """Act on the signals that came since the last call: the first one drains, the second one aborts.

        While the workers start, the first one ends the start.
        """
        while self._heard < signals.count:
            self._heard += 1
            if self._starting is not None:
                # The start waits for its workers. Cancelled again, it would end without them.
                if self._heard == 1:
                    self._starting.cancel()
                else:
                    self._supervisor.abort_start()
            elif self._heard == 1:
                self._manager.stopping()
                self._supervisor.begin_stop()
            elif self._heard == 2:
                self._soon(self._supervisor.abort())

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


def _log_failed(error: OSError) -> None:
    tell_last(log_failed(error))
