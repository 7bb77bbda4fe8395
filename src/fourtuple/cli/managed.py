"""What the command tells its service manager (systemd): see :mod:`fourtuple.net.sdnotify`."""

from __future__ import annotations

import asyncio
from types import TracebackType

from fourtuple import events
from fourtuple.net.sdnotify import Manager


class SignsOfLife:
    """Tells the manager regularly that the loop runs, while the block runs: ``WatchdogSec=``."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        if self._manager.watchdog is not None:
            self._beat()

    def _beat(self) -> None:
        assert self._manager.watchdog is not None
        self._manager.alive()
        self._timer = self._loop.call_later(self._manager.watchdog, self._beat)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()


class ManagerObserver:
    """Tells the manager that a server stops, and that it has read its certificates again."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Draining):
            self._manager.stopping()
        elif isinstance(event, events.CertificatesRead | events.CertificatesFailed):
            self._manager.reloading()
            self._manager.ready()
