"""The way in: octets to the inbox, and messages out of it, to whoever receives or to the request they answer.

**What is received is decided here, once.** Iteration, ``receive``, ``receive_nowait``, requests and handlers of both
sides, with a loop and without, go by the same steps::

    take_message()   the next message, or what came in its place
         |           (readable: whether take_message() has something to give)
         v
    replenish()      the inbox is empty: is there more in what was read?
         |
         v
    _refill()        octets held undecoded, behind a full batch, behind a gap; the end of file
         |
         v
    why_over()       there is not, and this is why there never will be
"""

from __future__ import annotations

from typing import Any

from fourtuple.errors import (
    ConnectionBusy,
    ConnectionEnded,
    EndOfFile,
    IncompleteMessage,
    MessageError,
    UnmappedMessage,
    WouldBlock,
)
from fourtuple.events import Reason
from fourtuple.framing import Unmapped
from fourtuple.options import check_type, check_whole
from fourtuple.stream.raw import Raw, check_until
from fourtuple.stream.state import State
from fourtuple.stream.values import NOT_YET, Half, Nothing, Path
from fourtuple.throttle import Throttle

_OPEN, _PLAIN, _SPECIAL = Half.OPEN, Path.PLAIN, Path.SPECIAL  # looked up at every message


class Inbound(State):
    """Decode a read whole, deliver its messages one by one; until the last of them the decoder keeps their octets."""

    __slots__ = ()

    # -- octets to the inbox --------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> None:
        """Take what one read brought on the plain path: into the empty inbox, straight."""
        self.octets_in += len(data)
        self.last_activity = now
        limit = self.limits.max_batch
        try:
            messages = self.decoder.feed(data, limit)
        except MessageError as error:
            self._message_error(error)
            return
        if len(messages) == 1 and messages[0] is data:  # a read is one message most often: nothing else is held
            self.messages_in += 1
            self.message_since = None
            self.inbox = messages
            return
        self._fill(messages, now, limit)

    def _decode(self, data: bytes, now: float) -> None:
        """Take plain octets on any other path."""
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
        """Fill the empty inbox with the messages that ``data`` completes, as many as may be had now."""
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
        if self._gap is not None and (data or self.gap_at is None):
            self.gap_at = now + self._gap if decoder.buffered else None

    def _hold_back(self, data: bytes, now: float) -> None:
        """Nothing may be delivered now: keep what was read as it came."""
        if data:
            self._raw = Raw(data)
        self.held_back = True
        self.paused(now)

    def _fill(self, messages: list[Any], now: float, limit: int) -> None:
        """Put what the decoder gave, at most ``limit`` messages, into the empty inbox."""
        if messages:
            count = len(messages)
            self.messages_in += count
            if count > 1:
                messages.reverse()
            self.inbox = messages
            if not self.decoder.buffered:
                self.message_since = None
            elif count < limit:
                self.message_since = now
            else:
                # Behind a full batch nobody knows yet whether what is held is whole: then no clock of the peer runs,
                # and it is cut before another read.
                self.message_since = None
                self.path = _SPECIAL
        elif self.message_since is None and self.decoder.buffered:
            self.message_since = now

    def silence(self, now: float) -> None:
        """Nothing came until :attr:`gap_at`: let that end the message, as its framing has it.

        For drivers that have just looked whether something is there, and while reading is welcome: what the
        kernel holds is no silence.
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
        """The end of file that nobody announced is in the middle of a message, or may be: it is an error."""
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
        self.read_error = error.with_traceback(None)  # a frame of the decoder holds its octets
        self.path = _SPECIAL
        self.message_since = None
        self.because(Reason.MESSAGE_ERROR)
        self._fail_requests(error)

    # -- the inbox refilled ---------------------------------------------------------------------------------

    def replenish(self, now: float | None = None) -> bool:
        """With the inbox empty, decode what is held already; return whether there are messages now.

        Octets are held beyond ``max_batch`` messages, after a change of framing, and when the end of file
        makes a message of them (or an error, which the next :meth:`take_message` raises).
        """
        if self.inbox:
            return True
        if self.path is not _SPECIAL and not self.decoder.buffered:
            self.decoder.settle()  # all of it is delivered, and nothing came with it
            return False
        stamp = self.last_activity if now is None else now
        self._refill(stamp)
        if self._requests:
            if self.inbox:
                self._answer(stamp)
            if not self.inbox and self.reading is not _OPEN:
                self._fail_requests(self.read_error or self._end_of_file())
        return bool(self.inbox)

    def _refill(self, now: float) -> bool:
        """Decode what is held into the empty inbox, whoever it is for; return whether there are messages now."""
        if self.inbox:
            return True
        if self.closing:  # what is held is nobody's any more, and no error of the peer
            return False
        decoder = self.decoder
        decoder.settle()
        error = self.read_error
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
        self.judge()  # what was uncut is cut, what was raw is decoded
        return bool(self.inbox)

    def _is_throttled(self, throttle: Throttle, now: float) -> bool:
        """Whether something is held that might be a message, and none may be delivered now."""
        holds = bool((self._raw is not None and self._raw.octets) or self.decoder.buffered)
        if self.reading is Half.ENDED and self.framing.ends_stream and not self.messages_in:
            holds = True  # the end of file is a message
        self.held_back = holds and not throttle.messages(1)
        if self.held_back:
            self.paused(now)
        return self.held_back

    def _finish(self) -> None:
        """Let the end of file make a message, or an error, of what is held."""
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
            self._truncated(unannounced)  # only the end of file makes a message of what came
            return
        self.inbox = messages
        self._finished = not self.inbox
        self.messages_in += len(self.inbox)
        if throttle is not None:
            throttle.delivered(len(self.inbox))
        self.inbox.reverse()

    # -- messages out of the inbox --------------------------------------------------------------------------

    def take_message(self) -> Any:
        """The next message; NOT_YET when none is there, and one may come.

        Raises :class:`~fourtuple.errors.EndOfFile` when none will come, and the error that broke reading once the
        messages before it are delivered. One that does not map raises :class:`~fourtuple.errors.UnmappedMessage`,
        and is delivered by that.
        """
        if self.inbox or self.replenish():
            message = self.inbox.pop()
            if message.__class__ is Unmapped:
                raise self._deliver_unmapped(message)
            return message
        if self.path is _SPECIAL and self.why_over() is not None:
            raise self.why_nothing()  # in no variable: its traceback has this frame
        return NOT_YET

    def next_message(self) -> Any:
        """The next message, now: raises as :meth:`take_message`, and WouldBlock when none is there."""
        message = self.take_message()
        if message is NOT_YET:
            raise self.why_nothing()
        return message

    def unmapped(self, message: Unmapped) -> UnmappedMessage:
        """The error for a message of this connection that does not map."""
        return UnmappedMessage(message.octets, message.error, str(self.name))

    def _deliver_unmapped(self, message: Unmapped) -> UnmappedMessage:
        error = self.unmapped(message)
        if self.on_unmapped is not None:
            self.on_unmapped(error)
        return error

    def why_over(self) -> Exception | None:
        """With nothing left to deliver: the exception that says why nothing will come any more; None while it may."""
        if self.read_error is not None:
            return self.read_error
        if self.closing:
            return ConnectionEnded(f"{self.name}: receive after close()")
        return None if self.reading is _OPEN or self.held_back else self._end_of_file()

    def why_nothing(self) -> Exception:
        """The exception that says why there is no message now."""
        if (why := self.why_over()) is not None:
            return why.with_traceback(None)  # those who raised it before would pile up
        if self.held_back:
            return WouldBlock(f"{self.name}: what came is above the rate that is allowed, and has to wait")
        return WouldBlock(f"{self.name}: no whole message is there yet")

    @property
    def readable(self) -> bool:
        """Whether :meth:`take_message` would return a message, or raise."""
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
        """Whoever receives is told this, behind what came before: not this side ended it."""
        self.read_error = self.read_error or error
        self.path = _SPECIAL

    def _end_of_file(self) -> EndOfFile:
        return EndOfFile(f"{self.name}: the peer sent end of file")

    def _answer(self, now: float) -> None:
        """Give the messages that came to the requests they answer, in their order."""
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
        """With no request outstanding: whether something is there, be it the beginning of a message."""
        held = self.inbox or self.decoder.buffered or (self._raw is not None and self._raw.octets)
        return bool(held) and self.reading is _OPEN

    # -- octets instead of messages -------------------------------------------------------------------------

    def go_raw(self) -> Raw:
        """Undo the decoding of everything undelivered and hold octets instead of messages."""
        raw = self._raw
        if raw is not None and raw.asked:
            return raw
        if self._requests:
            raise ConnectionBusy(
                f"{self.name}: {len(self._requests)} requests are outstanding, their replies are messages"
            )
        if raw is None:
            raw = self._raw = Raw()
            self.path = _SPECIAL
        undelivered = len(self.inbox)
        self.messages_in -= undelivered
        throttle = self.throttle
        if throttle is not None:
            throttle.undelivered(undelivered)
            self.held_back = self._gap_held_back = False  # octets wait for octets alone
        raw.put_back(self.decoder.take(undelivered))
        # Emptied in place: whoever walks through the batch sees that it has ended.
        if self.inbox:
            self.inbox.clear()
        self._finished = False
        if self.read_error is not None and self.read_error is self.unannounced:
            self.read_error = None
        if isinstance(self.read_error, MessageError):
            # The octets were broken in the framing that is no longer asked.
            self.read_error = None
            if self.reason is Reason.MESSAGE_ERROR:
                self.reason = None if self.reading is Half.OPEN else self._reason_of_eof
        self.message_since = self.gap_at = None
        raw.asked = True
        return raw

    def take_exactly(self, size: int) -> bytes | Nothing:
        """Exactly ``size`` octets; NOT_YET while there are fewer.

        Raises :class:`~fourtuple.errors.IncompleteMessage` when the end of file came before (the octets stay; with
        none, it is :class:`~fourtuple.errors.EndOfFile`).
        """
        check_whole("size", size, 0, "octets")
        return self._of_raw(self.go_raw().exactly(size), size)

    def take_until(self, separator: bytes, max_octets: int) -> bytes | Nothing:
        """Octets up to and with ``separator``, at most ``max_octets`` of them; NOT_YET while it has not come.

        Raises :class:`~fourtuple.errors.MessageTooLong` when it is not among the first ``max_octets`` (the octets
        stay), and at the end of file as :meth:`take_exactly`.
        """
        check_until(separator, max_octets)
        return self._of_raw(self.go_raw().until(separator, max_octets, str(self.name)), None)

    def take_some(self, max_octets: int) -> bytes | Nothing:
        """Whatever is there, at most ``max_octets``; NOT_YET and EndOfFile as the others."""
        check_whole("max_octets", max_octets, 1, "octets")
        return self._of_raw(self.go_raw().some(max_octets), 1, ends_stream=True)

    def unread(self, octets: bytes) -> None:
        """Put octets back in front of what comes next. After a close nothing comes, and they are dropped."""
        check_type("octets", octets, bytes, bytearray, memoryview, optional=False)
        if not self.closing:
            self.go_raw().put_back(octets)

    def _of_raw(self, got: bytes | Nothing, expected: int | None, *, ends_stream: bool = False) -> bytes | Nothing:
        """What came of octets that somebody waits for; raises where no more will come."""
        if got is not NOT_YET:
            self.deferred_first = False  # The peer has spoken, if not in messages.
            return got
        why = self._why_too_few(expected, ends_stream)
        if why is not None:
            try:
                raise why.with_traceback(None)
            finally:
                del why  # its traceback has this frame
        return got

    def _why_too_few(self, expected: int | None, ends_stream: bool) -> Exception | None:
        why = self.why_over()
        held = len(self._raw.octets) if self._raw is not None else 0
        if isinstance(why, EndOfFile) and self.unannounced is not None and (held or ends_stream):
            return self._truncated(self.unannounced)
        if isinstance(why, EndOfFile) and held:
            incomplete = IncompleteMessage(held, expected, "block of octets")
            incomplete.whom = str(self.name)
            return incomplete
        return why
