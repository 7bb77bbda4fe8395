"""One worker of ``fourtuple serve --workers``: a run at the passive sockets of its supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fourtuple import events
from fourtuple.cli.console import Console
from fourtuple.cli.failure import Exit
from fourtuple.cli.lines import Lines
from fourtuple.cli.serve_run import ServeRun, Voice
from fourtuple.cli.to_serve import ToServe
from fourtuple.operations.running import Operated
from fourtuple.options import Operations
from fourtuple.server import Server
from fourtuple.signals import StopSignals
from fourtuple.supervisor.shares import Part
from fourtuple.supervisor.worker import WorkerEnd


class WorkerRun(ServeRun):
    """One run. The supervisor prints where it listens, and that it stops."""

    def __init__(self, end: WorkerEnd, services: Sequence[ToServe], operations: Operations, **options: Any) -> None:
        self._end = end
        #: Whether the supervisor has asked it to stop.
        self._asked = False
        self._stops: set[asyncio.Task[None]] = set()
        super().__init__(services, operations, **options)

    async def _main(self, signals: StopSignals) -> Exit:
        self._end.stop_asked = lambda: signals.count > 0 or self._asked
        try:
            return await super()._main(signals)
        finally:
            self._end.close()

    def _made_console(self, lines: Lines, prefix: str = "") -> Console:
        later = asyncio.get_running_loop().call_later
        return WorkerConsole(
            later,
            quiet=self.quiet,
            verbose=self.verbose,
            hold=not self.hexdump,
            lines=lines,
            prefix=f"[{self._end.seat.slot}] {prefix}",
        )

    def _observing(self, observer: events.Observer, what: ToServe) -> events.Observer:
        return self._end.observing(observer, what.label)

    def _begun(self, servers: Sequence[Server]) -> None:
        parts: dict[str, Part] = {}
        for server, what in zip(servers, self.services, strict=True):
            parts[what.label] = Part(server, 0)
            parts |= {label: Part(server, number) for number, label in enumerate(what.labels)}
        self._end.operations["stop"] = self._stop
        self._end.begin(parts)

    def _stop(self, arguments: dict[str, Any]) -> None:
        """Drain, or abort if the supervisor asks for the second time. What went wrong, ``serve_forever()`` raises."""
        self._asked = True
        group = self._group
        assert group is not None
        stop = asyncio.get_running_loop().create_task(group.drain() if arguments["times"] == 1 else group.abort())
        self._stops.add(stop)
        stop.add_done_callback(self._stopped)

    def _stopped(self, stop: asyncio.Task[None]) -> None:
        self._stops.discard(stop)
        stop.cancelled() or stop.exception()

    def _operating(
        self, operated: Operated, servers: Sequence[Server], tell: events.Observer
    ) -> AbstractAsyncContextManager[None]:
        return self._end.operated(operated, servers)

    def _tell_if_too_many(self, allowed: int) -> None:
        if self._end.seat.slot == 1:  # once for all workers
            super()._tell_if_too_many(allowed)

    def _tell_listening(self, voices: Sequence[Voice], servers: Sequence[Server]) -> None:
        """The supervisor has told it."""


class WorkerConsole(Console):
    """Lines that begin with the number of the worker's slot: each worker numbers its connections by itself."""

    def __call__(self, event: events.Event) -> None:
        if not isinstance(event, events.Draining | events.Drained):
            super().__call__(event)
