"""Messages after a binary length: ``u8``, ``u16``, ``u32``, ``u64``, ``...le``, and ``length:2,offset=4,skip=0``.

::

    |<- offset ->|<- width ->|
    +------------+-----------+--------------------+----
    | lead       | length    | body               | ...
    +------------+-----------+--------------------+----
    |<---- skip (default: all of it) ---->|<- message ->|

    body = length + adjustment, or with inclusive: length - offset - width + adjustment
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.base import Decoder, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_choice, check_kinds, check_size, octets_of, whole
from fourtuple.framing.checksums import Checksum, read_checksum
from fourtuple.framing.device_length import DeviceLengthDecoder
from fourtuple.framing.splitting import Split
from fourtuple.options import DEFAULT_MAX_MESSAGE, seen

ByteOrder = Literal["big", "little", "native"]
Base = Literal["binary", "decimal", "hex"]

#: The struct format of each width that struct supports.
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_STRUCTS = {
    (width, byteorder): struct.Struct(sign + each)
    for byteorder, sign in (("big", ">"), ("little", "<"))
    for width, each in _FORMATS.items()
}


@dataclass(frozen=True)
class Length(Split[bytes, Octets]):
    """A length of ``width`` octets (1 to 8), then that many octets.

    - ``byteorder``: ``"big"``, ``"little"``, or ``"native"``, that of this machine.
    - ``base``: ``"binary"``, or ``"decimal"`` or ``"hex"`` for ``width`` digits (1 to 16).
    - ``mask``: the bits of the field that are the length, a run of them; other bits are ignored, and written as zeros.
    - ``offset``: the number of octets before the length. ``lead``, if given, is the value of the first of them: it is
      written and checked. The others may have any value, and are written as zeros.
    - ``adjustment``: added to the length to get the number of octets that follow it; it may be negative.
    - ``inclusive``: the length counts all octets, including itself and the octets before it.
    - ``skip``: the number of leading octets that are not part of the message; by default all up to the end of the
      length. With ``skip=0`` a message begins with its header.

    - ``checksum``: what checks the message at its end, such as ``"crc16-modbus"`` or ``"xor/hex@1"``: see
      :func:`checked`. It is not part of the message; its range counts from the first octet of the header. A wrong one
      makes the message an :class:`~fourtuple.framing.Unmapped`.
    - ``trailer``: octets at the very end, behind the checksum. The length counts checksum and trailer; if it does not
      in your protocol, ``adjustment`` adds them.
    - ``resync``: octets before a ``lead`` are skipped and counted. After a wrong length an
      :class:`~fourtuple.framing.Unmapped` takes the place of the message, and decoding continues at the next lead;
      after a wrong checksum or trailer, at the next lead behind that message.

    An announced length above ``max_message`` raises :class:`~fourtuple.errors.MessageTooLong` before memory is
    allocated. A length too small for the octets that it must count, and a wrong ``lead``, raise
    :class:`~fourtuple.errors.MalformedMessage`. If messages contain the length, the encoder checks it and raises
    :class:`~fourtuple.errors.EncodeError` for a wrong one.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    width: int = 4
    byteorder: ByteOrder = "big"
    offset: int = 0
    adjustment: int = 0
    skip: int | None = None
    inclusive: bool = False
    lead: bytes = b""
    base: Base = "binary"
    mask: int = 0
    checksum: str = ""
    trailer: bytes = b""
    resync: bool = False
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "length"
    argument: ClassVar[str | None] = "width"

    def __post_init__(self) -> None:
        check_choice(self, "base", ("binary", "decimal", "hex"))
        most = 8 if self.base == "binary" else 16
        if not whole(self.width, 1, most):
            raise OptionError(f"length: the width is {seen(self.width)} octets, it must be 1 to {most}")
        check_choice(self, "byteorder", ("big", "little", "native"))
        if not whole(self.offset, 0, 1 << 16):
            raise OptionError(f"length: the offset is {seen(self.offset)} octets, it must be 0 to {1 << 16}")
        if not whole(self.adjustment, -(1 << 32), 1 << 32):
            needed = f"a whole number from {-(1 << 32)} to {1 << 32}"
            raise OptionError(f"length: the adjustment is {seen(self.adjustment)}, it must be {needed}")
        if self.skip is not None and not whole(self.skip, 0, 1 << 16):
            raise OptionError(f"length: skip is {seen(self.skip)} octets, it must be 0 to {1 << 16}")
        check_kinds(self)
        if len(self.lead) > self.offset:
            raise OptionError(f"length: lead has {len(self.lead)} octets, and the offset is {self.offset}")
        if self.resync and not self.lead:
            raise OptionError("length: resync looks for the next lead, and there is none")
        self._check_mask()
        if self.largest < 0:
            raise OptionError(f"length: no length of {self.width} octets reaches the end of its own header")
        check_bounds(self, self.largest)

    def _check_mask(self) -> None:
        mask = self.mask
        if not whole(mask, 0, 256**self.width - 1) or (mask and self.base != "binary"):
            raise OptionError(f"length: mask is {seen(mask)}, it must be bits of a binary field of {self.width} octets")
        run = mask >> self._shift
        if run & (run + 1):
            raise OptionError(f"length: mask is {mask:#x}, whose bits are not one run")

    @property
    def drops_between(self) -> bool:
        return self.resync

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the header is one that the fast decoders read."""
        device = self.base != "binary" or self.mask or self.checksum or self.trailer or self.resync
        return not device and len(self.lead) in (0, self.offset)

    @cached_property
    def _shift(self) -> int:
        """The number of bits below those of the mask."""
        return (self.mask & -self.mask).bit_length() - 1 if self.mask else 0

    @cached_property
    def _order(self) -> Literal["big", "little"]:
        return sys.byteorder if self.byteorder == "native" else self.byteorder

    @cached_property
    def _checksum(self) -> Checksum | None:
        return read_checksum(self.checksum) if self.checksum else None

    @cached_property
    def _tail(self) -> int:
        """The number of octets behind the message: the checksum and the trailer."""
        return len(self.trailer) + (0 if self._checksum is None else self._checksum.size)

    @cached_property
    def _highest(self) -> int:
        """The largest number that the field holds."""
        if self.base != "binary":
            return int((10 if self.base == "decimal" else 16) ** self.width) - 1
        return self.mask >> self._shift if self.mask else int(256**self.width) - 1

    def _number(self, head: bytes) -> int:
        """The number in the field of a header."""
        field = head[self.offset :]
        if self.base != "binary":
            return _digits(field, self.base)
        number = int.from_bytes(field, self._order)
        return (number & self.mask) >> self._shift if self.mask else number

    def _field(self, number: int) -> bytes:
        """The field with this number."""
        if self.base != "binary":
            return (b"%0*d" if self.base == "decimal" else b"%0*X") % (self.width, number)
        return (number << self._shift).to_bytes(self.width, self._order)

    @cached_property
    def largest(self) -> int:
        """The size, in octets, of the largest message that the length can announce."""
        return self._highest + self._plus - self._skip - self._tail

    @cached_property
    def _head(self) -> int:
        """The number of octets up to the end of the length."""
        return self.offset + self.width

    @cached_property
    def _plus(self) -> int:
        """The number of octets of header and message together, minus the number in the length field."""
        return self.adjustment + (0 if self.inclusive else self._head)

    @cached_property
    def _skip(self) -> int:
        return self._head if self.skip is None else self.skip

    def _overhead(self) -> int:
        return max(self._skip, self._head) + self._tail

    def __str__(self) -> str:
        if self.width not in (1, 2, 3, 4, 8) or self.base != "binary" or self.byteorder == "native":
            return self._text(f"length:{self.width}", {"width"})
        short = f"u{self.width * 8}" + ("le" if self.byteorder == "little" else "")
        return self._text(short, {"width", "byteorder"})

    if TYPE_CHECKING:  # no message of this framing is ever Unmapped

        def decoder(self) -> Decoder[bytes]: ...

    def reference(self) -> BufferedDecoder[bytes]:
        return _LengthDecoder(self) if self._is_plain else DeviceLengthDecoder(self, self._checksum)

    def _in_c_options(self) -> dict[str, Any] | None:
        if not self._is_plain:
            return None
        return {
            "width": self.width,
            "little": self._order == "little",
            "offset": self.offset,
            "plus": self._plus,
            "skip": self._skip,
            "lead": self.lead,
        }

    @property
    def _writes_in_c(self) -> bool:
        return self._skip == self.offset + self.width

    def encode(self, message: Octets) -> bytes:
        octets = message if message.__class__ is bytes else octets_of(self, message)
        size = len(octets)
        check_size(self, size)
        number = size + self._skip + self._tail - self._plus
        if not 0 <= number <= self._highest:
            raise EncodeError(
                f"{self}: the message has {size} octets, for which the length would be {number}; a length of "
                f"{self.width} octets is 0 to {self._highest}"
            )
        field = self._field(number)
        if not self._is_plain:
            return self._with_tail(self._encode_around(field, octets))
        if self._skip == self.width and not self.offset:
            return field + octets
        return self._encode_around(field, octets)

    def _encode_many(self, messages: list[Any]) -> bytes:
        field = _STRUCTS.get((self.width, self._order)) if self._is_plain else None
        # Only the length stands before the message, as in u8, u16, u32 and u64.
        plain = not self.offset and self._skip == self.width == self._plus
        if not field or not plain or set(map(type, messages)) != {bytes}:
            return super()._encode_many(messages)
        sizes = list(map(len, messages))
        if max(sizes) >= 256**self.width or (self.max_sent is not None and max(sizes) > self.max_sent):
            return super()._encode_many(messages)  # its error names the message
        return b"".join(chain.from_iterable(zip(map(field.pack, sizes), messages, strict=True)))

    def _encode_around(self, field: bytes, octets: bytes) -> bytes:
        """The encoded message, if it has more than the length and the message."""
        head = self.lead + bytes(self.offset - len(self.lead)) + field
        if self._skip > len(head):
            raise EncodeError(f"{self}: skip leaves out {self._skip - len(head)} octets that no message tells")
        encoded = head[: self._skip] + octets
        if not self._says(encoded[: self._head], field):
            raise EncodeError(
                f"{self}: the message has {len(octets)} octets and says {encoded[self.offset : self._head].hex()}"
                f" in its length, {field.hex()} is right"
            )
        if not encoded.startswith(self.lead):
            raise EncodeError(f"{self}: the message begins with {encoded[: len(self.lead)]!r}, not {self.lead!r}")
        return encoded

    def _says(self, head: bytes, field: bytes) -> bool:
        """Whether a header, which may be a part of the message, has the number of this field."""
        if len(head) < self._head:
            return False
        try:
            return self._number(head) == self._number(bytes(self.offset) + field)
        except MalformedMessage:
            return False

    def _with_tail(self, encoded: bytes) -> bytes:
        return encoded + (b"" if self._checksum is None else self._checksum.of(encoded)) + self.trailer


class _LengthDecoder(BufferedDecoder):
    __slots__ = ("_head", "_lead", "_least", "_max", "_most", "_offset", "_plus", "_read", "_skip")

    def __init__(self, framing: Length) -> None:
        self._head = framing._head
        self._lead = framing.lead
        self._max = framing.max_message
        self._offset = framing.offset
        self._plus = framing._plus
        self._read = _reader(framing.width, framing._order)
        self._skip = framing._skip
        #: The fewest and the most octets that header and message together may have.
        self._least = max(self._head, self._skip)
        self._most = float("inf") if self._max is None else self._max + self._skip
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._need = self._head

    def _split(self, limit: int | None) -> list[Any]:
        buffer, start, head = self._buffer, self._start, self._head
        read, offset, plus, skip, lead = self._read, self._offset, self._plus, self._skip, self._lead
        least, most = self._least, self._most
        held = len(buffer)
        need = head
        messages: list[Any] = []
        # Every message takes at least one octet, so the loop ends with a break or at the limit.
        for _ in range(held if limit is None else min(limit, held)):
            if start + head > held:
                break
            (size,) = read(buffer, start + offset)
            size += plus
            if not least <= size <= most or (lead and buffer[start : start + offset] != lead):
                self._error = self._wrong(bytes(buffer[start : start + offset]), size)
                break
            end = start + size
            if end > held:
                need = size
                break
            messages.append(buffer[start + skip : end])
            start = end
        self._start = start
        self._need = need
        return messages

    def _wrong(self, lead: bytes, size: int) -> MessageError:
        if self._lead and lead != self._lead:
            return MalformedMessage(f"message begins with {lead!r}, {self._lead!r} was expected")
        if size < self._least:
            return MalformedMessage(
                f"message announces {size} octets in all, its header and what is skipped have {self._least}"
            )
        assert self._max is not None
        return MessageTooLong(size - self._skip, self._max)

    def _incomplete(self) -> MessageError:
        return IncompleteMessage(self.buffered, self._need)


def _digits(field: bytes, base: Base) -> int:
    """The number of a field of digits. Raises MalformedMessage if it has anything else."""
    known = b"0123456789" if base == "decimal" else b"0123456789abcdefABCDEF"
    if field.strip(known):
        raise MalformedMessage(f"the length is {field!r}, {len(field)} digits ({base}) were expected")
    return int(field, 10 if base == "decimal" else 16)


def _reader(width: int, byteorder: Literal["big", "little"]) -> Callable[[Octets, int], tuple[Any, ...]]:
    """Return a function that reads a length at a position of a buffer, as a tuple like that of struct."""
    if field := _STRUCTS.get((width, byteorder)):
        return field.unpack_from

    def read(buffer: Octets, at: int) -> tuple[int]:
        return (int.from_bytes(buffer[at : at + width], byteorder),)

    return read
