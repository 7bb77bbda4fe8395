"""All that a conversation consists of, in one place; the halves that work with it are built upon this."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fourtuple.address import FourTuple, Name
from fourtuple.errors import UnmappedMessage
from fourtuple.events import Reason
from fourtuple.framing import Decoder, Framing, decoder_of
from fourtuple.options import Limits
from fourtuple.stream.fields import StreamFields
from fourtuple.stream.layer import Layer
from fourtuple.stream.request import Request
from fourtuple.stream.values import Half
from fourtuple.throttle import Throttle

T = TypeVar("T")


class Rarely(Generic[T]):
    """An attribute that most streams have one value of for all their life: only another one takes room."""

    def __init__(self, usual: T) -> None:
        self._usual = usual
        self._name = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, stream: State, _owner: type) -> T:
        rare = stream._rare
        found: T = self._usual if rare is None else rare.get(self._name, self._usual)
        return found

    def __set__(self, stream: State, value: T) -> None:
        if stream._rare is None:
            if value is self._usual:
                return
            stream._rare = {}
        stream._rare[self._name] = value


#: An inbox or an outbox with nothing in it that takes no room: who puts something in makes a list of it.
NOTHING: Any = ()


class State(StreamFields):
    """The attributes of a stream, and the two things that every half does: name the reason, fail the requests."""

    __slots__ = ("deferred_first", "duplex", "on_unmapped", "throttle", "write_error")

    # What few streams have, and few of these for long: no place is kept for it.
    _finished = Rarely(False)
    _raw_seen = Rarely(0)
    _raw_separator = Rarely(b"")
    _raw_need = Rarely(0)
    #: The PROXY header that came first.
    proxy_header: Rarely[Any] = Rarely(None)
    _transport_name: Rarely[Name | None] = Rarely(None)
    #: Whether the peer's FIN has come, behind octets that are not read yet.
    finishing = Rarely(False)
    #: Octets that came before the conversation's first: a header, a handshake.
    preamble = Rarely(0)
    discarded = Rarely(0)
    late_replies = Rarely(0)
    write_since: Rarely[float | None] = Rarely(None)
    _write_progress = Rarely(0)
    fin_at: Rarely[float | None] = Rarely(None)
    #: The error of an end of file that TLS did not announce; whether it is one shows when all that came is decoded.
    unannounced: Rarely[Exception | None] = Rarely(None)
    #: Whether nothing is read any more once the peer is between two messages: this side closes next.
    ends_at_boundary = Rarely(False)
    #: Why this side ends the conversation over its user's head: a deadline, a limit. Who uses it is told that.
    cause: Rarely[Exception | None] = Rarely(None)
    _held_back = Rarely(False)
    _gap_held_back = Rarely(False)

    def __init__(
        self, framing: Framing, name: Name, limits: Limits, now: float, *, first_message: bool = False
    ) -> None:
        self._rare: dict[str, Any] | None = None
        self.framing = framing
        #: Packed (:meth:`~fourtuple.address.FourTuple.unpacked`) until somebody asks.
        self._name: Name | bytes = name
        self.limits = limits
        # Reading.
        self.decoder: Decoder = decoder_of(framing)
        self._gap = framing.gap_timeout
        #: When the unfinished message is ended by silence, unless something comes before.
        self.gap_at: float | None = None
        #: The decoded messages of the current batch, the next one last: pop() delivers.
        self.inbox: list[Any] = []
        self.reading = Half.OPEN
        self.read_error: Exception | None = None
        self.raw_mode = False
        self._raw: bytearray | None = None
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
        #: Whether reading goes on while the outbox is crowded: where one task sends and another receives. Two such
        #: ends that stopped reading would wait for each other for ever. Replies must not: they would pile up.
        self.duplex = False
        #: Sees the conversation, decrypted: ``tap(stream, inward, octets)``, for hex dumps and captures.
        self.tap: Callable[[Any, bool, bytes], None] | None = None
        #: What holds the conversation to its rates; None where there are none.
        self.throttle: Throttle | None = None
        # Counters.
        self.octets_in = self.octets_out = self.messages_in = self.messages_out = 0
        # Deadlines.
        self.opened = self.last_activity = now
        #: Whether the first message has a deadline of its own: where we wait for the peer to speak.
        self.deferred_first = first_message
        self.message_since: float | None = None
        self._paused_at: float | None = None

    @property
    def name(self) -> Name:
        """The connection's name: the socket's, or the real client's where a PROXY header came."""
        name = self._name
        if isinstance(name, bytes):
            name = self._name = FourTuple.unpacked(name)
        return name

    @property
    def held_back(self) -> bool:
        """Whether something that was read waits for the throttle: nothing is delivered or read before it may be.

        Without a throttle nothing does, whatever a thread noted that had just asked it when the rate was lifted.
        """
        return self.throttle is not None and self._held_back

    @held_back.setter
    def held_back(self, value: bool) -> None:
        self._held_back = value

    def because(self, reason: Reason) -> None:
        """Note why this conversation ends; the first reason stays."""
        if self.reason is None:
            self.reason = reason

    def paused(self, now: float) -> None:
        """Reading was paused by us: the peer's clocks stop."""
        if self._paused_at is None:
            self._paused_at = now

    @property
    def ready(self) -> bool:
        """Whether the conversation can be had: no header and no handshake has to come first."""
        return self.layer is None or self.layer.established

    def _fail_requests(self, error: Exception) -> None:
        while self._requests:
            request = self._requests.popleft()
            if not request.abandoned:
                request.resolve(error=error)
