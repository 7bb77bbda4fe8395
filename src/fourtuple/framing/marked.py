r"""Messages between markers: ``mllp``, ``stx-etx``, and for other markers ``marked:\x02,end=\x03,checksum=lrc``.

::

    +-----------+-------+---------+-----+------------+-----------+----
    | (garbage) | start | octets  | end | (checksum) | (garbage) | ...
    +-----------+-------+---------+-----+------------+-----------+----
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Any, ClassVar, Literal

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_choice, check_marker, check_outside, check_size, octets_of
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import DEFAULT_MAX_MESSAGE

Checksum = Literal["none", "xor", "xor-hex", "lrc", "sum", "sum-hex"]

#: The number of octets of each checksum, and the function that makes it of a message and its end marker.
CHECKSUMS: dict[str, tuple[int, Callable[[bytes, bytes], bytes]]] = {
    "none": (0, lambda message, end: b""),
    "xor": (1, lambda message, end: bytes((reduce(xor, message, 0),))),
    "xor-hex": (2, lambda message, end: b"%02X" % reduce(xor, message, 0)),
    "lrc": (1, lambda message, end: bytes((reduce(xor, message + end, 0),))),
    "sum": (1, lambda message, end: bytes((sum(message) & 255,))),
    "sum-hex": (2, lambda message, end: b"%02X" % (sum(message) & 255)),
}


@dataclass(frozen=True)
class Marked(Framing[bytes, Octets]):
    """A message stands between a ``start`` and an ``end`` marker; a ``checksum`` may follow.

    The checksum is one octet or two hexadecimal digits. ``xor`` and ``sum`` are made of the message, ``lrc`` is the
    exclusive or of message and end marker. With a wrong checksum, an :class:`~fourtuple.framing.Unmapped` takes the
    message's place; decoding continues at the next start marker.

    With ``skip_garbage``, octets before a start marker are skipped and counted (``decoder.skipped``). Without it,
    they raise :class:`~fourtuple.errors.MalformedMessage`. More than ``max_message`` octets without an end
    marker raise :class:`~fourtuple.errors.MessageTooLong`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    start: bytes
    end: bytes
    checksum: Checksum = "none"
    skip_garbage: bool = True
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "marked"
    argument: ClassVar[str | None] = "start"

    def __post_init__(self) -> None:
        check_marker(self, "start", self.start)
        check_marker(self, "end", self.end)
        if self.start == self.end:
            raise OptionError(f"marked: start and end are both {self.start!r}: an end could be a start; see hdlc")
        check_choice(self, "checksum", CHECKSUMS)
        check_bounds(self)

    def _overhead(self) -> int:
        return len(self.start) + len(self.end) + CHECKSUMS[self.checksum][0]

    def decoder(self) -> BufferedDecoder[bytes | Unmapped]:
        return _MarkedDecoder(self, self)

    def encode(self, message: Octets) -> bytes:
        return _encode(self, self, message)


@dataclass(frozen=True)
class Mllp(Framing[bytes, Octets]):
    """HL7's minimal lower layer: VT (0x0b), the message, FS CR (0x1c 0x0d).

    Source: HL7 Implementation Support Guide, appendix C, in the form given by IHE ITI TF-2 C.2 and the transport
    specification "MLLP, Release 1". Options and errors are those of :class:`Marked`. A message must not have a VT or FS
    inside: one that has becomes an :class:`~fourtuple.framing.Unmapped`, and the encoder raises
    :class:`~fourtuple.errors.EncodeError`.

    ``skip_garbage``, ``max_message`` and ``max_sent`` mean the same there.
    """

    skip_garbage: bool = True
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "mllp"

    def __post_init__(self) -> None:
        check_bounds(self)

    def _marked(self) -> Marked:
        return Marked(b"\x0b", b"\x1c\r", "none", self.skip_garbage, self.max_message)

    def _overhead(self) -> int:
        return 3

    def decoder(self) -> BufferedDecoder[bytes | Unmapped]:
        return _MarkedDecoder(self, self._marked(), b"\x0b\x1c")

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        for marker in (b"\x0b", b"\x1c"):
            check_outside(self, octets, marker, "a VT or FS")
        return _encode(self, self._marked(), octets)


@dataclass(frozen=True)
class StxEtx(Framing[bytes, Octets]):
    """STX (0x02), the message, ETX (0x03), and optionally a checksum: scales, scanners, laboratory instruments.

    Options and errors are those of :class:`Marked`.

    ``checksum``, ``skip_garbage``, ``max_message`` and ``max_sent`` mean the same there.
    """

    checksum: Checksum = "none"
    skip_garbage: bool = True
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "stx-etx"
    argument: ClassVar[str | None] = "checksum"

    def __post_init__(self) -> None:
        check_choice(self, "checksum", CHECKSUMS)
        check_bounds(self)

    def _marked(self) -> Marked:
        return Marked(b"\x02", b"\x03", self.checksum, self.skip_garbage, self.max_message)

    def _overhead(self) -> int:
        return 4

    def decoder(self) -> BufferedDecoder[bytes | Unmapped]:
        return _MarkedDecoder(self, self._marked())

    def encode(self, message: Octets) -> bytes:
        return _encode(self, self._marked(), message)


def _encode(framing: Framing, marked: Marked, message: Octets) -> bytes:
    octets = octets_of(framing, message)
    check_size(framing, len(octets))
    check_outside(framing, octets, marked.end, "the end marker")
    _, made = CHECKSUMS[marked.checksum]
    return marked.start + octets + marked.end + made(octets, marked.end)


def marker_at(buffer: bytes | bytearray, at: int, marker: bytes) -> int:
    """Where ``marker`` begins at or after ``at``; else where the last octets may begin it; else the buffer's end."""
    found = buffer.find(marker, at)
    if found >= 0:
        return found
    for size in range(min(len(marker) - 1, len(buffer) - at), 0, -1):
        if buffer.endswith(marker[:size]):
            return len(buffer) - size
    return len(buffer)


class _MarkedDecoder(BufferedDecoder):
    __slots__ = ("_forbidden", "_made", "_marked", "_seen", "_tail")

    def __init__(self, framing: Framing, marked: Marked, forbidden: bytes = b"") -> None:
        self._marked = marked
        #: The octets that a message must not have inside.
        self._forbidden = forbidden
        self._tail, self._made = CHECKSUMS[marked.checksum]
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        #: The number of octets of the unfinished message in which no end marker begins.
        self._seen = 0

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        self._need = 1
        while (limit is None or len(messages) < limit) and self._at_start():
            body = self._start + len(self._marked.start)
            at = self._end(body)
            if at < 0:
                break
            after = at + len(self._marked.end) + self._tail
            if after > len(self._buffer):
                self._need = after - self._start
                break
            messages.append(self._checked(body, at, after))
            self._start, self._seen = after, 0
        return messages

    def _at_start(self) -> bool:
        """Move to the next start marker. Return ``False`` while it is incomplete, or for garbage that is an error."""
        marker, start = self._marked.start, self._start
        at = start if self._buffer.startswith(marker, start) else marker_at(self._buffer, start, marker)
        if at > start:
            if not self._marked.skip_garbage:
                found = bytes(self._buffer[start : start + len(marker)])
                self._error = MalformedMessage(f"message begins with {found[:1]!r}, {marker!r} was expected")
                return False
            self.skipped += at - start
            self._start = at
        if len(self._buffer) - at >= len(marker):
            return True
        self._need = len(self._buffer) - at + 1
        return False

    def _end(self, body: int) -> int:
        """Where the end marker begins; -1 while there is no end marker, or for a message that is too long."""
        marker, limit = self._marked.end, self._marked.max_message
        at = self._buffer.find(marker, body + self._seen)
        size = (at if at >= 0 else len(self._buffer) - len(marker) + 1) - body
        if limit is not None and size > limit:
            self._error = MessageTooLong(limit + 1, limit, announced=False)
            return -1
        self._seen = max(0, size)
        if at < 0:
            self._need = len(self._buffer) - self._start + 1
        return at

    def _checked(self, body: int, at: int, after: int) -> Any:
        octets = self._buffer[body:at]
        for each in self._forbidden:
            if each in octets:
                error = MalformedMessage(f"the message has {bytes((each,))!r} inside")
                return Unmapped(bytes(octets), error)
        if not self._tail:
            return octets
        found = bytes(self._buffer[after - self._tail : after])
        right = self._made(bytes(octets), self._marked.end)
        if found.upper() != right if self._tail > 1 else found != right:
            return Unmapped(bytes(octets), MalformedMessage(f"the checksum is {found!r}, {right!r} is right"))
        return octets

    def _incomplete(self) -> MessageError:
        ended = self._buffer.find(self._marked.end, self._start + len(self._marked.start) + self._seen) >= 0
        return IncompleteMessage(self.buffered, self._need if ended else None)
