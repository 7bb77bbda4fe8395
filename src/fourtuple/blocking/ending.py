"""How a blocking connection ends: it is closed, aborted, given back to the engine, or left to the parent of a fork.

::

    owned    open --- close() ---> closing: the outbox, FIN, then what comes is discarded
              |                       |
              |  abort(): RST         |  the peer's FIN, linger_timeout, abort()
              v                       v
            released: the descriptor is gone for new calls, and the last call that still uses it closes the socket

    lent     open --- close() ---> FIN is sent; the engine lingers
              |                       |
              |  the handler returns  |
              v                       v
            given back: calls in other threads end, and the engine has the socket again
"""

from __future__ import annotations

import threading
from contextlib import suppress

from fourtuple.blocking.receiving import Receiving
from fourtuple.blocking.sending import Sending
from fourtuple.blocking.shared_socket import SharedSocket
from fourtuple.errors import ConnectionEnded
from fourtuple.forking import why
from fourtuple.net.sockets import reset_on_close
from fourtuple.stream import Reason

#: Seconds that other threads of a handler that has returned get to leave its socket, once woken: none of their system
#: calls waits any more.
_LEAVE_SECONDS = 1.0


def close(sock: SharedSocket, sending: Sending, receiving: Receiving) -> None:
    """Close after everything sent has been written; an owned socket lingers. See :meth:`BlockingConnection.close`."""
    stream = sock.stream
    with sock.lock:
        if sock.descriptor is None:
            return
        first = not stream.closing
        stream.close()
        sock.wake_senders()
    try:
        # If another thread ends the connection at the same time, nothing is left to do.
        with suppress(ConnectionEnded):
            sending.flush()
            if sock.owned:
                receiving.linger(first=first)
            else:
                sock.wake_receiver()
    finally:
        # Also after a KeyboardInterrupt: the connection ends in any case.
        release(sock)


def abort(sock: SharedSocket) -> None:
    """End the connection now, with RST."""
    stream = sock.stream
    with sock.lock:
        descriptor = sock.descriptor
        if descriptor is None:
            return
        # The reason first: a thread that shutdown(2) wakes must find it, and not take its end of file for the peer's.
        stream.broken(ConnectionEnded(f"{stream.name}: aborted by this side"), Reason.ABORTED)
        stream.close()  # messages not delivered yet are discarded
        reset_on_close(descriptor.socket)
        del descriptor
        sock.wake_senders()
        sock.wake_receiver()
    release(sock)


def release(sock: SharedSocket) -> None:
    """Release an owned descriptor: the last call that uses it closes it. The engine closes a lent one."""
    if sock.owned and sock.let_go() is not None:
        sock.stream.because(Reason.CLOSED)


def half_close_now(sock: SharedSocket, sending: Sending, reason: Reason) -> None:
    """Send FIN without waiting, in any thread, if the handler only waits for the peer's next message.

    Otherwise do nothing: the handler has just taken a message, and its reply comes before FIN. The lock decides which
    of the two is first.
    """
    with sock.lock:
        # No descriptor: the handler has just returned, and the close follows.
        if sock.descriptor is not None and sock.receiving and sock.stream.awaits_message:
            sock.stream.half_close(reason)
            sending.flush()


def give_back(sock: SharedSocket) -> None:
    """End the calls that a handler left in other threads: it has returned, and the engine has the socket again.

    Returns when they do not use the socket any more.
    """
    descriptor = sock.let_go()
    if descriptor is None:
        return
    # From here on a pause of reading is a condition again: the engine reads next.
    sock.stream.be_lent(False)
    left = threading.Event()
    # Each call that uses the socket has a reference, and the last one that returns calls this. The reference of this
    # function goes first.
    descriptor.on_gone = left.set
    del descriptor
    left.wait(_LEAVE_SECONDS)


def disown(sock: SharedSocket, receiving: Receiving) -> None:
    """In a forked child: the connection is the parent's. Threads that held the locks do not exist in the child."""
    descriptor = sock.disown()
    receiving.disown()
    sock.stream.disowned(ConnectionEnded(why(f"{sock.stream.name}: the connection")))
    if descriptor is not None and sock.owned:
        descriptor.socket.close()
