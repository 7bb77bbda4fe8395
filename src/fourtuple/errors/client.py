"""Errors of clients that stay connected."""

from __future__ import annotations

from fourtuple.errors.base import FourTupleError
from fourtuple.errors.connection import ConnectionLost


class UnexpectedMessage(ConnectionLost):
    """The server of a client sent a message that answers no request, or that no key function can read.

    The client has closed the connection: any later reply on it could be that of another request.
    """


class NotConnected(FourTupleError, ConnectionError):
    """A client has no connection now, and this call does not wait for one; the cause is the last failure, if any."""


class PermanentFailure(FourTupleError, ConnectionError):
    """Raise it in a client's ``greet`` if no later attempt can succeed, for example for a wrong password.

    The client then stops connecting, and raises it to all requests, until ``expire()`` tells it to try again. A client
    raises it itself if its ``greet`` waits for this client, or is not an async function, and if connecting shows that
    its arguments cannot work, such as a socket option that the kernel refuses; that error is its cause.
    """


class TooManyWaiting(FourTupleError, BufferError):
    """Too many requests of a client wait for a connection already; ``waiting`` and ``allowed`` are the numbers."""

    def __init__(self, whom: str, waiting: int, allowed: int) -> None:
        """``whom`` is the address of the client's server; ``waiting`` and ``allowed`` are numbers of requests."""
        super().__init__(
            f"{waiting} requests wait for a connection to {whom}, no more than {allowed} are allowed (max_waiting); "
            "send fewer at once, or allow more connections (max_connections)"
        )
        self.waiting = waiting
        self.allowed = allowed


class PushConsumerDied(FourTupleError, RuntimeError):
    """The code that consumed a client's pushes has ended, or has raised (``__cause__``)."""
