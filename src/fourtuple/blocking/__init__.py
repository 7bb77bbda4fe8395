"""The blocking connection and client: the methods of a connection, without an event loop.

This package only moves octets. The :class:`~fourtuple.stream.Stream` decides what they mean, as in the engine::

    receive()  ->  Receiving.wait_for()  ->  recv(2)   (one system call where there is no timeout)
    send()     ->  Sending.write_out()   ->  send(2)   (at once; poll(2) only for what the kernel did not take)

Octets that a timeout left in the outbox go out with the next call of any kind, even while that waits to receive.

One thread may receive while another one sends. A KeyboardInterrupt loses nothing: calls wait in recv(2) and poll(2),
which have taken nothing when a signal ends them, and the octets from a system call are stored before Python checks for
signals. An interrupt while the stream processes octets ends the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.blocking.client import Client
    from fourtuple.blocking.connection import BlockingConnection
    from fourtuple.blocking.finished import PeerFinished
    from fourtuple.blocking.opening import connect
    from fourtuple.blocking.pushes import PushStream
    from fourtuple.blocking.requests import PendingReply
    from fourtuple.blocking.select import wait

__all__ = ["BlockingConnection", "Client", "PeerFinished", "PendingReply", "PushStream", "connect", "wait"]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.blocking.opening": ("connect",),
            "fourtuple.blocking.connection": ("BlockingConnection",),
            "fourtuple.blocking.client": ("Client",),
            "fourtuple.blocking.finished": ("PeerFinished",),
            "fourtuple.blocking.pushes": ("PushStream",),
            "fourtuple.blocking.requests": ("PendingReply",),
            "fourtuple.blocking.select": ("wait",),
        },
    )
