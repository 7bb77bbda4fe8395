"""Octets from a blocking connection's outbox to its socket: send(2), and poll(2) for what the kernel does not take."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from fourtuple.blocking.interrupts import interrupted
from fourtuple.blocking.polling import after, earlier
from fourtuple.blocking.shared_socket import DONTWAIT, SharedSocket
from fourtuple.errors import ConnectionEnded, ConnectionLost, DeadlinePassed, FourTupleError
from fourtuple.net.sockets import reset_on_close
from fourtuple.options import KIB
from fourtuple.stream import Path, Reason

T = TypeVar("T")

#: The most octets that wait in the outbox for the replies to the next messages at hand.
_MOST_JOINED = 64 * KIB

_PLAIN = Path.PLAIN  # used for every message; a global is faster than an attribute


class Sending:
    """Writes the outbox of a stream, in any thread. The stream decides what is written."""

    __slots__ = ("_socket", "_stream", "_taken", "_torn")

    def __init__(self, sock: SharedSocket) -> None:
        self._socket = sock
        self._stream = sock.stream
        # The result of the latest system call until the stream has it, and whether an interrupt came between.
        self._taken: list[int] = []
        self._torn = False

    def put(self, what: str, change: Callable[[], T]) -> T:
        """Call ``change``, which puts octets into the outbox. If it fails, the outbox is as before, or the end comes.

        Raises ConnectionEnded, which names the call ``what``, if the handler of a lent connection has returned.
        """
        with self._socket.lock:
            self._socket.check_lent(what)
            waiting = self._stream.outbox_size
            try:
                return change()
            except BaseException as error:
                self._after_failed_send(error, waiting)
                raise

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
        stream.broken(ConnectionLost(f"{stream.name}: an interrupt came while a message was put in the outbox"))

    def send_straight(self, message: Any) -> bool:
        """Send a message with a lent socket while no condition holds. Otherwise do nothing, and return False.

        While more messages of a read are at hand, the message only joins the outbox, which the handler's next receive
        that waits writes, or the engine when the handler has returned.
        """
        sock, stream = self._socket, self._stream
        waiting = stream.outbox_size
        if sock.owned or stream.path is not _PLAIN:
            return False
        if waiting and (waiting >= _MOST_JOINED or waiting >= stream.limits.high_water):
            return False  # high_water is at most max_outbox
        # Not by `with`, which costs twice as much. No signal handler runs in the thread of a lent socket.
        lock = sock.lock
        lock.acquire()
        try:
            if sock.descriptor is None:
                sock.check_lent("send")
            try:
                stream.send(message)
            except BaseException as error:
                self._after_failed_send(error, waiting)
                raise
            if stream.inbox or self._write_straight():
                return True
        finally:
            lock.release()
        self.write_out(None)
        return True

    def _write_straight(self) -> bool:
        """Write the outbox by one call; return whether that is all. Else write_out() goes on, or finds the error."""
        stream, descriptor = self._stream, self._socket.descriptor
        if descriptor is None or stream.path is not _PLAIN or self._taken or self._torn:
            return False
        chunk = stream.outgoing()
        try:
            # A reset shows as EPIPE or ECONNRESET, never as a signal: CPython ignores SIGPIPE (send(2)).
            count = descriptor.socket.send(chunk, DONTWAIT)
        except BlockingIOError:
            count = 0
        except OSError as error:
            stream.write_lost(error)
            return False
        stream.sent(count, self._socket.clock())
        return not stream.outbox_size

    def make_room(self, timeout: float | None) -> None:
        """Without a timeout, first wait until earlier messages are written, so that OutboxFull is not raised."""
        if timeout is None and self._stream.outbox_size:
            self.write_out(None)

    def write_out(self, timeout: float | None) -> None:
        """Write until the outbox is empty, at most ``timeout`` seconds."""
        until = None
        if timeout is not None or self._socket.latest is not None:
            until = self._socket.bounded(after(timeout, self._socket.clock))
        if not self.flush():
            self._wait_to_write(timeout, until)
        if self._stream.write_error is not None:
            raise self._stream.write_error.with_traceback(None)

    def _wait_to_write(self, timeout: float | None, until: float | None) -> None:
        stream, sock = self._stream, self._socket
        with sock.alarm() as alarm:
            while not self.flush():
                waiting = stream.outbox_size
                if stream.closing:
                    raise ConnectionEnded(
                        f"{stream.name}: closed by this side while send waited; {waiting} octets were not sent"
                    )
                if self.timed_out():
                    continue
                # Not for octets to read: they would end the poll(2) at once, again and again, while no call takes them.
                sock.poll(earlier(until, self.write_due()), alarm, reading=False)
                if until is not None and sock.clock() >= until:
                    text = "octets wait in the outbox and are written by the next call; do not send them again"
                    raise sock.late("send", timeout, until, f"{waiting} {text}")

    @property
    def uncounted(self) -> int:
        """The octets that the kernel took before an interrupt came, and that the stream does not know to be sent.

        If they are not known either, more than there can be.
        """
        return sys.maxsize if self._torn else sum(self._taken)

    def write_due(self) -> float | None:
        """Return when ``write_timeout`` passes; None if nothing waits, and if the engine enforces it."""
        since, seconds = self._stream.write_since, self._socket.deadlines.write_timeout
        return None if since is None or seconds is None or not self._socket.owned else since + seconds

    def timed_out(self) -> bool:
        """Return whether ``write_timeout`` has passed, after a flush. If so, the connection has been ended with RST."""
        sock, stream = self._socket, self._stream
        due = self.write_due()
        if due is None or sock.clock() < due:
            return False
        with sock.lock:
            descriptor = sock.descriptor
            if descriptor is None or not stream.outbox_size:
                return False  # another thread was faster
            detail = f"the peer does not read, {stream.outbox_size} octets wait"
            error = DeadlinePassed("write_timeout", sock.deadlines.write_timeout or 0.0, str(stream.name), detail)
            stream.late(error)
            stream.broken(error, Reason.DEADLINE)
            stream.close(Reason.DEADLINE)
            reset_on_close(descriptor.socket)
            # Under the same lock as the checks above: two threads that write see the same deadline, and one of them
            # ends it.
            sock.let_go()
        return True

    def flush(self) -> bool:
        """Write what the kernel takes now, and FIN after the last octet if it is due.

        Returns whether nothing is left to write: it was written, or it never can be. Raises ConnectionEnded if
        something is left to write and the socket is gone.
        """
        stream, shared = self._stream, self._socket
        with shared.lock:
            if self._taken or self._torn:
                self._count_out()
            if not stream.outbox_size and not stream.fin_due:
                return True
            sock = shared.in_use("send").socket
            try:
                while stream.outbox_size:
                    chunk = stream.outgoing()
                    # extend(map()) and not append(send()): no signal handler can run between the system call and the
                    # list, so octets that the kernel took are always counted.
                    self._taken.extend(map(sock.send, (chunk,), (DONTWAIT,)))
                    if self._count_out() < len(chunk):
                        break
                if stream.fin_due:
                    sock.shutdown(socket.SHUT_WR)
                    stream.fin_sent(shared.clock())
            except OSError as error:
                if interrupted(error):
                    raise
                if isinstance(error, BlockingIOError):
                    stream.sent(0, shared.clock())
                else:
                    # Only writing has ended: octets that the peer sent before can still be read.
                    stream.write_lost(error)
            return not stream.outbox_size

    def _count_out(self) -> int:
        stream = self._stream
        if self._torn:
            stream.broken(ConnectionLost(f"{stream.name}: an interrupt came while sent octets were counted"))
            return 0
        # A signal handler that raises from here on leaves this set: the next call then ends the connection, because it
        # cannot know whether the octets were counted.
        self._torn = True
        count = self._taken.pop()
        stream.sent(count, self._socket.clock())
        self._torn = False
        return count
