"""Octets between a socket and its stream, by blocking: the lower storey of a blocking connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from fourtuple.blocking.polling import IN, OUT, Poll, after, earlier, milliseconds
from fourtuple.errors import ConnectionBusy, ConnectionEnded, ConnectionLost, DeadlinePassed, WouldBlock
from fourtuple.options import check_timeout
from fourtuple.overview import Overview
from fourtuple.stream import Half, Stream

T = TypeVar("T")

DONTWAIT = socket.MSG_DONTWAIT

#: What a deadline that passed leaves behind.
_AFTERWARDS = {
    "receive": "nothing was lost, receive again",
    "request": "its late reply will be dropped",
    "reply": "it is still outstanding, receive again",
    "handshake_timeout": "the peer did not finish its TLS handshake",
}


class Octets(Overview):
    """Moves octets, one system call after the other; what they mean, the stream knows."""

    __slots__ = (
        "__weakref__",
        "_arrived",
        "_clock",
        "_new_poll",
        "_owned",
        "_reading",
        "_socket",
        "_stream",
        "_taken",
        "_torn_in",
        "_torn_out",
        "_writing",
        "receiving",
    )

    def __init__(
        self,
        sock: socket.socket,
        stream: Stream,
        *,
        owned: bool,
        clock: Callable[[], float],
        poll: Callable[[], Poll],
    ) -> None:
        self._clock = clock
        self._new_poll = poll
        self._socket: socket.socket | None = sock
        self._stream = stream
        self._owned = owned
        #: Whether a thread waits in a receive now.
        self.receiving = False
        # Reentrant: a signal handler may close a connection that its own thread receives from.
        self._reading = threading.RLock()
        self._writing = threading.RLock()
        # What the last system calls brought, until the stream has it; and whether that was interrupted.
        self._arrived: list[bytes] = []
        self._taken: list[int] = []
        self._torn_in = self._torn_out = False

    # -- octets in ----------------------------------------------------------------------------------------

    def _readable(self) -> bool:
        return self._stream.readable

    def _take(self, take: Callable[[], T], timeout: float | None) -> T:
        """Call ``take`` until it does not raise WouldBlock."""
        taken: list[T] = []

        def ready() -> bool:
            try:
                taken.append(take())
            except WouldBlock:
                return False
            return True

        self._wait_for(ready, timeout, "receive")
        return taken[0]

    def _wait_for(
        self, ready: Callable[[], bool], timeout: float | None, which: str, until: float | None = None
    ) -> None:
        """Move octets until ``ready()``, at most ``timeout`` seconds (or until the moment ``until``)."""
        check_timeout(timeout)
        self._begin_receiving()
        try:
            if ready():
                return
            if until is None:
                until = after(timeout, self._clock)
            self.receiving = True
            while True:
                self._pull(until)
                if ready():
                    return
                if until is not None and self._clock() >= until:
                    raise self._late(which, timeout or 0.0)
        finally:
            self.receiving = False
            self._reading.release()

    def _begin_receiving(self) -> None:
        """Be the one that receives. Whoever calls this releases ``_reading``."""
        if not self._reading.acquire(blocking=False):
            raise ConnectionBusy(f"{self.name}: another thread receives already")

    def _late(self, which: str, seconds: float) -> DeadlinePassed:
        detail = _AFTERWARDS[which]
        held = self._stream.decoder.buffered
        if held:
            detail = f"{held} octets of an unfinished message are held; {detail}"
        return DeadlinePassed(which, seconds, str(self.name), detail)

    def _pull(self, until: float | None) -> None:
        """Wait for one event and serve it: octets that came, or room for those that wait to go."""
        self._resume()
        if self._stream.outbox_size or self._stream.fin_due:
            self._flush()
        gap_at = self._stream.gap_at
        if self._stream.outbox_size or until is not None or gap_at is not None:
            events = self._poll(earlier(until, gap_at))
            self._move(events)
            if not events & ~OUT:
                self._look_for_silence()
        else:
            self._receive_octets(0)

    def _move(self, events: int) -> None:
        """Serve what poll(2) said."""
        if events & OUT or self._stream.fin_due:
            self._flush()
        if events & ~OUT:
            self._receive_octets(DONTWAIT)

    def _receive_octets(self, flags: int) -> None:
        """One recv(2), and the stream takes what it brought."""
        stream = self._stream
        if self._arrived or self._torn_in:
            self._take_in()
            return
        try:
            # extend(map()) rather than append(recv()): nothing is between the call and the list, no signal either.
            self._arrived.extend(map(self._open_socket("receive").recv, (stream.limits.read_size,), (flags,)))
        except BlockingIOError:
            return
        except OSError as error:
            # Otherwise the stream knows already why: the engine aborts a lent socket by shutdown(2).
            if stream.reading is Half.OPEN:
                stream.lost(error)
            return
        self._take_in()

    def _take_in(self) -> None:
        stream = self._stream
        if self._torn_in:
            stream.broken(ConnectionLost(f"{self.name}: an interrupt came while octets were taken in"))
            return
        self._torn_in = True
        data = self._arrived.pop()
        now = self._clock()
        if stream.reading is not Half.OPEN:
            pass  # ended meanwhile, by the engine or another thread: their reason stays
        elif stream.layer is not None:
            # TLS answers what it reads, and an SSLObject is for one thread at a time.
            with self._writing:
                stream.received(data, now) if data else stream.received_eof(now)
        elif data:
            stream.received(data, now)
        else:
            stream.received_eof(now)
        if not self._owned:
            stream.paused(now)
        self._torn_in = False

    def _look_for_silence(self) -> None:
        """Nothing is there to be read: if the framing's gap is over, that ends a message."""
        stream = self._stream
        if stream.gap_at is None or not stream.wants_read or self._clock() < stream.gap_at or self._torn_in:
            return
        self._torn_in = True  # as in _take_in(): an interrupt must not lose the message unseen
        stream.silence(self._clock())
        self._torn_in = False

    def _resume(self) -> None:
        """Waiting again: the engine's deadlines for the peer run, which do not while a handler is at work."""
        if not self._owned:
            self._stream.resumed(self._clock())

    # -- octets out ---------------------------------------------------------------------------------------

    def _make_room(self, timeout: float | None) -> None:
        """Whoever has all the time waits for what is left of earlier messages, rather than for an OutboxFull."""
        if timeout is None and self._stream.outbox_size:
            self._write_out(None)

    def _write_out(self, timeout: float | None) -> None:
        """Write until the outbox is empty, at most ``timeout`` seconds."""
        until = after(timeout, self._clock)
        while not self._flush():
            self._poll(until, reading=False)
            if until is not None and self._clock() >= until:
                waiting = self._stream.outbox_size
                raise DeadlinePassed(
                    "send",
                    timeout or 0.0,
                    str(self.name),
                    f"{waiting} octets wait in the outbox and leave with the next call, do not send them again",
                )
        if self._stream.write_error is not None:
            raise self._stream.write_error

    def _flush(self) -> bool:
        """Write what the kernel takes now, and FIN behind the last octet where it is due.

        Returns whether nothing is left to write: because it was written, or because it never can be.
        """
        stream = self._stream
        with self._writing:
            try:
                if self._taken or self._torn_out:
                    self._count_out()
                while stream.outbox_size:
                    chunk = stream.outgoing()
                    self._taken.extend(map(self._open_socket("send").send, (chunk,), (DONTWAIT,)))
                    if self._count_out() < len(chunk):
                        break
                if stream.fin_due:
                    self._open_socket("send").shutdown(socket.SHUT_WR)
                    stream.fin_sent(self._clock())
            except BlockingIOError:
                stream.sent(0, self._clock())
            except OSError as error:
                # What the peer sent before it broke can still be read: only writing has ended.
                stream.write_lost(error)
            return not stream.outbox_size

    def _count_out(self) -> int:
        if self._torn_out:
            self._stream.broken(ConnectionLost(f"{self.name}: an interrupt came while sent octets were counted"))
            return 0
        self._torn_out = True
        count = self._taken.pop()
        self._stream.sent(count, self._clock())
        self._torn_out = False
        return count

    # -- the socket ---------------------------------------------------------------------------------------

    def _poll(self, until: float | None, *, reading: bool = True) -> int:
        """Wait for octets to come, and for room where octets wait to go; return what poll(2) says, 0 for the time."""
        events = OUT if self._stream.outbox_size else 0
        if reading and self._stream.reading is Half.OPEN:  # an end of file that was read stays readable for ever
            events |= IN
        poll = self._new_poll()
        poll.register(self._open_socket("poll"), events)
        ready = poll.poll(milliseconds(until, self._clock))
        return ready[0][1] if ready else 0

    def _open_socket(self, what: str) -> socket.socket:
        if self._socket is None:
            raise ConnectionEnded(f"{self.name}: {what} after the connection ended")
        return self._socket
