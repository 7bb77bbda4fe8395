"""Connecting to a Unix socket."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

from fourtuple.address import Address
from fourtuple.errors import ConnectTimeout
from fourtuple.net.connecting.failures import unix_error
from fourtuple.net.connecting.racing import Connected
from fourtuple.net.connecting.sources import Source, closed_and_named, unix_name
from fourtuple.net.connecting.steps import Steps, Wait, clock
from fourtuple.net.names import connection_name

#: Seconds between two attempts at a Unix socket whose accept queue is full: there is no event to poll for.
_FULL_QUEUE_PAUSE = 0.01


def connect_unix(address: Address, source: Source, until: float | None, waited: str) -> Steps[Connected]:
    """Connect to a path. There is no handshake: connect(2) succeeds at once, fails at once, or the queue is full."""
    sock = source.open(socket.AF_UNIX, str(address))
    with closed_and_named(sock, lambda error: unix_error(error, address)):
        while True:
            # EAGAIN: the accept queue is full (unix(7)), and no poll reports when it has room.
            with suppress(BlockingIOError):
                sock.connect(unix_name(address))
                return Connected(sock, connection_name(sock))
            if until is not None and clock() >= until:
                raise ConnectTimeout(str(address), errno.EAGAIN, f"{waited}, the accept queue is full")
            yield Wait((), clock() + _FULL_QUEUE_PAUSE)
