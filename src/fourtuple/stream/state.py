"""All that a conversation consists of, in one place; the halves that work with it are built upon this."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from fourtuple.address import FourTuple, Name
from fourtuple.errors import UnmappedMessage
from fourtuple.framing import Decoder, Framing
from fourtuple.options import Limits
from fourtuple.stream.layer import Layer
from fourtuple.stream.request import Request
from fourtuple.stream.values import Half, Reason


class State:
    """The attributes of a stream, and the two things that every half does: name the reason, fail the requests."""

    __slots__ = (
        "_finished",
        "_gap",
        "_head",
        "_name",
        "_paused_at",
        "_raw",
        "_raw_need",
        "_raw_seen",
        "_raw_separator",
        "_requests",
        "_transport_name",
        "_write_progress",
        "closing",
        "decoder",
        "deferred_first",
        "discarded",
        "duplex",
        "fin_at",
        "framing",
        "gap_at",
        "inbox",
        "last_activity",
        "late_replies",
        "layer",
        "limits",
        "message_since",
        "messages_in",
        "messages_out",
        "octets_in",
        "octets_out",
        "on_unmapped",
        "opened",
        "outbox",
        "outbox_size",
        "pending",
        "preamble",
        "proxy_header",
        "raw_mode",
        "read_error",
        "reading",
        "reason",
        "tap",
        "write_error",
        "write_since",
        "writing",
    )

    def __init__(
        self, framing: Framing, name: Name, limits: Limits, now: float, *, first_message: bool = False
    ) -> None:
        self.framing = framing
        #: Packed (:meth:`~fourtuple.address.FourTuple.unpacked`) until somebody asks.
        self._name: Name | bytes = name
        self.limits = limits
        # Reading.
        self.decoder: Decoder = framing.decoder()
        self._gap = framing.gap_timeout
        #: When the unfinished message is ended by silence, unless something comes before.
        self.gap_at: float | None = None
        #: The decoded messages of the current batch, the next one last: pop() delivers.
        self.inbox: list[Any] = []
        self.reading = Half.OPEN
        self.read_error: Exception | None = None
        self._finished = False
        self.raw_mode = False
        self._raw: bytearray | None = None
        self._raw_seen = 0
        self._raw_separator = b""
        self._raw_need = 0
        self._requests: deque[Request] | None = None
        #: Told of each message that does not map when a receive or a request raises because of it.
        self.on_unmapped: Callable[[UnmappedMessage], None] | None = None
        # Writing.
        #: Replies of the current batch, not encoded yet: one encode_many and one send for all of them.
        self.pending: list[Any] = []
        self.outbox: list[bytes] = []
        self.outbox_size = 0
        self._head = 0
        self.writing = Half.OPEN
        self.write_error: Exception | None = None
        # Ending.
        self.closing = False
        self.reason: Reason | None = None
        #: What stands between the wire and the decoder now.
        self.layer: Layer | None = None
        #: The PROXY header that came first.
        self.proxy_header: Any = None
        self._transport_name: Name | None = None
        #: Octets that came before the conversation's first: a header, a handshake.
        self.preamble = 0
        self.discarded = 0
        #: Whether reading goes on while the outbox is crowded: where one task sends and another receives. Two such
        #: ends that stopped reading would wait for each other for ever. Replies must not: they would pile up.
        self.duplex = False
        #: Sees the conversation, decrypted: ``tap(stream, inward, octets)``, for hex dumps and captures.
        self.tap: Callable[[Any, bool, bytes], None] | None = None
        # Counters.
        self.octets_in = self.octets_out = self.messages_in = self.messages_out = self.late_replies = 0
        # Deadlines.
        self.opened = self.last_activity = now
        #: Whether the first message has a deadline of its own: where we wait for the peer to speak.
        self.deferred_first = first_message
        self.message_since: float | None = None
        self.write_since: float | None = None
        self._write_progress = 0
        self.fin_at: float | None = None
        self._paused_at: float | None = None

    @property
    def name(self) -> Name:
        """The connection's name: the socket's, or the real client's where a PROXY header came."""
        name = self._name
        if isinstance(name, bytes):
            name = self._name = FourTuple.unpacked(name)
        return name

    def because(self, reason: Reason) -> None:
        """Note why this conversation ends; the first reason stays."""
        if self.reason is None:
            self.reason = reason

    @property
    def ready(self) -> bool:
        """Whether the conversation can be had: no header and no handshake has to come first."""
        return self.layer is None or self.layer.established

    def _fail_requests(self, error: Exception) -> None:
        while self._requests:
            request = self._requests.popleft()
            if not request.abandoned:
                request.resolve(error=error)
