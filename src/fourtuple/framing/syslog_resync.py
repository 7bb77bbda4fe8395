"""The decoder of ``syslog,resync=on``: what is too long or begins with no count is skipped, not the stream's end."""

from __future__ import annotations

import re
from typing import Any

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageError, MessageTooLong
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import MOST_DIGITS
from fourtuple.framing.delimited import DelimiterDecoder
from fourtuple.framing.lending import Swallowing
from fourtuple.framing.notation import excerpt
from fourtuple.framing.unmapped import Unmapped

_DIGITS = re.compile(b"[1-9][0-9]{0,%d}" % MOST_DIGITS)


class ResyncingSyslog(DelimiterDecoder):
    """Both methods of RFC 6587, as :class:`~fourtuple.framing.decimal.Syslog` distinguishes them.

    A counted message that is too long is skipped by its count, a trailed one up to its trailer. Digits without the
    space that ends a count begin a trailed message, as rsyslog also reads it.
    """

    __slots__ = ("_count", "_left", "_no_count", "_swallowing")

    skipped: int

    def __init__(self, framing: Any, trailers: tuple[bytes, ...], drops: bytes) -> None:
        self._swallowing = Swallowing(drops)
        #: How many octets of a counted message that was too long are still to be skipped.
        self._left = 0
        super().__init__(framing, trailers)

    def _reset(self) -> None:
        super()._reset()
        #: The count of the message that is awaited, if it is known.
        self._count: int | None = None
        #: Why the current message, which begins with a digit, is not a counted one.
        self._no_count: MessageError | None = None

    def _inherit(self, other: BufferedDecoder) -> None:
        super()._inherit(other)
        assert isinstance(other, ResyncingSyslog)
        self._left = other._left

    def _is_plain(self, limit: int | None) -> bool:
        return False

    def finish(self) -> list[Any]:
        self._left = 0  # the message that was too long is already reported: its end adds nothing
        return super().finish()

    def _incomplete(self) -> MessageError:
        expected = self._need if self._count is not None else None
        return IncompleteMessage(self.buffered, expected)

    def _split_one(self, messages: list[Any]) -> bool:
        if self._left:
            return self._skip_counted(messages)
        if self._discarding:
            return super()._split_one(messages)
        if not self._seen:
            self._start = self._swallowing.after(self._buffer, self._start)
        if self._no_count is None:
            digits = _DIGITS.match(self._buffer, self._start)
            if digits is not None:
                return self._counted(digits, messages)
        before = len(messages)
        more = super()._split_one(messages)
        if len(messages) > before:
            self._explain(messages)
        return more

    def _counted(self, digits: re.Match[bytes], messages: list[Any]) -> bool:
        """Cut a counted message. Return ``False`` if more octets are needed."""
        buffer, start, body = self._buffer, self._start, digits.end() + 1
        size, count = digits.end() - start, int(digits[0])
        if body > len(buffer) and size <= MOST_DIGITS:
            self._seen = size
            return False
        if size > MOST_DIGITS or buffer[body - 1] != 0x20:
            # Of too many digits, those that were read: how many more have come depends on the reads.
            found = bytes(buffer[start : start + size + (size <= MOST_DIGITS)])
            self._no_count = MalformedMessage(f"a length and b' ' were expected, the octets are {excerpt(found)}")
            self._seen = 0
            return True
        kept = count if self._max is None else min(count, self._max)
        if body + kept > len(buffer):
            self._seen, self._count = body + kept - start - 1, count
            return False
        message: Any = bytes(buffer[body : body + kept])
        if kept < count:
            assert self._max is not None
            message = Unmapped(message, MessageTooLong(count, self._max))
        messages.append(message)
        self._start, self._seen, self._count, self._left = body + kept, 0, None, count - kept
        return True

    def _skip_counted(self, messages: list[Any]) -> bool:
        """Skip what is left of a counted message that was too long."""
        skipped = min(self._left, len(self._buffer) - self._start)
        self._start += skipped
        self._left -= skipped
        self.skipped += skipped
        if not messages:
            self._base = self._start  # the skipped octets belong to no message of this batch
        return not self._left

    def _explain(self, messages: list[Any]) -> None:
        """Say why a message that begins with a digit is not a counted one."""
        if self._no_count is not None and not isinstance(messages[-1], Unmapped):
            messages[-1] = Unmapped(bytes(messages[-1]), self._no_count)
        self._no_count = None
