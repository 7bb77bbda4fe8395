"""What a conversation consists of: one record, which the parts of a stream share.

Thousands of connections idle, so their memory counts: an object for each direction would cost every one of them 96
octets more (of about 1,000), and each look at a field another step. So the hot fields stand in one object with slots,
the parts of a stream (inbound.py, outbound.py) are its methods, and what few streams have is an object of its own, made
when it is first needed: :class:`Requests`, :class:`Raw`, a layer, a throttle.

The path, which every gate looks at, in Python and in C::

      made ------> PLAIN ----------- start_tls(): SPECIAL until the handshake is done ---------> LAYERED
                   |   ^                                                                          |   ^
                   |   |   a framing with a gap, raw octets, a request, a tap, a throttle,        |   |
                   |   |   a pause of reading, a full batch with more behind it, an error         |   |
                   v   |   (and back when that is over)                                           v   |
                  SPECIAL <----------------------------------------------------------------------+----+
                     |
                     |  FIN in either direction, RST, close(): it stays SPECIAL to the end
                     v
                   (over)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fourtuple.address import FourTuple, Name
from fourtuple.errors import UnmappedMessage
from fourtuple.events import Reason
from fourtuple.framing import Decoder, Framing, decoder_of
from fourtuple.options import Limits
from fourtuple.stream.fields import StreamFields
from fourtuple.stream.layer import Layer
from fourtuple.stream.raw import Raw
from fourtuple.stream.requests import Requests
from fourtuple.stream.values import Half, Path
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


_OPEN, _PLAIN, _LAYERED, _SPECIAL = Half.OPEN, Path.PLAIN, Path.LAYERED, Path.SPECIAL


class State(StreamFields):
    """The fields of a stream, and what concerns both directions: the path, the reason of the end, its requests.

    Everybody may read the fields; they are written by the methods of a stream, and by the fast path in C.
    """

    __slots__ = (
        "_gap",
        "_paused_at",
        "_raw",
        "deferred_first",
        "duplex",
        "on_unmapped",
        "read_error",
        "tap",
        "throttle",
        "write_error",
    )

    # What few streams have, and few of these for long: no place is kept for it.
    _finished = Rarely(False)
    #: The PROXY header that came first.
    proxy_header: Rarely[Any] = Rarely(None)
    _transport_name: Rarely[Name | None] = Rarely(None)
    #: Whether the peer's FIN has come, behind octets that are not read yet.
    finishing = Rarely(False)
    #: Octets that came before the conversation's first: a header, a handshake.
    preamble = Rarely(0)
    discarded = Rarely(0)
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
        self._raw: Raw | None = None
        self._requests: Requests | None = None
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
        #: What every gate looks at: see :meth:`judged`.
        self.path: Path = _PLAIN if self._gap is None else _SPECIAL

    # -- the path -------------------------------------------------------------------------------------------

    def standing(self) -> Path:
        """The path as it follows from everything else: the long form of :attr:`path`.

        Nothing of this changes with a message: only an end, an error, a request and so on change it. Whatever does
        calls :meth:`judge`, or says SPECIAL itself, and a message costs one look. What waits (the inbox, the outbox)
        is none of it: that is looked at where it matters.
        """
        layer = self.layer
        if (
            (layer is not None and (not layer.established or layer.error is not None))
            or self.reading is not _OPEN
            or self.writing is not _OPEN
            or self.closing
            or self.read_error is not None
            or self.write_error is not None
            or self._raw is not None
            or self._requests is not None
            or self._gap is not None
            or self.tap is not None
            or self.throttle is not None
            or self._paused_at is not None
            or self.ends_at_boundary
        ):
            return _SPECIAL
        return _PLAIN if layer is None else _LAYERED

    def judged(self) -> Path:
        """As :meth:`standing`; but what is held uncut comes before another read, and is SPECIAL."""
        return _SPECIAL if self.uncut else self.standing()

    def judge(self) -> None:
        """Something changed that the path depends on.

        Where a thread has the socket, the loop may end the connection meanwhile: so what was found is looked at again
        when it is written. (An end is written before the path that it makes, everywhere.)
        """
        found = self.path = self.judged()
        while found is not _SPECIAL and (again := self.judged()) is not found:
            found = self.path = again

    @property
    def uncut(self) -> bool:
        """Whether what is held may be whole messages, behind a full batch: they come before another read."""
        return self.message_since is None and self.decoder.buffered > 0 and not self.closing

    # -- both directions ------------------------------------------------------------------------------------

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
            self.path = _SPECIAL

    @property
    def ready(self) -> bool:
        """Whether the conversation can be had: no header and no handshake has to come first."""
        return self.layer is None or self.layer.established

    def _layer_failed(self, layer: Layer, error: Exception) -> None:
        """Nothing passes any more, in either direction; an alert may still leave, FIN behind it."""
        if self.write_error is error:
            return
        self.because(layer.reason)
        self.read_error = self.read_error or error
        self.write_error = error
        self.path = _SPECIAL
        self.pending.clear()
        self.message_since = None
        if self.writing is Half.OPEN:
            self.writing = Half.ENDING
        self._fail_requests(error)

    def _fail_requests(self, error: Exception) -> None:
        if self._requests:
            self._requests.fail(error)
