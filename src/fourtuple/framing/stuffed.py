"""Messages between flags, stuffed so that they contain no flag: ``slip``, ``cobs``, ``hdlc``.

::

    slip   c0  a b db dc c  c0         db dc is c0 in the message, db dd is db
    cobs   03 61 62 02 63 00           each 00 is replaced by the distance to the next one
    hdlc   7e  a b 7d 5e c  7e         7d 5e is 7e in the message, 7d 5d is 7d
"""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from fourtuple.errors import EncodeError, MalformedMessage, MessageTooLong
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_choice, check_size, octets_of
from fourtuple.framing.checksums import fcs16, fcs32
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import DEFAULT_MAX_MESSAGE


@dataclass(frozen=True)
class Stuffed(Framing[bytes, Octets]):
    """The common part of the stuffed framings.

    Octets between two flags that cannot be unstuffed become an :class:`~fourtuple.framing.Unmapped`; decoding continues
    at the next flag. Two flags in a row are an idle line, not a message.
    """

    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    flag: ClassVar[bytes]

    def __post_init__(self) -> None:
        check_bounds(self)

    def _overhead(self) -> int:
        bound = self._max_stuffed()
        assert bound is not None
        assert self.max_message is not None
        return bound + 1 - self.max_message

    @property
    def drops_between(self) -> bool:
        return True

    def decoder(self) -> BufferedDecoder[bytes | Unmapped]:
        return _StuffedDecoder(self)

    @property
    def _starts_with_flag(self) -> bool:
        """Whether octets before the first flag of the stream are no message."""
        return False

    def _max_stuffed(self) -> int | None:
        """The most octets between two flags for a message of ``max_message`` octets; ``None`` means no bound.

        Here: every octet may be escaped.
        """
        return None if self.max_message is None else 2 * self.max_message

    def _octets_in(self, message: Octets) -> bytes:
        """The octets of a message to send. Raises EncodeError for a message that two flags in a row would be."""
        octets = octets_of(self, message)
        check_size(self, len(octets))
        if not octets:
            raise EncodeError(f"{self}: a message of 0 octets would be an idle line")
        return octets

    @abstractmethod
    def _unstuff(self, octets: bytes) -> bytes | None:
        """The message, or ``None`` if its sender aborted it. Raises MalformedMessage if it cannot be unstuffed."""


class _StuffedDecoder(BufferedDecoder):
    __slots__ = ("_flag", "_max", "_most", "_noise", "_noise_at_base", "_seen", "_unstuff")

    def __init__(self, framing: Stuffed) -> None:
        self._flag = framing.flag
        self._max = framing.max_message
        self._most = framing._max_stuffed()
        self._unstuff = framing._unstuff
        #: Whether no flag has come yet, so that what comes is noise; and whether that was so at ``_base``.
        self._noise = self._noise_at_base = framing._starts_with_flag
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        #: The number of octets after ``_start`` in which there is no flag.
        self._seen = 0

    def _seed(self, other: BufferedDecoder) -> None:
        assert isinstance(other, _StuffedDecoder)
        other._noise = self._noise_at_base

    def _inherit(self, other: BufferedDecoder) -> None:
        assert isinstance(other, _StuffedDecoder)
        self._noise = other._noise

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        self._noise_at_base = self._noise
        if self._noise and not self._skip_noise():
            return messages
        while limit is None or len(messages) < limit:
            at = self._buffer.find(self._flag, self._start + self._seen)
            size = (at if at >= 0 else len(self._buffer)) - self._start
            if self._most is not None and size > self._most:
                self._error = self._too_long()
                break
            if at < 0:
                self._seen = size
                break
            if size and not self._take_one(bytes(self._buffer[self._start : at]), messages):
                break
            self._start, self._seen = at + 1, 0
        self._need = self._seen + 1
        return messages

    def _skip_noise(self) -> bool:
        """Skip to the first flag of the stream; False if it has not come yet."""
        at = self._buffer.find(self._flag, self._start)
        self._noise = at < 0
        end = at if at >= 0 else len(self._buffer)
        self.skipped += end - self._start
        self._start = end
        self._need = 1
        return not self._noise

    def _take_one(self, octets: bytes, messages: list[Any]) -> bool:
        try:
            message = self._unstuff(octets)
        except MalformedMessage as error:
            messages.append(Unmapped(octets, error))
            return True
        if message is None:
            self.skipped += len(octets)
        elif self._max is not None and len(message) > self._max:
            self._error = self._too_long()
            return False
        else:
            messages.append(message)
        return True

    def _too_long(self) -> MessageTooLong:
        assert self._max is not None
        return MessageTooLong(self._max + 1, self._max, announced=False)


@dataclass(frozen=True)
class Slip(Stuffed):
    """RFC 1055: END (0xc0) after a message, and before it to flush line noise.

    ``lead=False`` does not write the END before a message; both forms are read. A message has at least one octet: two
    ENDs in a row are an idle line, and the encoder raises :class:`~fourtuple.errors.EncodeError` for an empty message.
    A message with an ESC (0xdb) before an octet other than 0xdc and 0xdd becomes an
    :class:`~fourtuple.framing.Unmapped`. More than ``max_message`` octets raise
    :class:`~fourtuple.errors.MessageTooLong`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    lead: bool = True

    word: ClassVar[str] = "slip"
    flag: ClassVar[bytes] = b"\xc0"

    def encode(self, message: Octets) -> bytes:
        octets = self._octets_in(message)
        stuffed = octets.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        return (b"\xc0" if self.lead else b"") + stuffed + b"\xc0"

    def _unstuff(self, octets: bytes) -> bytes:
        escapes = octets.count(b"\xdb")
        if not escapes:
            return octets
        if octets.count(b"\xdb\xdc") + octets.count(b"\xdb\xdd") != escapes:
            raise MalformedMessage("ESC (0xdb) is followed by something other than 0xdc or 0xdd")
        return octets.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")


@dataclass(frozen=True)
class Cobs(Stuffed):
    """Consistent overhead byte stuffing: a zero octet ends a message, and an encoded message contains no other zero.

    Source: Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7(2),
    1999. The overhead is one octet, plus one for each 254 octets. A message with a code that points past its end
    becomes an :class:`~fourtuple.framing.Unmapped`. With ``reduced`` (COBS/R), such a code is the last octet of the
    message, which often saves the octet of overhead. More than ``max_message`` octets raise
    :class:`~fourtuple.errors.MessageTooLong`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    reduced: bool = False

    word: ClassVar[str] = "cobs"
    flag: ClassVar[bytes] = b"\0"

    def _max_stuffed(self) -> int | None:
        return None if self.max_message is None else self.max_message + self.max_message // 254 + 1

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        blocks = []
        for run in octets.split(b"\0"):
            # No zero follows a full block of 254 octets; a run that ends with a full block needs one more block.
            full, left = divmod(len(run), 254)
            blocks += [b"\xff" + run[at * 254 : at * 254 + 254] for at in range(full)]
            blocks.append(bytes((left + 1,)) + run[full * 254 :])
        if len(blocks) > 1 and blocks[-1] == b"\1" and len(blocks[-2]) == 255:
            # Nothing follows the last full block, not even a zero.
            blocks.pop()
        last = blocks[-1]
        if self.reduced and len(last) > 1 and last[-1] >= last[0]:
            blocks[-1] = last[-1:] + last[1:-1]
        return b"".join(blocks) + b"\0"

    def _unstuff(self, octets: bytes) -> bytes:
        parts: list[bytes] = []
        at, size = 0, len(octets)
        while at < size:
            code = octets[at]
            if at + code > size and self.reduced:
                parts += (octets[at + 1 :], octets[at : at + 1])
                break
            if at + code > size:
                raise MalformedMessage(f"the code {code} at octet {at} points beyond the end at {size}")
            parts.append(octets[at + 1 : at + code])
            at += code
            if code < 255 and at < size:
                parts.append(b"\0")
        return b"".join(parts)


@dataclass(frozen=True)
class Hdlc(Stuffed):
    """Octet-stuffed HDLC (RFC 1662): flag 0x7e, control escape 0x7d, and optionally a frame check sequence.

    ``fcs`` is ``"none"``, ``"16"`` or ``"32"`` (RFC 1662, appendix C; least significant octet first). A message with a
    wrong one becomes an :class:`~fourtuple.framing.Unmapped`. ``escapes`` is ``"xor"`` (0x7d, then the octet
    exclusive-or 0x20) or ``"jt808"`` (0x7d 0x02 and 0x7d 0x01: the vehicle terminals of JT/T 808).

    Octets before the first flag of the stream are noise: they are skipped and counted. A flag after an escape aborts
    the message, which is also skipped and counted. More than ``max_message`` octets raise
    :class:`~fourtuple.errors.MessageTooLong`. An empty message without fcs would be an idle line: the encoder raises
    :class:`~fourtuple.errors.EncodeError` for it.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    fcs: Literal["none", "16", "32"] = "none"
    escapes: Literal["xor", "jt808"] = "xor"

    word: ClassVar[str] = "hdlc"
    argument: ClassVar[str | None] = "fcs"
    flag: ClassVar[bytes] = b"\x7e"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "fcs", ("none", "16", "32"))
        check_choice(self, "escapes", ("xor", "jt808"))

    @property
    def _starts_with_flag(self) -> bool:
        return True

    @property
    def _tail(self) -> int:
        return {"none": 0, "16": 2, "32": 4}[self.fcs]

    def _max_stuffed(self) -> int | None:
        return None if self.max_message is None else 2 * (self.max_message + self._tail)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        octets += self._check(octets)
        if not octets:
            raise EncodeError(f"{self}: a message of 0 octets would be an idle line")
        escaped_7d, escaped_7e = (b"\x7d\x5d", b"\x7d\x5e") if self.escapes == "xor" else (b"\x7d\1", b"\x7d\2")
        return b"\x7e" + octets.replace(b"\x7d", escaped_7d).replace(b"\x7e", escaped_7e) + b"\x7e"

    def _check(self, octets: bytes) -> bytes:
        if self.fcs == "none":
            return b""
        return fcs16(octets) if self.fcs == "16" else fcs32(octets)

    def _unstuff(self, octets: bytes) -> bytes | None:
        if octets.endswith(b"\x7d"):
            return None
        octets = _ESCAPED.sub(_xor if self.escapes == "xor" else _jt808, octets)
        if not self._tail:
            return octets
        message, found = octets[: -self._tail], octets[-self._tail :]
        if len(octets) < self._tail or found != self._check(message):
            raise MalformedMessage(f"the check sequence is {found.hex()}, {self._check(message).hex()} is right")
        return message


_ESCAPED = re.compile(rb"\x7d(.)", re.DOTALL)


def _xor(match: re.Match[bytes]) -> bytes:
    return bytes((match[1][0] ^ 0x20,))


def _jt808(match: re.Match[bytes]) -> bytes:
    if match[1] not in (b"\1", b"\2"):
        raise MalformedMessage(f"0x7d is followed by {match[1]!r}, only 0x01 and 0x02 are escaped")
    return b"\x7d" if match[1] == b"\1" else b"\x7e"
