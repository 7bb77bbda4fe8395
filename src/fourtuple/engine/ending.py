"""The end of a channel: close, abort, loss, and the steps of the end, which the sweep repeats until they succeed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from socket import SHUT_RD, SHUT_RDWR
from typing import Any

from fourtuple.engine.channel_state import ChannelState
from fourtuple.engine.consumer import Consumer, Inline
from fourtuple.errors import ConnectionEnded
from fourtuple.forking import why
from fourtuple.net.sockets import reset_on_close
from fourtuple.stream import Reason


class Ending(ChannelState):
    """Ends a channel: orderly, with RST, or because its socket failed."""

    __slots__ = ()

    # Fields of ChannelState that this part writes.
    consumer: Consumer | None
    due: float
    fd: int
    inline: Inline | None
    mask: int
    on_end: Callable[[Any], None] | None

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """Close after the outbox, lingering: send FIN, then discard input until the peer's FIN or the deadline."""
        if self._socket is None:
            return
        if reason.imposed:
            self._lose(reason)
        if self.detached:
            # A thread or program has the socket. shutdown(2) wakes it; it sees the end and gives the socket back.
            self.stream.because(reason)
            self._shut()
            return
        self.stream.close(reason)
        self.stream.resumed(self.engine.time())
        self.due = -math.inf
        self.flush_soon()

    def abort(self, reason: Reason = Reason.ABORTED, *, reset: bool = True) -> None:
        """End now, with RST (RFC 9293, 3.10.5). The octets in the outbox are lost.

        Without ``reset`` the kernel still sends what it has, and FIN; for octets that are unread it sends RST.
        """
        sock = self.socket
        if sock is None:
            return
        self._lose(reason)
        error = self.stream.cause or ConnectionEnded(f"{self.name}: aborted by this side")
        if reset:
            reset_on_close(sock)
        if self.detached:
            # A thread waits in a call on the socket. shutdown(2) wakes it, and it gives the socket back. SHUT_WR would
            # send FIN, which looks like a regular end to the peer. So it is used only if the thread waits to write.
            self.stream.broken(error, reason, borrowed=True)
            self._shut(SHUT_RDWR if self.stream.outbox_size else SHUT_RD)
        else:
            self.stream.broken(error, reason)
            self.stream.close(reason)  # octets that were read and not delivered are discarded
            self._end()

    def _shut(self, how: int = SHUT_RDWR) -> None:
        sock = self.socket
        assert sock is not None
        try:
            # ENOTCONN (shutdown(2)): the connection was reset meanwhile, and the reset has woken the thread.
            sock.shutdown(how)
        except OSError:
            return

    def _lose(self, reason: Reason) -> None:
        """Tell the consumer that the connection is lost, before the tasks that wait in its calls are woken.

        After a close() by this side the connection is not lost: it ends as intended. An abort() is a loss in any case.
        """
        if self.consumer is not None and (reason is Reason.ABORTED or not self.stream.closing):
            self.consumer.lost(reason)

    def _broken(self, error: OSError) -> None:
        """End after a failure of the socket. Messages received before are delivered first."""
        self._lose(Reason.LOST)
        self.stream.lost(error)
        if self.consumer is not None and not self.stream.closing:
            self.consumer.readable()
        if not self.detached:
            self._end()

    def _end(self) -> None:
        """Unregister, then close (at the end of the turn), then tell the observers.

        If one of these steps fails, the sweep repeats it and the following ones: see :class:`DoomedChannel`.
        """
        sock = self._socket
        if sock is None:
            return
        self.due = -math.inf
        self.engine.readiness.watch(self, 0)
        # On the list first, then forgotten: if there is no memory for the list's entry, the sweep finds the socket here
        # again.
        self.engine.close_later(sock)
        self._socket = None
        if self._gap_timer is not None:
            self._gap_timer.cancel()
        self._tell()

    def _tell(self) -> None:
        """The socket is closed: call ``on_end``, then tell the consumer, whose handler may still be running."""
        self.stream.because(Reason.CLOSED)
        if self.on_end is not None:
            self.on_end(self)
            # Only after the call: if it raises, the sweep calls it again.
            self.on_end = None
        self.leave()

    def abandon(self) -> None:
        """Tell the observers the end of a connection whose thread or program does not give the socket back.

        The connection was aborted. Its descriptor stays open: the thread or the program may still use it.
        """
        if self._socket is None or self.on_end is None:
            return
        self.stream.because(Reason.ABORTED)
        self.on_end(self)
        self.on_end = None

    def leave(self) -> None:
        """Leave the engine, unless a handler is running; a consumer calls this when its handler has ended."""
        if self._socket is not None or not self.engine.knows(self):
            return
        try:
            done = self.consumer is None or self.consumer.closed()
        except MemoryError:
            raise  # the sweep tries again
        except BaseException:
            self.engine.discard(self)
            raise
        if done:
            self.engine.discard(self)
            consumer, self.consumer, self.inline = self.consumer, None, None  # breaks the reference cycle
            if consumer is not None:
                consumer.left()

    def disown(self, reason: Callable[[str], str] = why) -> None:
        """Drop the connection without calling anyone: this is a forked child of its process, or its loop was closed.

        ``reason(what)`` returns the text of the error that calls raise. By default it is that of a forked child.
        """
        if self.detached and self._socket is not None and reason is not why:
            # The thread or program that has the socket goes on: it sees the end of the connection, and closes it.
            self._shut()
            return
        sock, self._socket = self._socket, None
        # Nothing but close(2) from here on: FIN or RST would end the connection for the parent, which shares it
        # (fork(2)).
        self.fd, self.mask = -1, 0
        self.stream.disowned(ConnectionEnded(reason(f"{self.name}: the connection")))
        if isinstance(sock, int):
            os.close(sock)
        elif sock is not None:
            sock.close()

    def forget(self) -> int | None:
        """Return the descriptor if there is no socket object for it. For an engine that is deleted but not closed."""
        sock = self._socket
        if not isinstance(sock, int):
            return None
        self._socket = None
        return sock
