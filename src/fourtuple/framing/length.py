"""Messages behind a binary length: ``u8``, ``u16``, ``u32``, ``u64``, and ``...le`` for little-endian.

::

    +--------+----------------+--------+----
    | length | length octets  | length | ...
    +--------+----------------+--------+----
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fourtuple.errors import EncodeError, IncompleteMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.base import BufferedDecoder, Framing, check_max_message, check_size, octets_of
from fourtuple.options import DEFAULT_MAX_MESSAGE


@dataclass(frozen=True)
class Length(Framing):
    """A length of ``width`` octets, then that many octets of message.

    ``max_message`` is checked on the announced length, before memory is taken; announcing more is
    :class:`~fourtuple.errors.MessageTooLong`.
    """

    width: int = 4
    byteorder: Literal["big", "little"] = "big"
    max_message: int | None = DEFAULT_MAX_MESSAGE

    word: ClassVar[str] = "length"
    argument: ClassVar[str | None] = "width"
    overhead: ClassVar[int] = 8

    def __post_init__(self) -> None:
        if isinstance(self.width, bool) or not isinstance(self.width, int) or not 1 <= self.width <= 8:
            raise OptionError(f"length: the width is {self.width!r} octets, it must be 1 to 8")
        if self.byteorder not in ("big", "little"):
            raise OptionError(f"length: the byte order is {self.byteorder!r}, it must be 'big' or 'little'")
        check_max_message(self)

    def __str__(self) -> str:
        if self.width not in (1, 2, 3, 4, 8):
            return super().__str__()
        return self._text(
            f"u{self.width * 8}" + ("le" if self.byteorder == "little" else ""), {"width", "byteorder"}
        )

    def decoder(self) -> BufferedDecoder:
        return _LengthDecoder(self)

    def encode(self, message: Any) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        try:
            return len(octets).to_bytes(self.width, self.byteorder) + octets
        except OverflowError as error:
            raise EncodeError(
                f"{self}: the message has {len(octets)} octets, a length of {self.width} octets counts to "
                f"{256**self.width - 1}"
            ) from error

    def encode_many(self, messages: Iterable[Any]) -> bytes:
        return b"".join([self.encode(message) for message in messages])


class _LengthDecoder(BufferedDecoder):
    __slots__ = ("_byteorder", "_max", "_width")

    def __init__(self, framing: Length) -> None:
        self._width = framing.width
        self._byteorder = framing.byteorder
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._need = self._width

    def _split(self, limit: int | None) -> list[Any]:
        buffer, start, width, order = self._buffer, self._start, self._width, self._byteorder
        held = len(buffer)
        messages: list[Any] = []
        need = width
        while limit is None or len(messages) < limit:
            body = start + width
            if body > held:
                break
            size = int.from_bytes(buffer[start:body], order)
            if self._max is not None and size > self._max:
                self._error = MessageTooLong(size, self._max)
                break
            end = body + size
            if end > held:
                need = width + size
                break
            messages.append(buffer[body:end])
            start = end
        self._start = start
        self._need = need
        return messages

    def _incomplete(self) -> MessageError:
        return IncompleteMessage(self.buffered, self._need)


def u8(*, max_message: int | None = DEFAULT_MAX_MESSAGE) -> Length:
    """A length of one octet."""
    return Length(1, max_message=max_message)


def u16(
    *, max_message: int | None = DEFAULT_MAX_MESSAGE, byteorder: Literal["big", "little"] = "big"
) -> Length:
    """A length of two octets, as DNS over TCP has it (RFC 1035, 4.2.2)."""
    return Length(2, byteorder, max_message)


def u32(
    *, max_message: int | None = DEFAULT_MAX_MESSAGE, byteorder: Literal["big", "little"] = "big"
) -> Length:
    """A length of four octets."""
    return Length(4, byteorder, max_message)


def u64(
    *, max_message: int | None = DEFAULT_MAX_MESSAGE, byteorder: Literal["big", "little"] = "big"
) -> Length:
    """A length of eight octets."""
    return Length(8, byteorder, max_message)
