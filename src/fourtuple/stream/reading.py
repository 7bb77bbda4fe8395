"""The reading half: octets to the inbox, messages out of it, and replies to the requests they belong to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from fourtuple.errors import (
    ConnectionBusy,
    ConnectionEnded,
    EndOfFile,
    MessageError,
    UnmappedMessage,
    WouldBlock,
)
from fourtuple.events import Reason
from fourtuple.framing import Unmapped
from fourtuple.stream.ending import Ending
from fourtuple.stream.request import Request
from fourtuple.stream.values import Half
from fourtuple.throttle import Throttle

_OPEN = Half.OPEN  # looked up at every message


class Reading(Ending):
    """Decode a read whole, deliver its messages one by one; until the last of them the decoder keeps their octets."""

    __slots__ = ()

    # -- octets to the inbox --------------------------------------------------------------------------------

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
        self.fill(inbox, now, limit)
        if throttle is not None:
            throttle.delivered(len(inbox))
            self.held_back = False
        if self._gap is not None and (data or self.gap_at is None):
            self.gap_at = now + self._gap if decoder.buffered else None

    def _hold_back(self, data: bytes, now: float) -> None:
        """Nothing may be delivered now: keep what was read as it came."""
        if data:
            self._raw = bytearray(data)
        self.held_back = True
        self.paused(now)

    def fill(self, messages: list[Any], now: float, limit: int | None = None) -> None:
        """Put what the decoder gave, at most ``limit`` (``max_batch``) messages, into the empty inbox."""
        if messages:
            count = len(messages)
            self.messages_in += count
            if count > 1:
                messages.reverse()
            self.inbox = messages
            # Behind a full batch nobody knows yet whether what is held is whole: then no clock of the peer runs.
            unfinished = self.decoder.buffered and count < (limit or self.limits.max_batch)
            self.message_since = now if unfinished else None
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
        self._finished = True
        self._fail_requests(error)
        return error

    @property
    def _reason_of_eof(self) -> Reason:
        return Reason.PEER_CLOSED if self.unannounced is None else Reason.NO_CLOSE_NOTIFY

    def _message_error(self, error: MessageError) -> None:
        error.whom = str(self.name)
        self.read_error = error
        self.message_since = None
        self.because(Reason.MESSAGE_ERROR)
        self._fail_requests(error)

    def delivered(self) -> bool:
        """The last message of a batch is delivered; return whether nothing of the read is left.

        Then :meth:`replenish` has nothing to look for. Where octets are held (of a next message, or, behind a full
        batch, of many), or came undecoded, or the end of file did, it has.
        """
        if self._raw is not None or self.reading is not _OPEN or self.decoder.buffered:
            return False
        self.decoder.settle()
        return True

    def spent(self) -> bool:
        """With the inbox empty: whether nothing can come of what was read, as :meth:`replenish` would find out."""
        decoder = self.decoder
        if decoder.buffered or self.reading is not _OPEN or self._raw is not None or self.read_error is not None:
            return False
        if self.closing or self.raw_mode:
            return False
        decoder.settle()
        return True

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
        if self.raw_mode or self._raw:
            self.raw_mode = False
            raw, self._raw = self._raw, None
            self._split(bytes(raw or b""), now)
        elif self._gap_held_back:
            self.silence(now)
        elif decoder.buffered:
            self._split(b"", now)
        if not self.inbox and self.read_error is None and self.reading is Half.ENDED and not self._finished:
            self._finish()
        return bool(self.inbox)

    def _is_throttled(self, throttle: Throttle, now: float) -> bool:
        """Whether something is held that might be a message, and none may be delivered now."""
        holds = bool(self._raw or self.decoder.buffered)
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

    def next_message(self) -> Any:
        """The next message.

        Raises :class:`~fourtuple.errors.WouldBlock` when none is there, :class:`~fourtuple.errors.EndOfFile`
        when none will come, and the error that broke reading once the messages before it are delivered. One that
        does not map raises :class:`~fourtuple.errors.UnmappedMessage`, and is delivered by that.
        """
        if self.inbox or self.replenish():
            message = self.inbox.pop()
            if message.__class__ is Unmapped:
                raise self._deliver_unmapped(message)
            return message
        raise self.why_nothing()

    def unmapped(self, message: Unmapped) -> UnmappedMessage:
        """The error for a message of this connection that does not map."""
        return UnmappedMessage(message.octets, message.error, str(self.name))

    def _deliver_unmapped(self, message: Unmapped) -> UnmappedMessage:
        error = self.unmapped(message)
        if self.on_unmapped is not None:
            self.on_unmapped(error)
        return error

    def why_nothing(self) -> Exception:
        """The exception that says why there is no message now."""
        if self.read_error is not None:
            return self.read_error
        if self.closing:
            return ConnectionEnded(f"{self.name}: receive after close()")
        if self.held_back:
            return WouldBlock(f"{self.name}: what came is above the rate that is allowed, and has to wait")
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
            or (self.reading is not Half.OPEN and not self.held_back)
        )

    @property
    def exhausted(self) -> bool:
        """Whether no message will come any more."""
        if self.inbox:
            return False
        if isinstance(self.read_error, MessageError):
            return True
        if self.reading is Half.OPEN and self.read_error is None:
            return False
        return not self.replenish() and (self.read_error is not None or not self.held_back)

    def _end_of_file(self) -> EndOfFile:
        return EndOfFile(f"{self.name}: the peer sent end of file")

    # -- requests -------------------------------------------------------------------------------------------

    def request(self, message: Any, wake: Callable[[], None] | None = None) -> Request:
        """Send a message and take the next place in the order of replies.

        Raises ConnectionBusy, and sends nothing, while there is what nobody asked for: the next message would be
        taken for the reply. Nothing is sent either where no reply can come any more: the error that broke the
        connection is raised, the same each time.
        """
        if self.writing is not _OPEN:
            raise self._why_not_writing()
        if self.inbox or self.replenish():
            raise ConnectionBusy(
                f"{self.name}: {len(self.inbox)} messages wait for receive(), a reply would not be told from them"
            )
        if self.read_error is not None:
            raise self.read_error
        if not self._requests and self.unasked:
            raise ConnectionBusy(
                f"{self.name}: {self.decoder.buffered} octets of a message wait that no request asked for, "
                "a reply would not be told from it; receive() it first"
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
    def unasked(self) -> bool:
        """With no request outstanding: whether something is there, be it the beginning of a message."""
        return bool(self.inbox or self.decoder.buffered or self._raw) and self.reading is _OPEN

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
            elif reply.__class__ is Unmapped:
                request.resolve(error=self._deliver_unmapped(reply))
            else:
                request.resolve(reply)
