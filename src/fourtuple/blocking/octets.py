"""Moving octets between a socket and its stream with blocking calls: the lower layer of a blocking connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fourtuple.blocking.descriptor import Descriptor
from fourtuple.blocking.polling import IN, OUT, Poll, Wakes, after, earlier, milliseconds
from fourtuple.connection_info import ConnectionInfo
from fourtuple.errors import ConnectionBusy, ConnectionEnded, ConnectionLost, DeadlinePassed, FourTupleError
from fourtuple.net.sockets import reset_on_close
from fourtuple.options import Deadlines, check_timeout
from fourtuple.stream import NOT_YET, Half, Nothing, Reason, Stream
from fourtuple.typevars import In_co, Out_contra

T = TypeVar("T")

DONTWAIT = socket.MSG_DONTWAIT
#: The longest wait for a rate, in seconds, before the connection is checked again: it may have ended meanwhile.
LONGEST_WAIT = 0.1
#: The shortest wait for a rate: when tokens come each millisecond, several at once cost less.
_SHORTEST_WAIT = 0.02

#: Seconds between two checks of a call that no other thread can wake, because no descriptor is left for its alarm.
_LOOK_SECONDS = 0.25

#: What error texts say about the state after a deadline has passed.
_AFTERWARDS = {
    "receive": "nothing was lost, receive again",
    "request": "its late reply will be dropped",
    "reply": "it is still outstanding, receive again",
    "handshake_timeout": "the peer did not finish its TLS handshake",
    "connect": "the peer did not finish its TLS handshake",
}


class Octets(ConnectionInfo[In_co, Out_contra]):
    """Moves octets, one system call after the other. The stream decides what they mean.

    There are two locks. A call that receives holds ``_reading``, also while it waits. A call that uses the stream holds
    ``_lock``, and never waits while it holds it.
    """

    __slots__ = (
        "__weakref__",
        "_alarms",
        "_arrived",
        "_asking",
        "_clock",
        "_deadlines",
        "_descriptor",
        "_lock",
        "_look",
        "_new_alarm",
        "_new_poll",
        "_owned",
        "_reading",
        "_receiving",
        "_stream",
        "_taken",
        "_torn_in",
        "_torn_out",
    )

    def __init__(
        self,
        sock: socket.socket,
        stream: Stream,
        *,
        owned: bool,
        deadlines: Deadlines,
        clock: Callable[[], float],
        poll: Callable[[], Poll],
        alarm: Callable[[], Wakes],
    ) -> None:
        self._clock = clock
        self._deadlines = deadlines
        self._new_poll = poll
        self._new_alarm = alarm
        self._look: Poll | None = None
        #: None after the end. Every call that uses the socket keeps a reference: see :class:`Descriptor`.
        self._descriptor: Descriptor | None = Descriptor(sock, owned=owned)
        self._stream = stream
        self._owned = owned
        #: Whether a thread waits for octets now: SHUT_RD wakes it.
        self._receiving = False
        #: The thread that waits for replies to its requests: only it may receive.
        self._asking: int | None = None
        #: The alarms of the calls that wait to write.
        self._alarms: set[Wakes] = set()
        # Reentrant: a signal handler may close a connection that its own thread receives from.
        self._reading = threading.RLock()
        self._lock = threading.RLock()
        # The results of the latest system calls until the stream has them, and whether an interrupt came between.
        self._arrived: list[bytes] = []
        self._taken: list[int] = []
        self._torn_in = self._torn_out = False

    # -- octets in ----------------------------------------------------------------------------------------

    def _readable(self) -> bool:
        return self._stream.readable

    def _take(self, take: Callable[[], T | Nothing], timeout: float | None) -> T:
        """Move octets until ``take``, a method of the stream, returns something or raises."""
        got: T | Nothing = NOT_YET

        def taken() -> bool:
            nonlocal got
            got = take()
            return got is not NOT_YET

        self._wait_for(taken, timeout, "receive")
        assert got is not NOT_YET
        return got

    def _wait_for(
        self, ready: Callable[[], bool], timeout: float | None, which: str, until: float | None = None
    ) -> None:
        """Move octets until ``ready()``, at most ``timeout`` seconds (or until the moment ``until``)."""
        check_timeout(timeout)
        self._begin_waiting()
        try:
            if self._is(ready):
                return
            if until is None:
                until = after(timeout, self._clock)
            while True:
                self._pull(until)
                if self._is(ready):
                    return
                if until is not None and self._clock() >= until:
                    raise self._late(which, timeout or 0.0)
        finally:
            self._end_waiting()

    def _begin_waiting(self) -> None:
        """Reserve receiving for this call, which may wait. If the connection ends after this, the call is woken."""
        self._begin_receiving()
        self._receiving = True

    def _end_waiting(self) -> None:
        self._receiving = False
        self._reading.release()

    def _is(self, ready: Callable[[], bool]) -> bool:
        with self._lock:
            return ready()

    def _begin_receiving(self, what: str = "receive") -> None:
        """Reserve receiving for this call. The caller must release ``_reading``."""
        self._check_lent(what)
        with self._lock:  # checks both at once, so that ``_reading`` is free whenever the thread of _asking needs it
            if self._asking not in (None, threading.get_ident()) or not self._reading.acquire(blocking=False):
                raise self._busy()

    def _busy(self) -> Exception:
        """Return why this thread may not receive now: another thread receives, or closes the connection."""
        if self._stream.closing:
            return ConnectionEnded(f"{self.name}: closed by this side")
        return ConnectionBusy(f"{self.name}: another thread receives already")

    def _check_lent(self, what: str) -> None:
        """Raise ConnectionEnded for a lent connection whose handler has returned: its stream is the engine's again."""
        if self._descriptor is None and not self._owned:
            raise self._gone(what)

    def _late(self, which: str, seconds: float) -> DeadlinePassed:
        detail = _AFTERWARDS[which]
        held = self._stream.decoder.buffered
        if held:
            detail = f"{held} octets of an unfinished message are held; {detail}"
        return DeadlinePassed(which, seconds, str(self.name), detail)

    def _pull(self, until: float | None) -> None:
        """Wait for one event and handle it: octets to read, or room to write."""
        if not self._room_to_read():
            self._wait_for_rate(until)
            return
        self._resume()
        if self._stream.outbox_size or self._stream.fin_due:
            self._flush()
            if self._stream.reading is not Half.OPEN or self._not_written_in_time():
                return  # the write has shown that the connection has ended
        gap_at = self._stream.gap_at
        if self._stream.outbox_size or until is not None or gap_at is not None:
            events = self._poll(earlier(earlier(until, gap_at), self._write_due()))
            self._move(events)
            if not events & ~OUT:
                self._look_for_silence()
        else:
            self._receive_octets(0)

    def _room_to_read(self) -> int:
        """Return how many octets may be read now; 0 if a rate must be waited for before reading or delivering."""
        with self._lock:
            return 0 if self._stream.held_back else self._stream.read_size

    def _wait_for_rate(self, until: float | None) -> None:
        """Wait a moment for a rate. The socket is polled for writing only: octets to read would end the wait."""
        stream, now = self._stream, self._clock()
        with self._lock:
            stream.paused(now)
            ready_at = stream.throttle.until if stream.throttle is not None else now
        until = earlier(until, now + min(max(ready_at - now, _SHORTEST_WAIT), LONGEST_WAIT))
        with self._alarm() as alarm:
            poll = self._new_poll()
            descriptor = self._in_use("receive")
            try:
                if stream.outbox_size:
                    poll.register(descriptor.socket, OUT)
                poll.poll(milliseconds(self._set(alarm, poll, until), self._clock))
            finally:
                del descriptor  # so that no traceback keeps it
        if stream.outbox_size:
            self._flush()
            self._not_written_in_time()

    def _move(self, events: int) -> None:
        """Write and read according to the events of poll(2)."""
        if events & OUT or self._stream.fin_due:
            self._flush()
        if events & ~OUT:
            self._receive_octets(DONTWAIT)

    def _receive_octets(self, flags: int) -> None:
        """Call recv(2) once, and give the octets to the stream."""
        stream = self._stream
        if self._arrived or self._torn_in:
            with self._lock:
                self._take_in()
            return
        size = self._room_to_read()
        if not size:
            return  # a rate must be waited for
        descriptor = self._in_use("receive")
        try:
            # extend(map()) and not append(recv()): no signal can come between the system call and the list.
            self._arrived.extend(map(descriptor.socket.recv, (size,), (flags,)))
        except BlockingIOError:
            return
        except OSError as error:
            with self._lock:
                # If it is not open, the stream has the reason already: a lent socket is aborted by shutdown(2).
                if stream.reading is Half.OPEN:
                    stream.lost(error)
            return
        finally:
            del descriptor  # so that no traceback keeps it
        with self._lock:
            self._take_in()

    def _take_in(self) -> None:
        stream = self._stream
        if self._torn_in:
            stream.broken(ConnectionLost(f"{self.name}: an interrupt came while octets were taken in"))
            return
        self._torn_in = True
        data = self._arrived.pop()
        now = self._clock()
        if stream.reading is not Half.OPEN or self._descriptor is None:
            pass  # the engine or another thread has ended it: that reason stays, and an end of file is not the peer's
        elif data:
            stream.received(data, now)
        else:
            stream.received_eof(now)
        if not self._owned:
            stream.paused(now)
        self._torn_in = False

    def _something_came(self) -> bool:
        """Return whether there is something to read, or the connection has ended, by the cheapest check.

        If the connection is closed at the same moment, the descriptor's number may mean another socket. Then the result
        is wrong, and the read that follows notices it.
        """
        with self._lock:  # one poll object allows one poll(2) at a time
            look = self._look
            if look is None:
                if self._descriptor is None:
                    return True
                look = self._look = self._new_poll()
                look.register(self._descriptor.socket, IN)
            return bool(look.poll(0))

    def _look_for_silence(self) -> None:
        """End a message if the framing's gap has passed while nothing was to be read."""
        stream = self._stream
        if stream.gap_at is None or not stream.wants_read or self._clock() < stream.gap_at or self._torn_in:
            return
        self._torn_in = True  # as in _take_in(): an interrupt must not lose the message unnoticed
        with self._lock:
            stream.silence(self._clock())
        self._torn_in = False

    def _resume(self) -> None:
        """Let the engine's deadlines for the peer run again: they stop while the handler computes."""
        if not self._owned:
            self._stream.resumed(self._clock())

    # -- octets out ---------------------------------------------------------------------------------------

    def _after_failed_send(self, error: BaseException, waiting: int) -> None:
        """After a failed send, end the connection if it is not certain that nothing entered the outbox.

        ``waiting`` is the size of the outbox before the send. A send that fails with an error of fourtuple has taken
        nothing. An interrupt may come after a message entered the outbox and before it, or the place of its reply, is
        recorded: then every later reply would be taken for another request's.
        """
        stream = self._stream
        held = sum(map(len, stream.outbox)) - stream._head
        if held == waiting and (stream.layer is None or isinstance(error, FourTupleError)):
            return
        stream.broken(ConnectionLost(f"{self.name}: an interrupt came while a message was put in the outbox"))

    def _make_room(self, timeout: float | None) -> None:
        """Without a timeout, first wait until earlier messages are written, so that OutboxFull is not raised."""
        if timeout is None and self._stream.outbox_size:
            self._write_out(None)

    def _write_out(self, timeout: float | None) -> None:
        """Write until the outbox is empty, at most ``timeout`` seconds."""
        until = after(timeout, self._clock)
        if not self._flush():
            self._wait_to_write(timeout, until)
        if self._stream.write_error is not None:
            raise self._stream.write_error.with_traceback(None)

    def _wait_to_write(self, timeout: float | None, until: float | None) -> None:
        with self._alarm() as alarm:
            while not self._flush():
                waiting = self._stream.outbox_size
                if self._stream.closing:
                    raise ConnectionEnded(
                        f"{self.name}: closed by this side while send waited, {waiting} octets had not left"
                    )
                if self._not_written_in_time():
                    continue
                self._poll(earlier(until, self._write_due()), alarm, reading=False)
                if until is not None and self._clock() >= until:
                    raise DeadlinePassed(
                        "send",
                        timeout or 0.0,
                        str(self.name),
                        f"{waiting} octets wait in the outbox and leave with the next call, do not send them again",
                    )

    def _write_due(self) -> float | None:
        """Return when ``write_timeout`` passes; None if nothing waits, and if the engine enforces it."""
        since, seconds = self._stream.write_since, self._deadlines.write_timeout
        return None if since is None or seconds is None or not self._owned else since + seconds

    def _not_written_in_time(self) -> bool:
        """Return whether ``write_timeout`` has passed, after a flush. If so, the connection has been ended with RST."""
        due = self._write_due()
        if due is None or self._clock() < due:
            return False
        stream, seconds = self._stream, self._deadlines.write_timeout
        with self._lock:
            descriptor = self._descriptor
            if descriptor is None or not stream.outbox_size:
                return False  # another thread was faster
            detail = f"the peer does not read, {stream.outbox_size} octets wait"
            error = DeadlinePassed("write_timeout", seconds or 0.0, str(self.name), detail)
            stream.late(error)
            stream.broken(error, Reason.DEADLINE)
            stream.close(Reason.DEADLINE)
            reset_on_close(descriptor.socket)
            self._let_go()
        return True

    def _flush(self) -> bool:
        """Write what the kernel takes now, and FIN after the last octet if it is due.

        Returns whether nothing is left to write: it was written, or it never can be. Raises ConnectionEnded if
        something is left to write and the socket is gone.
        """
        stream = self._stream
        with self._lock:
            if self._taken or self._torn_out:
                self._count_out()
            if not stream.outbox_size and not stream.fin_due:
                return True
            sock = self._in_use("send").socket
            try:
                while stream.outbox_size:
                    chunk = stream.outgoing()
                    self._taken.extend(map(sock.send, (chunk,), (DONTWAIT,)))
                    if self._count_out() < len(chunk):
                        break
                if stream.fin_due:
                    sock.shutdown(socket.SHUT_WR)
                    stream.fin_sent(self._clock())
            except BlockingIOError:
                stream.sent(0, self._clock())
            except OSError as error:
                # Only writing has ended: octets that the peer sent before can still be read.
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

    def _poll(self, until: float | None, alarm: Wakes | None = None, *, reading: bool = True) -> int:
        """Wait for octets to read, and for room to write if the outbox has octets; return the events of poll(2).

        Returns 0 after ``until``.

        ``alarm`` is for calls that do not wait for octets: when it rings, this returns 0.
        """
        events = OUT if self._stream.outbox_size else 0
        if reading and self._stream.reading is Half.OPEN:  # after an end of file, poll(2) always reports IN
            events |= IN
        poll = self._new_poll()
        descriptor = self._in_use("poll")
        poll.register(descriptor.socket, events)
        if alarm is not None and not events & IN:
            until = self._set(alarm, poll, until)
        try:
            ready = poll.poll(milliseconds(until, self._clock))
            fd = descriptor.socket.fileno()
            return next((events for number, events in ready if number == fd), 0)
        finally:
            del descriptor  # so that no traceback keeps it

    def _set(self, alarm: Wakes, poll: Poll, until: float | None) -> float | None:
        """Let the alarm end the poll, too; return until when the poll may wait."""
        with self._lock:
            ringing = alarm.fileno()
        if ringing is None:
            return earlier(until, self._clock() + _LOOK_SECONDS)
        poll.register(ringing, IN)
        return until

    @contextmanager
    def _alarm(self) -> Iterator[Wakes]:
        """Provide an alarm that rings when another thread ends this connection."""
        alarm = self._new_alarm()
        with self._lock:
            self._alarms.add(alarm)
        try:
            yield alarm
        finally:
            with self._lock:
                self._alarms.discard(alarm)
                alarm.close()

    def _wake_senders(self) -> None:
        """Let calls that wait to write, in any thread, check again. Call it under the lock."""
        for alarm in self._alarms:
            alarm.ring()

    def _wake_receiver(self) -> None:
        """End a call that waits for octets, in any thread. The peer does not notice."""
        if self._receiving and self._descriptor is not None:
            self._descriptor.shut(socket.SHUT_RD)

    def _let_go(self) -> Descriptor | None:
        """Release the socket, and wake the calls that wait with it."""
        with self._lock:
            self._wake_senders()
            descriptor, self._descriptor = self._descriptor, None
            # After that: a call that begins to receive later finds no descriptor.
            if descriptor is not None and self._receiving:
                descriptor.shut(socket.SHUT_RD)
            return descriptor

    def _in_use(self, what: str) -> Descriptor:
        """Return the descriptor for a call that uses it, and keeps it until it returns. Raises ConnectionEnded."""
        descriptor = self._descriptor
        if descriptor is None:
            raise self._gone(what)
        return descriptor

    def _gone(self, what: str) -> Exception:
        if self._stream.write_error is not None:
            return self._stream.write_error.with_traceback(None)
        why = "the connection ended" if self._owned else "its handler returned"
        return ConnectionEnded(f"{self.name}: {what} after {why}")
