"""Octets that are no messages: held undecoded, and taken as octets."""

from __future__ import annotations

from typing import Final

from fourtuple.errors import MessageTooLong
from fourtuple.options import check_whole, refuse
from fourtuple.stream.values import NOT_YET, Nothing

#: How much may be waited for before anybody has said what for.
_SOME: Final = 1


class Raw:
    """Octets that the decoder has not seen: nobody has asked for messages, or they may not be delivered yet.

    A stream has this only while it holds such octets, or somebody takes octets from it.
    """

    __slots__ = ("_searched", "_separator", "asked", "need", "octets")

    def __init__(self, octets: bytes = b"", *, asked: bool = False) -> None:
        self.octets = bytearray(octets)
        #: Whether octets are wanted: then the end of file makes no message of them, and no other read is too much.
        self.asked = asked
        #: How many octets somebody waits for.
        self.need = 0
        self._separator = b""
        #: So far the separator was looked for in vain: it begins no sooner than here.
        self._searched = 0

    def put_back(self, octets: bytes | bytearray) -> None:
        """Put octets in front."""
        self.octets[:0] = octets
        self._searched = 0

    def exactly(self, size: int) -> bytes | Nothing:
        """Exactly ``size`` octets."""
        if len(self.octets) >= size:
            return self._cut(size)
        self.need = size
        return NOT_YET

    def until(self, separator: bytes, max_octets: int, whom: str) -> bytes | Nothing:
        """Octets up to and with ``separator``. Raises MessageTooLong when it is not among the first ``max_octets``."""
        octets = self.octets
        if separator != self._separator:
            self._separator, self._searched = separator, 0
        at = octets.find(separator, self._searched, max_octets)
        if at >= 0:
            return self._cut(at + len(separator))
        if len(octets) >= max_octets:
            error = MessageTooLong(len(octets), max_octets, f"text without {separator!r}", announced=False)
            error.whom = whom
            raise error
        self._searched = max(0, len(octets) - len(separator) + 1)
        self.need = max_octets
        return NOT_YET

    def some(self, max_octets: int) -> bytes | Nothing:
        """Whatever is there, at most ``max_octets``."""
        if self.octets:
            return self._cut(min(max_octets, len(self.octets)))
        self.need = _SOME
        return NOT_YET

    def _cut(self, size: int) -> bytes:
        octets = bytes(memoryview(self.octets)[:size])
        del self.octets[:size]
        self._searched = self.need = 0
        return octets


def check_until(separator: bytes, max_octets: int) -> None:
    """Refuse what nothing could be received up to. Raises OptionError."""
    if not isinstance(separator, bytes | bytearray | memoryview) or not separator:
        refuse("separator", separator, "at least one octet (bytes)")
    check_whole("max_octets", max_octets, 1, "octets")
