"""Messages after a length of variable width: ``varint`` (protobuf, LEB128), ``varint:4,offset=1,keep=on`` (MQTT).

Each octet has seven bits, the least significant first; its highest bit says that another octet follows::

    +---------+----------+----------+----------------+----
    | offset  | 1xxxxxxx | 0xxxxxxx | length octets  | ...
    +---------+----------+----------+----------------+----
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_size, octets_of, whole
from fourtuple.options import DEFAULT_MAX_MESSAGE, seen


@dataclass(frozen=True)
class Varint(Framing[bytes, Octets]):
    """A length in at most ``width`` octets of seven bits, then that many octets.

    ``offset`` octets stand before the length, which does not count them (MQTT's first octet). With ``keep``, they
    and the length are part of the message. ``max_message`` bounds the announced length; it never counts the octets
    up to the end of the length.

    A length of more than ``width`` octets raises :class:`~fourtuple.errors.MalformedMessage`. An announced length above
    ``max_message`` raises :class:`~fourtuple.errors.MessageTooLong`. A length in more octets than it needs is accepted,
    as in protobuf's own parsers; the encoder writes the shortest form.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    width: int = 10
    offset: int = 0
    keep: bool = False
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "varint"
    argument: ClassVar[str | None] = "width"

    def __post_init__(self) -> None:
        if not whole(self.width, 1, 10):
            raise OptionError(f"varint: the width is {seen(self.width)} octets, it must be 1 to 10")
        if not whole(self.offset, 0, 1 << 16):
            raise OptionError(f"varint: the offset is {seen(self.offset)} octets, it must be 0 to {1 << 16}")
        if self.offset and not self.keep:
            raise OptionError(f"varint: {self.offset} octets before the length would be lost; turn keep on")
        check_bounds(self, 128**self.width - 1)

    def _overhead(self) -> int:
        return self.offset + self.width

    def decoder(self) -> BufferedDecoder[bytes]:
        return _VarintDecoder(self)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        if self.keep:
            return self._encode_whole(octets)
        check_size(self, len(octets))
        field = varint(len(octets))
        if len(field) > self.width:
            raise EncodeError(
                f"{self}: the message has {len(octets)} octets, {self.width} count to {128**self.width - 1}"
            )
        return field + octets

    def _encode_whole(self, octets: bytes) -> bytes:
        """Encode a message that contains its length, which must be right."""
        decoder = replace(self, max_message=None).decoder()
        messages: list[Any] = []
        try:
            messages = decoder.feed(octets, 1)
        except MessageError as error:
            raise EncodeError(f"{self}: the message holds a wrong length: {error}") from error
        if messages != [octets]:
            raise EncodeError(f"{self}: the message has {len(octets)} octets, its length says otherwise")
        check_size(self, len(octets) - self.offset - _width(octets[self.offset :]))
        return octets


def _width(octets: bytes) -> int:
    """The number of octets of the length at the beginning of ``octets``."""
    return next(number for number, octet in enumerate(octets, 1) if octet < 128)


def varint(number: int) -> bytes:
    """The shortest form of a number: seven bits in each octet, the least significant first."""
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)


class _VarintDecoder(BufferedDecoder):
    __slots__ = ("_keep", "_max", "_offset", "_width")

    def __init__(self, framing: Varint) -> None:
        self._keep = framing.keep
        self._max = framing.max_message
        self._offset = framing.offset
        self._width = framing.width
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._need = self._offset + 1

    def _split(self, limit: int | None) -> list[Any]:
        buffer, start, held = self._buffer, self._start, len(self._buffer)
        messages: list[Any] = []
        need = self._offset + 1
        for _ in range(held if limit is None else min(limit, held)):
            at = start + self._offset
            if at >= held:
                break
            # The length nearly always has one octet or two.
            size = buffer[at]
            at += 1
            if size > 127:
                size, at = self._longer(start)
                if at < 0:
                    need = held - start + 1
                    break
            if self._max is not None and size > self._max:
                self._error = self._error or MessageTooLong(size, self._max)
                break
            if self._error is not None:
                break
            end = at + size
            if end > held:
                need = end - start
                break
            messages.append(buffer[start if self._keep else at : end])
            start = end
        self._start = start
        self._need = need
        return messages

    def _longer(self, start: int) -> tuple[int, int]:
        """The length and the position after it; the position is -1 while the length is unfinished."""
        begin = start + self._offset
        octets = self._buffer[begin : begin + self._width]
        size = 0
        for number, octet in enumerate(octets):
            size |= (octet & 127) << 7 * number
            if octet < 128:
                if size >> 64:
                    self._error = MalformedMessage(
                        f"the length has {size.bit_length()} bits, no more than 64 are allowed"
                    )
                return size, begin + number + 1
        if len(octets) == self._width:
            self._error = MalformedMessage(f"the length does not end within {self._width} octets")
            return 0, begin + self._width
        return 0, -1

    def _incomplete(self) -> MessageError:
        # While the length is unfinished, neither its width nor the size of the message is known.
        held = self.buffered - self._offset
        known = held > 0 and any(octet < 128 for octet in self._buffer[self._start + self._offset :][: self._width])
        return IncompleteMessage(self.buffered, self._need if known else None)
