"""The record of a conversation, which the parts of a stream share.

A server may have thousands of idle connections, so their memory matters. A separate object for each direction would
cost each connection 96 octets more (of about 1,000), and each access to a field one more step. Therefore the hot
fields are in one object with slots, and the parts of a stream (inbound.py, outbound.py) are sets of its methods.
Anything that only few streams need is a separate object, made when it is first needed: :class:`Requests`,
:class:`Raw`, a layer, a throttle.

The path, which each test for the fast path reads, in Python and in C::

      new -------> PLAIN ----------- start_tls(): SPECIAL until the handshake is done ---------> LAYERED
                   |   ^                                                                          |   ^
                   |   |   a framing with a gap, raw octets, a request, a tap, a throttle,        |   |
                   |   |   a pause of reading, a full batch with more after it, an error          |   |
                   v   |   (and back when this is over)                                           v   |
                  SPECIAL <----------------------------------------------------------------------+----+
                     |
                     |  FIN in either direction, RST, close(): it stays SPECIAL to the end
                     v
                   (over)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fourtuple.errors import UnmappedMessage
from fourtuple.events import Reason, Statistics
from fourtuple.four_tuple import FourTuple, Name
from fourtuple.framing import Decoder, Framing, decoder_of
from fourtuple.ignored import Ignored
from fourtuple.options import Limits
from fourtuple.rates.throttle import Throttle
from fourtuple.stream.fields import StreamFields
from fourtuple.stream.layer import Layer
from fourtuple.stream.rare import Rare
from fourtuple.stream.raw import Raw
from fourtuple.stream.requests import Requests
from fourtuple.stream.values import Half, Path

#: An empty inbox or outbox that takes no memory. Code that adds the first item replaces it by a list.
NOTHING: Any = ()


_OPEN, _PLAIN, _LAYERED, _SPECIAL = Half.OPEN, Path.PLAIN, Path.LAYERED, Path.SPECIAL


class State(StreamFields):
    """The fields of a stream, and everything that concerns both directions: path, reason of the end, requests.

    Any code may read the fields. Only the methods of a stream and the fast path in C write them.
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

    # Few streams ever set these fields, so they have no slots.
    _finished = Rare(False)
    #: The PROXY header that came before the conversation.
    proxy_header: Rare[Any] = Rare(None)
    _transport_name: Rare[Name | None] = Rare(None)
    #: Whether the peer's FIN has come, after octets that are not read yet.
    finishing: Rare[bool] = Rare(False)
    #: The number of octets before the conversation's first octet: a PROXY header, a handshake.
    preamble: Rare[int] = Rare(0)
    discarded: Rare[int] = Rare(0)
    #: Octets that earlier decoders skipped.
    skipped_before: Rare[int] = Rare(0)
    write_since: Rare[float | None] = Rare(None)
    _write_progress = Rare(0)
    fin_at: Rare[float | None] = Rare(None)
    #: The octets out before a handshake in mid-conversation, while some of them wait: it can begin when all have left.
    plain_until: Rare[int | None] = Rare(None)
    #: The error for an end of file that TLS did not announce with close_notify. Whether it is raised is decided when
    #: all received octets are decoded.
    unannounced: Rare[Exception | None] = Rare(None)
    #: Whether reading stops at the next message boundary: this side closes next.
    ends_at_boundary: Rare[bool] = Rare(False)
    #: Whether the peer's next octets close the conversation and are not delivered: this side has half-closed it, and no
    #: reply to them could be sent.
    hears_no_more: Rare[bool] = Rare(False)
    #: Whether a thread has the socket: a pause is not a condition then, because the thread's next read ends it.
    lent: Rare[bool] = Rare(False)
    #: Why this side ended the conversation without its user: a deadline or a limit. The user's calls raise it.
    cause: Rare[Exception | None] = Rare(None)
    #: The limits that this connection has changed for itself: they stay when those of the server change.
    own_limits: Rare[dict[str, Any] | None] = Rare(None)
    #: The framing that a handler has changed while it makes a reply: its reply belongs to this one.
    answering: Rare[Framing | None] = Rare(None)
    _held_back = Rare(False)
    _gap_held_back = Rare(False)

    def __init__(
        self, framing: Framing, name: Name, limits: Limits, now: float, *, first_message: bool = False
    ) -> None:
        self._rare: dict[str, Any] | None = None
        self.framing: Framing = framing
        #: Packed (:meth:`~fourtuple.four_tuple.FourTuple.unpacked`) until :attr:`name` is read.
        self._name: Name | bytes = name
        self.limits: Limits = limits
        # Reading.
        self.decoder: Decoder = decoder_of(framing)
        self._gap = framing.gap_timeout
        #: When silence ends the unfinished message, unless octets come before.
        self.gap_at: float | None = None
        #: The decoded messages of the current batch in reverse order: pop() delivers the next one.
        self.inbox: list[Any] = NOTHING
        self.reading: Half = Half.OPEN
        self.read_error: Exception | None = None
        self._raw: Raw | None = None
        self._requests: Requests | None = None
        #: Called for each unmapped message because of which a receive or a request raises.
        self.on_unmapped: Callable[[UnmappedMessage], None] | None = None
        # Writing.
        #: Replies of the current batch that are not encoded yet: one encode_many and one send handle all of them.
        self.pending: list[Any] = []
        self.outbox: list[bytes] = NOTHING
        self.outbox_size: int = 0
        self._head = 0
        self.writing: Half = Half.OPEN
        self.write_error: Exception | None = None
        # Ending.
        self.closing: bool = False
        self.reason: Reason | None = None
        #: The layer between the wire and the decoder, if there is one now.
        self.layer: Layer | None = None
        #: Whether reading continues while the outbox is crowded. It does for conversations, where one task may send
        #: while another receives: if both ends stopped reading, they would wait for each other forever. It does not
        #: for reply handlers: their replies would accumulate without bound.
        self.duplex: bool = False
        #: Gets the octets of the conversation, decrypted: ``tap(stream, inward, octets)``, for hex dumps and captures.
        self.tap: Callable[[Any, bool, bytes], Ignored] | None = None
        #: Holds the conversation to its rates; None if there are no rates.
        self.throttle: Throttle | None = None
        # Counters.
        self.octets_in: int = 0
        self.octets_out: int = 0
        self.messages_in: int = 0
        self.messages_out: int = 0
        # Deadlines.
        self.opened: float = now
        self.last_activity: float = now
        #: Whether the first message has its own deadline: if this side waits for the peer to speak first.
        self.deferred_first: bool = first_message
        self.message_since: float | None = None
        self._paused_at: float | None = None
        #: The fact that each test for the fast path reads: see :meth:`judged`.
        self.path: Path = _PLAIN if self._gap is None else _SPECIAL

    # -- the path -------------------------------------------------------------------------------------------

    def standing(self) -> Path:
        """Compute the path from all other fields: the full condition for :attr:`path`.

        A message changes none of these fields; an end, an error, a request and so on change them. The code that
        changes one of them calls :meth:`judge` or sets SPECIAL itself, so a message costs one comparison. The contents
        of the inbox and the outbox do not belong to the condition: they are checked where they matter.
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
            or (self._paused_at is not None and not self.lent)
            or self.ends_at_boundary
            or self.answering is not None
        ):
            return _SPECIAL
        return _PLAIN if layer is None else _LAYERED

    def judged(self) -> Path:
        """As :meth:`standing`, but SPECIAL while held octets have to be decoded before another read."""
        return _SPECIAL if self.uncut else self.standing()

    def judge(self) -> None:
        """Set the path again: something that it depends on has changed.

        While a thread has the socket, the loop may end the connection between the computation and the assignment.
        Therefore the result is checked again after it is written. (All code writes an end before the path that follows
        from it.)
        """
        found = self.path = self.judged()
        while found is not _SPECIAL and (again := self.judged()) is not found:
            found = self.path = again

    @property
    def uncut(self) -> bool:
        """Whether the held octets may be whole messages after a full batch: these come before another read."""
        return self.message_since is None and self.decoder.buffered > 0 and not self.closing

    @property
    def reply_framing(self) -> Framing:
        """The framing of what a handler returns: that of its message, even if it has changed the framing since."""
        return self.framing if self._rare is None else self.answering or self.framing

    def _answered_all(self) -> None:
        """Forget the framing of a reply: it is encoded, or the next message is here."""
        if self.answering is not None:
            self.answering = None
            self.judge()

    # -- both directions ------------------------------------------------------------------------------------

    @property
    def name(self) -> Name:
        """The connection's name: the socket's, or the real client's if a PROXY header named it."""
        name = self._name
        if isinstance(name, bytes):
            name = self._name = FourTuple.unpacked(name)
        return name

    def pack_name(self) -> None:
        """Keep the name packed until it is read again: a connection that waits then takes less memory."""
        name = self._name
        if isinstance(name, FourTuple):
            self._name = name.packed() or name

    @property
    def held_back(self) -> bool:
        """Whether octets that were read wait for the throttle. Until it permits, nothing is delivered or read.

        Without a throttle this is False, even if a thread that had just asked the throttle noted otherwise when the
        rate was removed.
        """
        return self.throttle is not None and self._held_back

    @held_back.setter
    def held_back(self, value: bool) -> None:
        self._held_back = value

    def because(self, reason: Reason) -> None:
        """Note why this conversation ends. The first reason stays, but an abort replaces a drain that it cuts short."""
        if self.reason is None or (self.reason is Reason.DRAINED and reason is Reason.ABORTED):
            self.reason = reason

    @property
    def ready(self) -> bool:
        """Whether the conversation can begin: no PROXY header and no handshake is outstanding."""
        return self.layer is None or self.layer.established

    def _layer_failed(self, layer: Layer, error: Exception) -> None:
        """End both directions: the layer failed. A TLS alert may still be sent (RFC 8446, 6.2), followed by FIN."""
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

    # -- the peer's deadlines, which stop while we do not read --------------------------------------------

    @property
    def awaits_octets(self) -> bool:
        """Whether the conversation goes on and only the peer's octets are missing."""
        return self.reading is Half.OPEN and not self.closing and self._paused_at is None and not self.outbox_size

    def paused(self, now: float) -> None:
        """Note that this side has paused reading: the peer's deadlines stop."""
        if self._paused_at is None:
            self._paused_at = now
            if not self.lent:
                self.path = _SPECIAL

    def resumed(self, now: float) -> None:
        """Note that reading continues. The peer's deadlines move by the time of the pause."""
        if self._paused_at is None:
            return
        away, self._paused_at = now - self._paused_at, None
        if not self.messages_in and self.deferred_first:
            self.opened += away
        self.last_activity = now
        if self.message_since is not None:
            self.message_since += away
        if self.path is _SPECIAL:
            self.judge()

    def be_lent(self, lent: bool) -> None:
        """Note that a thread has the socket from now on, or has given it back."""
        self.lent = lent
        self.judge()

    def waited(self, now: float) -> None:
        """Note that a handler ran until now: the peer waited for it and was not idle."""
        self.last_activity = now

    def excused(self, which: str, now: float) -> bool:
        """Excuse the peer's silence while a handler runs: its timeout begins again now.

        Returns whether the deadline ``which`` is one that silence misses.
        """
        if which == "idle_timeout":
            self.last_activity = now
        elif which == "first_message_timeout":
            self.opened = now
        else:
            return False
        return True

    def end_at_boundary(self) -> None:
        """Stop reading at the next message boundary: this side closes next."""
        self.ends_at_boundary = True
        self.path = _SPECIAL  # so that each read checks wants_read

    def note_cause(self, error: Exception) -> None:
        """Note the deadline or limit that ends the conversation: its calls raise this error. The first one stays."""
        self.cause = self.cause or error

    # -- observable state ---------------------------------------------------------------------------------

    @property
    def read_size(self) -> int:
        """How many octets one read may take now; 0 if the connection has to wait for its rate."""
        size, throttle = self.limits.read_size, self.throttle
        return size if throttle is None or self.closing else throttle.octets(size)

    @property
    def awaits_message(self) -> bool:
        """Whether a receive that waits now waits for the first octet of the next message, and not for a reply."""
        requests = self._requests
        waits = self._paused_at is None and self.at_boundary and not self.held_back
        return waits and not (requests and requests.outstanding)

    @property
    def buffered(self) -> int:
        """Octets held for this connection: undecoded, in decoded values, or not yet taken by the kernel."""
        held = self.outbox_size + self.decoder.held + (len(self._raw.octets) if self._raw is not None else 0)
        return held if self.layer is None else held + self.layer.holding

    @property
    def at_boundary(self) -> bool:
        """Whether the peer is between two messages and none of its messages waits."""
        raw = self._raw
        return not self.inbox and not self.decoder.buffered and (raw is None or not raw.octets) and self.ready

    @property
    def spoken(self) -> bool:
        """Whether the peer has sent an octet of the conversation itself."""
        return self.octets_in > self.preamble

    @property
    def silent(self) -> bool:
        """Whether neither side has sent an octet of the conversation itself. A header or a handshake does not count."""
        if not self.octets_in or self.layer is None:
            return not self.spoken and not self.octets_out
        return self.ready and not self.spoken and not self.messages_out

    @property
    def transport_name(self) -> Name:
        """The name of the socket itself; :attr:`name` is the real client's if a PROXY header named it."""
        return self._transport_name or self.name

    @property
    def statistics(self) -> Statistics:
        """An immutable snapshot of the counters."""
        return Statistics(
            self.octets_in,
            self.octets_out,
            self.messages_in,
            self.messages_out,
            self._requests.late if self._requests is not None else 0,
            len(self.inbox),
            self.outbox_size,
            self.discarded,
            self.skipped_before + self.decoder.skipped,
        )

    def __repr__(self) -> str:
        return (
            f"<Stream {self.name} {self.framing}, reading {self.reading.value}, writing {self.writing.value}, "
            f"inbox {len(self.inbox)}, outbox {self.outbox_size}>"
        )
