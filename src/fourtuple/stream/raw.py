"""Octets that are held undecoded and received as octets, not as messages."""

from __future__ import annotations

from typing import Final

from fourtuple.errors import MessageTooLong
from fourtuple.options import check_whole, refuse
from fourtuple.stream.values import NOT_YET, Nothing

#: The number of octets that :meth:`Raw.some` waits for: any octet satisfies it.
_SOME: Final = 1


class Raw:
    """Octets that the decoder has not seen: no messages are wanted, or none may be delivered yet.

    A stream has this object only while it holds such octets, or while its user receives octets.
    """

    __slots__ = ("_searched", "_separator", "asked", "need", "octets")

    def __init__(self, octets: bytes = b"", *, asked: bool = False) -> None:
        self.octets: bytearray = bytearray(octets)
        #: Whether the user receives octets, not messages. Then the end of file makes no message of them.
        self.asked: bool = asked
        #: How many octets a receive waits for; 0 if none waits.
        self.need: int = 0
        self._separator = b""
        #: The separator does not begin before this index: octets are searched only once.
        self._searched = 0

    def put_back(self, octets: bytes | bytearray) -> None:
        """Put octets in front of the others."""
        self.octets[:0] = octets
        self._searched = 0

    def exactly(self, size: int) -> bytes | Nothing:
        """Return exactly ``size`` octets, or NOT_YET."""
        if len(self.octets) >= size:
            return self._cut(size)
        self.need = size
        return NOT_YET

    def until(self, separator: bytes, max_octets: int, whom: str) -> bytes | Nothing:
        """Return the octets up to and including ``separator``, or NOT_YET.

        Raises MessageTooLong if the separator is not within the first ``max_octets``.
        """
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
        """Return the octets that are here, at most ``max_octets``, or NOT_YET."""
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
    """Check the arguments of :meth:`Raw.until`. Raises OptionError."""
    if not isinstance(separator, bytes | bytearray | memoryview) or not separator:
        refuse("separator", separator, "at least one octet (bytes)")
    check_whole("max_octets", max_octets, 1, "octets")
