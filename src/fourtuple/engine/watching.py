"""The events for which the engine watches the socket of a channel."""

from __future__ import annotations

import fcntl
import math
import os
import termios
from socket import SO_ERROR, SOL_SOCKET

from fourtuple.engine.lending import Lending
from fourtuple.engine.readiness import ERR, HUP, IN, LOSS, OUT, RDHUP
from fourtuple.stream import Half, Reason

_OPEN = Half.OPEN  # used in every turn; a global is faster than an attribute


class Watching(Lending):
    """Watches for what the stream wants, and finds out about a loss while nothing is read."""

    __slots__ = ()

    # Fields of ChannelState that this part writes.
    due: float

    def update(self) -> None:
        """Watch for the events that the stream wants. :meth:`_unwatch` stops reading lazily, at an unwanted event."""
        if self._socket is None or self.detached:
            return
        stream = self.stream
        mask = OUT if stream.outbox_size else 0
        if stream.wants_read:
            mask |= IN
            stream.resumed(self.engine.now)
            if stream.gap_at is not None:
                self._await_gap(stream.gap_at)
        # Not wanted now, but registered already: it stays so until an event shows that the peer goes on (see _unwatch).
        # Most pauses end before, and cost no system call.
        elif stream.reading is Half.OPEN:
            mask |= self.mask & IN
        if not mask & IN:
            # Nothing is read, so a reset would stay unseen: ERR or RDHUP reports it.
            mask |= self._unread
        if mask != self.mask:
            if mask & IN and not self.mask & IN:
                self.due = -math.inf  # the deadlines of reading run again, so the sweep has to look
            self.engine.readiness.watch(self, mask)

    def consumed(self) -> None:
        """Watch for reads again if needed: the consumer took messages outside of a turn."""
        if (self.mask & IN and self.stream.gap_at is None) or self._socket is None or self.detached:
            return
        if self.stream.wants_read:
            self.update()

    def look_again(self) -> None:
        """Let the consumer look in the next turn: the readable messages have changed without an event of the socket.

        Every call that puts octets back, or changes how held octets are decoded, ends here. The kernel sends no event
        for these octets.
        """
        if self._socket is None or self.detached:
            return
        self.engine.revisit(self)
        self.consumed()

    def stop_at_boundary(self) -> None:
        """Read to the end of the message that has begun, but no further. Call it repeatedly until the stream closes."""
        self.stream.end_at_boundary()
        if self._socket is not None and not self.detached and not self.stream.wants_read:
            self._unwatch(0)

    def _unwatch(self, events: int) -> None:
        """Stop watching for reads that are not wanted now; keep watching for a loss and for the peer's FIN.

        Reading is paused lazily, here, so that the common conversation needs no epoll_ctl(2) call. The kernel always
        reports ERR and HUP, requested or not (epoll_ctl(2)). ERR may mean that the connection is lost, which ends it
        here. HUP without an error means that both directions have ended, so there is nothing left to watch for.
        """
        stream = self.stream
        stream.paused(self.engine.now)
        if events & (ERR | HUP) and self._lost_unread():
            return
        if events & RDHUP and stream.fin_arrived() and self.consumer is not None:
            self.consumer.finished()
        if self._socket is not None and not self.detached:
            self.engine.readiness.watch(self, 0 if events & (ERR | HUP) else self.mask & OUT | self._unread)

    def _lost_unread(self) -> bool:
        """Check the socket's error (SO_ERROR, socket(7)); return whether the connection was lost and has ended."""
        sock = self.socket
        # Reading it clears it (socket(7)): the kernel tells a reset once.
        code = sock.getsockopt(SOL_SOCKET, SO_ERROR) if sock is not None else 0
        if code and self.stream.reading is _OPEN:
            # Octets received before the error wait in the kernel. A handler that continues to read gets them first.
            self._write_failed(OSError(code, os.strerror(code)))
        elif code:
            self._broken(OSError(code, os.strerror(code)))
        return bool(code)

    @property
    def _unread(self) -> int:
        """The events to watch for while nothing is read."""
        stream = self.stream
        if stream.writing is Half.BROKEN:
            # While the socket is registered, the kernel reports ERR or HUP in every turn.
            return 0  # the loss is already known
        return RDHUP or LOSS if stream.reading is _OPEN and not stream.finishing and stream.layer is None else LOSS

    def _write_failed(self, error: OSError) -> None:
        """End writing. Octets that the peer sent before may wait in the kernel, so reading continues to its end."""
        if isinstance(error, ConnectionResetError | BrokenPipeError) and self.stream.reading is Half.OPEN:
            self._lose(Reason.LOST)
            self.stream.write_lost(error)
            self.update()
            self.flush_soon()  # not to write: it wakes senders that wait for the crowded outbox
        else:
            self._broken(error)

    @property
    def has_unread(self) -> bool:
        """Whether the kernel has octets that the engine will read in its next turn."""
        if self._socket is None or self.detached or not self.mask & IN or not self.stream.wants_read:
            return False
        return self.holds_unread

    @property
    def holds_unread(self) -> bool:
        """Whether the kernel has octets that were not read, even while reading is stopped."""
        if self._socket is None:
            return False
        try:
            return any(fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))  # tcp(7), unix(7): SIOCINQ
        except (OSError, ValueError):  # a connection in memory has no descriptor
            return False
