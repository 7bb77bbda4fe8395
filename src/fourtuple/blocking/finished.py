"""Whether the peer has sent FIN. A thread must ask the kernel: no loop tells it."""

from __future__ import annotations

import math

from fourtuple.blocking.polling import RDHUP, Wakes, after, milliseconds
from fourtuple.blocking.sending import Sending
from fourtuple.blocking.shared_socket import SharedSocket
from fourtuple.stream import Half


class PeerFinished:
    """An event, as :class:`threading.Event`, that is set by the peer's end of file (FIN), or by the connection's end.

    It asks the kernel, which knows of the FIN before it is received: while octets before it are still unread, and while
    a handler computes. Over TLS it is the FIN that counts, not the close_notify, which only a receive finds.

    :attr:`fourtuple.BlockingConnection.peer_finished` makes it: ``sock`` and ``sending`` are parts of the connection.
    """

    __slots__ = ("_sending", "_socket")

    def __init__(self, sock: SharedSocket, sending: Sending) -> None:
        self._socket = sock
        self._sending = sending

    def is_set(self) -> bool:
        """Return whether the peer has sent FIN. You can still send to it: it may have half-closed."""
        return self._look(-math.inf, None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the peer has sent FIN, at most ``timeout`` seconds (default: no bound); return whether it has."""
        until = after(timeout, self._socket.clock)
        if self._socket.stream.outbox_size and self._socket.descriptor is not None:
            self._sending.flush()  # replies that waited for the next ones: the peer may wait for them
        with self._socket.alarm() as alarm:
            while not self._look(until, alarm):
                if until is not None and self._socket.clock() >= until:
                    return False
        return True

    def _look(self, until: float | None, alarm: Wakes | None) -> bool:
        """Check the connection's state, then poll the kernel, which waits for the peer or for the alarm."""
        sock = self._socket
        descriptor, stream = sock.descriptor, sock.stream
        if descriptor is None or stream.closing or stream.reading is not Half.OPEN:
            return True
        poll = sock.new_poll()
        # RDHUP and not IN: unread octets would end the poll(2) at once, and the FIN may come behind them.
        poll.register(descriptor.socket, RDHUP)
        if alarm is not None:
            until = sock.set_alarm(alarm, poll, until)
        number = descriptor.socket.fileno()
        return any(fd == number for fd, _ in poll.poll(milliseconds(until, sock.clock)))

    def __repr__(self) -> str:
        return f"<PeerFinished of {self._socket.stream.name}, {'set' if self.is_set() else 'not set'}>"
