"""Octets instead of messages: the raw family, and octets put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple.errors import ConnectionBusy, EndOfFile, IncompleteMessage, MessageError
from fourtuple.events import Reason
from fourtuple.options import check_type, check_whole
from fourtuple.stream.raw import Raw, check_until
from fourtuple.stream.state import State
from fourtuple.stream.values import NOT_YET, Half, Nothing, Path

_SPECIAL = Path.SPECIAL


class Unframed(State):
    """Delivers octets instead of messages: the octets of undelivered messages first."""

    __slots__ = ()

    # Fields of State that this part writes.
    gap_at: float | None
    message_since: float | None
    messages_in: int
    read_error: Exception | None
    reason: Reason | None

    if TYPE_CHECKING:  # what Inbound does

        def why_over(self) -> Exception | None: ...
        @property
        def _reason_of_eof(self) -> Reason: ...
        def _truncated(self, error: Exception) -> Exception: ...

    def go_raw(self) -> Raw:
        """Undo the decoding of all undelivered messages and hold their octets instead."""
        raw = self._raw
        if raw is not None and raw.asked:
            return raw
        if self._requests:
            raise ConnectionBusy(
                f"{self.name}: {len(self._requests)} requests are outstanding, and their replies must be whole messages"
            )
        if raw is None:
            raw = self._raw = Raw()
            self.path = _SPECIAL
        undelivered = len(self.inbox)
        self.messages_in -= undelivered
        throttle = self.throttle
        if throttle is not None:
            throttle.undelivered(undelivered)
            self.held_back = self._gap_held_back = False  # raw octets wait only for the rate of octets
        raw.put_back(self.decoder.take(undelivered))
        # Emptied in place: a loop over this batch, in Python or in C, then sees its end.
        if self.inbox:
            self.inbox.clear()
        self._finished = False
        if self.read_error is not None and self.read_error is self.unannounced:
            self.read_error = None
        if isinstance(self.read_error, MessageError):
            # The octets were invalid only in a framing that no longer applies.
            self.read_error = None
            if self.reason is Reason.MESSAGE_ERROR:
                self.reason = None if self.reading is Half.OPEN else self._reason_of_eof
        self.message_since = self.gap_at = None
        raw.asked = True
        return raw

    def take_exactly(self, size: int) -> bytes | Nothing:
        """Return exactly ``size`` octets, or NOT_YET while there are fewer.

        Raises :class:`~fourtuple.errors.IncompleteMessage` if the end of file came before (the octets stay), or
        :class:`~fourtuple.errors.EndOfFile` if there are no octets.
        """
        check_whole("size", size, 0, "octets")
        return self._of_raw(self.go_raw().exactly(size), size)

    def take_until(self, separator: bytes, max_octets: int) -> bytes | Nothing:
        """Return the octets up to and including ``separator``, at most ``max_octets``; NOT_YET until it comes.

        Raises :class:`~fourtuple.errors.MessageTooLong` if it is not within the first ``max_octets`` (the octets
        stay). At the end of file it raises as :meth:`take_exactly`.
        """
        check_until(separator, max_octets)
        return self._of_raw(self.go_raw().until(separator, max_octets, str(self.name)), None)

    def take_some(self, max_octets: int) -> bytes | Nothing:
        """Return the octets that are here, at most ``max_octets``; NOT_YET and EndOfFile as the others."""
        check_whole("max_octets", max_octets, 1, "octets")
        return self._of_raw(self.go_raw().some(max_octets), 1, ends_stream=True)

    def unread(self, octets: bytes) -> None:
        """Put octets back in front of the next ones. After a close nothing can be received: they are dropped."""
        check_type("octets", octets, bytes, bytearray, memoryview, optional=False)
        if not self.closing:
            self.go_raw().put_back(octets)

    def _of_raw(self, got: bytes | Nothing, expected: int | None, *, ends_stream: bool = False) -> bytes | Nothing:
        """Return the result of a raw receive; raise if no more octets will come."""
        if got is not NOT_YET:
            self.deferred_first = False  # the peer has spoken, although not in messages
            return got
        why = self._why_too_few(expected, ends_stream)
        if why is not None:
            try:
                raise why.with_traceback(None)
            finally:
                del why  # breaks the reference cycle: exception, traceback, this frame
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
