"""The blocking connection and client: the vocabulary of a connection, without an event loop.

Octets only move here; what they mean is decided by the :class:`~fourtuple.stream.Stream`, as in the engine::

    receive()  ->  _wait_for()  ->  _pull()  ->  recv(2)   (one system call where there is no timeout)
    send()     ->  _write_out() ->  _flush() ->  send(2)   (at once; poll(2) only for what the kernel did not take)

What a timeout left in the outbox goes out with whatever is called next, also while that waits to receive.

One thread may receive while another one sends. A KeyboardInterrupt loses nothing: the waiting is done in
recv(2) and poll(2), which have taken nothing when a signal ends them, and what a system call did bring is
stored before Python looks for signals. One that comes while the stream takes it in ends the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.blocking.client import connect
    from fourtuple.blocking.connection import BlockingConnection, PendingReply
    from fourtuple.blocking.select import wait

__all__ = ["BlockingConnection", "PendingReply", "connect", "wait"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "fourtuple.blocking.client": ("connect",),
        "fourtuple.blocking.connection": ("BlockingConnection", "PendingReply"),
        "fourtuple.blocking.select": ("wait",),
    },
)
