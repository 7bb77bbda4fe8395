"""A layer between the wire and the decoder: a PROXY header or TLS."""

from __future__ import annotations

from fourtuple.events import Reason
from fourtuple.stream.fields import LayerFields


class Layer(LayerFields):
    """Stands between the wire and the decoder, for a while or until the end.

    Its methods do not raise; they report errors in ``error``. A layer that is ``done`` is replaced by
    ``following``. A layer that is ``established`` lets plain octets pass in both directions.
    """

    __slots__ = (
        "done",
        "ended",
        "error",
        "established",
        "finished",
        "following",
        "has_outgoing",
        "since",
        "truncated",
    )

    #: The option whose deadline bounds the time until ``established``.
    deadline = ""
    #: The reason for the end of a conversation whose layer failed.
    reason = Reason.TLS_ERROR
    #: Whether only the octets of :meth:`own` are read: those after them stay in the kernel.
    peeks = False

    def __init__(self, since: float | None) -> None:
        #: When the deadline began; None while the deadline of the first message applies instead.
        self.since: float | None = since
        self.established: bool = False
        self.done: bool = False
        self.following: Layer | None = None
        #: The peer has announced that it sends nothing more (for TLS: close_notify, RFC 8446, 6.1).
        self.ended: bool = False
        #: This side has announced that it sends nothing more, or can no longer announce it.
        self.finished: bool = False
        #: Whether :meth:`outgoing` has to be called after :meth:`received`.
        self.has_outgoing: bool = True
        #: The number of plain octets that wait in the layer because they cannot pass yet.
        self.holding: int = 0
        #: Whether the octets so far end inside a unit of the layer itself: if no more come, data is certainly lost.
        self.within: bool = False
        self.error: Exception | None = None
        #: The error to use if FIN comes before the peer's announcement: the last message may be truncated.
        self.truncated: Exception | None = None

    def own(self, data: bytes) -> int:
        """Return how many of the first octets of ``data``, which was not read yet, are for the layer.

        With 0, the layer is not needed, and has held nothing: :meth:`skip` follows, and ``data`` stays in the kernel.
        """
        return len(data)

    def skip(self, now: float) -> None:
        """End without an octet, or fail: no octet that the peer has sent is for this layer."""
        raise NotImplementedError

    def received(self, data: bytes, now: float) -> bytes:
        """Take octets of the wire; return octets for the decoder, or for the following layer."""
        raise NotImplementedError

    def record_read(self, plain: bytes, error: Exception | None) -> None:
        """Note that the C has passed a record, as :meth:`received` does, and has read ``plain`` or ``error``."""
        raise NotImplementedError

    def received_eof(self) -> bytes:
        """Take the FIN; return the octets that were held back and that this layer no longer needs."""
        return b""

    def write(self, octets: bytes) -> None:
        """Take plain octets."""
        raise NotImplementedError

    def end(self) -> None:
        """Note that nothing more will be written."""
        self.finished = True

    def outgoing(self) -> bytes:
        """Return the octets to send now."""
        return b""

    def fail(self, error: Exception) -> None:
        """Stop all passing: the connection or the layer is broken. The first error stays."""
        self.error = self.error or error
        self.finished = True

    def unfinished(self) -> str:
        """Return what the peer has not done when :attr:`deadline` passes, for the error's text."""
        return ""

    def let_go(self) -> None:
        """Release all octets and references: the connection has ended."""
