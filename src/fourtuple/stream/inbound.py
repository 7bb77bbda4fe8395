"""Inbound: octets into the inbox, and messages out of it, to a receive or to the request that they answer.

**Receiving is decided here, once.** Iteration, ``receive``, ``receive_nowait``, requests and handlers, async and
blocking, take the same steps::

    take_message()   the next message, or the reason why there is none
         |           (readable: whether take_message() would return or raise)
         v
    replenish()      the inbox is empty: do the held octets contain messages?
         |
         v
    _refill()        decode held octets: undecoded ones, those after a full batch, after a gap; the end of file
         |
         v
    why_over()       no message will ever come, for this reason
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fourtuple.errors import (
    ConnectionEnded,
    EndOfFile,
    MessageError,
    UnmappedMessage,
    WouldBlock,
)
from fourtuple.events import Reason
from fourtuple.framing import Unmapped
from fourtuple.rates.throttle import Throttle
from fourtuple.stream.raw import Raw
from fourtuple.stream.state import State
from fourtuple.stream.values import NOT_YET, Half, Path

_OPEN, _PLAIN, _SPECIAL = Half.OPEN, Path.PLAIN, Path.SPECIAL  # used for every message; faster than attributes


class Inbound(State):
    """Decodes each read completely and delivers its messages one by one.

    The decoder keeps their octets until the last of them is delivered.
    """

    __slots__ = ()

    # Fields of State that this part writes.
    inbox: list[Any]
    messages_in: int
    octets_in: int
    path: Path
    read_error: Exception | None

    if TYPE_CHECKING:  # what the whole does: Stream

        def close(self, reason: Reason = Reason.CLOSED) -> None: ...

    # -- octets to the inbox --------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float, take: bool) -> Any:
        """Decode the octets of one read directly into the empty inbox. For the path PLAIN.

        If they are exactly one message and the caller can ``take`` it at once, return that message. Otherwise return
        NOT_YET: what they brought is in the inbox.
        """
        self.octets_in += len(data)
        self.last_activity = now
        decoder = self.decoder
        # All messages of such a framing have this size, so the decoder would return the same octets.
        if take and len(data) == decoder.whole and self.message_since is None:  # on this path: nothing is held
            self.messages_in += 1
            return data
        limit = self.limits.max_batch
        try:
            messages = decoder.feed(data, limit)
        except MessageError as error:
            self._message_error(error)
            return NOT_YET
        if messages and messages[0] is data:  # the most frequent case: the read is exactly one message
            self.messages_in += 1
            self.message_since = None
            if take:
                return data
            self.inbox = messages
            return NOT_YET
        self._fill(messages, now, limit)
        if take and len(messages) == 1 and self.message_since is None and messages[0].__class__ is not Unmapped:
            return messages.pop()
        return NOT_YET

    def _decode(self, data: bytes, now: float) -> None:
        """Decode plain octets on any other path."""
        if self.writing is not _OPEN and self.hears_no_more:
            self.close()
            return
        raw = self._raw
        if raw is not None and (raw.asked or raw.octets):
            raw.octets += data
            if not raw.asked:
                self.replenish(now)
            return
        self._split(data, now)
        if self._requests and self.inbox:
            self._answer(now)

    def _split(self, data: bytes, now: float) -> None:
        """Fill the empty inbox with messages that ``data`` completes, as many as the batch and the rate allow."""
        decoder, limit, throttle = self.decoder, self.limits.max_batch, self.throttle
        if throttle is not None:
            limit = throttle.messages(limit)
            if not limit:
                self._hold_back(data, now)
                return
        try:
            inbox = decoder.feed(data, limit)
        except MessageError as error:
            self._message_error(error)
            return
        self._fill(inbox, now, limit)
        if throttle is not None:
            throttle.delivered(len(inbox))
            self.held_back = False
        # Only new octets move the gap. Decoding held octets once more is no activity of the peer.
        if self._gap is not None and (data or self.gap_at is None):
            self.gap_at = now + self._gap if decoder.buffered else None
        if inbox and self._rare is not None:
            self._answered_all()

    def _hold_back(self, data: bytes, now: float) -> None:
        """Keep the octets undecoded: the rate allows no message now."""
        if data:
            self._raw = Raw(data)
        self.held_back = True
        self.paused(now)

    def _fill(self, messages: list[Any], now: float, limit: int) -> None:
        """Put the decoder's messages, at most ``limit``, into the empty inbox."""
        if messages:
            count = len(messages)
            self.messages_in += count
            if count > 1:
                messages.reverse()  # pop() takes the next message from the end, without moving the others
            self.inbox = messages
            if not self.decoder.buffered:
                self.message_since = None
            elif count < limit:
                self.message_since = now
            else:
                # After a full batch it is unknown whether the held octets are whole messages. Therefore
                # message_timeout does not run, and these octets are decoded before another read.
                self.message_since = None
                self.path = _SPECIAL
        elif self.message_since is None and self.decoder.buffered:
            self.message_since = now

    def silence(self, now: float) -> None:
        """End the message by a gap: nothing came until :attr:`gap_at`.

        A driver calls this only while it may read, and just after it has found nothing to read: octets that wait in
        the kernel are not silence.
        """
        self.gap_at, throttle = None, self.throttle
        self._gap_held_back = False
        if throttle is not None:
            self.held_back = self._gap_held_back = not throttle.messages(1)
            if self.held_back:
                self.paused(now)
                return
        try:
            self.inbox = self.decoder.gap()
        except MessageError as error:
            self._message_error(error)
            return
        self.inbox.reverse()
        if throttle is not None:
            throttle.delivered(len(self.inbox))
        self.messages_in += len(self.inbox)
        if not self.decoder.buffered:
            self.message_since = None
        if self._requests and self.inbox:
            self._answer(now)

    def _truncated(self, error: Exception) -> Exception:
        """Note that an unannounced end of file is, or may be, in the middle of a message: this is an error."""
        self.read_error = error
        self.path = _SPECIAL
        self._finished = True
        self._fail_requests(error)
        return error

    @property
    def _reason_of_eof(self) -> Reason:
        return Reason.PEER_CLOSED if self.unannounced is None else Reason.NO_CLOSE_NOTIFY

    def _message_error(self, error: MessageError) -> None:
        error.whom = str(self.name)
        self.read_error = error.with_traceback(None)  # the traceback's frames would keep the decoder's octets alive
        self.path = _SPECIAL
        self.message_since = None
        self.because(Reason.MESSAGE_ERROR)
        self._fail_requests(error)

    # -- the inbox refilled ---------------------------------------------------------------------------------

    def replenish(self, now: float | None = None) -> bool:
        """If the inbox is empty, decode the octets already held; return whether there are messages now.

        Octets are held after ``max_batch`` messages, after a change of framing, and until the end of file turns them
        into a message (or into an error, which the next :meth:`take_message` raises).
        """
        if self.inbox:
            return True
        if self.path is not _SPECIAL and not self.decoder.buffered:
            self.decoder.settle()  # everything is delivered, and no octets are left
            return False
        stamp = self.last_activity if now is None else now
        self._refill(stamp)
        if self._requests:
            if self.inbox:
                self._answer(stamp)
            # All octets before the end of file are decoded now, and no reply is among them.
            if not self.inbox and self.reading is not _OPEN:
                self._fail_requests(self.unanswered(self.read_error or self._end_of_file()))
        return bool(self.inbox)

    def _refill(self, now: float) -> bool:
        """Decode held octets into the empty inbox, for a receive or a request; return whether there are messages."""
        if self.inbox:
            return True
        if self.closing:  # held octets are discarded; they must not cause an error of the peer
            return False
        decoder = self.decoder
        decoder.settle()
        error = self.read_error
        # After a message error it is unknown where the next message begins. A lost connection, in contrast, leaves the
        # held octets valid.
        if error is not None and (isinstance(error, MessageError) or error is self.unannounced):
            return False
        throttle = self.throttle
        if throttle is not None and self._is_throttled(throttle, now):
            return False
        raw = self._raw
        if raw is not None and (raw.asked or raw.octets):
            self._raw = None
            self._split(bytes(raw.octets), now)
        elif self._gap_held_back:
            self.silence(now)
        elif decoder.buffered:
            self._split(b"", now)
        if not self.inbox and self.read_error is None and self.reading is Half.ENDED and not self._finished:
            self._finish()
        self.judge()  # held and raw octets are decoded now
        return bool(self.inbox)

    def _is_throttled(self, throttle: Throttle, now: float) -> bool:
        """Whether held octets might be a message, and the rate allows none now."""
        holds = bool((self._raw is not None and self._raw.octets) or self.decoder.buffered)
        if self.reading is Half.ENDED and self.framing.ends_stream and not self.messages_in:
            holds = True  # the end of file completes a message
        self.held_back = holds and not throttle.messages(1)
        if self.held_back:
            self.paused(now)
        return self.held_back

    def _finish(self) -> None:
        """Let the end of file turn the held octets into a message or an error."""
        unannounced, throttle = self.unannounced, self.throttle
        within = self.layer is not None and self.layer.within
        if unannounced is not None and (within or not self.framing.delimits_itself):
            self._truncated(unannounced)
            return
        try:
            messages = self.decoder.finish()
        except MessageError as error:
            self._finished = True
            if unannounced is not None:
                self._truncated(unannounced)
            else:
                self._message_error(error)
            return
        if messages and unannounced is not None:
            self._truncated(unannounced)  # only the end of file completes this message, and it cannot be trusted
            return
        self.inbox = messages
        # After messages, finish() is called once more: an error at the end comes after them, and never instead.
        self._finished = not self.inbox
        self.messages_in += len(self.inbox)
        if throttle is not None:
            throttle.delivered(len(self.inbox))
        self.inbox.reverse()

    # -- messages out of the inbox --------------------------------------------------------------------------

    def take_message(self) -> Any:
        """Return the next message, or NOT_YET if none is here but one may come.

        Raises :class:`~fourtuple.errors.EndOfFile` if none will come, and the error that broke reading after the
        messages before it are delivered. For an unmapped message it raises
        :class:`~fourtuple.errors.UnmappedMessage`; the message then counts as delivered.
        """
        if self.inbox or self.replenish():
            message = self.inbox.pop()
            if message.__class__ is Unmapped:
                raise self._deliver_unmapped(message)
            return message
        if self.path is _SPECIAL and self.why_over() is not None:
            raise self.why_nothing()  # not bound to a variable: traceback and frame would form a reference cycle
        return NOT_YET

    def next_message(self) -> Any:
        """Return the next message now. Raises as :meth:`take_message`, and WouldBlock if none is here."""
        message = self.take_message()
        if message is NOT_YET:
            raise self.why_nothing()
        return message

    def unmapped(self, message: Unmapped) -> UnmappedMessage:
        """Make the error for an unmapped message of this connection."""
        return UnmappedMessage(message.octets, message.error, str(self.name))

    def _deliver_unmapped(self, message: Unmapped) -> UnmappedMessage:
        error = self.unmapped(message)
        if self.on_unmapped is not None:
            self.on_unmapped(error)
        return error

    def why_over(self) -> Exception | None:
        """With nothing left to deliver: return the exception that tells why nothing will come; None while it may."""
        if self.read_error is not None:
            return self.read_error
        if self.closing:
            return ConnectionEnded(f"{self.name}: receive after close()")
        return None if self.reading is _OPEN or self.held_back else self._end_of_file()

    def why_nothing(self) -> Exception:
        """Return the exception that tells why there is no message now."""
        if (why := self.why_over()) is not None:
            return why.with_traceback(None)  # each raise would add frames to the traceback
        if self.held_back:
            return WouldBlock(f"{self.name}: what has arrived is above the allowed rate and must wait")
        return WouldBlock(f"{self.name}: no whole message has arrived yet")

    @property
    def readable(self) -> bool:
        """Whether :meth:`take_message` would return a message or raise."""
        return bool(self.inbox) or self.replenish() or (self.path is _SPECIAL and self.why_over() is not None)

    @property
    def exhausted(self) -> bool:
        """Whether no message will come any more."""
        if self.inbox:
            return False
        if isinstance(self.read_error, MessageError):
            return True
        if self.reading is _OPEN and self.read_error is None:
            return False
        return not self.replenish() and (self.read_error is not None or not self.held_back)

    def receive_fails(self, error: Exception) -> None:
        """Let receives raise this error after the messages before it, not an error that says this side closed."""
        self.read_error = self.read_error or error
        self.path = _SPECIAL

    def _end_of_file(self) -> EndOfFile:
        return EndOfFile(f"{self.name}: the peer sent end of file")

    def unanswered(self, error: Exception) -> Exception:
        """Return the error for a request without a reply: with a hint if the end of file is all that the peer sent."""
        if not isinstance(error, EndOfFile) or self.spoken:
            return error
        perhaps = f"a framing other than {self.framing}, or gives no answer (its log may say why)"
        if self.layer is None:
            perhaps = f"TLS at this port, or {perhaps}"
        return EndOfFile(f"{error} and nothing before it; perhaps it uses {perhaps}")

    def _answer(self, now: float) -> None:
        """Resolve the requests with the received messages, in order."""
        requests = self._requests
        while requests and self._refill(now):
            request, reply = requests.next(), self.inbox.pop()
            if request is None:
                continue
            if reply.__class__ is Unmapped:
                request.resolve(error=self._deliver_unmapped(reply))
            else:
                request.resolve(reply)

    @property
    def unasked(self) -> bool:
        """With no request outstanding: whether the peer has sent anything, even the beginning of a message."""
        held = self.inbox or self.decoder.buffered or (self._raw is not None and self._raw.octets)
        return bool(held) and self.reading is _OPEN
