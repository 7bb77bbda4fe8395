"""Octets instead of messages: the raw family, and a change of framing in the middle of a batch."""

from __future__ import annotations

from fourtuple.errors import ConnectionBusy, EndOfFile, IncompleteMessage, MessageError, MessageTooLong
from fourtuple.events import Reason
from fourtuple.framing import Framing, decoder_of
from fourtuple.options import check_type, check_whole, refuse
from fourtuple.stream.reading import Reading
from fourtuple.stream.values import Half


class Raw(Reading):
    """What nobody has seen yet, as the peer sent it."""

    __slots__ = ()

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
        throttle = self.throttle
        if throttle is not None:
            throttle.undelivered(undelivered)
            self.held_back = self._gap_held_back = False  # octets wait for octets alone
        self._raw[:0] = self.decoder.take(undelivered)
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
        self.raw_mode = True
        self._raw_seen = 0
        return self._raw

    def take_exactly(self, size: int) -> bytes:
        """Exactly ``size`` octets.

        Raises WouldBlock while there are fewer, and :class:`~fourtuple.errors.IncompleteMessage` when the end
        of file came before (the octets stay; with none, it is :class:`~fourtuple.errors.EndOfFile`).
        """
        check_whole("size", size, 0, "octets")
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
        if not isinstance(separator, bytes | bytearray | memoryview) or not separator:
            refuse("separator", separator, "at least one octet (bytes)")
        check_whole("max_octets", max_octets, 1, "octets")
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
        check_whole("max_octets", max_octets, 1, "octets")
        raw = self.go_raw()
        if raw:
            return self._cut(min(max_octets, len(raw)))
        self._raw_need = 1
        raise self._nothing_raw(1, ends_stream=True)

    def unread(self, octets: bytes) -> None:
        """Put octets back in front of what comes next. After a close nothing comes, and they are dropped."""
        check_type("octets", octets, bytes, bytearray, memoryview, optional=False)
        if self.closing:
            return
        self.go_raw()[:0] = octets
        self._raw_seen = 0

    def _cut(self, size: int) -> bytes:
        assert self._raw is not None
        octets = bytes(memoryview(self._raw)[:size])
        del self._raw[:size]
        self._raw_seen = self._raw_need = 0
        self.deferred_first = False  # The peer has spoken, if not in messages.
        return octets

    def _nothing_raw(self, expected: int | None, *, ends_stream: bool = False) -> Exception:
        why = self.why_nothing()
        if isinstance(why, EndOfFile) and self.unannounced is not None and (self._raw or ends_stream):
            return self._truncated(self.unannounced)
        if isinstance(why, EndOfFile) and self._raw:
            incomplete = IncompleteMessage(len(self._raw), expected, "block of octets")
            incomplete.whom = str(self.name)
            return incomplete
        return why

    def change_framing(self, framing: Framing) -> None:
        """Cut what comes next, undelivered octets first, by another framing."""
        if self.pending:
            self.commit_ahead()
        self.go_raw()
        self.framing = framing
        self.decoder = decoder_of(framing)
        self._gap = framing.gap_timeout
        self.raw_mode = False
