"""One run of ``fourtuple serve``, from installing signal handlers to the exit code."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

from fourtuple import events
from fourtuple.address import Address
from fourtuple.cli.console import Console
from fourtuple.cli.failure import Exit, Failure, trimmed
from fourtuple.cli.interrupts import wait_for_threads
from fourtuple.cli.jsonlog import JsonLog
from fourtuple.cli.managed import ManagerObserver, SignsOfLife
from fourtuple.cli.standard_files import tell_last
from fourtuple.config import Configuration
from fourtuple.engine import ReadinessChoice
from fourtuple.errors import EncodeError, FourTupleError
from fourtuple.net.sdnotify import Manager
from fourtuple.observe.combine import each_of, each_tap
from fourtuple.observe.pcap import Capture
from fourtuple.operations.running import Operated
from fourtuple.server import Server
from fourtuple.service import Service
from fourtuple.serving.run import LoopFactory, StoppedEarly, bounded_end, serve_until_stopped
from fourtuple.signals import StopSignals, stop_signals

#: Seconds that the end waits for a slow reader of the lines.
_LAST_LINES = 0.5


#: What the lines go to.
Log: TypeAlias = Console | JsonLog


class ServeRun:
    """One run of the server, and its exit code."""

    def __init__(
        self,
        service: Service,
        addresses: Sequence[Address | socket.socket],
        configuration: Configuration,
        *,
        quiet: bool,
        verbose: bool,
        hexdump: bool,
        pcap: Path | None,
        log_format: str,
        readiness: ReadinessChoice,
    ) -> None:
        self.service = service
        self.addresses = addresses
        self.configuration = configuration
        self.quiet = quiet
        self.verbose = verbose
        self.hexdump = hexdump
        self.pcap = pcap
        self.log_format = log_format
        self.readiness: ReadinessChoice = readiness
        self.started = False
        self.console: Console | None = None
        self.capture: Capture | None = None

    def run(self, loop_factory: LoopFactory | None) -> Exit:
        """Serve until a signal, and return the exit code. Failures are raised as :class:`Failure`."""
        try:
            with stop_signals() as signals, asyncio.Runner(loop_factory=loop_factory) as runner:
                code = runner.run(self._main(signals))
                runner.close()
                wait_for_threads(signals)
                return code
        except Failure:
            raise
        except StoppedEarly as stopped:
            raise Failure(stopped, 128 + stopped.number) from stopped
        except FourTupleError as error:
            raise Failure(error, self._failed) from error
        except Exception as error:
            what = "tear-down" if self.started else "set-up"
            raise Failure(f"the service's {what} failed", self._failed, trimmed(error)) from error
        except KeyboardInterrupt:
            return Exit.FAILED

    @property
    def _failed(self) -> Exit:
        return Exit.FAILED if self.started else Exit.NO_START

    async def _main(self, signals: StopSignals) -> Exit:
        async with bounded_end():
            return await self._captured(signals)

    async def _captured(self, signals: StopSignals) -> Exit:
        if self.pcap is None:
            return await self._serve(signals, None)
        try:
            capture = Capture(self.pcap, on_error=self._capture_failed)
        except OSError as error:
            raise Failure(f"--pcap {self.pcap}: {error.strerror or error}", Exit.USAGE) from error
        self.capture = capture
        with capture:
            code = await self._serve(signals, capture)
        if capture.error is not None:
            text = f"--pcap {self.pcap}: {capture.error.strerror}; it does not have the end of the conversations"
            raise Failure(text, max(code, Exit.FAILED))
        return code

    def _log_failed(self, error: OSError) -> None:
        why = error.strerror or error
        if self.console is not None:
            self.console.complain(f"--log-format json: {why}; lines of the log are lost, the server continues")

    @staticmethod
    def _made(*arguments: Any, **options: Any) -> Server:
        """Return the server. Nothing is open yet, so an error is a usage error."""
        try:
            return Server(*arguments, **options)
        except EncodeError as error:
            raise Failure(f"--refusal: {error}", Exit.USAGE) from error
        except FourTupleError as error:
            raise Failure(error, Exit.USAGE) from error

    def _capture_failed(self, error: OSError) -> None:
        why = error.strerror or error
        text = f"--pcap {self.pcap}: {why}; it ends with its last whole packet, the server continues"
        if self.console is not None:
            self.console.complain(text)
        else:
            tell_last(text)

    async def _serve(self, signals: StopSignals, capture: Capture | None) -> Exit:
        self.console = console = self._made_console()
        log: Log = JsonLog(self._log_failed) if self.log_format == "json" else console
        asyncio.get_running_loop().set_exception_handler(log.uncaught)
        taps = [console.tap] if self.hexdump else []
        if capture is not None:
            taps.append(capture.tap)
        operated = self._operated()
        observers: list[events.Observer] = [log] if capture is None else [log, capture]
        manager = Manager()
        if manager.there:
            observers.append(ManagerObserver(manager))
        server = self._made(
            operated.service,
            *self.addresses,
            limits=self.configuration.limits,
            deadlines=self.configuration.deadlines,
            sockets=self.configuration.sockets,
            tls=self.configuration.tls,
            proxy=self.configuration.proxy,
            observer=self._observing(operated.observing(each_of(*observers) if len(observers) > 1 else log)),
            tap=each_tap(*taps) if len(taps) > 1 else next(iter(taps), None),
            readiness=self.readiness,
        )

        def begin(server: Server) -> None:
            self.started = True
            self._begun(server)
            self._tell_listening(log, server)
            manager.ready(f"serving {self.service.name}")

        try:
            with SignsOfLife(manager):
                async with self._operating(operated, server, log):
                    await serve_until_stopped(server, signals, begin)
        finally:
            log.finish(_LAST_LINES)
            if log is not console:
                console.finish(_LAST_LINES)
        if all(listener.died for listener in server.listeners):
            raise Failure("no listener is left, the server has stopped", Exit.FAILED)
        if isinstance(log, JsonLog) and log.error is not None:
            why = log.error.strerror or log.error
            raise Failure(f"--log-format json: {why}; the log is not complete", Exit.FAILED)
        return self._verdict(server)

    # -- what another kind of run does otherwise ------------------------------------------------------------

    def _made_console(self) -> Console:
        later = asyncio.get_running_loop().call_later
        return Console(later, quiet=self.quiet, verbose=self.verbose, hold=not self.hexdump)

    def _observing(self, observer: events.Observer) -> events.Observer:
        """Return the observer of the server, which tells ``observer``."""
        return observer

    def _begun(self, server: Server) -> None:
        """The server listens."""

    def _operated(self) -> Operated:
        try:
            return Operated(self.configuration.operations, self.service)
        except FourTupleError as error:
            raise Failure(error, Exit.USAGE) from error

    def _operating(
        self, operated: Operated, server: Server, tell: events.Observer
    ) -> AbstractAsyncContextManager[None]:
        """Return what runs around the server: the process's file, the control socket, the HTTP server."""
        return operated.around(server, tell)

    def _tell_listening(self, log: Log, server: Server) -> None:
        for listener in server.listeners:
            log.listening(listener)

    def _verdict(self, server: Server) -> Exit:
        statistics = server.statistics
        return Exit.FAILED if statistics.aborted or statistics.abandoned else Exit.DONE
