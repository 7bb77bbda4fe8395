"""The socket of a blocking connection, which several threads may use: the calls that wait with it, and their end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fourtuple.blocking.descriptor import Descriptor
from fourtuple.blocking.polling import IN, OUT, Poll, Wakes, earlier, milliseconds
from fourtuple.errors import ConnectionEnded, DeadlinePassed
from fourtuple.options import Deadlines
from fourtuple.stream import Half, Stream

# For one call. O_NONBLOCK belongs to the open file description, and would concern other threads, and other processes
# that have the socket (recv(2)).
DONTWAIT = socket.MSG_DONTWAIT

#: Seconds between two checks of a call that no other thread can wake, because no descriptor is left for its alarm.
_LOOK_SECONDS = 0.25


class Latest(NamedTuple):
    """The end of an attempt to connect, of which ``greet`` is a part, or of a close(): its moment, and its seconds."""

    moment: float
    seconds: float


class SharedSocket:
    """The socket, the lock of its stream, and the calls that wait for the socket in any thread.

    A call that uses the stream holds ``lock``, and never waits while it holds it.
    """

    __slots__ = (
        "_new_alarm",
        "alarms",
        "clock",
        "deadlines",
        "descriptor",
        "latest",
        "lock",
        "new_poll",
        "owned",
        "receiving",
        "stream",
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
        self.stream: Stream = stream
        self.deadlines: Deadlines = deadlines
        self.clock: Callable[[], float] = clock
        self.new_poll: Callable[[], Poll] = poll
        self._new_alarm = alarm
        #: False if the socket is lent: the engine ends it.
        self.owned: bool = owned
        #: None after the end. Every call that uses the socket keeps a reference: see :class:`Descriptor`.
        self.descriptor: Descriptor | None = Descriptor(sock, owned=owned)
        #: Whether a thread waits for octets now: SHUT_RD wakes it.
        self.receiving: bool = False
        #: The moment at which every call must have ended; None without a bound. A client sets it while it greets, and
        #: when it is closed.
        self.latest: Latest | None = None
        #: The alarms of the calls that wait to write.
        self.alarms: set[Wakes] = set()
        # Reentrant: a signal handler may close a connection that its own thread receives from.
        self.lock: threading.RLock = threading.RLock()

    def in_use(self, what: str) -> Descriptor:
        """Return the descriptor for a call that uses it, and keeps it until it returns. Raises ConnectionEnded."""
        descriptor = self.descriptor
        if descriptor is None:
            raise self._gone(what)
        return descriptor

    def bounded(self, until: float | None) -> float | None:
        """Return the moment, or that of ``latest`` if it is earlier."""
        return until if self.latest is None else earlier(until, self.latest.moment)

    def late(self, which: str, seconds: float | None, until: float, detail: str) -> DeadlinePassed:
        """Return the error of a call of which ``until`` has passed: of its own ``seconds``, or of the attempt."""
        if self.latest is not None and until >= self.latest.moment and not self.stream.closing:
            which, seconds, detail = "connect", self.latest.seconds, f"greet was not done in time; {detail}"
        return DeadlinePassed(which, seconds or 0.0, str(self.stream.name), detail)

    def check_lent(self, what: str) -> None:
        """Raise ConnectionEnded for a lent connection whose handler has returned: its stream is the engine's again."""
        if self.descriptor is None and not self.owned:
            raise self._gone(what)

    def _gone(self, what: str) -> Exception:
        if self.stream.write_error is not None:
            return self.stream.write_error.with_traceback(None)
        why = "the connection ended" if self.owned else "its handler returned"
        return ConnectionEnded(f"{self.stream.name}: {what} after {why}")

    # -- waiting ------------------------------------------------------------------------------------------

    def poll(self, until: float | None, alarm: Wakes | None = None, *, reading: bool = True) -> int:
        """Wait for octets to read, and for room to write if the outbox has octets; return the events of poll(2).

        Returns 0 after ``until``.

        ``alarm`` is for calls that do not wait for octets: when it rings, this returns 0.
        """
        events = OUT if self.stream.outbox_size else 0
        if reading and self.stream.reading is Half.OPEN:  # after an end of file, poll(2) always reports IN
            events |= IN
        poll = self.new_poll()
        descriptor = self.in_use("poll")
        poll.register(descriptor.socket, events)
        if alarm is not None and not events & IN:
            until = self.set_alarm(alarm, poll, until)
        try:
            ready = poll.poll(milliseconds(until, self.clock))
            # The alarm's descriptor may be the only one that is ready: that is no event of the socket.
            fd = descriptor.socket.fileno()
            return next((events for number, events in ready if number == fd), 0)
        finally:
            del descriptor  # so that no traceback keeps it

    def set_alarm(self, alarm: Wakes, poll: Poll, until: float | None) -> float | None:
        """Let the alarm also end the poll; return until when the poll may wait."""
        with self.lock:
            ringing = alarm.fileno()
        if ringing is None:
            return earlier(until, self.clock() + _LOOK_SECONDS)
        poll.register(ringing, IN)
        return until

    @contextmanager
    def alarm(self) -> Iterator[Wakes]:
        """Provide an alarm that rings when another thread ends this connection."""
        alarm = self._new_alarm()
        with self.lock:
            self.alarms.add(alarm)
        try:
            yield alarm
        finally:
            with self.lock:
                self.alarms.discard(alarm)
                # Under the lock: another thread must not ring a descriptor whose number belongs to another file by
                # then.
                alarm.close()

    # -- the end ------------------------------------------------------------------------------------------

    def wake_senders(self) -> None:
        """Let calls that wait to write, in any thread, check again. Call it under the lock."""
        for alarm in self.alarms:
            alarm.ring()

    def wake_receiver(self) -> None:
        """End a call that waits for octets, in any thread. The peer does not notice."""
        if self.receiving and self.descriptor is not None:
            self.descriptor.shut(socket.SHUT_RD)

    def let_go(self) -> Descriptor | None:
        """Release the socket, and wake the calls that wait with it."""
        with self.lock:
            self.wake_senders()
            descriptor, self.descriptor = self.descriptor, None
            # After that: a call that begins to receive later finds no descriptor.
            if descriptor is not None and self.receiving:
                descriptor.shut(socket.SHUT_RD)
            return descriptor

    def disown(self) -> Descriptor | None:
        """In a forked child: forget the threads, which do not exist in it; return the descriptor."""
        self.lock = threading.RLock()
        self.receiving = False
        for alarm in self.alarms:
            alarm.close()
        self.alarms = set()
        descriptor, self.descriptor = self.descriptor, None
        return descriptor
