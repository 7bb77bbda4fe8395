"""Length headers as devices have them: a short lead, a mask, digits, a checksum and a trailer, and a way back in.

::

    |<--- offset --->|<- width ->|
    +------+---------+-----------+----------+----------+---------+----
    | lead | any     | length    | body     | checksum | trailer | ...
    +------+---------+-----------+----------+----------+---------+----
"""

from __future__ import annotations

from typing import Any

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageError, MessageTooLong
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checksums import Checksum
from fourtuple.framing.marked import marker_at
from fourtuple.framing.unmapped import Unmapped


class DeviceLengthDecoder(BufferedDecoder):
    """Reads one header after the other. With ``resync``, a bad one is looked past for the next lead."""

    __slots__ = ("_checksum", "_head", "_lead", "_least", "_max", "_number", "_plus", "_resync", "_skip", "_trailer")

    skipped: int

    def __init__(self, framing: Any, checksum: Checksum | None) -> None:
        self._checksum = checksum
        self._head = framing._head
        self._lead = framing.lead
        self._max = framing.max_message
        self._number = framing._number
        self._plus = framing._plus
        self._resync = framing.resync
        self._skip = framing._skip
        self._trailer = framing.trailer
        #: The fewest octets that a whole frame may have.
        self._least = max(self._head, self._skip) + framing._tail
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._need = self._head if not self._resync else 1

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        while limit is None or len(messages) < limit:
            if self._resync and not self._at_lead():
                break
            start = self._start
            if start + self._head > len(self._buffer):
                self._need = self._head
                break
            try:
                size = self._size(bytes(self._buffer[start : start + self._head]))
            except MessageError as error:
                if not self._resync:
                    self._error = error
                    break
                messages.append(Unmapped(bytes(self._buffer[start : start + self._head]), error))
                self._start += len(self._lead)
                continue
            if start + size > len(self._buffer):
                self._need = size
                break
            message = self._message(bytes(self._buffer[start : start + size]))
            if message is None:
                break
            messages.append(message)
            self._start += size
        else:
            self._need = 1
        return messages

    def _at_lead(self) -> bool:
        """Move to the next lead; False while it is incomplete."""
        at = marker_at(self._buffer, self._start, self._lead)
        self.skipped += at - self._start
        self._start = at
        held = len(self._buffer) - at
        if held >= len(self._lead):
            return True
        self._need = held + 1
        return False

    def _size(self, head: bytes) -> int:
        """The number of octets of the frame with this header. Raises MessageError for a header that is wrong."""
        if not head.startswith(self._lead):
            found = head[: len(self._lead)]
            raise MalformedMessage(f"message begins with {found!r}, {self._lead!r} was expected")
        size: int = self._number(head) + self._plus
        if size < self._least:
            raise MalformedMessage(f"message announces {size} octets in all, its frame alone has {self._least}")
        body = size - self._least + max(self._head, self._skip) - self._skip
        if self._max is not None and body > self._max:
            raise MessageTooLong(body, self._max)
        return size

    def _message(self, frame: bytes) -> bytes | Unmapped | None:
        """The message in a frame; an Unmapped for a wrong checksum; None after an error."""
        end = len(frame) - len(self._trailer)
        checksum = self._checksum
        if frame[end:] != self._trailer:
            error = MalformedMessage(f"message ends with {frame[end:]!r}, {self._trailer!r} was expected")
            if self._resync:
                return Unmapped(frame, error)
            self._error = error
            return None
        if checksum is None:
            return frame[self._skip : end]
        body = end - checksum.size
        try:
            checksum.check(frame[:body], frame[body:end])
        except MalformedMessage as error:
            return Unmapped(frame, error)
        return frame[self._skip : body]

    def _incomplete(self) -> MessageError:
        return IncompleteMessage(self.buffered, max(self._need, self._head))
