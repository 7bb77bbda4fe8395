"""Lines of text: ``line``, ``line:lf``, ``line:crlf``.

::

    +-----------+----+-----------+---------+----
    | octets    | \\n | octets    | \\r \\n   | ...
    +-----------+----+-----------+---------+----
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fourtuple.errors import EncodeError, MessageTooLong, OptionError
from fourtuple.framing.base import BufferedDecoder, Framing, check_max_message, check_size, octets_of
from fourtuple.options import DEFAULT_MAX_MESSAGE


@dataclass(frozen=True)
class Line(Framing):
    """A message ends with a line ending, which is not part of it.

    ``ending`` is ``"any"`` (LF, and a CR before it is stripped, too: what people type and devices send; LF is
    written), ``"lf"`` (a CR belongs to the message) or ``"crlf"`` (a lone LF belongs to the message: what
    protocols need that must not be smuggled through, RFC 5321, 2.3.8). ``max_message`` counts the octets
    without the ending.
    """

    ending: Literal["any", "lf", "crlf"] = "any"
    max_message: int | None = DEFAULT_MAX_MESSAGE

    word: ClassVar[str] = "line"
    overhead: ClassVar[int] = 2
    argument: ClassVar[str | None] = "ending"

    def __post_init__(self) -> None:
        if self.ending not in ("any", "lf", "crlf"):
            raise OptionError(f"line: the ending is {self.ending!r}, it must be 'any', 'lf' or 'crlf'")
        check_max_message(self)

    def decoder(self) -> BufferedDecoder:
        return _LineDecoder(self)

    def encode(self, message: Any) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        line = bytes(octets)
        forbidden = b"\r\n" if self.ending == "crlf" else b"\n"
        at = line.find(forbidden)
        if at >= 0:
            raise EncodeError(
                f"{self}: the message has a line ending inside, at octet {at}; the peer would see two"
            )
        if self.ending == "any" and line.endswith(b"\r"):
            raise EncodeError(f"{self}: the message ends with a CR, which the peer would strip; use line:lf")
        return line + (b"\r\n" if self.ending == "crlf" else b"\n")

    def encode_many(self, messages: Iterable[Any]) -> bytes:
        return b"".join([self.encode(message) for message in messages])


class _LineDecoder(BufferedDecoder):
    __slots__ = ("_delimiter", "_max", "_seen", "_strip_cr")

    def __init__(self, framing: Line) -> None:
        self._delimiter = b"\r\n" if framing.ending == "crlf" else b"\n"
        self._strip_cr = framing.ending == "any"
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        #: Octets from ``_start`` on in which no delimiter begins.
        self._seen = 0

    def _split(self, limit: int | None) -> list[Any]:
        buffer, start, delimiter = self._buffer, self._start, self._delimiter
        messages: list[Any] = []
        while limit is None or len(messages) < limit:
            at = buffer.find(delimiter, start + self._seen)
            end = at if at >= 0 else len(buffer)
            if self._max is not None and end - start > self._max and self._too_long(start, end, at >= 0):
                break
            if at < 0:
                # The first octets of a longer delimiter may be at the end already.
                self._seen = max(0, len(buffer) - start - len(delimiter) + 1)
                break
            if self._strip_cr and at > start and buffer[at - 1] == 13:
                end -= 1
            messages.append(buffer[start:end])
            start = at + len(delimiter)
            self._seen = 0
        self._start = start
        self._need = self._seen + len(delimiter)
        return messages

    def _too_long(self, start: int, end: int, whole: bool) -> bool:
        """Whether the line is too long; an octet that may turn out to be part of the ending does not count."""
        assert self._max is not None
        if self._strip_cr or not whole:
            end -= self._buffer[end - 1] == 13
        if end - start <= self._max:
            return False
        # The same number whether the line came whole or in pieces.
        self._error = MessageTooLong(self._max + 1, self._max, "line", announced=False)
        return True
