"""One run of ``fourtuple serve``, from installing signal handlers to the exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import TypeAlias

from fourtuple import events
from fourtuple.cli.console import Console
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.interrupts import wait_for_threads
from fourtuple.cli.jsonlog import JsonLog, ServiceLog, log_failed, log_incomplete
from fourtuple.cli.lines import Lines
from fourtuple.cli.managed import ManagerObserver, SignsOfLife
from fourtuple.cli.standard_files import tell_last
from fourtuple.cli.to_serve import ToServe
from fourtuple.engine import Engine, ReadinessChoice
from fourtuple.errors import FourTupleError, HandlerFailed
from fourtuple.framing import Raw
from fourtuple.net.descriptors import connection_limit, default_connections
from fourtuple.net.sdnotify import Manager
from fourtuple.observe.combine import each_of, each_tap
from fourtuple.observe.pcap import Capture
from fourtuple.observe.raised import trimmed
from fourtuple.operations.running import Operated
from fourtuple.options import Limits, Operations
from fourtuple.server import Server
from fourtuple.serving.closing import run_bounded
from fourtuple.serving.group import Group
from fourtuple.serving.run import LoopFactory, StoppedEarly, serve_until_stopped
from fourtuple.signals import StopSignals, stop_signals

#: Seconds that the end waits for a slow reader of the lines.
_LAST_LINES = 0.5


#: What the lines go to, and what tells those of one service.
Log: TypeAlias = Console | JsonLog
Voice: TypeAlias = Console | JsonLog | ServiceLog


class ServeRun:
    """One run of the servers, one for each service, and its exit code."""

    def __init__(
        self,
        services: Sequence[ToServe],
        operations: Operations,
        *,
        quiet: bool,
        verbose: bool,
        hexdump: bool,
        pcap: Path | None,
        log_format: str,
        readiness: ReadinessChoice,
    ) -> None:
        self.services = services
        self.operations = operations
        self.quiet = quiet
        self.verbose = verbose
        self.hexdump = hexdump
        self.pcap = pcap
        self.log_format = log_format
        self.readiness: ReadinessChoice = readiness
        self.started = False
        self.console: Console | None = None
        self.capture: Capture | None = None
        self._group: Group | None = None
        #: The max_connections of each service; None for those that divide what the limit on descriptors allows.
        self._given = [each.options.limits.max_connections for each in services]

    def run(self, loop_factory: LoopFactory | None) -> Exit:
        """Serve until a signal, and return the exit code. Failures are raised as :class:`Failure`."""
        left = False
        try:
            with stop_signals() as signals, asyncio.Runner(loop_factory=loop_factory) as runner:
                try:
                    code = run_bounded(runner, lambda: self._main(signals), signals)
                finally:
                    left = signals.loop_left
                runner.close()
                wait_for_threads(signals)
                return code
        except Failure:
            raise
        except StoppedEarly as stopped:
            raise Failure(stopped, 128 + stopped.number) from stopped
        except Exception as error:
            # A HandlerFailed is of the program's own code, as errors that are not ours: its traceback says where.
            if isinstance(error, FourTupleError) and not isinstance(error, HandlerFailed):
                notes = "\n".join(getattr(error, "__notes__", ()))
                raise self._named(Failure(error, self._failed, notes)) from error
            what = "tear-down" if self.started else "set-up"
            text = "\n".join(trimmed(error))
            raise self._named(Failure(f"the service's {what} failed", self._failed, text)) from error
        except (SystemExit, KeyboardInterrupt) as error:
            if not left:  # Ctrl-C, before or after the loop
                return Exit.FAILED
            raise self._exited(error) from error

    def _exited(self, error: SystemExit | KeyboardInterrupt) -> Failure:
        """Return the failure of a program that has called sys.exit() in code that the server runs."""
        text = "\n".join(trimmed(error))
        group = self._group
        if group is not None and group.failed is not None and not self.started:
            return self._named(Failure("the service's set-up ended the interpreter", Exit.NO_START, text))
        if group is not None and group.tearing_down is not None:
            return self._named(Failure("the service's tear-down ended the interpreter", Exit.FAILED, text))
        # The code is the program's own word, but 0 would say that the server was asked to stop.
        code = getattr(error, "code", None)
        code = code if isinstance(code, int) and code else Exit.FAILED
        return Failure("the program ended the interpreter", code, text)

    @property
    def _failed(self) -> Exit:
        return Exit.FAILED if self.started else Exit.NO_START

    def _named(self, failure: Failure) -> Failure:
        """Return a failure with the name of the service that has failed to start or to stop, if there are several."""
        group = self._group
        if group is None or group.failed is None or len(self.services) == 1:
            return failure
        return failure.at(self.services[group.servers.index(group.failed)].label)

    async def _main(self, signals: StopSignals) -> Exit:
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
        if self.console is not None:
            self.console.complain(log_failed(error))

    def _capture_failed(self, error: OSError) -> None:
        why = error.strerror or error
        text = f"--pcap {self.pcap}: {why}; it ends with its last whole packet, the server continues"
        if self.console is not None:
            self.console.complain(text)
        else:
            tell_last(text)

    async def _serve(self, signals: StopSignals, capture: Capture | None) -> Exit:
        self.console = console = self._made_console(Lines())
        log: Log = JsonLog(self._log_failed) if self.log_format == "json" else console
        asyncio.get_running_loop().set_exception_handler(log.uncaught)
        voices: list[Voice] = [self._voice(log, each) for each in self.services]
        operated = self._operated()
        manager = Manager()
        with ExitStack() as stack:
            engine = None
            if len(self.services) > 1:
                engine = Engine(readiness=self.readiness)
                stack.callback(engine.close)
            servers = [
                self._made(place, operated, voices[place], capture, manager, engine)
                for place in range(len(self.services))
            ]
            self._group = group = self._together(servers, operated.hearing(log))

            def begin() -> None:
                operated.begun()
                self.started = True
                self._begun(servers)
                self._tell_listening(voices, servers)
                self._tell_if_too_many(group.max_connections)
                manager.ready(f"serving {', '.join(server.service.name for server in servers)}")

            try:
                with SignsOfLife(manager):
                    async with self._operating(operated, servers, log):
                        await serve_until_stopped(group, signals, begin)
            finally:
                log.finish(_LAST_LINES)
                if log is not console:
                    console.finish(_LAST_LINES)
        return self._ended(servers, log)

    def _together(self, servers: Sequence[Server], tell: events.Observer) -> Group:
        try:
            return Group(servers, tell=tell)
        except FourTupleError as error:  # nothing is open yet
            raise Failure(error, Exit.USAGE) from error

    def _tell_if_too_many(self, allowed: int) -> None:
        """Tell that several services may need more descriptors than there are: each counts its own connections."""
        possible = connection_limit(allowed)
        if len(self.services) > 1 and possible < allowed and self.console is not None:
            self.console.complain(
                f"max_connections: all services together allow {allowed:,} connections, the limit on descriptors "
                f"{possible:,}; at that number none accepts. Lower max_connections, or raise the limit (ulimit -n)"
            )

    def _voice(self, log: Log, what: ToServe) -> Voice:
        """Return what tells the events of one service."""
        if isinstance(log, JsonLog):
            return ServiceLog(log, what.label) if what.label else log
        console = self._made_console(log.lines, f"{what.label}: ") if what.label else log
        console.cuts_messages = not isinstance(what.service.framing, Raw)
        return console

    def _made(
        self,
        place: int,
        operated: Operated,
        voice: Voice,
        capture: Capture | None,
        manager: Manager,
        engine: Engine | None,
    ) -> Server:
        """Return the server at this place. Nothing is open yet, so an error is a usage error."""
        what = self.services[place]
        observers: list[events.Observer] = [voice]
        taps = [voice.tap] if self.hexdump and isinstance(voice, Console) else []
        if capture is not None:
            observers.append(capture)
            taps.append(capture.tap)
        if manager.there:
            observers.append(ManagerObserver(manager))
        observer = each_of(*observers) if len(observers) > 1 else voice
        try:
            return Server(
                operated.services[place],
                *what.places,
                limits=self._limits(what),
                deadlines=what.options.deadlines,
                sockets=what.options.sockets,
                tls=what.options.tls,
                proxy=what.options.proxy,
                observer=self._observing(operated.observing(place, observer), what),
                tap=each_tap(*taps) if len(taps) > 1 else next(iter(taps), None),
                readiness=self.readiness,
                engine=engine,
            )
        except FourTupleError as error:
            failure = Failure(error, Exit.USAGE)
            raise failure.at(what.label) if what.label else failure from error

    def _limits(self, what: ToServe) -> Limits:
        limits = what.options.limits
        if limits.max_connections is not None:
            return limits
        return limits.replace(max_connections=default_connections(self._given))

    def _ended(self, servers: Sequence[Server], log: Log) -> Exit:
        for server, what in zip(servers, self.services, strict=True):
            if all(listener.died for listener in server.listeners):
                raise Failure(what.named("no listener is left, the server has stopped"), Exit.FAILED)
        if isinstance(log, JsonLog) and log.error is not None:
            raise log_incomplete(log.error)
        return self._verdict(servers)

    # -- what another kind of run does otherwise ------------------------------------------------------------

    def _made_console(self, lines: Lines, prefix: str = "") -> Console:
        later = asyncio.get_running_loop().call_later
        return Console(later, quiet=self.quiet, verbose=self.verbose, hold=not self.hexdump, lines=lines, prefix=prefix)

    def _observing(self, observer: events.Observer, what: ToServe) -> events.Observer:
        """Return the observer of a server, which tells ``observer``."""
        return observer

    def _begun(self, servers: Sequence[Server]) -> None:
        """The servers listen."""

    def _operated(self) -> Operated:
        try:
            return Operated(self.operations, [each.service for each in self.services])
        except FourTupleError as error:
            raise Failure(error, Exit.USAGE) from error

    def _operating(
        self, operated: Operated, servers: Sequence[Server], tell: events.Observer
    ) -> AbstractAsyncContextManager[None]:
        """Return what runs around the servers: the process's file, the control socket, the HTTP server."""
        return operated.around(servers, tell, dict(zip(servers, self._given, strict=True)))

    def _tell_listening(self, voices: Sequence[Voice], servers: Sequence[Server]) -> None:
        for voice, server in zip(voices, servers, strict=True):
            for listener in server.listeners:
                voice.listening(listener)

    def _verdict(self, servers: Sequence[Server]) -> Exit:
        statistics = [server.statistics for server in servers]
        return Exit.FAILED if any(each.aborted or each.abandoned for each in statistics) else Exit.DONE
