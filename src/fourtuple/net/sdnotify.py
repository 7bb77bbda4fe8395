"""What a service tells its service manager: sd_notify(3), without the library.

A datagram of lines ``NAME=value`` goes to the Unix socket that $NOTIFY_SOCKET names; ``@`` begins an abstract name.
Without the variable nothing is sent. That includes every start by hand.
"""

from __future__ import annotations

import array
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress


class Manager:
    """The service manager that has started this process, or none.

    Parameters
    ----------
    environment
        Where $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID are read.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")
        #: Seconds between two signs of life; None if the manager does not ask for them.
        self.watchdog: float | None = _watchdog(environment) if self._path else None

    @property
    def there(self) -> bool:
        """Whether a manager listens."""
        return bool(self._path)

    def ready(self, status: str = "") -> None:
        """The service has started, or has ended its reload."""
        self.send("READY=1", *_status(status))

    def reloading(self) -> None:
        """The service reloads. The time is needed by ``Type=notify-reload`` (sd_notify(3))."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service begins to stop."""
        self.send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``."""
        self.send(*_status(text))

    def main_process(self, pid: int) -> None:
        """Another process is the service's main process now: an upgrade. It sends READY itself."""
        self.send(f"MAINPID={pid}")

    def alive(self) -> None:
        """The sign of life for ``WatchdogSec=``."""
        self.send("WATCHDOG=1")

    def keep(self, name: str, fds: Sequence[int]) -> None:
        """Let the manager keep these descriptors for the next start: ``FileDescriptorStoreMax=``."""
        self.send("FDSTORE=1", f"FDNAME={name}", fds=fds)

    def forget(self, name: str) -> None:
        """Let the manager close the descriptors that it keeps under a name."""
        self.send("FDSTOREREMOVE=1", f"FDNAME={name}")

    def send(self, *lines: str, fds: Sequence[int] = ()) -> None:
        """Send lines in one datagram. A manager that is away, or slow, is not an error: the service goes on."""
        if not self._path:
            return
        name = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(name)
            sock.sendmsg(["\n".join(lines).encode()], rights)


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Return half of the manager's patience, as sd_watchdog_enabled(3) recommends."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    with suppress(ValueError):
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        return microseconds / 2e6 if microseconds > 0 else None
    return None
