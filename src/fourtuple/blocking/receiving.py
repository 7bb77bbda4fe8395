"""Octets from a blocking connection's socket to its stream: recv(2), and poll(2) where there is a timeout."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from itertools import compress
from typing import Any, TypeVar

from fourtuple.blocking.interrupts import interrupted
from fourtuple.blocking.polling import IN, OUT, Poll, Wakes, after, earlier
from fourtuple.blocking.rates import look_for_loss, room, wait_for_rate
from fourtuple.blocking.sending import Sending
from fourtuple.blocking.shared_socket import DONTWAIT, SharedSocket
from fourtuple.errors import ConnectionBusy, ConnectionEnded, ConnectionLost, DeadlinePassed
from fourtuple.framing import Unmapped
from fourtuple.net.sockets import reset_on_close
from fourtuple.options import check_timeout
from fourtuple.stream import NOT_YET, Half, Nothing, Path

T = TypeVar("T")

_PLAIN = Path.PLAIN  # used for every message; a global is faster than an attribute

#: The most reads before a request, as for an async connection: octets that belong to no message may come without end.
_MOST_LOOKS = 16

#: What error texts say about the state after a deadline has passed.
_AFTERWARDS = {
    "receive": "no octet was lost, call receive again",
    "request": "its late reply will be dropped",
    "reply": "it is still outstanding, call receive again",
}


class Receiving:
    """Reads, one system call after the other, for one thread at a time. The stream decides what the octets mean.

    A call that receives holds ``_reading``, even while it waits; it writes the outbox meanwhile. It notes the lock in a
    list of its own, ``held``, and its ``finally`` releases what is there. A signal handler that raises may run after
    any call, so one call into C takes the lock and notes it. ``held[0].release()`` stands in each ``finally`` itself: a
    function could be interrupted before it begins.
    """

    __slots__ = ("_arrived", "_look", "_reading", "_sending", "_socket", "_stream", "_torn", "asking")

    def __init__(self, sock: SharedSocket, sending: Sending) -> None:
        self._socket = sock
        self._stream = sock.stream
        self._sending = sending
        #: The thread that waits for replies to its requests: only it may receive.
        self.asking: int | None = None
        # Reentrant: a signal handler may close a connection that its own thread receives from.
        self._reading = threading.RLock()
        # The result of the latest system call until the stream has it, and whether an interrupt came between.
        self._arrived: list[bytes] = []
        self._torn = False
        self._look: Poll | None = None

    # -- one receiver at a time ---------------------------------------------------------------------------

    def begin(self, held: list[threading.RLock], what: str = "receive") -> None:
        """Reserve receiving for this call, which must release the lock that is then in ``held``.

        Raises ConnectionBusy if another thread receives, or waits for replies.
        """
        sock = self._socket
        sock.check_lent(what)
        with sock.lock:  # checks both at once, so that ``_reading`` is free whenever the thread of ``asking`` needs it
            before = len(held)
            if self.asking in (None, threading.get_ident()):
                self._take(held)
            if len(held) == before:
                raise self._busy()

    def _take(self, held: list[threading.RLock], *wait: float) -> None:
        """Take the lock if it is free, or wait for it, and note that in the list."""
        lock = self._reading
        held.extend(compress((lock,), map(lock.acquire, (bool(wait),), *((each,) for each in wait))))

    def alone(self, change: Callable[[], None]) -> None:
        """Call a method of the stream while no other call receives. Raises as :meth:`begin`."""
        held: list[threading.RLock] = []
        try:
            self.begin(held)
            with self._socket.lock:
                change()
        finally:
            if held:
                held[0].release()

    def _busy(self) -> Exception:
        """Return why this thread may not receive now: another thread receives, or closes the connection."""
        if self._stream.closing:
            return ConnectionEnded(f"{self._stream.name}: closed by this side")
        return ConnectionBusy(f"{self._stream.name}: another thread is receiving")

    def begin_asking(self, thread: int) -> None:
        """Reserve receiving for this thread's requests until ``asking`` is None again; only close() may also receive.

        Raises ConnectionBusy, before anything is sent, while another thread receives or has requests.
        """
        held: list[threading.RLock] = []
        with self._socket.lock:
            try:
                self.begin(held, "request")
                self.asking = thread
            finally:
                if held:
                    held[0].release()

    def receive_straight(self) -> Any:
        """Wait for octets of a lent socket, and return the first message in them, while no condition holds.

        Otherwise, and if they complete no message, return NOT_YET: the general way goes on. No signal handler runs in
        the thread of a lent socket, so nothing is done against interrupts.
        """
        sock, stream = self._socket, self._stream
        if sock.owned or stream.inbox or stream.outbox_size or self._arrived or self._torn:
            return NOT_YET
        with sock.lock:
            descriptor = sock.descriptor
            if descriptor is None or self.asking is not None or not self._reading.acquire(blocking=False):
                return NOT_YET
            sock.receiving = True
        try:
            stream.resumed(sock.clock())
            if stream.path is not _PLAIN or stream.message_since is not None:
                return NOT_YET  # the octets held may have an error to tell, and more than one read may be needed
            try:
                # This waits: a lent socket blocks. The engine, which keeps the deadlines, ends it by shutdown(2).
                data = descriptor.socket.recv(stream.limits.read_size)
            except OSError as error:
                self._failed(error)
                return NOT_YET
            with sock.lock:
                if not data or stream.path is not _PLAIN or sock.descriptor is None:
                    self._arrived.append(data)
                    self._take_in()
                    return NOT_YET
                now = sock.clock()
                message = stream.feed(data, now, True)
                stream.paused(now)
                inbox = stream.inbox
                if message is NOT_YET and stream.path is _PLAIN and inbox and inbox[-1].__class__ is not Unmapped:
                    message = inbox.pop()
                return message
        finally:
            del descriptor  # so that no traceback keeps it
            sock.receiving = False
            self._reading.release()

    # -- waiting ------------------------------------------------------------------------------------------

    def readable(self) -> bool:
        """Return whether a receive would return or raise at once."""
        with self._socket.lock:
            return self._stream.readable

    def take(self, take: Callable[[], T | Nothing], timeout: float | None) -> T:
        """Move octets until ``take``, a method of the stream, returns something or raises."""
        got: T | Nothing = NOT_YET

        def taken() -> bool:
            nonlocal got
            got = take()
            return got is not NOT_YET

        self.wait_for(taken, timeout, "receive")
        assert got is not NOT_YET
        return got

    def wait_for(
        self, ready: Callable[[], bool], timeout: float | None, which: str, until: float | None = None
    ) -> None:
        """Move octets until ``ready()``, at most ``timeout`` seconds (or until the moment ``until``)."""
        check_timeout(timeout)
        sock, below = self._socket, False
        held: list[threading.RLock] = []
        try:
            self.begin(held)
            # If the connection ends after this, the call is woken. A signal handler may receive below this very call.
            below, sock.receiving = sock.receiving, True
            if self._is(ready):
                return
            clock = sock.clock
            if until is None:
                until = after(timeout, clock)
            until = sock.bounded(until)
            while True:
                self._pull(until)
                if self._is(ready):
                    return
                if until is not None and clock() >= until:
                    raise self._late(which, timeout, until)
        finally:
            if held:
                sock.receiving = below
                held[0].release()

    def _is(self, ready: Callable[[], bool]) -> bool:
        with self._socket.lock:
            return ready()

    def _late(self, which: str, seconds: float | None, until: float) -> DeadlinePassed:
        layer, detail = self._stream.layer, _AFTERWARDS.get(which, "")
        if not detail and layer is not None:
            detail = layer.unfinished()
        held = self._stream.decoder.buffered
        if held:
            detail = f"{held} octets of an unfinished message are held; {detail}"
        return self._socket.late(which, seconds, until, detail)

    def _pull(self, until: float | None) -> None:
        """Wait for one event and handle it: octets to read, or room to write."""
        if not room(self._socket):
            wait_for_rate(self._socket, self._sending, until)
            return
        self._resume()
        if self._stream.outbox_size or self._stream.fin_due:
            self._sending.flush()
            if self._stream.reading is not Half.OPEN or self._sending.timed_out():
                return  # the write has shown that the connection has ended
        gap_at = self._stream.gap_at
        if self._stream.outbox_size or until is not None or gap_at is not None:
            events = self._socket.poll(earlier(earlier(until, gap_at), self._sending.write_due()))
            self.move(events)
            if not events & ~OUT:
                self.look_for_silence()
        else:
            # Nothing but octets is waited for: one recv(2) that blocks, instead of a poll(2) before it.
            self._receive_octets(0)

    def _resume(self) -> None:
        """Let the engine's deadlines for the peer run again: they stop while the handler computes."""
        if not self._socket.owned:
            self._stream.resumed(self._socket.clock())

    # -- reading ------------------------------------------------------------------------------------------

    def read_now(self) -> None:
        """Write and read what can be without waiting."""
        self._sending.flush()
        self._receive_octets(DONTWAIT)
        self.look_for_silence()

    def move(self, events: int) -> None:
        """Write and read according to the events of poll(2)."""
        if events & OUT or self._stream.fin_due:
            self._sending.flush()
        if events & ~OUT:
            self._receive_octets(DONTWAIT)

    def _receive_octets(self, flags: int) -> None:
        """Call recv(2) once, and give the octets to the stream."""
        sock = self._socket
        if self._arrived or self._torn:
            with sock.lock:
                self._take_in()
            return
        size = room(sock)
        if size:
            self._receive_at_most(size, flags)
        else:
            look_for_loss(sock)  # a rate must be waited for

    def _receive_at_most(self, size: int, flags: int) -> None:
        sock = self._socket
        descriptor = sock.in_use("receive")
        try:
            # extend(map()) and not append(recv()): no signal can come between the system call and the list.
            self._arrived.extend(map(descriptor.socket.recv, (size,), (flags,)))
        except OSError as error:
            if interrupted(error):
                raise
            if not isinstance(error, BlockingIOError):
                self._failed(error)
            return
        finally:
            del descriptor  # so that no traceback keeps it
        with sock.lock:
            self._take_in()

    def _failed(self, error: OSError) -> None:
        """Take the error of recv(2)."""
        with self._socket.lock:
            # If it is not open, the stream has the reason already: a lent socket is aborted by shutdown(2).
            if self._stream.reading is Half.OPEN:
                self._stream.lost(error)

    def _take_in(self) -> None:
        stream = self._stream
        if self._torn:
            stream.broken(ConnectionLost(f"{stream.name}: an interrupt came while octets were taken in"))
            return
        self._torn = True
        data = self._arrived.pop()
        now = self._socket.clock()
        if stream.reading is not Half.OPEN or self._socket.descriptor is None:
            pass  # the engine or another thread has ended it: that reason stays, and an end of file is not the peer's
        elif data:
            stream.received(data, now)
        else:
            stream.received_eof(now)
        if not self._socket.owned:
            stream.paused(now)
        self._torn = False

    def look_for_silence(self) -> None:
        """End a message if the framing's gap has passed while nothing was to be read."""
        sock, stream = self._socket, self._stream
        if stream.gap_at is None or not stream.wants_read or sock.clock() < stream.gap_at or self._torn:
            return
        self._torn = True  # as in _take_in(): an interrupt must not lose the message unnoticed
        with sock.lock:
            stream.silence(sock.clock())
        self._torn = False

    def look_for_unasked(self) -> None:
        """Before a request, read unrequested octets without waiting: later they would be taken for its reply.

        Raises ConnectionBusy while another thread receives: it would take the reply.
        """
        sock, stream = self._socket, self._stream
        if stream.requested:
            return  # what comes is assumed to be the reply to one of these
        if not (sock.receiving or stream.gap_at is not None or self.has_unread()):
            return
        held: list[threading.RLock] = []
        try:
            self.begin(held, "request")
            for _ in range(_MOST_LOOKS):
                if stream.reading is not Half.OPEN or stream.unasked or stream.read_error is not None:
                    return
                events = sock.poll(sock.clock())
                self.move(events)
                if not events & ~OUT:
                    self.look_for_silence()
                    return
        finally:
            if held:
                held[0].release()

    @property
    def has_arrived(self) -> bool:
        """Whether a thread has read octets that the stream does not have yet."""
        return bool(self._arrived)

    def has_unread(self) -> bool:
        """Return whether there is something to read, or the connection has ended, by the cheapest check.

        If the connection is closed at the same moment, the descriptor's number may mean another socket. Then the result
        is wrong, and the read that follows notices it.
        """
        with self._socket.lock:  # one poll object allows one poll(2) at a time
            look = self._look
            if look is None:
                if self._socket.descriptor is None:
                    return True
                look = self._look = self._socket.new_poll()
                look.register(self._socket.descriptor.socket, IN)
            return bool(look.poll(0))

    # -- the end ------------------------------------------------------------------------------------------

    def linger(self, *, first: bool) -> None:
        """Write the outbox, send FIN, and discard what comes until the peer's FIN or the deadline.

        This takes the place of a call that receives. ``first`` tells whether to wake that call: if this is not the
        first close(), it may be a close() that lingers already.
        """
        sock, below = self._socket, False
        held: list[threading.RLock] = []
        try:
            self._take(held)
            if not held:
                if first:
                    sock.wake_receiver()
                self._take(held, self._longest_end())
                if not held:
                    return  # that call does not end: the connection ends without it
            # In a signal handler, the interrupted code of the same thread may be receiving.
            below, sock.receiving = sock.receiving, True
            with sock.alarm() as alarm:
                self._discard_until_fin(alarm)
        finally:
            if held:
                sock.receiving = below
                held[0].release()

    def _longest_end(self) -> float:
        """Return the seconds that the end of the connection may take, for a wait until another call has left."""
        deadlines = self._socket.deadlines
        seconds = [deadlines.linger_timeout, deadlines.write_timeout if self._stream.outbox_size else 0.0]
        return min(sum(math.inf if each is None else each for each in seconds), threading.TIMEOUT_MAX)

    def _discard_until_fin(self, alarm: Wakes) -> None:
        sock, stream = self._socket, self._stream
        while not stream.over:
            found = stream.next_deadline(sock.deadlines)
            until, which, _ = found or (None, "", 0.0)
            if sock.latest is not None and (until is None or sock.latest.moment < until):
                until, which = sock.latest.moment, "write_timeout" if stream.outbox_size else "linger_timeout"
            self.move(sock.poll(until, alarm))
            if until is not None and sock.clock() >= until and not stream.over:
                if which == "write_timeout":
                    # The peer does not read: FIN would wait behind octets that the kernel cannot send.
                    reset_on_close(sock.in_use("close").socket)
                return

    def disown(self) -> None:
        """In a forked child: the thread that held the lock does not exist in it."""
        self._reading = threading.RLock()
