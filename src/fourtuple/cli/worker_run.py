"""One worker of ``fourtuple serve --workers``: a run at the passive sockets of its supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from fourtuple import events
from fourtuple.cli.console import Console
from fourtuple.cli.failure import Exit
from fourtuple.cli.serve_run import Log, ServeRun
from fourtuple.config import Configuration
from fourtuple.operations.running import Operated
from fourtuple.server import Server
from fourtuple.signals import StopSignals
from fourtuple.supervisor.worker import WorkerEnd


class WorkerRun(ServeRun):
    """One run. The supervisor prints where it listens, and that it stops."""

    def __init__(self, end: WorkerEnd, service: Any, configuration: Configuration, **options: Any) -> None:
        self._end = end
        limits = end.limits(configuration.limits)
        super().__init__(service, end.sockets, replace(configuration, limits=limits), **options)

    async def _main(self, signals: StopSignals) -> Exit:
        self._end.stop_asked = lambda: signals.count > 0
        try:
            return await super()._main(signals)
        finally:
            self._end.close()

    def _made_console(self) -> Console:
        later = asyncio.get_running_loop().call_later
        console = WorkerConsole(later, quiet=self.quiet, verbose=self.verbose, hold=not self.hexdump)
        console.slot = self._end.seat.slot
        return console

    def _observing(self, observer: events.Observer) -> events.Observer:
        return self._end.observing(observer)

    def _begun(self, server: Server) -> None:
        self._end.begin(server)

    def _operating(
        self, operated: Operated, server: Server, tell: events.Observer
    ) -> AbstractAsyncContextManager[None]:
        return self._end.operated(operated, server)

    def _tell_listening(self, log: Log, server: Server) -> None:
        """The supervisor has told it."""


class WorkerConsole(Console):
    """Lines that begin with the number of the worker's slot: each worker numbers its connections by itself."""

    slot = 0

    def __call__(self, event: events.Event) -> None:
        if not isinstance(event, events.Draining | events.Drained):
            super().__call__(event)

    def say(self, text: str, style: str = "", below: Iterable[str] = ()) -> None:
        super().say(f"[{self.slot}] {text}", style, below)

    def complain(self, text: str, below: Iterable[str] = ()) -> None:
        super().complain(f"[{self.slot}] {text}", below)
