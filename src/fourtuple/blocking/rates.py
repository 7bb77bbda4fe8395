"""Rates on the blocking side: how much may be read now, and the wait until a rate allows more."""

from __future__ import annotations

import os
import socket

from fourtuple.blocking.polling import OUT, earlier, milliseconds
from fourtuple.blocking.sending import Sending
from fourtuple.blocking.shared_socket import SharedSocket
from fourtuple.stream import Half

#: The longest wait for a rate, in seconds, before the connection is checked again: it may have ended meanwhile.
LONGEST_WAIT = 0.1
#: The shortest wait for a rate: when tokens come each millisecond, several at once cost less.
_SHORTEST_WAIT = 0.02


def room(sock: SharedSocket) -> int:
    """Return how many octets may be read now; 0 if a rate must be waited for before reading or delivering."""
    with sock.lock:
        return 0 if sock.stream.held_back else sock.stream.read_size


def wait_for_rate(sock: SharedSocket, sending: Sending, until: float | None) -> None:
    """Wait a moment for a rate. The socket is polled for writing only: octets to read would end the wait."""
    stream = sock.stream
    if look_for_loss(sock):
        return
    now = sock.clock()
    with sock.lock:
        stream.paused(now)
        ready_at = stream.throttle.until if stream.throttle is not None else now
    until = earlier(until, now + min(max(ready_at - now, _SHORTEST_WAIT), LONGEST_WAIT))
    with sock.alarm() as alarm:
        poll = sock.new_poll()
        descriptor = sock.in_use("receive")
        try:
            if stream.outbox_size:
                poll.register(descriptor.socket, OUT)
            poll.poll(milliseconds(sock.set_alarm(alarm, poll, until), sock.clock))
        finally:
            del descriptor  # so that no traceback keeps it
    if stream.outbox_size:
        sending.flush()
        sending.timed_out()


def look_for_loss(sock: SharedSocket) -> bool:
    """While a rate allows no read: return whether the connection is lost (SO_ERROR). Then nothing waits."""
    stream = sock.stream
    # Reading it clears it (socket(7)): this is the only time that the kernel tells, so it is noted below.
    code = sock.in_use("receive").socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    with sock.lock:
        if code and stream.writing is not Half.BROKEN:
            stream.write_lost(OSError(code, os.strerror(code)))
        if stream.writing is not Half.BROKEN:
            return False
        stream.drop_waiting()
        return True
