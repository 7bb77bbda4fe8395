"""Errors of a connection that is open, and of its handler."""

from __future__ import annotations

from fourtuple.errors.base import FourTupleError


class EndOfFile(FourTupleError, EOFError):
    """The peer sent FIN at a message boundary: no more messages will come."""


class ConnectionLost(FourTupleError, ConnectionError):
    """The peer or the network broke the connection."""


class PeerReset(ConnectionLost, ConnectionResetError):
    """The peer sent RST: it may not have read the last messages."""


class TlsError(ConnectionLost):
    """TLS failed, and nothing more can be exchanged; ``reason`` is OpenSSL's name of the error, or empty."""

    def __init__(self, text: str, reason: str = "") -> None:
        """``text`` says what happened; ``reason`` is OpenSSL's name of the error, by default empty."""
        super().__init__(text)
        self.reason = reason


class TlsCertificateRefused(TlsError):
    """The peer's certificate does not verify; ``reason`` says why, and ``code`` is the number of X509_V_ERR."""

    def __init__(self, text: str, reason: str = "", code: int = 0) -> None:
        """``text`` says what happened; ``reason`` and ``code`` are OpenSSL's, by default empty and 0."""
        super().__init__(text, reason)
        self.code = code


class TlsAlert(TlsError):
    """The peer refused with a fatal alert; ``alert`` is its name, such as ``unknown ca`` (RFC 8446, 6)."""

    def __init__(self, text: str, reason: str = "", alert: str = "") -> None:
        """``text`` says what happened; ``reason`` and ``alert`` are the names of both, by default empty."""
        super().__init__(text, reason)
        self.alert = alert


class TlsExpected(TlsError):
    """The first octets were not TLS: the peer sent plain text to a port, or at a moment, that expects TLS."""


class TlsNoAgreement(TlsError):
    """The two sides have no TLS version or no cipher in common."""


class TlsTruncated(TlsError, EOFError):
    """End of file without close_notify, inside a message or in a framing that an end of file ends (``eof``, ``raw``).

    Octets that the peer sent may be missing (RFC 8446, 6.1). After a whole message it is an ordinary end of file.
    """


class ProxyHeaderError(ConnectionLost):
    """A PROXY header that is missing, malformed, or not trusted."""


class ConnectionEnded(FourTupleError, ConnectionError):
    """This side has closed, half-closed, aborted or handed on the connection."""


class ConnectionBusy(FourTupleError, RuntimeError):
    """Two users at once: two calls that receive, or receive() while requests are outstanding."""


class WrongThread(FourTupleError, RuntimeError):
    """A call in another thread, or in another event loop, than that to which the object belongs: it did nothing.

    ``whom`` says what was called and where; ``instead`` says how to make the call in the right loop and thread.
    """

    def __init__(self, whom: str, instead: str) -> None:
        super().__init__(f"{whom}; hand it over: {instead}")
        self.whom = whom
        self.instead = instead


class LoopClosed(FourTupleError, RuntimeError):
    """A call of a server whose event loop was closed.

    If that was before the server had stopped, its sockets are closed, and its service was not torn down in order.
    """

    def __init__(self, whom: str, stopped: bool) -> None:
        """``whom`` says what was called; ``stopped`` is whether the server had stopped before."""
        text = f"{whom}: the server's event loop was closed"
        if not stopped:
            text += (
                " before it had stopped: its sockets are closed, and its service was not torn down in order. "
                "Drain a server in its loop, as `async with` does"
            )
        super().__init__(text)
        self.stopped = stopped


class NotAwaited(FourTupleError, AttributeError, TypeError):
    """The result of :func:`fourtuple.connect` was used without ``await``: nothing was connected."""


class TooManyTimers(FourTupleError, RuntimeError):
    """A connection has as many timers as it may have; ``allowed`` is their number."""

    def __init__(self, whom: str, allowed: int) -> None:
        """``whom`` names the connection, ``allowed`` is the number of timers that it may have."""
        super().__init__(f"{whom} has {allowed} timers, no more are allowed; cancel() those that are not needed")
        self.allowed = allowed


class OutboxFull(FourTupleError, BufferError):
    """Too many messages were sent without waiting while the peer did not read; this one was not taken.

    ``held`` is the size of the outbox in octets, and ``allowed`` is ``max_outbox``.
    """

    def __init__(self, whom: str, held: int, size: int, allowed: int) -> None:
        """``whom`` names the connection; ``held``, ``size`` (of the message) and ``allowed`` are octets."""
        super().__init__(
            f"{whom}: the outbox holds {held} octets and takes no more from {allowed} on (max_outbox), so not these "
            f"{size}; await send(), or skip a peer that does not read"
        )
        self.held = held
        self.allowed = allowed


class WouldBlock(FourTupleError, BlockingIOError):
    """The call would have to wait: nothing has arrived yet, or the loop is behind. The connection is usable."""


class DeadlinePassed(FourTupleError, TimeoutError):
    """A deadline passed; ``which`` is its name as in :class:`fourtuple.Deadlines`, and ``seconds`` its length."""

    def __init__(self, which: str, seconds: float, whom: str = "", detail: str = "") -> None:
        """``which`` deadline passed, after ``seconds``. ``whom`` and ``detail`` say more: by default nothing."""
        text = f"{which} deadline of {seconds:g} s passed"
        if whom:
            text += f" on {whom}"
        if detail:
            text += f": {detail}"
        super().__init__(text)
        self.which = which
        self.seconds = seconds


class HandlerFailed(FourTupleError):
    """A handler, or the ``greet`` of a client, raised an exception, which is the ``__cause__``.

    Also a lifespan or ``on_start`` that raised CancelledError by itself, for example because it awaited something that
    was cancelled.
    """


class HandlerMistake(FourTupleError, TypeError):
    """A function of the program returned a wrong value. The text names it, what it returned, and what is expected."""
