"""A layer: what may stand between the wire and the decoder, a PROXY header or TLS."""

from __future__ import annotations

from fourtuple.events import Reason


class Layer:
    """What stands between the wire and the decoder, for a while or to the end. It raises nothing: see ``error``.

    ``done`` layers are replaced by ``following``; ``established`` ones let plain octets pass in both directions.
    """

    __slots__ = (
        "done",
        "ended",
        "error",
        "established",
        "finished",
        "following",
        "has_outgoing",
        "holding",
        "since",
        "truncated",
    )

    #: Which of the deadlines bounds the way to ``established``.
    deadline = ""
    #: Why a conversation ended whose layer failed.
    reason = Reason.TLS_ERROR

    def __init__(self, since: float | None) -> None:
        #: When the deadline began; None as long as it is the one for the first message.
        self.since = since
        self.established = False
        self.done = False
        self.following: Layer | None = None
        #: The peer said that it has finished.
        self.ended = False
        #: We have said that we have finished, or never can.
        self.finished = False
        #: Whether :meth:`outgoing` is to be asked behind :meth:`received`.
        self.has_outgoing = True
        #: Plain octets that cannot pass yet.
        self.holding = 0
        self.error: Exception | None = None
        #: The error of a FIN before the peer said that it has finished: one in the middle of a message.
        self.truncated: Exception | None = None

    @property
    def within(self) -> bool:
        """Whether what came ends inside a unit of the layer itself: then something is lost for certain."""
        return False

    def received(self, data: bytes, now: float) -> bytes:
        """Take octets of the wire; return those for the decoder, or for what follows."""
        raise NotImplementedError

    def received_eof(self) -> bytes:
        """Take the FIN; return what was held back and can be nothing more."""
        return b""

    def write(self, octets: bytes) -> None:
        """Take plain octets."""
        raise NotImplementedError

    def end(self) -> None:
        """Nothing more will be written."""
        self.finished = True

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        return b""

    def fail(self, error: Exception) -> None:
        """Nothing passes any more: the connection broke, or the layer did."""
        self.error = self.error or error
        self.finished = True

    def let_go(self) -> None:
        """The connection has ended: hold no octets, and nobody."""
