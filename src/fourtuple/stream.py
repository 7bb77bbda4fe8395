"""One connection without its socket: everything about a conversation that can be decided without I/O.

The engine and the blocking side move octets in (:meth:`Stream.received`, :meth:`Stream.received_eof`) and out
(:meth:`Stream.outgoing`, :meth:`Stream.sent`); what they mean is decided here, once. The clock is an argument.

The two directions have a life of their own (RFC 9293, 3.6)::

    reading                                     writing
    OPEN --- FIN received ----> ENDED           OPEN --- end_writing() --> ENDING --- outbox empty, FIN --> ENDED
      \\--- RST, broken framing -> BROKEN          \\--- RST, abort ----------> BROKEN

The conversation is over when both have left OPEN and ENDING for good. ``close()`` ends writing and discards what
still comes, so that the peer's last octets are not answered with an RST that would destroy our last reply.

**Batches.** A read is decoded whole; the messages wait in the inbox, and until the last of them is delivered
the decoder keeps their octets. Whoever changes the framing or asks for raw octets in between gets exactly the
octets of the messages that nobody has seen yet.

**Layers.** Something may stand between the wire and the decoder: a PROXY header that comes first, TLS. It is a
:class:`Layer`; the outbox and all counters stay those of the wire. Without one, nothing is paid but a look.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from fourtuple.address import Name
from fourtuple.errors import (
    ConnectionBusy,
    ConnectionEnded,
    ConnectionLost,
    DeadlinePassed,
    EncodeError,
    EndOfFile,
    IncompleteMessage,
    MessageError,
    MessageTooLong,
    OutboxFull,
    PeerReset,
    WouldBlock,
)
from fourtuple.framing import Decoder, Framing
from fourtuple.options import KIB, Deadlines, Limits

#: Chunks are joined up to this size before they are sent: one system call instead of many, and a copy small
#: beside the call.
_JOIN = 256 * KIB
#: What counts as progress of a write: less per deadline is a peer that pretends to read.
_PROGRESS = 1 * KIB

#: The next connection's number, unique in this process; whoever has a socket for a stream takes one.
new_id = itertools.count(1).__next__


class Half(Enum):
    """The state of one direction."""

    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"
    BROKEN = "broken"


class Reason(Enum):
    """Why a conversation ended. The first reason stays."""

    PEER_CLOSED = "closed by peer"
    CLOSED = "closed"
    RESET = "reset by peer"
    LOST = "lost"
    ABORTED = "aborted"
    MESSAGE_ERROR = "message error"
    TLS_ERROR = "TLS error"
    PROXY_ERROR = "PROXY header error"
    HANDLER_ERROR = "handler error"
    DEADLINE = "deadline"
    DRAINED = "drained"
    HANDED_ON = "handed on"
    REFUSED = "refused"
    LIMIT = "limit"

    @property
    def by_peer(self) -> bool:
        """Whether the peer, or the way to it, ended it."""
        return self in (Reason.PEER_CLOSED, Reason.RESET, Reason.LOST)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of one connection at one moment.

    Octets are those of the peer and of us on the wire; messages count when they are decoded or encoded.
    ``late_replies`` are replies to requests that had been given up, ``outbox`` and ``inbox`` what waits now;
    ``discarded`` are the plain octets that start_tls() threw away.
    """

    octets_in: int
    octets_out: int
    messages_in: int
    messages_out: int
    late_replies: int
    inbox: int
    outbox: int
    discarded: int = 0


def _reason(error: ConnectionLost) -> Reason:
    return Reason.RESET if isinstance(error, PeerReset) else Reason.LOST


class Request:
    """The place of one request in the order of replies.

    ``wake`` is called once, when the reply or the error is there; a request that was given up keeps its place,
    and its late reply is dropped and counted.
    """

    __slots__ = ("abandoned", "done", "error", "reply", "wake")

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self.done = False
        self.abandoned = False
        self.reply: Any = None
        self.error: Exception | None = None
        self.wake = wake

    def resolve(self, reply: Any = None, error: Exception | None = None) -> None:
        """Fill in the outcome and wake whoever waits for it."""
        self.done, self.reply, self.error = True, reply, error
        if self.wake is not None:
            self.wake()

    def result(self) -> Any:
        """The reply; raises the error."""
        if self.error is not None:
            raise self.error
        return self.reply


class Layer:
    """What stands between the wire and the decoder, for a while or to the end. It raises nothing: see ``error``.

    ``done`` layers are replaced by ``following``; ``established`` ones let plain octets pass in both directions.
    """

    __slots__ = ("done", "ended", "error", "established", "finished", "following", "holding", "since")

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
        #: Plain octets that cannot pass yet.
        self.holding = 0
        self.error: Exception | None = None

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


#: ``tap(stream, inward, octets)``.
Tap: TypeAlias = "Callable[[Stream, bool, bytes], None]"


class Stream:
    """One conversation: decoder and inbox, outbox, the states of both directions, counters, deadlines as data."""

    __slots__ = (
        "_finished",
        "_head",
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
        "inbox",
        "last_activity",
        "late_replies",
        "layer",
        "limits",
        "message_since",
        "messages_in",
        "messages_out",
        "name",
        "octets_in",
        "octets_out",
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
        self.name = name
        self.limits = limits
        # Reading.
        self.decoder: Decoder = framing.decoder()
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
        self.tap: Tap | None = None
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

    # -- octets in ----------------------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> None:
        """Take what one read brought."""
        if self.layer is not None:
            self._through(data, now)
            return
        if self.tap is not None:
            self.tap(self, True, data)
        self.octets_in += len(data)
        self.last_activity = now
        if not self.closing:
            self._decode(data, now)

    def received_eof(self, now: float) -> None:
        """Take the peer's FIN."""
        if self.reading is not Half.OPEN:
            return
        if self.layer is not None:
            if self.closing:
                self.layer.fail(self._end_of_file())  # what waited for a handshake waits in vain
            elif not self._through_eof(now):
                return
        if self.writing is Half.BROKEN and self.write_error is not None:
            # The kernel reports a reset once; a write had it, and what reads like an end of file is none.
            self.broken(self.write_error, Reason.RESET)
            return
        self._peer_finished(now)

    def _peer_finished(self, now: float) -> None:
        self.reading = Half.ENDED
        self.last_activity = now
        self.message_since = None
        if not self.closing:
            self.because(Reason.PEER_CLOSED)
        if self._requests:
            self.replenish(now)

    def broken(self, error: Exception, reason: Reason = Reason.LOST, *, borrowed: bool = False) -> None:
        """Take the end that the world made: nothing can be sent any more, nothing more will come.

        Messages that came before are still delivered. ``borrowed``: another thread is at work with the outbox,
        which is not emptied under its hands; its next write finds the socket shut.
        """
        self.because(reason)
        if self.reading is Half.OPEN:
            self.reading = Half.BROKEN
            # A message that was broken before stays the error: nobody may have seen it yet.
            self.read_error = self.read_error or error
        self.write_broken(error, borrowed=borrowed)
        self.message_since = None
        if self.layer is not None:
            self.layer.fail(error)
        self._fail_requests(error)

    def write_broken(self, error: Exception, *, borrowed: bool = False) -> None:
        """Take the end of writing alone: what the peer sent before it broke may still be read."""
        if self.writing in (Half.OPEN, Half.ENDING):
            self.writing = Half.BROKEN
            self.write_error = error
        if not borrowed:
            self.pending = []
            self._drop_outbox()

    def named(self, error: OSError) -> ConnectionLost:
        """What a socket's failure means for this connection, with its name: the peer reset it, or it was lost."""
        reset = isinstance(error, ConnectionResetError | BrokenPipeError)
        kind = PeerReset if reset else ConnectionLost
        lost = kind(f"{self.name}: {'reset by the peer' if reset else error.strerror or error}")
        lost.__cause__ = error
        return lost

    def lost(self, error: OSError) -> None:
        """Take what the socket said as the end of both directions."""
        named = self.named(error)
        self.broken(named, _reason(named))

    def write_lost(self, error: OSError) -> None:
        """Take what the socket said as the end of writing alone, as :meth:`write_broken`."""
        named = self.named(error)
        self.because(_reason(named))
        self.write_broken(named)

    def _decode(self, data: bytes, now: float) -> None:
        if self.raw_mode or self._raw:
            assert self._raw is not None
            self._raw += data
            if not self.raw_mode:
                self.replenish(now)
            return
        self._split(data, now)
        if self._requests and self.inbox:
            self._answer(now)

    def _split(self, data: bytes, now: float) -> None:
        """Fill the empty inbox with the messages that ``data`` completes."""
        decoder = self.decoder
        try:
            inbox = decoder.feed(data, self.limits.max_batch)
        except MessageError as error:
            self._message_error(error)
            return
        if inbox:
            self.messages_in += len(inbox)
            inbox.reverse()
            self.inbox = inbox
            # Behind a full batch nobody knows yet whether what is held is whole: then no clock of the peer runs.
            self.message_since = now if decoder.buffered and len(inbox) < self.limits.max_batch else None
        elif self.message_since is None and decoder.buffered:
            self.message_since = now

    def _message_error(self, error: MessageError) -> None:
        error.whom = str(self.name)
        self.read_error = error
        self.message_since = None
        self.because(Reason.MESSAGE_ERROR)
        self._fail_requests(error)

    def replenish(self, now: float | None = None) -> bool:
        """With the inbox empty, decode what is held already; return whether there are messages now.

        Octets are held beyond ``max_batch`` messages, after a change of framing, and when the end of file
        makes a message of them (or an error, which the next :meth:`next_message` raises).
        """
        stamp = self.last_activity if now is None else now
        self._refill(stamp)
        if self._requests:
            if self.inbox:
                self._answer(stamp)
            if not self.inbox and self.reading is not Half.OPEN:
                self._fail_requests(self.read_error or self._end_of_file())
        return bool(self.inbox)

    def _refill(self, now: float) -> bool:
        """Decode what is held into the empty inbox, whoever it is for; return whether there are messages now."""
        if self.inbox:
            return True
        decoder = self.decoder
        decoder.settle()
        if isinstance(self.read_error, MessageError):
            return False
        if self.raw_mode or self._raw:
            self.raw_mode = False
            raw, self._raw = self._raw, None
            self._split(bytes(raw or b""), now)
        elif decoder.buffered:
            self._split(b"", now)
        if not self.inbox and self.read_error is None and self.reading is Half.ENDED and not self._finished:
            self._finish()
        return bool(self.inbox)

    def _finish(self) -> None:
        """Let the end of file make a message, or an error, of what is held."""
        try:
            self.inbox = self.decoder.finish()
        except MessageError as error:
            self._finished = True
            self._message_error(error)
            return
        self._finished = not self.inbox
        self.messages_in += len(self.inbox)
        self.inbox.reverse()

    # -- messages out of the inbox ------------------------------------------------------------------------

    def next_message(self) -> Any:
        """The next message.

        Raises :class:`~fourtuple.errors.WouldBlock` when none is there, :class:`~fourtuple.errors.EndOfFile`
        when none will come, and the error that broke reading once the messages before it are delivered.
        """
        if self.inbox or self.replenish():
            return self.inbox.pop()
        raise self.why_nothing()

    def why_nothing(self) -> Exception:
        """The exception that says why there is no message now."""
        if self.read_error is not None:
            return self.read_error
        if self.closing:
            return ConnectionEnded(f"{self.name}: receive after close()")
        if self.reading is not Half.OPEN:
            return self._end_of_file()
        return WouldBlock(f"{self.name}: no whole message is there yet")

    @property
    def readable(self) -> bool:
        """Whether :meth:`next_message` would return or raise something else than WouldBlock."""
        return (
            bool(self.inbox)
            or self.closing
            or self.replenish()
            or self.read_error is not None
            or self.reading is not Half.OPEN
        )

    @property
    def exhausted(self) -> bool:
        """Whether no message will come any more."""
        if self.inbox:
            return False
        if isinstance(self.read_error, MessageError):
            return True
        return (self.reading is not Half.OPEN or self.read_error is not None) and not self.replenish()

    def _end_of_file(self) -> EndOfFile:
        return EndOfFile(f"{self.name}: the peer sent end of file")

    # -- requests -----------------------------------------------------------------------------------------

    def request(self, message: Any, wake: Callable[[], None] | None = None) -> Request:
        """Send a message and take the next place in the order of replies."""
        if self.inbox or self.replenish():
            raise ConnectionBusy(
                f"{self.name}: {len(self.inbox)} messages wait for receive(), a reply would not be told from them"
            )
        request = Request(wake)
        self.send(message)
        if self._requests is None:
            self._requests = deque()
        self._requests.append(request)
        if self.read_error is not None or self.reading is not Half.OPEN:
            self._fail_requests(self.why_nothing())
        return request

    @property
    def outstanding(self) -> int:
        """Requests that somebody still waits for."""
        return sum(not each.abandoned for each in self._requests) if self._requests else 0

    def check_receive(self) -> None:
        """Raise ConnectionBusy while requests are outstanding: what comes next is the reply to one of them."""
        if self._requests and self.outstanding:
            raise ConnectionBusy(f"{self.name}: receive beside {self.outstanding} outstanding requests")

    def _answer(self, now: float) -> None:
        assert self._requests is not None
        while self._requests and self._refill(now):
            request, reply = self._requests.popleft(), self.inbox.pop()
            if request.abandoned:
                self.late_replies += 1
            else:
                request.resolve(reply)

    def _fail_requests(self, error: Exception) -> None:
        while self._requests:
            request = self._requests.popleft()
            if not request.abandoned:
                request.resolve(error=error)

    # -- raw octets ---------------------------------------------------------------------------------------

    def go_raw(self) -> bytearray:
        """Undo the decoding of everything undelivered and hold octets instead of messages."""
        if self._raw is None:
            self._raw = bytearray()
        if self.raw_mode:
            return self._raw
        if self._requests:
            raise ConnectionBusy(
                f"{self.name}: {len(self._requests)} requests are outstanding, their replies are messages"
            )
        undelivered = len(self.inbox)
        self.messages_in -= undelivered
        self._raw[:0] = self.decoder.take(undelivered)
        # Emptied in place: whoever walks through the batch sees that it has ended.
        self.inbox.clear()
        self._finished = False
        if isinstance(self.read_error, MessageError):
            # The octets were broken in the framing that is no longer asked.
            self.read_error = None
            if self.reason is Reason.MESSAGE_ERROR:
                self.reason = None if self.reading is Half.OPEN else Reason.PEER_CLOSED
        self.message_since = None
        self.raw_mode = True
        self._raw_seen = 0
        return self._raw

    def take_exactly(self, size: int) -> bytes:
        """Exactly ``size`` octets.

        Raises WouldBlock while there are fewer, and :class:`~fourtuple.errors.IncompleteMessage` when the end
        of file came before (the octets stay; with none, it is :class:`~fourtuple.errors.EndOfFile`).
        """
        if size < 0:
            raise ValueError(f"receive_exactly: {size} octets were asked for")
        raw = self.go_raw()
        if len(raw) >= size:
            return self._cut(size)
        self._raw_need = size
        raise self._nothing_raw(size)

    def take_until(self, separator: bytes, max_octets: int) -> bytes:
        """Octets up to and with ``separator``, at most ``max_octets`` of them.

        Raises WouldBlock while it has not come, :class:`~fourtuple.errors.MessageTooLong` when it is not among
        the first ``max_octets`` (the octets stay), and at the end of file as :meth:`take_exactly`.
        """
        if not separator:
            raise ValueError("receive_until: the separator is empty")
        raw = self.go_raw()
        if separator != self._raw_separator:
            self._raw_separator, self._raw_seen = separator, 0
        at = raw.find(separator, self._raw_seen, max_octets)
        if at >= 0:
            return self._cut(at + len(separator))
        if len(raw) >= max_octets:
            error = MessageTooLong(len(raw), max_octets, f"text without {separator!r}", announced=False)
            error.whom = str(self.name)
            raise error
        self._raw_seen = max(0, len(raw) - len(separator) + 1)
        self._raw_need = max_octets
        raise self._nothing_raw(None)

    def take_some(self, max_octets: int) -> bytes:
        """Whatever is there, at most ``max_octets``. Raises WouldBlock and EndOfFile as the others."""
        if max_octets < 1:
            raise ValueError(f"receive_some: {max_octets} octets were asked for, at least 1 is needed")
        raw = self.go_raw()
        if raw:
            return self._cut(min(max_octets, len(raw)))
        self._raw_need = 1
        raise self._nothing_raw(1)

    def unread(self, octets: bytes) -> None:
        """Put octets back in front of what comes next."""
        self.go_raw()[:0] = octets
        self._raw_seen = 0

    def _cut(self, size: int) -> bytes:
        assert self._raw is not None
        octets = bytes(memoryview(self._raw)[:size])
        del self._raw[:size]
        self._raw_seen = self._raw_need = 0
        self.deferred_first = False  # The peer has spoken, if not in messages.
        return octets

    def _nothing_raw(self, expected: int | None) -> Exception:
        why = self.why_nothing()
        if isinstance(why, EndOfFile) and self._raw:
            incomplete = IncompleteMessage(len(self._raw), expected, "block of octets")
            incomplete.whom = str(self.name)
            return incomplete
        return why

    def change_framing(self, framing: Framing) -> None:
        """Cut what comes next, undelivered octets first, by another framing."""
        if self.pending:
            self.commit()
        self.go_raw()
        self.framing = framing
        self.decoder = framing.decoder()
        self.raw_mode = False

    # -- octets out ---------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Encode a message into the outbox.

        Raises :class:`~fourtuple.errors.EncodeError` (nothing was taken),
        :class:`~fourtuple.errors.ConnectionEnded` after a close or half-close, the error that broke the
        connection, and :class:`~fourtuple.errors.OutboxFull`.
        """
        if self.writing is not Half.OPEN:
            raise self._why_not_writing()
        if self.pending:
            self.commit()
        framing = self.framing
        self.write(framing.encode(message))
        self.messages_out += 1
        if framing.ends_stream:
            self.end_writing()

    def send_many(self, messages: Iterable[Any]) -> None:
        """Encode several messages into the outbox: all of them, or none and an error."""
        if self.writing is not Half.OPEN:
            raise self._why_not_writing()
        messages = messages if isinstance(messages, list) else list(messages)
        if not messages:
            return
        if self.pending:
            self.commit()
        self.write(self.framing.encode_many(messages))
        self.messages_out += len(messages)
        if self.framing.ends_stream:
            self.end_writing()

    def commit(self) -> None:
        """Encode the pending replies into the outbox, in order.

        Replies to a peer that cannot be written to any more are dropped. Raises
        :class:`~fourtuple.errors.EncodeError` for the first that cannot be encoded; those before it are taken,
        those behind it dropped.
        """
        pending, self.pending = self.pending, []
        if self.writing is not Half.OPEN or not pending:
            return
        try:
            self.send_many(pending)
        except EncodeError:
            for reply in pending:
                self.send(reply)
            raise

    def write(self, octets: bytes) -> None:
        """Put octets into the outbox as they are. Raises as :meth:`send`."""
        if self.writing is not Half.OPEN:
            raise self._why_not_writing()
        size = len(octets)
        if self.outbox_size and self.outbox_size + size > self.limits.max_outbox:
            raise OutboxFull(str(self.name), self.outbox_size, size, self.limits.max_outbox)
        if self.layer is not None:
            self._write_through(octets, self.layer)
        elif size:
            self.outbox.append(octets)
            self.outbox_size += size

    def _why_not_writing(self) -> Exception:
        if self.write_error is not None:
            return self.write_error
        what = "close()" if self.closing else "its end of file was sent"
        return ConnectionEnded(f"{self.name}: send after {what}")

    def outgoing(self) -> bytes | memoryview:
        """The octets to hand to the kernel next; empty when there are none."""
        outbox = self.outbox
        if not outbox:
            return b""
        if self._head:
            return memoryview(outbox[0])[self._head :]
        if len(outbox) > 1:
            self._join()
        return outbox[0]

    def _join(self) -> None:
        outbox = self.outbox
        if self.outbox_size <= _JOIN:
            outbox[:] = [b"".join(outbox)]
            return
        size = count = 0
        for chunk in outbox:
            size += len(chunk)
            if size > _JOIN:
                break
            count += 1
        if count > 1:
            outbox[:count] = [b"".join(outbox[:count])]

    def sent(self, count: int, now: float) -> None:
        """The kernel took ``count`` octets of what :meth:`outgoing` returned."""
        if self.tap is not None and count and self.layer is None:
            self.tap(self, False, bytes(memoryview(self.outbox[0])[self._head : self._head + count]))
        self.octets_out += count
        self.outbox_size -= count
        if not self.outbox_size:
            self.outbox = []
            self._head = 0
            self.write_since = None
        else:
            self._head += count
            if self._head >= len(self.outbox[0]):
                self._head -= len(self.outbox.pop(0))
            if self.write_since is None:
                self.write_since, self._write_progress = now, 0
            else:
                self._write_progress += count
                if self._write_progress >= _PROGRESS:
                    self.write_since, self._write_progress = now, 0
        if count:
            self.last_activity = now

    def end_writing(self) -> None:
        """Half-close: FIN follows the last octet of the outbox."""
        if self.pending:
            self.commit()
        if self.writing is Half.OPEN:
            self.writing = Half.ENDING
            if self.layer is not None:
                self.layer.end()
                self._take_outgoing(self.layer)

    @property
    def fin_due(self) -> bool:
        """Whether everything is written and the FIN is to be sent now."""
        return self.writing is Half.ENDING and not self.outbox_size and (self.layer is None or self.layer.finished)

    def fin_sent(self, now: float) -> None:
        """The FIN is on its way."""
        self.writing = Half.ENDED
        self.fin_at = now

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """End writing behind the outbox, and discard what the peer still sends."""
        if self.closing:
            return
        self.end_writing()
        self.because(reason)
        self.closing = True
        self.messages_in -= len(self.inbox)
        self.inbox.clear()
        self._raw = None
        self.message_since = None
        self._fail_requests(ConnectionEnded(f"{self.name}: closed with the request outstanding"))

    def because(self, reason: Reason) -> None:
        """Note why this conversation ends; the first reason stays."""
        if self.reason is None:
            self.reason = reason

    def _drop_outbox(self) -> None:
        self.outbox = []
        self.outbox_size = self._head = 0
        self.write_since = None

    @property
    def over(self) -> bool:
        """Whether nothing is left to do: both directions are ended or broken."""
        writing = self.writing
        return (writing is Half.ENDED or writing is Half.BROKEN) and self.reading is not Half.OPEN

    # -- layers -------------------------------------------------------------------------------------------

    @property
    def transport_name(self) -> Name:
        """The name of the socket itself; :attr:`name` is the real client's where a PROXY header named it."""
        return self._transport_name or self.name

    def introduced(self, header: Any, name: Name | None) -> None:
        """Take the PROXY header, and the name in it where it has one."""
        self.proxy_header = header
        if name is not None:
            self._transport_name, self.name = self.name, name

    def start_tls(self, layer: Layer) -> None:
        """Put TLS under the conversation, behind what was sent and before the next octet that comes.

        What the peer sent before is plain, and anybody on the way may have written it: it is discarded and
        counted (RFC 3207, 4.2), decoded or not. Raises as :meth:`send`; with requests outstanding, ConnectionBusy.
        """
        if self.layer is not None:
            raise ConnectionBusy(f"{self.name}: TLS has begun already")
        if self.writing is not Half.OPEN:
            raise self._why_not_writing()
        if self.reading is not Half.OPEN:
            raise self.why_nothing()
        if self.pending:
            self.commit()
        raw = self.go_raw()
        self.discarded += len(raw)
        raw.clear()
        self.decoder = self.framing.decoder()
        self.raw_mode = False
        if self.tap is not None and self.outbox_size:
            self.tap(self, False, b"".join(self.outbox)[self._head :])
        self.layer = layer
        self._take_outgoing(layer)

    def _through(self, data: bytes, now: float) -> None:
        """Let the layers take what the wire brought, and the decoder what they make of it."""
        before = self.octets_in
        self.octets_in += len(data)
        plain = self._plain(data, now)
        # A record that comes octet by octet is no activity: it must not keep an idle connection for ever.
        if plain or not self.ready:
            self.last_activity = now
        if plain:
            if self.tap is not None:
                self.tap(self, True, plain)
            if not self.closing:
                self._decode(plain, now)
        elif self.preamble == before:
            self.preamble = self.octets_in
        layer = self.layer
        if layer is None:
            return
        if layer.error is not None:
            self._layer_failed(layer, layer.error)
        elif layer.ended and self.reading is Half.OPEN:
            self._peer_finished(now)  # close_notify: our own direction stays open

    def _plain(self, data: bytes, now: float) -> bytes:
        while data and self.layer is not None and not (self.closing and self.layer.established):
            layer, was_ready = self.layer, self.layer.established
            data = layer.received(data, now)
            self._take_outgoing(layer)
            if not layer.done:
                if layer.established and not was_ready and not self.messages_in:
                    self.opened = now  # the first message has its time from here on
                return data
            self.layer = layer.following
            self.opened = now
        return data

    def _through_eof(self, now: float) -> bool:
        """Tell the layers of the FIN; return whether it is a plain end of file."""
        while (layer := self.layer) is not None:
            held = layer.received_eof()
            if layer.error is not None:
                self._layer_failed(layer, layer.error)
                self.reading = Half.BROKEN
                return False
            if not layer.done:
                break
            self.layer = layer.following
            if held:
                self.octets_in -= len(held)  # they come a second time
                self.preamble = min(self.preamble, self.octets_in)
                self.received(held, now)
        return True

    def _layer_failed(self, layer: Layer, error: Exception) -> None:
        """Nothing passes any more, in either direction; an alert may still leave, FIN behind it."""
        if self.write_error is error:
            return
        self.because(layer.reason)
        self.read_error = self.read_error or error
        self.write_error = error
        self.pending = []
        self.message_since = None
        if self.writing is Half.OPEN:
            self.writing = Half.ENDING
        self._fail_requests(error)

    def _write_through(self, octets: bytes, layer: Layer) -> None:
        if layer.holding and layer.holding + len(octets) > self.limits.max_outbox:
            raise OutboxFull(str(self.name), layer.holding, len(octets), self.limits.max_outbox)
        if octets:
            if self.tap is not None:
                self.tap(self, False, octets)
            layer.write(octets)
            self._take_outgoing(layer)
            if layer.error is not None:
                self._layer_failed(layer, layer.error)

    def _take_outgoing(self, layer: Layer) -> None:
        octets = layer.outgoing()
        if octets and self.writing in (Half.OPEN, Half.ENDING):
            self.outbox.append(octets)
            self.outbox_size += len(octets)

    # -- flow ---------------------------------------------------------------------------------------------

    @property
    def wants_read(self) -> bool:
        """Whether another read is welcome: nothing undelivered, no end seen, and no crowded outbox unless duplex.

        While closing, everything is welcome until the end of file: it is discarded.
        """
        if self.reading is not Half.OPEN:
            return False
        if self.closing:
            return True
        if self.inbox or self.read_error is not None:
            return False
        if self.outbox_size >= self.limits.high_water and not self.duplex:
            return False
        if self._raw:
            return len(self._raw) < max(self._raw_need, self.limits.read_size)
        return True

    @property
    def crowded(self) -> bool:
        """Whether senders have to wait: the outbox has reached its high mark."""
        if self.layer is not None:
            return self.outbox_size + self.layer.holding >= self.limits.high_water
        return self.outbox_size >= self.limits.high_water

    @property
    def relieved(self) -> bool:
        """Whether senders may go on: the outbox is down to its low mark."""
        if self.layer is not None:
            return self.outbox_size + self.layer.holding <= self.limits.low_water
        return self.outbox_size <= self.limits.low_water

    @property
    def buffered(self) -> int:
        """Octets held for this connection: not decoded yet, or not taken by the kernel yet."""
        held = self.outbox_size + self.decoder.buffered + (len(self._raw) if self._raw else 0)
        return held if self.layer is None else held + self.layer.holding

    @property
    def at_boundary(self) -> bool:
        """Whether the peer is between two messages, with none of them waiting."""
        return not self.inbox and not self.decoder.buffered and not self._raw and self.ready

    @property
    def ready(self) -> bool:
        """Whether the conversation can be had: no header and no handshake has to come first."""
        return self.layer is None or self.layer.established

    @property
    def spoken(self) -> bool:
        """Whether the peer has sent an octet of the conversation itself."""
        return self.octets_in > self.preamble

    # -- deadlines ----------------------------------------------------------------------------------------

    def paused(self, now: float) -> None:
        """Reading was paused by us: the peer's clocks stop."""
        if self._paused_at is None:
            self._paused_at = now

    def resumed(self, now: float) -> None:
        """Reading goes on: the peer gets back the time that we took."""
        if self._paused_at is None:
            return
        away, self._paused_at = now - self._paused_at, None
        self.opened += away if self.deferred_first and not self.messages_in else 0.0
        self.last_activity = now
        if self.message_since is not None:
            self.message_since += away

    def late(self, error: DeadlinePassed) -> None:
        """A deadline passed: note it, and tell whoever waits for a handshake; closing is next."""
        self.because(Reason.DEADLINE)
        if self.layer is not None and not self.layer.established:
            self.layer.fail(error)
            self.read_error = self.read_error or error

    def next_deadline(self, deadlines: Deadlines) -> tuple[float, str, float] | None:
        """The deadline that passes first: the moment, its name as in Deadlines, its length; None without any."""
        found: list[tuple[float, str, float]] = []

        def add(since: float | None, seconds: float | None, which: str) -> None:
            if since is not None and seconds is not None:
                found.append((since + seconds, which, seconds))

        add(self.write_since, deadlines.write_timeout, "write_timeout")
        layer = self.layer
        if layer is not None and not layer.established and not layer.finished:
            if layer.since is None:
                add(self.opened, deadlines.first_message_timeout, "first_message_timeout")
            else:
                add(layer.since, getattr(deadlines, layer.deadline), layer.deadline)
        elif self.closing or self.reading is not Half.OPEN:
            add(self.fin_at if self.closing else None, deadlines.linger_timeout, "linger_timeout")
        elif self._paused_at is None and not self.inbox:
            if not self.messages_in and self.deferred_first:
                add(self.opened, deadlines.first_message_timeout, "first_message_timeout")
            add(self.message_since, deadlines.message_timeout, "message_timeout")
            if self.outbox_size == 0:
                add(self.last_activity, deadlines.idle_timeout, "idle_timeout")
        return min(found, default=None)

    # -- what can be seen ---------------------------------------------------------------------------------

    @property
    def statistics(self) -> Statistics:
        """An immutable snapshot of the counters."""
        return Statistics(
            self.octets_in,
            self.octets_out,
            self.messages_in,
            self.messages_out,
            self.late_replies,
            len(self.inbox),
            self.outbox_size,
            self.discarded,
        )

    def __repr__(self) -> str:
        return (
            f"<Stream {self.name} {self.framing}, reading {self.reading.value}, writing {self.writing.value}, "
            f"inbox {len(self.inbox)}, outbox {self.outbox_size}>"
        )
