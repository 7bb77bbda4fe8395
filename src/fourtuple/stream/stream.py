"""The stream: what concerns both directions of a conversation, its changes and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from fourtuple.errors import ConnectionBusy, ConnectionEnded, ConnectionLost, DeadlinePassed, PeerReset, UnmappedMessage
from fourtuple.events import Reason
from fourtuple.four_tuple import Name
from fourtuple.framing import Decoder, Framing, decoder_of
from fourtuple.ignored import Ignored
from fourtuple.options import Deadlines, Limits
from fourtuple.options.own import changed_limits, limits_with_own
from fourtuple.rates.throttle import Throttle
from fourtuple.stream.backpressure import Backpressure
from fourtuple.stream.deadlines import next_deadline
from fourtuple.stream.ended import LET_GO, alone
from fourtuple.stream.half_close import HalfClose
from fourtuple.stream.inbound import Inbound
from fourtuple.stream.layered import Layered
from fourtuple.stream.outbound import Outbound
from fourtuple.stream.requests import Request, Requests
from fourtuple.stream.unframed import Unframed
from fourtuple.stream.values import Half, Path

#: ``tap(stream, inward, octets)``.
Tap: TypeAlias = "Callable[[Stream, bool, bytes], Ignored]"

_OPEN, _SPECIAL = Half.OPEN, Path.SPECIAL


class Stream(Layered, Inbound, Unframed, Outbound, Backpressure, HalfClose):
    """One conversation: decoder and inbox, outbox, the states of both directions, counters, deadlines as data."""

    __slots__ = ()

    # Fields of State that this part writes.
    closing: bool
    decoder: Decoder
    inbox: list[Any]
    limits: Limits
    message_since: float | None
    messages_in: int
    outbox: list[bytes]
    outbox_size: int
    path: Path
    pending: list[Any]
    reading: Half

    # -- the conversation changes ---------------------------------------------------------------------------

    def change_framing(self, framing: Framing, *, replying: bool = False) -> None:
        """Decode by another framing from now on, undelivered octets first.

        ``replying`` says that the next reply may answer a message that came in the framing so far.
        """
        if self.pending:
            self.commit_ahead()
        raw = self.go_raw()
        if replying and self.answering is None:
            self.answering = self.framing
        self.framing = framing
        self.decoder = decoder_of(framing)
        self._gap = framing.gap_timeout
        raw.asked = False
        if not raw.octets:
            self._raw = None
        self.judge()

    def request(self, message: Any, wake: Callable[[], None] | None = None) -> Request:
        """Send a message and take the next place in the order of replies.

        Raises ConnectionBusy, and sends nothing, while unrequested messages or octets are here: the next message would
        be taken for the reply. If no reply can come any more, it also sends nothing and raises the error that broke
        the connection, the same error each time.
        """
        if self.writing is not _OPEN:
            raise self._why_not_writing()
        if self.inbox or self.replenish():
            raise ConnectionBusy(
                f"{self.name}: {len(self.inbox)} messages wait for receive(), and could not be told from the reply"
            )
        if self.read_error is not None:
            raise self.read_error.with_traceback(None)
        if not self._requests and self.unasked:
            raise ConnectionBusy(
                f"{self.name}: {self.decoder.buffered} octets of an unrequested message wait, "
                "and could not be told from the reply; receive() it first"
            )
        request = Request(wake)
        # Sent before the place is taken: if the message cannot be encoded, the order of replies is unchanged.
        self.send(message)
        if self._requests is None:
            self._requests = Requests()
            self.path = _SPECIAL
        self._requests.append(request)
        if self.read_error is not None or self.reading is not _OPEN:
            self._fail_requests(self.unanswered(self.why_nothing()))
        return request

    @property
    def requested(self) -> bool:
        """Whether the next message is the reply to a request, abandoned or not."""
        return bool(self._requests)

    @property
    def outstanding(self) -> int:
        """The number of requests without a reply that are not abandoned."""
        return self._requests.outstanding if self._requests else 0

    def check_receive(self) -> None:
        """Raise ConnectionBusy while requests are outstanding: the next message is the reply to one of them."""
        if self._requests and self.outstanding:
            raise ConnectionBusy(f"{self.name}: receive while {self.outstanding} requests are outstanding")

    def converse(self, on_unmapped: Callable[[UnmappedMessage], None] | None = None) -> None:
        """Serve a conversation: one task may send while another receives, so a crowded outbox does not stop reading.

        ``on_unmapped`` is called for each unmapped message because of which a receive or a request raises.
        """
        self.duplex = True
        self.tell_unmapped(on_unmapped)

    def tell_unmapped(self, on_unmapped: Callable[[UnmappedMessage], None] | None) -> None:
        """Call this function for unmapped messages from now on."""
        self.on_unmapped = on_unmapped

    def be_watched(self, tap: Tap | None) -> None:
        """Pass the octets of the conversation, decrypted, to ``tap(stream, inward, octets)``; None stops that."""
        self.tap = tap
        self.judge()

    def be_throttled(self, throttle: Throttle | None) -> None:
        """Keep to the rates of this throttle; None removes them."""
        self.throttle = throttle
        if throttle is None:
            self.held_back = False
        self.judge()

    def keep_to(self, limits: Limits) -> None:
        """Apply these limits from now on, with those that the connection has changed for itself."""
        own = self.own_limits
        self.limits = limits if own is None else limits_with_own(limits, self.limits, own)

    def change_limits(self, changes: Mapping[str, Any]) -> Limits:
        """Change limits of this connection alone; return all. Raises OptionError; then nothing has changed."""
        limits = changed_limits(self.limits, changes)
        self.own_limits = {**(self.own_limits or {}), **changes}
        self.limits = limits
        return limits

    def introduced(self, header: Any, name: Name | None) -> None:
        """Take the PROXY header, and its name if it has one."""
        self.proxy_header = header
        if name is not None:
            self._transport_name, self._name = self.name, name

    # -- the end --------------------------------------------------------------------------------------------

    def received_eof(self, now: float) -> None:
        """Take the peer's FIN: its end of file (RFC 9293, 3.6)."""
        if self.reading is not Half.OPEN:
            return
        if self.layer is not None:
            if self.closing:
                # A task may wait for the handshake, which cannot finish any more because this side has closed.
                self.layer.fail(ConnectionEnded(f"{self.name}: closed before the handshake was complete"))
            elif not self._through_eof(now):
                return
        if self.writing is Half.BROKEN and self.write_error is not None:
            # The kernel reports a reset once (SO_ERROR, socket(7)). A write has got it, so this end of file is the
            # reset.
            self.broken(self.write_error, Reason.RESET)
            return
        self._peer_finished(now)

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """End writing after the outbox, and discard everything that the peer sends from now on."""
        if self.closing:
            return
        # First, while the state is still open: replies that are pending belong before FIN.
        self.end_writing()
        self.because(reason)
        self.closing = True
        self.path = _SPECIAL
        # They were counted when they were decoded, and will not be delivered.
        self.messages_in -= len(self.inbox)
        if self.held_back:
            self._discard_waiting()
        if self.inbox:
            self.inbox.clear()
        self._raw = None
        self.message_since = None
        self._fail_requests(self.cause or ConnectionEnded(f"{self.name}: closed with the request outstanding"))
        layer = self.layer
        if layer is not None and not layer.established and layer.finished:
            # Nothing was written that needs the handshake, so it will not be finished: a task may wait for it.
            layer.fail(ConnectionEnded(f"{self.name}: closed before the handshake was complete"))

    def half_close(self, reason: Reason) -> None:
        """End writing after the outbox, and wait for the peer's end of file; if octets come instead, close.

        A handler never gets a message whose reply it could not send any more.
        """
        self.because(reason)
        self.hears_no_more = True
        self.end_writing()

    def broken(self, error: Exception, reason: Reason = Reason.LOST, *, borrowed: bool = False) -> None:
        """End both directions because of a failure: nothing can be sent or received any more.

        Messages received before are still delivered. ``borrowed`` means that a thread uses the outbox now. The outbox
        is not emptied then; the thread's next write finds the socket shut down.
        """
        self.because(reason)
        if self.reading is Half.OPEN:
            self.reading = Half.BROKEN
            # An earlier error of a message stays, because it may not be delivered yet. If this side has closed, a later
            # failure of the connection is not the reason why nothing is received.
            if not self.closing:
                self.read_error = self.read_error or error
        self.path = _SPECIAL
        self.write_broken(error, borrowed=borrowed)
        self.message_since = None
        if self.layer is not None:
            self.layer.fail(error)
        self._fail_requests(error)

    def let_go(self) -> None:
        """Release all octets, messages and references: the connection and its handler have ended.

        If the user keeps the connection object, its calls raise the same errors, and its counters stay.
        """
        self.path = _SPECIAL
        if self.read_error is not None:
            self.decoder.forget_error()
        self.skipped_before += self.decoder.skipped
        # A shared object without octets: properties such as ``statistics`` still work.
        self.decoder = LET_GO
        self.inbox, self.pending = [], []
        self._raw = self.on_unmapped = None
        self._drop_outbox()
        self.read_error, self.write_error, self.cause = map(alone, (self.read_error, self.write_error, self.cause))
        if self.layer is not None:
            self.layer.let_go()

    def disowned(self, error: Exception) -> None:
        """End in a forked child, without calling anyone: the tasks that waited exist only in the parent."""
        self.reading = self.writing = Half.BROKEN
        self.read_error = self.write_error = error
        self.closing = True
        self.path = _SPECIAL
        self.inbox, self.pending, self.outbox, self.outbox_size = [], [], [], 0
        self._raw = self._requests = None

    def drop_waiting(self) -> None:
        """Drop what waits for a rate, and count it as discarded: writing is broken, because the connection is lost.

        Its answers could not be delivered. Messages in the inbox, which the rate has allowed, are still delivered.
        """
        self._discard_waiting()
        self.reading = Half.BROKEN
        self.message_since = None
        if self.write_error is not None:
            self.receive_fails(self.write_error)
            self._fail_requests(self.write_error)

    def _discard_waiting(self) -> None:
        raw = self._raw
        if raw is not None and not raw.asked:
            self.discarded += len(raw.octets)
            self._raw = None
        self.discarded += len(self.decoder.take())
        self.held_back = self._gap_held_back = False

    def lost(self, error: OSError) -> None:
        """Take an error of the socket as the end of both directions."""
        named = self.named(error)
        self.broken(named, _reason(named))
        if self.held_back:
            self.drop_waiting()

    def write_lost(self, error: OSError) -> None:
        """Take an error of the socket as the end of writing only, as :meth:`write_broken`."""
        named = self.named(error)
        self.because(_reason(named))
        self.write_broken(named)

    def named(self, error: OSError) -> ConnectionLost:
        """Make the error for a failed socket, with the connection's name: PeerReset or ConnectionLost."""
        reset = isinstance(error, ConnectionResetError | BrokenPipeError)
        kind = PeerReset if reset else ConnectionLost
        # EPIPE is a reset too: a write after the RST was reported once (send(2)).
        lost = kind(f"{self.name}: {'reset by the peer' if reset else error.strerror or error}")
        lost.__context__, lost.__suppress_context__ = error.with_traceback(None), True  # its text says the same
        return lost

    def late(self, error: DeadlinePassed) -> None:
        """Note that a deadline passed, and fail a handshake that a task waits for. The caller closes next."""
        self.because(Reason.DEADLINE)
        self.note_cause(error)
        if self.layer is not None and not self.layer.established:
            self.layer.fail(error)
            self.receive_fails(error)

    def next_deadline(self, deadlines: Deadlines) -> tuple[float, str, float] | None:
        """Return the deadline that passes first: moment, name in Deadlines, timeout. None if there is none."""
        return next_deadline(self, deadlines)


def _reason(error: ConnectionLost) -> Reason:
    return Reason.RESET if isinstance(error, PeerReset) else Reason.LOST
